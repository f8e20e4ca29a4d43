"""Where and when a bundle's trial runs: beside the engine in use where memory holds both, else in its place.

In its place the engine in use is unloaded at a quiet moment, and comes back as soon as anybody wants it: that ends
the trial, which begins again at a quieter one. What is measured is `update_probe`'s, what it means is
`update_trial`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from perslm_daemon import update_book
from perslm_daemon.config_sections import Config
from perslm_daemon.machine import memory_room_mb
from perslm_daemon.turns_first import TurnsFirst
from perslm_daemon.update_book import PART, Book
from perslm_daemon.update_probe import Measured
from perslm_daemon.update_trial import OutOfMemory, run_trial
from perslm_runtime.bundle import Manifest
from perslm_runtime.errors import CatalogError, PersLMError
from perslm_runtime.lane import Lane
from perslm_runtime.lane_vacancy import while_vacant

log = logging.getLogger("perslm.updates")

_QUIETER_S = (0.0, 30.0, 300.0)
"""Without a turn before each attempt in an engine's place: nobody shall be kept waiting again and again."""


class Proving:
    """Tries bundles. `lanes` are the engines in use by part; a part that does not run has nothing to unload.

    `room_mb` says what memory this process may still take.
    """

    def __init__(
        self,
        config: Config,
        book: Book,
        turns: TurnsFirst,
        lanes: Mapping[str, Lane[Any] | None],
        room_mb: Callable[[], int] = memory_room_mb,
    ) -> None:
        self._config, self._book, self._turns, self._lanes = config, book, turns, lanes
        self._room_mb = room_mb
        self._vacant: Lane[Any] | None = None

    async def prove(self, manifest: Manifest) -> Measured:
        """What came of the trial. After one in its place the engine is away until it is wanted, or `restore`d.

        Raises `BundleRefused` as `run_trial`, and `CatalogError` where nothing is known of the bundle by now: the
        board had no time, no quiet moment or no room on the disk for it.
        """
        data_dir = self._config.data_dir
        try:
            await anyio.to_thread.run_sync(partial(update_book.begin_trial, data_dir, self._book, manifest.name))
        except OSError as error:  # what could end this process is not begun without a note of it
            raise CatalogError(f"{manifest.name} is here and waits for room on the disk") from error
        try:
            return await self._proved(manifest)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(partial(update_book.end_trial, data_dir, self._book))

    async def restore(self) -> None:
        """Load the engine again that made room, where one did: nobody shall wait for it later."""
        lane, self._vacant = self._vacant, None
        if lane is not None:
            try:
                await lane.call(lambda _engine, _stop: None)
            except PersLMError as error:
                log.warning("not_restored part=%s error=%s", lane.name, error)

    async def _proved(self, manifest: Manifest) -> Measured:
        lane = self._lanes.get(PART.get(manifest.kind, manifest.kind))
        if lane is not None and not lane.alive:  # it was given up, and has nothing to unload
            lane = None
        await self._turns.idle()
        room_mb = await anyio.to_thread.run_sync(self._room_mb)
        if lane is None or room_mb > manifest.memory_mb + self._config.sync.reserve_mb:
            try:
                return await run_trial(self._config, manifest, self._turns)
            except OutOfMemory:
                if lane is None:
                    raise
                room_mb = 0  # others took it meanwhile
        log.info("trial_alone name=%s room_mb=%d needs_mb=%d", manifest.name, room_mb, manifest.memory_mb)
        return await self._in_its_place(manifest, lane)

    async def _in_its_place(self, manifest: Manifest, lane: Lane[Any]) -> Measured:
        self._vacant = lane
        for number, quiet_s in enumerate(_QUIETER_S, 1):
            await self._turns.idle(quiet_s)
            found = await while_vacant(lane, partial(run_trial, self._config, manifest, self._turns))
            if found is not None:
                return found
            log.info("trial_gave_way name=%s attempt=%d", manifest.name, number)
        raise CatalogError(
            f"{manifest.name} was not tried: memory holds one {lane.name} at a time, and it was wanted each time"
        )
