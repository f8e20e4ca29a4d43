"""The one owner of the sound card: microphone frames in, speech out, and both devices back whenever they went.

Devices come and go, and a sound server can freeze. The owner closes both streams, has PortAudio look anew, and
opens what there is, again and again and ever more patiently; meanwhile no frames come and `play` raises
`DeviceError`. Knows no wake word, no voice and no transport.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from anyio import TASK_STATUS_IGNORED
from anyio.abc import ObjectReceiveStream, TaskStatus

from perslm_daemon.config_sections import Audio
from perslm_daemon.loudspeaker import Loudspeaker, Stream
from perslm_daemon.machine import sound_traces
from perslm_daemon.microphone import Intake
from perslm_daemon.portaudio import Device, Opened, PortAudio, Wish
from perslm_daemon.sound import Frame
from perslm_daemon.sound_server import EchoCanceller
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import DeviceError, LaneHung
from perslm_runtime.lane import Lane

log = logging.getLogger("perslm.sound")

LOST_S = 0.5
"""A device whose callback has not come for so long is lost."""

ZEROS_S = (10.0, 60.0, 600.0)
"""So long of exact zeros and the microphone is opened anew; each time in vain makes the next wait longer."""

_FIRST_S = 2.5  # until the first callback: PulseAudio's null sink takes 0.8 s, a USB device waking up takes 1 s
_LOOK_S = 0.1
_TRACES_S = 1.0
_PATIENCE_S = 5.0  # for one call of PortAudio; looking for devices takes 0.1 s here, 2 s with ten cards on a Pi
_STOP_S = 1.0  # what such a call may then still take before it counts as hanging; shutting down waits as long
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
_REST_MS = 100  # length of a block while nothing is played: a quarter of what 20 ms cost, 0.7 % of a core
_REST_LOST_S = 1.5  # such blocks come less evenly: at 16 times the load 0.65 s lay between two

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SoundState:
    """How the sound is: names of the open devices (None: not open), and `problem`, a sentence with the next step.

    `echo_cancel` says what of echo cancellation is in force. `overruns` counts frames that were lost because a
    listener or the machine was too slow, `gaps` the buffers that the loudspeaker got too late.
    """

    microphone: str | None = None
    loudspeaker: str | None = None
    problem: str | None = None
    muted: bool = False
    echo_cancel: str = "off"
    overruns: int = 0
    gaps: int = 0

    @property
    def echo_in_force(self) -> bool:
        """Whether the sound server takes our own voice out of the microphone."""
        return self.echo_cancel.startswith("module-echo-cancel")

    def as_value(self) -> dict[str, Any]:
        """The value `sound` on the bulletin."""
        return {
            "microphone": self.microphone,
            "loudspeaker": self.loudspeaker,
            "muted": self.muted,
            "problem": self.problem,
            "echo_cancel": self.echo_cancel,
            "overruns": self.overruns,
            "gaps": self.gaps,
        }


async def devices_now() -> tuple[Device, ...]:
    """All devices there are, as PortAudio sees them. Raises `DeviceError` where a sound server does not answer."""
    with suppress(LaneHung):
        async with Lane("sound", PortAudio, stop_s=_STOP_S) as lane:
            with anyio.move_on_after(_PATIENCE_S):
                return await lane.call(PortAudio.devices)
    raise DeviceError("the sound server does not answer: restart it, or wait")


class SoundCard:
    """A `Microphone` and a `Speaker` over the devices that `wanted` names; `tell` hears of every change.

    `run` has to run beside everything else; with `echo` it leads both streams through the sound server's echo
    canceller whenever it opened one. All methods belong to its event loop.
    """

    def __init__(
        self,
        wanted: Audio,
        *,
        tell: Callable[[SoundState], None] = lambda _state: None,
        echo: EchoCanceller | None = None,
    ) -> None:
        self._wanted = wanted
        self._tell = tell
        self._echo = echo
        self._echo_told = "off" if echo is None else "not in force yet"
        self._intake = Intake(wanted.microphone_channel)
        self._out = Loudspeaker(self._wake, self._why_silent)
        self._lane: Lane[PortAudio] | None = None
        self._microphone: Opened | None = None
        self._problems: dict[str, str] = {}
        self._muted = self._mute_wanted = self._intake.closed = wanted.muted
        self._opened_at = self._microphone_at = 0.0
        self._zeros = 0
        self._woken = anyio.Event()
        self._changed = anyio.Event()
        self._started: Callable[[], None] | None = None
        self._state = SoundState(problem="the sound card is not open yet")

    @property
    def state(self) -> SoundState:
        """How the sound is now."""
        return SoundState(
            self._microphone.device if self._microphone else None,
            self._out.device.device if self._out.device else None,
            "; ".join(self._problems.values()) or None,
            self._mute_wanted,
            self._echo_told,
            self._intake.overruns,
            self._out.ring.gaps,
        )

    @property
    def gain(self) -> float:
        """What everything played is multiplied with; a new one is reached within one buffer."""
        return self._out.ring.gain

    @gain.setter
    def gain(self, value: float) -> None:
        self._out.ring.gain = value

    @property
    def latency_s(self) -> float:
        """Seconds from the moment a sample is taken from us until it is heard."""
        return self._out.latency_s

    @property
    def began_at(self) -> float:
        """When the device last took sound from us after silence (`time.monotonic()`)."""
        return self._out.ring.began_at

    # Microphone and speaker

    @property
    def patient(self) -> bool:
        """Whether frames may come a few at a time."""
        return self._intake.patient

    @patient.setter
    def patient(self, on: bool) -> None:
        self._intake.patient = on
        if not on:
            self._intake.deliver()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[ObjectReceiveStream[Frame]]:
        """Every frame from now on; who is more than two seconds behind loses the oldest."""
        with self._intake.listener() as frames:
            yield frames

    async def play(self, pieces: AsyncIterable[Pcm]) -> float:
        """Play pieces without gaps, one call after the other; returns the seconds that were heard.

        A loudspeaker that goes is waited for, for two seconds; then `DeviceError` is raised, as at once where
        there was none. Cancelling it is silence at once where a sound server stands between, elsewhere within what
        the device holds.
        """
        return await self._out.play(pieces)

    async def mute(self, on: bool) -> None:
        """Close the microphone, or open it again. From the call on no frame is given out; the device follows."""
        self._mute_wanted = on
        self._intake.closed = on
        with anyio.move_on_after(_PATIENCE_S):  # of a frozen server it is closed as soon as that answers
            while self._lane is not None and self._muted != on:
                changed = self._changed
                self._woken.set()
                await changed.wait()

    # The owner

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Keep the devices open until cancelled; started once it was tried for the first time."""
        self._intake.loop = asyncio.get_running_loop()
        self._started = task_status.started
        self._out.expected()
        try:
            async with Lane("sound", PortAudio, stop_s=_STOP_S) as self._lane:
                await self._own()
        except LaneHung:
            # A frozen sound server holds the thread, which has nothing of ours and ends with the process.
            log.warning("sound_left_hanging")
        finally:
            self._lane = None
            self._lose("the sound card is closed")
            if self._echo is not None:
                with anyio.CancelScope(shield=True):
                    await self._echo.unload()

    async def _own(self) -> None:
        tries = 0
        whole = True
        while True:
            await self._open(whole=whole)
            self._publish()
            tries = tries + 1 if self._missing() else 0
            pause_s = _PAUSES_S[min(tries, len(_PAUSES_S)) - 1] if tries else None
            whole = await self._watch(pause_s)

    def _missing(self) -> bool:
        return self._out.device is None or (self._microphone is None and not self._mute_wanted)

    async def _open(self, *, whole: bool) -> None:
        """Open what is missing; `whole` closes everything first, so that PortAudio sees the devices of now."""
        try:
            if whole or (self._microphone is None and self._out.device is None):
                self._close()
                await self._do("", PortAudio.reset)
            await self._see_to_microphone()
            if self._out.device is None:
                await self._open_loudspeaker()
            await self._lead_past_echo()
        except DeviceError as error:
            self._problems["sound"] = str(error)
        else:
            self._problems.pop("sound", None)
        self._opened_at = time.monotonic()

    async def _see_to_microphone(self) -> None:
        """Open it, or close it where it is to be mute."""
        if self._mute_wanted:
            await self._do("microphone", PortAudio.shut, "microphone")
            self._microphone = None
        elif self._microphone is None:
            wanted = self._wanted
            wish = Wish(wanted.microphone, wanted.microphone_rate_hz, wanted.microphone_channel, wanted.buffer_ms)
            self._microphone = await self._do("microphone", PortAudio.open_microphone, wish, self._intake.device)
            self._microphone_at = time.monotonic()
        self._muted = self._mute_wanted

    async def _open_loudspeaker(self) -> None:
        """Open it, anew where it is open, for what it is needed for."""
        wanted, stream = self._wanted, self._out.wanted
        rests = stream is Stream.RESTING and not self._out.steady
        wish = Wish(
            wanted.loudspeaker,
            wanted.loudspeaker_rate_hz,
            block_ms=wanted.buffer_ms,
            server_block_ms=max(wanted.buffer_ms, _REST_MS) if rests else 0,
        )
        opened = await self._do("loudspeaker", PortAudio.open_loudspeaker, wish, self._out.wants)
        self._out.opened(opened, stream)

    async def _exchange(self) -> bool:
        """Open the loudspeaker's stream anew; false when that failed and everything has to be."""
        try:
            await self._open_loudspeaker()
        except DeviceError as error:
            self._problems["sound"] = str(error)
            self._out.gone()
        return self._out.device is not None

    async def _lead_past_echo(self) -> None:
        """Lead both streams through the echo canceller; a stream that goes there only when moved is kept."""
        if self._echo is None or self._out.device is None or self._microphone is None:
            return
        bound = await self._echo.bind()
        if bound.in_force and self._out.device.server:
            await self._open_loudspeaker()
            self._out.steady = not await self._echo.leads()
            if self._out.steady:
                await self._open_loudspeaker()
                bound = await self._echo.bind()
        self._echo_told = bound.told

    async def _do(self, side: str, work: Callable[..., T], *args: object) -> T | None:
        """Have PortAudio do something; None, with the reason in `_problems`, where a device does not open.

        Raises `DeviceError` when the call took too long; one that hangs is waited for first, however long.
        """
        lane = self._lane
        if lane is None:
            raise DeviceError("the sound card is closed")
        try:
            with anyio.move_on_after(_PATIENCE_S):
                done = await lane.call(work, *args)
                self._problems.pop(side, None)
                return done
        except DeviceError as error:
            self._problems[side] = str(error)
            return None
        except LaneHung:
            self._lose("the sound server does not answer: restart it, or wait")
            while lane.busy_since is not None:  # noqa: ASYNC110 - the thread that is waited for can set no event
                await anyio.sleep(_LOOK_S)
        raise DeviceError("the sound server took too long to answer")

    async def _watch(self, pause_s: float | None) -> bool:
        """Wait for something to do; true when everything has to be opened anew."""
        began = looked = traced = time.monotonic()
        traces = await anyio.to_thread.run_sync(sound_traces) if pause_s else None
        while True:
            look_s = _LOOK_S if pause_s else self._lost_in_s(looked)
            if not self._out.due:
                self._woken = anyio.Event()
                with anyio.move_on_after(look_s):
                    await self._woken.wait()
            if self._out.due and not await self._exchange():
                return True
            now = time.monotonic()
            if self._muted != self._mute_wanted:
                return False
            # A process that was held up itself heard nothing either: it looks once more.
            if now - looked < look_s + LOST_S / 2 and self._trouble(now):
                return True
            looked = now
            if pause_s is None:
                continue
            if now - began > pause_s:
                return False
            if now - traced > _TRACES_S:
                traced = now
                if await anyio.to_thread.run_sync(sound_traces) != traces:
                    return True

    def _sides(self) -> Iterator[tuple[str, Opened, float, float]]:
        """Each open device: side, device, when its last block came, and when it counts as lost."""
        for side, opened, last, opened_at in (
            ("microphone", self._microphone, self._intake.block_at, self._opened_at),
            ("loudspeaker", self._out.device, self._out.block_at, self._out.opened_at),
        ):
            if opened is not None:
                since = max(last, opened_at)
                rests = side == "loudspeaker" and self._out.rests
                silent_s = _REST_LOST_S if rests else LOST_S
                yield side, opened, since, since + (silent_s if last > opened_at else _FIRST_S)

    def _lost_in_s(self, now: float) -> float:
        """How long nothing has to be looked at: ten looks a second were a tenth of what idle listening costs."""
        until = min((lost_at for *_, lost_at in self._sides()), default=now)
        return min(LOST_S, max(_LOOK_S / 2, until - now + 0.01))

    def _trouble(self, now: float) -> bool:
        """Look whether a device was lost; if so say it, and count both as closed."""
        for side, opened, since, lost_at in self._sides():
            if now > lost_at:
                log.warning("device_lost side=%s silent_ms=%d", side, (now - since) * 1000)
                self._lose(f"the {side} {opened.device!r} was lost: plug it in again, or start the sound server")
                return True
        return self._only_zeros(now)

    def _only_zeros(self, now: float) -> bool:
        """Whether the microphone should be opened anew because it has given nothing but zeros; told once."""
        if self._microphone is None:
            return False
        since = max(self._intake.sound_at, self._microphone_at)
        if self._intake.sound_at > self._microphone_at:
            self._zeros = 0
            if self._problems.pop("zeros", None):
                self._publish()
        if now - since < ZEROS_S[min(self._zeros, len(ZEROS_S) - 1)] or self._out.playing:
            return False
        self._zeros += 1
        log.warning("microphone_zeros seconds=%d", now - since)
        self._problems["zeros"] = (
            f"the microphone {self._microphone.device!r} gives nothing but silence: is it switched off?"
        )
        return True

    def _lose(self, problem: str) -> None:
        self._close()
        self._problems["sound"] = problem
        self._publish()

    def _close(self) -> None:
        """Count both as closed; speech waits for the loudspeaker from now on."""
        self._microphone = None
        self._out.gone()
        if self._echo is not None:
            self._echo.let_go()

    def _wake(self) -> None:
        self._woken.set()

    def _why_silent(self) -> str:
        why = self._problems.get("sound", "the sound card is not open yet: try again in a moment")
        return self._problems.get("loudspeaker", f"the loudspeaker is not open: {why}")

    def _publish(self) -> None:
        if self._started is not None:
            self._started()
            self._started = None
        self._changed.set()
        self._changed = anyio.Event()
        state = self.state
        if state != self._state:
            self._state = state
            log.info(
                "sound microphone=%s loudspeaker=%s muted=%s",
                state.microphone is not None,
                state.loudspeaker is not None,
                state.muted,
            )
            self._tell(state)
