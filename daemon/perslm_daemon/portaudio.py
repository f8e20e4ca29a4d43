"""PortAudio as an engine for a lane: which devices there are, and a stream each way. Only importer of pyaudio.

PortAudio lists devices only when it is initialised: `reset` makes it look anew. Its callback threads live here and
run what `on_open` returned, which must not wait. Every call may block for as long as a sound server is frozen.
Knows no queue, no loop and no configuration file.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyaudio

from perslm_runtime.errors import DeviceError
from perslm_runtime.lane import Stop

log = logging.getLogger("perslm.sound")

TakeBlock = Callable[[bytes, bool], None]
"""Takes sound of the microphone (interleaved 16-bit), and whether the device lost some before it."""
GiveBlock = Callable[[int, bool], bytes]
"""Gives the next so many samples for the loudspeaker, 16-bit mono; hears whether the device ran dry before."""

_SERVERS = ("pulse", "pipewire")  # ALSA's names of the sound servers, which convert rates well
_MOST_CHANNELS = 8  # of a microphone array; "default" claims 32 or 128
_HELD, _NOT_THERE = -9985, -9996
_MISFITS = (-9998, -9997, -9994)  # channels, rate, format


@dataclass(frozen=True, slots=True)
class Device:
    """A device as PortAudio lists it; `server` is true where a sound server stands behind it."""

    index: int
    name: str
    api: str
    inputs: int
    outputs: int
    rate_hz: int
    server: bool
    default_input: bool
    default_output: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """Which device (name, part of it, or index; "" the system's own), rate (0: the best) and length of a block.

    `channel` 0 takes the mean of a microphone's channels, n the n-th alone. `server_block_ms`, unless 0, is the
    length where a sound server stands between.
    """

    device: str = ""
    rate_hz: int = 0
    channel: int = 0
    block_ms: int = 20
    server_block_ms: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """An open stream. `latency_s` is from the device's buffer to the callback, or from it to the air.

    `server` is true where a sound server stands between.
    """

    device: str
    rate_hz: int
    channels: int
    latency_s: float
    server: bool = False


class PortAudio:
    """The sound system, for one lane's thread; nothing is touched before the first call: building never blocks."""

    name = "portaudio"
    file: Path | None = None

    def __init__(self) -> None:
        _hush_alsa()
        self._system: pyaudio.PyAudio | None = None
        self._streams: dict[str, Any] = {}

    def devices(self, _stop: Stop) -> tuple[Device, ...]:
        """All devices there are now. Streams that are open keep the list they were opened with."""
        if not self._streams:
            self._terminate()
        return self._listed()

    def open_microphone(self, stop: Stop, wish: Wish, on_open: Callable[[int, int], TakeBlock]) -> Opened:
        """Open the microphone; `on_open(rate_hz, channels)` gives what takes its blocks. Raises `DeviceError`."""
        device = chosen(self._listed(), wish.device, hears=True)
        sink: list[TakeBlock] = []

        def callback(data: bytes | None, _frames: int, _time: object, status: int) -> tuple[None, int]:
            if sink and data:
                sink[0](data, bool(status & pyaudio.paInputOverflow))
            return None, pyaudio.paContinue

        opened = self._open("microphone", device, wish, microphone_forms(device, wish), callback, stop)
        sink.append(on_open(opened.rate_hz, opened.channels))
        self._start("microphone", device)
        return opened

    def open_loudspeaker(self, stop: Stop, wish: Wish, on_open: Callable[[int], GiveBlock]) -> Opened:
        """Open the loudspeaker; `on_open(rate_hz)` gives what then gives its samples. Raises `DeviceError`."""
        device = chosen(self._listed(), wish.device, hears=False)
        source: list[GiveBlock] = []
        silence = b"\0\0"

        def callback(_data: None, frames: int, _time: object, status: int) -> tuple[bytes, int]:
            dry = bool(status & pyaudio.paOutputUnderflow)
            sound = source[0](frames, dry) if source else silence * frames
            return sound, pyaudio.paContinue

        opened = self._open("loudspeaker", device, wish, loudspeaker_forms(device, wish), callback, stop)
        source.append(on_open(opened.rate_hz))
        # A stream that starts asks for three blocks at once: without their sound it would begin with silence.
        self._start("loudspeaker", device)
        return opened

    def shut(self, _stop: Stop, side: str) -> None:
        """Close one side, "microphone" or "loudspeaker"; the device is free when this returns."""
        stream = self._streams.pop(side, None)
        if stream is not None:
            with suppress(OSError), _hushed():  # a device that is gone cannot be closed
                stream.close()

    def reset(self, stop: Stop) -> None:
        """Close both sides and forget the list of devices: what is opened next sees the machine as it is."""
        for side in tuple(self._streams):
            self.shut(stop, side)
        self._terminate()

    def close(self) -> None:
        """Let go of the sound system."""
        self.reset(Stop())

    def _open(
        self,
        side: str,
        device: Device,
        wish: Wish,
        forms: Sequence[tuple[int, int]],
        callback: Callable[..., tuple[bytes | None, int]],
        stop: Stop,
    ) -> Opened:
        self.shut(stop, side)
        trouble: OSError | None = None
        block_ms = wish.server_block_ms if device.server and wish.server_block_ms else wish.block_ms
        for rate_hz, channels in forms:
            stop.check()
            try:
                with _hushed():
                    stream = self._ready().open(
                        rate_hz,
                        channels,
                        pyaudio.paInt16,
                        input=side == "microphone",
                        output=side == "loudspeaker",
                        input_device_index=device.index if side == "microphone" else None,
                        output_device_index=device.index if side == "loudspeaker" else None,
                        frames_per_buffer=rate_hz * block_ms // 1000,
                        stream_callback=callback,
                        start=False,
                    )
            except OSError as error:
                trouble = error
                if error.errno in _MISFITS:
                    continue
                break
            self._streams[side] = stream
            latency = stream.get_input_latency() if side == "microphone" else stream.get_output_latency()
            return Opened(device.name, rate_hz, channels, float(latency), device.server)
        raise DeviceError(_sentence(side, device, trouble)) from trouble

    def _start(self, side: str, device: Device) -> None:
        try:
            with _hushed():
                self._streams[side].start_stream()
        except OSError as error:
            self.shut(Stop(), side)
            raise DeviceError(_sentence(side, device, error)) from error

    def _listed(self) -> tuple[Device, ...]:
        system = self._ready()
        found = [system.get_device_info_by_index(number) for number in range(system.get_device_count())]
        servers = any(info["name"] in _SERVERS for info in found)
        hears, speaks = (
            _default(system.get_default_input_device_info),
            _default(system.get_default_output_device_info),
        )
        return tuple(
            Device(
                index=number,
                name=str(info["name"]),
                api=str(system.get_host_api_info_by_index(info["hostApi"])["name"]),
                inputs=int(info["maxInputChannels"]),
                outputs=int(info["maxOutputChannels"]),
                rate_hz=round(float(info["defaultSampleRate"])),
                server=info["name"] in _SERVERS or (servers and info["name"] == "default"),
                default_input=number == hears,
                default_output=number == speaks,
            )
            for number, info in enumerate(found)
        )

    def _ready(self) -> pyaudio.PyAudio:
        if self._system is None:
            if not _alsa_is_configured():
                raise DeviceError("ALSA has no configuration here: install libasound2-data")
            try:
                with _hushed():
                    self._system = pyaudio.PyAudio()
            except OSError as error:
                raise DeviceError(f"the sound system does not start ({error}): see `perslm doctor`") from error
        return self._system

    def _terminate(self) -> None:
        system, self._system = self._system, None
        if system is not None:
            with suppress(OSError), _hushed():
                system.terminate()


def chosen(devices: Sequence[Device], wanted: str, *, hears: bool) -> Device:
    """The device that `wanted` names: its index, its name, or a part of the name in any case; "" is the default.

    Raises `DeviceError` with the names there are.
    """
    side = "microphone" if hears else "loudspeaker"
    usable = [device for device in devices if (device.inputs if hears else device.outputs) > 0]
    if not usable:
        raise DeviceError(f"there is no {side}: connect one, or start the sound server")
    if not wanted:
        return next((one for one in usable if (one.default_input if hears else one.default_output)), usable[0])
    word = wanted.strip().lower()
    for fits in (
        lambda one: str(one.index) == word,
        lambda one: one.name.lower() == word,
        lambda one: word in one.name.lower(),
    ):
        for device in usable:
            if fits(device):
                return device
    names = ", ".join(f"{one.index} {one.name}" for one in usable)
    raise DeviceError(f"there is no {side} {wanted!r}, but {names}: set audio.{side}")


def microphone_forms(device: Device, wish: Wish) -> tuple[tuple[int, int], ...]:
    """Rates and channels to try, the best first.

    A sound server is asked for what we need, since it converts well; a bare device is taken in its own form:
    ALSA's converter is linear where no better one is installed.
    """
    most = min(device.inputs, _MOST_CHANNELS)
    every = [1, most] if device.server else [most, 2, 1]
    channels = [wish.channel, most] if wish.channel else every
    natural = (
        [16_000, device.rate_hz] if device.server else [device.rate_hz, 48_000, 44_100, 32_000, 16_000, 8_000]
    )
    return tuple(_forms([wish.rate_hz] if wish.rate_hz else natural, channels))


def loudspeaker_forms(device: Device, wish: Wish) -> tuple[tuple[int, int], ...]:
    """Rates to try, the best first; mono, which PortAudio puts on both channels."""
    natural = [48_000] if device.server else []
    natural += [device.rate_hz, 48_000, 44_100, 22_050, 16_000]
    return tuple(_forms([wish.rate_hz] if wish.rate_hz else natural, [1]))


def _forms(rates: Sequence[int], channels: Sequence[int]) -> Iterator[tuple[int, int]]:
    seen = set()
    for rate_hz in rates:
        for count in channels:
            if count > 0 and (rate_hz, count) not in seen:
                seen.add((rate_hz, count))
                yield rate_hz, count


def _default(ask: Callable[[], Any]) -> int:
    try:
        return int(ask()["index"])
    except OSError:
        return -1


def _sentence(side: str, device: Device, error: OSError | None) -> str:
    code = error.errno if error is not None else None
    if code == _HELD:
        return f"the {side} {device.name!r} is held by another program, or was unplugged: end that program"
    if code in _MISFITS:
        return f"the {side} {device.name!r} takes no rate we know: set audio.{side}_rate_hz"
    return f"the {side} {device.name!r} does not open: is the sound server running, is the device plugged in?"


def _hush_alsa() -> None:
    """Keep ALSA and JACK from writing on standard error what they could not find; ours goes on.

    Both take a function to report to. A C function that ignores its arguments and does nothing is one: no Python
    runs in their threads.
    """
    nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
    for library, functions in (
        ("libasound.so.2", ("snd_lib_error_set_handler",)),
        ("libjack.so.0", ("jack_set_error_function", "jack_set_info_function")),
    ):
        with suppress(OSError, AttributeError):  # it is not installed, or knows no such function
            loaded = ctypes.CDLL(library)
            for function in functions:
                getattr(loaded, function)(nothing)


def _alsa_is_configured() -> bool:
    """Whether ALSA has any definition of a device: where it has none, an assertion of PortAudio ends us."""
    try:
        alsa = ctypes.CDLL("libasound.so.2")
    except OSError:
        return True  # PortAudio was built without it
    alsa.snd_config_search.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    if alsa.snd_config_update() < 0:
        return False
    known = ctypes.c_void_p.in_dll(alsa, "snd_config")
    return bool(known.value) and alsa.snd_config_search(known, b"pcm", None) == 0


@contextmanager
def _hushed() -> Iterator[None]:
    """Lead what C writes to `stderr` nowhere while the block runs: PortAudio prints what fails to open.

    Only C's stream is exchanged. File descriptor 2, which Python's log and tracebacks go to, stays as it is.
    """
    try:
        stream = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr")
    except ValueError:  # this C library has no such variable
        yield
        return
    before = stream.value
    stream.value = _nowhere()
    try:
        yield
    finally:
        stream.value = before


@cache
def _nowhere() -> int | None:
    """A C stream to /dev/null, opened once."""
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    opened: int | None = libc.fopen(b"/dev/null", b"w")
    return opened
