"""By what a turn that went wrong is known: corrections, and commands said again in other words."""

from __future__ import annotations

import pytest

from perslm_daemon.sharing_signs import corrects, failed, meant, says_again
from perslm_daemon.turn import Done, Timings, Turn
from perslm_runtime.intent import Intent


def turn(intent: Intent | None = None, *outcomes: str) -> Turn:
    done = tuple(Done(intent, (), outcome) for outcome in outcomes if intent is not None)
    return Turn("t", "words", "reply", (), "", Timings(), intent=intent, done=done)


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("No, I meant the lamp in the hall.", "the lamp in the hall."),
        ("no I said ten minutes", "ten minutes"),
        ("That's not what I meant", "That's not what I meant"),
        ("I meant tomorrow", "tomorrow"),
        ("No, the other one", "the other one"),
        ("Wrong, it is Rome", "it is Rome"),
        ("that was wrong", "that was wrong"),
    ],
)
def test_a_correction_is_known_and_what_was_meant(said: str, instead: str) -> None:
    assert corrects(said)
    assert meant(said) == instead


@pytest.mark.parametrize(
    "said",
    [
        "no",
        "No thanks.",
        "no more music please",
        "Nobody came",
        "what do you mean",
        "wrong way round is how he walks",
    ],
)
def test_a_refusal_or_talk_is_no_correction(said: str) -> None:
    assert not corrects(said)


def test_a_turn_failed_when_no_skill_understood_it_or_nothing_was_found() -> None:
    intent = Intent("turn_on", {})
    assert failed(turn())
    assert failed(turn(intent, "nothing"))
    assert failed(turn(intent, "unclear", "nothing"))
    assert not failed(turn(intent))
    assert not failed(turn(intent, "nothing", "done"))
    assert not failed(turn(intent, "failed")), "the device did not report: nothing to learn from"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("make the kitchen light go on", "turn on the kitchen light", True),
        ("turn on the kitchen light", "Turn on the kitchen light.", False),
        ("what is the capital of Italy", "turn on the kitchen light", False),
        ("please", "turn on the kitchen light", False),
    ],
)
def test_what_is_said_again_shares_words_and_is_not_the_same(before: str, after: str, same: bool) -> None:
    assert says_again(before, after) is same
