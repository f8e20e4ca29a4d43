"""The ring of the last half minute."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perslm_daemon.preroll import SILENCE_DB, Preroll, level_db
from perslm_daemon.sound import FRAME_SAMPLES, Frame


def frame(number: int, at: float) -> Frame:
    first = number * FRAME_SAMPLES
    return Frame(np.arange(first, first + FRAME_SAMPLES).astype(np.int16), at)


@given(frames=st.integers(1, 60), start=st.integers(-100, 9000), length=st.integers(0, 9000))
def test_what_is_kept_reads_back_as_it_was(frames, start, length):
    ring = Preroll(kept_s=0.5)
    for number in range(frames):
        ring.take(frame(number, 100.0 + number * 0.02))
    assert ring.end == frames * FRAME_SAMPLES
    first, last = max(start, ring.begins), min(start + length, ring.end)
    expected = np.arange(first, max(first, last)).astype(np.int16)
    np.testing.assert_array_equal(ring.read(start, start + length), expected)
    assert ring.end - ring.begins <= 8000


def test_a_gap_in_time_forgets_what_was_before():
    ring = Preroll()
    ring.take(frame(0, 10.0))
    ring.take(frame(1, 10.02))
    assert (ring.begins, ring.gaps) == (0, 0)
    ring.take(frame(2, 12.0))
    assert (ring.begins, ring.gaps) == (2 * FRAME_SAMPLES, 1)


def test_forgetting_leaves_no_sample():
    ring = Preroll()
    ring.take(frame(3, 10.0))
    ring.forget()
    assert len(ring.read(0)) == 0
    assert not ring._ring.any()


def test_samples_and_times_belong_together():
    ring = Preroll()
    for number in range(10):
        ring.take(frame(number, 50.0 + number * 0.02))
    assert ring.time_of(ring.end) == pytest.approx(50.18)
    assert ring.sample_at(ring.time_of(1000)) == 1000


def test_levels_are_decibels_below_full_scale():
    assert level_db(np.zeros(320, np.int16)) == SILENCE_DB
    square = np.where(np.arange(320) % 2, 16_384, -16_384).astype(np.int16)
    assert level_db(square) == pytest.approx(-6.02, abs=0.01)


@pytest.mark.anyio
async def test_a_reader_waits_for_sound_that_has_not_come():
    ring = Preroll()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ring.beyond, 2 * FRAME_SAMPLES)
        await anyio.sleep(0.01)
        ring.take(frame(0, 1.0))
        ring.take(frame(1, 1.02))
