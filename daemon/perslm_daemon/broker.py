"""Our own MQTT broker: the text of mosquitto's files, and the child that `make run` starts on a free port.

On a board the same files serve perslm-broker.service, which lives on its own so that a last will is delivered.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from perslm_runtime.errors import ConfigError, EngineError

DAEMON_USER = "perslm"
"""The name by which the daemon itself connects where passwords are asked: it may use every topic."""

_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_START_S = 5.0
_HASH_ROUNDS = 100_000


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """How the broker listens and where it keeps its sessions. `passwords` is needed beyond loopback."""

    folder: Path
    port: int
    host: str = "127.0.0.1"
    base: str = "perslm"
    passwords: bool = False
    user: str = ""

    def __post_init__(self) -> None:
        if self.host not in _LOOPBACK and not self.passwords:
            raise ConfigError(f"a broker on {self.host} is open to the network: give it passwords")

    def text(self) -> str:
        """The file for `mosquitto -c`."""
        lines = [
            "# Written by PersLM.",
            f"listener {self.port} {self.host}",
            "set_tcp_nodelay true",
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 30",
            "max_queued_messages 100000",
            "max_queued_bytes 67108864",
            "persistent_client_expiration 14d",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            f"allow_anonymous {'false' if self.passwords else 'true'}",
        ]
        if self.user:
            lines.append(f"user {self.user}")
        if self.passwords:
            lines += [f"password_file {self.folder}/passwords", f"acl_file {self.folder}/acl"]
        return "\n".join(lines) + "\n"

    def acl(self) -> str:
        """Who may use which topic: everybody asks and reads, only a name's owner publishes under it."""
        base = self.base
        return "\n".join(
            [
                "# Written by PersLM.",
                f"pattern write {base}/+/request/#",
                f"pattern write {base}/+/as/%u/request/#",
                f"pattern write {base}/+/+/set",
                f"pattern read {base}/+/+",
                f"pattern read {base}/+/response/#",
                f"pattern read {base}/+/reply/#",
                f"pattern readwrite {base}/_clients/#",
                f"pattern readwrite {base}/_arbitration/#",
                "pattern readwrite homeassistant/#",
                "pattern readwrite zigbee2mqtt/#",
                "",
                f"user {DAEMON_USER}",
                "topic readwrite #",
                "",
            ]
        )


def password_lines(passwords: Mapping[str, str]) -> str:
    """mosquitto's password file: PBKDF2 with SHA-512 and a salt each, as mosquitto_passwd writes it."""
    lines = []
    for name, password in passwords.items():
        if not name or ":" in name or not password or "\n" in name + password:
            raise ConfigError(f"{name[:40]!r} cannot be a broker's user: it needs a name without : and a password")
        salt = secrets.token_bytes(12)
        digest = hashlib.pbkdf2_hmac("sha512", password.encode("utf-8"), salt, _HASH_ROUNDS, 64)
        coded = "$".join(base64.b64encode(part).decode("ascii") for part in (salt, digest))
        lines.append(f"{name}:$7${_HASH_ROUNDS}${coded}\n")
    return "".join(lines)


def write_files(file: BrokerFile, passwords: Mapping[str, str] | None = None) -> Path:
    """Write the broker's files, readable by their owner alone, and return the path for `mosquitto -c`."""
    file.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    texts = {"mosquitto.conf": file.text()}
    if file.passwords:
        texts |= {"passwords": password_lines(passwords or {}), "acl": file.acl()}
    for name, text in texts.items():
        path = file.folder / name
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
    return file.folder / "mosquitto.conf"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def mosquitto() -> str:
    """Where mosquitto is. Raises `ConfigError` with the line to type."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ConfigError("mosquitto is not installed: `sudo apt-get install mosquitto`, or set mqtt.broker")
    return found


@asynccontextmanager
async def own_broker(folder: Path, base: str = "perslm") -> AsyncIterator[str]:
    """Run a broker on loopback and give its URL; it ends when the block is left, not by the terminal's Ctrl-C.

    It dies with this process where setpriv exists. Sessions and retained messages stay in `folder`.
    """
    program = await anyio.to_thread.run_sync(mosquitto)
    port = await anyio.to_thread.run_sync(free_port)
    file = BrokerFile(folder, port, base=base, user=await anyio.to_thread.run_sync(getpass.getuser))
    path = await anyio.to_thread.run_sync(write_files, file)
    argv = [program, "-c", str(path)]
    if (setpriv := await anyio.to_thread.run_sync(shutil.which, "setpriv")) is not None:
        argv = [setpriv, "--pdeathsig", "TERM", *argv]
    # mosquitto logs about each client; what goes wrong at its start is told by its exit.
    process = await anyio.open_process(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    async with process, anyio.create_task_group() as tasks:
        said: list[bytes] = []
        tasks.start_soon(_hear, process, said)
        try:
            await _await_start(process, file, said)
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
            tasks.cancel_scope.cancel()


async def _hear(process: anyio.abc.Process, said: list[bytes]) -> None:
    if process.stderr is not None:
        async for piece in process.stderr:
            said.append(piece)
            del said[:-20]


async def _await_start(process: anyio.abc.Process, file: BrokerFile, said: list[bytes]) -> None:
    deadline = anyio.current_time() + _START_S
    while process.returncode is None and anyio.current_time() < deadline:
        try:
            stream = await anyio.connect_tcp(file.host, file.port)
        except OSError:
            await anyio.sleep(0.02)
        else:
            await stream.aclose()
            return
    words = b"".join(said).decode("utf-8", "replace").strip()[-300:]
    raise EngineError(f"mosquitto did not start: {words or 'it does not answer'}; set mqtt.broker to another one")


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.terminate()
    with anyio.move_on_after(3):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
