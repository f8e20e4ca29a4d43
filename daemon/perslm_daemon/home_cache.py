"""What was announced and said, on the disk: so that the home is known at once after a restart.

One JSON file in the data folder. It is a help and no truth: what cannot be read counts as none. Blocks.
"""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from perslm_daemon.home_device import Value
from perslm_daemon.home_live import Live
from perslm_daemon.home_registry import Announcement

log = logging.getLogger("perslm.home")

NAME = "home.cache"
_MOST_BYTES = 32 * 1024 * 1024


class KeptAnnouncement(msgspec.Struct, frozen=True):
    """One announcement; the payload in base64 where it is no UTF-8."""

    topic: str
    payload: str
    retained: bool
    seen: float
    binary: bool = False

    def bytes(self) -> bytes:
        """The payload as it came."""
        return base64.b64decode(self.payload) if self.binary else self.payload.encode()


class KeptState(msgspec.Struct, frozen=True):
    """What a device last said."""

    values: dict[str, Any]
    at: float


class Kept(msgspec.Struct, frozen=True):
    """The file."""

    announcements: list[KeptAnnouncement] = []
    states: dict[str, KeptState] = {}


@dataclass(frozen=True, slots=True)
class HomeCache:
    """The file in `folder`."""

    folder: Path

    def read(self) -> Kept:
        """What was kept; nothing where there is no file or none that can be read."""
        path = self.folder / NAME
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError("too long")
            return msgspec.json.decode(path.read_bytes(), type=Kept)
        except FileNotFoundError:
            return Kept()
        except (OSError, ValueError, RecursionError) as error:
            log.warning("home_cache_unreadable error=%s", type(error).__name__)
            return Kept()

    def write(self, kept: Kept) -> None:
        """Keep it. Raises OSError."""
        draft = self.folder / f"{NAME}.new"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(kept))
        draft.replace(self.folder / NAME)


def kept_of(announcements: Mapping[str, Announcement], lives: Mapping[str, Live]) -> Kept:
    """What has to be kept of the present."""
    found = [_kept(topic, one) for topic, one in announcements.items()]
    states = {key: KeptState(dict(live.values), live.at) for key, live in lives.items() if live.values}
    return Kept(found, states)


def _kept(topic: str, one: Announcement) -> KeptAnnouncement:
    try:
        return KeptAnnouncement(topic, one.payload.decode(), one.retained, one.seen)
    except UnicodeDecodeError:
        return KeptAnnouncement(topic, base64.b64encode(one.payload).decode(), one.retained, one.seen, True)


def values_of(state: KeptState) -> dict[str, Value]:
    """The values with colours as they were."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in state.values.items()
        if isinstance(value, bool | int | float | str | list)
    }
