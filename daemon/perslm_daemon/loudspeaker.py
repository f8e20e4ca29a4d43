"""The loudspeaker's side of the sound card: what is played, and when its stream has to be opened anew for it.

A sound server plays what it holds before what comes: 60 ms of silence before a first word, 60 ms of speech after
a "stop". Opening a stream takes 3 ms, so each thing said gets one of its own that begins with it, and what is cut
off is closed with all it holds. Opens nothing itself: the sound card's owner does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Callable
from enum import Enum

import anyio

from perslm_daemon.portaudio import Opened
from perslm_daemon.sound_ring import Ring
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import DeviceError
from perslm_runtime.resampler import Resampler

_RETURN_S = 2.0  # speech waits so long for a loudspeaker that went; a USB plug that was moved is back by then
_AHEAD_S = 0.4  # sound in the ring: how long the loop may be held up without a gap
_SLICE_S = 0.1
_TAIL_S = 0.5  # after its last sample a stream may still be heard: a server's buffer, a radio's way
_LINGERS_S = 1.0


class Stream(Enum):
    """What a stream is open for: silence, in long blocks that cost little, or sound."""

    RESTING = "resting"
    SPEAKING = "speaking"


class Loudspeaker:
    """Plays pieces of sound. `wake` calls the owner, who opens it anew when it is `due` and tells `opened`.

    `why` is the sentence with the next step while it is not open.

    `play` belongs to the event loop, what `wants` returns to the device's callback.
    """

    def __init__(self, wake: Callable[[], None], why: Callable[[], str]) -> None:
        self._wake, self._why = wake, why
        self.ring = Ring(48_000)
        self.device: Opened | None = None
        self.steady = False
        """Whether its stream has to stay as it is: a new one would not go the echo canceller's way."""
        self.block_at = self.opened_at = 0.0
        """When the device last took a block, and when it was opened (`time.monotonic()`)."""
        self._stream = Stream.RESTING
        self._asked = self._cut = False
        self._went_at = -_RETURN_S
        self._playing = anyio.Lock()
        self._changed = anyio.Event()

    @property
    def playing(self) -> bool:
        """Whether something is being played, or waits for its turn."""
        return self._playing.locked()

    @property
    def rests(self) -> bool:
        """Whether its stream is one for silence, whose long blocks come less evenly."""
        through_server = self.device is not None and self.device.server and not self.steady
        return through_server and self._stream is Stream.RESTING

    @property
    def latency_s(self) -> float:
        """Seconds from the moment a sample is taken from us until it is heard."""
        return self.device.latency_s if self.device else 0.0

    # The owner's side

    @property
    def wanted(self) -> Stream:
        """What a stream that is opened now is for."""
        return Stream.SPEAKING if self.playing and not self._cut else Stream.RESTING

    @property
    def due(self) -> bool:
        """Whether the open stream should be exchanged for one that is `wanted`.

        A device without a server between is kept: opening it may take a tenth of a second and is heard on some.
        """
        if self.device is None or not self.device.server or self.steady:
            return False
        silent_s = time.monotonic() - max(self.ring.sounded_at, self.opened_at)
        return self._asked or self._cut or (
            self._stream is Stream.SPEAKING and not self.playing and silent_s > _LINGERS_S
        )  # fmt: skip

    def opened(self, device: Opened | None, stream: Stream = Stream.RESTING) -> None:
        """The owner has opened it, or found that it cannot."""
        if device is None:
            self.gone()
            return
        self.device, self._stream, self.opened_at = device, stream, time.monotonic()
        self._asked = self._cut = False
        self._tell()

    def gone(self) -> None:
        """It was lost or closed: speech waits for it from now on."""
        if self.device is not None:
            self._went_at = time.monotonic()
        self.device = None
        self.steady = self._asked = self._cut = False
        self._tell()

    def expected(self) -> None:
        """It is about to be opened for the first time: what is said meanwhile waits, too."""
        self._went_at = time.monotonic()

    def wants(self, rate_hz: int) -> Callable[[int, bool], bytes]:
        """Called in PortAudio's thread once it is open; a ring of its rate goes on where it was."""
        if self.ring.rate_hz != rate_hz:
            ring = Ring(rate_hz)
            ring.gain, ring.gaps = self.ring.gain, self.ring.gaps
            self.ring = ring
        ring = self.ring
        ring.anew()

        def want(samples: int, dry: bool) -> bytes:
            self.block_at = time.monotonic()
            ring.gaps += dry and ring.flowing
            return ring.take(samples).tobytes()

        return want

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # The speaker's side

    async def play(self, pieces: AsyncIterable[Pcm]) -> float:
        """As `Speaker.play`: without gaps, one call after the other; cancelling it is silence at once."""
        async with self._playing:
            await self._back()
            ring = self.ring
            before, ended = ring.heard, False
            try:
                await self._fill(ring, pieces)
                await self._drain(ring)
                ended = True
            finally:
                ring.flowing = False
                if not ended:
                    ring.clear()
                    self._cut = True
                    self._wake()
            return (ring.heard - before) / ring.rate_hz

    async def _back(self) -> None:
        """Return when there is a loudspeaker. Raises `DeviceError` when none comes."""
        if self._went_at + _RETURN_S > time.monotonic():
            with anyio.move_on_after(self._went_at + _RETURN_S - time.monotonic()):
                while self.device is None:
                    await self._changed.wait()
        if self.device is None:
            raise DeviceError(self._why())

    async def _fill(self, ring: Ring, pieces: AsyncIterable[Pcm]) -> None:
        resampler: Resampler | None = None
        begun = False
        async for piece in pieces:
            if resampler is None or resampler.from_hz != piece.rate_hz:
                if resampler is not None:
                    ring.put(resampler.flush())
                resampler = Resampler(piece.rate_hz, ring.rate_hz)
            step = max(1, round(_SLICE_S * piece.rate_hz))
            for start in range(0, len(piece.samples), step):
                ring.put(resampler.feed(piece.samples[start : start + step]))
                if not begun:
                    begun = True
                    await self._begin(ring)
                ring.flowing = True
                await self._until_queued(ring, _AHEAD_S)
            # Between two pieces nothing is owed: whoever speaks may be slower than the loudspeaker.
            ring.flowing = False
        if resampler is not None:
            ring.put(resampler.flush())

    async def _begin(self, ring: Ring) -> None:
        """Have a stream opened that begins with what is queued, unless the last sound may still be heard."""
        device = self.device
        speaking = self._stream is Stream.SPEAKING and not self._cut
        if device is None or not device.server or self.steady:
            return
        if speaking and time.monotonic() - ring.sounded_at < _TAIL_S:
            return
        self._cut, self._asked = False, True
        self._wake()
        with anyio.move_on_after(_RETURN_S):
            while self._asked:
                await self._changed.wait()
        if self._asked:
            raise DeviceError("the sound server does not answer: restart it, or wait")

    async def _drain(self, ring: Ring) -> None:
        await self._until_queued(ring, 0.0)
        await anyio.sleep(self.latency_s)

    async def _until_queued(self, ring: Ring, most_s: float) -> None:
        """Wait until so much is queued at most. Raises `DeviceError` when the loudspeaker goes and stays away."""
        while ring.queued_s > most_s:
            if self.device is None:
                await self._back()
            if self.ring is not ring:
                raise DeviceError("the loudspeaker was replaced by another in the midst of it: say it again")
            await anyio.sleep(max(0.005, ring.queued_s - most_s))
