"""The wake phrase in a transcript, the words for stop, and our own words coming back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perslm_daemon.phrases import is_own, is_stop, without_phrase


@pytest.mark.parametrize(
    ("text", "phrase", "rest"),
    [
        ("Okay, Nabu, turn on the light.", "Okay Nabu", "Turn on the light."),
        ("Bu, what time is it?", "Okay Nabu", "What time is it?"),
        ("Hey Jarvis, remember that", "Hey Jarvis", "Remember that"),
        ("Roft, what time is it?", "Hey Mycroft", "What time is it?"),
        ("Okay Nabu.", "Okay Nabu", ""),
        ("Now turn it on.", "Okay Nabu", "Now turn it on."),
        ("Is it raining?", "Hey Jarvis", "Is it raining?"),
        ("Of all the days", "Hey Mycroft", "Of all the days"),
        ("What time is it?", "Okay Nabu", "What time is it?"),
    ],
)
def test_the_wake_phrase_is_cut_and_nothing_else(text, phrase, rest):
    assert without_phrase(text, phrase) == rest


@given(st.text(max_size=60), st.sampled_from(["Okay Nabu", "Hey Jarvis", "Alexa", ""]))
def test_what_is_left_is_the_end_of_what_was_heard(text, phrase):
    rest = without_phrase(text, phrase)
    assert " ".join(text.split()).lower().endswith(" ".join(rest.split()).lower())


@pytest.mark.parametrize(
    "text", ["Stop.", "stop stop stop", "Please stop!", "Stop the timer.", "That's enough.", "Never mind"]
)
def test_words_for_stop(text):
    assert is_stop(text)


@pytest.mark.parametrize(
    "text", ["", "Stop the car.", "When does the bus stop?", "Cancel my appointment tomorrow", "Don't stop"]
)
def test_words_that_are_not_for_stop(text):
    assert not is_stop(text)


def test_our_own_words_are_ours_even_where_they_are_misheard():
    said = "The capital of Italy is Rome. It lies on the river Tiber."
    assert is_own("the capital of Idaly is Rome", said)
    assert is_own("lies on the river", said)


@pytest.mark.parametrize("text", ["stop", "What is the capital of Spain?", "wait, no", ""])
def test_somebody_elses_words_are_not_ours(text):
    assert not is_own(text, "The capital of Italy is Rome. What is it known for?")
