from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perslm_daemon.sound_ring import Ring


def ramp(start: int, length: int) -> np.ndarray:
    return np.arange(start, start + length, dtype=np.int16)


@given(puts=st.lists(st.integers(0, 400), max_size=8), takes=st.lists(st.integers(1, 300), max_size=12))
def test_what_is_put_comes_out_once_in_order_and_counted(puts: list[int], takes: list[int]) -> None:
    ring = Ring(16_000)
    start = 1
    for length in puts:
        ring.put(ramp(start, length))
        start += length
    taken = np.concatenate([ring.take(count) for count in takes] or [np.zeros(0, np.int16)])
    sound = taken[taken != 0]
    assert np.array_equal(sound, ramp(1, len(sound)))
    assert ring.heard == len(sound) == min(sum(puts), sum(takes))
    assert ring.queued == sum(puts) - len(sound)


def test_a_clear_is_silence_after_a_fade_of_four_milliseconds() -> None:
    ring = Ring(16_000)
    ring.put(np.full(16_000, 8000, np.int16))
    ring.take(320)
    ring.clear()
    after = ring.take(320)
    assert after[0] == 8000
    assert np.all(np.diff(after[:64]) <= 0)
    assert not after[64:].any()
    assert not ring.take(320).any()
    assert ring.queued == 0
    assert ring.heard == 320 + 64


def test_what_is_put_after_a_clear_is_heard_at_once() -> None:
    ring = Ring(16_000)
    ring.put(np.full(320, 8000, np.int16))
    ring.clear()
    ring.put(np.full(320, 5, np.int16))
    assert np.array_equal(ring.take(320), np.full(320, 5, np.int16)), "what was never begun has nothing to fade"


def test_running_dry_is_a_gap_only_while_a_sound_goes_on() -> None:
    ring = Ring(16_000)
    ring.flowing = True
    ring.take(320)
    assert ring.gaps == 0, "nothing has begun"
    ring.put(ramp(1, 100))
    ring.take(320)
    ring.take(320)
    assert ring.gaps == 1
    ring.flowing = False
    ring.put(ramp(1, 100))
    ring.take(320)
    assert ring.gaps == 1


def test_another_gain_is_reached_in_a_ramp_of_one_buffer() -> None:
    ring = Ring(16_000)
    ring.put(np.full(960, 10_000, np.int16))
    ring.gain = 0.2
    first, second = ring.take(320), ring.take(320)
    assert first[0] == 10_000
    assert np.abs(np.diff(first.astype(int))).max() < 40
    assert set(second) <= {1999, 2000}


def test_what_was_cleared_goes_with_its_stream_and_what_follows_is_whole() -> None:
    ring = Ring(16_000)
    ring.put(np.full(16_000, 8000, np.int16))
    ring.take(320)
    ring.clear()
    ring.put(np.full(320, 5, np.int16))
    ring.anew()
    assert np.array_equal(ring.take(320), np.full(320, 5, np.int16)), "no end of what another stream has played"
    assert (ring.heard, ring.queued) == (640, 0)


def test_another_stream_goes_on_where_the_one_before_was_lost() -> None:
    ring = Ring(16_000)
    ring.put(ramp(1, 640))
    ring.take(320)
    ring.anew()
    assert np.array_equal(ring.take(320), ramp(321, 320))
