"""The verbs of the home: tell of its devices, work them, name them, answer its questions.

Rules that loosen what is asked first are changed by the machine's owner alone, through the control socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from perslm_daemon.home import Home
from perslm_daemon.home_areas import CONFIRM
from perslm_daemon.home_colors import color_named
from perslm_daemon.home_device import VERBS, Action, Device, Outcome, State, Takes
from perslm_daemon.turn import Tell
from perslm_daemon.verbs import Args, Request, TextArgs
from perslm_runtime.errors import InputError

_BY_NUMBER = {
    "light": "set_brightness",
    "cover": "set_position",
    "valve": "set_position",
    "fan": "set_percentage",
    "climate": "set_temperature",
    "water_heater": "set_temperature",
    "humidifier": "set_humidity",
    "number": "set_value",
    "media_player": "set_volume",
}
_BY_WORD = {
    "select": "select",
    "text": "set_text",
    "climate": "set_mode",
    "fan": "set_preset",
    "light": "set_effect",
}
_WORDS = {
    "on": "turn_on",
    "off": "turn_off",
    "up": "open",
    "down": "close",
    "home": "return_to_base",
}


class DevicesArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """Devices whose id, name or alias is `text`; else all, in an `area`, of a `domain`, with the `hidden` ones.

    `since` is the `changes` of an earlier answer: only what has changed after it.
    """

    area: str | None = None
    domain: str | None = None
    hidden: bool = False
    since: int | None = None


class DeviceArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`do` is one of the actions, with its `value`; without `do` the value says it ("on", "open", 40, "red").

    `device` is an id, a name or an alias, or a list of them; or `everything`, in an `area` or on a `floor`. The
    rest goes with turn_on of lights.
    """

    device: str | list[str] | None = None
    everything: bool = False
    area: str | None = None
    floor: str | None = None
    do: str | None = None
    value: bool | int | float | str | None = None
    brightness: float | None = None
    color: str | None = None
    kelvin: float | None = None
    effect: str | None = None


class HomeArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`confirm` answers a question (`id`, or the latest) with `yes`; `undo` takes the last action back.

    The others write into home.toml: `name`, `area`, `alias` (a second time takes it away), `hide`, `show` and
    `rule` (always, opening, never: when it asks first; control socket only) for a `device`, `floor` for the area
    `device`. An empty `value` takes it out.
    """

    action: Literal["confirm", "undo", "name", "area", "floor", "alias", "hide", "show", "rule"] = "confirm"
    device: str | None = None
    value: str = ""
    yes: bool = True
    id: str | None = None


class HomeVerbs:
    """The verbs over one home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def devices(self, args: DevicesArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        """The devices with their states; areas, floors, and where the counting of changes is."""
        home = self._home
        wanted = home.find(args.text) if args.text else home.devices()
        changed = None if args.since is None else home.changed_since(args.since)
        found = [
            device
            for device in wanted
            if (args.hidden or args.text or not device.hidden)
            and (args.area is None or (device.area or "").lower() == args.area.lower())
            and (args.domain is None or device.domain == args.domain)
            and (changed is None or device.id in changed)
        ]
        return {
            "devices": [device_data(device, home.state(device.id)) for device in found],
            "areas": [msgspec.to_builtins(area) for area in home.areas()],
            "floors": [msgspec.to_builtins(floor) for floor in home.floors()],
            "changes": home.changes,
            "generation": home.generation,
        }

    async def device(self, args: DeviceArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Do something; what came of it, as a sentence and for each device."""
        targets = self._targets(args)
        by_action: dict[Action, list[str]] = {}
        for device in targets:
            action = action_of(args, device)
            if args.device is not None or action.verb in device.capabilities:  # "everything" means what can do it
                by_action.setdefault(action, []).append(device.id)
        outcomes: list[Outcome] = []
        for action, ids in by_action.items():
            outcomes += await self._home.act(ids, action, by=request.source)
        return self._answer(outcomes)

    def _targets(self, args: DeviceArgs) -> Sequence[Device]:
        home = self._home
        if args.everything or (args.device is None and (args.area or args.floor)):
            ids = home.everything(_spelled(args.area, home.areas()), _spelled(args.floor, home.floors()))
            return [device for id_ in ids if (device := home.device(id_)) is not None]
        names = [args.device] if isinstance(args.device, str) else args.device or []
        if not names:
            raise InputError("which device? Send its id or name as `device`, or `everything`")
        return [self.one(name) for name in names]

    def one(self, name: str) -> Device:
        """The one device of a name. Raises `InputError` where there is none, or there are several."""
        found = self._home.find(name)
        if not found:
            raise InputError(f"there is no device {name[:80]!r}: `perslm devices` lists them")
        shown = [device for device in found if not device.hidden] or list(found)
        if len(shown) > 1:
            ids = ", ".join(device.id for device in shown[:5])
            raise InputError(f"{len(shown)} devices are called {name[:80]!r}: say which by its id: {ids}")
        return shown[0]

    def _answer(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        told: dict[str, Any] = {
            "text": self._home.summary(outcomes),
            "outcomes": [
                {"id": one.device, "name": one.name, "happened": one.happened.value, "text": one.sentence}
                for one in outcomes
            ],
        }
        pending = self._home.pending
        if pending is not None and any(one.happened.value == "needs_confirmation" for one in outcomes):
            told["confirm"] = {"id": pending.id, "question": pending.question}
        return told

    async def home(self, args: HomeArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Answer a question, take back, or write a name, an area or a rule."""
        if args.action == "confirm":
            outcomes = await self._home.confirm(args.yes, args.id, by=request.source)
            return self._answer(outcomes) if args.yes else {"text": "It is left as it is", "outcomes": []}
        if args.action == "undo":
            return self._answer(await self._home.undo(by=request.source))
        if not args.device:
            raise InputError(f"{args.action} needs a `device`")
        if args.action == "floor":
            area = _spelled(args.device, self._home.areas()) or args.device
            await self._home.give("areas", area, "floor", args.value or None)
            return {"area": area, "floor": args.value}
        if args.action == "rule" and (request.source != "socket" or args.value not in CONFIRM):
            raise InputError(f"rules are set on the machine itself (`perslm devices rule`): {', '.join(CONFIRM)}")
        device = self.one(args.device)
        key, value = self._given(args, device)
        await self._home.give("devices", device.id, key, value)
        now = self._home.device(device.id) or device
        return {"device": device_data(now, self._home.state(now.id))}

    def _given(self, args: HomeArgs, device: Device) -> tuple[str, object]:
        match args.action:
            case "alias":
                if not args.value:
                    return "aliases", None
                kept = [alias for alias in device.aliases if alias.lower() != args.value.lower()]
                return "aliases", kept if len(kept) < len(device.aliases) else [*kept, args.value]
            case "hide" | "show":
                return "hidden", args.action == "hide"
            case "rule":
                return "confirm", args.value
        return args.action, args.value or None


def action_of(args: DeviceArgs, device: Device) -> Action:
    """The action that is wished of one device. Raises `InputError`."""
    color = None
    if args.color is not None and (color := color_named(args.color)) is None:
        raise InputError(f"there is no colour {args.color[:40]!r}: send a name, #ff8800 or 255,136,0")
    more: dict[str, Any] = {
        "brightness": args.brightness,
        "color": color,
        "kelvin": args.kelvin,
        "effect": args.effect,
    }
    if args.do is None:
        return _guessed(args.value, device, any(value is not None for value in more.values()), more)
    if args.do not in VERBS:
        raise InputError(f"there is no action {args.do[:40]!r}: known are {', '.join(VERBS)}")
    value = args.value
    if VERBS[args.do] is Takes.COLOR and (value := color_named(str(args.value))) is None:  # type: ignore[assignment]  # a colour is a value
        raise InputError(f"there is no colour {str(args.value)[:40]!r}: send a name, #ff8800 or 255,136,0")
    return Action(args.do, value, **more)


def _guessed(value: object, device: Device, extras: bool, more: dict[str, Any]) -> Action:
    """What a bare value means for a device: "on", 40, "red", "heat"."""
    word = str(value).strip().lower() if value is not None else ""
    if isinstance(value, bool) or (not word and extras):
        return Action("turn_on" if value or extras else "turn_off", **more)
    verb = _WORDS.get(word, word.replace(" ", "_"))
    if verb in VERBS and VERBS[verb] is Takes.NOTHING:
        return Action(verb, **more)
    try:
        number = float(word.rstrip("%°"))
    except ValueError:
        number = None
    if number is not None and device.domain in _BY_NUMBER:
        return Action(_BY_NUMBER[device.domain], number)
    if device.domain == "light" and (color := color_named(word)) is not None:
        return Action("set_color", color)
    if word and device.domain in _BY_WORD:
        return Action(_BY_WORD[device.domain], str(value))
    raise InputError(f"{word[:40] or 'nothing'!r} means nothing for {device.name}: say what to `do`")


def _spelled(name: str | None, known: Sequence[Any]) -> str | None:
    """The name of a room or floor as it is spelled, by any of its names. Raises `InputError`."""
    if name is None:
        return None
    for one in known:
        if name.lower() in (one.name.lower(), *(alias.lower() for alias in one.aliases)):
            return str(one.name)
    raise InputError(f"there is no {name[:80]!r}: known are {', '.join(one.name for one in known) or 'none'}")


def device_data(device: Device, state: State) -> dict[str, Any]:
    """A device as the verb `devices` answers it; what it does not have is left out."""
    data: dict[str, Any] = {
        "id": device.id,
        "name": device.name,
        "domain": device.domain,
        "kind": device.kind,
        "area": device.area,
        "floor": device.floor,
        "aliases": list(device.aliases),
        "available": state.available,
        "state": {
            name: list(value) if isinstance(value, tuple) else value for name, value in state.values.items()
        },
        "at": round(state.at, 3) or None,
        "unit": device.unit,
        "does": sorted(device.capabilities),
        "options": {name: list(words) for name, words in device.options.items()},
        "hidden": device.hidden,
        "asks_first": device.risk.value == "needs_confirmation",
        "source": device.source,
    }
    return {name: value for name, value in data.items() if name == "available" or value}
