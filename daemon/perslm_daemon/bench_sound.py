"""A sound server without sound cards for the voice benchmark: one clock for what is said in and what is heard out.

One null sink with two channels: the left one is the room in front of the microphone, the right one the
loudspeaker, so that one recording of its monitor has both, sample by sample. Clips are played in real time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.audio import Pcm, resample
from perslm_runtime.errors import InputError

RATE_HZ = 48_000
HEARD_DB = -50.0
"""From this level on, below full scale, a sample counts as sound."""

_HEARD = 32768 * 10 ** (HEARD_DB / 20)
_START_S = 20.0
_ALSA = "</usr/share/alsa/alsa.conf>\npcm.!default { type pulse }\nctl.!default { type pulse }\n"
_MODULES = (
    f"module-null-sink sink_name=both rate={RATE_HZ} channels=2 norewinds=1",
    "module-remap-sink sink_name=mic_in master=both channels=1 channel_map=mono"
    " master_channel_map=front-left remix=no",
    "module-remap-sink sink_name=spk master=both channels=1 channel_map=mono"
    " master_channel_map=front-right remix=no",
    "module-remap-source source_name=mic master=both.monitor channels=1 channel_map=mono"
    " master_channel_map=front-left remix=no",
    "module-always-sink",
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Both channels, int16 [n] each, at 48 kHz; `began` is `time.monotonic()` of the first sample, to 10 ms."""

    said: NDArray[np.int16]
    heard: NDArray[np.int16]
    began: float

    def end_of_speech_s(self) -> float:
        """Second of the last sample above -50 dBFS that was said."""
        loud = np.flatnonzero(np.abs(self.said.astype(np.int32)) > _HEARD)
        if not len(loud):
            raise InputError("the benchmark's own speech is not in the recording: is PulseAudio at work?")
        return float(loud[-1] + 1) / RATE_HZ

    def first_sound_s(self, after_s: float) -> float | None:
        """Second of the first sample above -50 dBFS that was heard after `after_s`."""
        first = round(after_s * RATE_HZ)
        loud = np.flatnonzero(np.abs(self.heard[first:].astype(np.int32)) > _HEARD)
        return float(first + loud[0]) / RATE_HZ if len(loud) else None

    def last_sound_s(self, before_s: float, after_s: float) -> float | None:
        """Second of the last sample above -50 dBFS that was heard between the two."""
        first = round(after_s * RATE_HZ)
        loud = np.flatnonzero(np.abs(self.heard[first : round(before_s * RATE_HZ)].astype(np.int32)) > _HEARD)
        return float(first + loud[-1]) / RATE_HZ if len(loud) else None


class NullSound:
    """The server while it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environ = {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder / 'native'}",
            "PULSE_SOURCE": "mic",
            "PULSE_SINK": "spk",
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }

    def say(self, clip: Pcm) -> subprocess.Popen[bytes]:
        """Begin to play a clip in front of the microphone, in real time; `wait()` for its end."""
        with tempfile.TemporaryFile() as file:
            file.write(resample(clip, RATE_HZ).samples.astype("<i2").tobytes())
            file.seek(0)
            argv = ["pacat", "--playback", "--raw", "--device=mic_in", *_form(1), "--latency-msec=30"]
            return subprocess.Popen(argv, env=self._env(), stdin=file)

    @contextmanager
    def room(self) -> Iterator[None]:
        """A soft noise in front of the microphone while the block runs, -75 dBFS, seeded; half an hour of it."""
        noise = np.random.default_rng(1).normal(0, 6, RATE_HZ * 60).astype("<i2").tobytes()
        argv = ["pacat", "--playback", "--raw", "--device=mic_in", *_form(1), "--latency-msec=200"]
        with tempfile.TemporaryFile() as file:
            for _ in range(30):
                file.write(noise)
            file.seek(0)
            with subprocess.Popen(argv, env=self._env(), stdin=file) as process:
                try:
                    yield
                finally:
                    process.terminate()
                    process.wait()

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Record both channels while the block runs."""
        argv = ["parec", "--raw", "--device=both.monitor", *_form(2), "--latency-msec=10"]
        with tempfile.TemporaryFile() as file, subprocess.Popen(argv, env=self._env(), stdout=file) as process:
            try:
                recorder = Recorder(file.fileno())
                recorder.wait_for_sound()
                yield recorder
            finally:
                process.terminate()
                process.wait()

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environ}


class Recorder:
    """A recording that goes on; `taken` gives what there is of it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._began = float("inf")

    def wait_for_sound(self) -> None:
        """Wait for the first samples, and find out when they were recorded."""
        deadline = time.monotonic() + _START_S
        while self._frames() < RATE_HZ // 5:
            self.look()
            if time.monotonic() > deadline:
                raise InputError("PulseAudio records nothing: try `pactl info`")
            time.sleep(0.002)

    def look(self) -> None:
        """Compare the count of samples with the clock: the earliest start that fits is the nearest."""
        frames = self._frames()
        if frames:
            self._began = min(self._began, time.monotonic() - frames / RATE_HZ)

    def taken(self) -> Recorded:
        """Everything up to now."""
        frames = self._frames()
        raw = np.frombuffer(os.pread(self._number, frames * 4, 0), "<i2").reshape(-1, 2)
        return Recorded(raw[:, 0].copy(), raw[:, 1].copy(), self._began)

    def _frames(self) -> int:
        return os.fstat(self._number).st_size // 4


@contextmanager
def null_sound() -> Iterator[NullSound]:
    """A server of our own, and this process's environment leading to it. Raises `InputError` without one."""
    for program in ("pulseaudio", "pacat", "parec"):
        if shutil.which(program) is None:
            raise InputError(
                f"{program} is missing: run `apt-get install pulseaudio pulseaudio-utils libasound2-plugins`"
            )
    with tempfile.TemporaryDirectory(prefix="perslm-pulse-") as name:
        folder = Path(name)
        (folder / "asound.conf").write_text(_ALSA)
        server = NullSound(folder)
        argv = ["pulseaudio", "-n", "--exit-idle-time=-1", "--daemonize=no", "--use-pid-file=no", "--realtime=no"]
        argv.append(f"--load=module-native-protocol-unix socket={folder / 'native'} auth-anonymous=1")
        argv += [f"--load={module}" for module in _MODULES]
        before = {key: os.environ.get(key) for key in server.environ}
        os.environ.update(server.environ)
        environ = {**os.environ, "HOME": name}
        with subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _wait_for(folder / "native", process)
                yield server
            finally:
                process.terminate()
                process.wait()
                _put_back(before)


def _wait_for(socket: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise InputError("PulseAudio does not start: try `pulseaudio -n -v` by hand")
        time.sleep(0.02)
    time.sleep(0.5)  # the sinks come after the socket


def _put_back(environ: dict[str, str | None]) -> None:
    for key, value in environ.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


def _form(channels: int) -> tuple[str, ...]:
    return ("--format=s16le", f"--channels={channels}", f"--rate={RATE_HZ}")
