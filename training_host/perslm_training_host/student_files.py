"""The student's files: trained weights on the disk, and the GGUF files that a board loads.

`whole.safetensors` holds the full-precision student in bfloat16, `grid.safetensors` the Q4_0 blocks as they go
into the file, so that a student trained on one machine is written on another beside the base file. What was not
trained (embeddings, tokenizer, template) comes byte for byte out of the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from perslm_runtime.errors import InputError
from perslm_training_host import ggml_blocks as blocks
from perslm_training_host import gguf_file, gguf_model
from perslm_training_host.gguf_file import GgufFile, Replacement

WHOLE, GRID = "whole.safetensors", "grid.safetensors"
_FILE_TYPES = {"Q4_0": 2, "F16": 1}  # llama.cpp's numbers
_UNTRAINED = ("token_embd.weight", "output.weight")


def keep_whole(base: Path, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write the trained weights under the file's names: matrices bfloat16, norms float32."""
    found = {
        name: torch.from_numpy(np.ascontiguousarray(array)).to(torch.bfloat16 if array.ndim > 1 else torch.float32)
        for name, array in _trained(base, state).items()
    }
    _save(found, folder / WHOLE)


def keep_grid(base: Path, state: Mapping[str, Tensor], folder: Path) -> None:
    """Write the trained weights as the file's bytes: matrices in Q4_0, norms float32."""
    found: dict[str, Tensor] = {}
    for name, array in _trained(base, state).items():
        if array.ndim > 1:
            found[name] = torch.from_numpy(blocks.pack(*blocks.quantize_q4_0(array.reshape(-1, blocks.BLOCK))))
        else:
            found[name] = torch.from_numpy(np.ascontiguousarray(array))
    _save(found, folder / GRID)


def write_files(base: Path, folder: Path) -> list[Path]:
    """Write `student-q4_0.gguf` and, where whole weights are there, `student-f16.gguf`; returns their paths."""
    file = gguf_file.read(base)
    written: list[Path] = []
    if (folder / GRID).exists():
        target = folder / "student-q4_0.gguf"
        changes = {
            name: Replacement("Q4_0" if value.dtype == torch.uint8 else "F32", _bytes(value))
            for name, value in _load(folder / GRID).items()
        }
        gguf_file.write_child(file, target, changes, file_type=_FILE_TYPES["Q4_0"])
        written.append(target)
    if (folder / WHOLE).exists():
        target = folder / "student-f16.gguf"
        gguf_file.write_child(file, target, _whole(file, _load(folder / WHOLE)), file_type=_FILE_TYPES["F16"])
        written.append(target)
    if not written:
        raise InputError(f"{folder} holds no trained student: run `perslm-host student train` first")
    return written


def _whole(file: GgufFile, values: Mapping[str, Tensor]) -> dict[str, Replacement]:
    changes: dict[str, Replacement] = {}
    for name, value in values.items():
        if value.dtype == torch.bfloat16:
            changes[name] = Replacement("F16", _bytes(value.float().half()))
        else:
            changes[name] = Replacement("F32", _bytes(value))
    return changes


def _trained(base: Path, state: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    arrays = gguf_model.gguf_arrays(gguf_file.read(base), state)
    return {name: array for name, array in arrays.items() if name not in _UNTRAINED}


def _bytes(value: Tensor) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = value.contiguous().numpy().view(np.uint8).reshape(-1)
    return array


def _save(found: Mapping[str, Tensor], path: Path) -> None:
    part = path.with_name(path.name + ".part")
    try:
        save_file({name: value.contiguous() for name, value in found.items()}, part)
        part.replace(path)
    except Exception as error:  # safetensors raises its own kind for a full disk
        part.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written ({error}): make room, then run it again") from error


def _load(path: Path) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = load_file(path)
    except Exception as error:  # safetensors raises its own kinds
        raise InputError(f"{path} is damaged ({error}): train again, or copy it again") from error
    return found
