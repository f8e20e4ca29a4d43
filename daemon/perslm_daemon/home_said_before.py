"""What a sentence leaves to what was said before, said out: "mine too", "no, the other lamp".

Only words change here: the sentence that comes out is read as any other. English, pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from perslm_daemon.home_colors import color_named
from perslm_daemon.home_device import Device
from perslm_runtime.home_patterns import NUMBER, SHADE
from perslm_runtime.home_wish import Wish

_BEFORE = re.compile(
    r"^(?:(?:oh|no|nah|nope|sorry|wait|oops|actually|never mind|nevermind|hang on|hold on)[ ,]+)+"
    r"(?=(?:i (?:meant|mean|said|do not like)|not that one|make|turn|switch|put|set|open|close|shut|stop|just|"
    r"the other)\b|"
    rf"(?:on|off)(?: again)?$|{NUMBER}(?: percent| degrees)?$|{SHADE}$|(?:(?:half ?way|half)$))|^(?=not "
    rf"that one\b)|"
    rf"^(?:(?:oh )?not (?:that|so) much[ ,]+)?(?:only|just) (?=half(?: ?way)?$)|"
    r"^(?:oh )?not (?:that|so|quite so) \w+[ ,]+(?=make (?:it|that)|only|just)"
)
_MEANT = re.compile(
    r"^(?:(?:i (?:meant|mean|said)|make (?:it|that)(?! one\b)|just|do|try|(?:i|we) do not like (?:it|that|this))"
    r"[ ,]+)+(?:to )?"
)
_MEANT_BEHIND = re.compile(r"^(?:no|sorry|oh no)[ ,]+((?:the|my|our) [\w' ]+?),? i (?:mean|meant)$")
_MORE = re.compile(r"^(?:and )?(?:(?:a (?:bit|little|touch)|some) )?more$")
_LOUDER = re.compile(r"^(?:(?:a )?(?:bit|little|touch) )?(louder|quieter|softer)$")
_PLAY_ON = re.compile(r"^(?:keep|carry on|go on) playing$")
_WAYS = {
    "change_brightness": ("make {} brighter", "make {} dimmer"),
    "change_volume": ("turn {} up", "turn {} down"),
    "change_temperature": ("make {} warmer", "make {} cooler"),
}
_I_MEAN = re.compile(r",? i (?:mean|meant)$")
_NOT_SO = re.compile(rf"(?<=\w),? not (?:mine|hers|his|that one|{NUMBER}|the [\w']+(?: \w+)?|\w+'s(?: \w+)?)$")
_OFF_AGAIN = re.compile(
    r"^(?:turn|switch) (?:it|that) (off|on)(?: again)?,? (?:i meant|i wanted) ((?:the|my) [\w' ]+)$"
)
_BY = re.compile(rf"^(up|down) (?:by )?({NUMBER}) (degrees?|percent)$")
_NUMBER = re.compile(rf"^{NUMBER}$")
_UNITS = {
    "set_temperature": "degrees",
    "set_brightness": "percent",
    "set_volume": "percent",
    "set_position": "percent",
    "set_speed": "percent",
    "set_percentage": "percent",
    "set_humidity": "percent",
    "change_temperature": "degrees",
    "change_brightness": "percent",
    "change_volume": "percent",
}
_MOVES = frozenset({"open", "close", "set_position"})
_STOP = re.compile(r"^(?:(?:no|wait|okay|oh|whoa)[ ,]+)*stop(?: (?:there|it|now|right there|here))?(?=[ ,]|$)")
_TOLD = re.compile(r"^(?:[ ,]*(?:stop|please|that is .+|it is .+|that will do|there))*$")
_AGAIN = re.compile(r"^(?:and )?(?:back )?(on|off) again,? (?:that|it) (?:is|was) \w+$")
_STATE = re.compile(r"^(on|off)(?: again)?$")
_SAME = re.compile(r"^(?:the )?same (?:colou?r|temperature|brightness|volume|speed)? ?(?:for|with|on|in) ")
_SOFTER = re.compile(
    r"^((?:a )?(?:bit|little|touch)|slightly|much|even)? ?(lower|higher|brighter|dimmer|darker)(?: still| "
    r"again| "
    r"than that)?(?: please)?$"
)
_HARSH = re.compile(r"^(?:(?:that|it) is )?(?:a bit |much |way )?too bright$")
_LEFT = re.compile(
    r"^(?:leave|keep) (?:that one|this one|that|it)(?: (?:on|off|open|closed|as it is))? (?:and|but) "
)
_LEFT_BEHIND = re.compile(
    r",? (?:and|but) (?:leave|keep) (?:mine|(?:that|this|the other)(?: one)?|it)"
    r"(?: (?:on|off|open|closed|as it is))?$"
)
_THEIRS = re.compile(r"\b(?:hers|theirs|his(?=$| (?:and|too|off|on|up|down|to|as)\b))(?!\w)")
_ROBOT = re.compile(r"\b(?:him|her)\b(?! \w+'s)")
_OWNED = re.compile(r"\b(\w+'s)(?=$| (?:instead|please|too|as well)$)")
_OTHER = re.compile(
    r"\bthe other (?:one|(lamp|light|blind|curtain|fan|heater|radiator|speaker|tv|telly|plug|door))\b"
)
_ONE_IN = re.compile(r"\bthe (?:one|ones) (?:in|on|at) (?:the )?(.+)$")
_MINE = re.compile(r"(?<!\bof )(?<!\ba )(?<!\bthe )(?<!gold )(?<!coal )\bmine\b")
_PLEASE = re.compile(r"^(?:and |now |then |maybe )?(?:in )?|(?: (?:now|then|instead|please))+$")
_WHITES = frozenset({"warm white", "cool white", "cold white", "daylight"})
_ALSO = re.compile(r"^(?:and |now |then )+(?:do )?(\w+'s)(?: too| as well)?$")
_ONE_CALLED = re.compile(r"^(?:and |now |then )+the (\w+) one(?: too| as well)?$")
_WORKS_IT = re.compile(r"^\w+(?: on| off| up| down)? (?:it|them)\b")
_SHADES = {"lower": "dimmer", "darker": "dimmer", "dimmer": "dimmer", "higher": "brighter", "brighter": "brighter"}
_OWN_KINDS = frozenset({"door", "garage", "gate", "awning"})


def said_out(text: str, before: Wish | None, it: Sequence[Device], devices: Sequence[Device], area: str) -> str:
    """The sentence with what it takes from before, or `text` as it is where it takes nothing.

    `before` is the last wish, `it` are the devices that it was about, `area` the room where this is said.
    """
    if before is None or not it:
        return text
    said = re.sub(r"[’`]", "'", text.lower()).strip(" .!?")
    said = re.sub(r"\b(that|it)'s\b", r"\1 is", said).replace("don't", "do not")
    whole = _stopped(said, before, it) or _pointed(said, before, it, devices, area)
    return text if whole is None or whole == said else whole


def _stopped(said: str, before: Wish, it: Sequence[Device]) -> str | None:
    """ "Stop there, that's plenty", while a cover goes."""
    found = _STOP.match(said)
    moves = before.name in _MOVES and all(device.domain == "cover" for device in it)
    return f"stop {_all(it)}" if found and moves and _TOLD.match(said[found.end() :]) else None


def _pointed(said: str, before: Wish, it: Sequence[Device], devices: Sequence[Device], area: str) -> str | None:
    """Things that are pointed at by their names, and values as what was set."""
    said = _MEANT_BEHIND.sub(r"no i meant \1", said)
    whole, said = said, _NOT_SO.sub("", _I_MEAN.sub("", said))
    taken_back = _BEFORE.match(said) is not None or _NOT_SO.search(whole) is not None
    bare = _LEFT_BEHIND.sub("", _LEFT.sub("", _BEFORE.sub("", said)))
    if len(it) == 1:
        bare = _THEIRS.sub("it", bare)
        bare = _ROBOT.sub(_all(it), bare) if it[0].domain in ("vacuum", "lawn_mower") else bare
    meant = _MEANT.sub("", bare)
    if taken_back or meant != bare:
        meant = re.sub(r"^not that one[ ,]+", "", meant)
        if (valued := _valued(meant, before, it)) is not None:
            return valued
        if _NUMBER.match(meant) and not all(device.domain == "light" for device in it):
            return None  # "no, make it seventy" of a lock
    state = _STATE.match(bare) if taken_back else None
    short = (
        f"turn {state[1]} {_all(it)}" if state is not None else _short(bare, it, area) or _more(bare, before, it)
    )
    if (whole_of_it := short or _also(bare, it, devices, area)) is not None:
        return whole_of_it
    named = _with_names(meant, it, devices, area)
    if taken_back and named.removeprefix("the ") in (device.name.lower() for device in devices):
        return f"no {named}"
    left = meant if taken_back and _WORKS_IT.match(meant) else bare  # "sorry, I meant lock it"
    return named if named != meant else re.sub(r"\b(?:that|this) one\b", "it", left)


def _more(bare: str, before: Wish, it: Sequence[Device]) -> str | None:
    """The same once more: "a bit more", and of what plays "louder"."""
    plain = _PLEASE.sub("", bare)
    if _MORE.match(plain) and before.name in _WAYS and before.word in ("up", "down"):
        return _WAYS[before.name][before.word == "down"].format(_all(it))
    found = _LOUDER.match(plain)
    if not all(device.domain == "media_player" for device in it):
        return None
    if found is None:
        return f"play {_all(it)}" if _PLAY_ON.match(plain) else None
    return f"turn {_all(it)} {'up' if found[1] == 'louder' else 'down'}"


def _also(bare: str, it: Sequence[Device], devices: Sequence[Device], area: str) -> str | None:
    """The same for something else: "same colour for the sign", "now the right one", "and do Jonah's"."""
    if (found := _SAME.match(bare)) is not None:
        return f"and {_with_names(bare[found.end() :], it, devices, area)} too"
    if (found := _ONE_CALLED.match(bare)) is not None and (one := _beside(found[1], it, devices)) is not None:
        return f"and {one.name.lower()} too"
    found = _ALSO.match(bare)
    whose = _with_names(found[1], it, devices, area) if found is not None else ""
    return f"and {whose} too" if found is not None and whose != found[1] else None


def _short(bare: str, it: Sequence[Device], area: str) -> str | None:
    """Words that name nothing: "off again", "down one degree", and of lights "a bit lower", "too bright"."""
    if (found := _AGAIN.match(bare)) is not None:
        return f"turn {found[1]} {_all(it)}"
    if (found := _OFF_AGAIN.match(bare)) is not None:
        return f"turn {found[1]} {_all(it)} and turn {'on' if found[1] == 'off' else 'off'} {found[2]}"
    if (found := _BY.match(bare)) is not None:
        return f"turn {_all(it)} {found[1]} by {found[2]} {found[3]}"
    return _lit(bare, it, area) if all(device.domain == "light" for device in it) else None


def _lit(bare: str, it: Sequence[Device], area: str) -> str | None:
    """Words for lights: "warm white please", "a bit lower", "too bright", "how bright is it"."""
    if color_named(plain := _PLEASE.sub("", bare)) is not None or plain in _WHITES:
        return f"make {_all(it)} {plain}"
    if (found := _SOFTER.match(bare)) is not None:
        return " ".join(f"make {_all(it)} {found[1] or ''} {_SHADES[found[2]]}".split())
    if _HARSH.match(bare) and (not area or all(_lower(device.area) == area.lower() for device in it)):
        return f"make {_all(it)} less bright"
    return f"how bright is {_all(it)}" if bare == "how bright is it" else None


def _valued(meant: str, before: Wish, it: Sequence[Device]) -> str | None:
    if _NUMBER.match(meant) and (unit := _UNITS.get(before.name)):
        scale = " fahrenheit" if unit == "degrees" and before.unit == "F" else ""
        return f"set {_all(it)} to {meant} {unit}{scale}"
    if before.name == "set_color" and color_named(meant) is not None:
        return f"make {_all(it)} {meant}"
    return (
        f"open {_all(it)} halfway" if meant in ("halfway", "half way", "half") and before.name in _MOVES else None
    )


def _beside(word: str, it: Sequence[Device], devices: Sequence[Device]) -> Device | None:
    """The only other of the kind and room that has a word in its name: "now the right one"."""
    alike = [one for one in devices if one not in it and one.area == it[0].area and _is_like(one, it[0])]
    named = [one for one in alike if word in one.name.lower().split()]
    return named[0] if len(named) == 1 else None


def _with_names(said: str, it: Sequence[Device], devices: Sequence[Device], area: str) -> str:
    """The sentence with the names of what is mine, the other one, Ann's, or the one in a room."""

    def replaced(pattern: re.Pattern[str], find: Callable[[re.Match[str]], Device | None]) -> None:
        nonlocal said
        found = pattern.search(said)
        one = find(found) if found is not None else None
        if found is not None and one is not None:
            said = f"{said[: found.start()]}{one.name.lower()}{said[found.end() :]}"

    alike = [device for device in devices if not device.hidden and any(_is_like(device, one) for one in it)]
    others = [device for device in alike if device not in it]
    here = [device for device in alike if area and _lower(device.area) == area.lower()]
    beside = [device for device in others if device.area == it[0].area]
    replaced(_MINE, lambda _: _only(here, it))
    replaced(_OTHER, lambda found: _only([one for one in beside if _called(one, found[1])] or beside, it))
    replaced(_ONE_IN, lambda found: _only([one for one in others if _lower(one.area) == found[1]], it))
    replaced(
        _OWNED, lambda found: _only([one for one in others if _lower(one.name).startswith(f"{found[1]} ")], it)
    )
    return said


def _only(found: Sequence[Device], it: Sequence[Device]) -> Device | None:
    """The one that is meant; of several the one that is called as what was spoken of."""
    if len(found) > 1:
        words = {device.name.lower().split()[-1] for device in it}
        found = [device for device in found if device.name.lower().split()[-1] in words]
    return found[0] if len(found) == 1 else None


def _is_like(device: Device, one: Device) -> bool:
    apart = device.domain in ("binary_sensor", "sensor") or {device.kind, one.kind} & _OWN_KINDS
    return device.domain == one.domain and (not apart or device.kind == one.kind)


def _called(device: Device, word: str | None) -> bool:
    return word is not None and device.name.lower().split()[-1] == word


def _all(it: Sequence[Device]) -> str:
    return " and ".join(device.name.lower() for device in it)


def _lower(text: str | None) -> str:
    return (text or "").lower()
