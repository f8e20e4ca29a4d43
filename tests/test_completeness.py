"""Finished and unfinished sentences are told apart by their words."""

from __future__ import annotations

import pytest

from perslm_runtime.completeness import Ending, ending_of


@pytest.mark.parametrize(
    "text",
    [
        "Turn on the kitchen light.",
        "turn it on",
        "Turn the volume up.",
        "What time is it?",
        "Who is that?",
        "How are you?",
        "What is the weather like?",
        "What is this song about?",
        "tell me what that is",
        "Set a timer for 10 minutes.",
        "What is two plus two?",
        "Stop.",
        "Good night!",
        "is it going to rain tomorrow",
        "How many legs does a spider have?",
        "what timers do i have",
        "What does a notary do?",
        "cancel that",
        "can you tell me the time please",
        "wake me up at 6:30 am",
        "set an alarm for 7:30",
    ],
)
def test_a_whole_command_is_finished(text):
    assert ending_of(text) is Ending.FINISHED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "Turn on",
        "turn on the",
        "Turn on the kitchen light and",
        "Set a timer for ten",
        "Set a timer for 10.",
        "set a timer for it",
        "what's the",
        "How old is",
        "What is the weather in",
        "Remind me to",
        "Add milk to",
        "Play",
        "Well, I think...",
        "what is two plus",
        "can you please",
        "How do I get candle wax out of",
        "When do we fly to",
        "how long does it take to",
        "What is the capital of",
        "please turn on the",
    ],
)
def test_what_lacks_its_end_is_unfinished(text):
    assert ending_of(text) is Ending.UNFINISHED


@pytest.mark.parametrize(
    "text",
    [
        "the kitchen light",
        "Set the volume to 10.",
        "Anna",
        "set an alarm for seven",
        "What does my new number end in?",
        "what time zone is berlin in",
        "My father Georg died in 2011.",
        "tell me more",
        "When do I have",
    ],
)
def test_what_may_be_all_is_unsure(text):
    assert ending_of(text) is Ending.UNSURE
