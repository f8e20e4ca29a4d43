"""Which stretch of the past a question names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.past import stretches

NOW = datetime(2026, 11, 27, 20, 30, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("What did I do last Tuesday?", "2026-11-24", "2026-11-25"),
        ("What happened on Friday?", "2026-11-20", "2026-11-21"),
        ("What did I say on Tuesday last week?", "2026-11-17", "2026-11-18"),
        ("Where was I yesterday evening?", "2026-11-26T17", "2026-11-27"),
        ("Who called the day before yesterday?", "2026-11-25", "2026-11-26"),
        ("What went on 5 days ago?", "2026-11-22", "2026-11-23"),
        ("What was I busy with two weeks ago?", "2026-11-10", "2026-11-17"),
        ("What did I buy on the third of May?", "2026-05-03", "2026-05-04"),
        ("What was on December 24?", "2025-12-24", "2025-12-25"),
        ("What did I plant in early March?", "2026-03-01", "2026-03-13"),
        ("Where were we in summer?", "2026-06-01", "2026-09-01"),
        ("What did we eat at Christmas?", "2025-12-20", "2026-01-01"),
        ("What did I do over the weekend?", "2026-11-21", "2026-11-23"),
        ("Who came last month?", "2026-10-01", "2026-11-01"),
        ("What did I learn in 2024?", "2024-01-01", "2025-01-01"),
        ("What did I do the last three days?", "2026-11-24", "2026-11-28"),
    ],
)
def test_a_stretch_is_found_in_a_question(text: str, since: str, until: str) -> None:
    (found,) = stretches(text, NOW)
    expected = [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (since, until)]
    assert [found.since, found.until] == expected
    assert set(found.words) <= {word.strip("?").lower() for word in text.split()}


@pytest.mark.parametrize(
    "text", ["May I ask something?", "How can I march on?", "In which month did I travel?", "I fall asleep", ""]
)
def test_words_that_only_look_like_a_time_are_left_alone(text: str) -> None:
    assert stretches(text, NOW) == []


def test_what_lies_ahead_is_no_past() -> None:
    assert all(one.since <= NOW for one in stretches("next week, on Monday, in December and tomorrow", NOW))


@settings(max_examples=80, deadline=None, database=None)
@given(st.text("0123456789 lastweekonmayj unedgo'th", max_size=60), st.integers(0, 20_000))
def test_any_text_at_any_time_gives_stretches_in_order(text: str, days: int) -> None:
    now = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=days, hours=7)
    for one in stretches(text, now):
        assert one.since < one.until
        assert one.since <= now
