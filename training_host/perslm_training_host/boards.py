"""The boards a host knows: enrolled, seen, revoked; and the one window in which a new one may enrol.

Files beside the host's keys, each written whole. Several processes use them (the service and the commands): what
is kept in memory is read anew when the file is another one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

from perslm_runtime.certificates import (
    Identity,
    authority,
    days_left,
    for_board,
    for_host,
    keep,
    kept,
    self_signed,
    serial_of,
    write_secret,
)
from perslm_runtime.errors import InputError
from perslm_runtime.pairing import Pairing, PairingRefused, new_code

WINDOW_S = 300.0
TRIES = 3
_SERVER_DAYS_LEFT = 60.0  # `perslm-host serve` looks when it starts
_LONGEST_REPORT = 64 << 10


class BoardRecord(msgspec.Struct):
    """A board: its certificate's serial number, and what it told last (Unix seconds).

    `before` is the serial number of the certificate before, until the new one was seen: an answer may be lost.
    """

    name: str
    serial: str
    enrolled_s: float
    before: str = ""
    seen_s: float | None = None
    revoked: bool = False
    report: dict[str, Any] = {}


class _Window(msgspec.Struct):
    code: str
    until_s: float
    tries: int = 0


class Boards:
    """The folder of a host's boards."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock
        self._under_way: dict[str, tuple[Pairing, bytes]] = {}
        self._lock = threading.RLock()
        self._read: tuple[tuple[int, int], dict[str, BoardRecord]] | None = None

    # -------------------------------------------------------------- the host's own identity

    def authority(self) -> Identity:
        """The authority that boards trust, made once."""
        found = kept(self._folder, "authority")
        if found is None:
            keep(self._folder, "authority", found := authority("PersLM authority"))
        return found

    def server(self, reached_by: list[str]) -> Identity:
        """The server's identity for these names and addresses, made anew when they change or it ends soon."""
        names = self._folder / "server.names"
        known = names.read_text(encoding="utf-8").split() if names.is_file() else []
        found = kept(self._folder, "server")
        ends = found is not None and days_left(found.certificate) < _SERVER_DAYS_LEFT
        if found is None or ends or sorted(known) != sorted(reached_by):
            keep(self._folder, "server", found := for_host(self.authority(), "PersLM host", reached_by))
            names.write_text("\n".join(reached_by), encoding="utf-8")
        return found

    @property
    def folder(self) -> Path:
        """Where server.pem, server.key and authority.pem lie."""
        return self._folder

    # -------------------------------------------------------------- enrolment

    def open_window(self) -> str:
        """Let one board enrol within five minutes; the code it has to be told. An older code is void."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        window = _Window(new_code(), self._clock() + WINDOW_S)
        write_secret(self._folder / "window.json", msgspec.json.encode(window))
        return window.code

    def begin(self, board: bytes, host_fingerprint: str, message: bytes) -> bytes:
        """A board shows its certificate and its message; the host's message. Counts as a try."""
        window = self._window()
        if window.tries >= TRIES:
            self._close()
            raise PairingRefused("too many tries: the host has to show a new code")
        window.tries += 1
        write_secret(self._folder / "window.json", msgspec.json.encode(window))
        shown = Identity(b"", board).fingerprint
        pairing = Pairing("host", window.code, board=shown, host=host_fingerprint)
        pairing.finish(message)
        self._under_way = {shown: (pairing, board)}
        return pairing.message

    def finish(self, fingerprint: str, proof: bytes, name: str, root: bytes) -> tuple[bytes, bytes]:
        """The board proves that it knew the code: what it gets (JSON), and the host's proof over that."""
        pairing, board = self._under_way.pop(fingerprint, (None, b""))
        if pairing is None:
            raise PairingRefused("this board has not begun to enrol")
        self._window()
        pairing.check(proof)
        self._close()
        certificate = for_board(self.authority(), board, name)
        self._change(lambda known: known.__setitem__(name, self._new(name, certificate)))
        given = {
            "certificate": certificate.decode(),
            "authority": self.authority().certificate.decode(),
            "root": root.decode(),
        }
        said = msgspec.json.encode(given)
        return said, pairing.proof(said)

    def seed(self, name: str, url: str, root: bytes) -> bytes:
        """What makes a board known without a code, for its card: a key, its certificate, and whom to trust (JSON).

        Raises `InputError` for a name that is taken.
        """
        if name in self.known():
            raise InputError(f"a board is called {name!r} already: choose another name")
        own = self_signed(name)
        certificate = for_board(self.authority(), own.certificate, name)
        self._change(lambda known: known.__setitem__(name, self._new(name, certificate)))
        given = {
            "name": name,
            "url": url,
            "key": own.key.decode(),
            "certificate": certificate.decode(),
            "authority": self.authority().certificate.decode(),
            "root": root.decode(),
        }
        return msgspec.json.encode(given)

    def renew(self, name: str, certificate: bytes) -> bytes:
        """A new certificate over a board's new key; the old one is void once the board shows this one.

        A board that lost its power, or this answer, has the old one alone, and would be let in no more.
        """
        fresh = for_board(self.authority(), certificate, name)

        def renewed(known: dict[str, BoardRecord]) -> None:
            record = known[name]
            record.before, record.serial = record.before or record.serial, serial_of(fresh)

        self._change(renewed)
        return fresh

    # -------------------------------------------------------------- the fleet

    def known(self) -> dict[str, BoardRecord]:
        """Every board by its name. Read anew when another process has changed the file."""
        file = self._folder / "boards.json"
        with self._lock:
            try:
                stamp = (file.stat().st_ino, file.stat().st_mtime_ns)
                if self._read is None or self._read[0] != stamp:
                    self._read = (stamp, msgspec.json.decode(file.read_bytes(), type=dict[str, BoardRecord]))
                return dict(self._read[1])
            except FileNotFoundError:
                return {}

    def admitted(self, name: str, serial: str) -> bool:
        """Whether a certificate is the one that this board has now, or had until a renewal it has not used yet."""
        record = self.known().get(name)
        if record is None or record.revoked or serial not in (record.serial, record.before):
            return False
        if record.before and serial == record.serial:
            self._change(lambda known: setattr(known[name], "before", ""))
        return True

    def revoke(self, name: str) -> None:
        """Let a board in no more. Raises `InputError` for one that is not known."""
        if name not in self.known():
            raise InputError(f"no board is called {name!r}: `perslm-host boards` lists them")
        self._change(lambda known: setattr(known[name], "revoked", True))

    def take_report(self, name: str, report: bytes) -> dict[str, Any]:
        """Keep what a board tells of itself; what it told before. Raises `InputError` for what is no report."""
        if len(report) > _LONGEST_REPORT:
            raise InputError(f"a report has at most {_LONGEST_REPORT} bytes")
        try:
            told = msgspec.json.decode(report, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise InputError(f"this is no report: {error}") from error

        before: list[dict[str, Any]] = []

        def keep_it(known: dict[str, BoardRecord]) -> None:
            before.append(known[name].report)
            known[name].report, known[name].seen_s = told, self._clock()

        self._change(keep_it)
        return before[0]

    def _new(self, name: str, certificate: bytes) -> BoardRecord:
        return BoardRecord(name, serial_of(certificate), self._clock())

    def _change(self, change: Callable[[dict[str, BoardRecord]], object]) -> None:
        """Change the file: one at a time, in this process and in the commands beside it."""
        with self._lock, FileLock(self._folder / ".boards.lock"):
            known = {name: msgspec.structs.replace(record) for name, record in self.known().items()}
            change(known)
            write_secret(self._folder / "boards.json", msgspec.json.encode(known))

    def _window(self) -> _Window:
        try:
            window = msgspec.json.decode((self._folder / "window.json").read_bytes(), type=_Window)
        except FileNotFoundError as error:
            raise PairingRefused("no board is expected: `perslm-host enroll` shows a code for one") from error
        if self._clock() > window.until_s:
            self._close()
            raise PairingRefused("the code has expired: the host has to show a new one")
        return window

    def _close(self) -> None:
        (self._folder / "window.json").unlink(missing_ok=True)
