"""Timers, alarms and reminders as they are kept: what one is, and the small file that outlives any crash.

All of them are one JSON document with a checksum, written aside, synced and renamed: the file under its name is
whole at every moment. Knows no clock and rings nothing.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import msgspec

from perslm_runtime.errors import PersLMError
from perslm_runtime.time_words import say_duration

log = logging.getLogger("perslm.timers")


class TimersNotKept(PersLMError):
    """A timer could not be written to the disk, so it was not set or changed."""


class Kind(Enum):
    """What counts down or waits for a time of day."""

    TIMER = "timer"
    ALARM = "alarm"
    REMINDER = "reminder"
    COMMAND = "command"  # something to be done in the home


class State(Enum):
    """`unknown`: it was off, and nobody knows for how long until the clock is set.

    `missed`: nobody came; or, of a command, it could not be done.
    """

    RUNNING = "running"
    PAUSED = "paused"
    RINGING = "ringing"
    SNOOZED = "snoozed"
    UNKNOWN = "unknown"
    MISSED = "missed"
    DOING = "doing"


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What a command needs beside its sentence: who wanted it, in which room it was said, and what "it" was.

    `granted` holds "verb device" for everything risky that the person has said yes to. `begun`: PersLM ended while
    it was being done.
    """

    person: str
    area: str = ""
    it: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()
    begun: bool = False


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One timer, alarm or reminder, or a command: `text` is its sentence, `name` what it does, `errand` the rest.

    It is due at `due_boot_s` (CLOCK_BOOTTIME) of the start of the machine named `boot_id`, and at Unix time
    `due_wall_s` (None where the wall time was not known). `local` is a time of day it is meant for
    ("2026-01-31T07:00", without a zone); "" counts down. `every` holds weekdays (0 is Monday). `left_s` counts
    while it is paused. `late_s` is how late it was when it began to ring, `off` whether PersLM did not run when it
    was due; `why` is why a command was missed.
    """

    id: str
    kind: Kind
    state: State
    total_s: float
    due_boot_s: float
    boot_id: str
    name: str = ""
    text: str = ""
    due_wall_s: float | None = None
    local: str = ""
    every: tuple[int, ...] = ()
    left_s: float = 0.0
    rings_since_s: float = 0.0
    late_s: float = 0.0
    off: bool = False
    why: str = ""
    errand: Errand | None = None

    @property
    def called(self) -> str:
        """What a person calls it: "pasta timer", "10 minute timer", "alarm", "plan to ..."."""
        if self.kind is Kind.TIMER and not self.name:
            return f"{adjective(self.total_s)} timer"
        if self.kind is Kind.COMMAND:
            return f"plan to {self.name or self.text}"
        return f"{self.name} {self.kind.value}".strip()


def adjective(seconds: float) -> str:
    """A duration before a noun: "10 minute", "1 hour and 30 minute"."""
    return say_duration(seconds).replace("s and", " and").removesuffix("s")


class ScheduleFile:
    """The file. Every method blocks on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> list[Item]:
        """All items. A file that is not whole (a disk that fails) is put aside, and told in the log.

        Raises `TimersNotKept` where it cannot be read at all.
        """
        try:
            return self._read()
        except OSError as error:
            raise TimersNotKept(
                f"the timers in {self.path} cannot be read ({error.strerror}): check it"
            ) from error

    def _read(self) -> list[Item]:
        try:
            head, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return []
        try:
            if head != b"%08x" % zlib.crc32(body):
                raise ValueError("the checksum does not fit")
            return msgspec.json.decode(body, type=list[Item])
        except ValueError as error:  # msgspec's errors are ValueErrors
            aside = self.path.with_name(f"{self.path.name}.damaged")
            self.path.replace(aside)
            log.error("timers_damaged kept_as=%s error=%s", aside.name, type(error).__name__)
            return []

    def save(self, items: Iterable[Item]) -> None:
        """Replace all items; when it returns they outlive the power going. Raises `TimersNotKept`."""
        body = msgspec.json.encode(list(items))
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(b"%08x\n" % zlib.crc32(body) + body)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise TimersNotKept(
                f"the timers cannot be written to {self.path} ({error.strerror}): check the disk"
            ) from error
