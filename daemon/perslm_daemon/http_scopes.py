"""Which scope a verb needs, and as whom it is asked. What is not named here needs admin: a new verb is closed."""

from __future__ import annotations

from perslm_daemon.http_access import Caller
from perslm_daemon.http_errors import HttpRefused
from perslm_daemon.http_gate import lacking
from perslm_daemon.turn import GUEST

ANY = ""
_SCOPES = {
    "status": (ANY,),
    "ask": ("chat", "home"),  # what is understood is done
    "stop": ("home",),
    "say": ("home",),
    "listen": ("chat", "home"),  # it opens the room's microphone
    "timer": ("home",),
    "devices": ("home",),
    "device": ("home",),
    "home": ("home",),
    "remember": ("memory",),
    "recall": ("memory",),
    "forget": ("memory",),
    "memory": ("memory",),
    "share": ("memory",),
    "tools": ("chat", "memory", "home"),  # one tool or another reads or changes each of these
    "approve": ("chat", "memory", "home"),
    "notify": ("home",),
    "plugins": ("home",),
}


def scopes_of(verb: str) -> tuple[str, ...]:
    """The scopes that a verb needs, all of them."""
    return _SCOPES.get(verb, ("admin",))


def require_all(caller: Caller, scopes: tuple[str, ...]) -> None:
    """Raise `HttpRefused` (403) unless the caller has all of `scopes`."""
    missing = [scope for scope in scopes if scope != ANY and scope not in caller.scopes]
    if missing:
        opens = ", ".join(missing)
        raise HttpRefused(403, lacking(opens))


def person_of(caller: Caller) -> str:
    """Whom a question is asked for: without the scope memory nobody, for whom nothing private is recalled."""
    return caller.person if "memory" in caller.scopes else GUEST
