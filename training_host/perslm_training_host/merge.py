"""`perslm-host merge`: one model file out of several that were taught from the same base, or out of LoRAs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perslm_runtime.errors import InputError
from perslm_training_host.console import Progress, put, put_json, session_of

_FILE_TYPE_F16 = 1


def register(app: typer.Typer) -> None:
    """Add `merge` to the command line."""
    app.command()(merge)


def merge(
    context: typer.Context,
    base: Annotated[Path, typer.Argument(help="GGUF file that all were taught from.")],
    models: Annotated[list[Path], typer.Argument(help="GGUF files, or folders with a LoRA as PEFT saves it.")],
    *,
    out: Annotated[Path, typer.Option(help="GGUF file to write, in F16.")],
    how: Annotated[str, typer.Option(help="linear, slerp (two models) or ties.")] = "linear",
    weights: Annotated[str, typer.Option(help="One a model, separated by commas; equal shares otherwise.")] = "",
    density: Annotated[float, typer.Option(help="ties: the share of each model's changes that is kept.")] = 0.2,
) -> None:
    """Merge models or LoRAs of one base; the tokenizer and template stay the base's."""
    import numpy as np

    from perslm_training_host import gguf_file, lineage, merging, model_facts

    session = session_of(context)
    file = gguf_file.read(base)
    sources = [merging.opened(path, file) for path in models]
    values = merging.merged(how, file, sources, _shares(weights, len(models)), density)
    changes: dict[str, gguf_file.Replacement] = {}
    progress = Progress("merging", len(file.tensors), quiet=session.json)
    for number, (name, tensor) in enumerate(file.tensors.items(), start=1):
        kind = "F16" if len(tensor.shape) > 1 else "F32"
        array = values(name).astype(np.float16 if kind == "F16" else np.float32)
        changes[name] = gguf_file.Replacement(kind, np.ascontiguousarray(array).view(np.uint8).reshape(-1))
        progress.at(number)
    gguf_file.write_child(file, out, changes, file_type=_FILE_TYPE_F16)
    parents = [lineage.Parent("base", base.name, model_facts.sha256_of(base))]
    parents += [lineage.Parent("model", path.name, model_facts.sha256_of(path)) for path in models]
    lineage.note(
        out, model_facts.sha256_of(out), "merge", {"how": how, "weights": weights, "density": density}, parents
    )
    if session.json:
        put_json({"out": out, "models": len(models), "how": how, "size_bytes": out.stat().st_size})
    else:
        put(f"{out}: {len(models)} models, {how}")


def _shares(text: str, count: int) -> list[float]:
    if not text:
        return [1 / count] * count
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(f"--weights {text}: give numbers separated by commas ({error})") from error
