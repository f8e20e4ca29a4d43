"""Where somebody speaks: on a real reading, on noise, and the rules that make stretches of probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.audio import Pcm
from perslm_runtime.errors import Cancelled, EngineError, InputError
from perslm_runtime.lane import Stop
from perslm_runtime.vad import FRAME_S, FRAME_SAMPLES, Silero, speech_stretches
from recordings import recorded


@pytest.fixture(scope="module")
def silero() -> Iterator[Silero]:
    with Silero() as engine:
        yield engine


def test_the_six_sentences_of_a_reading_are_six_stretches(silero):
    found = silero.segments(recorded("beckett"), Stop())
    assert len(found) == 6
    assert all(0.3 < end - start < 2.0 for start, end in found)
    assert found == sorted(found)


def test_speech_between_silences_is_found_where_it_is(silero):
    speech = recorded("beckett").samples
    start, end = silero.segments(Pcm(speech, 16_000), Stop())[0]
    word = speech[round(start * 16_000) : round(end * 16_000)]
    placed = np.zeros(16_000 * 4, np.int16)
    placed[32_000 : 32_000 + len(word)] = word
    (found,) = silero.segments(Pcm(placed, 16_000), Stop())
    assert abs(found[0] - 2.0) < 0.1
    assert abs(found[1] - 2.0 - (end - start)) < 0.3


@pytest.mark.parametrize("loudness", [0, 30, 3000])
def test_silence_and_noise_are_no_speech(silero, loudness):
    noise = np.random.default_rng(1).normal(0, loudness, 32_000)
    assert silero.segments(Pcm(noise.astype(np.int16), 16_000), Stop()) == []


def test_the_same_recording_gives_the_same_stretches_twice(silero):
    pcm = Pcm(recorded("beckett").samples[: 3 * 16_000], 16_000)
    assert silero.segments(pcm, Stop()) == silero.segments(pcm, Stop()) != []


def test_frames_of_another_length_or_rate_are_refused(silero):
    for wrong in (Pcm(np.zeros(511, np.int16), 16_000), Pcm(np.zeros(FRAME_SAMPLES, np.int16), 8_000)):
        with pytest.raises(InputError):
            silero.probability(wrong)
    with pytest.raises(InputError, match="resample it"):
        silero.segments(Pcm(np.zeros(8_000, np.int16), 8_000), Stop())
    assert silero.segments(Pcm(np.zeros(0, np.int16), 16_000), Stop()) == []


def test_a_stop_ends_it_and_a_closed_detector_says_so():
    stop = Stop()
    stop.set()
    engine = Silero()
    with pytest.raises(Cancelled):
        engine.segments(recorded("beckett"), stop)
    assert "silence as silence" in engine.prove()
    assert engine.file.is_file()
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.probability(Pcm(np.zeros(FRAME_SAMPLES, np.int16), 16_000))


def test_it_takes_more_to_begin_a_stretch_than_to_stay_in_it():
    likely = [0.4] * 20 + [0.6] * 10 + [0.4] * 20 + [0.1] * 20
    assert speech_stretches(likely, 0.1, 0.3) == [(round(20 * FRAME_S, 3), round(50 * FRAME_S, 3))]


def test_a_breath_does_not_part_a_stretch_and_a_click_is_none():
    talk, breath, pause, click = [0.9] * 20, [0.0] * 5, [0.0] * 20, [0.9]
    assert len(speech_stretches(talk + breath + talk, 0.1, 0.3)) == 1
    assert len(speech_stretches(talk + pause + talk, 0.1, 0.3)) == 2
    assert speech_stretches(pause + click + pause, 0.1, 0.3) == []


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.floats(0, 1), max_size=200), st.floats(0.0, 0.5), st.floats(0.03, 1.0))
def test_stretches_are_in_order_apart_and_inside(likely, speech_s, silence_s):
    found = speech_stretches(likely, speech_s, silence_s)
    edges = [edge for stretch in found for edge in stretch]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(likely) * FRAME_S + 0.001 for edge in edges)
    assert all(later[0] - earlier[1] >= silence_s - 2 * FRAME_S for earlier, later in pairwise(found))
