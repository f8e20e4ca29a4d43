"""What an intent still lacks, the question that asks for it, and the answer that completes it.

"Set a timer." "For how long?" "Ten minutes." One question waits for each who asks, for a minute. Whatever else is
said instead is taken as what it is. Knows no sentence but answers of time, no schedule and no sound.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace

from perslm_daemon.turn import Ask
from perslm_runtime.intent import Intent
from perslm_runtime.time_words import duration_of, when_of
from perslm_runtime.when import When

_WAITS_S = 60.0
_MOST = 64  # who have been asked something; the oldest question is forgotten
_AROUND = re.compile(
    r"^(?:(?:um|uh|er|well|okay|ok|so|please|make it|let's say|say|for|in|about|set it (?:for|to))\b[\s,]*)+"
    r"|[\s,]*\b(?:please|thanks|thank you)\W*$",
    re.IGNORECASE,
)
_BARE = re.compile(r"\W*([a-z]+(?:[- ][a-z]+)?|\d{1,3})\W*", re.IGNORECASE)

_QUESTIONS = {"set_timer": "For how long?", "set_alarm": "At what time?", "set_reminder": "When?"}


def question_for(intent: Intent) -> str:
    """What has to be asked before it can be done; "" when nothing is missing."""
    when = intent.when
    match intent.name:
        case "set_timer":
            known = intent.seconds() is not None
        case "set_alarm":
            known = intent.seconds() is not None or (
                when is not None and (when.hour is not None or when.part is not None)
            )
        case "set_reminder":
            known = intent.seconds() is not None or when is not None
        case _:
            return ""
    return "" if known else _QUESTIONS[intent.name]


def completed(intent: Intent, text: str) -> Intent | None:
    """The intent with what `text` says, when it says a length or a time and nothing else."""
    words = _AROUND.sub("", _AROUND.sub("", text.strip()))
    seconds = duration_of(words)
    if seconds is None and intent.name == "set_timer" and (bare := _BARE.fullmatch(words)):
        seconds = duration_of(f"{bare[1]} minutes")  # "ten": nobody who is asked so means seconds
    if seconds is not None:
        return replace(intent, slots={**intent.slots, "duration": seconds})
    when = when_of(words.removeprefix("at ").removeprefix("At ")) if intent.name != "set_timer" else None
    if when is None:
        return None
    before = intent.when
    return replace(intent, slots={**intent.slots, "when": when if before is None else _both(when, before)})


def _both(when: When, before: When) -> When:
    """The time that was said now on the day that was said before, unless another day was said now."""
    named = when.days is not None or when.weekday is not None or when.date is not None or bool(when.every)
    return when if named else when.with_day_of(before)


class Missing:
    """The questions that wait for an answer, by who was asked. Used in the event loop only."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str, str], tuple[Intent, float]] = {}

    def ask_for(self, ask: Ask, intent: Intent) -> None:
        """`ask` was answered with the question for `intent`."""
        self._waiting.pop(_who(ask), None)
        while len(self._waiting) >= _MOST:
            self._waiting.pop(next(iter(self._waiting)))
        self._waiting[_who(ask)] = (intent, time.monotonic() + _WAITS_S)

    def answered(self, ask: Ask) -> Intent | None:
        """The intent that `ask` completes; a question counts for the next thing that is said, and then no more."""
        intent, until = self._waiting.pop(_who(ask), (None, 0.0))
        if intent is None or time.monotonic() > until:
            return None
        return completed(intent, ask.text)


def _who(ask: Ask) -> tuple[str, str, str]:
    return ask.person, ask.source, ask.conversation
