"""The process that test_schedule.py kills: it sets and cancels timers, and reports each when it is done."""

from __future__ import annotations

import itertools
import os
import sys
from datetime import UTC
from pathlib import Path

import anyio

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.clock import SystemClock
from perslm_daemon.config_sections import Timers
from perslm_daemon.schedule import NoSound, Schedule
from perslm_daemon.schedule_file import Kind, ScheduleFile


async def main(folder: Path) -> None:
    file = ScheduleFile(folder / "timers.json")
    clock = SystemClock(trusted=True)
    schedule = Schedule(Timers(), file, clock, UTC, Bulletin(), NoSound())
    await schedule.open()
    print("ready", flush=True)  # noqa: T201 - the parent process reads this
    for number in itertools.count():
        item = await schedule.add(Kind.TIMER, seconds=5000, name=f"{os.getpid()}-{number}")
        print("set", item.name, flush=True)  # noqa: T201 - as above
        if len(schedule.views()) > 20:
            oldest = schedule.views()[0].item
            print("cancelling", oldest.name, flush=True)  # noqa: T201 - as above
            await schedule.cancel([oldest])
            print("cancelled", oldest.name, flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
