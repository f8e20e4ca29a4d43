"""`perslm-host models`: folders as GGUF files, where a model came from, which version is in use, the way back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from perslm_training_host import lineage as lineages
from perslm_training_host import versions
from perslm_training_host.console import command_group, put, put_json, put_table, session_of

_Folder = Annotated[Path, typer.Argument(help="The folder of the models.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = command_group(app, "models", "Models made here: lineage, versions, the way back.")
    group.command("list")(list_models)
    group.command("lineage")(lineage)
    group.command("convert")(convert)
    group.command("use")(use)
    group.command("rollback")(rollback)


def list_models(context: typer.Context, folder: _Folder = Path()) -> None:
    """List the models below a folder that were made here, oldest first, and which were in use."""
    found, told = lineages.all_below(folder), versions.history(folder)
    used = {one.sha256: one.number for one in told}
    present = told[-1].sha256 if told else ""
    if session_of(context).json:
        models = [{**asdict(one), "in_use": one.sha256 == present} for one in found]
        put_json({"models": models, "versions": [asdict(one) for one in told]})
        return
    rows = [
        [str(one.path), one.verb, one.made, one.sha256[:12], _used(one.sha256, used, present)] for one in found
    ]
    put_table(["model", "verb", "made", "sha256", "version"], rows)


def lineage(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="A model with its .lineage.json beside it.")],
    *,
    folder: Annotated[
        Path | None, typer.Option("--in", help="Where its parents lie; its own folder's parent.")
    ] = None,
) -> None:
    """Show what a model was made of, back to the first."""
    where = folder or model.resolve().parent.parent
    links = list(lineages.chain(model, where))
    if session_of(context).json:
        put_json(
            [
                {"depth": depth, "part": part, "name": name, "known": one and asdict(one)}
                for depth, part, name, one in links
            ]
        )
        return
    for depth, part, name, one in links:
        how = f"{one.verb} on {one.made}, {one.sha256[:12]}" if one is not None else "from outside"
        put(f"{'  ' * depth}{part}: {name} ({how})")


def convert(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with config.json and safetensors.")],
    target: Annotated[Path, typer.Argument(help="The GGUF file to write.")],
    *,
    kind: Annotated[str, typer.Option(help="F16 or F32.")] = "F16",
) -> None:
    """Write a Hugging Face folder (llama, qwen2, qwen3, gemma) as a GGUF file that cuts text as it does."""
    from perslm_training_host import converting, model_facts  # noqa: PLC0415 - torch

    converting.convert(source, target, kind)
    made_of = [lineages.Parent("folder", source.name, model_facts.sha256_of(source))]
    lineages.note(target, model_facts.sha256_of(target), "convert", {"kind": kind}, made_of)
    if session_of(context).json:
        put_json({"written": [str(target)]})
        return
    put(f"{target} ({target.stat().st_size / 1e6:.1f} MB)")


def use(
    context: typer.Context,
    folder: _Folder,
    model: Annotated[Path, typer.Argument(help="The model, inside the folder.")],
    *,
    why: Annotated[str, typer.Option(help="A word for those who read the history.")] = "",
) -> None:
    """Take a model into use."""
    _told(context, versions.use(folder, model, why))


def rollback(context: typer.Context, folder: _Folder) -> None:
    """Go back to the version that was in use before; its file is checked."""
    _told(context, versions.roll_back(folder))


def _told(context: typer.Context, version: versions.Version) -> None:
    if session_of(context).json:
        put_json(asdict(version))
    else:
        put(f"version {version.number}: {version.name} ({version.why})")


def _used(sha256: str, used: dict[str, int], present: str) -> str:
    if sha256 not in used:
        return ""
    return f"{used[sha256]}, in use" if sha256 == present else str(used[sha256])
