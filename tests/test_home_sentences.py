"""Sentences about the home: what has to be understood, what has to be left alone, and names that are repaired."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_daemon.bench_sentences import Judged, Said, Table, judge, learned, skill_of
from perslm_daemon.home_book import entries_of, hints
from perslm_runtime.home_names import Entry, Kind, NameBook, likeness, sound_of
from perslm_runtime.home_sentences import HomeSentences
from perslm_runtime.home_values import value_at
from perslm_runtime.home_vocabulary import Vocabulary
from perslm_runtime.home_wish import Wish
from perslm_runtime.intents import Sentences
from perslm_runtime.understanding import Understanding

GOLDEN = Path(__file__).parent / "golden"
NAMES = (
    *(Entry(name, Kind.AREA, name) for name in ("Kitchen", "Living Room", "Bedroom")),
    *(Entry(name, Kind.FLOOR, name) for name in ("Downstairs", "Upstairs")),
    Entry("Kitchen Lamp", Kind.DEVICE, "kl"),
    Entry("lamp", Kind.DEVICE, "kl", 1),
    Entry("Bedroom Lamp", Kind.DEVICE, "bl"),
    Entry("lamp", Kind.DEVICE, "bl", 1),
    Entry("Reading Lamp", Kind.DEVICE, "rl"),
    Entry("Light 2", Kind.DEVICE, "l2"),
    Entry("Anna's Radio", Kind.DEVICE, "ar"),
    Entry("Christmas Tree", Kind.DEVICE, "ct", domain="switch"),
    Entry("Big TV", Kind.DEVICE, "tv", domain="media_player"),
)


@pytest.fixture(scope="module")
def english() -> HomeSentences:
    return HomeSentences()


@pytest.fixture(scope="module")
def book() -> NameBook:
    return NameBook(NAMES)


async def _judged(table: Table) -> list[Judged]:
    async with learned(table) as home, skill_of(home) as skill:
        return await judge(table, home, skill)


def test_every_sentence_that_was_written_for_is_understood_with_its_devices_and_values() -> None:
    judged = anyio.run(_judged, Table.read(GOLDEN / "home_dev.jsonl"))
    assert len(judged) >= 200
    assert [(one.said.text, one.got ^ one.want, one.answer) for one in judged if not one.right] == []


async def _talk(table: Table) -> tuple[list[str], list[str]]:
    async with learned(table) as home, skill_of(home) as skill:
        judged = await judge(table, home, skill)
    return [one.said.text for one in judged if one.wrong], [one.said.text for one in judged if not one.right]


def test_talk_moves_nothing_in_the_house_and_is_left_to_the_model() -> None:
    table = Table.read(GOLDEN / "home_dev.jsonl")
    lines = (GOLDEN / "chat.txt").read_text(encoding="utf-8").splitlines()
    table.said = [Said(line, "Kitchen", (), ()) for line in lines[::2]]  # `perslm bench home` says all of them
    moved, answered = anyio.run(_talk, table)
    assert moved == []
    assert answered == []


def one(found: tuple[Wish, ...]) -> Wish:
    (wish,) = found
    return wish


def test_a_place_is_heard_before_and_behind_what_is_wanted(english: HomeSentences, book: NameBook) -> None:
    for text in (
        "turn on the lights in the kitchen",
        "in the kitchen turn on the lights",
        "turn on the kitchen lights",
        "kitchen lights on",
        "turn the lights in the kitchen on",
        "please, could you turn the lights on in the kitchen",
    ):
        wish = one(english.recognize(text, book))
        places = [*wish.targets, *([wish.place] if wish.place else [])]
        assert (wish.name, [place.areas for place in places if place.areas]) == ("turn_on", [("Kitchen",)]), text


def test_two_commands_are_cut_where_each_fits(english: HomeSentences, book: NameBook) -> None:
    found = english.recognize("turn off the kitchen lamp and open the blinds, then lock the door", book)
    assert [wish.name for wish in found] == ["turn_off", "open", "lock"]
    both = one(english.recognize("turn off the kitchen lamp and the reading lamp", book))
    assert [target.devices for target in both.targets] == [(("kl",),), (("rl",),)]


@pytest.mark.parametrize(
    ("text", "wish", "device"),
    [
        ("could the reading lamp be made to glow in orange", Wish("set_color", word="orange"), "rl"),
        ("up the brightness of the reading lamp a bit please", Wish("change_brightness", word="up"), "rl"),
        ("bump the reading lamp up 30 percent", Wish("change_brightness", number=30, word="up"), "rl"),
        ("take the brightness of the reading lamp up to 30", Wish("set_brightness", number=30), "rl"),
        ("flip the state of the reading lamp", Wish("toggle"), "rl"),
        ("any idea whether the reading lamp is lit", Wish("is_state", word="on"), "rl"),
        ("what's going on with the reading lamp", Wish("state_of"), "rl"),
    ],
)
def test_what_fits_no_sentence_counts_by_its_words(
    english: HomeSentences, book: NameBook, text: str, wish: Wish, device: str
) -> None:
    found = one(english.recognize(text, book))
    assert (found.name, found.number, found.word) == (wish.name, wish.number, wish.word)
    assert [target.devices for target in found.targets] == [((device,),)]


def test_a_class_right_behind_a_name_is_no_second_thing_and_never_all_of_its_kind(
    english: HomeSentences, book: NameBook
) -> None:
    for text in ("turn the christmas tree lights off", "turn off the christmas tree light"):
        assert [target.devices for target in one(english.recognize(text, book)).targets] == [(("ct",),)]
    assert english.recognize("turn the big tv lights off", book) == ()
    both = one(english.recognize("turn off the christmas tree and the lights", book))
    assert [target.noun for target in both.targets] == ["", "light"]


@pytest.mark.parametrize(
    ("text", "wish", "device"),
    [
        ("I'm off to bed, so kill the reading lamp", "turn_off", "rl"),
        ("turn on the reading lamp I can't see a thing", "turn_on", "rl"),
        ("reading lamp off, Jack", "turn_off", "rl"),
        ("make sure the reading lamp is off for the film", "turn_off", "rl"),
        ("switch the tree on", "turn_on", "ct"),
        ("turn the big telly off", "turn_off", "tv"),
        ("the kitchen lamp's too bright", "change_brightness", "kl"),
        ("turn on the kitchen lamp, no wait, the reading lamp", "turn_on", "rl"),
        ("turn the reading lamp on, sorry, turn it off", "turn_off", "rl"),
    ],
)
def test_what_stands_around_a_command_and_what_is_taken_back_changes_nothing_of_it(
    english: HomeSentences, book: NameBook, text: str, wish: str, device: str
) -> None:
    found = one(english.recognize(text, book))
    assert (found.name, [target.devices for target in found.targets]) == (wish, [((device,),)])


def test_a_value_that_is_corrected_counts_once(english: HomeSentences, book: NameBook) -> None:
    for text in ("reading lamp to 50, actually make that 30", "set the reading lamp to 50, no, 30 percent"):
        found = one(english.recognize(text, book))
        assert (found.name, found.number) == ("set_brightness", 30), text


def test_what_is_to_be_left_on_is_left_out(english: HomeSentences, book: NameBook) -> None:
    for text in (
        "turn off all the lights but leave the reading lamp on",
        "all lights off except the reading lamp",
        "turn off all the lights, just keep the reading lamp on",
        "all off in the kitchen but keep the reading lamp",
    ):
        found = one(english.recognize(text, book))
        assert [but.devices for target in found.targets for but in target.but] == [(("rl",),)], text


def test_a_word_that_two_names_share_is_given_as_both(english: HomeSentences) -> None:
    book = NameBook([Entry("Star Projector", Kind.DEVICE, "1"), Entry("Star Lantern", Kind.DEVICE, "2")])
    wish = one(english.recognize("turn the stars on", book))
    assert [sorted(ids) for ids in wish.targets[0].devices] == [["1", "2"]]


def test_how_a_room_is_counts_as_a_hint_and_the_weather_does_not(english: HomeSentences, book: NameBook) -> None:
    for text in (
        "it's freezing in the kitchen",
        "I'm cold",
        "it's too dark in the kitchen",
        "I can't see a thing",
    ):
        assert one(english.recognize(text, book)).hint, text
    for text in (
        "it's cold",
        "it's warm in the kitchen",
        "it's dark outside",
        "it was freezing in the kitchen",
        "it's louder in the kitchen",
    ):
        assert english.recognize(text, book) == (), text


@pytest.mark.parametrize(
    "text",
    [
        "if it gets dark turn on the reading lamp",
        "he said it's dark, turn on the reading lamp",
        "turn off the reading lamp and order a pizza, I'm hungry",
        "turn on the sauna",
        "the light at the end of the tunnel is near",
        "the reading lamp is on",
        "somebody switched the reading lamp off",
        "why is the reading lamp on",
        "never turn the reading lamp off",
        "switch the reading lamp off when the film ends",
        "you turned the reading lamp on twice",
        "turn the reading lamp on and off",
        "we had the reading lamp repaired",
        "can I put the reading lamp next to the radio",
        "would you rather have the reading lamp on or off",
        "we should get a light for the kitchen",
        "he said, turn off the reading lamp",
        "the reading lamp goes well with the kitchen lamp",
    ],
)
def test_what_is_told_denied_or_for_another_time_is_no_command(
    english: HomeSentences, book: NameBook, text: str
) -> None:
    assert english.recognize(text, book) == ()


def test_any_thing_that_is_on_is_asked_about_and_never_turned_on(english: HomeSentences, book: NameBook) -> None:
    for text in ("any lights on", "anything left on downstairs", "any lights on in the kitchen"):
        assert one(english.recognize(text, book)).name == "is_state", text


def test_half_of_a_sentence_is_not_enough(english: HomeSentences, book: NameBook) -> None:
    for text in (
        "turn on the lamp and tell me a story",
        "turn on the",
        "the kitchen lamp is nice",
        "why turn on the lamp",
    ):
        assert english.recognize(text, book) == (), text


def test_a_time_makes_a_command_one_for_later(english: HomeSentences, book: NameBook) -> None:
    assert english.later("turn on the kitchen lamp in ten minutes", book)
    assert english.later("turn off the lights at seven", book)
    assert english.later("switch the reading lamp on at sunset", book)
    assert not english.later("turn on the kitchen lamp", book)
    assert not english.later("what happened ten minutes ago", book)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("kitchin lamp", ("kl",)),
        ("kitschen lamp", ("kl",)),
        ("reeding lamp", ("rl",)),
        ("annas radio", ("ar",)),
        ("kitchenlamp", ("kl",)),
        ("light two", ("l2",)),
    ],
)
def test_misheard_names_are_repaired(
    english: HomeSentences, book: NameBook, said: str, meant: tuple[str, ...]
) -> None:
    wish = one(english.recognize(f"turn on the {said}", book))
    assert wish.targets[0].devices == (meant,)


def test_where_two_names_are_as_near_both_are_given_and_none_is_chosen(english: HomeSentences) -> None:
    book = NameBook([Entry("Marco", Kind.DEVICE, "1"), Entry("Margo", Kind.DEVICE, "2")])
    wish = one(english.recognize("turn on marto", book))
    assert sorted(wish.targets[0].devices[0]) == ["1", "2"]


def test_what_is_like_no_name_is_not_made_into_one(english: HomeSentences, book: NameBook) -> None:
    for text in (
        "turn on the guitar",
        "open your heart",
        "play the guitar",
        "start the engine",
        "close your eyes",
    ):
        assert english.recognize(text, book) == (), text


@settings(deadline=None)
@given(
    st.text(string.ascii_lowercase, min_size=1, max_size=12),
    st.text(string.ascii_lowercase, min_size=1, max_size=12),
)
def test_likeness_is_one_for_equals_only_and_the_same_both_ways(one_word: str, other: str) -> None:
    found = likeness(one_word, other)
    assert 0.0 <= found <= 1.0
    assert (found == 1.0) is (one_word == other)
    assert found == pytest.approx(likeness(other, one_word))
    assert sound_of(one_word) == sound_of(one_word)


WORDS = re.findall(
    r"\S+",
    "turn on off the kitchen lamp in on at and all everything except 40 percent open blinds is are which it "
    "upstairs here xtarget0x xplace0x one {t} <t> [ ] ( | ) this bedroom one of degrees point half for a",
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_no_row_of_words_is_too_much(words: list[str]) -> None:
    for wish in _ENGLISH.recognize(" ".join(words), _BOOK):
        assert wish.name in _INTENTS
        for target in wish.targets:
            assert {id_ for ids in target.devices for id_ in ids} <= {entry.id for entry in NAMES}


_ENGLISH, _BOOK = HomeSentences(), NameBook(NAMES)
_INTENTS = {block["name"] for block in _ENGLISH.table["intent"]}


def test_every_rule_and_list_of_the_sentences_is_there(english: HomeSentences) -> None:
    table = english.table
    lines = [line for block in table["intent"] for line in block["sentences"]] + list(table["rules"].values())
    rules = {name for line in lines for name in re.findall(r"<(\w+)>", line)}
    lists = {name for line in lines for name in re.findall(r"\{(\w+)", line)}
    assert rules <= set(table["rules"])
    assert lists <= {"t", "p", "it", "n", "pct", "deg", "kel", "c", "k", "s", "m", "what"}


def test_numbers_are_heard_with_their_units(english: HomeSentences) -> None:
    known = Vocabulary(english.table)
    for text, wanted in (
        ("forty percent", ("pct", 40)),
        ("50%", ("pct", 50)),
        ("twenty one point five degrees", ("deg", 21.5)),
        ("18.5 degrees celsius", ("deg", 18.5)),
        ("nineteen and a half degrees", ("deg", 19.5)),
        ("minus two degrees", ("deg", -2)),
        ("2700 kelvin", ("kel", 2700)),
        ("half", ("pct", 50)),
        ("three thousand kelvin", ("kel", 3000)),
        ("seven", ("n", 7)),
        ("lamp", None),
    ):
        found = value_at(text.split(), 0, known)
        assert (found[:2] if found else None) == wanted, text


@pytest.fixture(scope="module")
def german() -> Iterator[Understanding]:
    understood = Understanding("de")
    yield understood
    understood.close()


def test_other_languages_have_home_assistants_sentences_with_our_names(german: Understanding) -> None:
    entries = (
        Entry("Küche", Kind.AREA, "Küche"),
        Entry("Stehlampe", Kind.DEVICE, "s"),
        Entry("Haustür", Kind.DEVICE, "h"),
    )
    wish = one(german.wishes("Schalte die Stehlampe ein", 1, entries))
    assert (wish.name, wish.targets[0].devices) == ("turn_on", (("s",),))
    wish = one(german.wishes("Schalte das Licht in der Küche aus", 1, entries))
    assert (wish.name, wish.targets[0].noun, wish.targets[0].areas) == ("turn_off", "light", ("Küche",))
    assert one(german.wishes("Schließe die Haustür ab", 1, entries)).name == "lock"
    assert german.wishes("Was ist die Hauptstadt von Frankreich", 1, entries) == ()


def test_names_that_come_and_go_are_seen_at_once() -> None:
    understood = Understanding()
    assert understood.wishes("turn on gerald", 1, ()) == ()
    assert one(understood.wishes("turn on gerald", 2, (Entry("Gerald", Kind.DEVICE, "g"),))).targets[
        0
    ].devices == (("g",),)
    assert understood.wishes("turn on gerald", 3, ()) == ()


async def _hints(table: Table) -> tuple[tuple[str, ...], int]:
    async with learned(table) as home:
        return hints(home), len(entries_of(home))


def test_the_recognizer_of_speech_is_shown_rare_names_only() -> None:
    shown, names = anyio.run(_hints, Table.read(GOLDEN / "home_dev.jsonl"))
    assert "Rosie" in shown
    assert "Kitchen Ceiling Light" not in shown
    assert names > 60


def test_a_word_that_no_sentence_has_fits_only_where_any_word_does() -> None:
    class Thorough(Sentences):
        def _knows(self, word: str) -> bool:
            return True

    blocks = [
        {"name": "on", "sentences": ["(turn|switch) on <it> [now]", "don't leave {c} off"], "slots": {"a": 1}},
        {"name": "call", "sentences": ["call <it> {what}", "call <it> {what:word} please"]},
    ]
    quick, thorough = (
        kind(blocks, {"it": "(it|{t})"}, {"c": {"warm white": 1}}) for kind in (Sentences, Thorough)
    )
    marks = {"t": {"xtarget0x": 7}}
    found = 0
    for text in (
        *("turn on it", "switch on xtarget0x now", "turn on xtarget1x", "turn on it nowadays"),
        *("don't leave warm white off", "do not leave warm white off", "call it turn on it"),
        *("call xtarget0x anna-maria 2", "call it anna please", "call it", "anna", "", "turn on it anna please"),
    ):
        both = [[(one.intent, one.entities) for one in some.match(text, marks)] for some in (quick, thorough)]
        assert both[0] == both[1], text
        found += len(both[0])
    assert found >= 7


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("reading lamp on and the kitchen lamp to fifty", [("turn_on", "rl", None), ("set_brightness", "kl", 50)]),
        (
            "big tv off christmas tree on reading lamp off",
            [("turn_off", "tv", None), ("turn_on", "ct", None), ("turn_off", "rl", None)],
        ),
        (
            "turn on the reading lamp and turn off the kitchen lamp no the christmas tree",
            [("turn_on", "rl", None), ("turn_off", "ct", None)],
        ),
        (
            "turn on the reading lamp and tell me if the kitchen lamp is on",
            [("turn_on", "rl", None), ("is_state", "kl", None)],
        ),
        ("set the reading lamp to fifty er sixty percent", [("set_brightness", "rl", 60)]),
        ("turn off the christmas tree and we will say no more about it", [("turn_off", "ct", None)]),
        ("how do i do this um turn the reading lamp off please", [("turn_off", "rl", None)]),
        ("the power bill was shocking so turn the big tv off and see how we go", [("turn_off", "tv", None)]),
        ("reading lamp full whack", [("set_brightness", "rl", 100)]),
        ("turn off the reading lamp no leave it on", []),
        ("the lamp was off last night so pete put the big tv on", []),
        ("leave the big tv on for now ann is watching", []),
        ("can you take the bins out please", []),
    ],
)
def test_loose_speech_is_read_thing_by_thing_and_clause_by_clause(
    said: str, wanted: list[tuple[str, str, int | None]], english: HomeSentences, book: NameBook
) -> None:
    found = english.recognize(said, book)
    assert [(one.name, one.targets[0].ids[0], one.number) for one in found] == wanted
