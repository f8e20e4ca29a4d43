from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.audio import Pcm, resample
from perslm_runtime.resampler import Resampler

RATES = [(48_000, 16_000), (44_100, 16_000), (22_050, 48_000), (22_050, 44_100), (8_000, 16_000), (16_000, 16_000)]


def noise(samples: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype(np.int16)


@pytest.mark.parametrize(("source", "target"), RATES)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 5000), max_size=6))
def test_pieces_become_what_the_whole_becomes(source: int, target: int, cuts: list[int]) -> None:
    sound = noise(5000)
    stream = Resampler(source, target)
    pieces = [stream.feed(piece) for piece in np.split(sound, sorted(cuts))]
    pieces.append(stream.flush())
    whole = resample(Pcm(sound, source), target).samples
    made = np.concatenate(pieces)
    assert abs(len(made) - len(whole)) <= 1
    together = min(len(made), len(whole))
    assert np.abs(made[:together].astype(int) - whole[:together]).max() <= 1


def test_a_sound_that_was_flushed_leaves_nothing_in_the_next() -> None:
    stream = Resampler(22_050, 48_000)
    first = np.concatenate((stream.feed(noise(4000)), stream.flush()))
    again = np.concatenate((stream.feed(noise(4000)), stream.flush()))
    assert np.array_equal(first, again)


def test_a_tone_goes_through_as_one_tone_at_its_own_level() -> None:
    at = np.arange(48_000) / 48_000
    tone = (10_000 * np.sin(2 * np.pi * 1000 * at)).astype(np.int16)
    stream = Resampler(48_000, 16_000)
    made = np.concatenate([stream.feed(piece) for piece in np.split(tone, 50)])[1000:]
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    assert np.argmax(spectrum) * 16_000 / len(made) == pytest.approx(1000, abs=2)
    assert np.abs(made).max() == pytest.approx(10_000, rel=0.01)
    peak = int(np.argmax(spectrum))
    beside = np.delete(spectrum, range(peak - 8, peak + 9))
    assert beside.max() < spectrum.max() / 1000, "60 dB below, at every block border too"
