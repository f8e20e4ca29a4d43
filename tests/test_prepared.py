"""Sound made in advance: there at once when it is wanted, gone when it is not, and never a part of a turn."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import anyio
import numpy as np
import pytest

from perslm_daemon.prepared import Ahead, Prepared
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import EngineError
from perslm_runtime.lane import Lane, Stop

pytestmark = pytest.mark.anyio


class SlowVoice:
    """Speaks a word each 20 ms, and notes what it was asked for; stands for Piper, whose speed varies."""

    name = "slow"
    file: Path | None = None

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stopped = 0

    def speak(self, words: str, stop: Stop) -> Generator[Pcm, None, None]:
        self.asked.append(words)
        if "broken" in words:
            raise EngineError("the voice is broken")
        for number, _word in enumerate(words.split()):
            time.sleep(0.02)
            if stop:
                self.stopped += 1
                stop.check()
            yield Pcm(np.full(10, number, np.int16), 22_050)

    def close(self) -> None:
        pass


async def test_what_was_prepared_is_there_once_and_only_for_the_same_words() -> None:
    voice = SlowVoice()
    async with Lane("tts", lambda: voice) as lane:
        prepared = Prepared(lane)  # type: ignore[arg-type]  # a voice with the same verb
        await prepared.make("It is noon. And what else?")
        await prepared.make("It is noon. And what else?")
        assert len(await prepared.take("It is noon.")) == 3
        assert await prepared.take("It is noon.") == []
        await prepared.make("It is noon.")
        assert await prepared.take("It is one.") == []
        assert await prepared.take("It is noon.") == []
        await prepared.make("")
        assert voice.asked == ["It is noon.", "It is noon."]


async def test_who_wants_it_waits_for_what_is_being_made() -> None:
    voice = SlowVoice()
    async with Lane("tts", lambda: voice) as lane, anyio.create_task_group() as tasks:
        prepared = Prepared(lane)  # type: ignore[arg-type]  # as above
        tasks.start_soon(prepared.make, "one two three four five.")
        await anyio.sleep(0.03)
        assert len(await prepared.take("one two three four five.")) == 5
        assert voice.asked == ["one two three four five."]


async def test_what_is_not_wanted_is_stopped_so_that_the_voice_is_free() -> None:
    voice = SlowVoice()
    async with Lane("tts", lambda: voice) as lane, anyio.create_task_group() as tasks:
        prepared = Prepared(lane)  # type: ignore[arg-type]  # as above
        tasks.start_soon(prepared.make, " ".join(["long"] * 200) + ".")
        await anyio.sleep(0.05)
        assert await prepared.take("Something else.") == []
        await prepared.make("Short.")
        assert len(await prepared.take("Short.")) == 1
        assert voice.stopped == 1


async def test_a_voice_that_fails_is_left_to_whoever_speaks() -> None:
    async with Lane("tts", SlowVoice) as lane:
        prepared = Prepared(lane)  # type: ignore[arg-type]  # as above
        await prepared.make("This is broken.")
        assert await prepared.take("This is broken.") == []


async def test_work_done_ahead_is_waited_for_by_its_own_key_and_stopped_by_any_other() -> None:
    begun, go_on, stopped = anyio.Event(), anyio.Event(), []

    async def work() -> str:
        begun.set()
        try:
            await go_on.wait()
        except anyio.get_cancelled_exc_class():
            stopped.append(True)
            raise
        return "found"

    async def fails() -> str:
        raise EngineError("the model is broken")

    ahead = Ahead[tuple[str, str], str]()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ahead.make, ("ana", "what?"), work)
            await begun.wait()
            assert await ahead.take(("ludwig", "what?")) is None, "nobody gets what another asked for"
        assert stopped == [True]
        begun = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ahead.make, ("ana", "what?"), work)
            await begun.wait()
            go_on.set()
            assert await ahead.take(("ana", "what?")) == "found"
        assert await ahead.take(("ana", "what?")) is None, "once"
        await ahead.make(("ana", "what?"), fails)
        assert await ahead.take(("ana", "what?")) is None
