"""Durations, times of day and days in words: read, said, and meant."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from num2words import num2words

from perslm_runtime.time_words import (
    duration_of,
    find,
    say_clock,
    say_day,
    say_duration,
    say_every,
    when_of,
    words_of,
)
from perslm_runtime.when import EVERY_DAY, WEEKDAYS, Part, PastError, When, next_of, resolve, unix_time

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 11, 27, 12, 0, tzinfo=BERLIN)  # a Friday


def spelled(text: str) -> str:
    """Digits as a recognizer spells them out."""
    return " ".join(num2words(int(word)).replace("-", " ") if word.isdigit() else word for word in text.split())


@given(st.integers(1, 23), st.sampled_from([1, 60, 3600]), st.integers(0, 59))
def test_a_duration_that_is_said_is_read_again(count: int, unit: int, more: int) -> None:
    seconds = count * unit + (more * unit // 60 if unit > 1 else 0)
    said = say_duration(seconds)
    assert duration_of(said) == duration_of(spelled(said))
    assert duration_of(said) == seconds


@given(st.integers(1, 40 * 86_400))
def test_whatever_is_said_of_seconds_is_within_a_minute_in_an_hour(seconds: int) -> None:
    read = duration_of(say_duration(seconds))
    assert read is not None
    assert abs(read - seconds) <= (1800 if seconds >= 86_400 else 30 if seconds >= 3600 else 0)


@given(st.times(), st.booleans())
def test_a_time_of_day_that_is_said_is_read_again(clock: time, spell: bool) -> None:
    moment = datetime.combine(NOON.date(), clock.replace(second=0, microsecond=0))
    said = say_clock(moment)
    if spell and ":" in said:
        hour, minute, half = said.replace(":", " ").split()
        minutes = f"oh {int(minute)}" if 0 < int(minute) < 10 else minute if int(minute) else ""
        said = spelled(f"{hour} {minutes} {half}")
    when = when_of(said)
    assert when is not None, said
    assert resolve(when, NOON.replace(hour=0, minute=0) - timedelta(minutes=1)).time() == moment.time()


@settings(max_examples=40)
@given(st.text(max_size=60))
def test_any_text_at_all_is_read_without_an_error(text: str) -> None:
    words = words_of(text)
    spans = find(words)
    assert all(0 <= one.start < one.end <= len(words) for one in spans)
    assert all(before.end <= after.start for before, after in pairwise(spans))


WORDS = (
    "at half past to quarter seven for twenty five oh and a an hour minutes in the morning tomorrow every monday "
    "pm 7:30 point on third of june 12 1/2 second"
)


@given(st.lists(st.sampled_from(WORDS.split()), max_size=12))
def test_any_words_of_time_at_all_are_read_without_an_error(words: list[str]) -> None:
    for one in find(words):
        if isinstance(one.value, When) and one.value.names_a_day:
            try:
                assert resolve(one.value, NOON) > NOON.replace(tzinfo=None)
            except PastError:
                assert one.value.days == 0 or one.value.date is not None
        elif isinstance(one.value, int):
            assert one.value > 0


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("seven", "2026-11-27T19:00"),
        ("one", "2026-11-27T13:00"),
        ("noon", "2026-11-28T12:00"),
        ("midnight", "2026-11-28T00:00"),
        ("seven in the morning", "2026-11-28T07:00"),
        ("seven tonight", "2026-11-27T19:00"),
        ("two at night", "2026-11-28T02:00"),
        ("twelve at night", "2026-11-28T00:00"),
        ("two in the afternoon", "2026-11-27T14:00"),
        ("nineteen thirty", "2026-11-27T19:30"),
        ("19:30", "2026-11-27T19:30"),
        ("0:15", "2026-11-28T00:15"),
        ("quarter to one", "2026-11-27T12:45"),
        ("half past eleven", "2026-11-27T23:30"),
        ("tomorrow at seven", "2026-11-28T07:00"),
        ("tomorrow at three", "2026-11-28T15:00"),
        ("tomorrow at three in the morning", "2026-11-28T03:00"),
        ("tomorrow at twelve", "2026-11-28T12:00"),
        ("tomorrow", "2026-11-28T09:00"),
        ("tomorrow morning", "2026-11-28T08:00"),
        ("tomorrow evening", "2026-11-28T19:00"),
        ("tonight", "2026-11-27T22:00"),
        ("this afternoon", "2026-11-27T15:00"),
        ("the day after tomorrow at eight", "2026-11-29T08:00"),
        ("on monday at nine", "2026-11-30T09:00"),
        ("friday at nine", "2026-12-04T09:00"),
        ("friday at five", "2026-11-27T17:00"),
        ("december third at nine", "2026-12-03T09:00"),
        ("the twenty fourth of december", "2026-12-24T09:00"),
        ("november first", "2027-11-01T09:00"),
        ("the twenty ninth of february", "2028-02-29T09:00"),
        ("every weekday at seven", "2026-11-30T07:00"),
        ("every day at one", "2026-11-27T13:00"),
    ],
)
def test_a_listener_takes_it_so(said: str, meant: str) -> None:
    when = when_of(said)
    assert when is not None
    assert resolve(when, NOON) == datetime.fromisoformat(meant)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("seven", "2026-11-28T07:00"),
        ("two", "2026-11-28T02:00"),
        ("twelve", "2026-11-28T12:00"),
        ("seven pm", "2026-11-27T19:00"),
        ("tomorrow at five", "2026-11-28T05:00"),
        ("every weekday at six", "2026-11-30T06:00"),
    ],
)
def test_who_wants_to_be_woken_means_the_morning(said: str, meant: str) -> None:
    when = when_of(said)
    assert when is not None
    assert resolve(when, NOON, waking=True) == datetime.fromisoformat(meant)


@pytest.mark.parametrize(
    "when", [When(hour=9, days=0, exact=True), When(hour=0, days=0), When(date=(2, 30)), When()]
)
def test_what_has_passed_or_never_comes_is_refused(when: When) -> None:
    with pytest.raises(PastError):
        resolve(when, NOON)


def test_a_time_that_the_clocks_leave_out_is_as_much_later_and_of_two_the_first_counts() -> None:
    left_out, twice = datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30)
    at = datetime.fromtimestamp(unix_time(left_out, BERLIN), BERLIN)
    assert (at.hour, at.minute, at.utcoffset()) == (3, 30, timedelta(hours=2))
    assert datetime.fromtimestamp(unix_time(twice, BERLIN), BERLIN).utcoffset() == timedelta(hours=2)


@given(
    st.sets(st.integers(0, 6), min_size=1), st.times(), st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1))
)
def test_the_next_of_some_weekdays_is_the_very_next(days: set[int], at: time, after: datetime) -> None:
    found = next_of(frozenset(days), at, after)
    assert found > after
    assert found.weekday() in days
    assert found.time() == at
    between = (found - after).days
    assert all((after + timedelta(days=n)).weekday() not in days or n == between for n in range(1, between))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("remind me at ten to nine to call", ["at ten to nine"]),
        ("set a second timer for ten minutes", ["ten minutes"]),
        ("in an hour and a half and then at seven", ["an hour and a half", "at seven"]),
        ("what happened in 1939", []),
        ("seven people came for dinner", []),
        ("nineteen hundred hours at nineteen hundred", ["nineteen hundred hours", "at nineteen hundred"]),
        ("five more minutes", ["five more minutes"]),
        ("every monday and thursday at six am", ["every monday and thursday at six am"]),
    ],
)
def test_phrases_are_found_where_they_stand(text: str, found: list[str]) -> None:
    words = words_of(text)
    assert [" ".join(words[one.start : one.end]) for one in find(words)] == found


def test_days_are_said_as_seen_from_now() -> None:
    day = NOON.replace(tzinfo=None)
    assert say_day(day, NOON) == "today"
    assert say_day(day + timedelta(days=1), NOON) == "tomorrow"
    assert say_day(day + timedelta(days=3), NOON) == "on Monday"
    assert say_day(day + timedelta(days=30), NOON) == "on Sunday, December 27"
    assert say_every(WEEKDAYS) == "every weekday"
    assert say_every(EVERY_DAY) == "every day"
    assert say_every(frozenset((0, 3))) == "every Monday and Thursday"
    assert when_of("every monday and thursday at six") == When(hour=6, every=frozenset((0, 3)))
    assert when_of("in the evening at six") in {None, When(hour=6, part=Part.EVENING)}
