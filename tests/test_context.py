"""What of a conversation stays in the window, and how much of the memory is given."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.context import Division, Shares, Window, divide, draws_on, fitting, notes_of, passage
from perslm_runtime.prompt import Conversation

TALK = [
    "Good morning.",
    "My dentist is called Doctor Okoye.",
    "What is the capital of Peru?",
    "I promised Selma to water her ferns on Friday. It rains a lot.",
    "The gate code is 5813.",
]


def words(text: str) -> int:
    return len(text.split())


def characters(text: str) -> list[int]:
    return [ord(character) for character in text]


def test_names_numbers_and_promises_are_noted_and_small_talk_is_not() -> None:
    assert notes_of(TALK, 100, words) == [
        "My dentist is called Doctor Okoye.",
        "I promised Selma to water her ferns on Friday.",
        "The gate code is 5813.",
    ]


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.sampled_from(TALK), max_size=12), st.integers(0, 40))
def test_notes_stay_within_their_room_and_are_the_persons_own_words(said: list[str], most: int) -> None:
    notes = notes_of(said, most, words)
    assert sum(map(words, notes)) <= most
    assert all(any(note in text for text in said) for note in notes)


def test_a_slow_board_is_given_less_to_read() -> None:
    assert divide(1000, 20.0).memories < divide(1000, 500.0).memories <= 450
    assert divide(1000, 0.5).memories >= 48
    assert divide(1000, 500.0, Shares(0.1, 0.2)) == Division(100, 200)
    assert divide(20, 500.0).memories <= 9


def test_of_a_long_memory_the_passage_that_answers_is_given() -> None:
    manual = " ".join(f"Chapter {n} is about screws and bolts of many kinds." for n in range(60))
    text = f"{manual} The boiler is drained by the red valve. {manual}"
    found = passage(text, "Which valve drains the boiler?", 200)
    assert "red valve" in found
    assert len(found) <= 204
    given_text, *_ = fitting([text, "Something else."], "Which valve drains the boiler?", 40, words)
    assert "red valve" in given_text


def test_the_best_memory_is_given_even_where_the_room_is_small_and_others_only_whole() -> None:
    assert fitting(["one two three", "four five", "six"], "?", 4, words) == ["one two three", "six"]
    assert len(fitting(["word " * 500], "?", 10, words)) == 1
    assert fitting([], "?", 10, words) == []


@pytest.mark.parametrize(
    ("reply", "drawn"),
    [
        ("The warranty lasts until March 2029.", True),
        ("Until March 2029, then you pay for repairs yourself.", False),
        ("The warranty lasts.", False),  # says nothing that was not asked
        ("I do not know.", False),
    ],
)
def test_a_reply_draws_on_what_most_of_its_own_words_stand_in(reply: str, drawn: bool) -> None:
    text = "Warranty. The warranty lasts until March 2029."
    assert draws_on(reply, "How long does the warranty last?", text) is drawn


def test_what_leaves_a_full_window_is_noted() -> None:
    talk = Conversation(900, [1] * 50, [2], [3])
    window = Window(characters, 60)
    for text in TALK:
        talk.add(characters(text), characters("All right."), text)
    talk.add([5] * 100, [6] * 100, "x" * 100)
    window.note_what_leaves(talk, 500)
    kept = "".join(map(chr, talk.summary))
    assert "5813" in kept
    assert "Peru" not in kept
    assert len(talk.prompt([7] * 140, 60)) + 60 <= 900


@settings(max_examples=40, deadline=None, database=None)
@given(st.lists(st.sampled_from(TALK), max_size=20), st.integers(200, 900))
def test_noting_what_leaves_never_overfills_the_window(said: list[str], limit: int) -> None:
    talk = Conversation(limit, [1] * 50, [2], [3])
    window = Window(characters, 40)
    for text in said:
        if not talk.fits(characters(text), 40):
            window.note_what_leaves(talk, len(text) + 40)
        assert len(talk.prompt(characters(text), 40)) + 40 <= limit
        talk.add(characters(text), characters("Yes."), text)
    assert len(talk.said) == len(talk.turns)
