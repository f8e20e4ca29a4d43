"""`perslm devices`: the devices of the home from the terminal, listed, watched, named and worked."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from perslm_daemon.cli_remote import required
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.control_client import Connection
from perslm_daemon.terminal import confirm, live_table, note, put, put_json, put_table

_COLUMNS = ("name", "area", "what", "state", "id")
_LOOK_EVERY_S = 0.5

Device = Annotated[str, typer.Argument(help="Name, alias or id of a device; `perslm devices` lists them.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(rich_markup_mode=None)
    group.callback(invoke_without_command=True)(devices)
    for command in (show, set_, name, area, floor, alias, hide, unhide, rule, undo):
        group.command("set" if command is set_ else command.__name__)(command)
    app.add_typer(group, name="devices", help="List, watch, name and work the devices of the home.")


def devices(
    context: typer.Context,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and show what changes.")] = False,
    in_area: Annotated[str | None, typer.Option("--area", help="Only those in this room.")] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Hidden ones as well.")] = False,
) -> None:
    """List the devices of the home with their states."""
    if context.invoked_subcommand is not None:
        return
    session = session_of(context)
    wanted: dict[str, Any] = {"hidden": hidden} | ({"area": in_area} if in_area else {})
    with required(session) as daemon:
        if watch:
            _watch(session, daemon, wanted)
            return
        data = daemon.ask("devices", wanted)
    if session.json:
        put_json(data)
        return
    put_table(_COLUMNS, _rows(data["devices"]))
    if not data["devices"]:
        note("no device has announced itself: docs/home.md says which systems do, and the one setting each needs")


def _watch(session: Session, daemon: Connection, wanted: dict[str, Any]) -> None:
    """Show changes until Ctrl-C: as a table on a terminal, else a line for each."""
    known: dict[str, Any] = {}
    drawn = sys.stdout.isatty() and not session.json
    with live_table(_COLUMNS) if drawn else _lines(as_json=session.json) as show:
        since = generation = None
        while True:
            data = daemon.ask("devices", wanted if since is None else {**wanted, "since": since})
            if since is not None and data["generation"] != generation:  # something came or went
                data, known = daemon.ask("devices", wanted), {}
            since, generation = data["changes"], data["generation"]
            changed = data["devices"]
            known |= {device["id"]: device for device in changed}
            if changed:
                show(_rows(list(known.values()) if drawn else changed) if not session.json else changed)
            time.sleep(_LOOK_EVERY_S)


class _lines:  # noqa: N801 - used as the function `live_table` is
    """Writes changed devices as lines."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __enter__(self) -> _lines:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, rows: Sequence[Any]) -> None:
        for row in rows:
            put(json.dumps(row, ensure_ascii=False) if self._as_json else "\t".join(row))
        sys.stdout.flush()


def _rows(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows = [
        (
            str(one["name"]),
            str(one.get("area") or ""),
            str(one.get("kind") or one["domain"]),
            "unavailable" if one["available"] is False else _state(one),
            str(one["id"]),
        )
        for one in found
    ]
    return sorted(rows, key=lambda row: (row[1] or "~", row[0].lower()))


def _state(device: Mapping[str, Any]) -> str:
    state: Mapping[str, Any] = device.get("state", {})
    if not state:
        return "?"
    words: list[str] = []
    for name, value in state.items():
        if name == "on":
            words.insert(0, "on" if value else "off")
        elif name in ("state", "mode"):
            words.insert(0, str(value))
        elif name == "value":
            words.append(f"{_short(value)} {device.get('unit', '')}".strip())
        else:
            words.append(f"{name} {_short(value)}")
    return ", ".join(words)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "/".join(map(_short, value)) if isinstance(value, list) else str(value)


def show(context: typer.Context, device: Device) -> None:
    """Show all that is known of a device."""
    session = session_of(context)
    with required(session) as daemon:
        found = daemon.ask("devices", {"text": device})["devices"]
    if session.json:
        put_json(found)
        return
    if not found:
        note(f"there is no device {device!r}: `perslm devices` lists them")
        raise typer.Exit(3)
    for one in found:
        for key, value in one.items():
            put(f"{key:<10} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def set_(
    context: typer.Context,
    device: Device,
    value: Annotated[str, typer.Argument(help="on, off, toggle, open, close, stop, lock, 40, red, heat, …")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before something risky.")] = False,
) -> None:
    """Work a device, and say what came of it."""
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("device", {"device": device, "value": value})
        if "confirm" in data:
            asked = data["confirm"]
            agreed = yes or confirm(asked["question"])
            data = daemon.ask("home", {"action": "confirm", "id": asked["id"], "yes": agreed})
    _told(session, data)


def undo(context: typer.Context) -> None:
    """Put back what the last action changed."""
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("home", {"action": "undo"})
    _told(session, data)


def _told(session: Session, data: Mapping[str, Any]) -> None:
    if session.json:
        put_json(data)
    else:
        text = str(data["text"])
        put(text[:1].upper() + text[1:] + ".")
    if any(one["happened"] not in ("done", "already", "started", "told") for one in data["outcomes"]):
        raise typer.Exit(1)


def name(
    context: typer.Context, device: Device, new: Annotated[str, typer.Argument(help="The new name.")]
) -> None:
    """Give a device another name."""
    _give(context, "name", device, new)


def area(
    context: typer.Context,
    device: Device,
    room: Annotated[str, typer.Argument(help="The room; an empty one takes it out.")],
) -> None:
    """Say in which room a device is."""
    _give(context, "area", device, room)


def floor(
    context: typer.Context,
    room: Annotated[str, typer.Argument(help="A room.")],
    level: Annotated[str, typer.Argument(help="Its floor, such as upstairs.")],
) -> None:
    """Say on which floor a room is."""
    _give(context, "floor", room, level)


def alias(
    context: typer.Context,
    device: Device,
    other: Annotated[str, typer.Argument(help="Another name; one that it has is taken away.")],
) -> None:
    """Give a device one more name, or take it away."""
    _give(context, "alias", device, other)


def hide(context: typer.Context, device: Device) -> None:
    """Leave a device out of what is listed, spoken of, and of "everything"."""
    _give(context, "hide", device, "")


def unhide(context: typer.Context, device: Device) -> None:
    """Bring a hidden device back."""
    _give(context, "show", device, "")


def rule(
    context: typer.Context,
    device: Device,
    when: Annotated[str, typer.Argument(help="always, opening or never.")],
) -> None:
    """Say when a lock, a door or an alarm asks first: always, at what opens it, or never."""
    _give(context, "rule", device, when)


def _give(context: typer.Context, action: str, device: str, value: str) -> None:
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("home", {"action": action, "device": device, "value": value})
    if session.json:
        put_json(data)
    elif "device" in data:
        put_table(_COLUMNS, _rows([data["device"]]))
    else:
        put(
            f"{data['area']} is on the floor {data['floor']}"
            if data["floor"]
            else f"{data['area']} is on no floor"
        )
