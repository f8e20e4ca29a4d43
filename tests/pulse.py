"""A PulseAudio of the test's own: two null sinks for a microphone and a loudspeaker, on a machine without either.

What is played into `mic_in` is heard by the microphone, and what the loudspeaker plays is recorded from
`spk.monitor`. The server runs in a folder of its own and is found through the environment, which is put back at
the end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest

from perslm_runtime.audio import Pcm, resample

RATE_HZ = 48_000
_DEADLINE_S = 20.0
_ALSA = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
# Without rewinds the null sink delivers from the first moment on; with them it holds 0.8 s back.
_SINKS = {name: f"sink_name={name} rate={RATE_HZ} norewinds=1" for name in ("mic_in", "spk")}


class Pulse:
    """One server in `folder`; `environ` is what its clients need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "native"
        self.environ = {
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_SERVER": f"unix:{self.socket}",
            "PULSE_SOURCE": "mic_in.monitor",
            "PULSE_SINK": "spk",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PULSE_COOKIE": str(folder / "cookie"),
        }
        (folder / "pulse").mkdir(mode=0o700, exist_ok=True)
        (folder / "asound.conf").write_text(f"</usr/share/alsa/alsa.conf>\n{_ALSA}")
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False

    def start(self) -> None:
        """Start the server and wait until it answers."""
        modules = [f"module-native-protocol-unix socket={self.socket} auth-anonymous=1"]
        modules += [f"module-null-sink {arguments}" for arguments in _SINKS.values()]
        modules.append("module-always-sink")
        argv = ["pulseaudio", "-n", "--exit-idle-time=-1", "--daemonize=no", "--use-pid-file=no", "--realtime=no"]
        argv += [f"--load={module}" for module in modules]
        log = (self.folder / "pulse.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                argv, env={**self._env(), "HOME": str(self.folder)}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _DEADLINE_S
        while not self.socket.exists() or self.pactl("info", check=False) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "pulse.log").read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server; nothing of it is left."""
        process, self._process = self._process, None
        if process is not None:
            if self._frozen:
                process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._frozen = False
        self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop the server in its tracks: whoever calls it now waits."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._frozen = False

    def pactl(self, *arguments: str, check: bool = True) -> str | None:
        """What pactl answers; None when it fails and `check` is false."""
        done = subprocess.run(
            ["pactl", *arguments],
            env=self._env(),
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=check,
        )
        return done.stdout if done.returncode == 0 else None

    def listed(self, what: str) -> list[dict[str, Any]]:
        """`pactl list` of sink-inputs, source-outputs, modules, sinks, as JSON."""
        found: list[dict[str, Any]] = json.loads(self.pactl("--format=json", "list", what) or "[]")
        return found

    def unplug(self, sink: str) -> None:
        """Take a sink away, as a USB plug is drawn."""
        for line in (self.pactl("list", "short", "modules") or "").splitlines():
            if f"sink_name={sink} " in line:
                self.pactl("unload-module", line.split("\t")[0])
                return
        raise AssertionError(f"no sink {sink}")

    def plug(self, sink: str) -> None:
        """Bring it back."""
        self.pactl("load-module", "module-null-sink", *_SINKS[sink].split())

    def speak(self, sound: Pcm, sink: str = "mic_in") -> subprocess.Popen[bytes]:
        """Begin to play into the microphone, or another sink, in real time; `wait()` for the end."""
        with tempfile.TemporaryFile() as file:
            file.write(resample(sound, RATE_HZ).samples.astype("<i2").tobytes())
            file.seek(0)
            argv = ["pacat", "--playback", "--raw", f"--device={sink}", "--format=s16le", "--channels=1"]
            argv += [f"--rate={RATE_HZ}", "--latency-msec=1000"]
            return subprocess.Popen(argv, env=self._env(), stdin=file)

    @asynccontextmanager
    async def recording(self, source: str = "spk.monitor") -> AsyncIterator[Recording]:
        """Record what is played while the block runs."""
        argv = ["parec", "--raw", f"--device={source}", "--format=s16le", "--channels=1", f"--rate={RATE_HZ}"]
        argv.append("--latency-msec=20")
        recording = await anyio.to_thread.run_sync(Recording, argv, self._env())
        try:
            with anyio.fail_after(_DEADLINE_S):
                while not len(await recording.so_far()):  # noqa: ASYNC110 - another process records it
                    await anyio.sleep(0.01)
            yield recording
            await anyio.sleep(0.1)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(recording.end)

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environ}


class Recording:
    """A recorder at work; after its block, `sound` is all of it at 48 kHz."""

    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
        self._process = subprocess.Popen(argv, env=environ, stdout=self._file)
        self.sound = Pcm(np.zeros(0, np.int16), RATE_HZ)

    async def so_far(self) -> np.ndarray:
        """The samples so far."""
        return await anyio.to_thread.run_sync(self._read)

    def _read(self) -> np.ndarray:
        number = self._file.fileno()
        raw = os.pread(number, os.fstat(number).st_size, 0)
        return np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.int16)

    def end(self) -> None:
        """End the recorder and keep what it has."""
        self._process.terminate()
        self._process.wait()
        self.sound = Pcm(self._read(), RATE_HZ)
        self._file.close()


def require_pulse() -> None:
    """Skip where there is no PulseAudio, with the command that brings it."""
    for program in ("pulseaudio", "pactl", "pacat", "parec"):
        if shutil.which(program) is None:
            pytest.skip(
                f"{program} is missing: run `apt-get install pulseaudio pulseaudio-utils libasound2-plugins`"
            )


@contextmanager
def pulse_server(*, running: bool = True) -> Iterator[Pulse]:
    """A server and an environment that leads every client of this process to it."""
    require_pulse()
    # Not pytest's folder: its path is longer than a socket's may be.
    folder = Path(tempfile.mkdtemp(prefix="perslm-pulse-"))
    server = Pulse(folder)
    before = {name: os.environ.get(name) for name in server.environ}
    os.environ.update(server.environ)
    try:
        if running:
            server.start()
        yield server
    finally:
        server.stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(folder, ignore_errors=True)


def zero_runs(samples: np.ndarray) -> list[int]:
    """Lengths of the runs of near silence (16-bit steps of at most 2) between the first and the last sound."""
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 2)
    return [int(gap) - 1 for gap in np.diff(loud) if gap > 1]
