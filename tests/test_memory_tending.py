"""Pruning keeps what was asked to be kept; summaries quote and go with what they quote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from memories import raw_bytes, vector
from perslm_runtime.memory import Memory
from perslm_runtime.memory_prune import Budget

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(tmp_path: Path, clock: Clock) -> Iterator[Memory]:
    with closing(Memory(tmp_path / "memory.db", clock=clock)) as made:
        yield made


def turn(memory: Memory, clock: Clock, said: str, days_ago: float = 0, **more: object) -> int:
    clock.now = NOW - timedelta(days=days_ago)
    told = memory.remember_turn(said, "I see.", conversation=said[:40], **more)  # type: ignore[arg-type]  # its keywords
    clock.now = NOW
    return told


# Pruning


def test_within_the_budget_nothing_goes(memory: Memory, clock: Clock) -> None:
    for number in range(5):
        turn(memory, clock, "the same", days_ago=number)
    assert memory.plan_pruning(Budget()).ids == []
    assert memory.plan_pruning(Budget(rows=5, megabytes=1)).ids == []


def test_repetitions_go_first_and_the_newest_stays(memory: Memory, clock: Clock) -> None:
    old = turn(memory, clock, "The bins go out on Monday.", days_ago=300, vector=vector(1))
    near = vector(1) + 0.04 * vector(7)
    nearly = turn(memory, clock, "Bins are put out Mondays.", days_ago=200, vector=near)
    new = turn(memory, clock, "the bins go out on monday", days_ago=1, vector=vector(1))
    other = turn(memory, clock, "The kettle whistles.", days_ago=400, vector=vector(2))
    plan = memory.plan_pruning(Budget(rows=2))
    assert dict(plan.repeated) == {old: new, nearly: new}
    assert plan.faded == (), "that was enough"
    memory.erase(plan.ids)
    assert [entry.id for entry in memory.list()] == [other, new]


def test_what_is_old_unused_and_only_asked_fades_first(memory: Memory, clock: Clock) -> None:
    helped = turn(memory, clock, "The spare key hangs behind the boiler.", days_ago=900)
    old = turn(memory, clock, "We repainted the fence.", days_ago=800)
    asked = turn(memory, clock, "What is the weather like?", days_ago=30)
    new = turn(memory, clock, "The lawnmower is in the garage.", days_ago=20)
    for _ in range(3):
        assert memory.recall("Where does the spare key hang?")[0].id == helped
        turn(memory, clock, "Thanks a lot for it.", days_ago=0)
    plan = memory.plan_pruning(Budget(rows=memory.count() - 2 - 2))
    assert {old, asked} <= set(plan.ids)
    assert not {helped, new} & set(plan.ids)


def test_what_was_asked_to_be_kept_never_goes(memory: Memory, clock: Clock, tmp_path: Path) -> None:
    document = tmp_path / "a.txt"
    document.write_text("words of a document")
    clock.now = NOW - timedelta(days=5000)
    fact = memory.remember_fact("The safe opens with 4711.")
    memory.learn_file(document)
    kept = turn(memory, clock, "The bins go out on Monday.", days_ago=5000)
    assert memory.keep(kept)
    known = turn(memory, clock, "My sister is called Ana.", days_ago=5000)
    memory.claims.look(10)
    gone = [turn(memory, clock, f"Small talk number {number}.", days_ago=1) for number in range(10)]
    plan = memory.plan_pruning(Budget(rows=1))
    assert sorted(plan.ids) == gone
    memory.erase(plan.ids)
    assert {fact, kept, known} <= {entry.id for entry in memory.list()}
    assert memory.count("chunk") == 1
    assert memory.keep(kept, kept=False)
    assert kept in memory.plan_pruning(Budget(rows=1)).ids
    assert not memory.keep(99_999)


def test_bytes_are_a_budget_too(memory: Memory, clock: Clock) -> None:
    for number in range(150):
        turn(memory, clock, f"turn {number} " + "padding " * 900, days_ago=400 - number)
    before = memory.file.stat().st_size  # type: ignore[union-attr]  # it has a file
    plan = memory.plan_pruning(Budget(megabytes=1))
    assert plan.bytes > 1_000_000
    memory.erase(plan.ids)
    after = memory.file.stat().st_size  # type: ignore[union-attr]  # as above
    assert after < before
    assert memory.plan_pruning(Budget(megabytes=1)).bytes <= 1_150_000
    assert memory.list(limit=1)[0].said.startswith("turn 149 "), "the newest stay"


# Summaries


def test_days_weeks_and_months_quote_what_was_said_and_nothing_else(memory: Memory, clock: Clock) -> None:
    told: set[str] = set()
    for day in range(40, 0, -1):
        for number in range(3):
            sentence = f"We saw the {['zebra', 'lion', 'heron', 'otter'][number]} {day} in the park."
            turn(memory, clock, sentence, days_ago=day + number / 100)
            told.add(sentence)
        turn(memory, clock, "What time is it?", days_ago=day)
    while memory.summarise():
        pass
    summaries = {span: memory.summaries.of("owner", span) for span in ("day", "week", "month")}
    assert len(summaries["day"]) >= 39
    assert len(summaries["week"]) >= 4
    assert [one.first.isoformat() for one in summaries["month"]][-1] == "2026-10-01"
    for summary in (one for each in summaries.values() for one in each):
        quoted = re.findall(r"[^.]+\.", summary.text)
        assert quoted
        assert {part.strip() for part in quoted} <= told
        assert "What time" not in summary.text
    assert all(len(one.sources) > 1 for one in summaries["month"])


def test_forgetting_deletes_the_summaries_that_quote_it_and_they_are_made_anew(
    memory: Memory, clock: Clock
) -> None:
    ids = [
        turn(memory, clock, sentence, days_ago=8)
        for sentence in (
            "We visited Zanthopolis.",
            "The soup was salty.",
            "A heron stood there.",
            "It rained a lot.",
        )
    ]
    while memory.summarise():
        pass
    (before,) = memory.summaries.of("owner", "day")
    assert "Zanthopolis" in before.text
    erased = memory.forget(ids=[ids[0]]).erased
    assert erased.summaries >= 1
    assert b"anthopolis" not in raw_bytes(memory.file)  # type: ignore[arg-type]  # it has a file
    while memory.summarise():
        pass
    (after,) = memory.summaries.of("owner", "day")
    assert "Zanthopolis" not in after.text
    assert "heron" in after.text


def test_vectors_of_no_use_prune_nothing(memory: Memory, clock: Clock) -> None:
    for number in range(6):
        turn(
            memory,
            clock,
            f"Entirely different thing {number}.",
            days_ago=number,
            vector=np.eye(384, dtype="f4")[number],
        )
    assert memory.plan_pruning(Budget(rows=3)).repeated == ()
