"""The verb `share`: what a person lets go to the training host, seen, changed and taken back.

It is about somebody's own words: only who is proven to be somebody may ask (the broker's word, a token's person,
this machine's owner), and only for themselves. On this machine one may ask for another person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from perslm_daemon.changes import Changes
from perslm_daemon.sharing import Sharing
from perslm_daemon.turn import GUEST
from perslm_daemon.verbs import Request, TextArgs
from perslm_runtime.errors import InputError
from perslm_runtime.memory_examples import KINDS, STATES


class ShareMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of an example: who says it, and what."""

    role: Literal["user", "assistant"]
    content: str


class ShareArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """`on` and `off` are for `kinds`, all three where none is named; off drops what waits of them.

    `list` tells what waits and went. `rate` is a thumb (`good` or not) for a `turn`, the last one where none is
    named, with what should have been answered as `text`. `add` takes the conversation of the remembered turn `id`.
    `edit` puts `messages` and `text` (what was meant) into the waiting example `id`, `drop` takes an example back,
    `withdraw` everything that was sent; `send` sends now what waits.
    """

    action: Literal["status", "list", "on", "off", "rate", "add", "edit", "drop", "withdraw", "send"] = "status"
    kinds: Annotated[
        tuple[Literal["corrections", "failed", "conversations"], ...], msgspec.Meta(max_length=3)
    ] = ()
    id: int | None = None
    good: bool = False
    turn: str = ""
    messages: Annotated[tuple[ShareMessage, ...], msgspec.Meta(max_length=80)] = ()
    person: str = ""


async def share(
    sharing: Sharing, changes: Changes, owner: str, args: ShareArgs, request: Request
) -> Mapping[str, Any]:
    """Do it, and tell how things are by then."""
    person = _person(args, request, owner)
    match args.action:
        case "on" | "off":
            return await _consent(sharing, changes, args.kinds or KINDS, person, on=args.action == "on")
        case "edit" | "drop" | "add":
            return await _changed(sharing, args, person)
        case "rate":
            return {"id": await sharing.rate(person, args.turn, good=args.good, better=args.text.strip())}
        case "list":
            return {"examples": await sharing.examples(person, STATES)}
        case "withdraw":
            return {"withdrawing": await sharing.withdraw(person)}
    return await sharing.send(now=True, person=person) if args.action == "send" else await sharing.status(person)


async def _changed(sharing: Sharing, args: ShareArgs, person: str) -> Mapping[str, Any]:
    if args.id is None:
        raise InputError(f"{args.action} needs an id: `perslm share list` tells those of examples")
    if args.action == "add":
        return {"id": await sharing.choose(person, args.id)}
    if args.action == "drop":
        return {"id": args.id, "outcome": await sharing.drop(person, args.id)}
    messages = [{"role": one.role, "content": one.content} for one in args.messages]
    await sharing.edit(person, args.id, messages, args.text.strip() or None)
    return {"id": args.id}


async def _consent(
    sharing: Sharing, changes: Changes, kinds: Sequence[str], person: str, *, on: bool
) -> Mapping[str, Any]:
    dropped = 0 if on else await sharing.drop_kinds(kinds, person)
    await changes.set_together(sharing.consents(kinds, person, on=on))
    return {"person": person, "kinds": list(kinds), "on": on, "dropped": dropped}


def _person(args: ShareArgs, request: Request, owner: str) -> str:
    if request.source == "socket":
        return args.person or owner
    person = request.person
    if person is None or person == GUEST:
        raise InputError(
            "this is about what somebody said: only who is known for sure may ask, by a token of their own, a "
            "name that the broker vouches for, or on the machine itself (`perslm share`)"
        )
    if args.person not in ("", person):
        raise InputError(f"this is {args.person[:40]}'s own matter: only {args.person[:40]} may ask from here")
    return person
