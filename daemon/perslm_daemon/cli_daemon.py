"""`perslm status`, `stop` and `tell`: the running PersLM from the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from perslm_daemon import control_client
from perslm_daemon.cli_remote import required
from perslm_daemon.cli_session import session_of
from perslm_daemon.terminal import note, put, put_json

_HIDDEN = ("uptime_s", "degraded", "health", "models", "sound")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(status)
    app.command()(stop)
    app.command()(tell)


def status(
    context: typer.Context,
    *,
    metrics: Annotated[bool, typer.Option("--metrics", help="Print measurements as Prometheus text.")] = False,
) -> None:
    """Show how the running PersLM is."""
    session = session_of(context)
    with required(session) as daemon:
        pid = daemon.greeting.get("pid")
        data = daemon.ask("metrics" if metrics else "status")
    if session.json:
        put_json(data)
    elif metrics:
        sys.stdout.write(str(data["text"]))
    else:
        for line in _told(data, pid):
            put(line)


def _told(data: Mapping[str, Any], pid: object) -> list[str]:
    uptime = int(data.get("uptime_s", 0))
    lines = [f"{name:<10} {value}" for name, value in data.items() if name not in _HIDDEN]
    lines.append(f"{'running':<10} for {uptime // 3600}:{uptime // 60 % 60:02}:{uptime % 60:02} (pid {pid})")
    lines += [f"{part:<10} {model}" for part, model in data.get("models", {}).items()]
    sound = data.get("sound") or {}
    lines += [f"{side:<10} {sound.get(side) or 'none'}" for side in ("microphone", "loudspeaker") if sound]
    lines += [f"{name:<10} {_plain(value)}" for name, value in (data.get("health") or {}).items()]
    lines += [f"{'without':<10} {one['part']}: {one['reason']}" for one in data.get("degraded", [])]
    return lines


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def stop(context: typer.Context) -> None:
    """End the reply that the running PersLM is giving."""
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("stop")
    if session.json:
        put_json(data)
    elif not data.get("stopped", True):
        note("nothing was being said")


def tell(
    context: typer.Context,
    verb: Annotated[str, typer.Argument(help="A verb of docs/control.md, such as status, ask or watch.")],
    payload: Annotated[
        str, typer.Argument(metavar="[TEXT|JSON]", help="Its text, or a JSON object of its arguments.")
    ] = "",
) -> None:
    """Send any verb to the running PersLM; print its events and its answer as lines of JSON."""
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask(verb, payload, on_event=_put_event)
    put_json(data)


def _put_event(event: control_client.Event, _frame: bytes) -> None:
    put(json.dumps(event, ensure_ascii=False))
    sys.stdout.flush()
