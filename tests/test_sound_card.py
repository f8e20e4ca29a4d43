"""The sound card on a real PulseAudio with null sinks: what it plays and hears, and devices that go and come."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import numpy as np
import pytest

from perslm_daemon import loudspeaker, sound_card
from perslm_daemon.config_sections import Audio
from perslm_daemon.loudspeaker import Stream
from perslm_daemon.portaudio import PortAudio
from perslm_daemon.sound import FRAME_SAMPLES, Frame
from perslm_daemon.sound_card import SoundCard, SoundState
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import DeviceError
from perslm_runtime.lane import Stop
from pulse import Pulse, pulse_server, zero_runs

pytestmark = pytest.mark.anyio


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    with pulse_server() as server:
        yield server


def tone(seconds: float, rate_hz: int = 22_050, hz: float = 440.0) -> Pcm:
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return Pcm((12_000 * np.sin(2 * np.pi * hz * at)).astype(np.int16), rate_hz)


async def pieces(sound: Pcm, count: int = 5) -> AsyncIterator[Pcm]:
    for part in np.array_split(sound.samples, count):
        yield Pcm(part, sound.rate_hz)


@asynccontextmanager
async def card(wanted: Audio | None = None) -> AsyncIterator[tuple[SoundCard, list[SoundState]]]:
    told: list[SoundState] = []
    owner = SoundCard(wanted or Audio(), tell=told.append)
    async with anyio.create_task_group() as tasks:
        await tasks.start(owner.run)
        yield owner, told
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    with anyio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for happens on a device
            await anyio.sleep(0.02)


async def heard_for(frames: anyio.abc.ObjectReceiveStream[Frame], seconds: float) -> np.ndarray:
    samples = []
    for _ in range(round(seconds * 50)):
        frame = await frames.receive()
        assert len(frame.samples) == FRAME_SAMPLES
        samples.append(frame.samples)
    return np.concatenate(samples)


async def test_what_the_microphone_hears_is_exact_to_the_sample(pulse: Pulse) -> None:
    async with card() as (owner, _):
        player = await anyio.to_thread.run_sync(pulse.speak, tone(4.0, 48_000, 1000.0))
        try:
            async with owner.listen() as frames:
                while not (await frames.receive()).samples.any():
                    pass
                await heard_for(frames, 0.2)
                sound = await heard_for(frames, 3.0)
        finally:
            player.kill()
            player.wait()
        assert owner.state.overruns == 0
    # One tone without a jump: what a sample is follows from the two before it; 2 cos(w) x[n-1] - x[n-2].
    values = sound.astype(float)
    expected = 2 * np.cos(2 * np.pi * 1000 / 16_000) * values[1:-1] - values[:-2]
    assert np.abs(expected - values[2:]).max() < 40, "a dropped or doubled sample would be off by thousands"
    turns = np.flatnonzero((values[:-1] < 0) & (values[1:] >= 0))
    assert (turns[-1] - turns[0]) / (len(turns) - 1) == pytest.approx(16.0, abs=0.005)
    assert np.abs(values).max() == pytest.approx(12_000, rel=0.03)


async def test_what_is_played_has_no_gap_and_is_counted_to_the_sample(pulse: Pulse) -> None:
    sound = tone(1.0)
    async with card() as (owner, _):
        # Of a machine that is busy the server itself may get too little; five times in a row it does not.
        for attempt in range(5):
            async with pulse.recording() as recorded:
                seconds = await owner.play(pieces(sound))
            assert seconds == pytest.approx(sound.seconds, abs=2 / 48_000)
            assert owner.state.gaps == 0, "what we were late with is ours on any machine"
            samples = recorded.sound.samples
            loud = np.flatnonzero(np.abs(samples.astype(int)) > 2)
            # A tone is near zero for a sample or two, never longer. A busy machine's recorder may end too early.
            length_s = (loud[-1] - loud[0]) / 48_000
            whole = max(zero_runs(samples), default=0) <= 2 and abs(length_s - sound.seconds) <= 0.01
            if whole or attempt == 4:
                break
        assert max(zero_runs(samples), default=0) <= 2
        assert (loud[-1] - loud[0]) / 48_000 == pytest.approx(sound.seconds, abs=0.01)


async def test_cancelling_is_silence_within_a_buffer(pulse: Pulse) -> None:
    async with card() as (owner, _):
        async with pulse.recording() as recorded:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(owner.play, pieces(tone(20.0)))
                    with anyio.fail_after(30):
                        while not (await recorded.so_far()).any():  # noqa: ASYNC110 - another process records it
                            await anyio.sleep(0.02)
                    scope.cancel()
            at_stop = owner._out.ring.heard
            await anyio.sleep(0.1)
            assert owner._out.ring.queued == 0
            after = owner._out.ring.heard - at_stop
            await anyio.sleep(0.3)
        assert after <= 2 * 0.020 * 48_000, "the buffer being filled, and 4 ms of going down"
        assert not recorded.sound.samples[-4800:].any()
        assert await owner.play(pieces(tone(0.1))) == pytest.approx(0.1, abs=0.001), "and it plays again"


async def test_what_is_cut_off_is_not_heard_though_the_server_had_it_already(pulse: Pulse) -> None:
    async with card(Audio(buffer_ms=100)) as (owner, _):  # of which the server holds three
        for attempt in range(5):
            async with pulse.recording() as recorded:
                before = owner._out.ring.heard
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(owner.play, pieces(tone(20.0)))
                        with anyio.fail_after(30):
                            while np.count_nonzero(await recorded.so_far()) < 24_000:  # noqa: ASYNC110 - recorded
                                await anyio.sleep(0.02)
                        scope.cancel()
                taken_s = (owner._out.ring.heard - before) / 48_000
                await anyio.sleep(0.5)
            loud = np.flatnonzero(np.abs(recorded.sound.samples.astype(int)) > 2)
            heard_s = (loud[-1] - loud[0]) / 48_000
            # Uncut, all that was taken is heard. Of a busy machine the server may hold little; not five times.
            if heard_s < taken_s - 0.03 or attempt == 4:
                break
        assert heard_s < taken_s - 0.03


async def test_each_thing_said_begins_a_stream_of_its_own_and_one_rests_between(pulse: Pulse) -> None:
    async def streams() -> list[int]:
        return [one["index"] for one in await anyio.to_thread.run_sync(pulse.listed, "sink-inputs")]

    async with card() as (owner, _):
        (resting,) = await streams()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(owner.play, pieces(tone(1.5)))
            await until(lambda: owner._out.ring.heard > 0)
            (speaking,) = await streams()
        await until(lambda: owner._out.wanted is Stream.RESTING and owner._out._stream is Stream.RESTING)
        (again,) = await streams()
        assert len({resting, speaking, again}) == 3
        assert owner.state.problem is None


async def test_a_mute_closes_the_device(pulse: Pulse) -> None:
    async with card() as (owner, told):
        assert len(await anyio.to_thread.run_sync(pulse.listed, "source-outputs")) == 1
        await owner.mute(True)
        assert await anyio.to_thread.run_sync(pulse.listed, "source-outputs") == []
        assert (owner.state.microphone, owner.state.muted, owner.state.problem) == (None, True, None)
        async with owner.listen() as frames:
            with anyio.move_on_after(0.2) as quiet:
                await frames.receive()
            assert quiet.cancelled_caught
            await owner.mute(False)
            await frames.receive()
        assert [state.muted for state in told][-2:] == [True, False]


async def test_a_microphone_that_is_to_be_mute_is_not_opened_at_the_start(pulse: Pulse) -> None:
    async with card(Audio(muted=True)) as (owner, _):
        assert await anyio.to_thread.run_sync(pulse.listed, "source-outputs") == []
        assert (owner.state.muted, owner.state.problem) == (True, None)
        await owner.mute(False)
        assert owner.state.microphone


async def test_a_card_that_is_unplugged_in_mid_sentence_is_told_and_comes_back(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loudspeaker, "_RETURN_S", 0.5)
    async with card() as (owner, told):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_unplug_after, pulse, 0.2)
            with pytest.raises(DeviceError, match="loudspeaker"):
                await owner.play(pieces(tone(30.0)))
        assert any(state.problem and "loudspeaker" in state.problem for state in told)
        for sink in ("spk", "mic_in"):
            await anyio.to_thread.run_sync(pulse.plug, sink)
        await until(lambda: owner.state.loudspeaker is not None and owner.state.problem is None)
        async with pulse.recording() as recorded:
            assert await owner.play(pieces(tone(0.3))) == pytest.approx(0.3, abs=0.001)
        assert recorded.sound.samples.any()


async def _unplug_after(pulse: Pulse, seconds: float) -> None:
    await anyio.sleep(seconds)
    # Both, as one plug: of a sink alone the server would lead the stream to another.
    for sink in ("spk", "mic_in"):
        await anyio.to_thread.run_sync(pulse.unplug, sink)


async def test_a_frozen_server_holds_up_neither_speech_nor_the_end_and_is_used_when_it_goes_on(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_card, "_STOP_S", 0.2)
    async with card() as (owner, _):
        pulse.freeze()
        await until(lambda: owner.state.problem is not None)
        assert owner.state.microphone is None
        monkeypatch.setattr(loudspeaker, "_RETURN_S", 0.1)
        with anyio.fail_after(20), pytest.raises(DeviceError):
            await owner.play(pieces(tone(0.1)))
        pulse.thaw()
        await until(lambda: owner.state.problem is None)
        async with owner.listen() as frames:
            await frames.receive()
        pulse.freeze()
        await until(lambda: owner.state.problem is not None)
        began = time.monotonic()
    assert time.monotonic() - began < 10, "0.2 s on an idle machine"
    pulse.thaw()


@pytest.fixture
def stopped_pulse() -> Iterator[Pulse]:
    with pulse_server(running=False) as server:
        yield server


async def test_without_a_server_it_lives_and_takes_the_one_that_comes(stopped_pulse: Pulse) -> None:
    async with card() as (owner, told):
        assert owner.state.problem
        with pytest.raises(DeviceError):
            await owner.play(pieces(tone(0.1)))
        await anyio.to_thread.run_sync(stopped_pulse.start)
        await until(lambda: owner.state.problem is None)
        assert owner.state.microphone
        assert told[-1] == owner.state


async def test_a_microphone_that_gives_only_zeros_is_opened_anew_and_told_once(
    pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_card, "ZEROS_S", (0.6, 0.6, 600.0))
    reset = PortAudio.reset

    def slow_reset(engine: PortAudio, stop: Stop) -> None:
        reset(engine, stop)
        time.sleep(0.2)  # as long as a Pi with some cards takes

    monkeypatch.setattr(PortAudio, "reset", slow_reset)
    async with card() as (owner, told):
        before = await anyio.to_thread.run_sync(pulse.listed, "source-outputs")
        owner._out._went_at = 0.0  # the start is long ago
        while owner._zeros < 2:
            # Speech that comes while both are opened anew waits for it.
            assert await owner.play(pieces(tone(0.05))) == pytest.approx(0.05, abs=0.001)
            await anyio.sleep(0.1)
        assert await anyio.to_thread.run_sync(pulse.listed, "source-outputs") != before
        assert len([state for state in told if state.problem and "silence" in state.problem]) >= 1
        player = await anyio.to_thread.run_sync(pulse.speak, tone(2.0))
        await until(lambda: owner.state.problem is None)
        player.kill()
        player.wait()


async def test_a_device_that_is_not_there_is_told_with_the_names_there_are(pulse: Pulse) -> None:
    async with card(Audio(microphone="ReSpeaker")) as (owner, _):
        assert owner.state.microphone is None
        assert owner.state.loudspeaker
        assert "'ReSpeaker'" in (owner.state.problem or "")
        assert "default" in (owner.state.problem or "")


def test_what_alsa_jack_and_portaudio_miss_is_not_on_standard_error(
    stopped_pulse: Pulse, capfd: pytest.CaptureFixture[str]
) -> None:
    assert stopped_pulse

    async def try_in_vain() -> None:
        async with card() as (owner, _):
            assert owner.state.problem
            await anyio.to_thread.run_sync(os.write, 2, b"but what we write is\n")

    anyio.run(try_in_vain)
    assert capfd.readouterr().err == "but what we write is\n"
