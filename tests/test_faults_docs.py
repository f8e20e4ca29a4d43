"""docs/faults.md: every fault it tells of has a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/faults.md").read_text(encoding="utf-8")
ROWS = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS, ids=[row[0].strip()[:40] for row in ROWS])
def test_a_fault_has_tests_that_exist(row: list[str]) -> None:
    _, seen, tested = row
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tested)
    assert seen.strip()
    assert named
    assert len(named) == tested.count("`") / 2
    for file, name in named:
        source = (TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{file} has no {name}"


@pytest.mark.parametrize(
    "fault",
    ["broker is gone", "without what it kept", "password", "expired", "DNS", "jumps by years", "full", "holds the",
     "damaged", "call fails", "hangs", "native", "host is gone", "half-way", "full while", "clock is wrong",
     "old or foreign", "timestamp key", "replayed", "too big", "nonsense", "cut in two", "twice"],
)  # fmt: skip
def test_every_fault_that_was_ordered_is_told(fault: str) -> None:
    assert any(fault in row[0] for row in ROWS)
