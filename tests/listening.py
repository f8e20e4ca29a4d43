"""Ears over the real engines and a microphone that is a file, for tests of listening."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from anyio.abc import TaskGroup

from perslm_daemon.config_sections import Ears as Wanted
from perslm_daemon.ears import Ears
from perslm_daemon.hearing import Heard, Start
from perslm_daemon.wake_listener import Woken
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.stt import SpeechToText, open_recognizer
from perslm_runtime.tts import Piper
from perslm_runtime.vad import Silero
from perslm_runtime.wake import MicroWakeWord
from real_models import model_path
from recordings import spoken
from sound_files import FileMicrophone

SPEED = 6.0
"""How much faster than real time a test's microphone speaks: the recognizer takes a tenth of real time."""


def trimmed(pcm: Pcm) -> Pcm:
    """Without the silence before and after."""
    loud = np.flatnonzero(np.abs(pcm.samples) > 150)
    return Pcm(pcm.samples[loud[0] : loud[-1] + 1], pcm.rate_hz)


def pause(seconds: float) -> Pcm:
    """Silence."""
    return Pcm(np.zeros(round(seconds * SPEECH_RATE_HZ), np.int16), SPEECH_RATE_HZ)


def said(*parts: str | float) -> Pcm:
    """Sentences in Piper's voice with pauses (seconds) between them, and nothing around. Blocks: see `saying`."""
    sounds = [trimmed(spoken(part)) if isinstance(part, str) else pause(part) for part in parts]
    return Pcm(np.concatenate([sound.samples for sound in sounds]), SPEECH_RATE_HZ)


async def saying(*parts: str | float) -> Pcm:
    """As `said`, from within the loop."""
    return await anyio.to_thread.run_sync(said, *parts)


@cache
def _at_pace(length_scale: float) -> Piper:
    return Piper(model_path("piper-en_US-joe-medium", "voice.onnx").parent, 2, length_scale=length_scale)


@cache
def said_at(text: str, length_scale: float) -> Pcm:
    """A sentence at another pace: 0.7 is fast, 1.4 slow."""
    pieces = [piece.samples for piece in _at_pace(length_scale).speak(text, Stop())]
    return trimmed(resample(Pcm(np.concatenate(pieces), _at_pace(length_scale).rate_hz), SPEECH_RATE_HZ))


def mixed(speech: Pcm, noise: Pcm, noise_gain: float) -> Pcm:
    """`speech` over `noise`, which is repeated as long as it takes."""
    behind = np.resize(noise.samples, len(speech.samples)).astype(np.float64) * noise_gain
    return Pcm(np.clip(speech.samples + behind, -32768, 32767).astype(np.int16), SPEECH_RATE_HZ)


@dataclass(slots=True)
class Listening:
    """Ears that run, their microphone, and the wake words they told."""

    ears: Ears
    microphone: FileMicrophone
    tasks: TaskGroup
    woken: list[Woken]

    async def wait_woken(self, count: int = 1) -> Woken:
        """The `count`-th wake word."""
        with anyio.fail_after(30):
            while len(self.woken) < count:  # noqa: ASYNC110 - the ears tell a list
                await anyio.sleep(0.01)
        return self.woken[count - 1]

    async def hear_after_wake(self, **more: Any) -> Heard:
        """What is said after the next wake word."""
        woken = await self.wait_woken(len(self.woken) + 1)
        with anyio.fail_after(60):
            return await self.ears.hear(
                Start(woken.start, woken.level_db, after_wake=True), phrase=woken.phrase, **more
            )


@asynccontextmanager
async def listening(
    wanted: Wanted | None = None,
    *,
    words: Sequence[str] = ("okay_nabu",),
    engine: tuple[str, str] = ("whisper", "whisper-tiny.en"),
    english: bool = True,
    speed: float = SPEED,
    room: float = 8.0,
    **more: Any,
) -> AsyncIterator[Listening]:
    """Ears over real engines; the room has been quiet for a second when it begins."""
    name, model = engine
    folder = await anyio.to_thread.run_sync(model_path, model)
    async with AsyncExitStack() as stack:
        vad = await stack.enter_async_context(Lane("vad", Silero))
        stt: Lane[SpeechToText] = await stack.enter_async_context(
            Lane("stt", lambda: open_recognizer(name, folder, 2))
        )
        wake = await stack.enter_async_context(Lane("wake", lambda: MicroWakeWord(words))) if words else None
        microphone = FileMicrophone(speed=speed, room=room)
        ears = Ears(microphone, vad, stt, wake, wanted or Wanted(), english=english, **more)
        woken: list[Woken] = []
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        await tasks.start(ears.run, woken.append)
        await ears.sound.beyond(SPEECH_RATE_HZ)
        yield Listening(ears, microphone, tasks, woken)
