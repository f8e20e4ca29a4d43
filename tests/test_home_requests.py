"""What is asked for in a sentence that also tells something, and what must not be taken for it."""

from __future__ import annotations

import pytest

from perslm_runtime.home_names import Entry, Kind, NameBook
from perslm_runtime.home_requests import asked, at_a_time, requests
from perslm_runtime.home_sentences import HomeSentences
from perslm_runtime.home_wish import Wish

NAMES = (
    *(Entry(name, Kind.AREA, name) for name in ("Kitchen", "Study")),
    Entry("Kitchen Lamp", Kind.DEVICE, "lamp", domain="light"),
    Entry("Workbench Light", Kind.DEVICE, "bench", domain="light"),
    Entry("Towel Rail", Kind.DEVICE, "rail", domain="switch"),
    Entry("Front Door", Kind.DEVICE, "door", domain="lock"),
    Entry("Film Night", Kind.DEVICE, "film", domain="scene"),
)


@pytest.fixture(scope="module")
def english() -> HomeSentences:
    return HomeSentences()


@pytest.fixture(scope="module")
def book() -> NameBook:
    return NameBook(NAMES)


def told(found: tuple[Wish, ...]) -> list[tuple[str, tuple[str, ...]]]:
    return [(wish.name, tuple(id_ for target in wish.targets for id_ in target.ids)) for wish in found]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("The courier's on his way so could you turn on the kitchen lamp for him please", ("turn_on", ("lamp",))),
        ("We can barely hear each other over the rain, switch on the kitchen lamp", ("turn_on", ("lamp",))),
        ("The towel rail has been on all day, can someone turn it off", ("turn_off", ("rail",))),
        ("Everyone's on the sofa with snacks, so let's do film night", ("scene", ("film",))),
        ("We're about to sit down and eat so can you set up film night please", ("turn_on", ("film",))),
        ("You know what, I might read, would you ever switch on the workbench light", ("turn_on", ("bench",))),
        ("Switch off the light over the workbench", ("turn_off", ("bench",))),
        ("Kitchen lamp off, no, on", ("turn_on", ("lamp",))),
        ("I can't remember whether I locked up coming in, is the front door locked?", ("is_state", ("door",))),
        ("Do you happen to know if the towel rail is still on", ("is_state", ("rail",))),
        ("Front door locked?", ("is_state", ("door",))),
        ("Tell me whether the front door is locked?", ("is_state", ("door",))),
        ("Check if the towel rail is on?", ("is_state", ("rail",))),
        ("Is the front door still open", ("is_state", ("door",))),
    ],
)  # fmt: skip
def test_what_is_told_besides_changes_nothing(
    said: str, wanted: tuple[str, tuple[str, ...]], english: HomeSentences, book: NameBook
) -> None:
    assert told(english.recognize(said, book)) == [wanted]


@pytest.mark.parametrize(
    "said",
    [
        "My dad always said, can you turn off the kitchen lamp",
        "If anybody comes home, turn on the kitchen lamp",
        "When the film is over, please turn on the kitchen lamp",
        "In ten minutes, could you turn off the towel rail",
        "I would never do that, turn off the towel rail",
        "In the story she shouts, turn off the kitchen lamp",
        "Switch the kitchen lamp on, actually no, forget it",
        "Kitchen lamp on at seven",
        "Turn the towel rail off at eleven please",
    ],
)
def test_a_condition_a_time_a_quotation_and_a_negation_are_no_request(
    said: str, english: HomeSentences, book: NameBook
) -> None:
    assert not [wish for wish in english.recognize(said, book) if wish.targets]


def test_what_is_done_in_there_is_done_where_it_was_told_of(english: HomeSentences, book: NameBook) -> None:
    (wish,) = english.recognize("There's nobody in the study, turn off the lights in there", book)
    assert (wish.name, wish.targets[0].noun, wish.targets[0].areas) == ("turn_off", "light", ("Study",))


def test_a_request_is_found_behind_what_is_told_and_not_where_it_is_the_whole_sentence() -> None:
    (one,) = requests("rob is reading in bed, make the lamp brighter")
    assert (one.told, one.wanted, one.asks) == ("rob is reading in bed", "make the lamp brighter", False)
    assert list(requests("make the lamp brighter")) == []
    assert list(requests("turn on the fan, turn off the lamp")) == [], "neither half may be lost"


def test_a_thing_and_a_state_with_a_question_mark_are_a_question() -> None:
    assert asked("Back door unlocked?") == "is the back door unlocked"
    assert asked("Telly volume?") == "what is the telly volume"
    assert asked("Turn the lamp on?") is None
    assert asked("Kitchen lamp off") is None


def test_an_hour_is_no_percentage() -> None:
    assert at_a_time("close the blinds at seven")
    assert not at_a_time("close the blinds at seven percent")
    assert not at_a_time("set the lamp at ten")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("The courier is at the door, so unlock the front for him", ("unlock", ("door",))),
        ("Have a quick look and see if the towel rail is still on", ("is_state", ("rail",))),
        ("I'd quite like the kitchen lamp on", ("turn_on", ("lamp",))),
        ("Would you mind terribly turning off the kitchen lamp, we can be seen", ("turn_off", ("lamp",))),
        ("Before I forget, switch off the towel rail", ("turn_off", ("rail",))),
        ("Well, now that the film's over, turn the kitchen lamp on please", ("turn_on", ("lamp",))),
        ("Turn off the towel rail, he never does", ("turn_off", ("rail",))),
        ("The kitchen lamp on, but only at forty percent", ("set_brightness", ("lamp",))),
        ("Did anybody lock the front door after the barbecue", ("is_state", ("door",))),
    ],
)  # fmt: skip
def test_other_ways_to_say_it_mean_the_same(
    said: str, wanted: tuple[str, tuple[str, ...]], english: HomeSentences, book: NameBook
) -> None:
    assert told(english.recognize(said, book)) == [wanted]


def test_in_there_is_the_place_that_was_told_of_and_never_the_whole_house(
    english: HomeSentences, book: NameBook
) -> None:
    (wish,) = english.recognize("There's nobody in the study, turn off the lights in there", book)
    (target,) = wish.targets
    assert (wish.name, target.noun, target.areas) == ("turn_off", "light", ("Study",))


def test_what_is_called_off_before_its_end_does_nothing(english: HomeSentences, book: NameBook) -> None:
    for said in (
        "Dim the, uh, never mind",
        "Turn off the towel rail, no, forget it",
        "switch on the, scratch that",
    ):
        assert english.recognize(said, book) == (), said
    assert told(english.recognize("never mind", book)) == [("no", ())]


def test_an_hour_is_no_percentage_and_a_command_for_later(english: HomeSentences, book: NameBook) -> None:
    for said in (
        *("kitchen lamp off at seven", "lock the front door at ten", "switch the towel rail on at 6"),
        "turn off the towel rail in twenty minutes so I don't roast",
    ):
        assert english.recognize(said, book) == (), said
        assert english.later(said, book), said


OWNED = (
    *NAMES,
    Entry("Ann's Light", Kind.DEVICE, "ann", domain="light"),
    Entry("Ann's Blind", Kind.DEVICE, "blind", domain="cover"),
    Entry("Rosie", Kind.DEVICE, "rosie", domain="vacuum"),
    Entry("Kids' Room", Kind.AREA, "Kids"),
    Entry("Kids", Kind.AREA, "Kids", 2),
)


@pytest.fixture(scope="module")
def owned() -> NameBook:
    return NameBook(OWNED)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("Turn on Ann's light and open her blind", [("turn_on", ("ann",)), ("open", ("blind",))]),
        ("Did Ann leave her light on again?", [("is_state", ("ann",))]),
        ("Kitchen lamp off, my head's banging", [("turn_off", ("lamp",))]),
        ("Turn off the kitchen lamp before the kids get in there", [("turn_off", ("lamp",))]),
        ("They said on the news it'll freeze, so turn on the towel rail", [("turn_on", ("rail",))]),
        ("I'm not sure who's in, but switch off the towel rail", [("turn_off", ("rail",))]),
        ("Switch off the towel rail and go to bed, the lot of you", [("turn_off", ("rail",))]),
        ("Turn the towel rail on and, oh yes, lock the front door", [("turn_on", ("rail",)), ("lock", ("door",))]),
        ("Set Rosie off", [("start", ("rosie",))]),
        ("Warm the towel rail up for me", [("turn_on", ("rail",))]),
        ("Turn on the kitchen lamp, tomorrow I mean", []),
    ],
)  # fmt: skip
def test_what_stands_around_a_request_is_left_out_and_nothing_of_the_home_is(
    said: str, wanted: list[tuple[str, tuple[str, ...]]], english: HomeSentences, owned: NameBook
) -> None:
    assert told(english.recognize(said, owned)) == wanted


def test_no_name_goes_on_over_a_comma(english: HomeSentences, owned: NameBook) -> None:
    (wish,) = english.recognize("Stop Rosie, the kids are out there", owned)
    assert (wish.name, wish.targets[0].areas) == ("stop", ())


def test_a_value_said_more_exactly_counts_once(english: HomeSentences, owned: NameBook) -> None:
    (wish,) = english.recognize("Dim Ann's light, set it to thirty percent", owned)
    assert (wish.name, wish.number, wish.targets[0].ids) == ("set_brightness", 30, ("ann",))


@pytest.mark.parametrize(
    "said",
    [
        "How cold is it for the rabbits tonight, out in the kitchen",
        "Turn on the lights in",
        "Ann's left her light on again",
        "Which of us turned the kitchen lamp off",
    ],
)
def test_a_question_and_half_a_command_work_nothing(said: str, english: HomeSentences, owned: NameBook) -> None:
    questions = {"temperature", "is_state", "which", "state_of", "fragment"}
    assert all(wish.name in questions for wish in english.recognize(said, owned)), said
