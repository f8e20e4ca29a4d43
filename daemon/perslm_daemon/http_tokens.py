"""The tokens that open the HTTP port: made once, kept as digests, revoked by name. Knows no HTTP.

A token is 32 random bytes, so what is kept needs no slow hash: nobody guesses 256 bits, and a board that computed
scrypt for every wrong token could be stopped by sending some. Every function blocks on the disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from perslm_runtime.errors import ConfigError, InputError

SCOPES = {
    "chat": "ask, hear and speak",
    "memory": "recall, remember and forget",
    "home": "the home's devices, timers, what is said aloud",
    "admin": "configuration, models, restart",
}
"""What a token may open, and what that is."""

_FILE = "http_tokens.json"
_PREFIX = "perslm_"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SECRET_BYTES = 32
_LONGEST = 128  # of what a client sends as a token


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One token as it is kept: whose it is, what it opens (names of `SCOPES`), and the digest of its secret."""

    name: str
    person: str
    scopes: tuple[str, ...]
    made: str
    salt: str
    digest: str

    def is_secret(self, secret: str) -> bool:
        """Whether `secret` is this token's; takes as long for a wrong one."""
        return hmac.compare_digest(_digest(self.salt, secret), self.digest)


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    tokens: list[Token] = []


def add(data_dir: Path, name: str, scopes: Sequence[str], person: str) -> str:
    """Make a token called `name` and return it: it can be read this once. Raises `InputError`, `ConfigError`."""
    for what, text in (("token", name), ("person", person)):
        if not _NAME.fullmatch(text):
            raise InputError(f"{text[:80]!r} is no name for a {what}: 1 to 64 of a-z, 0-9, _ and -")
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InputError(f"a token opens some of {', '.join(SCOPES)}, not {', '.join(unknown) or 'nothing'}")
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    salt = secrets.token_hex(16)
    made = datetime.now(UTC).isoformat(timespec="seconds")
    ordered = tuple(scope for scope in SCOPES if scope in scopes)
    token = Token(name, person, ordered, made, salt, _digest(salt, secret))
    with _changing(data_dir) as kept:
        if any(one.name == name for one in kept.tokens):
            raise InputError(
                f"there is a token {name!r} already: `perslm token revoke {name}`, or take another name"
            )
        kept.tokens.append(token)
    return f"{_PREFIX}{secret}"


def revoke(data_dir: Path, name: str) -> bool:
    """Take a token back; whether it was the last. Raises `InputError` where there is none of that name."""
    with _changing(data_dir) as kept:
        left = [one for one in kept.tokens if one.name != name]
        if len(left) == len(kept.tokens):
            raise InputError(f"there is no token {name[:80]!r}: `perslm token list` has them")
        kept.tokens = left
    return not left


def read(data_dir: Path) -> tuple[Token, ...]:
    """All tokens. Raises `ConfigError` where the file cannot be read: then nobody may come in."""
    return tuple(_read(data_dir).tokens)


def stamp(data_dir: Path) -> tuple[int, int, int] | None:
    """What changes when the tokens do; None where there is no file."""
    try:
        found = (data_dir / _FILE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def find(tokens: Sequence[Token], presented: str) -> Token | None:
    """The token that `presented` is. Every one is compared, so the time tells nothing of which it was."""
    if not presented.startswith(_PREFIX) or len(presented) > _LONGEST:
        return None
    secret = presented.removeprefix(_PREFIX)
    matching = [token for token in tokens if token.is_secret(secret)]
    return matching[0] if matching else None


def _digest(salt: str, secret: str) -> str:
    return hashlib.blake2b(
        secret.encode(), salt=bytes.fromhex(salt), person=b"perslm http", digest_size=32
    ).hexdigest()


def _read(data_dir: Path) -> _Kept:
    path = data_dir / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return _Kept()
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"the tokens in {path} cannot be read ({error}): mend the file, or remove it") from error


@contextmanager
def _changing(data_dir: Path) -> Iterator[_Kept]:
    """The tokens, to be changed in the block by one process at a time; durable when it is left."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / f"{_FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _give_to_owner(lock, data_dir)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = _read(data_dir)
            yield kept
            _write(data_dir / _FILE, msgspec.json.encode(kept))
        finally:
            os.close(lock)
    except OSError as error:
        raise ConfigError(
            f"the tokens of {data_dir} cannot be written ({error.strerror}): is the disk full?"
        ) from error


def _give_to_owner(handle: int, folder: Path) -> None:
    """Root makes tokens for a service that runs as a user of its own: then the file is that user's."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    _give_to_owner(handle, path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
