"""Idioms about the home become plainer words, and what never was is no command."""

from __future__ import annotations

import pytest

from perslm_runtime.home_idioms import never_was, plain_verbs, without_idioms


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("retract the awning", "close the awning"),
        ("pull back rafi's curtains", "open rafi's curtains"),
        ("take the chill off the conservatory", "make the conservatory warmer"),
        ("off you pop, hector", "start hector"),
        ("reverse the ceiling fan", "set the direction of the ceiling fan to reverse"),
        ("turn the light on", "turn the light on"),
    ],
)
def test_an_idiom_becomes_the_plain_words_that_mean_it(said: str, plain: str) -> None:
    assert without_idioms(said) == plain


def test_what_would_have_been_and_praise_are_no_commands() -> None:
    assert never_was("i would have opened the gate")
    assert never_was("it is nice and warm in here")
    assert not never_was("open the gate")


def test_minding_to_do_something_is_asking_for_it() -> None:
    assert plain_verbs("would you mind closing the blinds") == "could you close the blinds"
