"""The versions of a model in a folder: which one is in use, which were before, and the way back.

`versions.json` keeps the order in which versions were taken into use, by sha256; the files stay where they are
and are checked again when one comes back. A way back is a new entry: history is never rewritten.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from perslm_runtime.errors import InputError
from perslm_training_host import model_facts
from perslm_training_host.runs import write_whole

_FILE = "versions.json"


@dataclass(frozen=True, slots=True)
class Version:
    """A model taken into use: its number here, its name in the folder, its sha256, when, and why."""

    number: int
    name: str
    sha256: str
    since: str
    why: str


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
    return _append(folder, name, model_facts.sha256_of(model), why or "taken into use")


def roll_back(folder: Path) -> Version:
    """Go back to what was in use before the present version.

    Raises InputError where nothing was, or its file has changed since or is gone.
    """
    told = history(folder)
    if not told:
        raise InputError(f"{folder} has no version in use: `perslm-host models use FILE` first")
    present = told[-1]
    before = [one for one in told[: _before(told)] if one.sha256 != present.sha256]
    if not before:
        raise InputError(f"{folder} had no other version before {present.name}")
    wanted = before[-1]
    path = folder / wanted.name
    if not path.exists() or model_facts.sha256_of(path) != wanted.sha256:
        raise InputError(
            f"{path} is gone or was changed since it was in use: put back the file {wanted.sha256[:12]}…"
        )
    return _append(folder, wanted.name, wanted.sha256, f"back from {present.name} to version {wanted.number}")


def _before(told: list[Version]) -> int:
    """Where the present version came into use first: going back twice goes two versions back, not to and fro."""
    return next(at for at, one in enumerate(told) if one.sha256 == told[-1].sha256)


def _append(folder: Path, name: str, sha256: str, why: str) -> Version:
    told = history(folder)
    fresh = Version(len(told) + 1, name, sha256, time.strftime("%Y-%m-%d %H:%M:%S"), why)
    lines = [
        {"number": one.number, "name": one.name, "sha256": one.sha256, "since": one.since, "why": one.why}
        for one in [*told, fresh]
    ]
    write_whole(folder / _FILE, json.dumps(lines, indent=1) + "\n")
    return fresh
