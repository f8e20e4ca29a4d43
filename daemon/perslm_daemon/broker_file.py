"""How our own broker listens: the text of mosquitto's configuration, and where a broker's files lie.

Two brokers exist: the child that `perslm run` starts, in the data folder, and perslm-broker.service, whose file is
root's and whose state belongs to a user of its own. Both have the same text.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.broker_users import ACL, PASSWORDS, Owner
from perslm_runtime.errors import ConfigError, InputError

LOOPBACK = "127.0.0.1"
SERVICE_PORT = 1883
SERVICE_CONF = Path("/etc/perslm/broker.conf")
SERVICE_FOLDER = Path("/var/lib/perslm-broker")
SERVICE_USER = "perslm-broker"
CREDENTIAL = Path("/etc/credstore/perslm.mqtt_password")

_MARK = "# Written by PersLM."
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    return ipaddress.ip_address(host).is_loopback


def url_host(host: str) -> str:
    """An address as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port out of `0.0.0.0`, `0.0.0.0:1884`, `::` or `[::]:1884`. Raises `InputError`."""
    match = re.fullmatch(r"\[(?P<v6>[^\]]+)\](:(?P<v6port>\d{1,5}))?|(?P<v4>[^:]+)(:(?P<v4port>\d{1,5}))?", text)
    host, port = text, str(SERVICE_PORT)
    if match is not None:
        host = match["v6"] or match["v4"]
        port = match["v6port"] or match["v4port"] or port
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or "%" in host or not 1 <= int(port) <= 65_535:
        raise InputError(
            f"{text[:80]!r} is no address to listen on: 0.0.0.0 is every IPv4 address of this machine, :: every "
            "one of both kinds, 127.0.0.1 this machine alone; a port may follow, as in 0.0.0.0:1884 or [::]:1884"
        )
    return str(address), int(port)


@dataclass(frozen=True, slots=True)
class BrokerFile:
    """How the broker listens and where it keeps its sessions. Beyond loopback it always asks for passwords.

    `user` is whom a mosquitto started by root becomes.
    """

    folder: Path
    port: int
    host: str = LOOPBACK
    passwords: bool = False
    user: str = ""

    @property
    def asks_passwords(self) -> bool:
        """Whether who connects needs a name and a password."""
        return self.passwords or not is_loopback(self.host)

    @property
    def listens_everywhere(self) -> bool:
        """Whether it listens on every address of the machine."""
        return self.host in _EVERYWHERE

    @property
    def reach(self) -> str:
        """The address under which this machine's own programs find it."""
        if is_loopback(self.host):
            return self.host
        return "::1" if ":" in self.host else LOOPBACK

    @property
    def pid_file(self) -> Path:
        """Where mosquitto writes its process id."""
        return self.folder / "mosquitto.pid"

    def text(self) -> str:
        """The file for `mosquitto -c`."""
        lines = [
            _MARK,
            *self._listeners(),
            "set_tcp_nodelay true",
            "persistence true",
            f"persistence_location {self.folder}/",
            f"pid_file {self.pid_file}",
            "autosave_interval 30",
            "max_queued_messages 100000",
            "max_queued_bytes 67108864",
            "persistent_client_expiration 14d",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            f"allow_anonymous {'false' if self.asks_passwords else 'true'}",
        ]
        if self.user:
            lines.append(f"user {self.user}")
        if self.asks_passwords:
            lines += [f"password_file {self.folder}/{PASSWORDS}", f"acl_file {self.folder}/{ACL}"]
        return "\n".join(lines) + "\n"

    def _listeners(self) -> list[str]:
        if self.host == "::":  # with the address mosquitto would take IPv6 alone
            return [f"listener {self.port}"]
        own = [f"listener {self.port} {self.host}"]
        if self.listens_everywhere or is_loopback(self.host):
            return own
        return [*own, f"listener {self.port} {self.reach}"]

    @classmethod
    def read(cls, path: Path, folder: Path) -> BrokerFile | None:
        """What a file of ours says; None where there is none, or somebody else wrote it."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        listener = next((line.split() for line in lines if line.startswith("listener ")), [])
        if not lines or lines[0] != _MARK or len(listener) < 2 or not listener[1].isdecimal():
            return None
        host = listener[2] if len(listener) > 2 else "::"
        return cls(folder, int(listener[1]), host, passwords="allow_anonymous false" in lines)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a broker's files lie, and whose they are. `credential`: the daemon's password for the service."""

    conf: Path
    folder: Path
    owner: Owner
    credential: Path | None = None

    def file(self) -> BrokerFile | None:
        """How it listens, by its file."""
        return BrokerFile.read(self.conf, self.folder)


def child_place(data_dir: Path) -> Place:
    """The files of the broker that `perslm run` starts."""
    folder = data_dir / "broker"
    return Place(folder / "mosquitto.conf", folder, Owner())


def service_place(root: Path = Path("/")) -> Place:
    """The files of perslm-broker.service under `root`. Raises `ConfigError` where its user does not exist."""
    below = [root / path.relative_to("/") for path in (SERVICE_CONF, SERVICE_FOLDER, CREDENTIAL)]
    return Place(below[0], below[1], _owner(root), below[2])


def _owner(root: Path) -> Owner:
    """The service's user as the machine (or image) under `root` knows it."""
    try:
        accounts = (root / "etc/passwd").read_text(encoding="utf-8").splitlines()
    except OSError:
        accounts = []
    for account in accounts:
        fields = account.split(":")
        if fields[0] == SERVICE_USER and len(fields) > 3:
            return Owner(int(fields[2]), int(fields[3]))
    raise ConfigError(f"there is no user {SERVICE_USER} on this machine: `sudo make install` first")
