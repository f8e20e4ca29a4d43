"""The filter that lets a child make only the system calls it needs: built as BPF, installed with one prctl.

Own code, because it is one list and 60 lines: libseccomp would be a system package more on every board. x86-64 and
arm64; any other machine, or a foreign ABI on these, has no filter and so no sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator

from perslm_runtime.errors import EngineError
from perslm_runtime.syscalls import ALLOWED, CHECKED, REFUSED

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column in the tables, AUDIT_ARCH
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_SOCK_STREAM, _SOCK_TYPE = 1, 0xF
# Whether it is a terminal, how much can be read, (non-)blocking, close on exec
_IOCTLS = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)
_PRCTLS = (15, 16)  # the thread's name
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


def machine() -> tuple[int, int]:
    """This machine's column in the tables and its audit number. Raises `EngineError` where it has none."""
    found = MACHINES.get(platform.machine())
    if found is None or struct.calcsize("P") != 8:
        raise EngineError(f"there is no sandbox for {platform.machine()}: tools that need one cannot run here")
    return found


def program(*, becomes_another: bool, of: tuple[int, int] | None = None) -> bytes:
    """The filter as BPF; with `becomes_another` the process may execve. It is this machine's, or `of` another."""
    return b"".join(_program(becomes_another, *(machine() if of is None else of)))


def _program(becomes_another: bool, column: int, audit: int) -> Iterator[bytes]:
    yield from (_op(_LOAD, _ARCH), _op(_EQUAL, audit, 1, 0), _op(_RETURN, _KILL), _op(_LOAD, _NR))
    if column == 0:
        yield from (_op(_AT_LEAST, _X32, 0, 1), _op(_RETURN, _ERRNO | errno.ENOSYS))
    for numbers in ALLOWED.values():
        yield from _answer(numbers[column], _ALLOW)
    for numbers in REFUSED.values():
        yield from _answer(numbers[column], _ERRNO | errno.EPERM)
    for name, numbers in CHECKED.items():
        checks = b"".join(_checks(name, becomes_another))
        number = numbers[column]
        assert number is not None  # noqa: S101 - every machine has these
        yield from (_op(_EQUAL, number, 0, len(checks) // 8), checks)
    yield _op(_RETURN, _ERRNO | errno.ENOSYS)


def _checks(name: str, becomes_another: bool) -> Iterator[bytes]:
    """What decides about a call by its arguments; ends with an answer."""
    match name:
        case "clone":  # a thread of its own process, never a process; clone3 hides its flags and is not there
            yield from (_low(0), _op(_AND, _CLONE_THREAD), _op(_EQUAL, _CLONE_THREAD, 0, 1), _op(_RETURN, _ALLOW))
        case "execve" if becomes_another:
            yield _op(_RETURN, _ALLOW)
        case "ioctl":
            yield _low(1)
            for request in _IOCTLS:
                yield from (_op(_EQUAL, request, 0, 1), _op(_RETURN, _ALLOW))
        case "prctl":
            yield _low(0)
            for option in _PRCTLS:
                yield from (_op(_EQUAL, option, 0, 1), _op(_RETURN, _ALLOW))
        case "prlimit64":  # its own limits, and only to look at them
            yield from (_low(0), _op(_EQUAL, 0, 0, 5))
            yield from (_low(2), _op(_EQUAL, 0, 0, 3), _high(2), _op(_EQUAL, 0, 0, 1), _op(_RETURN, _ALLOW))
        case "sendto":  # on a connected socket alone
            yield from (_low(4), _op(_EQUAL, 0, 0, 3), _high(4), _op(_EQUAL, 0, 0, 1), _op(_RETURN, _ALLOW))
        case "socketpair":  # a datagram pair could send to any socket with a name
            yield from (_low(1), _op(_AND, _SOCK_TYPE), _op(_EQUAL, _SOCK_STREAM, 0, 1), _op(_RETURN, _ALLOW))
        case "tgkill":
            yield from (_low(0), _op(_EQUAL, os.getpid(), 0, 1), _op(_RETURN, _ALLOW))
    yield _op(_RETURN, _ERRNO | errno.EPERM)


def _answer(number: int | None, answer: int) -> Iterator[bytes]:
    if number is not None:
        yield from (_op(_EQUAL, number, 0, 1), _op(_RETURN, answer))


def _low(argument: int) -> bytes:
    return _op(_LOAD, _ARGS + 8 * argument)


def _high(argument: int) -> bytes:
    return _op(_LOAD, _ARGS + 8 * argument + 4)


def _op(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, k)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(filter_: bytes) -> None:
    """Put the filter in force, for this process and all it becomes. Raises `EngineError` where that fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    made = _Program(len(filter_) // 8, filter_)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise EngineError(f"no sandbox: no_new_privs was refused ({os.strerror(ctypes.get_errno())})")
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(made), 0, 0):
        raise EngineError(f"no sandbox: this kernel takes no seccomp filter ({os.strerror(ctypes.get_errno())})")
