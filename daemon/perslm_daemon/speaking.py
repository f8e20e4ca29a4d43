"""The loudspeaker of the running daemon: what is to be said goes to the system's player, in order, until silenced.

The mouth of this slice. Queues with priorities, ducking and chimes come with live voice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio

from perslm_daemon import engine_calls, speaker
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import Cancelled
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper

_CHUNK_S = 0.05


class Loudspeaker:
    """The system's player as an engine, used in a lane. Raises `InputError` where there is no loudspeaker."""

    name = "loudspeaker"
    file: Path | None = None

    def __init__(self) -> None:
        self._command = speaker.player()

    def prove(self) -> str:
        """Name the player; nothing is played at start."""
        return f"plays through {self._command[0]}"

    def play(self, stop: Stop, sound: Pcm) -> float:
        """Play one piece; returns its seconds, 0 when `stop` silenced it (within 50 ms of sound)."""
        try:
            return speaker.play(self._command, _chunks(sound, stop), sound.rate_hz)
        except Cancelled:
            return 0.0

    def close(self) -> None:
        """Nothing is held between pieces."""


class SoundOut:
    """Says texts and plays sound, one piece after the other; `silence` ends the piece that is being played."""

    def __init__(self, voice: Lane[Piper], loudspeaker: Lane[Loudspeaker]) -> None:
        self._voice = voice
        self._loudspeaker = loudspeaker
        self._scope: anyio.CancelScope | None = None

    async def say(self, text: str) -> float:
        """Speak a text; returns the seconds of sound that were heard."""
        seconds = 0.0
        async with self._voice.stream(engine_calls.speak, speakable(text)) as sounds:
            async for sound in sounds:
                seconds += await self.take(sound)
        return seconds

    async def ring(self, text: str) -> None:
        """Ring once for a timer: say what it is."""
        await self.say(text)

    async def take(self, sound: Pcm) -> float:
        """Play one piece after those before it; returns its seconds, 0 when it was silenced."""
        with anyio.CancelScope() as self._scope:
            return await self._loudspeaker.call(Loudspeaker.play, sound)
        return 0.0

    def silence(self) -> None:
        """Stop the piece that is being played."""
        if self._scope is not None:
            self._scope.cancel()


def _chunks(sound: Pcm, stop: Stop) -> Iterator[Pcm]:
    step = max(1, round(_CHUNK_S * sound.rate_hz))
    for start in range(0, len(sound.samples), step):
        stop.check()
        yield Pcm(sound.samples[start : start + step], sound.rate_hz)
