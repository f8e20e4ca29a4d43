"""Answers to "for how long?" and "at what time?" complete an intent, and nothing else does."""

from __future__ import annotations

import pytest

from perslm_daemon import missing
from perslm_daemon.missing import Missing, completed, question_for
from perslm_daemon.turn import Ask
from perslm_runtime.intent import Intent
from perslm_runtime.when import When

TIMER, ALARM = Intent("set_timer", {"name": "pasta"}), Intent("set_alarm")
TOMORROW = Intent("set_alarm", {"when": When(days=1)})
REMINDER = Intent("set_reminder", {"what": "call mum"})


@pytest.mark.parametrize(
    ("intent", "question"),
    [
        (TIMER, "For how long?"),
        (ALARM, "At what time?"),
        (TOMORROW, "At what time?"),
        (REMINDER, "When?"),
        (Intent("set_timer", {"duration": 60}), ""),
        (Intent("set_reminder", {"what": "call mum", "when": When(days=1)}), ""),
        (Intent("get_time"), ""),
    ],
)
def test_what_is_missing_is_asked(intent, question):
    assert question_for(intent) == question


@pytest.mark.parametrize(
    ("intent", "text", "slot", "value"),
    [
        (TIMER, "Ten minutes.", "duration", 600),
        (TIMER, "um, for ten minutes please", "duration", 600),
        (TIMER, "make it half an hour", "duration", 1800),
        (TIMER, "Ten.", "duration", 600),
        (TIMER, "twenty five", "duration", 1500),
        (ALARM, "at seven", "when", When(hour=7)),
        (ALARM, "Seven thirty.", "when", When(hour=7, minute=30)),
        (TOMORROW, "half past six", "when", When(hour=6, minute=30, days=1)),
        (TOMORROW, "on Monday at six", "when", When(hour=6, weekday=0)),
        (REMINDER, "in ten minutes", "duration", 600),
        (REMINDER, "tomorrow", "when", When(days=1)),
    ],
)
def test_an_answer_completes_it_and_keeps_what_was_said(intent, text, slot, value):
    done = completed(intent, text)
    assert done is not None
    assert done.slots[slot] == value
    assert {**intent.slots, slot: value} == dict(done.slots)


@pytest.mark.parametrize("text", ["", "red", "what time is it", "never mind", "seven dwarfs", "ten green bottles"])
def test_what_says_more_or_something_else_completes_nothing(text):
    assert completed(TIMER, text) is None
    assert completed(ALARM, text) is None


def test_a_question_waits_for_one_answer_and_not_for_ever(monkeypatch):
    waiting, ask = Missing(), Ask("ten minutes")
    waiting.ask_for(ask, TIMER)
    assert waiting.answered(ask) is not None
    assert waiting.answered(ask) is None
    monkeypatch.setattr(missing, "_WAITS_S", -1.0)
    waiting.ask_for(ask, TIMER)
    assert waiting.answered(ask) is None


def test_whoever_asks_many_times_takes_no_room():
    waiting = Missing()
    for number in range(1000):
        waiting.ask_for(Ask("ten minutes", conversation=str(number)), TIMER)
    assert waiting.answered(Ask("ten minutes", conversation="0")) is None
    assert waiting.answered(Ask("ten minutes", conversation="999")) is not None
