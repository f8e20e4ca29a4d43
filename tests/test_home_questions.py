"""Questions as people ask them become the plain ones, and a command told while thinking the command that it is."""

from __future__ import annotations

import pytest

from perslm_runtime.home_names import Entry, Kind, NameBook
from perslm_runtime.home_polite import written_out
from perslm_runtime.home_questions import plain_question
from perslm_runtime.home_told import as_told

BOOK = NameBook(
    (
        *(
            Entry(name, Kind.DEVICE, name, domain=domain)
            for name, domain in (
                ("Office Heater", "climate"),
                ("Counter Lights", "light"),
                ("Kitchen Radio", "media_player"),
                ("Freezer Temperature", "sensor"),
                ("Doorbell Battery", "sensor"),
                ("Car Charger", "switch"),
                ("Robbie", "vacuum"),
            )
        ),
        Entry("Bathroom", Kind.AREA, "Bathroom"),
    )
)
ASKED = {
    "The towel rail isn't still on, is it?": "is the towel rail on",
    "I didn't leave the blanket on, did I": "did i leave the blanket on",
    "We did lock up at the front, didn't we": "did we lock the front door",
    "Has anybody thought to lock the back door": "did anybody lock the back door",
    "Do me a favour and check the rice cooker is off": "is the rice cooker off",
    "There are no windows open upstairs, are there": "are any windows open upstairs",
    "What have we got the office heater set to": "what is the office heater set to",
    "What are the counter lights set at": "how bright is the counter lights",
    "What's the kitchen radio at": "how loud is the kitchen radio",
    "How cold is the freezer": "what is the freezer temperature",
    "How much juice has the doorbell got left": "what is the doorbell battery",
    "Is the car still charging": "is the car charger on",
    "Is the bathroom very damp": "how humid is it in the bathroom",
    "Has the dishwasher finished": "is the dishwasher off",
    "Which windows have been left open": "which windows are open",
    "Will you check did Declan lock the back door": "did declan lock the back door",
    "The sprinkler, what is it set to": "what is the sprinkler set to",
}
NOT_ASKED = (
    "turn the oven off",
    "have the kettle turned off",
    "see to it that the path lights are on",
    "i thought you turned the light off",
    "who left the garage open yesterday?",
    "somebody left the light on, turn it off",
)
TOLD = {
    "Declan is cold so bump his, bump the heating up": "declan is cold so bump the heating up",
    "Turn the lamp, no wait, the hall light, off": "turn the lamp off, no wait, the hall light off",
    "Anjali asked me to ask you to switch it off": "could you switch it off",
    "We'll be needing the garage door open please": "open the garage door",
    "There are crumbs so send Robbie round": "there are crumbs so start robbie",
    "Could the office speaker be turned off": "could you turn off the office speaker",
    "Look, I know you've only started but stop it": "stop it",
}
KEPT = (
    "the kids asked us to dinner",
    "send the letter round",
    "he could do with a holiday",
    "turn it up in the kitchen",
)


@pytest.mark.parametrize("said", ASKED)
def test_a_question_is_made_plain(said: str) -> None:
    assert plain_question(written_out(said), BOOK).strip(" ?") == ASKED[said]


@pytest.mark.parametrize("said", NOT_ASKED)
def test_what_is_no_question_of_now_stays(said: str) -> None:
    assert plain_question(said, BOOK) == said


@pytest.mark.parametrize("said", TOLD)
def test_a_command_is_what_was_meant_after_all(said: str) -> None:
    assert as_told(written_out(said), BOOK) == TOLD[said]


@pytest.mark.parametrize("said", KEPT)
def test_what_only_sounds_so_stays(said: str) -> None:
    assert as_told(said, BOOK) == said
