"""A thing that no device is: the home says so, before a model tells that it is locked."""

from __future__ import annotations

from pathlib import Path

import pytest

from perslm_daemon.home_strange import NoHome
from perslm_daemon.turn import Ask
from perslm_runtime.home_names import Entry, Kind
from perslm_runtime.lane import Lane
from perslm_runtime.understanding import Understanding
from test_home_intents import here

pytestmark = pytest.mark.anyio

FEW = (
    Entry("Living Room Light", Kind.DEVICE, "a", domain="light", area="Living Room"),
    Entry("Living Room", Kind.AREA, "Living Room"),
    Entry("Kitchen Light", Kind.DEVICE, "b", domain="light", area="Kitchen"),
    Entry("Kitchen", Kind.AREA, "Kitchen"),
)


@pytest.fixture(scope="module")
def understanding() -> Understanding:
    return Understanding()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Front door locked?", "front door"),
        ("Is the front door locked?", "front door"),
        ("lock the front door", "front door"),
        ("did I leave the stove on", "stove"),
        ("is the oven still on?", "oven"),
        ("turn on the fountain, please", "fountain"),
        ("dim the lights in the attic", "attic"),
        ("how warm is it in the bedroom", "bedroom"),
        ("close the guest room blinds", "guest room"),
        ("turn on the purple monster lamp", "purple monster lamp"),
    ],
)
def test_what_nothing_of_the_home_is_is_found(understanding: Understanding, text: str, said: str) -> None:
    wishes = understanding.wishes(text, "few", FEW)
    assert wishes == ()
    assert understanding.strange(text, "few", FEW) == said


@pytest.mark.parametrize(
    "text",
    [
        "turn on the charm",
        "is the museum open on Sunday?",
        "open a bank account",
        "how much is a new front door",
        "are smart plugs safe?",
        "can a door be locked from both sides",
        "the front door is made of oak",
        "tell me about the oven you mentioned",
        "what is the temperature on the moon",
        "why is my light flickering",
        "turn off the kitchen light",
        "don't turn off the fountain",
    ],
)
def test_talk_and_what_is_known_are_left_alone(understanding: Understanding, text: str) -> None:
    assert understanding.strange(text, "few", FEW) == ""


async def test_the_answer_says_that_it_is_not_there_and_does_nothing(tmp_path: Path) -> None:
    async with here(tmp_path) as house:
        answered = await house.skill.strange(Ask("is the back door locked?"))
        assert answered is not None
        assert answered.text == "There is no back door that I know."
        assert [done.outcome for done in answered.done] == ["nothing"]
        assert await house.skill.strange(Ask("is the front door locked?")) is None  # that one there is
        assert house.sent == []


async def test_without_any_home_nothing_is_switched_and_talk_goes_on() -> None:
    async with Lane("intents", Understanding) as lane:
        answered = await NoHome(lane)(Ask("turn on the light"))
        assert answered is not None
        assert "home.enabled" in answered.text
        asked = await NoHome(lane)(Ask("front door locked?"))
        assert asked is not None
        assert asked.done[0].intent.slots == {"target": "front door"}
        assert await NoHome(lane)(Ask("how far is the moon")) is None
        for said in ("turn off the lamp in half an hour", "turn off the kettle in ten minutes"):
            later = await NoHome(lane)(Ask(said))
            assert later is not None, said
            assert later.text.startswith("I work no devices here: "), said
        assert await NoHome(lane)(Ask("see you in half an hour")) is None
