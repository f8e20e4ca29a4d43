"""What goes round is turned into the plain question or command that it is; what holds more is left alone."""

from __future__ import annotations

import pytest

from perslm_runtime.home_polite import written_out
from perslm_runtime.home_roundabout import straight

PLAIN = {
    "The oven is off, isn't it?": "is the oven off",
    "I think the garage is still open, right?": "is the garage open",
    "The kitchen lights are on, aren't they?": "are the kitchen lights on",
    "I can't remember if the back door is locked": "is the back door locked",
    "Any idea whether the windows upstairs are open?": "are the windows upstairs open",
    "I forget if I left the iron on": "did i leave the iron on",
    "Not sure if somebody locked the shed": "did somebody lock the shed",
    "The hall light wants turning off": "turn off the hall light",
    "The blinds could do with closing": "close the blinds",
    "I'll have the lamp on now": "turn on the lamp",
    "We'll have the curtains closed": "close the curtains",
    "Nobody needs the fan on": "turn off the fan",
    "There's no need for the heater to be running any more": "turn off the heater",
    "I told you to turn it off": "turn it off",
}
LEFT = (
    "i was wondering if you could see to the light",
    "it is late, is not it",
    "the dog wants feeding",
    "nobody needs to know",
    "i am not sure what the lamp is",
    "we will have dinner on the patio",
)


@pytest.mark.parametrize("said", PLAIN)
def test_what_goes_round_is_made_plain(said: str) -> None:
    assert straight(written_out(said)) == PLAIN[said]


@pytest.mark.parametrize("said", LEFT)
def test_what_is_something_else_stays(said: str) -> None:
    assert straight(said) == said
