"""The tools that come with PersLM, by what this daemon has: one place that says which there are.

What is switched off, or lacks a part, stays out with its reason.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import anyio.to_thread

from perslm_daemon.approvals import Approvals
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_tools import Tools as Config
from perslm_daemon.home import Home
from perslm_daemon.recollection import Recollection
from perslm_daemon.schedule import Schedule
from perslm_daemon.tool_boxes import add_commands, add_files, add_web
from perslm_daemon.tool_desk import Desk
from perslm_daemon.tool_home import add_home
from perslm_daemon.tool_lookups import Notes, add_calculator, add_clock, add_lists, add_notes
from perslm_daemon.tool_parts import add_memory, add_timers
from perslm_daemon.tool_workers import Workers
from perslm_daemon.tools import Limits, Tools

_SANDBOXED = frozenset(("files", "web", "commands"))


@dataclass(frozen=True, slots=True)
class Parts:
    """What the tools stand on; None where this daemon does not have it."""

    data_dir: Path
    now: Callable[[], datetime | None]
    schedule: Schedule | None = None
    recollection: Recollection | None = None
    home: Home | None = None


async def add_tools(tools: Tools, config: Config, workers: Workers, parts: Parts) -> None:
    """Register every tool that is enabled and has what it needs."""
    limits = Limits(config.seconds, config.memory_mb)
    notes = Notes(parts.data_dir / "notebook", workers, limits, parts.now)
    schedule, recollection, home = parts.schedule, parts.recollection, parts.home
    desk = Desk(tools, workers, parts.now, home, schedule, recollection)
    waits = Limits(memory_mb=config.memory_mb)  # a shutter, or a device that is silent, takes longer than a sum

    def boxes(add: Callable[[Tools, Config, Workers], None]) -> Callable[[], None]:
        return lambda: add(tools, config, workers)

    families: dict[str, Callable[[], None] | None] = {
        "calculator": lambda: add_calculator(tools, workers, limits),
        "clock": lambda: add_clock(tools, workers, limits, parts.now),
        "notes": lambda: add_notes(tools, notes),
        "lists": lambda: add_lists(tools, notes),
        "timers": None if schedule is None else lambda: add_timers(desk, waits),
        "memory": None if recollection is None else lambda: add_memory(desk, waits),
        "home": None if home is None else lambda: add_home(desk, waits),
        "files": boxes(add_files),
        "web": boxes(add_web),
        "commands": boxes(add_commands),
    }

    def add() -> None:
        if {"notes", "lists"} & set(config.enabled):
            notes.open()
        for family, register in families.items():
            if family not in config.enabled:
                tools.withdraw(family, f"it is switched off: put {family} into tools.enabled")
            elif register is None:
                tools.withdraw(family, "the part that it needs did not start: `perslm status` says why")
            else:
                register()

    await anyio.to_thread.run_sync(add)  # folders, programs and time zones are looked for on the disk


@asynccontextmanager
async def open_tools(config: Config, bulletin: Bulletin, parts: Parts) -> AsyncIterator[Tools]:
    """The registry with every tool that there is; leaving ends what runs in the sandbox."""
    async with Workers(config.private) as workers:
        tools = Tools(bulletin, Approvals(bulletin, config.approval_s))
        await add_tools(tools, config, workers, parts)
        if any(one.family in _SANDBOXED for one in tools.manifests):
            workers.warm("perslm_daemon.tool_files", "perslm_daemon.tool_web")
        yield tools
