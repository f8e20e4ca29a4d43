"""Sentences to intents: a table of what has to be understood, and one of what has to be left to the model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hassil.intents import TextSlotList
from hassil.sample import sample_expression

from perslm_runtime.errors import InputError
from perslm_runtime.intent import Intent, slots_data
from perslm_runtime.intents import Recognizer, Stock, languages
from perslm_runtime.when import When

GOLDEN = Path(__file__).parent / "golden"


def lines(name: str) -> list[str]:
    found = (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    return [line for line in found if line.strip() and not line.startswith("#")]


def wanted() -> list[tuple[str, str, dict[str, str]]]:
    table = []
    for line in lines("intents.txt"):
        sentence, _, rest = line.partition(" -> ")
        name, *slots = rest.split("; ")
        table.append((sentence, name, dict(slot.split("=", 1) for slot in slots)))
    return table


@pytest.fixture(scope="module")
def english() -> Recognizer:
    return Recognizer("en")


def told(intent: Intent | None) -> tuple[str, dict[str, str]] | None:
    return (
        None if intent is None else (intent.name, {name: str(value) for name, value in slots_data(intent).items()})
    )


def test_the_tables_are_as_large_as_they_should_be_and_say_nothing_twice() -> None:
    positive, negative = [sentence for sentence, _, _ in wanted()], lines("not_intents.txt")
    assert len(positive) >= 300
    assert len(negative) >= 150
    assert len({*positive, *negative}) == len(positive) + len(negative)


def test_every_command_is_understood_with_its_slots(english: Recognizer) -> None:
    wrong = {
        sentence: (told(english.recognize(sentence)), (name, slots))
        for sentence, name, slots in wanted()
        if told(english.recognize(sentence)) != (name, slots)
    }
    assert wrong == {}


def test_what_is_no_command_is_left_to_the_model(english: Recognizer) -> None:
    taken = {sentence: told(english.recognize(sentence)) for sentence in lines("not_intents.txt")}
    assert {sentence: intent for sentence, intent in taken.items() if intent is not None} == {}


def test_politeness_around_a_command_changes_nothing(english: Recognizer) -> None:
    for before in ("", "please ", "could you please ", "hey would you ", "okay so um "):
        for after in ("", " please", " for me", " thanks"):
            intent = english.recognize(f"{before}set a pasta timer for ten minutes{after}")
            assert told(intent) == ("set_timer", {"name": "pasta", "duration": "600"}), (before, after)


def test_punctuation_and_capitals_change_nothing(english: Recognizer) -> None:
    for text in (
        "Set a timer for ten minutes.",
        "SET A TIMER, FOR TEN MINUTES!",
        "  set a timer for ten minutes  ",
    ):
        assert told(english.recognize(text)) == ("set_timer", {"duration": "600"})


@pytest.mark.parametrize("text", ["", "   ", "...", "um", "set a timer for ten minutes " * 100])
def test_nothing_and_too_much_are_no_intents(english: Recognizer, text: str) -> None:
    assert english.recognize(text) is None


def test_hostile_text_is_only_text(english: Recognizer) -> None:
    for text in (
        "{duration} timer",
        "set a <set> timer",
        "xduration0x",
        "remind me to [a|b] in ten minutes",
        "(" * 99,
    ):
        intent = english.recognize(text)
        assert intent is None or intent.name == "set_reminder"


def test_the_words_of_a_reminder_are_kept_as_they_were_said(english: Recognizer) -> None:
    intent = english.recognize("remind me tomorrow at nine to call Dr Ng about the ten minute test")
    assert intent is not None
    assert intent.text("what") == "call Dr Ng about the ten minute test"
    assert intent.when == When(hour=9, days=1)


@pytest.mark.parametrize(
    ("language", "sentence", "expected"),
    [
        ("de", "stelle einen Timer für zehn Minuten", ("set_timer", {"duration": "600"})),
        ("de", "wie spät ist es", ("get_time", {})),
        ("fr", "quelle heure est-il", ("get_time", {})),
        ("es", "qué hora es", ("get_time", {})),
        ("nl", "hoe laat is het", ("get_time", {})),
    ],
)
def test_other_languages_have_home_assistants_sentences(
    language: str, sentence: str, expected: tuple[str, dict[str, str]]
) -> None:
    assert told(Recognizer(language).recognize(sentence)) == expected


def test_languages_of_every_kind_load() -> None:
    assert len(languages()) > 50
    for language in ("pl", "zh-CN", "ar", "pt-BR", "ja"):
        assert Recognizer(language).recognize("qwertz asdf") is None


def said_by_home_assistant() -> Iterator[str]:
    """Some of what Home Assistant's English sentences can be, of every one; numbers are 12 and 45."""
    stock = Stock("en").intents
    lists = {
        **stock.slot_lists,
        "timer_name": TextSlotList.from_strings(["pasta", "green tea"], name="timer_name"),
    }
    for name in ("timer_seconds", "timer_minutes", "timer_hours", "volume", "volume_step_up", "volume_step_down"):
        lists[name] = TextSlotList.from_strings(["12", "45"], name=name)
    for intent in stock.intents.values():
        for sentence in (one for data in intent.data for one in data.sentences):
            for text in islice(sample_expression(sentence.expression, lists, stock.expansion_rules), 0, 400, 120):
                yield " ".join(text.split())


def test_whatever_home_assistants_sentences_say_ours_take_the_same_way(english: Recognizer) -> None:
    stock = Stock("en")
    texts = {*said_by_home_assistant()}
    assert len(texts) > 300
    differ = {}
    for text in texts:
        ours, theirs = told(english.recognize(text)), told(stock.recognize(text))
        assert theirs is not None
        name = theirs[1].get("name", "")
        # They take "the" of "the timer" and the length of "the 45 minute timer" for a name.
        if name not in {"the", "my"} and not name[:1].isdigit() and ours != theirs:
            differ[text] = (ours, theirs)
    assert differ == {}


@pytest.mark.slow
def test_every_language_of_the_package_loads() -> None:
    for language in languages():
        assert Recognizer(language).recognize("qwertz asdf") is None


def test_a_language_without_sentences_is_named() -> None:
    with pytest.raises(InputError, match="'tlh'"):
        Recognizer("tlh")
