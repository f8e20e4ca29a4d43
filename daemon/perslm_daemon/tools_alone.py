"""What a turn without a daemon can do besides talk: the everyday skills, and the tools that need no running part.

They go the way of the daemon's turn: skills first, then sentences for tools, each call in the sandbox.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import anyio.to_thread

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.clock import clocks
from perslm_daemon.config_sections import Config
from perslm_daemon.home_strange import NoHome
from perslm_daemon.skills import Skills, alone
from perslm_daemon.tool_table import Parts, open_tools
from perslm_daemon.tool_talk import ToolTalk
from perslm_daemon.turn import Answered, Ask, Gathered
from perslm_runtime.lane import Lane
from perslm_runtime.when import local_time

_FAMILIES = ("calculator", "clock")  # notes and lists are the running daemon's to write


@dataclass(frozen=True, slots=True)
class Alone:
    """Asks the skills, then the tools; given to a pipeline as its skills."""

    skills: Skills
    talk: ToolTalk
    home: NoHome | None = None

    async def __call__(self, ask: Ask) -> Answered | Gathered | None:
        """The first answer there is."""
        for one in (self.skills, self.talk, self.home):
            if one is not None and (answered := await one(ask)) is not None:
                return answered
        return None


@asynccontextmanager
async def of(config: Config, recognizer: Lane[Any] | None) -> AsyncIterator[Alone | None]:
    """The skills, by what understands sentences, and the tools; None where nothing understands them.

    Leaving ends what runs in the sandbox.
    """
    if recognizer is None:
        yield None
        return
    clock, zone = await anyio.to_thread.run_sync(clocks, config.timers.trust_clock)

    def now() -> datetime | None:
        return local_time(clock.wall_s(), zone) if clock.known() else None

    enabled = tuple(one for one in config.tools.enabled if one in _FAMILIES)
    wanted = replace(config.tools, enabled=enabled)
    async with open_tools(wanted, Bulletin(), Parts(config.data_dir, now)) as tools:
        home = NoHome(recognizer, "a running `perslm run` does") if config.stt.language == "en" else None
        yield Alone(alone(recognizer, now, config.stt.language), ToolTalk(tools), home)
