"""What a reading hangs on: `python benchmarks/home_dressed.py [--most 40] [--seed 1] [--json OUT.json]`.

Sentences of every table that are read right are said in the forms of home_ways.toml; what is done otherwise then
is counted form by form. The sentences are those the reading was written with, the forms partly too: a regression
test of breadth, no measure of what is understood at first sight.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import anyio

from perslm_daemon.bench_dressed import Tally, dressed, ways
from perslm_daemon.bench_sentences import Table

HERE = Path(__file__).parent
_SHOWN = 3


async def said_otherwise(most: int, seed: int) -> dict[str, Tally]:
    """What came of every table's sentences in each form."""
    forms = ways(HERE)
    sums: dict[str, Tally] = defaultdict(Tally)
    for file in sorted(HERE.glob("home_sentences*.jsonl")):
        tallies, _ = await dressed(Table.read(file), forms, most, seed)
        for form, tally in tallies.items():
            one = sums[form]
            one.said, one.otherwise = one.said + tally.said, one.otherwise + tally.otherwise
            one.wrong, one.examples = one.wrong + tally.wrong, one.examples + tally.examples
    return dict(sums)


def main(most: int, seed: int, kept: Path | None) -> None:
    """Print what is read otherwise, and keep the sums."""
    sums = anyio.run(said_otherwise, most, seed)
    for form, one in sorted(sums.items(), key=lambda pair: pair[1].otherwise / pair[1].said):
        if one.otherwise:
            print(f"{one.otherwise:4} of {one.said:4}, {one.wrong:3} wrong  {form}")
            for example in sorted(one.examples, key=lambda text: not text.startswith("WRONG"))[:_SHOWN]:
                print(f"        {example}")
    said = sum(one.said for one in sums.values())
    other, wrong = sum(one.otherwise for one in sums.values()), sum(one.wrong for one in sums.values())
    print(f"{said} sentences in {len(sums)} forms: {other} done otherwise, {wrong} with a wrong action")
    if kept is not None:
        found = {"sentences_of_each_table": most, "seed": seed, "forms": len(sums), "said": said}
        found |= {"done_otherwise": other, "with_a_wrong_action": wrong}
        kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=40, help="sentences of each table")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--json", type=Path, help="keep the sums in this file")
    options = parser.parse_args()
    main(options.most, options.seed, options.json)
