"""What is no command, or none for now, does nothing; what asks in another clause still does."""

from __future__ import annotations

import pytest

from perslm_runtime.home_polite import written_out
from perslm_runtime.home_unwanted import is_unwanted


@pytest.mark.parametrize(
    "said",
    [
        "I can't turn on the lights",
        "You needn't switch off the lamp",
        "I might open the blinds",
        "Turn off the lamp, no don't",
        "I would turn it on if I could",
        "If I set the heating to twenty, will it help?",
        "I ought to have put the dehumidifier on",
        "Open the curtains later",
        "Turn off the lights upstairs except the bathroom at midnight",
        "Make the lights green on Monday",
        "Turn off the dining room if it rains",
        "Turn the fan off in half an hour",
    ],
)
def test_an_ability_a_maybe_a_condition_and_a_day_are_no_command(said: str) -> None:
    assert is_unwanted(written_out(said))


@pytest.mark.parametrize(
    "said",
    [
        "I can't see a thing, turn on the light",
        "You might as well turn off the lamp",
        "If I could have the lamp on please",
        "Turn on the lamp when you get a chance",
        "Is the light off in the morning",
        "Turn off the lights in the kitchen",
        "I can't reach the switch, would you turn it off",
    ],
)
def test_what_asks_all_the_same_is_left_to_be_read(said: str) -> None:
    assert not is_unwanted(written_out(said))
