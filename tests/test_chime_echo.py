"""Our own chime is taken out of the sound; speech over it stays."""

from __future__ import annotations

import numpy as np
import pytest

from perslm_daemon.chime_echo import ChimeEcho, echo_of
from perslm_daemon.preroll import Preroll, level_db
from perslm_daemon.sound import FRAME_SAMPLES, Frame
from perslm_runtime.audio import Pcm
from recordings import recorded

RATE = 16_000


def chime() -> np.ndarray:
    at = np.arange(round(0.25 * RATE)) / RATE
    fade = np.minimum(1, np.minimum(at, at[-1] - at) / 0.01)
    return (6000 * fade * (np.sin(2 * np.pi * 880 * at) + np.sin(2 * np.pi * 1320 * at * (at > 0.1)))).astype(
        np.int16
    )


def room(sound: np.ndarray, delay: int, length: int) -> np.ndarray:
    """`sound` after a loudspeaker and a small room, `delay` samples late, in [length]."""
    answer = np.zeros(300)
    answer[[0, 41, 97, 180, 260]] = [0.5, 0.2, -0.15, 0.08, 0.05]
    heard = np.zeros(length)
    wet = np.convolve(sound.astype(float), answer)
    heard[delay : delay + len(wet)] = wet[: length - delay]
    return heard


@pytest.mark.parametrize("delay", [0, 500, 3000, 6000])
def test_the_echo_of_a_chime_is_found_wherever_it_comes(delay):
    heard = room(chime(), delay, 12_000)
    rest = heard - echo_of(chime().astype(float), heard)
    assert level_db(rest.astype(np.int16)) < level_db(heard.astype(np.int16)) - 25


def test_where_no_chime_comes_back_nothing_is_changed():
    speech = recorded("beckett").samples[RATE : RATE + 12_000].astype(float)
    assert not echo_of(chime().astype(float), speech).any()


def test_words_spoken_during_the_chime_are_left():
    speech = recorded("beckett").samples[RATE : RATE + 12_000].astype(float)
    heard = speech + room(chime(), 1500, 12_000)
    rest = heard - echo_of(chime().astype(float), heard)
    wrong = level_db((rest - speech).astype(np.int16))
    assert wrong < level_db(speech.astype(np.int16)) - 8
    assert wrong < level_db((heard - speech).astype(np.int16)) - 12


def test_sound_around_the_chime_is_untouched_and_inside_it_waits_for_all_of_it():
    ring = Preroll()
    echo = ChimeEcho(ring)
    noise = np.random.default_rng(3).normal(0, 30, 40_000)
    heard = (noise + np.pad(room(chime(), 4000, 12_000), (6400, 40_000 - 18_400))).astype(np.int16)
    for number in range(len(heard) // FRAME_SAMPLES):
        if ring.end == 6400:
            echo.played(Pcm(chime(), RATE))
        ring.take(Frame(heard[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES], 1.0 + number * 0.02))
    assert echo.known_after(0, 512) == 512
    whole_by = echo.known_after(7000, 7512)
    assert whole_by > 7512
    assert echo.known_after(whole_by, whole_by + 512) == whole_by + 512
    np.testing.assert_array_equal(echo.removed(heard[:512], 0), heard[:512])
    clean = echo.removed(heard[10_400:14_400], 10_400)
    assert level_db(clean) < level_db(heard[10_400:14_400]) - 20
