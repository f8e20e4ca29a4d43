"""`perslm-host bundle`: a model's files and what is said of them, as the folder that `publish` takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from perslm_runtime.bundle import (
    ADAPTER,
    KINDS,
    MANIFEST,
    SENTENCES,
    BundleFile,
    Delta,
    Manifest,
    read_manifest,
    write_manifest,
)
from perslm_runtime.bundle_trial import Trial
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
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(KINDS)}.")] = "llm",
    what: Annotated[str, typer.Option(help="A sentence for people.")] = "",
    base: Annotated[str, typer.Option(help="The model it succeeds on boards that have no bundle yet.")] = "",
    board: Annotated[list[str] | None, typer.Option(help="Board profiles it is for; all where not said.")] = None,
    delta: Annotated[
        list[Path] | None,
        typer.Option(help="What `perslm-host delta make` wrote for the first file, several times."),
    ] = None,
    base_file: Annotated[
        Path | None, typer.Option("--base-file", help="For an adapter: the model's GGUF file it was made for.")
    ] = None,
    language: Annotated[list[str] | None, typer.Option(help="Languages it is for; en where not said.")] = None,
    trial: Annotated[
        Path | None,
        typer.Option(help="JSON of the trial (docs/updates.md); its clips lie beside it, under their paths."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="JSON of `perslm-host evaluate`, kept with the bundle.")
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(help="card.json of what it learned from (`perslm-host collect`), kept as well."),
    ] = None,
    app_min: Annotated[str, typer.Option("--app-min", help="The oldest PersLM that can use it.")] = "0.1.0",
) -> None:
    """Put a model's files into a folder with bundle.json: checksums, differences, and the trial boards hold."""
    if out.exists():
        raise InputError(f"{out} exists already: choose another folder")
    text = (QUESTIONS if kind in ("llm", "adapter") else "{}").encode() if trial is None else _read(trial)
    try:
        wanted = msgspec.json.decode(text, type=Trial)
    except msgspec.MsgspecError as error:
        raise InputError(f"{trial} cannot be used: {error}") from error
    deltas = tuple(_delta(path, files[0]) for path in delta or ())
    placed = {_own_name(kind, bundle_id, path): path for path in files}
    if trial is not None:
        placed |= {clip.path: trial.parent / clip.path for clip in wanted.clips}
    manifest = Manifest(
        id=bundle_id,
        version=version,
        kind=kind,
        what=what or f"{bundle_id}, version {version}",
        licence=licence,
        files=tuple(_file(name, path, deltas if path == files[0] else ()) for name, path in placed.items()),
        memory_mb=memory_mb,
        boards=tuple(board or BOARDS),
        languages=tuple(language or ("en",)),
        base=base,
        base_sha256="" if base_file is None else _sha256(base_file),
        trial=wanted,
        app_min=app_min,
        evaluation=_told(report),
        data=_told(card),
    )
    written = write_manifest(manifest)
    read_manifest(written, MANIFEST)  # every mistake is told before anything is written
    out.mkdir(parents=True)
    for name, path in placed.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / name)
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


def _file(name: str, path: Path, deltas: tuple[Delta, ...]) -> BundleFile:
    return BundleFile(name, _size(path), sha256_of(path), deltas)


def _own_name(kind: str, bundle_id: str, path: Path) -> str:
    """What a file is called in the bundle: a board finds those of some kinds by their names."""
    match kind, path.suffix:
        case "adapter", ".gguf":
            return ADAPTER
        case "intents", ".toml":
            return SENTENCES
        case "wake", ".tflite" | ".json":
            return f"{bundle_id}{path.suffix}"
    return path.name


def _sha256(path: Path) -> str:
    _size(path)  # tells of a file that is not there
    return sha256_of(path)


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


def _told(path: Path | None) -> dict[str, Any]:
    """A report or a card, which is kept and shown and never interpreted."""
    if path is None:
        return {}
    try:
        return msgspec.json.decode(_read(path), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InputError(f"{path} is no JSON of names and values: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
