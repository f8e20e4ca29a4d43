"""The importance matrix: how strongly each column of each matrix is driven by real text, measured in torch.

Of every matrix inside the blocks the mean square of its inputs is kept, one number a column. llama.cpp's quantizer
and our own weigh a column's error with it. Kept on disk as .npz, so that a run can be repeated.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_training_host.gguf_file import GgufFile
from perslm_training_host.gguf_model import matrices, torch_name

Importance = dict[str, NDArray[np.float32]]


def measure(
    model: Any,
    file: GgufFile,
    pieces: Sequence[Sequence[int]],
    *,
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> Importance:
    """Mean square of every column's input over all tokens of `pieces`, by the matrix's name in GGUF: [columns]."""
    names = matrices(file)
    modules = dict(model.named_modules())
    sums: dict[str, torch.Tensor] = {}
    hooks = []

    def watch(name: str) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
        def add(_module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            square = inputs[0].detach().float().flatten(0, -2).square().sum(dim=0)
            sums[name] = sums[name] + square if name in sums else square

        return add

    for name in names:
        module = modules[torch_name(name).removesuffix(".weight")]
        hooks.append(module.register_forward_pre_hook(watch(name)))
    try:
        with torch.inference_mode():
            for number, piece in enumerate(pieces):
                model.model(input_ids=torch.tensor([list(piece)], device=model.device))
                told(number + 1, len(pieces))
    finally:
        for hook in hooks:
            hook.remove()
    tokens = sum(len(piece) for piece in pieces)
    found = {name: (total / tokens).cpu().numpy().astype(np.float32) for name, total in sums.items()}
    check(found, f"{file.path}")
    return found


def check(importance: Importance, of: str) -> None:
    """Raise InputError where a number is not finite: a scale searched with it would be NaN."""
    for name, values in importance.items():
        if not np.isfinite(values).all():
            raise InputError(f"the importances of {name} in {of} are not finite: the model or the text is broken")


def save(importance: Importance, path: Path) -> None:
    """Keep the importances as .npz."""
    with path.open("wb") as file:
        np.savez(file, **importance)  # type: ignore[arg-type]  # numpy's types do not know that all are arrays


def load(path: Path) -> Importance:
    """Importances that `save` has kept. Raises InputError for a file that holds none."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            kept = {name: found[name].astype(np.float32) for name in found.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"{path} holds no importances ({error}): let `perslm-host quantize --text` compute them"
        ) from error
    check(kept, str(path))
    return kept
