"""Landlock: what a process may still open, connect to and signal, for itself and for good. Linux 5.13 and newer.

Three system calls through ctypes. Newer kernels restrict more (connections from 6.7, signals from 6.12); what an
older one cannot restrict is refused by seccomp.py in any case.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from perslm_runtime.errors import EngineError

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # alike on x86-64 and arm64
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_REFER, TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
_FIRST = (1 << 13) - 1  # what the first version knows

READ = READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | TRUNCATE
"""All of a folder but special files and links."""


def version() -> int:
    """The kernel's Landlock, 0 where it has none or it is switched off."""
    found = ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, 0, _VERSION_FLAG)
    return max(0, int(found))


def require() -> None:
    """Raise `EngineError` unless this kernel has Landlock."""
    if version() < 1:
        raise EngineError(
            "this kernel has no Landlock, so tools that need a sandbox cannot run: it takes Linux 5.13 with "
            "CONFIG_SECURITY_LANDLOCK and lsm=landlock,... on the kernel's command line"
        )


def restrict(allowed: Sequence[tuple[Path, int]]) -> None:
    """Allow these paths (what lies below them included) and nothing else, no connection and no signal to others.

    Paths that are not there are passed over. Raises `EngineError` where the kernel refuses.
    """
    require()
    abi = version()
    handled = _handled(abi)
    libc = ctypes.CDLL(None, use_errno=True)
    fields = [
        handled,
        *([3] if abi >= 4 else []),
        *([3] if abi >= 6 else []),
    ]  # bind and connect; sockets, signals
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _checked(libc.syscall(_CREATE, attributes, len(attributes), 0))
    try:
        for path, access in allowed:
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow(libc, ruleset, path, access & handled)
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, access: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            access &= _OF_FILES
        rule = struct.pack("=Qi", access, opened)
        _checked(libc.syscall(_ADD, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(opened)


def _handled(abi: int) -> int:
    handled = _FIRST
    for since, right in ((2, _REFER), (3, TRUNCATE), (5, _IOCTL_DEV)):
        if abi >= since:
            handled |= right
    return handled


def _checked(result: int) -> int:
    if result < 0:
        raise EngineError(f"no sandbox: Landlock was refused ({os.strerror(ctypes.get_errno())})")
    return result
