"""Is the sound right here: how loud the microphone is, and whether what we play comes back to it, and when.

Measures with any microphone and speaker; knows no command line and no device's name.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio
import numpy as np
from anyio.abc import ObjectReceiveStream
from numpy.typing import NDArray

from perslm_daemon.sound import FRAME_SAMPLES, Frame
from perslm_daemon.sound_card import SoundCard
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample, to_int16

SILENT_DBFS = -100.0
"""What digital silence is shown as."""

_SHOWN_FRAMES = 5  # 100 ms: quicker than that no eye follows a bar
_TAIL_S = 1.5  # an echo through Bluetooth is 0.3 s late
_SWEEP_S = 0.6
# An echo is like the sound, and much more so at one moment than at others. Measured with the sweep: noise reaches
# a likeness of 0.05 and 8 times its median, speech 0.10, a very reverberant room 0.13 and 23 times.
_LIKENESS, _ABOVE_MEDIAN = 0.12, 12.0


@dataclass(frozen=True, slots=True)
class Level:
    """How loud something was, in dB below full scale; `clipped` counts samples at the limit."""

    rms_dbfs: float
    peak_dbfs: float
    clipped: int = 0


@dataclass(frozen=True, slots=True)
class Echo:
    """What came back of a sound: whether it was heard, how late (from our hands to our ears, ms) and how loud."""

    heard: bool
    latency_ms: float | None
    level: Level
    likeness: float


def level_of(samples: NDArray[np.int16]) -> Level:
    """The level of a piece of sound."""
    if len(samples) == 0:
        return Level(SILENT_DBFS, SILENT_DBFS)
    values = samples.astype(np.float64) / 32768
    loudest = np.abs(values).max()
    clipped = int(np.count_nonzero((samples >= 32767) | (samples <= -32768)))
    return Level(_dbfs(float(np.sqrt((values**2).mean()))), _dbfs(float(loudest)), clipped)


async def listen(card: SoundCard, seconds: float, show: Callable[[Level], None]) -> Level:
    """Hear for a while; `show` gets the level ten times a second. Returns that of the whole."""
    whole: list[NDArray[np.int16]] = []
    async with card.listen() as frames:
        with anyio.move_on_after(seconds + _TAIL_S):
            for count in range(round(seconds * SPEECH_RATE_HZ / FRAME_SAMPLES)):
                whole.append((await frames.receive()).samples)
                if count % _SHOWN_FRAMES == _SHOWN_FRAMES - 1:
                    show(level_of(np.concatenate(whole[-_SHOWN_FRAMES:])))
    return level_of(np.concatenate(whole) if whole else np.zeros(0, np.int16))


def sweep() -> Pcm:
    """A tone that rises from 300 to 3500 Hz: nothing else in a room is like it."""
    at = np.arange(round(_SWEEP_S * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    phase = 2 * np.pi * (300 * at + (3500 - 300) / (2 * _SWEEP_S) * at**2)
    return Pcm(to_int16(0.5 * np.sin(phase) * np.hanning(len(at)) ** 0.25), SPEECH_RATE_HZ)


async def echo_of(card: SoundCard, sound: Pcm) -> Echo:
    """Play a sound and look for it in what the microphone hears. Raises `DeviceError` without a loudspeaker."""
    heard: list[Frame] = []

    async def one_piece() -> AsyncIterator[Pcm]:
        yield sound

    async with card.listen() as frames, anyio.create_task_group() as tasks:
        tasks.start_soon(_keep, frames, heard)
        await anyio.sleep(0.2)
        await card.play(one_piece())
        await anyio.sleep(_TAIL_S)
        tasks.cancel_scope.cancel()
    return find_echo(resample(sound, SPEECH_RATE_HZ).samples, heard, card.began_at)


def find_echo(sound: NDArray[np.int16], heard: list[Frame], began_at: float) -> Echo:
    """Look for `sound`, which began at `began_at`, in frames of the microphone."""
    samples = np.concatenate([frame.samples for frame in heard]) if heard else np.zeros(0, np.int16)
    if len(samples) < len(sound):
        return Echo(False, None, level_of(samples), 0.0)
    likeness = _likeness(samples, sound)
    best = int(np.argmax(likeness))
    found = level_of(samples[best : best + len(sound)])
    if likeness[best] < max(_LIKENESS, _ABOVE_MEDIAN * float(np.median(likeness))):
        return Echo(False, None, level_of(samples), float(likeness[best]))
    came_at = heard[0].at + (best - len(heard[0].samples)) / SPEECH_RATE_HZ
    return Echo(True, (came_at - began_at) * 1000, found, float(likeness[best]))


def _likeness(samples: NDArray[np.int16], sound: NDArray[np.int16]) -> NDArray[np.float64]:
    """How like `sound` what begins at each sample is: 1 is the same but for its loudness (and its sign)."""
    size = 1 << (len(samples) + len(sound)).bit_length()
    values, wanted = samples.astype(np.float64), sound.astype(np.float64)
    both = np.fft.irfft(np.fft.rfft(values, size) * np.conj(np.fft.rfft(wanted, size)), size)
    places = len(samples) - len(sound) + 1
    energy = np.concatenate(([0.0], np.cumsum(values**2)))
    loud = np.sqrt(np.maximum(energy[len(sound) :] - energy[:places], 1.0))
    return np.asarray(np.abs(both[:places]) / (loud * np.sqrt((wanted**2).sum())))


async def _keep(frames: ObjectReceiveStream[Frame], kept: list[Frame]) -> None:
    until = time.monotonic() + 60
    async for frame in frames:
        kept.append(frame)
        if frame.at > until:
            return


def _dbfs(value: float) -> float:
    return max(SILENT_DBFS, 20 * float(np.log10(value))) if value > 0 else SILENT_DBFS
