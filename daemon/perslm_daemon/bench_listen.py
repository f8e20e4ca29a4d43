"""Benchmark of listening for long: does it grow, what does it cost, does it still hear, does it hear what is none?

A whole daemon in this process listens to a room through a null sink: noise all the time, somebody who talks to
somebody else every half minute, a question every two minutes. `PERSLM_BENCH_MINUTES` (default 5) says how long.
Wake words over hours of speech are `bench_words`, as fast as sound in memory goes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np

from perslm_daemon.bench_row import Row
from perslm_daemon.bench_sound import NullSound, null_sound
from perslm_daemon.bench_voice import CALL, INTENTS, Bench, clips_of, joined, quiet_config, silence
from perslm_daemon.bench_wakes import false_wake_rows
from perslm_daemon.bench_words import TALK
from perslm_daemon.cli_session import Session
from perslm_daemon.config_sections import Config
from perslm_daemon.process import private_bytes, thread_count
from perslm_daemon.terminal import note
from perslm_daemon.ways import Running
from perslm_runtime.audio import Pcm

_QUIET_S = 20.0
_ROOM_S = 20 * 60.0  # of one noise; then another begins
_ASKS_EVERY = 4  # rounds of half a minute
_ANSWER_S = 30.0
_TENTHS = 10
_LEAST = "least of each tenth of the time"
_PROSE_MIN = 10.0  # heard at five tape speeds: 50 minutes


@dataclass(frozen=True, slots=True)
class _Sample:
    """The process after a quiet stretch, `at` seconds from the start; `cpu` is its share of one core during it."""

    at: float
    memory_mb: float
    threads: int
    cpu: float


def listen(session: Session) -> list[Row]:
    """Growth, processor time, calls heard and missed over minutes; false wakes over hours of speech."""
    minutes = float(os.environ.get("PERSLM_BENCH_MINUTES", "5"))
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder, null_sound() as sound:
        config = quiet_config(session.config, Path(folder))
        clips = clips_of(config, (*INTENTS, *TALK, CALL))
        soak = _Soak(config, sound, clips, minutes)
        anyio.run(soak.run)
    return soak.rows() + false_wake_rows(session.config, min(minutes, _PROSE_MIN))


class _Soak(Bench):
    """The same daemon as `bench voice` has, left to itself for long."""

    def __init__(self, config: Config, sound: NullSound, clips: dict[str, Pcm], minutes: float) -> None:
        super().__init__(config, sound, clips, rounds=1)
        self._minutes = minutes
        self._samples: list[_Sample] = []
        self._calls = self._answered = self._false = 0

    async def _measure(self, running: Running) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, running)
            await anyio.sleep(2.0)
            began = time.monotonic()
            until = began + 60 * self._minutes
            while time.monotonic() < until:
                with ExitStack() as stack:
                    await anyio.to_thread.run_sync(stack.enter_context, self._sound.room())
                    await self._stretch(began, min(until, time.monotonic() + _ROOM_S))
            tasks.cancel_scope.cancel()

    async def _stretch(self, began: float, until: float) -> None:
        number = len(self._samples)
        while time.monotonic() < until:
            await self._quiet(began)
            if number % _ASKS_EVERY == 0:
                await self._asks(INTENTS[number // _ASKS_EVERY % len(INTENTS)])
            else:
                await self._talks(TALK[number % len(TALK)])
            number += 1

    async def _quiet(self, began: float) -> None:
        at, used = time.monotonic(), time.process_time()
        await anyio.sleep(_QUIET_S)
        cpu = 100 * (time.process_time() - used) / (time.monotonic() - at)
        memory_mb = await anyio.to_thread.run_sync(private_bytes) / 1e6
        self._samples.append(_Sample(time.monotonic() - began, memory_mb, thread_count(), cpu))
        if len(self._samples) % 12 == 0:
            last = self._samples[-1]
            figures = f"{last.memory_mb:.1f} MB, {last.threads} threads, {last.cpu:.1f} % of a core"
            note(f"{last.at / 60:.0f} min: {figures}")

    async def _asks(self, said: str) -> None:
        self._told.clear()
        self._calls += 1
        await self._says(joined(self._clips[CALL], silence(0.35), self._clips[said]))
        with anyio.move_on_after(_ANSWER_S):
            await self._until("tts_finished")
            await self._until("idle")
            self._answered += 1

    async def _talks(self, said: str) -> None:
        self._told.clear()
        await self._says(self._clips[said])
        await anyio.sleep(1.0)
        self._false += sum(kind == "wake_word_detected" for _, kind, _ in self._told.events)

    async def _says(self, clip: Pcm) -> None:
        player = await anyio.to_thread.run_sync(self._sound.say, clip)
        await anyio.to_thread.run_sync(player.wait)

    def rows(self) -> list[Row]:
        """What it came to. The first third warms caches up and is not counted for growth."""
        samples = self._samples
        if not samples:
            return []
        later = samples[len(samples) // 3 :]
        what = f"{samples[-1].at / 60:.0f} min of listening"
        cpu = [one.cpu for one in samples]
        return [
            Row(f"{what}: private memory, end", "MB", samples[-1].memory_mb, later[0].memory_mb, "after a third"),
            Row("  growth of the least, straight line", "MB per hour", _growth_mb_h(later), None, _LEAST),
            Row("  threads, end", "", samples[-1].threads, later[0].threads, "after a third"),
            Row("  whole process in a quiet room, median of 20 s", "% of a core", _mid(cpu), 3.0, "the goal"),
            Row("  the same, worst", "% of a core", max(cpu), 3.0, "the goal"),
            Row("  calls heard and answered", "of all", self._answered, self._calls, "called"),
            Row("  false wakes by talk in the room", "times", self._false, None, f"in {what}"),
        ]


def _growth_mb_h(samples: Sequence[_Sample]) -> float:
    """Slope of the least that was held in each tenth: what an answer leaves in heaps is given back within 30 s."""
    tenths = [
        samples[one * len(samples) // _TENTHS : (one + 1) * len(samples) // _TENTHS] for one in range(_TENTHS)
    ]
    least = [min(tenth, key=lambda one: one.memory_mb) for tenth in tenths if tenth]
    if len(least) < 2:
        return 0.0
    slope = np.polyfit([one.at for one in least], [one.memory_mb for one in least], 1)[0]
    return float(slope) * 3600


def _mid(values: Sequence[float]) -> float:
    return float(np.median(values))
