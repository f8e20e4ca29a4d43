"""What sentences want of plug-ins: every kind of argument, capital letters, and what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perslm_runtime.errors import PluginRefused
from perslm_runtime.plugin_sentences import PluginSentences, Said, recognize_all

SAID = Said(
    "play",
    (
        (("play {what} by {who} [at volume {level}]", "play {what} [at volume {level}]"), {}),
        (("play {what} for {long}", "play {what} {day}"), {}),
        (("play (some|any) {kind} music", "{kind} music please"), {}),
        (("surprise me",), {"what": "anything", "loud": True}),
    ),
    {
        "what": "text",
        "who": "text",
        "level": "whole",
        "long": "duration",
        "day": "when",
        "kind": "choice",
        "loud": "switch",
    },
    {"kind": ("jazz", "folk")},
)
TABLE = PluginSentences("radio", [SAID])


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("Play Für Elise by Beethoven, please.", {"what": "Für Elise", "who": "Beethoven"}),
        ("play the news at volume seven", {"what": "the news", "level": 7}),
        ("play the news at volume 12", {"what": "the news", "level": 12}),
        ("could you play the rain for half an hour", {"what": "the rain", "long": "half an hour"}),
        ("play the match on Saturday at three", {"what": "the match", "day": "on Saturday at three"}),
        ("play some jazz music", {"kind": "jazz"}),
        ("Surprise me!", {"what": "anything", "loud": True}),
        ("play Two Hours of Silence by Nobody", {"what": "Two Hours of Silence", "who": "Nobody"}),
    ],
)
def test_arguments_come_as_they_were_said(text: str, arguments: dict[str, object]) -> None:
    wanted = TABLE.recognize(text)
    assert wanted is not None
    assert (wanted.plugin, wanted.tool, wanted.arguments) == ("radio", "play", arguments)


@pytest.mark.parametrize("text", ["", "   ", "stop", "play", "please surprise my mother", "play " + "x" * 400])
def test_what_does_not_fit_as_a_whole_is_left_alone(text: str) -> None:
    assert TABLE.recognize(text) is None


def test_the_first_that_knows_a_sentence_has_it() -> None:
    other = PluginSentences("other", [Said("surprise", ((("surprise me",), {}),), {}, {})])
    found = recognize_all([other, TABLE], "surprise me")
    assert found is not None
    assert found.plugin == "other"


@pytest.mark.parametrize("pattern", ["(open", "{never", "[a|b", "[" * 70 + "a" + "]" * 70, "{a} {a} {a} {a}"])
def test_a_sentence_that_cannot_be_read_is_refused_before_anybody_says_one(pattern: str) -> None:
    with pytest.raises(PluginRefused):
        PluginSentences("odd", [Said("x", (((pattern,), {}),), {"a": "text"}, {})])


@given(st.text(max_size=120))
def test_no_sentence_breaks_it(text: str) -> None:
    found = TABLE.recognize(text)
    assert found is None or found.plugin == "radio"
