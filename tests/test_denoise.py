"""Noise suppression and gain on whatever pieces the sound comes in."""

from __future__ import annotations

import numpy as np

from perslm_daemon.preroll import level_db
from perslm_runtime.denoise import Denoiser
from recordings import recorded


def noisy() -> np.ndarray:
    speech = recorded("beckett").samples[:48_000].astype(float)
    return np.clip(speech + np.random.default_rng(5).normal(0, 300, len(speech)), -32768, 32767).astype(np.int16)


def test_switched_off_it_changes_nothing():
    sound = noisy()
    assert not Denoiser().works
    np.testing.assert_array_equal(Denoiser().clean(sound), sound)


def test_the_size_of_the_pieces_does_not_matter():
    sound = noisy()
    whole = Denoiser(2).clean(sound)
    cleaner = Denoiser(2)
    pieces = np.concatenate([cleaner.clean(sound[at : at + 333]) for at in range(0, len(sound), 333)])
    assert len(pieces) == len(whole)
    np.testing.assert_array_equal(pieces, whole)


def test_noise_alone_becomes_much_softer():
    noise = np.random.default_rng(6).normal(0, 500, 64_000).astype(np.int16)
    clean = Denoiser(3).clean(noise)
    assert level_db(clean[32_000:]) < level_db(noise[32_000:]) - 10


def test_gain_raises_soft_speech():
    soft = (recorded("beckett").samples[:96_000] / 30).astype(np.int16)
    assert level_db(Denoiser(0, 15).clean(soft)[48_000:]) > level_db(soft[48_000:]) + 6
