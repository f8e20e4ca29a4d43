"""Who may use our own broker, and for what: mosquitto's password file and its ACL, made from one list of users.

Passwords are kept as PBKDF2 hashes alone. Knows neither how the broker listens nor whether it runs.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import secrets
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from perslm_runtime.errors import ConfigError, InputError

DAEMON_USER = "perslm"
"""The name by which the daemon itself connects where passwords are asked: it may use every topic."""

PASSWORDS, ACL = "passwords", "acl"

# mosquitto works a hash out in its only thread at each connection and, for everybody connected, at each SIGHUP:
# 100,000 rounds held the whole house up for 65 ms on a desktop core, 20,000 for 13 ms. What was drawn by lot
# cannot be guessed at any number of rounds: it gets mosquitto's own 101 (0.1 ms).
_ROUNDS_TYPED, _ROUNDS_DRAWN = 20_000, 101
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LINE = re.compile(r"([^:\s]+):(\$[67]\$\S+)")
_ROLE_LINE = re.compile(r"# (\S+): (person|hub|node)")
_LETTERS = "".join(sorted(set(string.ascii_lowercase + string.digits) - set("il1o0")))
_GENERATED_LETTERS = 24  # of 31 letters: 118 bits, typed on a device without a mistake


class Role(StrEnum):
    """What a user is: a person, a home system that uses every topic, or another PersLM."""

    PERSON = "person"
    HUB = "hub"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Owner:
    """To whom a folder and its files belong; None leaves it to whoever writes."""

    uid: int | None = None
    gid: int | None = None


def generated() -> str:
    """A new password of letters and digits that cannot be mistaken for each other."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_GENERATED_LETTERS))


def password_line(name: str, password: str, *, drawn: bool = False) -> str:
    """A line of mosquitto's password file: PBKDF2 with SHA-512 and a salt, as mosquitto_passwd writes it.

    `drawn` says that the password was drawn by lot. Raises `InputError` for an empty one.
    """
    if not password or any(ord(letter) < 32 for letter in password) or len(password.encode()) > 65_535:
        raise InputError(f"{name} needs a password of one line")
    salt, rounds = secrets.token_bytes(12), _ROUNDS_DRAWN if drawn else _ROUNDS_TYPED
    digest = hashlib.pbkdf2_hmac("sha512", password.encode("utf-8"), salt, rounds, 64)
    coded = "$".join(base64.b64encode(part).decode("ascii") for part in (salt, digest))
    return f"{name}:$7${rounds}${coded}\n"


def require_name(name: str) -> None:
    """Raise `InputError` for a name that cannot be one level of a topic, or that is the daemon's own."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} cannot be a broker's user: 1 to 64 of a-z, A-Z, 0-9, . _ @ and -, beginning with a "
            "letter or digit"
        )
    if name == DAEMON_USER:
        raise InputError(
            f"{DAEMON_USER} is the daemon's own name, whose password nobody has to know: take another"
        )


def acl(base: str, node: str, users: Mapping[str, Role]) -> str:
    """mosquitto's ACL file: what the daemon of `node`, and each of `users`, may publish and read.

    mosquitto looks at a user's own lines first, then at the patterns, and in each at denials before all else; a
    denial is for reading and writing. So what people may only read is denied to all by pattern and allowed to
    each by name. What no line allows is refused. mosquitto warns of a pattern without %u, and applies it.
    """
    nodes = {node, *(name for name, role in users.items() if role is Role.NODE)}
    sections = [
        "# Written by PersLM; `perslm broker user` changes it.",
        f"user {DAEMON_USER}\ntopic readwrite #\ntopic read $SYS/#",
        *(_section(base, name, role, sorted(nodes - {name})) for name, role in sorted(users.items())),
        "\n".join(
            [
                f"pattern deny {base}/+/response/#",
                f"pattern deny {base}/+/reply/#",
                f"pattern deny {base}/_clients/#",
                f"pattern deny {base}/_arbitration/#",
                f"pattern write {base}/+/request/#",
                f"pattern write {base}/+/as/%u/request/#",
                f"pattern write {base}/+/+/set",
                f"pattern read {base}/+/+",
            ]
        ),
    ]
    return "\n\n".join(sections) + "\n"


def _section(base: str, name: str, role: Role, other_nodes: list[str]) -> str:
    lines = [f"# {name}: {role}", f"user {name}"]
    match role:
        case Role.PERSON:
            lines += [f"topic read {base}/+/response/#", f"topic read {base}/+/reply/#"]
            lines += [f"topic readwrite {base}/_clients/{name}/#"]
        case Role.HUB:
            # Its own name too: mosquitto knows no exception from a denial, and a hub speaks for nobody.
            lines += ["topic readwrite #", f"topic deny {base}/+/as/#"]
        case Role.NODE:
            # Devices have topics of any name, so a node may use all but what is another node's.
            lines += ["topic readwrite #", *(f"topic deny {base}/{other}/#" for other in other_nodes)]
    return "\n".join(lines)


class Users:
    """The users of the broker whose files lie in `folder`; every change is written whole or not at all."""

    def __init__(self, folder: Path, base: str, node: str, owner: Owner | None = None) -> None:
        self._folder, self._base, self._node = folder, base, node
        self._owner = owner or Owner()

    @property
    def files(self) -> tuple[Path, Path]:
        """The password file and the ACL."""
        return self._folder / PASSWORDS, self._folder / ACL

    def all(self) -> dict[str, Role]:
        """Everybody but the daemon, by name; whoever was added by other means is a person."""
        roles = {name: Role(role) for name, role in _ROLE_LINE.findall(self._read(ACL))}
        return {name: roles.get(name, Role.PERSON) for name in sorted(self._lines()) if name != DAEMON_USER}

    def put(self, name: str, password: str, role: Role | None = None, *, drawn: bool = False) -> Role:
        """Add a user or change it; without a role it keeps the one it has. Returns the role.

        Raises `InputError` for a name or password that cannot be used.
        """
        require_name(name)
        line = password_line(name, password, drawn=drawn)
        if role is Role.NODE and name == self._node:
            raise InputError(f"{name} is this daemon's own node: name the other one's")
        with self._change() as (lines, roles):
            lines[name] = line
            roles[name] = role or roles.get(name, Role.PERSON)
            return roles[name]

    def remove(self, name: str) -> None:
        """Take a user away. Raises `InputError` where there is none of that name."""
        with self._change() as (lines, roles):
            if name == DAEMON_USER or lines.pop(name, None) is None:
                raise InputError(f"the broker has no user {name[:80]!r}: it has {', '.join(roles) or 'none'}")
            del roles[name]

    def let_daemon_in(self, password: str, *, drawn: bool) -> None:
        """Set the daemon's own password."""
        line = password_line(DAEMON_USER, password, drawn=drawn)
        with self._change() as (lines, _):
            lines[DAEMON_USER] = line

    @contextmanager
    def _change(self) -> Iterator[tuple[dict[str, str], dict[str, Role]]]:
        """The password lines and roles, to be changed in the block; written when it ends without an error."""
        make_folder(self._folder, self._owner)
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            lines, roles = self._lines(), self.all()
            yield lines, roles
            # The ACL first: a user without rights does less harm than one with the rights of another.
            write_private(self._folder / ACL, acl(self._base, self._node, roles), self._owner)
            write_private(self._folder / PASSWORDS, "".join(lines.values()), self._owner)
        finally:
            os.close(handle)

    def _lines(self) -> dict[str, str]:
        found = (_LINE.fullmatch(line) for line in self._read(PASSWORDS).splitlines())
        return {match[1]: f"{match[0]}\n" for match in found if match is not None}

    def _read(self, name: str) -> str:
        """A file's text, "" where there is none. A link is not followed: root reads here for another user."""
        try:
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ConfigError(f"{self._folder / name} cannot be read: {error.strerror}") from error
        with os.fdopen(handle, encoding="utf-8", errors="replace") as opened:
            return opened.read()


def make_folder(folder: Path, owner: Owner) -> None:
    """Make the broker's folder, its owner's alone."""
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        return
    _give(folder, owner)


def write_private(path: Path, text: str, owner: Owner, mode: int = 0o600) -> None:
    """Put a file in place in one step, readable by its owner alone unless `mode` says more."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fchmod(handle, mode)
        _give(handle, owner)
        os.fsync(handle)
    fresh.replace(path)


def _give(what: int | Path, owner: Owner) -> None:
    if owner.uid is not None and owner.gid is not None:
        os.chown(what, owner.uid, owner.gid)
