"""What a tool gone bad would try: each act alone, for a child in the sandbox, and the same without one.

An act returns a text when it got through and raises `OSError` or `MemoryError` when it was refused; in the sandbox
each has to be. `arguments` name a process, a port or a file to aim at (sandbox_check.py makes them). Run as a
program it tries every act without a sandbox: one that fails there too proves nothing.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

_LIBC = ctypes.CDLL(None, use_errno=True)
_PTRACE_ATTACH, _PTRACE_DETACH = 16, 17
_X86 = os.uname().machine == "x86_64"
_CLONE_NEWUTS, _CLONE_NEWUSER = 0x04000000, 0x10000000


def _system(number: int, *arguments: object) -> int:
    whole = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(_LIBC.syscall(ctypes.c_long(number), *whole))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def read_outside(arguments: Mapping[str, Any], _world: Any) -> str:
    """Read a file beside the folder."""
    return Path(arguments["secret"]).read_text(encoding="utf-8")


def list_outside(arguments: Mapping[str, Any], _world: Any) -> str:
    """See what there is beside the folder."""
    return " ".join(os.listdir(Path(arguments["secret"]).parent))  # noqa: PTH208 - as plain as can be


def write_outside(arguments: Mapping[str, Any], _world: Any) -> str:
    """Make a file beside the folder."""
    Path(arguments["secret"]).with_name("made").write_text("x", encoding="utf-8")
    return "written"


def remove_outside(arguments: Mapping[str, Any], _world: Any) -> str:
    """Remove a file beside the folder."""
    Path(arguments["victim"]).unlink()
    return "removed"


def follow_link(arguments: Mapping[str, Any], world: Any) -> str:
    """A link that lies in the folder and leads out."""
    return (Path(arguments["folder"]) / "link").read_text(encoding="utf-8")


def make_link(arguments: Mapping[str, Any], _world: Any) -> str:
    """Make such a link, and read it."""
    place = Path(arguments["folder"]) / "own-link"
    place.symlink_to(arguments["secret"])
    try:
        return place.read_text(encoding="utf-8")
    finally:
        place.unlink()


def hard_link(arguments: Mapping[str, Any], _world: Any) -> str:
    """A second name in the folder for a file outside."""
    place = Path(arguments["folder"]) / "hard"
    os.link(arguments["secret"], place)
    place.unlink()
    return "linked"


def win_the_race(arguments: Mapping[str, Any], _world: Any) -> str:
    """Read a name that somebody swaps between a file and a link to the secret, until the secret comes."""
    until = time.monotonic() + arguments.get("seconds", 2)
    swapped = Path(arguments["folder"]) / "swapped"
    while time.monotonic() < until:
        try:
            if "secret" in (text := swapped.read_text(encoding="utf-8")):
                return text
        except OSError:
            pass
    raise TimeoutError("it never came")


def connect(arguments: Mapping[str, Any], _world: Any) -> str:
    """Reach a port of this machine."""
    with socket.socket() as made:
        made.connect(("127.0.0.1", int(arguments["port"])))
        return made.recv(16).decode()


def send_datagram(arguments: Mapping[str, Any], _world: Any) -> str:
    """Send what needs no connection."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"x", ("127.0.0.1", int(arguments["port"])))
    return "sent"


def listen(_arguments: Mapping[str, Any], _world: Any) -> str:
    """Wait for others to connect."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
    return "listens"


def use_unix_socket(arguments: Mapping[str, Any], _world: Any) -> str:
    """Reach a service of this machine by its file."""
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(arguments["unix"])
    return "connected"


def pair_that_sends_anywhere(arguments: Mapping[str, Any], _world: Any) -> str:
    """A pair of datagram sockets is made without a name, and can send to any that has one."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"x", arguments["datagrams"])
    return "sent"


def fork_bomb(_arguments: Mapping[str, Any], _world: Any) -> str:
    """As many processes as it gets, at most eight: one is one too many."""
    made = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        made.append(pid)
    for pid in made:
        os.waitpid(pid, 0)
    return f"{len(made)} processes"


def vfork_or_clone3(_arguments: Mapping[str, Any], _world: Any) -> str:
    """The calls that hide what they make: clone3 takes its flags from memory."""
    flags = (ctypes.c_uint64 * 11)()
    flags[4] = signal.SIGCHLD
    pid = _system(435, ctypes.byref(flags), ctypes.sizeof(flags))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "made"


def start_a_program(_arguments: Mapping[str, Any], _world: Any) -> str:
    """Start any program."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return "started"


def eat_memory(_arguments: Mapping[str, Any], _world: Any) -> str:
    """Take more memory than it may have."""
    with mmap.mmap(-1, 1 << 31):
        return "2 GB"


def trace(arguments: Mapping[str, Any], _world: Any) -> str:
    """Stop another process and look into it."""
    pid = int(arguments["pid"])
    if _LIBC.ptrace(_PTRACE_ATTACH, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.waitpid(pid, 0)
    _LIBC.ptrace(_PTRACE_DETACH, pid, 0, 0)
    return "traced"


def read_its_memory(arguments: Mapping[str, Any], _world: Any) -> str:
    """Read another process's environment from /proc."""
    with open(f"/proc/{arguments['pid']}/environ", "rb") as file:  # noqa: PTH123 - as plain as can be
        return f"{len(file.read())} bytes"


def read_memory_by_call(arguments: Mapping[str, Any], _world: Any) -> str:
    """process_vm_readv of one byte: EFAULT for a wrong address is allowed, EPERM and ENOSYS are not."""
    text = (ctypes.c_char * 8)()
    vector = (ctypes.c_uint64 * 2)(ctypes.addressof(text), 8)
    far = (ctypes.c_uint64 * 2)(int(arguments["address"]), 8)
    number = 310 if _X86 else 270
    _system(number, int(arguments["pid"]), ctypes.byref(vector), 1, ctypes.byref(far), 1, 0)
    return "read"


def kill_another(arguments: Mapping[str, Any], _world: Any) -> str:
    """Send another process a signal that does no harm."""
    os.kill(int(arguments["pid"]), signal.SIGCONT)
    return "signalled"


def take_its_files(arguments: Mapping[str, Any], _world: Any) -> str:
    """pidfd_getfd would take an open connection out of another process."""
    opened = _system(434, int(arguments["pid"]), 0)
    taken = _system(438, opened, 0, 0)
    os.close(taken)
    os.close(opened)
    return "taken"


def leave_by_io_uring(_arguments: Mapping[str, Any], _world: Any) -> str:
    """Its requests are made by the kernel, past a filter of system calls."""
    parameters = (ctypes.c_char * 120)()
    os.close(_system(425, 4, ctypes.byref(parameters)))
    return "made"


def make_a_namespace(_arguments: Mapping[str, Any], _world: Any) -> str:
    """Leave for a namespace of its own."""
    _system(272 if _X86 else 97, _CLONE_NEWUTS)  # unshare: harmless where it succeeds
    return "made"


def become_somebody(_arguments: Mapping[str, Any], _world: Any) -> str:
    """Become another user."""
    os.setgid(65534)
    os.setuid(65534)
    return "became"


def make_a_device(arguments: Mapping[str, Any], _world: Any) -> str:
    """Make a file that is none: a pipe, where a device would lead to a disk."""
    place = Path(arguments["folder"]) / "pipe"
    os.mkfifo(place)
    place.unlink()
    return "made"


def run_from_memory(_arguments: Mapping[str, Any], _world: Any) -> str:
    """Make a file in memory, from which a program could be run."""
    os.close(os.memfd_create("program"))
    return "made"


def fill_the_disk(arguments: Mapping[str, Any], _world: Any) -> str:
    """A file of 64 MB with nothing in it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    place = Path(arguments["folder"]) / "large"
    with place.open("wb") as out:
        out.truncate(64 << 20)
    place.unlink()
    return "64 MB"


def raise_its_limits(_arguments: Mapping[str, Any], _world: Any) -> str:
    """Set its limits anew, be it to what they are."""
    now = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, now)
    except ValueError as error:  # Python's name for EPERM here
        raise PermissionError(errno.EPERM, str(error)) from error
    return "raised"


def make_a_user_namespace(_arguments: Mapping[str, Any], _world: Any) -> str:
    """In one of its own a process is root, and much more of the kernel is open to it."""
    _system(272 if _X86 else 97, _CLONE_NEWUSER)
    return "made"


def keep_a_key(_arguments: Mapping[str, Any], _world: Any) -> str:
    """The kernel's keyrings are shared by all processes of a person."""
    _system(248 if _X86 else 217, b"user", b"perslm-check", b"x", 1, -2)  # in this process's own ring
    return "kept"


RACE = "win_the_race"
_LAST = ("become_somebody", "make_a_user_namespace")  # after these the others would be somebody else's
_OURS = {
    name: act
    for name, act in list(globals().items())
    if callable(act) and getattr(act, "__module__", "") == __name__ and not name.startswith("_")
}
ACTS: Mapping[str, Callable[[Mapping[str, Any], Any], str]] = {
    name: _OURS[name] for name in (*sorted(set(_OURS) - set(_LAST)), *_LAST)
}
"""Every act by its name, in the order in which one process can try them all."""


def attempt(arguments: Mapping[str, Any], world: Any) -> str:
    """Try the act that `arguments` names: "through ..." or "refused ...". Any other error is its own."""
    try:
        return f"through: {ACTS[arguments['act']](arguments, world)}"
    except (OSError, MemoryError) as error:
        return (
            f"refused: {error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__}"
        )


def well_behaved(arguments: Mapping[str, Any], _world: Any) -> str:
    """Files of the folder, threads, time zones, certificates, numbers: all that a tool needs."""
    folder = Path(arguments["folder"])
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "sub/a.txt").write_text("hello", encoding="utf-8")
    (folder / "sub/a.txt").rename(folder / "sub/b.txt")
    heard: list[str] = []
    thread = threading.Thread(target=lambda: heard.append((folder / "sub/b.txt").read_text(encoding="utf-8")))
    thread.start()
    thread.join()
    (folder / "sub/b.txt").unlink()
    ssl.create_default_context()
    return f"{heard[0]} {ZoneInfo('Europe/Rome')}"


def main() -> None:
    """Try every act but the race without a sandbox, the arguments as JSON given; print what came of each."""
    aimed = json.loads(sys.argv[1])
    told = {name: attempt({**aimed, "act": name}, None) for name in ACTS if name != RACE}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
