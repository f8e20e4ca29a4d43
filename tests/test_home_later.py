"""Which time a command is for, and the command without it; and what must never be planned."""

from __future__ import annotations

import pytest

from perslm_runtime.home_later import of_the_sun, timed
from perslm_runtime.home_names import Entry, Kind, NameBook
from perslm_runtime.home_sentences import HomeSentences
from perslm_runtime.when import EVERY_DAY, WEEKDAYS, WEEKEND, Part, When

NAMES = (
    *(Entry(name, Kind.AREA, name) for name in ("Kitchen", "Bedroom", "Porch", "Hall", "Lounge", "Garden")),
    Entry("Electric Blanket", Kind.DEVICE, "blanket", domain="switch"),
    Entry("Porch Light", Kind.DEVICE, "porch", domain="light"),
    Entry("Kitchen Lamp", Kind.DEVICE, "lamp", domain="light"),
    Entry("Dusty", Kind.DEVICE, "dusty", domain="vacuum"),
    Entry("Front Door", Kind.DEVICE, "door", domain="lock"),
    Entry("Garage Door", Kind.DEVICE, "garage", domain="cover"),
    Entry("Heating", Kind.DEVICE, "heating", domain="climate"),
    Entry("Movie Night", Kind.DEVICE, "movie", domain="scene"),
    Entry("Towel Rail", Kind.DEVICE, "rail", domain="switch"),
    Entry("Fountain", Kind.DEVICE, "fountain", domain="switch"),
)

EIGHT_ON_MONDAY = When(hour=8, weekday=0, part=Part.MORNING)
PLANNED: tuple[tuple[str, str, int | When], ...] = (
    ("turn off the electric blanket in half an hour", "turn off the electric blanket", 1800),
    ("porch light off at eleven tonight", "porch light off", When(hour=11, part=Part.NIGHT, days=0)),
    ("start Dusty tomorrow at noon", "start Dusty", When(hour=12, days=1, exact=True)),
    ("turn off the lights in ten minutes", "turn off the lights", 600),
    ("in ten minutes turn off the kitchen lamp", "turn off the kitchen lamp", 600),
    ("please, in two hours, turn off the towel rail", "turn off the towel rail", 7200),
    ("after ten minutes turn off the fountain", "turn off the fountain", 600),
    ("turn the porch light off ten minutes from now", "turn the porch light off", 600),
    ("twenty minutes from now turn off the electric blanket", "turn off the electric blanket", 1200),
    ("turn off the porch light in ten minutes' time", "turn off the porch light", 600),
    ("fountain on in a minute", "fountain on", 60),
    ("turn the kitchen lamp red in a minute and a half", "turn the kitchen lamp red", 90),
    ("in thirty seconds switch on the fountain", "switch on the fountain", 30),
    ("start the vacuum in a quarter of an hour", "start the vacuum", 900),
    ("dim the kitchen lamp to forty percent in five minutes", "dim the kitchen lamp to forty percent", 300),
    ("set the heating to twenty in twenty minutes", "set the heating to twenty", 1200),
    ("turn up the heating by two degrees in an hour", "turn up the heating by two degrees", 3600),
    ("I want the fountain off in an hour", "I want the fountain off", 3600),
    ("turn it off in ten minutes", "turn it off", 600),
    ("um turn off the er porch light in ten minutes", "turn off the porch light", 600),
    ("at seven turn on the porch light", "turn on the porch light", When(hour=7)),
    ("get the towel rail on for half six", "get the towel rail on", When(hour=6, minute=30)),
    ("close the garage at ten", "close the garage", When(hour=10)),
    ("turn off the fountain at ten to eleven", "turn off the fountain", When(hour=10, minute=50)),
    ("turn off the kitchen lamp at 22:30", "turn off the kitchen lamp", When(hour=22, minute=30, exact=True)),
    ("turn off the kitchen lamp 9 pm", "turn off the kitchen lamp", When(hour=21, exact=True)),
    ("set the heating to 21 at six", "set the heating to 21", When(hour=6)),
    ("set the heating to 20 at 20:00", "set the heating to 20", When(hour=20, exact=True)),
    ("dim the porch light to ten percent at ten", "dim the porch light to ten percent", When(hour=10)),
    ("everything off at midnight", "everything off", When(hour=24, exact=True)),
    ("turn the porch light off once it is ten", "turn the porch light off", When(hour=10)),
    ("turn off the porch light at eleven, thanks", "turn off the porch light", When(hour=11)),
    ("can the porch light go off at eleven", "turn the porch light off", When(hour=11)),
    ("movie night at nine", "movie night", When(hour=9)),
    ("lock the front door at eleven tonight", "lock the front door", When(hour=11, part=Part.NIGHT, days=0)),
    ("unlock the front door tomorrow at eight", "unlock the front door", When(hour=8, days=1)),
    ("Monday morning at eight turn on the towel rail", "turn on the towel rail", EIGHT_ON_MONDAY),
    ("turn on the towel rail Monday morning at eight", "turn on the towel rail", EIGHT_ON_MONDAY),
    ("on Monday turn on the kitchen lamp at eight", "turn on the kitchen lamp", When(hour=8, weekday=0)),
    ("tomorrow turn on the kitchen lamp at eight", "turn on the kitchen lamp", When(hour=8, days=1)),
    ("turn on the kitchen lamp half four tomorrow", "turn on the kitchen lamp", When(hour=4, minute=30, days=1)),
    (
        *("this evening turn off the porch light at nine", "turn off the porch light"),
        When(hour=9, part=Part.EVENING, days=0),
    ),
    (
        *("switch off the porch light on Saturday evening", "switch off the porch light"),
        When(weekday=5, part=Part.EVENING),
    ),
    ("turn off the kitchen lamp on Friday at noon", "turn off the kitchen lamp", When(12, weekday=4, exact=True)),
    ("turn on the kitchen lamp every weekday at seven", "turn on the kitchen lamp", When(7, every=WEEKDAYS)),
    ("every weekday turn on the kitchen lamp at seven", "turn on the kitchen lamp", When(7, every=WEEKDAYS)),
    ("on weekdays at half past six turn on the towel rail", "turn on the towel rail", When(6, 30, every=WEEKDAYS)),
    ("every Saturday and Sunday at nine turn on the towel rail", "turn on the towel rail", When(9, every=WEEKEND)),
    ("turn on the towel rail on Mondays at six", "turn on the towel rail", When(6, every=frozenset((0,)))),
    (
        *("lock the front door every night at eleven", "lock the front door"),
        When(11, part=Part.NIGHT, every=EVERY_DAY),
    ),
)

NEVER_PLANNED = (
    "turn off the kitchen lamp",
    "turn on the kitchen lamp when I get up",
    "turn on the kitchen lamp later",
    "turn on the kitchen lamp soon",
    "turn off the kitchen lamp in a bit",
    "turn on the kitchen lamp for ten minutes",
    "turn on the kitchen lamp from seven to nine",
    "turn on the kitchen lamp until nine",
    "keep the heating on until ten tonight",
    "turn the heating on for an hour at six",
    "turn off the kitchen lamp by seven",
    "turn off the kitchen lamp ten minutes before seven",
    "turn on the kitchen lamp every ten minutes",
    "dim the kitchen lamp over ten minutes",
    "don't turn off the porch light in ten minutes",
    "I cannot turn on the kitchen lamp at seven",
    "turn on the kitchen lamp in ten minutes, no, leave it",
    "turn on the kitchen lamp in ten minutes, never mind",
    "turn off the kitchen lamp in ten minutes if I am asleep",
    "turn off the kitchen lamp in ten minutes unless I say otherwise",
    "if it rains turn on the porch light at seven",
    "when I get home at six turn on the kitchen lamp",
    "what if I turn off the kitchen lamp at seven",
    "the porch light goes off at eleven",
    "the porch light will go off at eleven",
    "I turned on the kitchen lamp at seven",
    "what time does the porch light go off",
    "did you turn off the porch light at eleven",
    "is the porch light on at eleven",
    "will the porch light go off at eleven",
    "porch light off at eleven?",
    "tell Anna to turn on the kitchen lamp at seven",
    "tell me at seven to turn off the porch light",
    "he said turn on the kitchen lamp in ten minutes",
    "wake me at seven and turn on the kitchen lamp",
    "set the heating at 21 at six",
    "turn off the kitchen lamp in ten minutes and on again in twenty minutes",
    "turn off the fountain in ten minutes and close the garage door",
    "turn off the fountain, and in ten minutes close the garage door",
    "what happened ten minutes ago",
    "it gets dark at five",
)

SUN = (
    "turn on the porch light at sunset",
    "turn on the porch light when it gets dark",
    "close the garage door when the sun goes down",
    "turn on the porch light half an hour after sunset",
    "turn the porch light on an hour before dawn",
    "porch light off at sunrise",
)


@pytest.fixture(scope="module")
def english() -> HomeSentences:
    return HomeSentences()


@pytest.fixture(scope="module")
def book() -> NameBook:
    return NameBook(NAMES)


@pytest.mark.parametrize(("said", "command", "time"), PLANNED)
def test_the_time_is_taken_out_and_a_command_is_left(
    english: HomeSentences, book: NameBook, said: str, command: str, time: int | When
) -> None:
    assert english.recognize(said, book) == (), "it would be done now"
    later = english.later(said, book)
    assert later is not None
    assert (later.command, later.seconds if later.when is None else later.when) == (command.lower(), time)
    assert english.recognize(later.command, book) != ()


@pytest.mark.parametrize("said", NEVER_PLANNED)
def test_what_says_no_moment_or_wants_nothing_is_not_planned(
    english: HomeSentences, book: NameBook, said: str
) -> None:
    later = english.later(said, book)
    assert later is None or (later.seconds is None and later.when is None), later


@pytest.mark.parametrize("said", SUN)
def test_what_hangs_on_the_sun_is_known_to_be_for_later(english: HomeSentences, book: NameBook, said: str) -> None:
    assert english.recognize(said, book) == ()
    later = english.later(said, book)
    assert later is not None
    assert later.sun


def test_what_tells_of_the_sun_is_no_command(english: HomeSentences, book: NameBook) -> None:
    for said in ("when is sunset", "the porch looks nice at sunset", "it gets dark early"):
        assert english.later(said, book) is None, said
    assert of_the_sun("turn on the lamp at noon") == ""


def test_an_hour_is_for_then_wherever_it_stands(english: HomeSentences, book: NameBook) -> None:
    """Each was done at once before: "at seven" dimmed to seven percent, "9 pm" was left out."""
    for said in (
        *("at seven turn on the porch light", "turn off the kitchen lamp 9 pm", "activate movie night at eight"),
        *("get the towel rail on for half six", "turn off the kitchen lamp by seven", "fountain on in a minute"),
        *("make it warmer at seven", "wake me at seven and turn on the kitchen lamp"),
    ):
        assert english.recognize(said, book) == (), said
    for said in (
        "we leave in ten minutes, turn off the kitchen lamp",
        "put the kitchen lamp on for him, he'll be up in a minute",
        "put the kitchen lamp on because he comes at 9 pm",
    ):
        assert english.recognize(said, book) != (), said


def test_a_time_goes_with_the_words_that_lead_to_it() -> None:
    words = ["the", "fan", "off", "in", "about", "ten", "minutes", "please"]
    ways = [(later.command, later.seconds) for later, _ in timed(words)]
    assert ways == [("the fan off please", 600)]
    assert list(timed(["run", "for", "ten", "minutes"])) == []
    ((later, apart),) = timed(["lamp", "off", ",", "and", "in", "ten", "minutes", "fan", "off"])
    assert (later.command, apart) == ("lamp off, and fan off", "lamp off")
