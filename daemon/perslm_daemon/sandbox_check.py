"""Does the sandbox hold on this machine: every act of sandbox_acts.py is tried in it, and without it.

`python -m perslm_daemon.sandbox_check [--json]` prints a line an act and ends with 1 where one got through. An act
that fails without the sandbox too proves nothing here, and is said to be not supported. Needs no daemon and no
configuration, changes nothing outside a temporary folder, and takes two to three seconds.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from perslm_daemon.sandbox_acts import ACTS, RACE, attempt
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Limits
from perslm_runtime import landlock
from perslm_runtime.errors import PersLMError, ToolRefused

_ENTRY = "perslm_daemon.sandbox_acts:attempt"
_GOOD = "perslm_daemon.sandbox_acts:well_behaved"
_LIMITS = Limits(seconds=20, memory_mb=512)
_RACE_S, _RACE_ALONE_S = 0.5, 5.0  # in the sandbox; without it, where it is won after some milliseconds
_ALONE_S = 60.0


class Holds(StrEnum):
    """What came of an act."""

    REFUSED = "refused"
    THROUGH = "NOT refused"
    UNKNOWN = "not supported"


@dataclass(frozen=True, slots=True)
class Tried:
    """An act, what came of it in the sandbox, and the words of the kernel or of what went wrong."""

    act: str
    holds: Holds
    why: str


@dataclass(frozen=True, slots=True)
class Aim:
    """What acts aim at: the folder of the tool, and files, sockets and a process that are none of its business."""

    folder: Path
    arguments: Mapping[str, Any]

    @property
    def secret(self) -> Path:
        """A file beside the folder."""
        return Path(self.arguments["secret"])

    def set_up(self) -> None:
        """Put everything back as it was before an act."""
        self.secret.with_name("made").unlink(missing_ok=True)
        Path(self.arguments["victim"]).write_text("here", encoding="utf-8")

    @property
    def touched(self) -> bool:
        """Whether something outside the folder is not as it was, whatever the act said."""
        return self.secret.with_name("made").exists() or not Path(self.arguments["victim"]).exists()


@contextmanager
def aims(root: Path) -> Iterator[Aim]:
    """Make in the folder what acts aim at; the process and the sockets end with the block."""
    folder, outside = root / "folder", root / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("the secret", encoding="utf-8")
    (folder / "link").symlink_to(outside / "secret")
    with _target() as pid, _sockets(outside) as sockets:
        address = _readable_address(pid)
        named = {"folder": str(folder), "secret": str(outside / "secret"), "victim": str(outside / "victim")}
        aim = Aim(folder, {**named, **sockets, "pid": pid, "address": address})
        aim.set_up()
        yield aim


@contextmanager
def _target() -> Iterator[int]:
    """A process to trace, read and signal."""
    process = subprocess.Popen(["sleep", "600"])
    try:
        while Path(f"/proc/{process.pid}/comm").read_text(encoding="utf-8") != "sleep\n":  # until then it is we
            time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextmanager
def _sockets(folder: Path) -> Iterator[dict[str, Any]]:
    """What can be reached here without a sandbox: a TCP port that greets, a stream and a datagram socket."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as stream,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        stream.bind(str(folder / "stream"))
        stream.listen()
        datagrams.bind(str(folder / "datagrams"))
        thread = threading.Thread(target=_greet, args=(server,))
        thread.start()
        try:
            yield {
                "port": server.getsockname()[1],
                "unix": str(folder / "stream"),
                "datagrams": str(folder / "datagrams"),
            }
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _greet(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return  # it is over
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            while connection.recv(4096):  # closed with a request unread, it would be a reset
                pass


def _readable_address(pid: int) -> int:
    """Of something that can be read in the process, 0 where not even its map can."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            if " r" in line:
                return int(line.partition("-")[0], 16)
    return 0


@contextmanager
def _swapping(aim: Aim) -> Iterator[None]:
    """Somebody swaps a name in the folder between a file and a link to the secret, as fast as they can."""
    ended = threading.Event()
    file, link, swapped = aim.folder / "file.txt", aim.folder / "to-secret", aim.folder / "swapped"

    def swap() -> None:
        while not ended.is_set():
            file.write_text("harmless", encoding="utf-8")
            file.replace(swapped)
            link.symlink_to(aim.secret)
            link.replace(swapped)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@asynccontextmanager
async def _swapped(aim: Aim) -> AsyncIterator[None]:
    """The same beside an event loop, which does not wait for the thread."""
    swapping = _swapping(aim)
    await anyio.to_thread.run_sync(swapping.__enter__)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(swapping.__exit__, None, None, None)


def without_sandbox(aim: Aim) -> dict[str, str]:
    """What comes of each act in a process without a sandbox: "through: ..." or "refused: ...". Blocks."""
    aim.set_up()
    command = [sys.executable, "-P", "-m", "perslm_daemon.sandbox_acts", json.dumps(dict(aim.arguments))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_ALONE_S, check=False)
    told: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    with _swapping(aim):
        told[RACE] = attempt({**aim.arguments, "act": RACE, "seconds": _RACE_ALONE_S}, None)
    return told


async def in_the_sandbox(workers: Workers, aim: Aim, act: str, readable: Sequence[Path] = ()) -> Tried:
    """Try one act in the sandbox; `readable` opens more of the disk to it."""
    await anyio.to_thread.run_sync(aim.set_up)
    writes = act != RACE
    box = Box(_ENTRY, aim.folder, writes=writes, readable=tuple(readable), preload=True)
    arguments = {**aim.arguments, "act": act, "seconds": _RACE_S}
    try:
        async with _swapped(aim) if act == RACE else nullcontext():
            text = (await workers.run(box, arguments, _LIMITS)).text
    except ToolRefused as ended:  # the kernel ended it, or it is no act at all
        broken = "bug in it" in str(ended)
        return Tried(act, Holds.UNKNOWN if broken else Holds.REFUSED, str(ended))
    said, _, why = text.partition(": ")
    touched = await anyio.to_thread.run_sync(lambda: aim.touched)
    return Tried(act, Holds.THROUGH if said != "refused" or touched else Holds.REFUSED, why)


def proven(tried: Tried, alone: str) -> Tried:
    """The same, unless the act fails without a sandbox too: then its refusal proves nothing."""
    if tried.holds is Holds.REFUSED and not alone.startswith("through"):
        why = alone.partition(": ")[2] or "it could not be tried"
        return Tried(tried.act, Holds.UNKNOWN, f"fails here without a sandbox too: {why}")
    return tried


async def try_all(folder: Path) -> list[Tried]:
    """Try every act, its aims in the empty folder. Raises `ToolRefused` where tools do not run here at all."""
    made = aims(folder)
    aim = await anyio.to_thread.run_sync(made.__enter__)
    try:
        alone = await anyio.to_thread.run_sync(without_sandbox, aim)
        async with Workers() as workers:
            # A sandbox in which nothing works would refuse every act.
            await workers.run(Box(_GOOD, aim.folder, writes=True, preload=True), aim.arguments, _LIMITS)
            return [proven(await in_the_sandbox(workers, aim, act), alone.get(act, "")) for act in ACTS]
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(made.__exit__, None, None, None)


def check() -> list[Tried]:
    """Try every act in a folder that is removed afterwards. Blocks; raises as `try_all`."""
    with tempfile.TemporaryDirectory(prefix="perslm-check-") as folder:
        return anyio.run(try_all, Path(folder).resolve())


def report(tried: Sequence[Tried]) -> dict[str, Any]:
    """The same for programs: `ok` is false where an act got through."""
    return {
        "ok": not any(one.holds is Holds.THROUGH for one in tried),
        "machine": os.uname().machine,
        "landlock": landlock.version(),
        "acts": [{"act": one.act, "holds": one.holds.value, "why": one.why} for one in tried],
    }


def lines(tried: Sequence[Tried]) -> Iterator[str]:
    """The same for people: a line an act, and what it comes to."""
    for one in tried:
        yield f"{one.holds.value:<13}  {one.act:<24}  {one.why}"
    counts = {holds: sum(one.holds is holds for one in tried) for holds in Holds}
    yield ", ".join(f"{count} {holds.value}" for holds, count in counts.items())


def main() -> int:
    """Print what came of the acts; 1 where one got through, 2 where tools do not run here."""
    try:
        tried = check()
    except PersLMError as error:
        sys.stderr.write(f"no tool runs here: {error}\n")
        return 2
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps(report(tried)) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(tried)))
    return 0 if report(tried)["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
