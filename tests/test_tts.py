"""Piper's voice: one piece per sentence, nothing for what cannot be said, stops in between."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.errors import Cancelled, EngineError
from perslm_runtime.lane import Stop
from perslm_runtime.tts import LONGEST_PIECE, Piper, cut_phonemes
from real_models import model_path
from recordings import voice


@pytest.fixture(scope="module")
def piper() -> Piper:
    return voice()


def test_each_sentence_is_one_piece_of_sound_at_the_voices_rate(piper):
    pieces = list(piper.speak("The light is on. It is half past six.", Stop()))
    assert [piece.rate_hz for piece in pieces] == [22_050, 22_050] == [piper.rate_hz] * 2
    assert all(0.5 < piece.seconds < 3.5 for piece in pieces)
    assert all(piece.samples.dtype == np.int16 for piece in pieces)
    assert all(np.abs(piece.samples.astype(np.int32)).max() > 30_000 for piece in pieces)


@pytest.mark.parametrize("text", ["", "   ", "...", "\n\n", "—", "()", "?", "\0", "\ud800", "[[", "[[ ]]"])
def test_what_cannot_be_said_yields_nothing(piper, text):
    assert list(piper.speak(text, Stop())) == []


def test_phoneme_notation_in_a_text_is_not_obeyed(piper):
    (said,) = piper.speak("[[1 2 3]]", Stop())  # as notation it has no sound at all
    assert said.seconds > 0.5


def test_a_stop_comes_between_the_pieces(piper):
    stop = Stop()
    speaking = piper.speak("One. Two. Three.", stop)
    next(speaking)
    stop.set()
    with pytest.raises(Cancelled):
        next(speaking)
    assert piper.prove().startswith("spoke one word")


def test_a_sentence_without_an_end_comes_in_bounded_pieces(piper):
    speaking = piper.speak("and then " * 40, Stop())
    first, second = next(speaking), next(speaking)
    speaking.close()
    assert max(first.seconds, second.seconds) < 16


def test_pace_and_volume_can_be_chosen():
    folder = model_path("piper-en_US-joe-medium", "voice.onnx").parent
    said = {}
    for pace in (1.0, 1.6):
        with Piper(folder, 2, length_scale=pace, volume=0.25) as piper:
            (said[pace],) = piper.speak("Turn on the kitchen light, please.", Stop())
    assert said[1.6].seconds > 1.3 * said[1.0].seconds
    assert 8_000 < np.abs(said[1.0].samples.astype(np.int32)).max() <= 8_192


def test_the_words_spoken_are_not_logged(piper, caplog):
    with caplog.at_level(logging.DEBUG):
        list(piper.speak("My secret is 你好.", Stop()))
    assert caplog.text == ""


def test_a_voice_that_is_missing_or_broken_says_what_to_do(tmp_path):
    folder = tmp_path / "joe"
    folder.mkdir()
    with pytest.raises(EngineError, match=r"voice\.onnx\.json is missing or broken: run `perslm models pull joe`"):
        Piper(folder, 1)
    description = model_path("piper-en_US-joe-medium", "voice.onnx.json")
    shutil.copy(description, folder)
    with pytest.raises(EngineError, match="perslm models"):
        Piper(folder, 1)
    (folder / "voice.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineError, match="run `perslm models verify joe`"):
        Piper(folder, 1)
    (folder / "voice.onnx.json").write_text(json.dumps({"audio": []}))
    with pytest.raises(EngineError, match="missing or broken"):
        Piper(folder, 1)


def test_a_closed_voice_says_so():
    piper = Piper(model_path("piper-en_US-joe-medium", "voice.onnx").parent, 1)
    piper.close()
    piper.close()
    with pytest.raises(EngineError, match="closed"):
        list(piper.speak("Hello.", Stop()))


@settings(max_examples=60, deadline=None, database=None)
@given(st.text(alphabet="abc ,;.!", max_size=900), st.integers(2, LONGEST_PIECE))
def test_cutting_phonemes_loses_no_letter(phonemes, longest):
    pieces = list(cut_phonemes(phonemes, longest))
    assert all(len(piece) <= longest for piece in pieces)
    letters = "".join("".join(piece) for piece in pieces)
    assert [c for c in letters if c.isalpha()] == [c for c in phonemes if c.isalpha()]


def test_a_long_sentence_is_cut_after_a_comma_or_else_between_words():
    cut = ["".join(piece) for piece in cut_phonemes("aaa bbb, ccc ddd eee fff", 12)]
    assert cut == ["aaa bbb,", " ccc ddd ", "eee fff"]
    assert ["".join(piece) for piece in cut_phonemes("a" * 25, 10)] == ["a" * 10, "a" * 10, "a" * 5]
