"""The mouth over the real voice and a loudspeaker that is a list of samples, played twenty times as fast."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import groupby
from typing import Any

import anyio
import numpy as np
import pytest

from perslm_daemon import chimes
from perslm_daemon.bulletin import Bulletin, Happening, Notice
from perslm_daemon.chimes import Chime
from perslm_daemon.config_sections import Mouth as Wanted
from perslm_daemon.mouth import Mouth
from perslm_daemon.utterance import Priority, Reply
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import BusyError, DeviceError, EngineError
from perslm_runtime.lane import Lane
from perslm_runtime.tts import Piper
from real_models import model_path

pytestmark = pytest.mark.anyio

FAST = 20


class FileSpeaker:
    """Stands for the sound card: plays twenty times as fast, keeps what was heard, and can be pulled out."""

    latency_s = 0.04

    def __init__(self) -> None:
        self.gain = 1.0
        self.there = True
        self.heard: list[tuple[np.ndarray, float]] = []
        self._busy = anyio.Lock()

    async def play(self, pieces: AsyncIterable[Pcm]) -> float:
        async with self._busy:
            seconds = 0.0
            self._check()
            async for piece in pieces:
                step = piece.rate_hz // 50
                for start in range(0, len(piece.samples), step):
                    self._check()
                    part = piece.samples[start : start + step]
                    self.heard.append((part, self.gain))
                    seconds += len(part) / piece.rate_hz
                    await anyio.sleep(0.02 / FAST)
            return seconds

    def _check(self) -> None:
        if not self.there:
            raise DeviceError("the loudspeaker was lost: plug it in again")

    def seconds(self) -> float:
        return sum(len(part) for part, _ in self.heard) / 22_050


@pytest.fixture(scope="module")
def piper() -> Piper:
    return Piper(model_path("piper-en_US-joe-medium", "voice.onnx").parent, threads=2)


class Kept:
    """A voice that outlives its lanes, so that each test need not load it."""

    def __init__(self, piper: Piper) -> None:
        self.speak = piper.speak

    def close(self) -> None:
        pass


@asynccontextmanager
async def mouth_of(piper: Piper, **wanted: Any) -> AsyncIterator[tuple[Mouth, FileSpeaker, Bulletin]]:
    speaker, bulletin = FileSpeaker(), Bulletin()
    async with Lane("tts", lambda: Kept(piper)) as voice:
        mouth = Mouth(voice, speaker, Wanted(**wanted), bulletin)  # type: ignore[arg-type]  # speaks as Piper does
        async with anyio.create_task_group() as tasks:
            await tasks.start(mouth.run)
            yield mouth, speaker, bulletin
            tasks.cancel_scope.cancel()


def pcm(seconds: float, value: int = 1000) -> Pcm:
    return Pcm(np.full(round(seconds * 22_050), value, np.int16), 22_050)


def values(speaker: FileSpeaker) -> list[int]:
    """The different sample values that were heard, in order; the tests' sounds are constant."""
    heard = np.concatenate([part for part, _ in speaker.heard] or [np.zeros(0, np.int16)])
    return [int(heard[at]) for at in np.flatnonzero(np.diff(heard, prepend=0))]


async def until(true: Any, seconds: float = 30.0) -> None:
    with anyio.fail_after(seconds):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another task
            await anyio.sleep(0.005)


async def test_a_text_is_said_sentence_by_sentence_and_every_sample_is_heard(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, speaker, bulletin):
        async with bulletin.listen() as notices:
            seconds = await mouth.say("The first sentence. And this is the second one! A third?")
            told: list[Notice] = []
            with suppress(anyio.WouldBlock):
                while True:
                    told.append(notices.receive_nowait())
        assert seconds == pytest.approx(speaker.seconds())
        assert 2 < seconds < 10
        assert "And this is the second one!" in mouth.said_lately()
        happened = [(one.event_type, dict(one.fields)) for one in told if isinstance(one, Happening)]
        assert [name for name, _ in happened] == ["tts_speaking", "tts_finished"]
        assert happened[1][1]["interrupted"] is False
        assert await mouth.say("... !") == 0.0


async def test_a_reply_begins_with_its_first_piece_and_ends_when_it_was_heard(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, speaker, _):
        async with mouth.reply() as reply:
            await reply.take(pcm(1.0, 1), "First.")
            await until(lambda: speaker.heard)
            assert mouth.speaking
            await reply.take(pcm(1.0, 2), "Second.")
        assert not mouth.speaking
        assert values(speaker) == [1, 2]
        assert speaker.seconds() == pytest.approx(2.0)
        assert mouth.said_lately() == "First. Second."
        assert not reply.interrupted


async def test_silence_ends_a_reply_and_drops_answers_that_wait_but_no_alarm(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, speaker, _), anyio.create_task_group() as tasks:
        heard: dict[str, float] = {}

        async def say(text: str, priority: Priority) -> None:
            heard[text] = await mouth.say(text, priority)

        async with mouth.reply() as reply:
            await reply.take(pcm(60.0, 1))
            await until(lambda: speaker.heard)
            tasks.start_soon(say, "An answer that waits.", Priority.ANSWER)
            tasks.start_soon(say, "A reminder that waits.", Priority.REMINDER)
            await anyio.sleep(0.2)
            assert mouth.silence()
        assert reply.interrupted
        await until(lambda: len(heard) == 2)
        assert heard["An answer that waits."] == 0.0
        assert heard["A reminder that waits."] > 0.5
        assert speaker.seconds() < 30
        assert not mouth.silence(), "nothing is said any more"


async def test_an_alarm_cuts_off_an_answer_and_a_reminder_waits_for_its_end(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, speaker, _), anyio.create_task_group() as tasks:
        replies: dict[str, Reply] = {}

        async def speak(name: str, value: int, seconds: float, priority: Priority) -> None:
            async with mouth.reply(priority) as reply:
                replies[name] = reply
                await reply.take(pcm(seconds, value))

        tasks.start_soon(speak, "answer", 1, 2.0, Priority.ANSWER)
        await until(lambda: speaker.heard)
        tasks.start_soon(speak, "next answer", 2, 1.0, Priority.ANSWER)
        tasks.start_soon(speak, "reminder", 3, 4.0, Priority.REMINDER)
        await until(lambda: values(speaker)[-1] == 3)
        assert values(speaker) == [1, 3], "the reminder goes before the answer that waits, and cuts nothing off"
        tasks.start_soon(speak, "alarm", 4, 1.0, Priority.ALARM)
        await until(lambda: values(speaker)[-1] == 2)
        assert values(speaker) == [1, 3, 4, 2]
    assert {name for name, reply in replies.items() if reply.interrupted} == {"reminder"}


async def test_an_answer_that_is_still_thought_about_holds_up_nobody(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, speaker, _):
        async with mouth.reply() as reply:
            assert await mouth.say("I speak meanwhile.") > 0.5
            await reply.take(pcm(0.5, 7))
        assert values(speaker)[-1] == 7


async def test_a_waiting_text_leaves_the_voice_to_others(piper: Piper) -> None:
    long = " ".join(f"This is sentence number {number}." for number in range(9))
    async with mouth_of(piper) as (mouth, speaker, _), anyio.create_task_group() as tasks:
        async with mouth.reply() as reply:
            await reply.take(pcm(30.0, 1))
            await until(lambda: speaker.heard)
            tasks.start_soon(mouth.say, long)
            await anyio.sleep(0.3)
            with anyio.fail_after(20):
                assert await mouth.say("The alarm has the voice.", Priority.ALARM) > 0.5
        tasks.cancel_scope.cancel()


async def test_cancelling_who_asked_ends_what_is_said(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, speaker, _):
        with anyio.CancelScope() as scope:
            async with mouth.reply() as reply:
                await reply.take(pcm(60.0))
                await until(lambda: speaker.heard)
                scope.cancel()
                await anyio.sleep(1)
        await until(lambda: not mouth.speaking)
        assert speaker.seconds() < 30
        assert await mouth.say("And on it goes.") > 0.3


async def test_without_a_loudspeaker_it_is_told_and_works_again_when_it_is_back(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, speaker, _):
        speaker.there = False
        with pytest.raises(DeviceError, match="plug it in"):
            await mouth.say("Nobody hears this.")
        with pytest.raises(DeviceError):
            async with mouth.reply() as reply:
                await reply.take(pcm(1.0))
        with pytest.raises(DeviceError):
            await mouth.chime(Chime.END)
        speaker.there = True
        assert await mouth.say("But this.") > 0.3


async def test_without_a_voice_it_still_chimes(piper: Piper) -> None:
    speaker = FileSpeaker()
    mouth = Mouth(None, speaker, Wanted(), Bulletin())
    async with anyio.create_task_group() as tasks:
        await tasks.start(mouth.run)
        with pytest.raises(EngineError, match="no voice"):
            await mouth.say("Hello.")
        assert await mouth.chime(Chime.TIMER)
        tasks.cancel_scope.cancel()


async def test_a_chime_says_when_it_was_heard_and_what_it_was(piper: Piper) -> None:
    async with mouth_of(piper, chime_volume=0.4) as (mouth, speaker, _):
        before = time.monotonic()
        played = await mouth.chime(Chime.WAKE)
        assert played is not None
        assert before + speaker.latency_s <= played.at <= time.monotonic() + speaker.latency_s
        assert np.array_equal(np.concatenate([part for part, _ in speaker.heard]), played.sound.samples)
        assert {gain for _, gain in speaker.heard} == {0.4}
        assert mouth.chimes_since(before) == [played]
        assert mouth.chimes_since(played.until + 0.1) == []
        assert not mouth.said_lately()
    async with mouth_of(piper, chimes=False) as (mouth, speaker, _):
        assert await mouth.chime(Chime.WAKE) is None
        assert not speaker.heard


async def test_the_wake_chime_cuts_an_answer_off(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, speaker, _):
        async with mouth.reply() as reply:
            await reply.take(pcm(60.0))
            await until(lambda: speaker.heard)
            assert await mouth.chime(Chime.WAKE)
        assert reply.interrupted


async def test_a_timer_rings_with_its_chime_and_its_words_before_everything_else(piper: Piper) -> None:
    async with mouth_of(piper, chime_volume=0.4) as (mouth, speaker, _):
        async with mouth.reply() as reply:
            await reply.take(pcm(60.0))
            await until(lambda: speaker.heard)
            await mouth.ring("Your egg timer is up.")
        assert reply.interrupted
        assert [gain for gain, _ in groupby(gain for _, gain in speaker.heard)] == [1.0, 0.4, 1.0]
        assert mouth.said_lately() == "Your egg timer is up."


async def test_the_volume_and_the_ducking_are_in_force_at_once(piper: Piper) -> None:
    async with mouth_of(piper, volume=0.8, duck_to=0.25) as (mouth, speaker, _):
        async with mouth.reply() as reply:
            await reply.take(pcm(3.0))
            await until(lambda: speaker.heard)
            with mouth.ducked():
                await anyio.sleep(0.05)
            await anyio.sleep(0.05)
            mouth.volume = 0.5
        gains = [gain for gain, _ in groupby(gain for _, gain in speaker.heard)]
        assert gains == pytest.approx([0.8, 0.2, 0.8, 0.5])


async def test_a_thinking_sound_comes_after_a_silence_and_ends_when_speech_begins(piper: Piper) -> None:
    async with mouth_of(piper, thinking_after_s=0.1) as (mouth, speaker, _):
        async with mouth.reply() as reply:
            with mouth.thinking():
                await anyio.sleep(0.05)
                assert not speaker.heard
                await until(lambda: speaker.seconds() > 2 * chimes.thinking().seconds)
                assert not mouth.speaking
                await reply.take(pcm(0.5, 7))
                await until(lambda: values(speaker)[-1] == 7)
        assert not reply.interrupted
        count = len(speaker.heard)
        await anyio.sleep(0.15)
        assert len(speaker.heard) == count
        with mouth.thinking():
            pass
        await anyio.sleep(0.15)
        assert len(speaker.heard) == count


async def test_too_many_things_are_refused(piper: Piper) -> None:
    async with mouth_of(piper) as (mouth, _, _), anyio.create_task_group() as tasks:

        async def hold() -> None:
            async with mouth.reply():
                await anyio.sleep_forever()

        for _ in range(32):
            tasks.start_soon(hold)
        await anyio.sleep(0.05)
        with pytest.raises(BusyError):
            await mouth.say("One too many.")
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [*Chime])
def test_a_chime_is_short_soft_at_its_ends_and_not_clipped(kind: Chime) -> None:
    sound = chimes.chime(kind)
    assert chimes.chime(kind) is sound, "made once"
    assert 0.15 < sound.seconds < 2.0
    samples = sound.samples.astype(int)
    assert 4000 < np.abs(samples).max() <= 16_500
    assert abs(samples[0]) < 50
    assert np.abs(samples[-20:]).max() < 300
