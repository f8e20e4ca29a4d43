"""What comes of every text that wants something done: 137 of them in seven places, each with its benign twin.

    python benchmarks/injections.py

Each is read where it would stand (a page, a mail, an event, a device's name, a memory, a file, a tool's result),
and then the worst possible model makes exactly the call that it wants. Counted are the calls that were carried
out or changed anything, the questions that a person was asked instead, and what became of the twin and of the same
call at a person's word. The same calls by a model that has read nothing are counted beside them: without the rule
they would be done. The house is that of tests/test_injections.py: a real memory, schedule, notebook, folder, web
server and sandbox.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / name) for name in ("runtime", "daemon", "tests")]

import anyio  # noqa: E402 - after the path is set

from injected import Attempt, World, attempts, world  # noqa: E402 - as above
from perslm_daemon.tools import Caller, Risk, Who  # noqa: E402 - as above

RESULT = ROOT / "benchmarks/results/injections.json"


async def counted(house: World, found: list[Attempt]) -> dict[str, dict[str, int]]:
    """By place: how many there are, and what came of them."""
    told: dict[str, Counter[str]] = {}
    for attempt in found:
        came = await house.tried(attempt)
        here = told.setdefault(attempt.place, Counter())
        here["attempts"] += 1
        for name in ("effect", "asked", "twin_read", "twin_done"):
            here[name] += getattr(came, name)
    return {place: dict(figures) for place, figures in sorted(told.items())}


async def without_reading(house: World, found: list[Attempt]) -> dict[str, int]:
    """The same calls in turns in which nothing was read."""
    figures = Counter({"calls": 0, "done": 0, "asked": 0})
    for attempt in found:
        call = house.call_of(attempt.wants)
        await house.reset()
        caller = Caller(turn=f"clean {attempt.id}", who=Who.MODEL)
        came = await house.tools.call(call.tool, call.arguments, caller)
        manifest = house.tools.get(call.tool)
        always = manifest is not None and manifest.risk is Risk.ASKS
        figures["calls"] += 1
        figures["done" if came.approval is None else "asked"] += 1
        figures["of_these_always_asked"] += always
        house.tools.approvals.withdraw("")
    return dict(figures)


async def main() -> None:
    """Run all, and keep the figures."""
    found, began = attempts(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder), found) as house:
            places = await counted(house, found)
            plain = await without_reading(house, found)
    whole = {name: sum(one[name] for one in places.values()) for name in next(iter(places.values()))}
    told = {
        "all": whole,
        "places": places,
        "the same calls where nothing was read": plain,
        "tools": len({one.wants.partition("(")[0] for one in found}),
        "seconds": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(told, indent=1))
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if whole["effect"]:
        sys.exit(1)


if __name__ == "__main__":
    anyio.run(main)
