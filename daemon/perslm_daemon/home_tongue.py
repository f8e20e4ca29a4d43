"""What came of a command or a question, in another language than English (home_words.py, home_answers.py).

Says what devices reported, as the English answers do. Where a language has no phrases of ours, Home Assistant's
are used for what was done, and whatever else there is to say stays English. Works nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perslm_daemon import engine_calls
from perslm_daemon.home import Home
from perslm_daemon.home_answers import SENSED, is_so, sensed_value
from perslm_daemon.home_device import Device, Happened, Outcome, Pending, Values
from perslm_daemon.home_resolve import UnclearError
from perslm_runtime.errors import PersLMError
from perslm_runtime.home_wish import Wish
from perslm_runtime.lane import Lane
from perslm_runtime.tongues import Tongue

_MOST = 5
_NUMBERS = {
    "brightness": "percent",
    "position": "percent",
    "percentage": "percent",
    "volume": "percent",
    "humidity": "percent",
    "temperature": "degrees",
}
_PLAIN = {
    Happened.SILENT: "silent",
    Happened.UNAVAILABLE: "unavailable",
    Happened.TOLD: "told",
    Happened.FORBIDDEN: "forbidden",
    Happened.UNKNOWN: "cannot",
}
_VERBS = {
    "unlock": "unlock",
    "lock": "lock",
    "open": "open_it",
    "close": "close_it",
    "turn_on": "on_it",
    "turn_off": "off_it",
}


def outcomes_in(tongue: Tongue, outcomes: Sequence[Outcome]) -> str:
    """What came of an action, without the full stop: of many how many are so, and each that is not."""
    if not outcomes:
        return tongue.say("nothing")
    if outcomes[0].happened is Happened.OFFLINE:
        return tongue.say("offline")
    good = [one for one in outcomes if one.happened.good and one.happened is not Happened.TOLD]
    others = [one for one in outcomes if one not in good]
    parts = []
    states = {_state_in(tongue, one.values) for one in good}
    if len(good) > 2 and len(states) == 1:
        counted = {"n": len(good), "all": len(outcomes), "state": states.pop()}
        parts.append(tongue.say("part" if others else "several", **counted))
    else:
        parts += [_one_in(tongue, one) for one in good]
    return "; ".join([*parts, *(_one_in(tongue, one) for one in others)][: _MOST + 1])


def _one_in(tongue: Tongue, one: Outcome) -> str:
    if (plain := _PLAIN.get(one.happened)) is not None:
        return tongue.say(plain, name=one.name)
    if one.happened is Happened.REFUSED and not one.values:
        return tongue.say("refused", name=one.name)
    pattern = {Happened.ALREADY: "already", Happened.REFUSED: "still"}.get(one.happened, "is")
    return tongue.say(pattern, name=one.name, state=_state_in(tongue, one.values))


def _state_in(tongue: Tongue, values: Values) -> str:
    """What values say, as a state word; a lamp's brightness before that it is on."""
    on = values.get("on")
    if on is False:
        return tongue.state("off")
    for prop, unit in _NUMBERS.items():
        if isinstance(value := values.get(prop), int | float) and not isinstance(value, bool):
            return tongue.say(unit, n=_number(value))
    for prop in ("state", "mode", "preset", "fan_mode"):
        if prop in values:
            return tongue.state(str(values[prop]))
    return tongue.state("on") if on is True and len(values) == 1 else tongue.state("set")


def question_in(tongue: Tongue, pending: Pending, home: Home) -> str:
    """The question before something risky."""
    names = [device.name for id_ in pending.targets if (device := home.device(id_)) is not None]
    verb = tongue.say(_VERBS.get(pending.action.verb, "work_it"))
    return tongue.say("really", names=_listed(tongue, names, "and"), verb=verb)


def unclear_in(tongue: Tongue, error: UnclearError, home: Home) -> str:
    """The question which one, or where."""
    found = [home.device(id_) for option in error.options for id_ in option]
    names = [device.name for device in found if device is not None]
    return tongue.say("which", names=_listed(tongue, names, "or")) if names else tongue.say("where")


def answer_in(tongue: Tongue, wish: Wish, home: Home, ids: Sequence[str]) -> str:
    """The answer to a question about these devices; "" for one that there are no phrases for."""
    found = [device for id_ in ids if (device := home.device(id_)) is not None]
    if wish.name in SENSED:
        return _sensed_in(tongue, wish, home, found)
    if wish.name not in ("is_state", "which", "how_many"):
        return ""
    return _state_of_in(tongue, wish, home, found)


def _sensed_in(tongue: Tongue, wish: Wish, home: Home, found: Sequence[Device]) -> str:
    values = [(one, value) for one in found if (value := sensed_value(wish.name, one, home)) is not None]
    if not values or wish.name == "illuminance":
        return ""
    number = _number(sum(value for _, value in values) / len(values))
    rooms = {one.area for one, _ in values}
    if wish.name == "temperature" and len(rooms) == 1 and (room := rooms.pop()):
        return tongue.say("warm_in", place=room, n=number)
    return tongue.say("warm" if wish.name == "temperature" else "humid", n=number)


def _state_of_in(tongue: Tongue, wish: Wish, home: Home, found: Sequence[Device]) -> str:
    word = wish.word or "on"
    so = [one for one in found if is_so(one, home.state(one.id), word)]
    state = tongue.state(word)
    if wish.name == "how_many":
        return tongue.say("count", n=len(so), state=state)
    if wish.name == "is_state" and len(found) == 1:
        said = word if so else _OTHER.get(word, word)
        return tongue.say("yes_it_is" if so else "no_it_is", name=found[0].name, state=tongue.state(said))
    if wish.name == "is_state" and len(so) == len(found) > 1:
        return tongue.say("yes_all", n=len(so), state=state)
    names = _listed(tongue, [one.name for one in so], "and")
    return tongue.say("they_are", names=names, state=state) if so else tongue.say("none", state=state)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0").replace(".", ",")  # as all these languages write it


_PAIRS = {"on": "off", "open": "closed", "locked": "unlocked"}
_OTHER = _PAIRS | {other: one for one, other in _PAIRS.items()}


def _listed(tongue: Tongue, names: Sequence[str], joined: str) -> str:
    shown = list(names[:_MOST])
    word = f" {tongue.say(joined)} "
    return ", ".join(shown[:-1]) + word + shown[-1] if len(shown) > 1 else "".join(shown)


async def stock_said(recognizer: Lane[Any], wish: Wish, home: Home, outcomes: Sequence[Outcome]) -> str:
    """Home Assistant's words for a wish that was done; "" where it was not, or it has none."""
    intent, key = wish.reply
    if not intent or not outcomes or not all(one.happened.good for one in outcomes):
        return ""
    if any(one.happened is Happened.TOLD for one in outcomes):
        return ""
    device = home.device(outcomes[0].device)
    number = "" if wish.number is None else f"{wish.number:g}"
    slots = {
        "name": outcomes[0].name,
        "area": (device.area or "") if device else "",
        "floor": (device.floor or "") if device else "",
        "device_class": device.kind if device else "",
        "temperature": number,
        "brightness": number,
        "position": number,
        "percentage": number,
    }
    state = {"domain": device.domain if device else "", "name": outcomes[0].name}
    try:
        there = {name: value for name, value in slots.items() if value}
        said: str = await recognizer.call(engine_calls.stock_said, intent, key, there, state)
    except PersLMError:
        return ""
    return said
