"""`perslm-host adapter`: a LoRA as PEFT saves it, made into an adapter that llama.cpp puts onto a running model.

Takes adapter_config.json and adapter_model.safetensors. The rows of a query or key matrix lie in another order in
GGUF, and so do those of its LoRA: the second factor is reordered as the matrix itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perslm_runtime.errors import InputError
from perslm_training_host.console import put, put_json, session_of

if TYPE_CHECKING:
    from perslm_training_host.gguf_file import GgufFile


def register(app: typer.Typer) -> None:
    """Add `adapter` to the command line."""
    app.command()(adapter)


def adapter(
    context: typer.Context,
    lora: Annotated[Path, typer.Argument(help="Folder with adapter_config.json and adapter_model.safetensors.")],
    base: Annotated[Path, typer.Argument(help="GGUF file of the model it was learnt on, in any quantization.")],
    *,
    out: Annotated[Path, typer.Option(help="GGUF adapter to write.")],
) -> None:
    """Make a GGUF adapter of a LoRA."""
    from perslm_training_host import gguf_file

    session = session_of(context)
    matrices = write(lora, gguf_file.read(base), out)
    size = out.stat().st_size
    if session.json:
        put_json({"out": out, "matrices": matrices, "size_bytes": size})
    else:
        put(f"{out}: {matrices} matrices, {size / 1e6:.2f} MB")


def write(lora: Path, base: GgufFile, out: Path) -> int:
    """Write the adapter; returns how many matrices it changes. Raises InputError where it does not fit."""
    from gguf import GGUFWriter

    from perslm_training_host import adapter_files

    found = adapter_files.read(lora, base)
    part = out.with_name(out.name + ".part")
    writer = GGUFWriter(part, base.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", found.alpha)
    for name, (first, second) in found.factors.items():
        writer.add_tensor(f"{name}.lora_a", first)
        writer.add_tensor(f"{name}.lora_b", second)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(out)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return len(found.factors)
