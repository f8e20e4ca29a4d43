"""The process that sandboxed tools are forked from: small, warm, and with nothing of the daemon's in it.

`python -m perslm_daemon.tool_server FD`: jobs come over a socket, each with the channel on which its child and the
daemon speak; what is told back is how each child ended. It starts no thread, so that a fork is safe, knows no
word of an answer, and ends with the daemon, its children with it.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from perslm_daemon.tool_world import MOST_MESSAGE_BYTES, ToolError, World, route_sockets
from perslm_runtime import sandbox
from perslm_runtime.errors import PersLMError


@dataclass(slots=True)
class _Child:
    job: int
    pid: int
    until: float
    killed: bool = False


def serve(control: socket.socket) -> None:
    """Fork a child for each job until the daemon is gone."""
    children: dict[int, _Child] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            soonest = min((child.until for child in children.values() if not child.killed), default=None)
            for key, _ in selector.select(None if soonest is None else max(0.0, soonest - time.monotonic())):
                if key.fileobj is not control:
                    _reap(control, selector, children, key.fd)
                elif not _take(control, selector, children):
                    return
            for child in children.values():
                if not child.killed and child.until <= time.monotonic():
                    child.killed = True
                    os.kill(child.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own


def _take(control: socket.socket, selector: selectors.BaseSelector, children: dict[int, _Child]) -> bool:
    """One message of the daemon; False when it is gone."""
    data, handles, _, _ = socket.recv_fds(control, MOST_MESSAGE_BYTES, 2)
    if not data:
        return False
    job = json.loads(data)
    if "kill" in job:
        for child in children.values():
            if child.job == job["kill"] and not child.killed:
                child.killed = True
                os.kill(child.pid, signal.SIGKILL)
        return True
    for module in job.get("import", ()):
        importlib.import_module(module)
    if "id" not in job:
        return True
    if job.get("preload"):  # our own code: read once, before any fork
        importlib.import_module(job["entry"].partition(":")[0])
    pid = os.fork()
    if pid == 0:
        _run(job, handles)
    for handle in handles:
        os.close(handle)
    opened = os.pidfd_open(pid)
    selector.register(opened, selectors.EVENT_READ)
    children[opened] = _Child(job["id"], pid, time.monotonic() + job["policy"]["seconds"])
    return True


def _reap(
    control: socket.socket, selector: selectors.BaseSelector, children: dict[int, _Child], opened: int
) -> None:
    child = children.pop(opened)
    selector.unregister(opened)
    os.close(opened)
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    control.send(json.dumps({"id": child.job, "code": code, "killed": child.killed}).encode())


def _run(job: Mapping[str, Any], handles: Sequence[int]) -> NoReturn:
    """The child: nothing of this process is left to it, it answers once, and never returns."""
    channel = None
    try:
        kept = _only(handles)
        channel = socket.socket(fileno=kept[0])
        world = World(channel, _path(job["policy"]["folder"]))
        sandbox.enter(_policy(job["policy"]))
        if job["argv"]:
            channel.close()
            os.dup2(kept[1], 1)
            os.execve(job["argv"][0], job["argv"], {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
        if job["dials"]:
            route_sockets(world)
        module, _, name = job["entry"].partition(":")
        answer = getattr(importlib.import_module(module), name)(job["arguments"], world)
        world.tell({"answer": {"text": answer} if isinstance(answer, str) else answer})
    except BaseException as error:  # noqa: BLE001 - whatever it is, the child says so and ends
        told = str(error) if isinstance(error, ToolError | PersLMError) else ""
        _tell(channel, {"error": told, "kind": type(error).__name__})
    os._exit(0)


def _tell(channel: socket.socket | None, message: Mapping[str, Any]) -> None:
    try:
        if channel is not None:
            channel.send(json.dumps(message).encode("utf-8", "replace"))
    except OSError:
        pass  # then the daemon hears the end of the channel


def _only(handles: Sequence[int]) -> tuple[int, ...]:
    """Close every file but these, which become 3 and 4; the three standard ones lead nowhere."""
    high = [os.dup2(handle, 100 + number, inheritable=False) for number, handle in enumerate(handles)]
    kept = tuple(os.dup2(handle, 3 + number, inheritable=False) for number, handle in enumerate(high))
    nothing = os.open("/dev/null", os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.closerange(3 + len(kept), 256)
    return kept


def _policy(told: Mapping[str, Any]) -> sandbox.Policy:
    return sandbox.Policy(
        folder=_path(told["folder"]),
        writes=told["writes"],
        readable=tuple(map(Path, told["readable"])),
        program=_path(told["program"]),
        memory_mb=told["memory_mb"],
        seconds=told["seconds"],
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the daemon's to take
    with socket.socket(fileno=int(sys.argv[1])) as _control:
        serve(_control)
