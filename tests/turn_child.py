"""The process that test_turn_crash.py kills: it answers question after question and reports each when done."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import anyio

from perslm_daemon.app import start
from perslm_daemon.config import Flags, load
from perslm_daemon.turn import Ask, Event


async def ignore(_event: Event) -> None:
    """Only the finished turn counts here."""


async def main(folder: Path, settings: list[str]) -> None:
    config = load(Flags(data_dir=folder, profile="dev", settings=tuple(settings)))
    async with start(config) as assistant:
        print("ready", flush=True)  # noqa: T201 - the parent process reads this
        for number in itertools.count():
            turn = await assistant.pipeline.ask(Ask(f"What is {number} plus {number}?"), ignore)
            done = {"id": turn.remembered_as, "said": turn.heard, "reply": turn.reply}
            print(json.dumps(done), flush=True)  # noqa: T201 - the parent process reads this


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2:])
