"""docs/voice.md: each of fifteen complaints of assistants' users has tests that exist, or a reason why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/voice.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("### What people complain about elsewhere")[2].partition("\n## ")[0]
ROWS = [line.strip("|").split("|") for line in TABLE.splitlines() if re.match(r"\| \d", line)]
NOT_HERE = {12}
"""Complaints that nothing is done about; the page says why."""


def test_all_fifteen_are_there_in_order() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 16))


@pytest.mark.parametrize("row", ROWS, ids=[row[1].strip()[:40] for row in ROWS])
def test_a_complaint_has_tests_that_exist_or_a_reason(row: list[str]) -> None:
    number, _, here, tested = row
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tested)
    assert bool(named) is (int(number) not in NOT_HERE)
    assert len(here) > 100 or named, "a reason takes a sentence"
    for file, name in named:
        source = (TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{file} has no {name}"
