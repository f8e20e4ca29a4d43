"""Which sentences of a table are not understood: `python benchmarks/home.py [FILE]` prints each, and what came.

The figures that are kept come from `perslm bench home`; this is for whoever writes sentences. What is learned from
the table that is held apart (home_sentences.jsonl) belongs into tests/golden/home_dev.jsonl.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from perslm_daemon.bench_sentences import Table, judge, learned, skill_of
from perslm_daemon.turn import Ask

ROOT = Path(__file__).parents[1]


async def main(file: Path) -> None:
    """Judge every line; print those that are not right, and the sum."""
    table = Table.read(file)
    async with learned(table) as home, skill_of(home) as skill:
        await skill(Ask("turn on nothing"))
        judged = await judge(table, home, skill)
    for one in judged:
        if not one.right:
            print(f"{one.said.text!r} in {one.said.room!r}: {one.answer}")
            print(f"    wanted {sorted(map(str, one.want - one.got))}")
            print(f"    got    {sorted(map(str, one.got - one.want))}")
    right, wrong = sum(one.right for one in judged), sum(one.wrong for one in judged)
    times = sorted(one.ms for one in judged)
    print(
        f"{right} of {len(judged)} right, {100 * right / len(judged):.1f} %; {wrong} with a wrong action; ", end=""
    )
    print(f"p50 {times[len(times) // 2]:.1f} ms, p99 {times[len(times) * 99 // 100]:.1f} ms")


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/golden/home_dev.jsonl")
