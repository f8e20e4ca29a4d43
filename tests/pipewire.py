"""A PipeWire of the test's own with WirePlumber, behind the same verbs as `pulse.Pulse`.

Its microphone is a source of its own (`mic`), fed by the sink `mic_in`: a sink's monitor is not led through
PipeWire's echo canceller.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pulse import Pulse

_DEADLINE_S = 20.0
_PROGRAMS = ("pipewire", "wireplumber", "pipewire-pulse", "pw-link", "dbus-daemon")
_SINKS = ("sink_name=spk rate=48000", "sink_name=mic_in rate=48000")
_MICROPHONE = "sink_name=mic media.class=Audio/Source/Virtual rate=48000 channels=1 channel_map=mono"


class PipeWire(Pulse):
    """One PipeWire in `folder`; `environ` is what its clients need."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.socket = folder / "pulse/native"
        self.environ |= {
            "PULSE_SERVER": f"unix:{self.socket}",
            "PULSE_SOURCE": "mic",
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={folder / 'bus'}",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the four programs, and bring the devices."""
        bus = ["dbus-daemon", "--session", "--nofork", f"--address={self.environ['DBUS_SESSION_BUS_ADDRESS']}"]
        for argv, there in (
            (bus, self.folder / "bus"),
            (["pipewire"], self.folder / "pipewire-0"),
            (["wireplumber"], None),
            (["pipewire-pulse"], self.socket),
        ):
            self._run(argv, there)
        self._until(lambda: self.pactl("info", check=False) is not None)
        for arguments in (*_SINKS, _MICROPHONE):
            self.pactl("load-module", "module-null-sink", *arguments.split())
        self.link("mic_in")

    def link(self, sink: str) -> None:
        """Have the microphone hear what is played into a sink."""
        argv = ["pw-link", f"{sink}:monitor_FL", "mic:input_MONO"]
        self._until(
            lambda: subprocess.run(argv, env=self._env(), capture_output=True, check=False).returncode == 0
        )

    def stop(self) -> None:
        """End them all, the last first."""
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            process.wait()

    def _run(self, argv: list[str], there: Path | None) -> None:
        with (self.folder / f"{argv[0]}.log").open("ab") as log:
            environ = {**self._env(), "HOME": str(self.folder)}
            self._processes.append(subprocess.Popen(argv, env=environ, stdout=log, stderr=log))
        if there is not None:
            self._until(there.exists)

    def _until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not true():
            assert time.monotonic() < deadline, f"PipeWire does not start: see {self.folder}"
            time.sleep(0.05)


@contextmanager
def pipewire_server() -> Iterator[PipeWire]:
    """A server and an environment that leads every client of this process to it; skips where there is none."""
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: run `apt-get install pipewire pipewire-pulse wireplumber dbus`")
    folder = Path(tempfile.mkdtemp(prefix="perslm-pipewire-"))
    server = PipeWire(folder)
    before = {name: os.environ.get(name) for name in server.environ}
    os.environ.update(server.environ)
    try:
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
