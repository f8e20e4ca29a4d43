"""`perslm broker`: our own MQTT broker: how it listens, and who may use it for what."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_daemon import config as configuration
from perslm_daemon import terminal
from perslm_daemon.cli_session import Session, command_group, session_of
from perslm_daemon.terminal import note, put, put_json
from perslm_runtime.errors import InputError

if TYPE_CHECKING:
    from perslm_daemon.broker_file import BrokerFile, Place
    from perslm_daemon.broker_users import Role, Users
    from perslm_daemon.config_sections import Config

SERVICE_UNIT, DAEMON_UNIT = "perslm-broker.service", "perslm.service"

Service = Annotated[
    bool,
    typer.Option("--service", help="The files of perslm-broker.service; by root. Else those of `perslm run`."),
]
Root = Annotated[
    Path, typer.Option("--root", help="With --service: the folder that is the machine's /, of an image.")
]
FilesOnly = Annotated[
    bool, typer.Option("--files-only", help="Write the files alone: nothing that runs is told or restarted.")
]
_MACHINE = Path("/")


@dataclass(frozen=True, slots=True)
class _Broker:
    """The broker that a command is about. `is_running_machine`: its service may be told of changes."""

    place: Place
    users: Users
    is_service: bool
    is_this_machine: bool


def register(app: typer.Typer) -> None:
    """Add `broker` to the command line."""
    broker = command_group(app, "broker", "Our own MQTT broker: how it listens, and who may use it.")
    broker.command()(show)
    broker.command()(user)
    broker.command()(remove)
    broker.command()(listen)


def show(context: typer.Context, *, service: Service = False, root: Root = _MACHINE) -> None:
    """Show how our own broker listens, its users, and its files."""
    session = session_of(context)
    broker = _broker(session, service, root)
    with _explained(broker):
        shown = _shown(broker)
    if session.json:
        put_json(shown)
        return
    listens = shown["listens"]
    if listens is None:
        put("listens    not yet: nothing has been written for it")
    else:
        asks = "asks for passwords" if listens["passwords"] else "asks for no passwords"
        put(f"listens    {listens['host']} port {listens['port']}, {asks}; {_is_running(shown)}")
        for url in shown["urls"]:
            put(f"url        {url}")
    for name, role in shown["users"].items():
        put(f"{role:<10} {name}")
    for file in shown["files"]:
        put(f"file       {file}")


def user(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="The user; a person's name as in …/as/NAME, a node's as its `node`.")
    ],
    *,
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password; - reads it from standard input.")
    ] = None,
    generate: Annotated[bool, typer.Option("--generate", help="Draw a password and print it once.")] = False,
    hub: Annotated[
        bool,
        typer.Option("--hub", help="A home system or device: every topic but those under people's names."),
    ] = False,
    node: Annotated[
        bool, typer.Option("--node", help="Another PersLM: every topic but those of the other nodes.")
    ] = False,
    service: Service = False,
    root: Root = _MACHINE,
    files_only: FilesOnly = False,
) -> None:
    """Add a user of our own broker, or change the password; a person without --hub or --node, or what it was."""
    from perslm_daemon.broker_users import generated, require_name

    session = session_of(context)
    if (hub and node) or (generate and password_file is not None):
        raise typer.BadParameter("take one of --hub and --node, one of --generate and --password-file")
    require_name(name)
    broker = _broker(session, service, root, files_only=files_only)
    password = generated() if generate else _password(name, password_file)
    with _explained(broker):
        role = broker.users.put(name, password, _role(hub, node), drawn=generate)
        told = _take_change(broker, session)
    if session.json:
        secret = {"password": password} if generate else {}
        put_json({"user": name, "role": role.value, **secret, "urls": _urls(broker.place.file()), "told": told})
        return
    put(f"{name} may connect, as a {role.value}")
    if generate:
        put(f"password   {password}")
    for url in _urls(broker.place.file()):
        put(f"url        {url}")
    note(told)


def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The user.")],
    *,
    service: Service = False,
    root: Root = _MACHINE,
) -> None:
    """Take a user away from our own broker; who is connected under that name is cut off."""
    session = session_of(context)
    broker = _broker(session, service, root)
    with _explained(broker):
        broker.users.remove(name)
        told = _take_change(broker, session)
    if session.json:
        put_json({"removed": name, "told": told})
    else:
        put(f"{name} may not connect any more")
        note(told)


def listen(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Argument(
            metavar="HOST[:PORT]",
            help="127.0.0.1: this machine alone; 0.0.0.0 or ::, the whole house, with passwords.",
        ),
    ],
    *,
    service: Service = False,
    root: Root = _MACHINE,
    files_only: FilesOnly = False,
) -> None:
    """Let perslm-broker.service listen on an address; beyond loopback the daemon gets a password of its own."""
    from perslm_daemon.broker import let_service_listen
    from perslm_daemon.broker_file import parse_listen

    session = session_of(context)
    host, port = parse_listen(address)
    broker = _broker(session, service, root, files_only=files_only)
    if not broker.is_service:
        raise InputError(
            f"the broker of `perslm run` listens as configured: set mqtt.own_host={host} and mqtt.own_port={port}"
            "; --service is for perslm-broker.service"
        )
    with _explained(broker):
        file = let_service_listen(broker.place, broker.users, host, port)
        told = _restart(broker)
    if session.json:
        put_json({**_listens(file), "urls": _urls(file), "told": told})
        return
    put(f"{broker.place.conf}: {file.host} port {file.port}{', with passwords' if file.asks_passwords else ''}")
    note(told)
    if file.asks_passwords and not broker.users.all():
        note("let somebody in: `perslm broker user NAME --service`; `--hub` for Home Assistant and zigbee2mqtt")


def _broker(session: Session, service: bool, root: Path, *, files_only: bool = False) -> _Broker:
    from perslm_daemon.broker_file import child_place, service_place
    from perslm_daemon.broker_users import Users

    is_service = service or session.config.mqtt.own == "service"
    is_this_machine = root == _MACHINE
    if not is_service and not is_this_machine:
        raise typer.BadParameter("--root is for --service")
    if is_service and is_this_machine and os.geteuid() != 0:
        raise InputError("the service's files are root's: the same again with sudo")
    config = _service_config(session, root) if is_service else session.config
    place = service_place(root) if is_service else child_place(config.data_dir)
    users = Users(place.folder, config.mqtt.base, config.node, place.owner)
    return _Broker(place, users, is_service, is_this_machine and not files_only)


def _service_config(session: Session, root: Path) -> Config:
    """What the service reads: the machine's file, not the one of whoever types this."""
    file = session.flags.config_file or root / configuration.SYSTEM_FILE.relative_to("/")
    return configuration.load(replace(session.flags, config_file=file if file.is_file() else Path(os.devnull)))


@contextmanager
def _explained(broker: _Broker) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or broker.place.folder}: {error.strerror}: nothing was changed"
        ) from error


def _role(hub: bool, node: bool) -> Role | None:
    from perslm_daemon.broker_users import Role

    return Role.HUB if hub else Role.NODE if node else None


def _password(name: str, file: Path | None) -> str:
    if file is None:
        return terminal.ask_secret(f"Password of {name} for the broker")
    try:
        text = sys.stdin.read() if file == Path("-") else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    return text.rstrip("\r\n")


def _take_change(broker: _Broker, session: Session) -> str:
    """Let a running broker know of changed users; what came of it, in words."""
    from perslm_daemon.broker import let_service_listen, tell_running

    file = broker.place.file()
    if file is None:
        how = "perslm broker listen 0.0.0.0 --service" if broker.is_service else "perslm run --set mqtt.broker=own"
        return f"nothing listens yet: `{how}`"
    if not file.asks_passwords and broker.users.all():
        if broker.is_service:
            let_service_listen(broker.place, broker.users, file.host, file.port)
            return f"it asks for passwords from now on; {_restart(broker)}"
        return "it asks for passwords from the next start of `perslm run` on"
    if broker.is_service and broker.is_this_machine and _systemd_runs():
        return _systemctl("reload", SERVICE_UNIT) or "the running broker knows it"
    if broker.is_this_machine and tell_running(broker.place):
        return "the running broker knows it"
    return "the broker does not run now; it will know at its start"


def _restart(broker: _Broker) -> str:
    """Restart what reads the service's files; a new address and a new credential need it."""
    if not broker.is_this_machine or not _systemd_runs():
        return f"takes effect when {SERVICE_UNIT} and {DAEMON_UNIT} start"
    return (
        _systemctl("restart", SERVICE_UNIT)
        or _systemctl("try-restart", DAEMON_UNIT)
        or f"{SERVICE_UNIT} and {DAEMON_UNIT} were restarted"
    )


def _systemd_runs() -> bool:
    return Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None


def _systemctl(verb: str, unit: str) -> str:
    """Do it; what went wrong in words, "" when nothing did."""
    done = subprocess.run(["systemctl", verb, unit], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"`systemctl {verb} {unit}` failed: {done.stderr.strip()}"


def _shown(broker: _Broker) -> dict[str, Any]:
    from perslm_daemon.broker import running_pid

    file = broker.place.file()
    files = [broker.place.conf, *broker.users.files, *([broker.place.credential] if broker.is_service else [])]
    return {
        "own": "service" if broker.is_service else "child",
        "listens": None if file is None else _listens(file),
        "pid": running_pid(broker.place) if broker.is_this_machine else None,
        "urls": _urls(file),
        "users": {name: role.value for name, role in broker.users.all().items()},
        "files": [str(path) for path in files if path is not None and path.exists()],
    }


def _listens(file: BrokerFile) -> dict[str, Any]:
    return {"host": file.host, "port": file.port, "passwords": file.asks_passwords}


def _urls(file: BrokerFile | None) -> list[str]:
    """Where others find it: this machine's addresses for one that listens on all of them."""
    from perslm_daemon.addresses import told_addresses
    from perslm_daemon.broker_file import url_host

    if file is None:
        return []
    hosts = [file.host]
    if file.listens_everywhere:
        hosts = [one for one in told_addresses() if ":" not in one or file.host == "::"] or [file.reach]
    return [f"mqtt://{url_host(host)}:{file.port}" for host in hosts]


def _is_running(shown: dict[str, Any]) -> str:
    return "does not run" if shown["pid"] is None else f"runs (pid {shown['pid']})"
