"""What stands around a sentence is taken away before it is read, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from perslm_runtime.home_undressed import undressed

ROUND = Path(__file__).parents[1] / "benchmarks"
CASES = {
    "Are, um, the kitchen blinds up?": "Are the kitchen blinds up?",
    "Gemma's, er, light and Tosin's light off": "Gemma's light and Tosin's light off",
    "Turn on, uh, the kitchen light": "Turn on the kitchen light",
    "turn turn the light on": "turn the light on",
    "Did we did we lock the door?": "Did we lock the door?",
    "Okay so, back door unlocked?": "back door unlocked?",
    "Oh, and send the robot home": "send the robot home",
    "Sorry to bother you, but could you open it": "could you open it",
    "Open it at seven thirty, thanks!": "Open it at seven thirty!",
    "Entry light off and thank you": "Entry light off",
    "So, so, is the door open, do you know?": "is the door open?",
}
KEPT = (
    "The sunroom blinds, er, the kitchen blinds",  # takes back what was said
    "My eyes are not what they were, um, make the lamp brighter",
    "The hall, no wait, the landing light",
    "All lights on on the ground floor",
    "Set the heat to twenty twenty",
    "Right lamp on",
    "Thanks",
    "please",
    "um",
    "",
)


@pytest.mark.parametrize("said", CASES)
def test_what_means_nothing_is_taken_away(said: str) -> None:
    assert undressed(said, lambda _words: False).lower() == CASES[said].lower()


@pytest.mark.parametrize("said", KEPT)
def test_what_may_mean_something_stays(said: str) -> None:
    assert undressed(said, lambda _words: False) == said


def test_a_name_that_says_a_word_twice_is_left_alone() -> None:
    assert undressed("start boo boo now", lambda words: words == ["boo", "boo"]) == "start boo boo"
    assert undressed("start boo boo", lambda words: words == ["boo", "boo"]) == "start boo boo"
    assert undressed("start boo boo", lambda _words: False) == "start boo"
