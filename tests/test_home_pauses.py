"""Pauses in sentences that came without, what is told behind a command, and what somebody takes back."""

from __future__ import annotations

import pytest

from perslm_runtime.home_amended import anew
from perslm_runtime.home_chain import chained
from perslm_runtime.home_ellipsis import said_out
from perslm_runtime.home_endings import with_ends
from perslm_runtime.home_names import Entry, Kind, NameBook, Thing
from perslm_runtime.home_partial import PartNames
from perslm_runtime.home_pauses import paused_ways, rooms_of, things_of

NAMES = (
    "Oven",
    "Dishwasher",
    "Hall Light",
    "Desk Lamp",
    "Ann's Lamp",
    "Bob's Lamp",
    "Back Door",
    "Front Door",
    "Kettle",
    "Gull Bedside Lamp",
    "Tern Bedside Lamp",
    "Den Light",
    "Den Heater",
)
ROOMS = ("Den", "Hall", "Patio")
NOUNS = {
    ("lights",): "light",
    ("gate",): "gate",
    ("heater",): "climate",
    ("blind",): "blind",
    ("radio",): "player",
}


@pytest.fixture(scope="module")
def book() -> NameBook:
    devices = (Entry(name, Kind.DEVICE, name.lower()) for name in NAMES)
    return NameBook((*devices, *(Entry(name, Kind.AREA, name) for name in ROOMS)))


@pytest.fixture(scope="module")
def room(book: NameBook) -> Thing:
    return rooms_of(book)


@pytest.fixture(scope="module")
def thing(book: NameBook) -> Thing:
    return things_of(
        book, NOUNS, PartNames(book.entries, ("the", "on", "off", "lamp", "light", "door"), ("lamp",))
    )


@pytest.mark.parametrize(
    ("said", "paused"),
    [
        ("open the gate the vet is here", "open the gate, the vet is here"),
        ("turn on the heater my hands are numb", "turn on the heater, my hands are numb"),
        ("pause the radio the phone's ringing", "pause the radio, the phone's ringing"),
        ("turn off the heater ravi is away", "turn off the heater, ravi is away"),
        ("i am cold turn it up", "i am cold, turn it up"),
        ("oven off dishwasher on", "oven off, dishwasher on"),
        ("it is pitch black in here lights on", "it is pitch black in here, lights on"),
        ("set it to fifty no forty", "set it to fifty, no, forty"),
        ("lock the front door wait no the back door", "lock the front door, no, the back door"),
        ("turn the oven on no not the oven the kettle", "turn the oven on, no, the kettle"),
        ("is the oven on only i smell gas", "is the oven on because i smell gas"),
        ("shut the blind next door can see in", "shut the blind, next door can see in"),
        ("i still cannot hear it turn it up", "i still cannot hear it, turn it up"),
        ("set it to ten did i say ten i meant twenty", "set it to ten, no, twenty"),
        ("open the gate it is ann and turn on the hall light", "open the gate, it is ann, turn on the hall light"),
    ],
)
def test_pauses_are_put_where_another_clause_begins(said: str, paused: str, thing: Thing, room: Thing) -> None:
    assert paused_ways(said, thing, room)[1] == paused


@pytest.mark.parametrize(
    "said",
    [
        "turn off the oven, the vet is here",  # it has its own
        "did ann turn the oven off",
        "is the lamp that is on the desk on",
        "there is no need to turn on the heater",
        "tell me if the back door is locked",
        "can you set up film night please",
        "warm up the kettle would you",
        "turn on the hall light and the desk lamp",
        "which lights did we leave on",
    ],
)
def test_no_pause_is_put_into_what_is_one_clause(said: str, thing: Thing, room: Thing) -> None:
    assert paused_ways(said, thing, room)[1] == said


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("open the gate the vet is here", "open the gate"),
        ("switch the oven off somebody left it on again", "switch the oven off"),
        ("turn off the radio they have got school tomorrow", "turn off the radio"),
        ("desk lamp at ten percent so the girls can sleep", "desk lamp at ten percent"),
        (
            "turn on the oven we are late so please close the gate",
            "turn on the oven, we are late so please close the gate",
        ),
        ("lock the back door we do not need it now", "lock the back door, we do not need it now"),
        ("i am cold turn it up", "i am cold, turn it up"),
    ],
)
def test_what_is_told_behind_a_command_is_left_out_and_nothing_that_asks(
    said: str, left: str, thing: Thing, room: Thing
) -> None:
    assert paused_ways(said, thing, room)[0] == left


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        ("is the back door", "the front door locked", "is the front door locked"),
        ("set the heater to away", "set it to home", "set the heater to home"),
        ("turn off ann's lamp", "bob's", "turn off bob's lamp"),
        ("set the heater to 19", "okay 21", "set the heater to 21"),
        ("set the heater to nineteen", "she says twenty one", "set the heater to twenty one"),
        ("make the desk lamp blue", "pink", "make the desk lamp pink"),
        ("turn the oven off", "the kettle", "turn the kettle off"),
        ("lights on in the kitchen", "in the hall", "lights on in the hall"),
        ("blind up", "down", "blind down"),
        ("open the blind halfway", "all the way", "open the blind"),
        ("open the blind a crack", "ten percent", "open the blind to ten percent"),
        ("turn the radio up to eighty", "that will wake the street sixty", "turn the radio up to sixty"),
        ("set the heater to twenty", "nineteen hugh says nineteen", "set the heater to nineteen"),
        ("turn the desk lamp on and the kettle", "just the lamp", "turn the desk lamp on"),
    ],
)
def test_what_is_taken_back_gives_way(first: str, second: str, whole: str, thing: Thing) -> None:
    assert whole in anew(first, second.removeprefix("okay "), thing)


def test_endings_that_hang_on_get_what_they_need() -> None:
    assert with_ends("next song and louder", ()) == "next song and turn it up"
    assert with_ends("shut it shut it", ()) == "shut it"
    assert with_ends("right blind down", ("right", "blind")) == "the right blind down"
    assert with_ends("ceiling fan on", ("fan",)) == "fan on"
    assert with_ends("ceiling fan on", ("ceiling", "fan")) == "ceiling fan on"
    assert with_ends("is the awning out", ("awning",)) == "is the awning out"
    assert with_ends("lights off upstairs bar the landing", ("bar",)) == "lights off upstairs except the landing"
    assert with_ends("alarm on we are staying in", ()) == "set the alarm to home"


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        (
            "make the gull bedside lamp blue and the tern one pink",
            "make the gull bedside lamp blue and the tern bedside lamp pink",
        ),
        ("turn off the den light and heater", "turn off the den light and den heater"),
        ("den and patio lights off", "den lights and patio lights off"),
        ("turn off the oven and lock the back door", "turn off the oven and lock the back door"),
        ("turn off the lights in the den and patio lights", "turn off the lights in the den and patio lights"),
        ("make the oven one brighter", "make the oven one brighter"),
    ],
)
def test_words_that_are_said_once_for_two_things_are_said_out(
    said: str, whole: str, thing: Thing, room: Thing
) -> None:
    assert said_out(said, thing, room) == whole


@pytest.mark.parametrize(
    ("said", "commands"),
    [
        ("oven off dishwasher on kettle off", ["oven off", "dishwasher on", "kettle off"]),
        ("blind down to half and desk lamp on", ["blind down to half", "desk lamp on"]),
        ("lights on and blind down in the den", ["lights on in the den", "blind down in the den"]),
        ("heater off and lock the back door", ["heater off", "lock the back door"]),
        ("lights at thirty percent heater to nineteen", ["lights at thirty percent", "heater to nineteen"]),
        ("turn the oven on dishwasher off", []),  # with a verb it is read whole
        ("oven off", []),
        ("heater to twenty and den to eighteen", []),  # of which the second is the same in another room
        ("is the oven on", []),
    ],
)
def test_things_with_a_state_each_are_commands_of_their_own(
    said: str, commands: list[str], thing: Thing, room: Thing
) -> None:
    assert chained(said, thing, room) == commands
