"""What somebody says of a room who wants it otherwise: "it's freezing in here", "I can't see a thing". Pure.

Only a sentence that says nothing else, of a room or of the speaker, in English. The wish is marked as a hint: one
that nothing can be done for is talk.
"""

from __future__ import annotations

import re
from dataclasses import replace

from perslm_runtime.home_chunks import Chunked
from perslm_runtime.home_wish import Target, Wish

_VERY = (
    r"(?:(?:far|way|much|a|bit|little|so|very|really|too|rather|pretty|quite|getting|absolutely|kind|of|awfully|"
    r"super|just|proper|dead|well|right|stone|bitterly|blooming|flipping|bloody|ruddy|seriously|"
    r"properly|bit|all) )*"
)
_IS = (
    r"(?:it is|it feels|it has got|it has gotten|it got|it is getting|this room is|the room is|"
    r"(?P<named>xtarget\d+x) is)"
)
_SELF = r"(?:(?:i am|we are|i feel|we feel|everyone is|everybody is)(?: all)?(?: getting)?)"
_PLACE = r"(?: (?P<place>xplace\d+x))?"
_COLD, _HOT = (
    r"(?:cold|freezing|frozen|chilly|nippy|icy|frosty|baltic|perishing|arctic|bitter|parky|brass monkeys|taters|"
    r"shivering|like (?:a|an|the) (?:fridge|freezer|icebox|ice box|igloo|morgue|walk-in freezer|ice rink|"
    r"north pole|tomb|ice cube))",
    r"(?:hot|boiling|roasting|sweltering|baking|stifling|melting|sweating|cooking|stuffy|toasty|"
    r"like (?:a|an) (?:oven|sauna|furnace|greenhouse|hothouse|bakery)|warm)",
)
_DARK, _BRIGHT = r"(?:dark|dim|gloomy|pitch black|pitch dark|murky)", r"(?:bright|light)"
_HINTS = tuple(
    (re.compile(f"^{pattern}$"), name, noun, word)
    for pattern, name, noun, word in (
        (rf"(?:{_IS}|{_SELF}) {_VERY}{_COLD}{_PLACE}", "change_temperature", "climate", "up"),
        (rf"(?:{_IS}|{_SELF}) {_VERY}{_HOT}{_PLACE}", "change_temperature", "climate", "down"),
        (rf"{_IS} {_VERY}{_DARK}{_PLACE}", "lighten", "light", "up"),
        (rf"{_IS} {_VERY}{_BRIGHT}{_PLACE}", "change_brightness", "light", "down"),
        (
            r"i (?:cannot|can not|can hardly|can barely) see (?:a (?:\w+ )?thing|anything|much|what i am \w+ing)"
            + _PLACE,
            "lighten",
            "light",
            "up",
        ),
        (rf"(?:far |way |much )*too {_COLD}{_PLACE}", "change_temperature", "climate", "up"),
        (rf"(?:far |way |much )*too {_HOT}{_PLACE}", "change_temperature", "climate", "down"),
        (rf"(?:far |way |much )*too {_DARK}{_PLACE}", "lighten", "light", "up"),
        (rf"(?:far |way |much )*too {_BRIGHT}{_PLACE}", "change_brightness", "light", "down"),
        (
            rf"(?:far |way |much |bit |a |little )*too (?:loud|noisy){_PLACE}",
            "change_volume",
            "media_player",
            "down",
        ),
        (rf"(?:far |way |much |bit |a |little )*too quiet{_PLACE}", "change_volume", "media_player", "up"),
        (rf"(?:{_VERY})louder{_PLACE}", "change_volume", "media_player", "up"),
        (rf"not (?:so|that|quite so|as) {_BRIGHT}{_PLACE}", "change_brightness", "light", "down"),
        (rf"not (?:so|that|quite so) (?:loud|noisy){_PLACE}", "change_volume", "media_player", "down"),
        (rf"(?:{_VERY})quieter{_PLACE}", "change_volume", "media_player", "down"),
        (rf"(?:it|that|this|music) is {_VERY}(?:loud|noisy){_PLACE}", "change_volume", "media_player", "down"),
        (rf"(?:it|that|this|music) is {_VERY}(?:quiet|low){_PLACE}", "change_volume", "media_player", "up"),
        (
            r"(?:i|we) (?:cannot|can not|can hardly|can barely) hear (?P<named>xtarget\d+x)",
            "change_volume",
            "media_player",
            "up",
        ),
        (rf"(?P<named>xtarget\d+x) is {_VERY}(?:loud|noisy)", "change_volume", "media_player", "down"),
        (rf"(?P<named>xtarget\d+x) is {_VERY}(?:quiet)", "change_volume", "media_player", "up"),
        (
            r"i (?:cannot|can not|can hardly|can barely) hear (?:it|anything|that|a thing|music)" + _PLACE,
            "change_volume",
            "media_player",
            "up",
        ),
        (rf"(?:there is|we have) (?:not enough|too little|hardly any) light{_PLACE}", "lighten", "light", "up"),
    )
)
_MEANT = re.compile(r"\b(?:i|we|too|so|not|freezing|boiling|roasting|sweltering|xplace\d+x)\b")
_ALONE = frozenset(("louder", "quieter", "bit louder", "bit quieter", "a bit louder", "a bit quieter"))
_TOO = re.compile(r"\b(?:too|so)\b")


def hinted(chunked: Chunked) -> Wish | None:
    """The wish of a sentence with marks that only says how a room is; None for any other."""
    said = " ".join(
        word for word in chunked.words if word not in ("please", "now", "again", "still", "today", "tonight")
    )
    for pattern, name, noun, word in _HINTS:
        found = pattern.match(said)
        if found is None:
            continue
        parts = found.groupdict()
        named, place = parts.get("named"), parts.get("place")
        if not (named or _MEANT.search(said) or said in _ALONE) or (
            word == "down" and "quieter" not in said and not said.startswith("not ") and not _is_plain(said, name)
        ):
            return None  # "it's cold" is about the weather, "it's warm in here" may be praise
        where = chunked.places[place] if place else Target(here=True)
        if named:
            (where, *more) = chunked.targets[named]
            if name == "change_volume" and not more and (where.ids or where.noun == "media_player"):
                return Wish(name, (where,), word=word, hint=True)
            if more or not where.is_place or place:
                return None
        if where.outside or where.anywhere:
            return None
        return Wish(name, (replace(where, noun=noun, many=True, said=_SAID[noun]),), word=word, hint=True)
    return None


def _is_plain(said: str, name: str) -> bool:
    """Whether too much of it is complained of."""
    return bool(_TOO.search(said)) or (name == "change_temperature" and "warm" not in said.split())


_SAID = {"climate": "heating", "light": "lights", "media_player": "music"}
