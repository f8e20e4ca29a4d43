"""The journal beside the event loop: its disk work in one thread at a time, what comes together written together.

Owns no rule of what is written when (mqtt.py) and no format (journal.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.journal import Accepted, Journal

log = logging.getLogger("perslm.journal")


class JournalWriter:
    """Writes to `journal` without holding up the loop; `run` beside whoever uses it."""

    def __init__(self, journal: Journal, bulletin: Bulletin) -> None:
        self._journal, self._bulletin = journal, bulletin
        self._disk = anyio.CapacityLimiter(1)
        self._answers: list[tuple[str, bytes, asyncio.Future[None]]] = []
        self._delivered: list[str] = []
        self._to_write = asyncio.Event()

    async def run(self) -> None:
        """Write answers and deliveries as they come; a disk that fails is told and not waited for."""
        while True:
            await self._to_write.wait()
            self._to_write.clear()
            batch, self._answers = self._answers, []
            try:
                with anyio.CancelScope(shield=True):  # a stop must not lose what was taken off the lists
                    await self.deliver(())
                    await self._on_disk(self._journal.finish, [(key, answer) for key, answer, _ in batch])
            except OSError as error:
                log.warning("journal_failed error=%s", error)  # the answer is still sent: it is what was done
                self._bulletin.tell("warning", message=f"the journal cannot be written: {error.strerror}")
            for _, _, written in batch:
                if not written.done():
                    written.set_result(None)

    async def accept(self, requests: Iterable[Accepted]) -> None:
        """Requests are on disk when it returns. Raises OSError."""
        await self._on_disk(self._journal.accept, list(requests))

    async def finish(self, key: str, answer: bytes) -> None:
        """Wait until the answer is on disk, or the disk has failed."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers.append((key, answer, written))
        self._to_write.set()
        await written

    async def finish_now(self, key: str, answer: bytes) -> None:
        """As `finish`, when `run` has ended. Raises OSError."""
        await self._on_disk(self._journal.finish, [(key, answer)])

    async def release(self, key: str) -> None:
        """Forget a request that was refused before it did anything."""
        try:
            await self._on_disk(self._journal.release, [key])
        except OSError as error:
            log.warning("journal_failed error=%s", error)

    async def forget(self, instead: bytes) -> None:
        """Put `instead` in the place of all answers that are on disk. Raises OSError."""
        await self._on_disk(self._journal.forget_answers, instead)

    def note_delivered(self, key: str) -> None:
        """The broker has the answer; it is written with what is written next."""
        self._delivered.append(key)
        self._to_write.set()

    async def deliver(self, keys: Iterable[str]) -> None:
        """Write what was noted, and `keys`, as delivered. Raises OSError."""
        noted, self._delivered = [*self._delivered, *keys], []
        if noted:
            await self._on_disk(self._journal.deliver, noted)

    async def _on_disk(self, function: Callable[[Any], None], argument: Any) -> None:
        await anyio.to_thread.run_sync(partial(function, argument), limiter=self._disk)
