"""What a distillation leaves behind: the student as a model file, and of a low-rank change the adapter as well.

A student out of a GGUF file becomes one again by transplant: tokenizer, template and every other key are the
base's, byte for byte; a pruned one has other numbers in its head. A student out of a Hugging Face folder becomes
such a folder. Beside it lies what it was made from (`lineage.py`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perslm_runtime.errors import InputError
from perslm_training_host import base_model, gguf_file, gguf_model, pruning, weights
from perslm_training_host.gguf_file import Replacement

_KINDS = {"F16": 1, "F32": 0}  # llama.cpp's numbers
_BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "README.md",
)


def write(base: Path, model: Any, state: Mapping[str, Tensor], folder: Path, kind: str = "F16") -> Path:
    """Write the student whose weights are `state`; `model` has its shape. Returns the file or folder.

    Raises InputError on a full disk, or for a kind that is not F16 or F32.
    """
    if base.is_dir():
        return _write_folder(base, model, state, folder / "student")
    file = gguf_file.read(base)
    if file.architecture not in gguf_model.WRITTEN:
        return _write_folder(base, model, state, folder / "student")
    if kind not in _KINDS:
        raise InputError(f"--kind {kind}: a student is written in F16 or F32; `perslm-host quantize` goes on")
    reshaped = pruning.reshaped(file, model.config, state)
    arrays = gguf_model.gguf_arrays(file, state, reshaped)
    changes = {name: _replacement(array, kind) for name, array in arrays.items()}
    target = folder / f"student-{kind.lower()}.gguf"
    gguf_file.write_child(file, target, changes, file_type=_KINDS[kind], reshaped=reshaped)
    return target


def write_adapter(model: Any, rank: int, folder: Path) -> Path | None:
    """Write the low-rank change as PEFT saves one, for `perslm-host adapter`; None where there is none."""
    from safetensors.torch import save_file  # noqa: PLC0415 - beside the other imports it would be needed always

    found = weights.low_rank_state(model)
    if not found:
        return None
    lora = folder / "lora"
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": _targets(found)}
    try:
        lora.mkdir(parents=True, exist_ok=True)
        (lora / "adapter_config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
        save_file({name: value.contiguous() for name, value in found.items()}, lora / "adapter_model.safetensors")
    except Exception as error:  # safetensors raises its own kind for a full disk
        raise InputError(f"{lora} cannot be written ({error}): make room, then run it again") from error
    return lora


def _targets(found: Mapping[str, Tensor]) -> list[str]:
    return sorted({name.split(".lora_")[0].rpartition(".")[2] for name in found})


def _replacement(array: NDArray[np.float32], kind: str) -> Replacement:
    wide = array.ndim < 2 or kind == "F32"  # llama.cpp wants norms in F32
    raw = np.ascontiguousarray(array, np.float32 if wide else np.float16)
    if not np.isfinite(raw).all():
        raise InputError("a weight of the student is beyond what F16 holds: write it with --kind F32")
    return Replacement("F32" if wide else "F16", raw.view(np.uint8).reshape(-1))


def _write_folder(base: Path, model: Any, state: Mapping[str, Tensor], folder: Path) -> Path:
    from transformers import AutoModelForCausalLM  # noqa: PLC0415 - seconds to import

    plain = AutoModelForCausalLM.from_config(model.config)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    missing, unknown = plain.load_state_dict(dict(state), strict=False)
    if set(missing) - tied or unknown:
        raise InputError(
            f"the student lacks {sorted(set(missing) - tied)[:3]}: this architecture cannot be written"
        )
    try:
        plain.to(torch.float32).save_pretrained(folder)
        if base.is_file():
            base_model.prompts_of(base).tokenizer.save_pretrained(folder)
        for name in _BESIDE:
            if (base / name).is_file():
                shutil.copyfile(base / name, folder / name)
    except Exception as error:  # safetensors raises its own kind for a full disk
        raise InputError(f"{folder} cannot be written ({error}): make room, then run it again") from error
    return folder
