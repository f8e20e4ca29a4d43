"""Benchmark of the home in words: sentences that were held apart, talk, and the time from a text to a command.

Beside it in the same run Home Assistant's own English sentences, resolved in the same way; and hassil as Home
Assistant uses it, with every name of the house in its lists.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from perslm_daemon.bench_row import Row
from perslm_daemon.bench_sentences import Judged, Noted, Said, Table, judge, learned, skill_of
from perslm_daemon.home_book import entries_of
from perslm_daemon.home_intents import HomeIntents
from perslm_daemon.terminal import note
from perslm_daemon.turn import Ask
from perslm_runtime.home_names import Kind
from perslm_runtime.home_stock import DOMAINS, WISHES, StockHome
from perslm_runtime.intents import StockSentences
from perslm_runtime.lane import Lane
from perslm_runtime.understanding import Understanding

_HERE = Path(__file__).parents[2]
HELD_APART = _HERE / "benchmarks/home_sentences.jsonl"
_NUMBERS = (*range(2, 17), *range(18, 35), *range(36, 46))
LATER = tuple(_HERE / f"benchmarks/home_sentences_{number}.jsonl" for number in _NUMBERS)
NEWEST = _HERE / "benchmarks/home_sentences_35.jsonl"
"""The newest of them, for bench_home_model.py; what it taught has been mended, too."""
TALK = _HERE / "tests/golden/chat.txt"
_TIMED = 60


class _Stock(Understanding):
    """Home Assistant's English sentences alone, with the same names and rooms."""

    def __init__(self) -> None:
        super().__init__("en")
        self._home, self._of_home = None, StockHome("en")


async def words() -> list[Row]:
    """How many sentences are right, how many do something wrong, and how talk fares."""
    if not HELD_APART.exists():
        note(f"perslm: no sentences: {HELD_APART.name} comes with the sources")
        return []
    table = await anyio.to_thread.run_sync(Table.read, HELD_APART)
    later = [await anyio.to_thread.run_sync(Table.read, file) for file in LATER]
    talk = (await anyio.to_thread.run_sync(TALK.read_text)).splitlines()
    ours, our_talk, _ = await _run(table, talk, stock=False)
    theirs, their_talk, hassil_ms = await _run(table, talk, stock=True)
    for more in later:
        ours += (await _run(more, (), stock=False))[0]
        theirs += (await _run(more, (), stock=True))[0]
    what, count = "Home Assistant's own English sentences (hassil), the same resolving", len(ours)
    rows = [
        Row(f"sentences right of {count}", "%", right_percent(ours), right_percent(theirs), what),
        Row(f"sentences with a wrong action of {count}", "%", wrong_percent(ours), wrong_percent(theirs), what),
        Row(f"sentences right of {count}", "%", right_percent(ours), 97.0, "the least there should be"),
        Row(f"sentences with a wrong action of {count}", "%", wrong_percent(ours), 0.5, "the most there may be"),
        Row(f"talk that acts, of {len(talk)}", "%", wrong_percent(our_talk), wrong_percent(their_talk), what),
        Row(f"talk that acts, of {len(talk)}", "%", wrong_percent(our_talk), 0.3, "the most there may be"),
    ]
    times = sorted(one.ms for one in ours)
    ms, slow_ms = statistics.median(times), times[len(times) * 99 // 100]
    return [
        *rows,
        Row("sentence to devices and values, p50", "ms", ms, hassil_ms, "hassil with all names in its lists"),
        Row("sentence to devices and values, p99", "ms", slow_ms, 50.0, "the most it may take"),
    ]


async def _run(table: Table, talk: Sequence[str], *, stock: bool) -> tuple[list[Judged], list[Judged], float]:
    async with learned(table) as home, skill_over(home, stock=stock) as skill:
        await skill(Ask("turn on nothing"))
        judged = await judge(table, home, skill)
        chatter = Table(table.devices, table.floors, [Said(line, "Lounge", (), ()) for line in talk])
        talked = await judge(chatter, home, skill)
        hassil_ms = await anyio.to_thread.run_sync(_hassil, home, table) if stock else 0.0
    return judged, talked, hassil_ms


@asynccontextmanager
async def skill_over(home: Noted, *, stock: bool) -> AsyncIterator[HomeIntents]:
    """The real skill over a home; with `stock` on Home Assistant's own English sentences."""
    if not stock:
        async with skill_of(home) as skill:
            yield skill
        return
    async with Lane("intents", _Stock) as lane:
        yield HomeIntents(lane, home)


def _hassil(home: Noted, table: Table) -> float:
    """Milliseconds of hassil for a sentence with every name of the house in its lists, p50."""
    sentences = StockSentences("en", tuple(WISHES))
    lists: dict[str, dict[str, tuple[str, ...]]] = {"name": {}, "area": {}, "floor": {}}
    for entry in entries_of(home):
        name = {Kind.DEVICE: "name", Kind.AREA: "area", Kind.FLOOR: "floor"}[entry.kind]
        lists[name].setdefault(entry.name.lower(), (entry.id,))
    times = []
    for one in table.said[:: max(1, len(table.said) // _TIMED)]:
        began = time.perf_counter()
        next(sentences.match(one.text, lists, DOMAINS[:1]), None)
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def right_percent(judged: Sequence[Judged]) -> float:
    """Of 100, how many were done or told as wanted."""
    return 100 * sum(one.right for one in judged) / len(judged)


def wrong_percent(judged: Sequence[Judged]) -> float:
    """Of 100, how many did something that nobody wanted."""
    return 100 * sum(one.wrong for one in judged) / len(judged)
