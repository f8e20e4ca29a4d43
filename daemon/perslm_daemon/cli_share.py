"""`perslm share`: what goes to the training host of what somebody said; asks the running PersLM."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from perslm_daemon.cli_remote import required
from perslm_daemon.cli_session import command_group, session_of
from perslm_daemon.terminal import note, put, put_json

Person = Annotated[str, typer.Option(metavar="NAME", help="Another person than the owner of this assistant.")]
Kinds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KIND]...", help="corrections, failed, conversations; all where none is named."),
]
Id = Annotated[int, typer.Argument(metavar="ID", help="The example, as `list` numbers it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = command_group(
        app, "share", "What may go to the training host of what you said: seen, changed, taken back."
    )
    for verb in (status, on, off, review, good, bad, add, edit, drop, send, withdraw):
        group.command()(verb)
    group.command("list")(show)


def status(context: typer.Context, person: Person = "") -> None:
    """Show what is let go, what waits, and what went."""
    told = _ask(context, {"action": "status", "person": person})
    if told is None:
        return
    put(f"{told['person']} lets go: {', '.join(told['allowed']) or 'nothing'}")
    for state, kinds in told["counts"].items():
        put(f"{state:<12} " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    put(f"waits        {told['wait_h']:g} h, to be looked at, before it goes")
    put(f"host         {told['host'] or 'none: `perslm sync enroll`'}")
    if told["problem"]:
        note(told["problem"])


def on(context: typer.Context, kinds: Kinds = None, person: Person = "") -> None:
    """Let examples go from now on: of these kinds, of this person."""
    told = _ask(context, {"action": "on", "kinds": kinds or [], "person": person})
    if told is not None:
        put(f"{told['person']} lets {', '.join(told['kinds'])} go; each waits first (`perslm share review`)")


def off(context: typer.Context, kinds: Kinds = None, person: Person = "") -> None:
    """Let nothing go any more, and drop what waits; `withdraw` takes back what went."""
    told = _ask(context, {"action": "off", "kinds": kinds or [], "person": person})
    if told is not None:
        put(f"nothing of {', '.join(told['kinds'])} goes any more; {told['dropped']} that waited are dropped")


def show(context: typer.Context, person: Person = "") -> None:
    """List what waits, went, and was taken back, with the very words."""
    told = _ask(context, {"action": "list", "person": person})
    for one in (told or {}).get("examples", ()):
        for line in _lines(one):
            put(line)


def review(context: typer.Context, person: Person = "") -> None:
    """Go through what waits: keep, change or drop each."""
    session = session_of(context)
    told = _asked(context, {"action": "list", "person": person})
    waiting = [one for one in told["examples"] if one["state"] == "waiting"]
    if session.json:
        put_json({"examples": waiting})
        return
    for one in waiting:
        for line in _lines(one):
            put(line)
        way = typer.prompt("[k]eep, [d]rop, [e]dit, [q]uit", default="k").strip().lower()[:1]
        if way == "q":
            return
        if way == "d":
            _asked(context, {"action": "drop", "id": one["id"], "person": person})
        elif way == "e":
            _edit(context, one, person)
    put("that is all")


def good(
    context: typer.Context, turn: Annotated[str, typer.Option(help="The turn's id; the last one.")] = ""
) -> None:
    """Thumb up: the last answer was right."""
    told = _ask(context, {"action": "rate", "good": True, "turn": turn})
    if told is not None:
        put(f"example {told['id']} waits")


def bad(
    context: typer.Context,
    better: Annotated[
        list[str] | None, typer.Argument(metavar="[BETTER]...", help="What should have been answered.")
    ] = None,
    *,
    turn: Annotated[str, typer.Option(help="The turn's id; the last one.")] = "",
) -> None:
    """Thumb down: the last answer was wrong."""
    told = _ask(context, {"action": "rate", "good": False, "turn": turn, "text": " ".join(better or ())})
    if told is not None:
        put(f"example {told['id']} waits")


def add(
    context: typer.Context,
    turn: Annotated[int, typer.Argument(metavar="MEMORY", help="A remembered turn of it (`perslm memory list`).")],
    person: Person = "",
) -> None:
    """Choose the conversation that a remembered turn belongs to."""
    told = _ask(context, {"action": "add", "id": turn, "person": person})
    if told is not None:
        put(f"example {told['id']} waits")


def edit(
    context: typer.Context,
    example: Id,
    says: Annotated[
        list[str] | None,
        typer.Option(
            "--message", metavar="ROLE:TEXT", help="The messages instead: user:… and assistant:…, in order."
        ),
    ] = None,
    meant: Annotated[str, typer.Option(help="What was meant instead.")] = "",
    person: Person = "",
) -> None:
    """Put other words into an example that waits."""
    messages = [dict(zip(("role", "content"), one.split(":", 1), strict=False)) for one in says or ()]
    told = _ask(context, {"action": "edit", "id": example, "messages": messages, "text": meant, "person": person})
    if told is not None:
        put(f"example {told['id']} is changed, and waits anew")


def drop(context: typer.Context, example: Id, person: Person = "") -> None:
    """Take an example back; one that went is withdrawn at the host."""
    told = _ask(context, {"action": "drop", "id": example, "person": person})
    if told is not None:
        put(f"example {told['id']}: {told['outcome']}")


def send(context: typer.Context, person: Person = "") -> None:
    """Send what waits now, without waiting longer."""
    told = _ask(context, {"action": "send", "person": person})
    if told is not None:
        put(f"{told['sent']} sent, {told['withdrawn']} withdrawn")


def withdraw(context: typer.Context, person: Person = "") -> None:
    """Take back everything that went; the host's next data set is made without it."""
    told = _ask(context, {"action": "withdraw", "person": person})
    if told is not None:
        put(f"{told['withdrawing']} are taken back; the host is told as soon as it is reached")


def _edit(context: typer.Context, one: Mapping[str, Any], person: str) -> None:
    messages = [
        {"role": message["role"], "content": typer.prompt(f"{message['role']}", default=message["content"])}
        for message in one["sends"]["messages"]
    ]
    meant = typer.prompt("meant", default=one["sends"].get("meant", "")) if one["sends"].get("meant") else ""
    _asked(context, {"action": "edit", "id": one["id"], "messages": messages, "text": meant, "person": person})


def _asked(context: typer.Context, payload: Mapping[str, object]) -> dict[str, Any]:
    with required(session_of(context)) as daemon:
        return dict(daemon.ask("share", payload))


def _ask(context: typer.Context, payload: Mapping[str, object]) -> dict[str, Any] | None:
    """The answer; None where it was printed as JSON."""
    told = _asked(context, payload)
    if session_of(context).json:
        put_json(told)
        return None
    return told


def _lines(one: Mapping[str, Any]) -> list[str]:
    at = datetime.fromisoformat(one["at"]).astimezone()
    leaves = ""
    if one["leaves_at"] is not None:
        leaves = f", goes {datetime.fromtimestamp(one['leaves_at']).astimezone():%Y-%m-%d %H:%M} at the earliest"
    if one["state"] == "sent" and not one["receipt"]:
        leaves = ", the host has not confirmed it yet"
    receipt = f", receipt {one['receipt']}" if one["receipt"] else ""
    lines = [f"{one['id']}  {one['kind']}  {at:%Y-%m-%d %H:%M}  {one['state']}{leaves}{receipt}"]
    sends = one["sends"]
    lines += [f"    {message['role']}: {message['content']}" for message in sends.get("messages", ())]
    if sends.get("meant"):
        lines.append(f"    meant: {sends['meant']}")
    lines += [f"    understood as: {intent['name']}" for intent in sends.get("intents", ())]
    if sends.get("good") is not None:
        lines.append(f"    judged: {'good' if sends['good'] else 'bad'}")
    return lines
