"""The claim to a data folder's control socket: one running PersLM per folder, and a socket only its owner reaches.

A lock that the kernel takes back from a dead process decides who runs; the socket file decides nothing, so a stale
one is removed and a living one never is. Blocking; called in a thread.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

from perslm_runtime.errors import ConfigError

LONGEST_PATH_BYTES = 107
"""What a Unix socket's address holds, less its closing zero."""

_BACKLOG = 64


class Claim:
    """Holds the folder and listens at `path` until `release`. Raises `ConfigError` saying why it cannot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        size = len(os.fsencode(path))
        if size > LONGEST_PATH_BYTES:
            raise ConfigError(
                f"the control socket {path} would have a name of {size} bytes and {LONGEST_PATH_BYTES} are "
                "possible: choose a data folder with a shorter name (--data-dir)"
            )
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(path.with_suffix(".lock"))
            try:
                self.socket = _listen(path)
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise ConfigError(
                f"the control socket {path} cannot be made ({error.strerror}): choose another --data-dir"
            ) from error

    def release(self) -> None:
        """Remove the socket and let the next PersLM claim the folder."""
        self._path.unlink(missing_ok=True)
        self.socket.close()
        os.close(self._lock)


def require_free(path: Path) -> None:
    """Raise `ConfigError` when another PersLM holds the folder: asked before engines are loaded for nothing."""
    lock = path.with_suffix(".lock")
    if lock.exists():
        os.close(_lock(lock))


def _lock(path: Path) -> int:
    """Open and lock `path`, and write this process's id into it; it is not removed, which would race."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConfigError(
            f"PersLM already runs with this data folder (pid {pid or 'unknown'}): stop it, or choose another "
            "folder with --data-dir"
        ) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _listen(path: Path) -> socket.socket:
    if os.path.lexists(path):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{path} is in the way of the control socket: move it elsewhere")
        path.unlink()  # a dead process's: the lock is ours
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before it has a name: Linux gives the file this mode, and nobody connects in between.
        os.fchmod(listening.fileno(), 0o600)
        listening.bind(str(path))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening
