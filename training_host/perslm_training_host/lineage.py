"""Where a model file came from: one JSON beside it, with the sha256 of every file it was made of.

Owns the file `NAME.lineage.json` and nothing else. A chain is found again by sha256, so files may be moved and
renamed as long as they lie below the folder that is searched.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perslm_runtime.errors import InputError
from perslm_training_host.runs import write_whole

_SUFFIX = ".lineage.json"


@dataclass(frozen=True, slots=True)
class Parent:
    """Something a model was made of: "student", "teacher", "text", …; its name then, and its sha256."""

    part: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """How a model came to be."""

    path: Path
    sha256: str
    verb: str
    made: str
    settings: Mapping[str, Any]
    parents: tuple[Parent, ...]


def note(path: Path, sha256: str, verb: str, settings: Mapping[str, object], parents: Sequence[Parent]) -> None:
    """Write beside the model `path` (a file or folder) how it was made."""
    about = {
        "sha256": sha256,
        "verb": verb,
        "made": time.strftime("%Y-%m-%d %H:%M:%S"),
        "settings": json.loads(json.dumps(dict(settings), default=str)),
        "parents": [{"part": one.part, "name": one.name, "sha256": one.sha256} for one in parents],
    }
    write_whole(path.with_name(path.name + _SUFFIX), json.dumps(about, indent=1) + "\n")


def read(path: Path) -> Lineage:
    """How the model `path` was made. Raises InputError where nothing is beside it, or it is broken."""
    file = path if path.name.endswith(_SUFFIX) else path.with_name(path.name + _SUFFIX)
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        parents = tuple(Parent(one["part"], one["name"], one["sha256"]) for one in about["parents"])
        return Lineage(
            file.with_name(file.name.removesuffix(_SUFFIX)), about["sha256"], about["verb"], about["made"],
            about["settings"], parents,
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"{path} has no {file.name} beside it: nobody noted how it was made") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is broken ({error}): its model cannot be traced") from error


def all_below(folder: Path) -> list[Lineage]:
    """Everything below a folder that is noted, oldest first; broken notes are left out."""
    found = []
    for file in folder.glob(f"**/*{_SUFFIX}"):
        try:
            found.append(read(file))
        except InputError:
            continue
    return sorted(found, key=lambda one: (one.made, str(one.path)))


def chain(path: Path, folder: Path) -> Iterator[tuple[int, str, str, Lineage | None]]:
    """The model and all it came from: (depth, part, name, what is known of it), a child first."""
    known = {one.sha256: one for one in all_below(folder)}
    yield from _chain(0, "model", path.name, read(path), known, set())


def _chain(
    depth: int, part: str, name: str, one: Lineage | None, known: Mapping[str, Lineage], seen: set[str]
) -> Iterator[tuple[int, str, str, Lineage | None]]:
    yield depth, part, name, one
    if one is None or one.sha256 in seen:
        return
    seen.add(one.sha256)
    for parent in one.parents:
        yield from _chain(depth + 1, parent.part, parent.name, known.get(parent.sha256), known, seen)


def sha256_of_text(text: str) -> str:
    """The sha256 of some text."""
    return hashlib.sha256(text.encode()).hexdigest()
