"""Whether a new release of PersLM is well, and the way back where it is not. Stands outside every release.

    /opt/perslm -> perslm-releases/NAME        changed by one rename
    /var/lib/perslm-release/book.json          the release on trial, what was refused, the latest steps

Runs from the change-over until the release has been well for two minutes, and again at every start until then.
Only the standard library: the release on trial may be broken in any way.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERVICE = "perslm.service"
_MOST_STARTS = 3  # of the board, with the same release on trial
_MOST_ENDS = 3  # of the service
_WELL_S = 120.0
_DEADLINE_S = 1800.0  # emulation and a Zero 2 W take minutes to READY
_LOOK_S = 5.0
_HISTORY = 50
_MEMORY = ("memory.db", "memory.db-wal")
_SQLITE = b"SQLite format 3\0"


def _systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=600)
    return done.stdout


@dataclass(slots=True)
class Machine:
    """The board under `root`. `systemctl` and the clock are the system's."""

    root: Path = Path("/")
    systemctl: Callable[..., str] = field(default=_systemctl)
    sleep: Callable[[float], None] = field(default=time.sleep)
    clock: Callable[[], float] = field(default=time.monotonic)

    @property
    def link(self) -> Path:
        """What everything is started through."""
        return self.root / "opt/perslm"

    @property
    def releases(self) -> Path:
        """One folder for each release."""
        return self.root / "opt/perslm-releases"

    @property
    def state(self) -> Path:
        """What is known, and the memory as it was before the trial."""
        return self.root / "var/lib/perslm-release"

    @property
    def data(self) -> Path:
        """The service's folder."""
        return self.root / "var/lib/perslm"

    def current(self) -> str:
        """The release in force; "" where PersLM was not installed as one."""
        return self.link.readlink().name if self.link.is_symlink() else ""


def read(machine: Machine) -> dict[str, Any]:
    """The book: `trial` (name, former, starts) or None, `refused` by name, `history`."""
    try:
        book = json.loads((machine.state / "book.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        book = {}
    return {"trial": None, "refused": {}, "history": [], **(book if isinstance(book, dict) else {})}


def write(machine: Machine, book: dict[str, Any]) -> None:
    """Keep the book, durably and in one rename."""
    machine.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = machine.state / ".book.json.new"
    with fresh.open("w", encoding="utf-8") as file:
        file.write(json.dumps({**book, "history": book["history"][-_HISTORY:]}, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(machine.state / "book.json")
    _sync(machine.state)


def note(book: dict[str, Any], step: str, name: str, why: str = "") -> None:
    """One more line of the history, and of the journal."""
    book["history"].append({"at": round(time.time()), "step": step, "name": name, "why": why})
    print(f"{step} {name}{': ' + why if why else ''}", flush=True)


def point(machine: Machine, name: str) -> None:
    """Let /opt/perslm be the release `name`, by one rename."""
    fresh = machine.link.with_name(".perslm.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path(machine.releases.name) / name)
    fresh.replace(machine.link)
    _sync(machine.link.parent)


def change_over(machine: Machine, name: str) -> None:
    """Put `name` on trial: the way back is on the disk before anything changes. The service is started anew."""
    book = read(machine)
    machine.systemctl("stop", SERVICE)
    keep_memory(machine)
    book["trial"] = {"name": name, "former": machine.current(), "starts": 0}
    note(book, "on trial", name)
    write(machine, book)
    point(machine, name)
    machine.systemctl("restart", "--no-block", SERVICE)


def keep_memory(machine: Machine) -> None:
    """A copy of the memory, with owner and mode: a newer release may give it a form that an older cannot read."""
    before = machine.state / "memory-before"
    shutil.rmtree(before, ignore_errors=True)
    before.mkdir(parents=True, mode=0o700)
    for name in _MEMORY:
        if (machine.data / name).is_file():
            _copy(machine.data / name, before / name)
    _sync(before)


def give_memory_back(machine: Machine) -> bool:
    """Put the copy in place where the memory's form has changed, or cannot be told (it is encrypted)."""
    before = machine.state / "memory-before"
    if not (before / _MEMORY[0]).is_file() or _same_form(machine.data / _MEMORY[0], before / _MEMORY[0]):
        return False
    for name in _MEMORY:
        if (before / name).is_file():
            _copy(before / name, machine.data / f".{name}.back")
            (machine.data / f".{name}.back").replace(machine.data / name)
        else:
            (machine.data / name).unlink(missing_ok=True)
    (machine.data / "memory.db-shm").unlink(missing_ok=True)
    return True


def _same_form(now: Path, before: Path) -> bool:
    if now.with_name(f"{now.name}-wal").is_file() and now.with_name(f"{now.name}-wal").stat().st_size:
        return False  # what is in there may be the change
    heads = []
    for path in (now, before):
        with path.open("rb") as file:
            heads.append(file.read(64))
    return all(head.startswith(_SQLITE) for head in heads) and heads[0][60:64] == heads[1][60:64]


def go_back(machine: Machine, why: str) -> None:
    """To the former release; the one on trial is not taken again. Every step can be repeated."""
    book = read(machine)
    trial = book["trial"]
    trial["back"] = why  # a plug pulled from here on must not begin the trial again
    write(machine, book)
    machine.systemctl("stop", SERVICE)
    point(machine, trial["former"])
    if give_memory_back(machine):
        note(book, "memory", trial["former"], "as it was before the trial")
    book["refused"] = {**book["refused"], trial["name"]: why}
    book["trial"] = None
    note(book, "went back", trial["former"], f"{trial['name']}: {why}")
    write(machine, book)
    machine.systemctl("reset-failed", SERVICE)
    machine.systemctl("restart", "--no-block", SERVICE)


def keep(machine: Machine) -> None:
    """The release stays; older ones than it and the one before go."""
    book = read(machine)
    trial = book["trial"]
    note(book, "kept", trial["name"])
    book["trial"] = None
    book["former"] = trial["former"]
    write(machine, book)
    for folder in machine.releases.iterdir():
        if folder.name not in (trial["name"], trial["former"]):
            shutil.rmtree(folder)
    shutil.rmtree(machine.state / "memory-before", ignore_errors=True)


def watch(machine: Machine) -> str:
    """Follow the release on trial to its end; returns "kept", why it went back, or "" where there is none."""
    book = read(machine)
    trial = book["trial"]
    if trial is None:
        return ""
    if "back" in trial:
        go_back(machine, trial["back"])
        return str(trial["back"])
    if machine.current() != trial["name"]:  # the plug was pulled between the book and the link
        point(machine, trial["name"])
        machine.systemctl("restart", "--no-block", SERVICE)
    trial["starts"] += 1
    write(machine, book)
    why = f"the board was started {_MOST_STARTS} times and it was never well"
    if trial["starts"] <= _MOST_STARTS:
        why = _unwell(machine)
    if why:
        go_back(machine, why)
        return why
    keep(machine)
    return "kept"


def _unwell(machine: Machine) -> str:
    """Why the release is not well; "" once the service has been active for two minutes without an end."""
    begin, since, ends = machine.clock(), None, 0
    while machine.clock() - begin < _DEADLINE_S:
        shown = machine.systemctl("show", "--property=ActiveState,NRestarts,Result", SERVICE)
        now = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        state, restarts = now.get("ActiveState", ""), int(now.get("NRestarts") or 0)
        # A process that ends within milliseconds is never seen, and under the backoff minutes pass between two.
        if restarts != ends:
            ends, since = restarts, None
        if ends >= _MOST_ENDS:
            return f"it ended {ends} times"
        if state == "failed":
            return f"it failed ({now.get('Result', '')})"
        if state != "active":
            since = None
        elif since is None:
            since = machine.clock()
        elif machine.clock() - since >= _WELL_S:
            return ""
        machine.sleep(_LOOK_S)
    return f"it was not ready within {_DEADLINE_S / 60:.0f} minutes"


def _copy(source: Path, target: Path) -> None:
    shutil.copy2(source, target)
    found = source.stat()
    if os.geteuid() == 0:
        os.chown(target, found.st_uid, found.st_gid)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(words: list[str]) -> int:
    """`watch` follows a trial; `change-over NAME` begins one; `back WHY` ends it by hand."""
    machine = Machine()
    if words[:1] == ["--root"]:
        if words[1] != "/":  # a folder: no system is told anything
            machine = Machine(Path(words[1]), systemctl=lambda *_words: "")
        words = words[2:]
    match words:
        case ["watch"]:
            print(watch(machine) or "no release is on trial", flush=True)
        case ["change-over", name] if (machine.releases / name / "bin/perslm").is_file():
            change_over(machine, name)
        case ["back", why] if read(machine)["trial"] is not None:
            go_back(machine, why)
        case _:
            print(f"not understood: {words}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
