"""From the device's blocks to frames: any rate and any channels become 16 kHz mono, for everybody who listens.

PortAudio's thread only notes what came; the rest happens in the event loop. Every queue is bounded
and loses its oldest. Knows no device.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import numpy as np
from anyio.abc import ObjectReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from numpy.typing import NDArray

from perslm_daemon.sound import FRAME_SAMPLES, Frame
from perslm_runtime.audio import SPEECH_RATE_HZ
from perslm_runtime.resampler import Resampler

_TOGETHER = 6  # blocks that come in one go while nobody waits for each: as many as a wake word's step
_BLOCKS = 50  # that the loop may be behind the device: a second
_FRAMES = 100  # that a listener may be behind the loop: two seconds, while each comes by itself


@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """The form of an open device's blocks, and what brings it to ours."""

    channels: int
    resampler: Resampler


class Intake:
    """Blocks in, frames out. `channel` 0 takes the mean of the channels, n the n-th alone."""

    def __init__(self, channel: int = 0) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.closed = False
        """While set, blocks are dropped where they come in: nobody hears a muted microphone."""
        self.patient = False
        """Whether frames may come a few at a time: waking the loop for each costs half of what listening costs."""
        self.overruns = 0
        self.block_at = self.sound_at = 0.0
        """When the last block came, and the last that was not all zeros (`time.monotonic()`)."""
        self._channel = channel
        self._form: _Form | None = None
        self._blocks: deque[tuple[_Form, bytes, float]] = deque()
        self._rest: NDArray[np.int16] = np.zeros(0, np.int16)
        self._listeners: list[tuple[MemoryObjectSendStream[Frame], MemoryObjectReceiveStream[Frame]]] = []

    def device(self, rate_hz: int, channels: int) -> Callable[[bytes, bool], None]:
        """What takes the blocks of a device that was just opened, in PortAudio's thread."""
        form = _Form(channels, Resampler(rate_hz, SPEECH_RATE_HZ))
        return lambda data, lost: self._note(form, data, lost)

    def _note(self, form: _Form, data: bytes, lost: bool) -> None:
        """Note a block; never waits."""
        self.block_at = time.monotonic()
        if self.closed:
            return
        self.overruns += lost
        if len(self._blocks) >= _BLOCKS:
            self._blocks.popleft()
            self.overruns += 1
        self._blocks.append((form, data, self.block_at))
        if self.patient and len(self._blocks) < _TOGETHER:
            return
        try:
            # anyio's way into the loop waits until the loop has taken it, which a callback of the device must not.
            if self.loop is not None:
                self.loop.call_soon_threadsafe(self.deliver)
        except RuntimeError:
            return  # the loop has ended

    @contextmanager
    def listener(self) -> Iterator[ObjectReceiveStream[Frame]]:
        """A stream of every frame from now on."""
        sender, receiver = anyio.create_memory_object_stream[Frame](_FRAMES)
        ends = (sender, receiver.clone())
        self._listeners.append(ends)
        try:
            with receiver:
                yield receiver
        finally:
            self._listeners.remove(ends)
            for end in ends:
                end.close()

    def deliver(self) -> None:
        """Make frames of the blocks that came, and hand them out."""
        while self._blocks:
            form, whole, at = self._next()
            if form is not self._form:
                self._form, self._rest = form, self._rest[:0]
            if whole.any():
                self.sound_at = at
            if self.closed or not self._listeners:
                self._rest = self._rest[:0]
                continue
            sound = np.concatenate((self._rest, form.resampler.feed(self._mono(whole))))
            count = len(sound) // FRAME_SAMPLES
            self._rest = sound[count * FRAME_SAMPLES :]
            step = max(1, count) * FRAME_SAMPLES if self.patient else FRAME_SAMPLES
            for start in range(0, count * FRAME_SAMPLES, step):
                later = len(sound) - start - step
                self._hand_out(Frame(sound[start : start + step], at - later / SPEECH_RATE_HZ))

    def _next(self) -> tuple[_Form, NDArray[np.int16], float]:
        """The next block, or all that wait together while nobody waits for each; when its last sample came."""
        form, data, at = self._blocks.popleft()
        if self.patient:
            parts = [data]
            while self._blocks and self._blocks[0][0] is form:
                _, data, at = self._blocks.popleft()
                parts.append(data)
            data = b"".join(parts)
        return form, np.frombuffer(data, np.int16).reshape(-1, form.channels), at

    def _mono(self, whole: NDArray[np.int16]) -> NDArray[np.int16]:
        channels = whole.shape[1]
        if channels > 1 and not self._channel:
            return np.asarray(np.rint(whole.mean(axis=1)), np.int16)
        return whole[:, min(max(self._channel, 1), channels) - 1]

    def _hand_out(self, frame: Frame) -> None:
        for sender, oldest in self._listeners:
            try:
                sender.send_nowait(frame)
            except anyio.WouldBlock:
                oldest.receive_nowait()
                sender.send_nowait(frame)
                self.overruns += 1
