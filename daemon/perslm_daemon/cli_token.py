"""`perslm token`: who may use the HTTP port, for what, and as whom."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from perslm_daemon.cli_session import Session, command_group, session_of
from perslm_daemon.terminal import note, put, put_json
from perslm_runtime.errors import PersLMError


def register(app: typer.Typer) -> None:
    """Add `token` to the command line."""
    token = command_group(app, "token", "Tokens for the HTTP port: add, list, revoke.")
    token.command()(add)
    token.command("list")(show)
    token.command()(revoke)


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for, to know it by: phone, grafana.")],
    *,
    scope: Annotated[
        str, typer.Option(help="What it opens, with commas between: chat, memory, home, admin.")
    ] = "chat",
    person: Annotated[
        str | None, typer.Option(help="The person whose memories it reads and writes; none: `person` itself.")
    ] = None,
) -> None:
    """Make a token and print it, this once."""
    from perslm_daemon import http_tokens

    session = session_of(context)
    config = session.config
    scopes = [word.strip() for word in scope.split(",") if word.strip()]
    first = not http_tokens.read(config.data_dir)
    made = http_tokens.add(config.data_dir, name, scopes, person or config.person)
    if first:
        _reload(session)
    if session.json:
        put_json({"name": name, "token": made, "scopes": scopes, "person": person or config.person})
        return
    put(made)
    note(f"{name} may use {', '.join(scopes)}. This is the only time the token is shown.")
    if first:
        note("From now on every request needs a token, from this machine too.")
    if not config.http.enabled:
        note("HTTP is off: `perslm config set http.enabled true` opens its port")


def show(context: typer.Context) -> None:
    """List the tokens: names, people, what they open, when they were made; never the tokens themselves."""
    from perslm_daemon import http_tokens

    session = session_of(context)
    found = http_tokens.read(session.config.data_dir)
    if session.json:
        kept = [
            {"name": one.name, "person": one.person, "scopes": list(one.scopes), "made": one.made} for one in found
        ]
        put_json({"tokens": kept})
        return
    if not found:
        note("There is no token: the HTTP port is open to this user of this machine alone.")
    for one in found:
        put(f"{one.name:<20} {one.person:<12} {','.join(one.scopes):<24} {one.made}")


def revoke(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Its name, as `perslm token list` has it.")]
) -> None:
    """Take a token back: a running PersLM refuses it within a second or two."""
    from perslm_daemon import http_tokens

    session = session_of(context)
    last = http_tokens.revoke(session.config.data_dir, name)
    if last:
        _reload(session)
    if session.json:
        put_json({"revoked": name})
        return
    put(f"{name} is revoked")
    if last:
        note("That was the last token: the HTTP port is open to this user of this machine alone.")


def _reload(session: Session) -> None:
    """Have a running PersLM open its port to the house, or close it: that hangs on there being a token."""
    from perslm_daemon import control_client

    with suppress(PersLMError, OSError):
        connection = control_client.connect(session.config.data_dir)
        if connection is not None:
            with connection:
                connection.ask("config", {"action": "reload"})
