"""PersLM under systemd: what it tells the service manager, its lines in the journal, the secrets it is handed.

The only importer of systemd-python, which the journal's fields need. Notifications are one datagram to a socket
and go out without it, so that a unit of Type=notify comes up where the library is missing. Outside systemd every
call here does nothing, and the log stays what logs.py made of it.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from perslm_daemon.logs import ROOT, fields_of

_STEP_S = 300.0
"""What one step of the start may take before systemd gives up: an engine from a slow SD card, and more."""

_PAIR = re.compile(r"(?:^|\s)([a-z][a-z0-9_]*)=(\S+)")
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))


class Notifier:
    """Tells systemd how the daemon is. Never waits: a message that finds the socket's buffer full is dropped."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self.watchdog_s = _watchdog_s(environ)

    @property
    def listened_to(self) -> bool:
        """Whether there is a service manager that wants to hear."""
        return self._socket is not None

    def step(self, status: str, allow_s: float = _STEP_S) -> None:
        """Say where the start is, and ask for `allow_s` seconds until the next step or `ready`."""
        self._send(f"STATUS={_line(status)}", f"EXTEND_TIMEOUT_USEC={round(allow_s * 1e6)}")

    def ready(self, status: str) -> None:
        """The start, or a reload, is done."""
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """The line that `systemctl status` shows."""
        self._send(f"STATUS={_line(status)}")

    def reloading(self, status: str = "Reading the configuration anew") -> None:
        """The configuration is being read anew; `ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}", f"STATUS={_line(status)}")

    def stopping(self, status: str = "Stopping") -> None:
        """The stop has begun."""
        self._send("STOPPING=1", f"STATUS={_line(status)}")

    def alive(self) -> None:
        """The loop and every busy engine make progress; to be sent at least every `watchdog_s` seconds."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket; later calls do nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logging.getLogger("perslm.service").warning("notify_failed error=%s", type(error).__name__)


def _address(named: str) -> str:
    """The socket's address: a path, or a name in the abstract namespace; "" where there is none we can use."""
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else ""


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """How often systemd wants to hear from this process, or None where it does not wait."""
    wanted, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or (whose and whose != str(os.getpid())):
        return None
    return int(wanted) / 1e6


def _line(text: str) -> str:
    return " ".join(text.split())


def credential(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """A secret that systemd loaded for this service, without its line end; None where there is none.

    The plain file of a name comes before the one that was kept encrypted.
    """
    environ = os.environ if environ is None else environ
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    for given in (name, f"{name}.sealed"):
        try:
            return Path(folder, given).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            continue
    return None


def log_to_journal(environ: Mapping[str, str] | None = None) -> bool:
    """Send PersLM's events to the journal with their fields, where standard error already goes there.

    Returns False, and changes nothing, outside systemd and where systemd-python is missing: the journal then
    takes the plain lines from standard error.
    """
    environ = os.environ if environ is None else environ
    if not _stderr_is_the_journal(environ.get("JOURNAL_STREAM", "")):
        return False
    try:
        handler = Journal()
    except ImportError:
        return False
    logging.getLogger(ROOT).handlers[:] = [handler]
    return True


def _stderr_is_the_journal(stream: str) -> bool:
    """Whether JOURNAL_STREAM ("device:inode") names our standard error; after a redirection it does not."""
    try:
        seen = os.fstat(2)
    except OSError:
        return False
    return stream == f"{seen.st_dev}:{seen.st_ino}"


class Journal(logging.Handler):
    """Events as journal entries: the line as the message, and every `key=value` of it as a field PERSLM_KEY.

    `journalctl PERSLM_TURN=01J…` then finds all of one turn. Raises ImportError without systemd-python.
    """

    def __init__(self) -> None:
        from systemd.journal import send  # noqa: PLC0415 - a machine without systemd has no such library

        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Write one entry."""
        try:
            message, fields = entry(record)
            self._send(
                message, CODE_FILE=record.pathname, CODE_LINE=record.lineno, CODE_FUNC=record.funcName, **fields
            )
        except Exception:  # noqa: BLE001 - what logging asks of a handler: never raise into the program
            self.handleError(record)


def entry(record: logging.LogRecord) -> tuple[str, dict[str, str]]:
    """The message and the fields of a journal entry."""
    text = _line(record.getMessage())
    pairs = {**dict(_PAIR.findall(text)), **{name: str(value) for name, value in fields_of(record).items()}}
    added = " ".join(f"{name}={value}" for name, value in fields_of(record).items())
    fields = {f"PERSLM_{name.upper()}": value for name, value in pairs.items()}
    fields["PRIORITY"] = str(next(number for level, number in _PRIORITIES if record.levelno >= level))
    fields["SYSLOG_IDENTIFIER"] = ROOT
    fields["PERSLM_LOGGER"] = record.name
    return f"{text} {added}".strip(), fields
