"""What notifications are kept as: one file in the data folder, written aside and renamed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perslm_daemon.whole_file import put_aside, replace_whole
from perslm_runtime.errors import PersLMError

log = logging.getLogger("perslm.notify")


class NoticesNotKept(PersLMError):
    """The notifications cannot be read or written."""

    exit_code = 1


class Notice(msgspec.Struct, frozen=True):
    """Something to tell: its text and title, how urgent it is, what it is about, and since when (ISO 8601)."""

    id: str
    text: str
    title: str = ""
    urgency: str = "normal"
    subject: str = "messages"
    at: str = ""

    @property
    def spoken(self) -> str:
        """It as it is said."""
        return f"{self.title}: {self.text}" if self.title else self.text


class Waiting(msgspec.Struct, frozen=True):
    """A notice with the targets that it has still to reach, and whether somebody has seen it."""

    notice: Notice
    left: tuple[str, ...] = ()
    seen: bool = False


def load(file: Path) -> list[Waiting]:
    """What is kept; a file that is not whole is put aside. Raises `NoticesNotKept`."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Waiting])
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NoticesNotKept(f"the notifications in {file} cannot be read ({error.strerror}): check it") from error
    except ValueError as error:  # msgspec's errors are ValueErrors
        log.error("notices_damaged kept_as=%s error=%s", put_aside(file), type(error).__name__)
        return []


def save(file: Path, kept: Sequence[Waiting]) -> None:
    """Replace all of it; durable when it returns. Raises `NoticesNotKept`."""
    try:
        replace_whole(file, msgspec.json.encode(list(kept)))
    except OSError as error:
        raise NoticesNotKept(
            f"the notifications cannot be written to {file} ({error.strerror}): check the disk"
        ) from error
