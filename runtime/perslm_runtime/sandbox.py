"""The sandbox of one tool call: Landlock, seccomp, limits and no privileges, entered by a process for good.

There is no half sandbox: where one part is refused, entering raises and the tool does not run. A process in it
has no network calls at all; a connection is handed to it by who checked where it goes (tool_workers.py in the
daemon).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from perslm_runtime import landlock, seccomp
from perslm_runtime.errors import EngineError

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP = 1, 24
_CAPSET_CAPGET = {"x86_64": (126, 125), "aarch64": (91, 90)}
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 40
_FILE_BYTES = 16 << 20
_OPEN_FILES = 64
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/localtime")
_CERTIFICATES = ("/etc/ssl", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/pki")
_FIGURES = tuple(
    f"/proc/{name}" for name in ("cpuinfo", "loadavg", "meminfo", "stat", "uptime", "version", "self")
)
_HARDWARE = ("/sys/class", "/sys/devices", "/sys/firmware/devicetree", "/etc/os-release", "/etc/ld.so.cache")
_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-x86_64.so.1")


def _python_paths() -> list[Path]:
    """Where modules are imported from. A folder of the present place ("") is none of them."""
    paths = {Path(path) for path in sys.path if path.startswith("/")}
    paths |= {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return [path for path in paths if path != Path("/")]


_PYTHON = _python_paths()  # once: looking them up takes 5 ms


@dataclass(frozen=True, slots=True)
class Policy:
    """What a call may touch: a folder (`writes` in it), more that is `readable`, one `program` to become.

    `memory_mb` bounds its address space, `seconds` the processor time.
    """

    folder: Path | None = None
    writes: bool = False
    readable: tuple[Path, ...] = ()
    program: Path | None = None
    memory_mb: int = 256
    seconds: float = 10.0


def require() -> None:
    """Raise `EngineError`, with what is missing, where this machine cannot sandbox."""
    seccomp.machine()
    landlock.require()


def enter(policy: Policy) -> None:
    """Enter the sandbox; nothing leads out of it. Raises `EngineError` where a part is refused."""
    require()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.chdir(policy.folder or "/")
    _limit(policy)
    _drop_privileges(libc)
    landlock.restrict(_allowed(policy))
    seccomp.install(seccomp.program(becomes_another=policy.program is not None))


def _allowed(policy: Policy) -> list[tuple[Path, int]]:
    read = landlock.READ
    allowed = [(Path(path), read) for path in (*_SYSTEM, *_CERTIFICATES)]
    allowed += [(path, read) for path in _PYTHON]
    allowed += [(path, read) for path in policy.readable]
    allowed += [(Path("/dev/null"), read | landlock.WRITE_FILE), (Path("/dev/urandom"), read)]
    if policy.folder is not None:
        allowed.append((policy.folder, landlock.WRITE if policy.writes else read))
    if policy.program is not None:
        runs = read | landlock.EXECUTE
        allowed += [(policy.program, runs), *((Path(loader).resolve(), runs) for loader in _LOADERS)]
        allowed += [(Path(path), read) for path in (*_FIGURES, *_HARDWARE)]
    return allowed


def _limit(policy: Policy) -> None:
    seconds = max(1, round(policy.seconds + 0.5))
    for what, most in (
        (resource.RLIMIT_AS, policy.memory_mb << 20),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (wanted, wanted))


def _drop_privileges(libc: ctypes.CDLL) -> None:
    """Give up every capability: as root, files of others and the like would still be open."""
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused to who has none to drop
    capset, capget = _CAPSET_CAPGET[os.uname().machine]
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    if libc.syscall(capset, header, none):
        # The service's filter refuses the call itself; there is nothing to give up there.
        why, held = os.strerror(ctypes.get_errno()), ctypes.create_string_buffer(b"\xff" * 24, 24)
        if libc.syscall(capget, header, held) or held.raw != none:
            raise EngineError(f"no sandbox: privileges were not given up ({why})")
