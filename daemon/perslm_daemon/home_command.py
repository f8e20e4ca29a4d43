"""Commands that are confirmed: send, wait for the device's own word, send once more where that is safe.

Nothing is ever reported as done because it was sent. What is risky waits for a person's yes. The last action can
be taken back. Knows no broker: it is handed a way to publish.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import anyio

from perslm_daemon.home_device import (
    VERBS,
    Action,
    Device,
    Happened,
    Outcome,
    Pending,
    Risk,
    Takes,
    Value,
    Values,
)
from perslm_daemon.home_entity import CannotError, Order, Plan, UntoldError, Wanted
from perslm_daemon.home_live import Live
from perslm_daemon.home_words import offer, question, sentence, the
from perslm_runtime.errors import InputError, PersLMError

log = logging.getLogger("perslm.home")

CONFIRM_S = 30.0
"""How long a question for a yes stands."""

UNDO_S = 600.0
"""How long an action can be taken back."""

ALREADY_S = 1.0
"""How long a device that is as wished is given to say otherwise: many report only changes."""

_AT_ONCE = 64
_NEVER_TWICE = frozenset(
    {"cover", "lock", "alarm_control_panel", "siren", "valve", "button", "scene", "media_player"}
)

Publish = Callable[[Order], Awaitable[None]]


class Grant(Enum):
    """What whoever acts may do with risky devices."""

    ASK = "ask"  # a question is asked first
    CONFIRMED = "confirmed"  # a person has said yes
    SAFE_ONLY = "safe_only"  # never: a way in that proves nobody's presence


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a device of each kind is waited for, in seconds."""

    light: float = 4.0
    cover: float = 20.0
    lock: float = 10.0
    climate: float = 6.0
    other: float = 5.0

    def of(self, domain: str) -> float:
        """For one domain."""
        match domain:
            case "light" | "switch":
                return self.light
            case "cover" | "valve":
                return self.cover
            case "lock" | "alarm_control_panel":
                return self.lock
            case "climate" | "water_heater" | "humidifier":
                return self.climate
        return self.other


@dataclass(frozen=True, slots=True)
class _Former:
    """How a device was before the last action."""

    device: Device
    values: Values
    action: Action


class Commands:
    """Carries out actions. `find` gives a device with its live entity, `asks_first` the rules of the house."""

    def __init__(
        self,
        find: Callable[[str], tuple[Device, Live] | None],
        asks_first: Callable[[Live, str], bool],
        number: Callable[[], int],
        waits: Waits,
    ) -> None:
        self._find, self._asks_first, self._number, self._waits = find, asks_first, number, waits
        self.publish: Publish | None = None
        """How a message is sent; None while there is no broker."""
        self._pending: dict[str, Pending] = {}
        self._formers: list[_Former] = []
        self._acted_at = 0.0
        self._turns: dict[str, anyio.Lock] = {}

    @property
    def pending(self) -> Pending | None:
        """The question that stands, the latest one; None where none does."""
        now = time.monotonic()
        self._pending = {id_: one for id_, one in self._pending.items() if one.expires_at > now}
        return next(reversed(self._pending.values()), None)

    async def act(
        self, targets: Sequence[str], action: Action, grant: Grant = Grant.ASK, *, unsure: bool = False
    ) -> tuple[Outcome, ...]:
        """Do `action` on every target once, all at the same time; what came of each, in order.

        `unsure`: it was guessed from what was said, so that a question is asked first whatever it is.
        """
        if action.verb not in VERBS:
            raise InputError(f"there is no action {action.verb!r}: known are {', '.join(VERBS)}")
        if VERBS[action.verb] is not Takes.NOTHING and action.value is None:
            raise InputError(f"{action.verb} needs a value: {VERBS[action.verb].value}")
        wanted = list(dict.fromkeys(targets))
        found = {id_: self._find(id_) for id_ in wanted}
        known = [one for one in found.values() if one is not None]
        risky = [device for device, live in known if self._asks_first(live, action.verb)]
        outcomes: dict[str, Outcome] = {id_: _no_device(id_) for id_, one in found.items() if one is None}
        if grant is Grant.SAFE_ONLY:
            outcomes |= {device.id: _outcome(device, Happened.FORBIDDEN, action) for device in risky}
        elif risky and grant is Grant.ASK:
            outcomes |= self._asked(risky, action, question(risky, action))
        if unsure and (rest := [device for device, _ in known if device.id not in outcomes]):
            outcomes |= self._asked(rest, action, offer(rest, action))
        todo = [(device, live) for device, live in known if device.id not in outcomes]
        before = {device.id: _Former(device, dict(live.values), action) for device, live in todo}
        limiter = anyio.CapacityLimiter(_AT_ONCE)
        sent: set[tuple[str, bytes]] = set()

        async def one(device: Device, live: Live) -> None:
            async with limiter:
                outcomes[device.id] = await self._one(device, live, action, sent)

        async with anyio.create_task_group() as tasks:
            for device, live in todo:
                tasks.start_soon(one, device, live)
        self._remember([before[id_] for id_ in before if _happened(outcomes[id_])])
        return tuple(outcomes[id_] for id_ in wanted)

    def _asked(self, devices: Sequence[Device], action: Action, asked: str) -> dict[str, Outcome]:
        ids = tuple(device.id for device in devices)
        pending = Pending(uuid.uuid4().hex[:8], ids, action, asked, time.monotonic() + CONFIRM_S)
        self._pending[pending.id] = pending
        wait = Happened.NEEDS_CONFIRMATION
        return {device.id: Outcome(device.id, device.name, wait, asked) for device in devices}

    async def confirm(self, yes: bool, pending_id: str | None = None) -> tuple[Outcome, ...]:
        """Answer the latest question, or the one of that id. Raises `InputError` where none stands."""
        latest = self.pending
        pending = latest if pending_id is None else self._pending.get(pending_id)
        if pending is None:
            raise InputError("nothing waits for a yes: say again what you want")
        del self._pending[pending.id]
        if not yes:
            return ()
        return await self.act(pending.targets, pending.action, Grant.CONFIRMED)

    async def undo(self) -> tuple[Outcome, ...]:
        """Put back what the last action changed. Raises `InputError` where there is nothing, or it is long ago."""
        formers, self._formers = self._formers, []
        if not formers or time.monotonic() - self._acted_at > UNDO_S:
            raise InputError("there is nothing that could be taken back")
        outcomes: dict[str, Outcome] = {}

        async def back(former: _Former) -> None:
            action = restoring(former.device, former.values, former.action)
            if action is None:
                said = f"{the(former.device.name)} cannot be put back"
                outcomes[former.device.id] = Outcome(former.device.id, former.device.name, Happened.UNKNOWN, said)
            else:
                (outcomes[former.device.id],) = await self.act([former.device.id], action, Grant.SAFE_ONLY)

        async with anyio.create_task_group() as tasks:
            for former in formers:
                tasks.start_soon(back, former)
        self._formers = []
        return tuple(outcomes[former.device.id] for former in formers)

    def _remember(self, formers: list[_Former]) -> None:
        safe = [one for one in formers if one.device.risk is Risk.SAFE]
        if safe:
            self._formers, self._acted_at = safe, time.monotonic()

    # One device

    async def _one(self, device: Device, live: Live, action: Action, sent: set[tuple[str, bytes]]) -> Outcome:
        # One command after the other for each device: two at once would take each other's confirmation.
        async with self._turns.setdefault(device.id, anyio.Lock()):
            live.settle()
            try:
                plan = live.entity.plan(_plain(action, live), live.values)
                if self.publish is None:
                    return _outcome(device, Happened.OFFLINE, action)
                if live.available is False:
                    return _outcome(device, Happened.UNAVAILABLE, action)
                return await self._confirmed(device, live, action, plan, sent)
            except CannotError as error:
                if self.publish is None and isinstance(error, UntoldError):
                    return _outcome(device, Happened.OFFLINE, action)
                said = f"{the(device.name)} {error}"
                return Outcome(device.id, device.name, Happened.UNKNOWN, said)
            except PersLMError as error:
                log.info("command_not_sent error=%s", type(error).__name__)
                return _outcome(device, Happened.OFFLINE, action)

    async def _confirmed(
        self, device: Device, live: Live, action: Action, plan: Plan, sent: set[tuple[str, bytes]]
    ) -> Outcome:
        since = self._number()
        was = _met(plan.wanted, live.values)
        await self._send(plan.orders, sent)
        if not plan.wanted:
            return _outcome(device, Happened.TOLD, action)
        limit = self._waits.of(device.domain)
        began = anyio.current_time()
        may_repeat = plan.repeatable and device.domain not in _NEVER_TWICE and device.risk is Risk.SAFE
        repeat_at = began + limit / 2 if may_repeat and not was else None
        while True:
            happened = self._happened(live, plan, since, was=was and anyio.current_time() - began >= ALREADY_S)
            if happened is not None:
                return _outcome(device, happened, action, _confirmed_values(plan, live.values, happened))
            if live.available is False:
                return _outcome(device, Happened.UNAVAILABLE, action)
            now = anyio.current_time()
            if now >= began + limit:
                return self._failed(device, live, action, plan, since)
            if repeat_at is not None and now >= repeat_at:
                repeat_at = None
                await self._send(plan.orders, set())
            marks = [began + limit, began + ALREADY_S if was else None, repeat_at]
            with anyio.move_on_after(max(0.0, min(at for at in marks if at is not None and at > now) - now)):
                await live.news()

    def _happened(self, live: Live, plan: Plan, since: int, *, was: bool) -> Happened | None:
        if not _met(plan.wanted, live.values):
            return self._on_its_way(live, plan, since)
        if any(live.said.get(wanted.prop, 0) > since for wanted in plan.wanted):
            moving = any(live.values.get(wanted.prop) in plan.on_its_way for wanted in plan.wanted)
            return Happened.STARTED if moving else Happened.DONE
        return Happened.ALREADY if was else None

    @staticmethod
    def _on_its_way(live: Live, plan: Plan, since: int) -> Happened | None:
        """A cover that was sent to a position and says that it moves."""
        moves = bool(plan.on_its_way) and live.values.get("state") in plan.on_its_way
        return Happened.STARTED if moves and live.said.get("state", 0) > since else None

    def _failed(self, device: Device, live: Live, action: Action, plan: Plan, since: int) -> Outcome:
        answered = any(live.said.get(wanted.prop, 0) > since for wanted in plan.wanted)
        if not answered:
            return _outcome(device, Happened.SILENT, action)
        values = {
            wanted.prop: live.values[wanted.prop]
            for wanted in plan.wanted
            if not wanted.met(live.values.get(wanted.prop)) and wanted.prop in live.values
        }
        return _outcome(device, Happened.REFUSED, action, values)

    async def _send(self, orders: Sequence[Order], sent: set[tuple[str, bytes]]) -> None:
        """Send what was not sent in this action yet: two names of one thing are worked once."""
        for order in orders:
            key = (order.topic, order.payload)
            if key in sent:
                continue
            sent.add(key)
            publish = self.publish
            if publish is None:
                raise InputError("there is no connection to the broker")
            await publish(order)


def _plain(action: Action, live: Live) -> Action:
    """A toggle as what it means now: only so can it be confirmed, and never be done twice by a repeat."""
    if action.verb != "toggle" or "toggle" in live.entity.works:
        return action
    if {"open", "close"} <= set(live.entity.works):
        state = live.values.get("state")
        if state is None:
            raise UntoldError("does not say whether it is open")
        return Action("open" if state in ("closed", "closing") else "close")
    on = live.values.get("on", None)
    if on is None and "mode" in live.values:
        on = live.values["mode"] != "off"
    if on is None:
        raise UntoldError("does not say whether it is on")
    return Action("turn_off" if on else "turn_on")


def _met(wanted: Sequence[Wanted], values: Values) -> bool:
    return bool(wanted) and all(one.met(values.get(one.prop)) for one in wanted)


def _confirmed_values(plan: Plan, values: Values, happened: Happened) -> dict[str, Value]:
    found = {wanted.prop: values[wanted.prop] for wanted in plan.wanted if wanted.prop in values}
    if "position" in found and happened is Happened.STARTED:
        return {"state": values["state"]}
    return found


def _happened(outcome: Outcome) -> bool:
    return outcome.happened in (Happened.DONE, Happened.STARTED, Happened.TOLD, Happened.REFUSED, Happened.SILENT)


def _outcome(
    device: Device, happened: Happened, action: Action, values: Mapping[str, Value] | None = None
) -> Outcome:
    values = values or {}
    return Outcome(device.id, device.name, happened, sentence(device, happened, action, values), values)


def _no_device(id_: str) -> Outcome:
    return Outcome(id_, id_, Happened.UNKNOWN, f"there is no device {id_[:80]}")


def restoring(device: Device, values: Values, action: Action) -> Action | None:
    """The action that brings a device back to how it was; None where that is not known or cannot be done."""
    can = device.capabilities
    if device.domain in ("light", "switch", "fan", "humidifier", "siren", "media_player"):
        on = values.get("on")
        if on is False:
            return Action("turn_off")
        if on is True:
            return _on_again(device, values, action)
    verbs = {
        "position": "set_position",
        "mode": "set_mode",
        "temperature": "set_temperature",
        "humidity": "set_humidity",
        "percentage": "set_percentage",
        "volume": "set_volume",
        "value": "set_value" if device.domain == "number" else "select",
    }
    changed = {"turn_on": "mode", "turn_off": "mode", "open": "position", "close": "position", "stop": "position"}
    prop = changed.get(action.verb) or action.verb.replace("change_", "set_").removeprefix("set_")
    prop = "value" if action.verb in ("select", "set_value") else prop
    verb = verbs.get(prop, f"set_{prop}")
    if prop in values and verb in can:
        return Action(verb, values[prop])
    if device.domain == "cover" and values.get("state") in ("open", "closed"):
        back = "open" if values["state"] == "open" else "close"
        return Action(back) if back in can else None
    return None


def _on_again(device: Device, values: Values, action: Action) -> Action:
    if device.domain == "fan":
        speed = values.get("percentage")
        return (
            Action("set_percentage", speed)
            if speed and "set_percentage" in device.capabilities
            else Action("turn_on")
        )
    made = Action("turn_on")
    brightness, color, kelvin = values.get("brightness"), values.get("color"), values.get("color_temp")
    if isinstance(brightness, int | float) and "set_brightness" in device.capabilities:
        made = replace(made, brightness=float(brightness))
    by_temperature = values.get("color_mode") == "color_temp" or color is None
    recolored = (
        action.color is not None or action.kelvin is not None or action.verb in ("set_color", "set_color_temp")
    )
    if (
        recolored
        and by_temperature
        and isinstance(kelvin, int | float)
        and "set_color_temp" in device.capabilities
    ):
        made = replace(made, kelvin=float(kelvin))
    elif recolored and isinstance(color, tuple) and len(color) == 2 and "set_color" in device.capabilities:
        made = replace(made, color=(color[0], color[1]))
    return made
