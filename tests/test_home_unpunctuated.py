"""Pauses are put where a recognizer wrote none, and nowhere else."""

from __future__ import annotations

import pytest

from perslm_runtime.home_unpunctuated import before_requests, set_apart

APART = {
    "oven off dishwasher on": "oven off, dishwasher on",
    "ann's lamp on bob's lamp off": "ann's lamp on, bob's lamp off",
    "turn on the kitchen light no the worktop lights": "turn on the kitchen light, no, the worktop lights",
    "lock the front door actually the back door": "lock the front door, no, the back door",
}
WHOLE = (
    "all lights on on the ground floor",
    "turn off the light and turn the fan on",
    "put the light on in the hall",
    "oven off, dishwasher on",
    "there is no lamp on the desk",
)


@pytest.mark.parametrize("said", APART)
def test_things_with_a_state_each_and_what_is_taken_back_are_set_apart(said: str) -> None:
    assert set_apart(said) == APART[said]


@pytest.mark.parametrize("said", WHOLE)
def test_what_is_one_thing_stays_one(said: str) -> None:
    assert set_apart(said) == said


def test_a_pause_is_put_before_what_may_be_asked_for() -> None:
    assert list(before_requests("i am going up turn off everything downstairs")) == [
        "i am going up, turn off everything downstairs"
    ]
    assert list(before_requests("the dog is asleep can you dim the lamp")) == [
        "the dog is asleep, can you dim the lamp"
    ]


@pytest.mark.parametrize(
    "said",
    [
        "i told him to turn off the lamp",
        "except for the nursery turn off the lights",
        "who left the bathroom light on",
        "i am going up, turn off the lamp",
        "you can turn the lamp on",
    ],
)
def test_no_pause_is_put_into_what_goes_together(said: str) -> None:
    assert list(before_requests(said)) == []
