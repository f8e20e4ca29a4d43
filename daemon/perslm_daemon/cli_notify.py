"""`perslm notify`: let the running PersLM tell something, and see what it has told."""

from __future__ import annotations

from typing import Annotated

import typer

from perslm_daemon.cli_remote import required
from perslm_daemon.cli_session import session_of
from perslm_daemon.terminal import note, put, put_json
from perslm_runtime.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("notify")(notify)


def notify(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="[TEXT]", help="What to tell.")] = "",
    *,
    title: Annotated[str, typer.Option(help="What it is about.")] = "",
    urgency: Annotated[str, typer.Option(help="low, normal, high or urgent.")] = "normal",
    show: Annotated[bool, typer.Option("--list", help="Show what nobody has seen yet, and what waits.")] = False,
    seen: Annotated[bool, typer.Option("--seen", help="Say that all of it was seen.")] = False,
) -> None:
    """Tell something by voice, over MQTT, in the dashboard and to the webhook, as notify.* says."""
    session = session_of(context)
    if not text and not show and not seen:
        raise InputError("what shall be told? `perslm notify 'The washing is done'`, or --list")
    payload: dict[str, object] = {"action": "list" if show else "seen"}
    if text:
        payload = {"action": "send", "text": text, "title": title, "urgency": urgency}
    with required(session) as daemon:
        data = daemon.ask("notify", payload)
    if session.json:
        put_json(data)
        return
    if text:
        note(f"told as {data['id']}")
    elif not show:
        note(f"{data['seen']} seen")
    else:
        waiting = {one["id"]: ", ".join(one["for"]) for one in data["waiting"]}
        for one in data["unseen"]:
            title_of = f"{one['title']}: " if one["title"] else ""
            waits = f"  (waits for {waiting[one['id']]})" if one["id"] in waiting else ""
            head = f"{one['id']}  {one['at']}  {one['urgency']:<6}  {one['subject']:<10}"
            put(f"{head}  {title_of}{one['text']}{waits}")
        if not data["unseen"]:
            note("there is nothing that was not seen")
