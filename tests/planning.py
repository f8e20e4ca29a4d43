"""A house that can be spoken to and plans what is for later, with a clock that is set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio

from clocks import SetClock
from house import until
from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.config_sections import Timers
from perslm_daemon.home_plans import Plans
from perslm_daemon.planned import Planned
from perslm_daemon.schedule import NoSound, Schedule
from perslm_daemon.schedule_file import ScheduleFile, State
from perslm_daemon.settings import Settings
from perslm_daemon.skills import Skills
from perslm_daemon.turn import Answered, Ask
from test_home_intents import Here, here

BERLIN = ZoneInfo("Europe/Berlin")


class Told(Bulletin):
    """A bulletin that keeps every event."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Happening] = []

    def _tell(self, notice: object) -> None:
        if isinstance(notice, Happening):
            self.events.append(notice)


@dataclass
class Room:
    """A house that can be spoken to, with a clock that is set by hand."""

    folder: Path
    house: Here
    clock: SetClock
    schedule: Schedule
    skills: Skills
    bulletin: Told
    aloud: list[str] = field(default_factory=list)

    async def ask(self, text: str, **more: str) -> Answered | None:
        ask = Ask(text, **{"conversation": "one", **more})  # type: ignore[arg-type]  # words all
        if self.house.skill.waits(ask) and (answered := await self.house.skill(ask)) is not None:
            return answered
        return await self.skills(ask) or await self.house.skill(ask)

    async def say(self, text: str, **more: str) -> str:
        """The answer; "-" where the sentence is somebody else's."""
        answered = await self.ask(text, **more)
        return "-" if answered is None else answered.text

    async def pass_(self, seconds: float) -> None:
        """Time passes, and what is due then is done."""
        self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Look at the clock until nothing is being done."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.schedule.run)
            await self.schedule.look()
            await until(lambda: all(view.item.state is not State.DOING for view in self.schedule.views()))
            tasks.cancel_scope.cancel()

    def states(self) -> dict[str, str]:
        return {view.item.name: view.item.state.value for view in self.schedule.views()}

    async def restart(self) -> None:
        """PersLM ends and starts again; the house goes on."""
        self.schedule = await opened(self.folder, self.clock, self.bulletin)
        wire(self)


async def opened(folder: Path, clock: SetClock, bulletin: Bulletin) -> Schedule:
    file = ScheduleFile(folder / "timers.json")
    schedule = Schedule(Timers(late_s=3600), file, clock, BERLIN, bulletin, NoSound())
    await schedule.open()
    return schedule


def wire(room: Room) -> None:
    async def aloud(text: str) -> None:
        room.aloud.append(text)

    skill, schedule = room.house.skill, room.schedule
    skill.plans = plans = Plans(skill.recognizer, room.house.home, schedule, room.bulletin)
    schedule.worker, schedule.aloud = plans.work, aloud
    room.skills = Skills(skill.recognizer, schedule, Settings(room.bulletin, {}), room.bulletin, schedule.now)
    room.skills.planned = Planned(plans)


@asynccontextmanager
async def room(folder: Path, *, known: bool = True) -> AsyncIterator[Room]:
    clock, bulletin = SetClock("2026-11-27T20:10:00+01:00", known=known), Told()
    async with here(folder) as house:
        house.home.settled()
        schedule = await opened(folder, clock, bulletin)
        skills = Skills(house.skill.recognizer, schedule, Settings(bulletin, {}), bulletin, schedule.now)
        made = Room(folder, house, clock, schedule, skills, bulletin)
        wire(made)
        yield made
