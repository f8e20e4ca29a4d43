"""`perslm sync`: signed models from the training host, from the terminal; asks the running PersLM."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from perslm_daemon.broker_file import url_host
from perslm_daemon.cli_remote import required
from perslm_daemon.cli_send import send
from perslm_daemon.cli_session import command_group, session_of
from perslm_daemon.terminal import note, put, put_json
from perslm_runtime.errors import InputError

HOST = "_perslm-host._tcp.local."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = command_group(app, "sync", "Signed models from the training host: look, take, go back.")
    group.command("status")(status)
    group.command()(check)
    group.command()(install)
    group.command()(enroll)
    group.command()(send)


def status(context: typer.Context) -> None:
    """Show what is in use, on probation, offered and refused, and what was done lately."""
    _ask(context, {"action": "status"})


def check(context: typer.Context) -> None:
    """Look at the training host now, and take nothing."""
    _ask(context, {"action": "check"})


def install(context: typer.Context) -> None:
    """Look now and take what is offered: brought, verified, tried, then used."""
    _ask(context, {"action": "install"})


def enroll(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Argument(metavar="[URL]", help="The host, https://pc.local:8443; found by zeroconf where not said."),
    ] = "",
    *,
    code: Annotated[
        str, typer.Option(help="The code that `perslm-host enroll` shows; asked for where not said.")
    ] = "",
    seed: Annotated[
        str, typer.Option(help="A file that `perslm-host seed` made, in place of a code; - for standard input.")
    ] = "",
) -> None:
    """Make this board known to its training host by the code it shows; done once."""
    from perslm_daemon.discovery import identity
    from perslm_daemon.stores import make_data_dir
    from perslm_daemon.update_host import FOLDER
    from perslm_runtime.host_account import enroll as enroll_with
    from perslm_runtime.host_account import plant

    session = session_of(context)
    folder = make_data_dir(session.config) / FOLDER
    if seed:
        known = plant(folder, _seed(seed))
        told = {"host": (folder / "url").read_text(encoding="utf-8"), "name": known}
        put_json(told) if session.json else put(f"known to {told['host']} as {known}")
        return
    url = url or _found(session.config.discovery.interfaces)
    code = code or typer.prompt(f"The code that the host at {url} shows", err=True)
    name = f"{session.config.node}-{identity(session.config.data_dir)[:8]}".lower()
    enroll_with(folder, url, code, name)
    if session.json:
        put_json({"host": url, "name": name})
        return
    put(f"enrolled at {url} as {name}: a running PersLM follows it from its next start (`perslm tell restart`)")


def _seed(named: str) -> bytes:
    if named == "-":
        return sys.stdin.buffer.read(1 << 16)
    try:
        return Path(named).read_bytes()
    except OSError as error:
        raise InputError(f"the seed {named} cannot be read ({error.strerror})") from error


def _found(interfaces: str) -> str:
    """The one host that announces itself. Raises `InputError` where there is none, or several."""
    import anyio

    from perslm_daemon.discovery import browse

    hosts = anyio.run(browse, HOST, 3.0, interfaces)
    addresses = [f"https://{url_host(one.addresses[0])}:{one.port}" for one in hosts if one.addresses]
    if len(addresses) != 1:
        several = (
            f"several hosts announce themselves ({', '.join(addresses)})"
            if addresses
            else "no host announces itself"
        )
        raise InputError(f"{several}: name one, `perslm sync enroll https://pc.local:8443`")
    return addresses[0]


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
    lines = [f"in use       {', '.join(f'{kind} {name}' for kind, name in data['in_use'].items() if name)}"]
    if data["waiting"]:
        lines.append(f"waiting      {data['waiting']}")
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
