"""`perslm-host bundle`: a model's files and what is said of them, as the folder that `publish` takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from perslm_runtime.bundle import MANIFEST, BundleFile, Delta, Manifest, Trial, read_manifest, write_manifest
from perslm_runtime.catalog_file import BOARDS
from perslm_runtime.delta import read_header, sha256_of
from perslm_runtime.errors import InputError
from perslm_training_host.console import put, put_json, session_of

# What a trial asks where nobody says better: a model that answers none of it is broken, whatever it was taught.
QUESTIONS = '{"questions": [{"ask": "What is the capital of France?", "any_of": ["Paris"]}], "right": 1}'


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(bundle)


def bundle(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="The model's files; a language model has one GGUF file.")],
    *,
    bundle_id: Annotated[str, typer.Option("--id", help="The bundle's name: lower-case letters, digits, '-'.")],
    version: Annotated[int, typer.Option(help="Counts up from 1; a version never changes.")],
    licence: Annotated[str, typer.Option(help="SPDX name of the licence of the files.")],
    memory_mb: Annotated[int, typer.Option("--memory-mb", help="Memory that the model takes on a board.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    kind: Annotated[str, typer.Option(help="llm, stt, tts or embed.")] = "llm",
    what: Annotated[str, typer.Option(help="A sentence for people.")] = "",
    base: Annotated[str, typer.Option(help="The model it succeeds on boards that have no bundle yet.")] = "",
    board: Annotated[list[str] | None, typer.Option(help="Board profiles it is for; all where not said.")] = None,
    delta: Annotated[
        list[Path] | None,
        typer.Option(help="What `perslm-host delta make` wrote for the first file, several times."),
    ] = None,
    trial: Annotated[Path | None, typer.Option(help="JSON: questions, right, tokens_per_s, memory_mb.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="JSON of `perslm-host evaluate`, kept with the bundle.")
    ] = None,
) -> None:
    """Put a model's files into a folder with bundle.json: checksums, differences, and the trial boards hold."""
    if out.exists():
        raise InputError(f"{out} exists already: choose another folder")
    text = QUESTIONS.encode() if trial is None else _read(trial)
    try:
        wanted = msgspec.json.decode(text, type=Trial)
        evaluation: dict[str, Any] = (
            {} if report is None else msgspec.json.decode(_read(report), type=dict[str, Any])
        )
    except msgspec.MsgspecError as error:
        raise InputError(f"{trial or report} cannot be used: {error}") from error
    deltas = tuple(_delta(path, files[0]) for path in delta or ())
    manifest = Manifest(
        id=bundle_id,
        version=version,
        kind=kind,
        what=what or f"{bundle_id}, version {version}",
        licence=licence,
        files=tuple(_file(path, deltas if path == files[0] else ()) for path in files),
        memory_mb=memory_mb,
        boards=tuple(board or BOARDS),
        base=base,
        trial=wanted if kind == "llm" else Trial(),
        evaluation=evaluation,
    )
    written = write_manifest(manifest)
    read_manifest(written, MANIFEST)  # every mistake is told before anything is written
    out.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, out / path.name)
    for made, source in zip(deltas, delta or (), strict=True):
        (out / "deltas").mkdir(exist_ok=True)
        shutil.copyfile(source, out / "deltas" / made.sha256)
    (out / MANIFEST).write_bytes(written)
    if session_of(context).json:
        put_json(
            {"folder": out, "name": manifest.name, "bytes": manifest.size, "deltas": [one.size for one in deltas]}
        )
        return
    smaller = "".join(f", or {one.size / 1e6:.2f} MB from {one.base[:12]}" for one in deltas)
    put(f"{out}: {manifest.name}, {manifest.size / 1e6:.1f} MB{smaller}; `perslm-host publish {out}` signs it")


def _file(path: Path, deltas: tuple[Delta, ...]) -> BundleFile:
    return BundleFile(path.name, _size(path), sha256_of(path), deltas)


def _delta(path: Path, child: Path) -> Delta:
    """What a delta file leads from; refused where it leads elsewhere than to the bundle's file."""
    try:
        with path.open("rb") as file:
            header = read_header(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    if header.child_sha256 != sha256_of(child):
        raise InputError(f"{path} does not lead to {child}: make it anew with `perslm-host delta make`")
    return Delta(header.base_sha256, _size(path), sha256_of(path))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
