"""The daemon's desk for sandboxed tools: what a child asks for is held against its tool's manifest, the call it
belongs to and the gate, and only then carried out over the part it touches.

A child is as little trusted as any text: it may ask for what its manifest names and its own call says, changes
something once, and gets a few answers. What it asks for besides ends the call, by name.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from perslm_daemon import tool_errands as errands
from perslm_daemon.home import Home
from perslm_daemon.home_command import Grant
from perslm_daemon.home_device import Action, Device, Happened
from perslm_daemon.recollection import Recollection
from perslm_daemon.schedule import Schedule
from perslm_daemon.schedule_file import Kind
from perslm_daemon.tool_house import SECONDS, as_fact
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tool_world import MOST_MESSAGE_BYTES
from perslm_daemon.tools import Caller, Manifest, NeedsYes, Run, Told, Tools, clipped
from perslm_runtime.errors import ToolRefused
from perslm_runtime.tool_call import Value

log = logging.getLogger("perslm.tools")

_MOST_ERRANDS = 8  # of one call; ours need three
_MOST_SHOWN = 200  # devices in one answer
_RECALLED = 5

Now = Callable[[], datetime | None]
PartT = TypeVar("PartT")


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts that errands are over; None where this daemon does not have one."""

    tools: Tools
    workers: Workers
    now: Now
    home: Home | None = None
    schedule: Schedule | None = None
    recollection: Recollection | None = None

    def add(self, manifest: Manifest, entry: str) -> None:
        """Register a tool that runs in the sandbox and sends errands; `entry` is "package.module:function"."""
        self.tools.register(manifest, self.run_of(manifest, entry))

    def run_of(self, manifest: Manifest, entry: str) -> Run:
        """What the tool does: its child runs, and each of its errands comes here."""
        box = Box(entry, preload=True, waits=True)

        async def run(arguments: Mapping[str, Value], caller: Caller, only: str = "") -> Told:
            now = self.now()
            whole = {**arguments, **({} if now is None else {"now": now.isoformat()})}

            async def confirmed(device: str = "") -> str:
                return (await run(arguments, replace(caller, yes=True), device)).text

            call = _Call(self, manifest, arguments, caller, confirmed, only)
            return await self.workers.run(box, whole, manifest.limits, call.errand)

        return run


@dataclass(slots=True)
class _Call:
    """One call, and what its child has asked for; `only` is the device that a yes was given for."""

    desk: Desk
    manifest: Manifest
    arguments: Mapping[str, Value]
    caller: Caller
    confirmed: Callable[[str], Awaitable[str]]
    only: str = ""
    _asked: int = field(default=0)
    _changed: bool = field(default=False)

    async def errand(self, message: Any) -> bytes:
        """Carry out what a child asks for; the answer as it goes back.

        Raises `ToolRefused` for what it may not, `NeedsYes` where a person is asked first, and the part's errors.
        """
        self._asked += 1
        if self._asked > _MOST_ERRANDS:
            raise self._refused(f"sent more than {_MOST_ERRANDS} errands")
        try:
            errand = errands.read(message)
        except (msgspec.ValidationError, RecursionError) as error:
            raise self._refused("sent an errand that there is not") from error
        self._require(errand)
        told = await self._carried_out(errand)
        data = msgspec.json.encode(told)
        if len(data) > MOST_MESSAGE_BYTES:
            raise ToolRefused(f"what {self.manifest.name} has to tell of is too much: ask for less")
        return data

    def _require(self, errand: errands.Errand) -> None:
        right = errands.RIGHTS[type(errand)]
        declared = self.manifest.changes if right.changes else self.manifest.reads
        if right.touches not in declared:
            what = "change" if right.changes else "read"
            raise self._refused(f"wanted to {what} {right.touches}, which its manifest does not declare")
        if not right.changes:
            return
        if self._changed:
            raise self._refused("wanted to change something twice in one call")
        if not self._is_of_the_call(errand):
            raise self._refused(f"wanted to change {right.touches} otherwise than its call says")
        self._changed = True
        if self.desk.tools.needs_yes(self.manifest, self.caller):  # the turn read something since the call began
            raise NeedsYes(self.manifest.asked(self.arguments), lambda: self.confirmed(""))

    def _is_of_the_call(self, errand: errands.Errand) -> bool:
        """Whether what is changed is what the arguments say: a question for a yes was worded from those."""
        said = self.arguments
        match errand:
            case errands.Work(device=device, verb=verb, value=value):
                here = {one.id for one in self._named(str(said.get("device", "")))}
                bound = not self.only or device == self.only
                return here == {device} and bound and (verb, value) == (said.get("action"), said.get("value"))
            case errands.SetTimer(seconds=seconds):
                return seconds == int(said.get("amount", 0)) * SECONDS.get(str(said.get("unit")), 0)
            case errands.Keep(fact=fact):
                return fact == as_fact(str(said.get("fact", "")))
        return False

    async def _carried_out(self, errand: errands.Errand) -> errands.Answer:
        match errand:
            case errands.Work():
                return await self._work(errand)
            case errands.Devices() | errands.Named() | errands.StateOf():
                return self._looked(errand)
            case errands.Running():
                return errands.Timers(tuple(_there(self.desk.schedule).views()))
            case errands.SetTimer(seconds=seconds):
                schedule = _there(self.desk.schedule)
                item = await schedule.add(Kind.TIMER, seconds=seconds)
                return errands.Timers(tuple(one for one in schedule.views() if one.item.id == item.id))
        return await self._remembering(errand)

    def _looked(self, errand: errands.Devices | errands.Named | errands.StateOf) -> errands.Answer:
        if isinstance(errand, errands.StateOf):
            return errands.Says(dict(self._home.state(errand.device).values))
        if isinstance(errand, errands.Named):
            seen = self._named(errand.name)
        else:
            seen = [one for one in self._home.devices() if not one.hidden]
        most = min(max(errand.most, 0), _MOST_SHOWN) if isinstance(errand, errands.Devices) else _MOST_SHOWN
        return errands.Shown(tuple(map(_seen, seen[:most])), len(seen))

    async def _remembering(self, errand: errands.Recall | errands.Keep) -> errands.Remembered:
        recollection, caller = _there(self.desk.recollection), self.caller
        if isinstance(errand, errands.Recall):
            most = self.manifest.limits.answer_characters
            found = await recollection.recall(errand.about, _RECALLED, caller.person)
            return errands.Remembered(tuple(errands.Memory(one.id, clipped(one.text, most)) for one in found))
        read = self.desk.tools.has_read(caller.turn)
        source = f"tool {', '.join(read)}"[:200] if read else "told"
        await recollection.remember(errand.fact, caller.person, source=source)
        return errands.Remembered()

    async def _work(self, errand: errands.Work) -> errands.Came:
        home, caller = self._home, self.caller
        action = Action(errand.verb, errand.value)
        grant = Grant.CONFIRMED if caller.yes else Grant.ASK
        outcomes = await home.act([errand.device], action, grant=grant, by=caller.source)
        pending = home.pending
        asked = [one for one in outcomes if one.happened is Happened.NEEDS_CONFIRMATION]
        if asked and pending is not None and pending.question == asked[0].sentence:  # and nobody else's question
            await home.confirm(False, pending.id, by=caller.source)  # one question stands, and it is ours
            raise NeedsYes(pending.question, lambda: self.confirmed(errand.device))
        plain = tuple(replace(one, values=dict(one.values)) for one in outcomes)
        known = (home.device(one.device) for one in outcomes)
        return errands.Came(plain, tuple(one.domain for one in known if one is not None))

    def _named(self, name: str) -> list[Device]:
        return [one for one in self._home.find(name) if not one.hidden]

    @property
    def _home(self) -> Home:
        return _there(self.desk.home)

    def _refused(self, why: str) -> ToolRefused:
        log.warning("tool=%s refused=errand", self.manifest.name)
        return ToolRefused(f"the tool {self.manifest.name} {why}: it was ended")


def _there(part: PartT | None) -> PartT:
    if part is None:
        raise ToolRefused("the part that it needs did not start: `perslm status` says why")
    return part


def _seen(device: Device) -> errands.Seen:
    return errands.Seen(device.id, device.name, device.area or device.domain)
