"""One Wyoming satellite, dialled and driven as Home Assistant does it: a microphone and loudspeaker elsewhere.

Owns one connection: describe, run-satellite, its runs one after the other, pings both ways, timers told on. A
satellite that wakes while it is answered is heard at once. Knows not how it was found; its caller reconnects.
"""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Callable
from enum import Enum

import anyio
from anyio.abc import TaskGroup

from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.wyoming_hearing import Raw
from perslm_daemon.wyoming_jobs import refuse
from perslm_daemon.wyoming_run import Asker, Engines, Run
from perslm_daemon.wyoming_wire import (
    AudioChunk,
    AudioStop,
    Describe,
    Detection,
    Event,
    Eventable,
    Info,
    LostError,
    PauseSatellite,
    Ping,
    PipelineStage,
    Played,
    Pong,
    RunPipeline,
    RunSatellite,
    TimerCancelled,
    TimerFinished,
    TimerStarted,
    TimerUpdated,
    Wire,
    parsed,
    sound_format,
)
from perslm_runtime.errors import DeviceError, InputError, PersLMError

log = logging.getLogger("perslm.wyoming")

PING_S = 2.0
SILENT_S = 8.0
"""A satellite that has sent nothing, no pong either, for so long is gone."""

_INFO_S = 5.0
_LONGEST_ROOM = 80
_LATE_S = 1.0  # after the sound should be out: for satellites that never say `played`
_CONVERSATION_S = 300.0  # a conversation that rested so long is over


class State(Enum):
    """What a satellite is doing, in Home Assistant's words."""

    AWAY = "away"
    IDLE = "idle"
    LISTENING = "listening"
    RESPONDING = "responding"


class NotASatelliteError(DeviceError):
    """What answers there is a Wyoming service, but no satellite."""


class Satellite:
    """A connected satellite; `drive` it until it goes.

    `person` is whom it asks for, `area` its room, "" for the one that it tells itself. `on_state` is told what it
    does. `silent_s` is how long it may send nothing.
    """

    def __init__(
        self,
        engines: Engines,
        bulletin: Bulletin,
        person: str,
        on_state: Callable[[State], None],
        *,
        area: str = "",
        silent_s: float = SILENT_S,
    ) -> None:
        self._engines, self._bulletin, self._person = engines, bulletin, person
        self._area = area
        self._on_state, self._silent_s = on_state, silent_s
        self._conversation, self._asked_at = "", 0.0
        self._woken = False
        self._run: Run | None = None
        self._run_scope: anyio.CancelScope | None = None
        self._played = anyio.Event()
        self._wire: Wire
        self._tasks: TaskGroup

    async def drive(self, connected: socket.socket) -> None:
        """Speak with the satellite until it hangs up or falls silent.

        Raises `NotASatelliteError` when it is none, `DeviceError` when it does not answer. Cancelled, it tells the
        satellite to pause.
        """
        problem: PersLMError | None = None
        async with anyio.create_task_group() as writing:
            self._wire = Wire(connected, writing.cancel_scope)
            writing.start_soon(self._wire.out.write)
            try:
                await self._introduce()
                problem = await self._driven()
            except PersLMError as error:
                problem = error  # raised outside: a task group would wrap it
            finally:
                self._wire.put(PauseSatellite())
                self._wire.out.finish()
        if problem is not None:
            raise problem

    async def _driven(self) -> PersLMError | None:
        problem: PersLMError | None = None
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._ping)
            self._tasks.start_soon(self._tell_timers)
            self._wire.put(RunSatellite())
            self._on_state(State.IDLE)
            try:
                await self._read()
            except PersLMError as error:
                problem = error
            self._tasks.cancel_scope.cancel()
        return problem

    async def _introduce(self) -> None:
        self._wire.put(Describe())
        with anyio.move_on_after(_INFO_S):
            while (event := await self._event()) is not None:
                if not Info.is_type(event.type):
                    continue
                about = parsed(Info.from_event, event).satellite
                if about is None or not about.installed:
                    raise NotASatelliteError("there is a Wyoming service, but no satellite")
                self._area = self._area or " ".join((about.area or "").split())[:_LONGEST_ROOM]
                return
        raise DeviceError("it does not say what it is")

    async def _event(self) -> Event | None:
        try:
            return await self._wire.event()
        except LostError as error:
            raise DeviceError(f"what it sends is no Wyoming: {error}") from error

    async def _read(self) -> None:
        while True:
            with anyio.move_on_after(self._silent_s) as silent:
                event = await self._event()
            if silent.cancelled_caught or event is None:
                return
            try:
                self._take(event)
            except InputError as error:
                refuse(self._wire, error)

    def _take(self, event: Event) -> None:
        if AudioChunk.is_type(event.type):
            if self._run is None and self._woken:  # some send their sound after a detection without run-pipeline
                self._begin(RunPipeline(PipelineStage.ASR, PipelineStage.TTS))
            if self._run is not None:
                self._run.take(Raw(event.payload or b"", *sound_format(event)))
        elif AudioStop.is_type(event.type):
            if self._run is not None:
                self._run.close()
        elif RunPipeline.is_type(event.type):
            self._begin(parsed(RunPipeline.from_event, event))
        elif Detection.is_type(event.type):
            self._woken = True
            self._bulletin.tell("wake_word_detected", name=str(event.data.get("name") or "")[:80])
        elif Played.is_type(event.type):
            self._played.set()
        elif Ping.is_type(event.type):
            self._wire.put(Pong(event.data.get("text")))

    # Runs

    def _begin(self, wanted: RunPipeline) -> None:
        """Begin a run; one that is still going on ends: who wakes the satellite again wants something else."""
        if self._run_scope is not None:
            self._run_scope.cancel()
        self._woken = False
        self._run = run = Run(wanted, self._engines, self._wire, self._asker())
        self._run_scope = scope = anyio.CancelScope()
        self._tasks.start_soon(self._answer, run, scope)

    async def _answer(self, run: Run, scope: anyio.CancelScope) -> None:
        self._on_state(State.LISTENING)
        self._played = anyio.Event()
        failed = False
        with scope:
            try:
                await run.answer()
            except PersLMError as error:
                failed = True
                refuse(self._wire, error)
            if run.sounded_s:
                self._on_state(State.RESPONDING)
                with anyio.move_on_after(run.sounded_s + _LATE_S):
                    await self._played.wait()
        if self._run is not run:
            return
        self._run = self._run_scope = None
        self._on_state(State.IDLE)
        listens = run.wanted.start_stage in {PipelineStage.WAKE, PipelineStage.ASR}
        if run.wanted.restart_on_end and listens and not failed:  # one that fails is not tried in a circle
            self._begin(run.wanted)

    def _asker(self) -> Asker:
        return Asker(self._person, self._same_conversation(), self._area)

    def _same_conversation(self) -> str:
        now = time.monotonic()
        if not self._conversation or now - self._asked_at > _CONVERSATION_S:
            self._conversation = uuid.uuid4().hex
        self._asked_at = now
        return self._conversation

    # Beside

    async def _ping(self) -> None:
        while True:
            await anyio.sleep(PING_S)
            self._wire.put(Ping())

    async def _tell_timers(self) -> None:
        async with self._bulletin.listen() as notices:
            async for notice in notices:
                if isinstance(notice, Happening) and (told := timer_event(notice)) is not None:
                    self._wire.put(told)


def timer_event(happening: Happening) -> Eventable | None:
    """A timer's event as Wyoming has it; None for what is none. Wyoming's timer has finished when it rings."""
    fields = happening.fields
    if happening.event_type not in _TIMERS or fields.get("kind", "timer") != "timer":
        return None
    number, total_s = str(fields.get("id", "")), round(float(fields.get("seconds") or 0))
    match happening.event_type:
        case "timer_started":
            return TimerStarted(number, total_s, name=fields.get("name") or None)
        case "timer_updated":
            left_s = round(float(fields.get("seconds_left", total_s)))
            return TimerUpdated(
                number, is_active=fields.get("state", "running") == "running", total_seconds=left_s
            )
        case "timer_cancelled":
            return TimerCancelled(number)
        case _:
            return TimerFinished(number)


_TIMERS = frozenset({"timer_started", "timer_updated", "timer_cancelled", "timer_ringing"})
