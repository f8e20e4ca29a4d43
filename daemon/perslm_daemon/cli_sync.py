"""`perslm sync`: signed models from the training host, from the terminal; asks the running PersLM."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import typer

from perslm_daemon.cli_remote import required
from perslm_daemon.cli_session import command_group, session_of
from perslm_daemon.terminal import note, put, put_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = command_group(app, "sync", "Signed models from the training host: look, take, go back.")
    group.command("status")(status)
    group.command()(check)
    group.command()(install)


def status(context: typer.Context) -> None:
    """Show what is in use, on probation, offered and refused, and what was done lately."""
    _ask(context, {"action": "status"})


def check(context: typer.Context) -> None:
    """Look at the training host now, and take nothing."""
    _ask(context, {"action": "check"})


def install(context: typer.Context) -> None:
    """Look now and take what is offered: brought, verified, tried, then used."""
    _ask(context, {"action": "install"})


def _ask(context: typer.Context, payload: Mapping[str, object]) -> None:
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("sync", payload)
    if session.json:
        put_json(data)
        return
    if data["problem"]:
        note(data["problem"])
    for line in _lines(data):
        put(line)


def _lines(data: Mapping[str, Any]) -> list[str]:
    lines = [f"in use       {', '.join(f'{kind} {name}' for kind, name in data['in_use'].items())}"]
    if data["on_probation"]:
        lines.append(f"on probation {data['on_probation']['name']} (before: {data['on_probation']['former']})")
    lines += [
        f"offered      {one['name']}  {one['bytes'] / 1e6:.1f} MB  {one['licence']}  {one['what']}"
        for one in data["offered"]
    ]
    lines += [f"not taken    {name}: {why}" for name, why in data["not_taken"].items()]
    lines += [f"refused      {name}: {why}" for name, why in data["refused"].items()]
    lines += [f"pinned       {kind} to {name}" for kind, name in data["pinned"].items()]
    for one in data["history"][-8:]:
        at = datetime.fromtimestamp(one["at"]).astimezone()
        lines.append(
            f"{at:%Y-%m-%d %H:%M}  {one['step']:<12} {one['name']}{': ' + one['why'] if one['why'] else ''}"
        )
    return lines
