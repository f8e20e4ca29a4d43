from __future__ import annotations

import time

import anyio
import numpy as np
import pytest

from perslm_daemon.microphone import Intake
from perslm_daemon.sound import FRAME_SAMPLES

pytestmark = pytest.mark.anyio


def tone(hz: float, seconds: float, rate_hz: int) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.int16)


async def frames_of(intake: Intake, take: object, sound: np.ndarray, blocks: int) -> list[np.ndarray]:
    got = []
    with intake.listener() as frames:
        for block in np.array_split(sound, blocks):
            take(block.tobytes(), False)
            intake.deliver()
        with anyio.move_on_after(0.05):
            async for frame in frames:
                assert len(frame.samples) == FRAME_SAMPLES
                got.append(frame.samples)
    return got


@pytest.mark.parametrize(("channel", "loudness"), [(0, 4000), (1, 8000), (2, 0)])
async def test_the_channels_are_averaged_or_one_is_heard(channel: int, loudness: int) -> None:
    intake = Intake(channel)
    left = tone(500, 1.0, 48_000)
    both = np.stack((left, np.zeros_like(left)), axis=1)
    got = np.concatenate(await frames_of(intake, intake.device(48_000, 2), both, 37))
    assert len(got) == pytest.approx(16_000, abs=2 * FRAME_SAMPLES)
    assert np.abs(got).max() == pytest.approx(loudness, rel=0.02, abs=1)


async def test_a_device_of_another_form_goes_on_after_the_first() -> None:
    intake = Intake()
    first = await frames_of(intake, intake.device(44_100, 1), tone(500, 0.5, 44_100), 10)
    second = await frames_of(intake, intake.device(16_000, 4), np.repeat(tone(500, 0.5, 16_000), 4), 10)
    assert len(first) == pytest.approx(25, abs=1)
    assert len(second) == 25
    assert np.abs(second[-1]).max() == pytest.approx(8000, rel=0.02)


async def test_a_slow_listener_loses_the_oldest_and_it_is_counted() -> None:
    intake = Intake()
    take = intake.device(16_000, 1)
    with intake.listener() as slow:
        for number in range(150):
            take(np.full(FRAME_SAMPLES, number + 1, np.int16).tobytes(), False)
            intake.deliver()
        assert intake.overruns == 50
        assert (await slow.receive()).samples[0] == 51
        assert slow.statistics().current_buffer_used == 99


async def test_while_it_is_patient_what_waits_comes_as_one_and_is_the_same_sound() -> None:
    sound = tone(500, 1.0, 44_100)
    single, patient = Intake(), Intake()
    patient.patient = True
    expected = np.concatenate(await frames_of(single, single.device(44_100, 1), sound, 50))
    take = patient.device(44_100, 1)
    got = []
    with patient.listener() as frames:
        for number, block in enumerate(np.array_split(sound, 50), 1):
            take(block.tobytes(), False)
            if number % 6 == 0:
                patient.deliver()
                got.append(frames.receive_nowait().samples)
                assert len(got[-1]) % FRAME_SAMPLES == 0
                assert frames.statistics().current_buffer_used == 0
        patient.patient = False
        patient.deliver()
        while frames.statistics().current_buffer_used:
            got.append(frames.receive_nowait().samples)
    assert np.array_equal(np.concatenate(got), expected)


async def test_a_loop_that_is_held_up_for_a_second_loses_the_oldest_blocks() -> None:
    intake = Intake()
    take = intake.device(16_000, 1)
    with intake.listener() as frames:
        for number in range(60):
            take(np.full(FRAME_SAMPLES, number + 1, np.int16).tobytes(), False)
        intake.deliver()
        assert intake.overruns == 10
        assert (await frames.receive()).samples[0] == 11


async def test_of_a_closed_microphone_nothing_is_handed_out_not_even_what_waited() -> None:
    intake = Intake()
    take = intake.device(16_000, 1)
    with intake.listener() as frames:
        take(np.ones(FRAME_SAMPLES, np.int16).tobytes(), False)
        intake.closed = True
        intake.deliver()
        take(np.ones(FRAME_SAMPLES, np.int16).tobytes(), False)
        intake.closed = False
        intake.deliver()
        assert frames.statistics().current_buffer_used == 0


async def test_a_frame_carries_the_time_of_its_last_sample() -> None:
    intake = Intake()
    take = intake.device(16_000, 1)
    with intake.listener() as frames:
        take(np.ones(3 * FRAME_SAMPLES, np.int16).tobytes(), False)
        now = time.monotonic()
        intake.deliver()
        at = [(await frames.receive()).at for _ in range(3)]
    assert np.diff(at) == pytest.approx([0.02, 0.02])
    assert at[-1] == pytest.approx(now, abs=0.05)


async def test_a_device_says_when_it_lost_sound() -> None:
    intake = Intake()
    intake.device(16_000, 1)(b"\0" * 640, True)
    assert intake.overruns == 1
