"""Which scope a verb needs, and as whom it is asked. What is not named here needs admin: a new verb is closed."""

from __future__ import annotations

from typing import Any

from perslm_daemon import engine_calls
from perslm_daemon.http_access import Caller
from perslm_daemon.http_errors import HttpRefused
from perslm_daemon.turn import GUEST, Parts
from perslm_daemon.verbs import Verb, decode

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
}


def scopes_of(verb: str) -> tuple[str, ...]:
    """The scopes that a verb needs, all of them."""
    return _SCOPES.get(verb, ("admin",))


def require_all(caller: Caller, scopes: tuple[str, ...]) -> None:
    """Raise `HttpRefused` (403) unless the caller has all of `scopes`."""
    missing = [scope for scope in scopes if scope != ANY and scope not in caller.scopes]
    if missing:
        opens = ", ".join(missing)
        raise HttpRefused(403, f"this token does not open {opens}: `perslm token add NAME --scope {opens}`")


def person_of(caller: Caller) -> str:
    """Whom a question is asked for: without the scope memory nobody, for whom nothing private is recalled."""
    return caller.person if "memory" in caller.scopes else GUEST


async def require_own_memory(verb: Verb, payload: bytes, caller: Caller, owner: str, parts: Parts) -> None:
    """Raise `HttpRefused` (403) where somebody else's memory would be forgotten.

    The verb forgets in the whole store; who is not the board's owner, and has no scope admin, forgets by the id of
    a memory of their own.
    """
    if verb.name != "forget" or caller.person == owner or "admin" in caller.scopes or parts.memory is None:
        return
    asked: Any = decode(verb, payload)
    entry = None if asked.id is None else await parts.memory.call(engine_calls.memory, asked.id)
    if asked.text.strip() or asked.since is not None or entry is None or entry.person != caller.person:
        raise HttpRefused(403, f"{caller.person} forgets by the id of a memory of their own")
