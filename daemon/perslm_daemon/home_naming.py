"""Names and rooms given by voice: "call this lamp Anna", "the desk lamp is in the office". Writes home.toml."""

from __future__ import annotations

from perslm_daemon.home import Home
from perslm_daemon.home_called import the_room
from perslm_daemon.home_device import Device
from perslm_daemon.home_resolve import NothingError, Resolver, UnclearError, Where
from perslm_daemon.home_words import the
from perslm_runtime.errors import InputError
from perslm_runtime.home_wish import Target, Wish

_MOST_WORDS = 5


async def named(wish: Wish, home: Home, where: Where) -> tuple[str, tuple[str, ...]]:
    """Give what was said; the sentence about it, and the device. Raises as `Resolver.all`, and `InputError`."""
    device = _device(wish, home, where)
    before = the(device.name)
    if wish.name == "move_room":
        room = _room(wish)
        await home.give("devices", device.id, "area", room)
        return f"{before} is in {the_room(room)} now", (device.id,)
    if wish.name == "hide":
        await home.give("devices", device.id, "hidden", True)
        return f"{before} is hidden now", (device.id,)
    name = _spelled(wish.word)
    taken = [other for other in home.find(name) if other.id != device.id]
    if taken:
        raise InputError(f"{the(taken[0].name)} is called so already: choose another name")
    await home.give("devices", device.id, "aliases", [*device.aliases, name])
    return f"{before} is also called {name} now", (device.id,)


def _device(wish: Wish, home: Home, where: Where) -> Device:
    """The one device that is to be named: pointed at, or what was spoken of last."""
    target = wish.targets[0] if wish.targets else Target(it=True)
    resolver = Resolver(home, where, lambda device: bool(device.capabilities) or device.domain == "sensor")
    found = resolver.all(Wish(wish.name, (target,)), lambda _device: False)
    if not found:
        raise NothingError("I do not know which device you mean")
    if len(found) > 1:
        known = " or ".join(the(device.name) for device in found[:4])
        raise UnclearError(f"One at a time: {known}?", tuple((device.id,) for device in found))
    return found[0]


def _room(wish: Wish) -> str:
    for target in (*wish.targets[1:], *([wish.place] if wish.place else [])):
        if target.areas:
            return target.areas[0]
    if wish.word:
        return _spelled(wish.word)
    raise InputError("in which room? Say for example: the lamp is in the office")


def _spelled(word: str) -> str:
    words = word.split()
    if not words or len(words) > _MOST_WORDS:
        raise InputError(f"a name has one to {_MOST_WORDS} words")
    return " ".join(one.capitalize() if one.isalpha() else one for one in words)
