"""PulseAudio or PipeWire beside our own streams: other programs' loudness, and the echo canceller. Through pactl.

Both servers answer pactl. Where there is neither, or no pactl, nothing happens and it is said why. Calls run in
threads with a deadline: a frozen server holds nothing up.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

log = logging.getLogger("perslm.sound")

ECHO_SOURCE, ECHO_SINK = "perslm_echo_source", "perslm_echo_sink"
_WAYS = {"PULSE_SOURCE": ECHO_SOURCE, "PULSE_SINK": ECHO_SINK}
_PATIENCE_S = 3.0
_LED_S, _AGAIN_S = 5.0, 0.25  # how long a new canceller may take to be led to, and how often it is tried
# Its gain control turned the microphone of the whole machine down to 33 % and left it so; gain and noise are ours.
_AEC = "analog_gain_control=0 digital_gain_control=0 noise_suppression=0 high_pass_filter=1"


class SoundServer:
    """Asks the sound server of this user."""

    async def pactl(self, *arguments: str) -> str | None:
        """What pactl answers; None where there is no pactl, no server, or no answer in three seconds."""
        return await anyio.to_thread.run_sync(_pactl, arguments)

    async def listed(self, what: str) -> list[dict[str, Any]]:
        """Sink-inputs, source-outputs, sources, sinks as pactl lists them; nothing where it does not answer."""
        answer = await self.pactl("--format=json", "list", what)
        with suppress(ValueError):
            found = json.loads(answer or "[]")
            if isinstance(found, list):
                return found
        return []


class OtherStreams:
    """Other programs' sound: made softer for a while and then as loud as before.

    `notes` is a file that keeps what has to be given back, so that it happens even after this process was killed.
    """

    def __init__(self, server: SoundServer, notes: Path | None = None) -> None:
        self._server = server
        self._notes = notes
        self._before: dict[str, list[str]] = {}

    async def lower(self, to: float) -> None:
        """Turn every other program that plays now down to `to` of its own loudness."""
        for stream in await self._server.listed("sink-inputs"):
            number = str(stream.get("index"))
            volumes = _volumes(stream)
            if number in self._before or not volumes or not _of_others(stream):
                continue
            self._before[number] = volumes
            await self._note()
            softer = [str(round(int(volume) * to)) for volume in volumes]
            await self._server.pactl("set-sink-input-volume", number, *softer)

    async def restore(self) -> None:
        """Give every stream its loudness back."""
        before, self._before = self._before or await anyio.to_thread.run_sync(self._noted), {}
        if not before:
            return
        alive = {str(stream.get("index")) for stream in await self._server.listed("sink-inputs")}
        for number, volumes in before.items():
            if number in alive:
                await self._server.pactl("set-sink-input-volume", number, *volumes)
        await self._note()

    async def _note(self) -> None:
        await anyio.to_thread.run_sync(self._write, dict(self._before))

    def _write(self, before: dict[str, list[str]]) -> None:
        if self._notes is None:
            return
        with suppress(OSError):
            if before:
                self._notes.write_text(json.dumps(before), encoding="utf-8")
            else:
                self._notes.unlink(missing_ok=True)

    def _noted(self) -> dict[str, list[str]]:
        if self._notes is None:
            return {}
        try:
            found = json.loads(self._notes.read_text(encoding="utf-8"))
            return {str(number): [str(int(volume)) for volume in volumes] for number, volumes in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}


@dataclass(frozen=True, slots=True)
class Bound:
    """What came of setting up the echo canceller: whether it is in force, and how or why not as a sentence."""

    in_force: bool
    told: str


class EchoCanceller:
    """The server's echo canceller between our two streams and their devices."""

    def __init__(self, server: SoundServer) -> None:
        self._server = server
        self._module: str | None = None
        self._before: dict[str, str | None] = {}

    async def bind(self) -> Bound:
        """Load it where it is not, and lead our streams through it; may be called again at any time."""
        loaded = await self._loaded()
        heard = await self._ours("source-outputs")
        played = await self._ours("sink-inputs")
        if not heard or not played:
            return Bound(
                False, "our sound goes past the sound server: set audio.microphone and loudspeaker to pulse"
            )
        if not loaded and not await self._load(heard, played):
            return Bound(False, "the sound server has no module-echo-cancel: install it, or use a headset")
        if await self._led(heard, played):
            self._point()
            return Bound(True, "module-echo-cancel (webrtc)")
        return Bound(False, "the sound server does not lead our streams through its echo canceller")

    async def _led(self, heard: Sequence[dict[str, Any]], played: Sequence[dict[str, Any]]) -> bool:
        """Lead the streams through it, until they go there or it takes too long.

        PipeWire answers before the canceller's devices can be led to: of what was moved at once, the microphone's
        stream stayed where it was on an emulated board, for as long as it was open.
        """
        deadline = time.monotonic() + _LED_S
        while True:
            for stream in heard:
                await self._server.pactl("move-source-output", str(stream["index"]), ECHO_SOURCE)
            for stream in played:
                await self._server.pactl("move-sink-input", str(stream["index"]), ECHO_SINK)
            if await self.leads():
                return True
            if time.monotonic() > deadline:
                return False
            await anyio.sleep(_AGAIN_S)

    def _point(self) -> None:
        """Have streams that are opened from now on go its way from their first sample on.

        libpulse reads both names when it connects. Set once per binding: the environment is the whole process's.
        """
        if not self._before:
            self._before = {name: os.environ.get(name) for name in _WAYS}
            os.environ.update(_WAYS)

    def let_go(self) -> None:
        """Have new streams go to the devices themselves: the server may have forgotten the canceller."""
        before, self._before = self._before, {}
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    async def unload(self) -> None:
        """Take it out again, if we brought it; our streams go back to their devices."""
        self.let_go()
        module, self._module = self._module, None
        if module is not None:
            await self._server.pactl("unload-module", module)

    async def _load(self, heard: Sequence[dict[str, Any]], played: Sequence[dict[str, Any]]) -> bool:
        source = await self._name("sources", heard[0].get("source"))
        sink = await self._name("sinks", played[0].get("sink"))
        if source in (None, ECHO_SOURCE):  # of one that has just gone
            source = await self._device("source")
        if sink in (None, ECHO_SINK):
            sink = await self._device("sink")
        answer = await self._server.pactl(
            "load-module",
            "module-echo-cancel",
            f"source_name={ECHO_SOURCE}",
            f"sink_name={ECHO_SINK}",
            *([f"source_master={source}"] if source else []),
            *([f"sink_master={sink}"] if sink else []),
            "aec_method=webrtc",
            f'aec_args="{_AEC}"',
            "rate=48000",
            "channels=1",
        )
        self._module = answer.strip() if answer else None
        return answer is not None

    async def _loaded(self) -> bool:
        """Whether it is there. One between other devices goes, as where a microphone was plugged in after us."""
        answer = await self._server.pactl("list", "short", "modules") or ""
        for line in answer.splitlines():
            number, _, rest = line.partition("\t")
            if rest.startswith("module-echo-cancel") and f"source_name={ECHO_SOURCE} " in rest:
                if await self._fits(rest):
                    return True
                await self._server.pactl("unload-module", number)
        return False

    async def _fits(self, arguments: str) -> bool:
        """Whether a canceller of these arguments is between the devices that our streams would take without it."""
        given = dict(word.split("=", 1) for word in arguments.split() if "=" in word)
        for side in ("source", "sink"):
            master, device = given.get(f"{side}_master"), await self._device(side)
            if master and device and device not in (master, ECHO_SOURCE, ECHO_SINK, f"{ECHO_SINK}.monitor"):
                return False
        return True

    async def _device(self, side: str) -> str | None:
        """The device of a stream of ours that nobody leads: the user's own choice, else the server's."""
        name = f"PULSE_{side.upper()}"
        chosen = self._before[name] if self._before else os.environ.get(name)
        return chosen or (await self._server.pactl(f"get-default-{side}") or "").strip() or None

    async def leads(self) -> bool:
        """Whether both our streams go through it now."""
        heard, played = await self._ours("source-outputs"), await self._ours("sink-inputs")
        sources = [await self._name("sources", stream.get("source")) for stream in heard]
        sinks = [await self._name("sinks", stream.get("sink")) for stream in played]
        return bool(sources and sinks) and set(sources) == {ECHO_SOURCE} and set(sinks) == {ECHO_SINK}

    async def _ours(self, what: str) -> list[dict[str, Any]]:
        return [stream for stream in await self._server.listed(what) if _pid(stream) == str(os.getpid())]

    async def _name(self, what: str, number: object) -> str | None:
        for device in await self._server.listed(what):
            if device.get("index") == number:
                return str(device.get("name"))
        return None


def _pactl(arguments: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(
            ["pactl", *arguments],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _pid(stream: dict[str, Any]) -> str | None:
    properties = stream.get("properties")
    return properties.get("application.process.id") if isinstance(properties, dict) else None


def _of_others(stream: dict[str, Any]) -> bool:
    """Whether a program plays it that is not us; the server's own modules (the echo canceller) have no process."""
    pid = _pid(stream)
    return pid is not None and pid != str(os.getpid())


def _volumes(stream: dict[str, Any]) -> list[str]:
    """The loudness of each channel as the server's own number."""
    volume = stream.get("volume")
    if not isinstance(volume, dict):
        return []
    return [str(one["value"]) for one in volume.values() if isinstance(one, dict) and "value" in one]
