"""What the running daemon keeps of people's words besides the memory, dropped when something is forgotten.

Last heard and last reply, retained on the broker and kept in its file; answers in the journal. What is out of
reach is returned in phrases for the receipt. Knows nothing of the memory; `Pipeline.elsewhere` calls it.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread

from perslm_daemon.broker import running_pid
from perslm_daemon.broker_file import Place
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.mqtt import BrokerLink
from perslm_daemon.mqtt_connection import Address, BrokerError, WrongProtocolError, connect

log = logging.getLogger("perslm.forget")

WORDS = ("last_heard", "last_reply")
"""The values of the bulletin that are what somebody said or was told."""
_SAVED_S = 5.0  # for the broker to write its file: 20 ms for a small house
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class OnBulletin:
    """The last words on the bulletin; on MQTT these are retained topics, which are cleared with them."""

    bulletin: Bulletin

    async def drop(self) -> Sequence[str]:
        """Take them off."""
        for name in WORDS:
            if self.bulletin.current().get(name):
                self.bulletin.post(name, "")
        return ()


@dataclass(frozen=True, slots=True)
class OnBroker:
    """What `link` left on the broker at `address`: retained on `topics`, and in the file of our own, `own`."""

    link: BrokerLink
    address: Address
    node: str
    topics: Sequence[str]
    own: Place | None

    async def drop(self) -> Sequence[str]:
        """Clear all of it, and have our own broker write its file anew; what that cannot reach, in phrases."""
        beyond = ["what other programs kept of what was published, such as Home Assistant's recorder"]
        try:
            await self.link.forget()
        except OSError as error:
            beyond.append(f"the journal of requests, which cannot be written ({error.strerror})")
        try:
            await self._clear_topics()
        except BrokerError as error:
            log.warning("retained_not_cleared error=%s", type(error).__name__)
            beyond.append(f"last_heard and last_reply on the broker {self.address}, until it is there again")
        if self.own is None:
            beyond.append(f"the files of the broker {self.address}, and what it keeps for clients that are away")
        elif not await _have_saved(self.own):
            beyond.append("our own broker's file for the next 30 seconds, until it saves it")
        return beyond

    async def _clear_topics(self) -> None:
        try:
            await self._publish("5")
        except WrongProtocolError:
            await self._publish("3.1.1")

    async def _publish(self, protocol: Literal["5", "3.1.1"]) -> None:
        """Clear the topics on a connection of its own: on return the broker has it."""
        name = f"perslm-{self.node}-forget"
        async with connect(
            self.address, identifier=name, will=None, keepalive_s=30, protocol=protocol, lasting=False
        ) as connection:
            for topic in self.topics:
                await connection.publish(topic, b"", retain=True)


async def _have_saved(place: Place) -> bool:
    """Have our own broker write its file (SIGUSR1), and wait until it did; False where it cannot be told."""
    file = place.folder / "mosquitto.db"
    before = await anyio.to_thread.run_sync(_stamp, file)
    try:
        pid = await anyio.to_thread.run_sync(running_pid, place)
        if pid is None:
            return False
        os.kill(pid, signal.SIGUSR1)
    except OSError:  # another user's, as the service's is
        return False
    with anyio.move_on_after(_SAVED_S):
        while await anyio.to_thread.run_sync(_stamp, file) == before:  # noqa: ASYNC110 - a file tells nobody
            await anyio.sleep(_LOOK_S)
        return True
    return False


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
