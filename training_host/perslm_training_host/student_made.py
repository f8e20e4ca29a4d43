"""What one `perslm-host student make` was: its settings, each part's CPU seconds, and the scores of its files.

`made.json` in the student's folder; a part that is gone on with adds to its seconds. So a figure about a student
is what the command itself wrote, and not what somebody noted beside it. Knows nothing of how a part works.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perslm_runtime.errors import InputError
from perslm_training_host.runs import write_whole

FILE = "made.json"


@dataclass(frozen=True, slots=True)
class Made:
    """A student's record; every change of it is on the disk at once, whole or not at all."""

    folder: Path
    found: dict[str, Any]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the CPU seconds of this process and of those that it has waited for, however the block ends.

        A process that is killed has counted nothing of the part it was in.
        """
        began = cpu_s()
        try:
            yield
        finally:
            spent = self.found["cpu_s"]
            spent[name] = round(spent.get(name, 0.0) + cpu_s() - began, 1)
            self.note()

    def note(self, **more: object) -> None:
        """Keep something about the student."""
        self.found.update(more)
        write_whole(self.folder / FILE, json.dumps(self.found, indent=1, ensure_ascii=False) + "\n")


def begin(folder: Path, settings: Mapping[str, object]) -> Made:
    """The record in `folder`, begun here or gone on with.

    Raises InputError where what is there was made with other settings, or cannot be read.
    """
    plain = json.loads(json.dumps(settings))
    path = folder / FILE
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        made = Made(folder, {"settings": plain, "cpu_s": {}})
        made.note()
        return made
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        before: dict[str, Any] = dict(found["settings"])
        found["cpu_s"] = dict(found["cpu_s"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): delete it to go on without its figures") from error
    other = sorted(key for key in {*before, *plain} if before.get(key) != plain.get(key))
    if other:
        raise InputError(
            f"{folder} holds a student made with another {', '.join(other)}: give the same to go on with it, or"
            " another folder"
        )
    return Made(folder, found)


def cpu_s() -> float:
    """Processor seconds that this process and its ended children have taken."""
    return sum(os.times()[:4])
