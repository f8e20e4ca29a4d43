"""Our own MQTT broker at work: a child of `perslm run`, or the service it joins; changes while it runs.

On a board the same files serve perslm-broker.service, which lives on its own so that a last will is delivered.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from perslm_daemon import process as processes
from perslm_daemon import sealed
from perslm_daemon.broker_file import (
    LOOPBACK,
    SERVICE_CONF,
    SERVICE_FOLDER,
    SERVICE_PORT,
    BrokerFile,
    Place,
    child_place,
)
from perslm_daemon.broker_users import Owner, Users, generated, make_folder, write_private
from perslm_runtime.errors import ConfigError, EngineError, InputError

_START_S = 5.0


@dataclass(frozen=True, slots=True)
class Own:
    """Where the daemon finds its own broker; secrets are not printed.

    `password` is None where the broker asks for none, or where it has to come from the configuration or systemd.
    `secret` stays the same from start to start, "" where there is none.
    """

    host: str
    port: int
    asks_passwords: bool = False
    password: str | None = field(default=None, repr=False)
    secret: str = field(default="", repr=False)


def mosquitto() -> str:
    """Where mosquitto is. Raises `ConfigError` with the line to type."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ConfigError("mosquitto is not installed: `sudo apt-get install mosquitto`, or set mqtt.broker")
    return found


def free_port(host: str = LOOPBACK) -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def session_name(node: str, secret: str) -> str:
    """The client identifier of a node's daemon; with a secret nobody can guess it.

    Whoever connects under another's identifier takes its place at the broker, and every user may choose one.
    """
    if not secret:
        return f"perslm-{node}"
    return f"perslm-{node}-{hashlib.sha256(f'session of {node}: {secret}'.encode()).hexdigest()[:16]}"


def service_broker(host: str, port: int, conf: Path = SERVICE_CONF) -> Own:
    """perslm-broker.service, as its file says, or where that cannot be read as `host` and `port` (0: 1883) say."""
    said = BrokerFile.read(conf, SERVICE_FOLDER)
    if said is None or (port and port != said.port):
        said = BrokerFile(SERVICE_FOLDER, port or SERVICE_PORT, host)
    return Own(said.reach, said.port, said.asks_passwords)


def prepare(place: Place, file: BrokerFile, users: Users, password: str, *, drawn: bool = False) -> BrokerFile:
    """Write the broker's files; return how it listens. With users it asks for passwords on loopback as well.

    `password` is the daemon's own, for where one is asked (`drawn` by lot?); all other users stay.
    """
    file = replace(file, passwords=bool(users.all()))
    make_folder(place.folder, place.owner)
    if file.asks_passwords:
        users.let_daemon_in(password, drawn=drawn)
    if place.credential is None:
        write_private(place.conf, file.text(), place.owner)
    else:  # root's, and for all to read: it holds no secret
        place.conf.parent.mkdir(parents=True, exist_ok=True)
        write_private(place.conf, file.text(), Owner(), mode=0o644)
    return file


def let_service_listen(place: Place, users: Users, host: str, port: int) -> BrokerFile:
    """Write perslm-broker.service's files. Where it asks for passwords, the daemon's becomes a credential."""
    file = BrokerFile(SERVICE_FOLDER, port, host, passwords=bool(users.all()))
    password = _kept_credential(place) if file.asks_passwords else ""
    return prepare(place, file, users, password)


def _kept_credential(place: Place) -> str:
    """The password in the credential's file, plain or encrypted; made where there is none, for root alone."""
    path = place.credential
    if path is None:
        raise ValueError("only the service's password is a credential")
    kept = sealed.kept(path)
    if kept is None:
        if sealed.sealed_path(path).exists():  # a new one would lock out the daemon, which has the old one
            raise ConfigError(f"{sealed.sealed_path(path)} cannot be opened: it was made on another machine")
        kept = generated()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, kept, Owner())
    return kept


def tell_running(place: Place) -> bool:
    """Let a running broker read its users anew (SIGHUP), which breaks no connection; False where none runs."""
    pid = running_pid(place)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise InputError(f"mosquitto (pid {pid}) is another user's: do this as that user, or as root") from error
    return True


def running_pid(place: Place) -> int | None:
    """The process id of the mosquitto that runs with these files; None where none does.

    The id in the file may be anybody's by now: its command line has to name our configuration.
    """
    try:
        pid = int((place.folder / "mosquitto.pid").read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
    words = processes.command_line(pid)
    is_ours = len(words) > 2 and Path(words[0]).name == "mosquitto" and str(place.conf) in words[1:]
    return pid if is_ours else None


@asynccontextmanager
async def own_broker(
    data_dir: Path, *, host: str = LOOPBACK, port: int = 0, base: str = "perslm", node: str = "home"
) -> AsyncIterator[Own]:
    """Run a broker (port 0: any free one); it ends when the block is left, not by the terminal's Ctrl-C.

    It dies with this process where setpriv exists. Sessions and retained messages stay in the data folder.
    """
    program = await anyio.to_thread.run_sync(mosquitto)
    place = child_place(data_dir)
    own = await anyio.to_thread.run_sync(_prepare_child, place, host, port, base, node)
    argv = [program, "-c", str(place.conf)]
    if (setpriv := await anyio.to_thread.run_sync(shutil.which, "setpriv")) is not None:
        argv = [setpriv, "--pdeathsig", "TERM", *argv]
    # mosquitto would tell systemd that it is ready, which is for us to say.
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    # mosquitto logs about each client; what goes wrong at its start is told by its exit.
    process = await anyio.open_process(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environ,
        start_new_session=True,
    )
    async with process, anyio.create_task_group() as tasks:
        said: list[bytes] = []
        tasks.start_soon(_hear, process, said)
        try:
            if listens := await _listens(process, own.port):
                yield own
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
            tasks.cancel_scope.cancel()
    if not listens:  # raised out here, where no task group makes a group of errors of it
        raise EngineError(_why_not(host, own.port, b"".join(said).decode("utf-8", "replace").strip()))


def _prepare_child(place: Place, host: str, port: int, base: str, node: str) -> Own:
    file = BrokerFile(place.folder, port or free_port(host), host, user=getpass.getuser())
    password = generated()
    file = prepare(place, file, Users(place.folder, base, node), password, drawn=True)
    if not file.asks_passwords:
        return Own(file.reach, file.port)
    return Own(file.reach, file.port, True, password, _kept_secret(place))


def _kept_secret(place: Place) -> str:
    """A secret that outlives the daemon's password, so that its session at the broker goes on after a restart."""
    path = place.folder / "session"
    try:
        kept = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        kept = ""
    if not kept:
        kept = generated()
        write_private(path, f"{kept}\n", place.owner)
    return kept


async def _hear(process: anyio.abc.Process, said: list[bytes]) -> None:
    if process.stderr is not None:
        async for piece in process.stderr:
            said.append(piece)
            del said[:-20]


async def _listens(process: anyio.abc.Process, port: int) -> bool:
    """Wait until this very process listens: on a port that is taken another one would answer."""
    deadline = anyio.current_time() + _START_S
    while process.returncode is None and anyio.current_time() < deadline:
        if port in await anyio.to_thread.run_sync(processes.listening_ports, process.pid):
            return True
        await anyio.sleep(0.02)
    await anyio.sleep(0.05)  # its last words are on their way
    return False


def _why_not(host: str, port: int, words: str) -> str:
    """Why it did not start, and what to do."""
    if "Address already in use" in words:
        return f"port {port} of {host} is taken: end what listens there, or set another mqtt.own_port"
    if "Cannot assign requested address" in words:
        return f"{host} is no address of this machine: set mqtt.own_host to one, or to 0.0.0.0 for all of them"
    return (
        f"mosquitto did not start on port {port} of {host}: {words[-300:] or 'it does not answer'}; "
        "set mqtt.broker to another one"
    )


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.terminate()
    with anyio.move_on_after(3):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
