"""Sentences that take something from what was said before: the words that come out, and what is done by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perslm_daemon.home_device import Device
from perslm_daemon.home_said_before import said_out
from perslm_runtime.home_wish import Wish
from test_home_intents import LIGHT, here

pytestmark = pytest.mark.anyio


def _device(name: str, area: str, domain: str = "light") -> Device:
    return Device(id=name, name=name, domain=domain, area=area)


DESK, FLOOR = _device("Desk Lamp", "Study"), _device("Floor Lamp", "Study")
ANNS, BENS = _device("Ann's Lamp", "Bedroom"), _device("Ben's Lamp", "Ben's Room")
HEATER, BENS_HEATER = _device("Study Heater", "Study", "climate"), _device("Ben's Heater", "Ben's Room", "climate")
RADIO = _device("Study Radio", "Study", "media_player")
BLIND, ROBOT = _device("Study Blind", "Study", "cover"), _device("Dusty", "Hall", "vacuum")
HOUSE = (DESK, FLOOR, ANNS, BENS, HEATER, BENS_HEATER, BLIND, ROBOT)


@pytest.mark.parametrize(
    ("before", "it", "said", "whole"),
    [
        ("turn_on", DESK, "Mine too", "ben's lamp too"),
        ("turn_on", DESK, "And the other one", "and floor lamp"),
        ("turn_on", DESK, "No, the other lamp", "no floor lamp"),
        ("turn_on", DESK, "sorry I meant Ann's", "no ann's lamp"),
        ("turn_on", DESK, "No I meant the one in the bedroom", "no ann's lamp"),
        ("turn_on", DESK, "Leave that one and turn the other one off", "turn floor lamp off"),
        ("turn_on", DESK, "Off again, that's worse", "turn off desk lamp"),
        ("turn_on", DESK, "How bright is it?", "how bright is desk lamp"),
        ("turn_on", DESK, "Make that one green", "make it green"),
        ("set_brightness", DESK, "no make it seventy", "set desk lamp to seventy percent"),
        ("set_temperature", HEATER, "No I said 22", "set study heater to 22 degrees"),
        ("set_temperature", HEATER, "mine to twenty", "ben's heater to twenty"),
        ("set_color", DESK, "Sorry, I meant purple", "make desk lamp purple"),
        ("set_color", DESK, "Same colour for the floor lamp", "and the floor lamp too"),
        ("close", BLIND, "Stop there, that's plenty", "stop study blind"),
        ("start", ROBOT, "can you find him", "can you find dusty"),
        ("turn_on", DESK, "No, off", "turn off desk lamp"),
        ("turn_on", DESK, "Warm white please", "make desk lamp warm white"),
        ("set_color", DESK, "No, I don't like it, do green", "make desk lamp green"),
        (
            "turn_on",
            DESK,
            "Turn it off again I meant the floor lamp",
            "turn off desk lamp and turn on the floor lamp",
        ),
        ("turn_on", DESK, "and now the floor one", "and floor lamp too"),
        ("turn_on", ANNS, "And do Ben's", "and ben's lamp too"),
        ("turn_on", DESK, "Not that one the floor lamp", "no the floor lamp"),
        ("turn_on", DESK, "Sorry I meant switch it off", "switch it off"),
        ("set_brightness", DESK, "Fifteen not fifty", "set desk lamp to fifteen percent"),
        ("set_temperature", HEATER, "Sorry nineteen I mean", "set study heater to nineteen degrees"),
        ("set_temperature", HEATER, "Not that high make it 21", "set study heater to 21 degrees"),
        ("setpoint", HEATER, "Down one degree", "turn study heater down by one degree"),
        ("open", BLIND, "Only half way", "open study blind halfway"),
        ("turn_on", RADIO, "Louder", "turn study radio up"),
    ],
)
def test_what_is_left_to_before_is_said_out(before: str, it: Device, said: str, whole: str) -> None:
    assert said_out(said, Wish(before), (it,), HOUSE, "Ben's Room") == whole


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("set_color", "no I meant tomorrow"),  # no colour
        ("turn_on", "no, make it seventy"),  # of what, nobody said
        ("turn_on", "stop there"),  # no cover that goes
        ("turn_on", "a friend of mine was in a gold mine"),
        ("turn_on", "No."),
        ("turn_on", "Off again"),  # which may be told of somebody
        ("turn_on", "What a day it was!"),
        ("turn_on", "A bit more"),  # of what, nobody said
        ("turn_on", "Louder"),  # which no lamp can be
    ],
)
def test_what_takes_nothing_from_before_stays_as_it_is(before: str, said: str) -> None:
    whole = said_out(said, Wish(before), (DESK,), HOUSE, "Ben's Room")
    assert "desk lamp" not in whole
    assert "ben's" not in whole


def test_a_bit_more_is_the_same_once_more() -> None:
    for word, whole in (("up", "make desk lamp brighter"), ("down", "make desk lamp dimmer")):
        assert said_out("a bit more please", Wish("change_brightness", word=word), (DESK,), HOUSE, "") == whole


def test_of_two_that_may_be_the_other_one_none_is_guessed() -> None:
    third = _device("Wall Lamp", "Study")
    assert said_out("the other one", Wish("turn_on"), (DESK,), (*HOUSE, third), "Study") == "the other one"


def test_without_anything_before_a_sentence_stays_as_it_is() -> None:
    assert said_out("Mine too", None, (DESK,), HOUSE, "Ben's Room") == "Mine too"
    assert said_out("Mine too", Wish("turn_on"), (), HOUSE, "Ben's Room") == "Mine too"


def test_a_number_is_no_correction_of_what_has_none() -> None:
    assert said_out("no make it seventy", Wish("unlock"), (BLIND,), HOUSE, "Study") == "no make it seventy"


MORE: dict[str, dict[str, Any]] = {
    "light/m": {"name": "Ann's Lamp", "dev": {"ids": ["m"], "sa": "Ann's Room"}, **LIGHT},
    "light/n": {"name": "Ben's Lamp", "dev": {"ids": ["n"], "sa": "Ben's Room"}, **LIGHT},
}


async def test_a_conversation_goes_on_with_mine_and_the_other_and_leaves_the_first(tmp_path: Path) -> None:
    async with here(tmp_path, MORE) as house:
        await house.say("turn on Ann's lamp")
        await house.say("mine too", area="Ben's Room")
        assert house.topics() == ["m/set", "n/set"]
        assert (house.on("Ann's Lamp"), house.on("Ben's Lamp")) == (True, True)
        assert await house.say("turn on the kitchen counter light") == "The kitchen counter light is on."
        house.topics()
        assert await house.say("no, the other one") == "The kitchen ceiling light is on."
        assert house.topics() == ["a/set"]  # what was turned on first stays so
        assert await house.say("mine too", "another", area="Ben's Room") == "-"


async def test_a_value_is_put_right_and_what_was_said_of_two_is_of_both(tmp_path: Path) -> None:
    async with here(tmp_path, MORE) as house:
        assert await house.say("set the bedside lamp to fifty percent") == "The bedside lamp is on at 50 percent."
        assert await house.say("no make it seventy") == "The bedside lamp is on at 70 percent."
        await house.say("turn Ann's lamp on and mine", area="Ben's Room")
        assert (house.on("Ann's Lamp"), house.on("Ben's Lamp")) == (True, True)
