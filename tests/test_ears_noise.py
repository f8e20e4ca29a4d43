"""Wake words and commands in noise, at other paces and clipped: seeded, and synthetic where it says so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from listening import said_at
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.lane import Stop
from perslm_runtime.stt_whisper import Whisper
from perslm_runtime.wake import BUILT_IN, MicroWakeWord
from real_models import model_path
from recordings import pieces, recorded, sphinx_clips
from wer import word_error_rate

pytestmark = pytest.mark.slow

PHRASES = {
    "okay_nabu": "Okay Nabu.",
    "hey_jarvis": "Hey Jarvis.",
    "hey_mycroft": "Hey Mycroft.",
    "alexa": "Alexa.",
}
PACES = (0.75, 0.9, 1.0, 1.15, 1.35)


def in_noise(sound: Pcm, ratio_db: float, seed: int, around_s: float = 1.0) -> Pcm:
    """White noise under the sound and `around_s` of it on both sides; `ratio_db` is speech to noise."""
    padded = np.pad(sound.samples, round(around_s * SPEECH_RATE_HZ)).astype(np.float64)
    loud = np.sqrt(np.mean(np.square(sound.samples.astype(np.float64))))
    noise = np.random.default_rng(seed).normal(0, loud * 10 ** (-ratio_db / 20), len(padded))
    return Pcm(np.clip(padded + noise, -32768, 32767).astype(np.int16), SPEECH_RATE_HZ)


def clipped(sound: Pcm, gain: float) -> Pcm:
    """As a microphone that is turned up too far gives it."""
    return Pcm(np.clip(sound.samples * gain, -32768, 32767).astype(np.int16), SPEECH_RATE_HZ)


@pytest.fixture(scope="module")
def words() -> Iterator[MicroWakeWord]:
    with MicroWakeWord(BUILT_IN) as engine:
        yield engine


@pytest.fixture(scope="module")
def whisper() -> Iterator[Whisper]:
    with Whisper(model_path("whisper-tiny.en", "model.bin").parent, 2) as engine:
        yield engine


def heard(engine: MicroWakeWord, sound: Pcm) -> list[str]:
    engine.reset()
    return [found.word for piece in pieces(sound, 0.06) for found in engine.accept(piece)]


@pytest.mark.parametrize("word", PHRASES)
def test_a_wake_word_is_heard_at_five_paces_and_three_noises(words, word):
    missed = [
        (pace, ratio_db)
        for number, pace in enumerate(PACES)
        for ratio_db in (40.0, 25.0, 15.0)
        if heard(words, in_noise(said_at(PHRASES[word], pace), ratio_db, seed=number)) != [word]
    ]
    assert len(missed) <= 3, missed  # all in the loudest noise


def test_more_sensitive_hears_no_less_and_the_least_hears_nothing_in_speech(words):
    try:
        found = {}
        for sensitivity in (0.0, 0.5, 1.0):
            words.tune(dict.fromkeys(BUILT_IN, sensitivity))
            found[sensitivity] = sum(
                heard(words, in_noise(said_at(phrase, 1.35), 6.0, seed=3)) == [word]
                for word, phrase in PHRASES.items()
            )
        assert found[0.0] <= found[0.5] <= found[1.0], found
        words.tune(dict.fromkeys(BUILT_IN, 0.0))
        assert heard(words, recorded("two_cities")) == []
    finally:
        words.tune(dict.fromkeys(BUILT_IN, 0.5))


def test_only_the_chosen_words_are_listened_for(words):
    try:
        words.choose(["hey_jarvis"])
        assert heard(words, in_noise(said_at("Okay Nabu.", 1.0), 40.0, seed=1)) == []
        assert heard(words, in_noise(said_at("Hey Jarvis.", 1.0), 40.0, seed=1)) == ["hey_jarvis"]
    finally:
        words.choose(BUILT_IN)


def test_forty_four_seconds_of_reading_wake_nobody(words):
    assert heard(words, recorded("two_cities")) == []


@pytest.mark.parametrize(("ratio_db", "most"), [(30.0, 0.15), (15.0, 0.3)])
def test_human_recordings_are_understood_in_noise(whisper, ratio_db, most):
    errors = [
        word_error_rate(
            said, whisper.decode(in_noise(sound, ratio_db, seed=number, around_s=0.2).samples, "", Stop()).text
        )
        for number, (said, sound) in enumerate(sphinx_clips())
    ]
    assert float(np.mean(errors)) <= most


def test_human_recordings_are_understood_clipped(whisper):
    errors = [
        word_error_rate(said, whisper.decode(clipped(sound, 8.0).samples, "", Stop()).text)
        for said, sound in sphinx_clips()
    ]
    assert float(np.mean(errors)) <= 0.3
