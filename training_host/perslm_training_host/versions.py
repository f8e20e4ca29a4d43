"""The versions of a model in a folder: which one is in use, which were before, and the way back.

`versions.json` keeps the order in which versions were taken into use, by sha256; the files stay where they are
and are checked again when one comes back. A way back is a new entry: history is never rewritten.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from perslm_runtime.errors import InputError
from perslm_training_host import model_facts
from perslm_training_host.runs import write_whole

_FILE = "versions.json"


@dataclass(frozen=True, slots=True)
class Version:
    """A model taken into use: its number here, its name in the folder, its sha256, when, why, and whether back."""

    number: int
    name: str
    sha256: str
    since: str
    why: str
    back: bool


def history(folder: Path) -> list[Version]:
    """All that were in use, oldest first. Raises InputError where the file is broken."""
    file = folder / _FILE
    if not file.exists():
        return []
    try:
        return [Version(**one) for one in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} is broken ({error}): take it from a backup") from error


def use(folder: Path, model: Path, why: str = "") -> Version:
    """Take a model of the folder into use. Raises InputError where it is not below the folder, or is missing."""
    try:
        name = str(model.resolve().relative_to(folder.resolve()))
    except ValueError as error:
        raise InputError(f"{model} does not lie in {folder}: put it there first") from error
    if not model.exists():
        raise InputError(f"{model} does not exist")
    return _append(folder, name, model_facts.sha256_of(model), why or "taken into use", back=False)


def roll_back(folder: Path) -> Version:
    """Go back to what was in use before the present version.

    Raises InputError where nothing was, or its file has changed since or is gone.
    """
    path_here = _path_to(history(folder))
    if not path_here:
        raise InputError(f"{folder} has no version in use: `perslm-host models use FILE` first")
    if len(path_here) < 2:
        raise InputError(f"{folder} had no other version before {path_here[-1].name}")
    wanted, present = path_here[-2:]
    path = folder / wanted.name
    if not path.exists() or model_facts.sha256_of(path) != wanted.sha256:
        raise InputError(
            f"{path} is gone or was changed since it was in use: put back the file {wanted.sha256[:12]}…"
        )
    return _append(folder, wanted.name, wanted.sha256, f"back from {present.name}", back=True)


def _path_to(told: list[Version]) -> list[Version]:
    """The versions that led to the present one, oldest first: each way back takes the last of them off."""
    found: list[Version] = []
    for one in told:
        if one.back:
            found.pop()
        elif not found or found[-1].sha256 != one.sha256:
            found.append(one)
    return found


def _append(folder: Path, name: str, sha256: str, why: str, *, back: bool) -> Version:
    told = history(folder)
    fresh = Version(len(told) + 1, name, sha256, time.strftime("%Y-%m-%d %H:%M:%S"), why, back)
    lines = [asdict(one) for one in [*told, fresh]]
    write_whole(folder / _FILE, json.dumps(lines, indent=1) + "\n")
    return fresh
