"""Microphones and speakers that are files: the two verbs of the sound card, in real time or faster.

A `FileMicrophone` says what it is given, then silence; a `FileSpeaker` keeps what it is told to play.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import numpy as np
from anyio.abc import ObjectReceiveStream

from perslm_daemon.sound import FRAME_SAMPLES, Frame
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample

FRAME_S = FRAME_SAMPLES / SPEECH_RATE_HZ


class FileMicrophone:
    """Says what is put into it with `say`; between that, a soft noise, as of a quiet room (seeded).

    With `speed` 1 it keeps real time; faster, its frames carry the times they would have had.
    """

    patient = False

    def __init__(self, *, speed: float = 1.0, room: float = 8.0) -> None:
        self._speed = speed
        self._noise = np.random.default_rng(7)
        self._room = room
        self._waiting = np.zeros(0, np.int16)
        self._echo = np.zeros(0, np.float64)
        self.open = True
        self.said_until = 0.0
        """`time.monotonic()` of the last sample that was put in and has been heard."""

    def say(self, pcm: Pcm) -> None:
        """Say this after what is still waiting."""
        assert pcm.rate_hz == SPEECH_RATE_HZ
        self._waiting = np.concatenate([self._waiting, pcm.samples])

    def echo(self, pcm: Pcm, gain: float = 0.3) -> None:
        """Let it hear what the loudspeaker plays, as in a room: now, softer, under whatever else is said."""
        self._echo = np.concatenate([self._echo, resample(pcm, SPEECH_RATE_HZ).samples * gain])

    @property
    def silent(self) -> bool:
        """Whether all was said."""
        return not len(self._waiting)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[ObjectReceiveStream[Frame]]:
        sender, receiver = anyio.create_memory_object_stream[Frame](500)
        async with anyio.create_task_group() as tasks, receiver:
            tasks.start_soon(self._speak, sender)
            yield receiver
            tasks.cancel_scope.cancel()

    async def _speak(self, sender: anyio.abc.ObjectSendStream[Frame]) -> None:
        at = time.monotonic()
        due = at
        async with sender:
            while True:
                due += FRAME_S / self._speed
                await anyio.sleep(max(0.0, due - time.monotonic()))
                at += FRAME_S
                if self.open:
                    await sender.send(Frame(self._next(), at if self._speed != 1.0 else time.monotonic()))

    def _next(self) -> np.ndarray:
        now, self._waiting = self._waiting[:FRAME_SAMPLES], self._waiting[FRAME_SAMPLES:]
        if len(now):
            self.said_until = time.monotonic()
        room = self._noise.normal(0, self._room, FRAME_SAMPLES)
        back, self._echo = self._echo[:FRAME_SAMPLES], self._echo[FRAME_SAMPLES:]
        room[: len(back)] += back
        mixed = room + np.pad(now, (0, FRAME_SAMPLES - len(now))).astype(np.float64)
        return np.clip(mixed, -32768, 32767).astype(np.int16)


class FileSpeaker:
    """Keeps what it plays, in real time by `speed`; cancelling is silence, and what was not heard is not kept."""

    latency_s = 0.02

    def __init__(self, *, speed: float = 1.0) -> None:
        self.gain = 1.0
        self._speed = speed
        self.played: list[Pcm] = []
        self.playing = False
        self.on_play: list[tuple[float, float]] = []
        """(begin, end) of each play, `time.monotonic()`."""

    async def play(self, pieces: AsyncIterable[Pcm]) -> float:
        seconds = 0.0
        began = time.monotonic()
        self.playing = True
        try:
            async for piece in pieces:
                step = max(1, piece.rate_hz // 50)
                for start in range(0, len(piece.samples), step):
                    part = Pcm(piece.samples[start : start + step], piece.rate_hz)
                    await anyio.sleep(part.seconds / self._speed)
                    self.played.append(part)
                    seconds += part.seconds
        finally:
            self.playing = False
            self.on_play.append((began, time.monotonic()))
        return seconds

    def sound(self) -> Pcm:
        """Everything that was heard, in one piece."""
        assert self.played, "nothing was played"
        return Pcm(np.concatenate([part.samples for part in self.played]), self.played[0].rate_hz)
