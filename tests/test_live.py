"""The voice loop over the real engines and a real pipeline, with files for microphone and loudspeaker.

tests/flows/test_voice.py has the same over a real sound server.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest

from listening import saying
from perslm_daemon import config as configuration
from perslm_daemon import overhearing
from perslm_daemon.app import Assistant, start
from perslm_daemon.arbitration import Arbitration, Claim
from perslm_daemon.bulletin import Bulletin, Happening, Value
from perslm_daemon.changes import Changes
from perslm_daemon.config import Flags
from perslm_daemon.config_sections import Config
from perslm_daemon.config_sections import Ears as Wanted
from perslm_daemon.ears import Ears
from perslm_daemon.live import Live, State
from perslm_daemon.mouth import Mouth
from perslm_daemon.preroll import Samples
from perslm_daemon.turn import Answered, Ask, Event, Partial
from perslm_daemon.verb_table import Table
from perslm_runtime.errors import DeviceError, InputError
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Stop
from perslm_runtime.vad import Silero
from real_models import model_path, models_dir, with_heads
from sound_files import FileMicrophone, FileSpeaker
from wer import word_error_rate

pytestmark = pytest.mark.anyio

STORY = "Tell me a long story about a dog."


@dataclass
class House:
    """A voice loop with everything under it, and what it told."""

    live: Live
    microphone: FileMicrophone
    speaker: FileSpeaker
    mouth: Mouth
    assistant: Assistant
    bulletin: Bulletin
    told: list[Happening | Value] = field(default_factory=list)
    deaf: str = ""

    def events(self, kind: str) -> list[Happening]:
        return [one for one in self.told if isinstance(one, Happening) and one.event_type == kind]

    def activities(self) -> list[str]:
        return [one.value for one in self.told if isinstance(one, Value) and one.name == "activity"]

    async def until(self, kind: str, count: int = 1) -> Happening:
        with anyio.fail_after(60):
            while len(self.events(kind)) < count:  # noqa: ASYNC110 - the listener keeps a list
                await anyio.sleep(0.01)
        return self.events(kind)[count - 1]

    async def until_state(self, state: State) -> None:
        with anyio.fail_after(60):
            while self.live.state is not state:  # noqa: ASYNC110 - a state tells nobody
                await anyio.sleep(0.01)

    async def remembered(self) -> list[tuple[str, bool]]:
        """(what was asked, whether it was interrupted) of every turn on record."""
        memory = self.assistant.parts.memory
        assert memory is not None

        def rows(store: Any, _stop: object) -> list[tuple[str, bool]]:
            return [(turn.said, turn.interrupted) for turn in reversed(store.list("turn"))]

        return await memory.call(rows)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def engines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Config, Assistant]]:
    """The real engines, loaded once for the module."""
    config = await anyio.to_thread.run_sync(_config, tmp_path_factory.mktemp("live"))
    async with start(config, hears=True, speaks=True) as assistant:
        yield config, assistant


@asynccontextmanager
async def house(
    engines: tuple[Config, Assistant], wanted: Wanted | None = None, **more: Any
) -> AsyncIterator[House]:
    config, assistant = engines
    wanted = wanted or Wanted(nothing_s=2.0)
    assert assistant.vad is not None
    assert assistant.wake is not None
    assert assistant.parts.stt is not None
    assert assistant.parts.memory is not None
    await assistant.parts.memory.call(lambda store, _stop: store.forget(everything=True))
    await assistant.wake.call(lambda engine, _stop: engine.reset())
    bulletin, microphone, speaker = Bulletin(), FileMicrophone(), FileSpeaker()
    mouth = Mouth(assistant.parts.tts, speaker, config.mouth, bulletin)
    changes = Changes(config, lambda: config, lambda: None)
    table = Table(assistant, config, bulletin, lambda: None, changes, mouth, 0.0)
    ears = Ears(
        microphone, assistant.vad, assistant.parts.stt, assistant.wake, wanted, said_lately=mouth.said_lately
    )
    made: list[House] = []
    live = Live(
        ears, mouth, table.turn_by_voice, bulletin, wanted,
        interrupt=assistant.pipeline.interrupt, why_deaf=lambda: made[0].deaf, **more,
    )  # fmt: skip
    here = House(live, microphone, speaker, mouth, assistant, bulletin)
    made.append(here)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep, here)
        await tasks.start(mouth.run)
        await tasks.start(live.run)
        await ears.sound.beyond(16_000)
        yield here
        tasks.cancel_scope.cancel()


def _config(folder: Path) -> Config:
    model_path("smollm2-135m-q4_1", "model.gguf")
    settings = (f"models_dir={models_dir()}", "discovery.enabled=false", "mouth.thinking_after_s=0")
    return configuration.load(Flags(data_dir=with_heads(folder), profile="dev", settings=settings), environ={})


async def _keep(here: House) -> None:
    async with here.bulletin.listen() as notices:
        async for notice in notices:
            here.told.append(notice)


async def test_a_question_by_voice_is_answered_aloud_and_remembered(engines):
    async with house(engines) as here:
        here.microphone.say(await saying("Okay Nabu, what is the capital of Spain?"))
        await here.until("idle")
        heard = here.events("heard")[0].fields["text"]
        assert word_error_rate("what is the capital of Spain", heard) == 0
        kinds = [one.event_type for one in here.told if isinstance(one, Happening)]
        order = [
            "wake_word_detected",
            "listening",
            "stt_partial",
            "thinking",
            "tts_speaking",
            "tts_finished",
            "idle",
        ]
        assert [kind for kind in dict.fromkeys(kinds) if kind in order] == order
        assert here.activities() == ["listening", "processing", "responding", "idle"]
        assert here.speaker.sound().seconds > 0.5
        assert await here.remembered() == [(heard, False)]
        timings = here.bulletin.current()["voice_timings"]
        assert set(timings) == {"endpoint", "stt", "recall", "first_sentence", "first_pcm"}
        assert all(value >= 0 for value in timings.values())


@pytest.mark.slow
async def test_a_wake_word_over_an_answer_ends_it_and_the_new_words_are_heard(engines):
    async with house(engines) as here:
        here.microphone.say(await saying(f"Okay Nabu, {STORY}"))
        await here.until_state(State.RESPONDING)
        here.microphone.say(await saying(0.8, "Okay Nabu, what is the capital of Spain?"))
        await here.until("wake_word_detected", 2)
        await here.until("idle")
        first, second = (event.fields["text"] for event in here.events("heard"))
        assert word_error_rate("what is the capital of Spain", second) == 0
        assert await here.remembered() == [(first, True), (second, False)]
        assert here.events("tts_finished")[0].fields["interrupted"]


async def test_a_wake_word_is_silence_though_an_engine_is_still_at_work_for_what_it_ends(engines, monkeypatch):
    async def tells(_ask: Ask) -> Answered | None:
        return Answered(
            Intent("Test"), "This is a long story about a dog that went for a walk along the river. " * 3
        )

    slow, go_on = threading.Event(), threading.Event()
    likely = overhearing._likely

    def held(engine: Silero, stop: Stop, block: Samples, fresh: bool) -> list[float]:
        if slow.is_set():
            go_on.wait(20)
        return likely(engine, stop, block, fresh)

    monkeypatch.setattr(overhearing, "_likely", held)
    async with house(engines, Wanted(barge_in="wake")) as here:
        here.assistant.pipeline.skills = tells
        try:
            here.microphone.say(await saying("Okay Nabu, tell me a story."))
            await here.until_state(State.RESPONDING)
            slow.set()
            here.microphone.say(await saying("Okay Nabu."))
            await here.until("wake_word_detected", 2)
            await here.until("tts_finished")
            assert here.events("tts_finished")[0].fields["interrupted"]
            assert here.live.state is State.RESPONDING, "what overhears the answer waits for its engine"
            go_on.set()
            await here.until("listening", 2)
        finally:
            go_on.set()
            here.assistant.pipeline.skills = None


@pytest.mark.slow
async def test_speech_over_an_answer_ends_it_and_is_heard_from_its_first_word(engines):
    async with house(engines) as here:
        here.microphone.say(await saying(f"Okay Nabu, {STORY}"))
        await here.until_state(State.RESPONDING)
        here.microphone.say(await saying(1.2, "Please tell me the capital of Germany."))
        await here.until("heard", 2)
        heard = here.events("heard")[1].fields["text"]
        assert word_error_rate("please tell me the capital of Germany", heard) == 0
        assert here.events("listening")[1].fields["how"] == "barge_in"
        await here.until("idle")
        assert (await here.remembered())[0][1]


@pytest.mark.slow
async def test_stop_over_an_answer_is_silence_and_no_question(engines):
    async with house(engines) as here:
        here.microphone.say(await saying(f"Okay Nabu, {STORY}"))
        await here.until_state(State.RESPONDING)
        here.microphone.say(await saying(1.2, "Stop!", 0.5))
        await here.until("heard_stop")
        await here.until("idle")
        assert not here.mouth.speaking
        assert len(here.events("heard")) == 1
        assert [interrupted for _, interrupted in await here.remembered()] == [True]


@pytest.mark.slow
async def test_our_own_voice_in_the_microphone_interrupts_nothing(engines):
    async with house(engines) as here:
        here.microphone.say(await saying("Okay Nabu, what is the capital of Italy?"))
        await here.until_state(State.RESPONDING)
        with anyio.move_on_after(20):
            fed = 0
            while here.live.state is State.RESPONDING:
                for piece in here.speaker.played[fed:]:
                    here.microphone.echo(piece)
                fed = len(here.speaker.played)
                await anyio.sleep(0.01)
        await here.until("idle")
        assert len(here.events("heard")) == 1
        assert [interrupted for _, interrupted in await here.remembered()] == [False]


@pytest.mark.slow
async def test_nothing_after_the_wake_word_goes_back_to_rest(engines):
    async with house(engines) as here:
        here.microphone.say(await saying("Okay Nabu."))
        await here.until("idle")
        assert here.activities() == ["listening", "idle"]
        assert here.events("heard") == []
        here.microphone.say(await saying("Okay Nabu."))
        await here.until("wake_word_detected", 2)  # and it can be called again


@pytest.mark.slow
async def test_the_button_hears_one_question_and_answers_with_the_turn(engines):
    partials: list[Event] = []

    async def tell(event: Event) -> None:
        partials.append(event)

    async with house(engines) as here:
        here.microphone.say(await saying(0.6, "What is the capital of Spain?"))
        with anyio.fail_after(60):
            turn = await here.live.listen(tell)
        assert word_error_rate("what is the capital of Spain", turn.heard) == 0
        assert turn.reply
        assert any(isinstance(event, Partial) for event in partials)
        await here.until("idle")
        with anyio.fail_after(60), pytest.raises(InputError, match="nothing was heard"):
            await here.live.listen(tell)
        here.deaf = "the microphone is muted: switch the setting mute off"
        with pytest.raises(DeviceError, match="muted"):
            await here.live.listen(tell)


@pytest.mark.slow
async def test_a_microphone_that_goes_in_mid_sentence_ends_the_listening(engines):
    async with house(engines, Wanted(nothing_s=20.0)) as here:
        here.microphone.say(await saying("Okay Nabu."))
        await here.until("listening")
        here.microphone.open = False
        error = await here.until("error")
        assert "gives no sound" in error.fields["message"]
        await here.until("idle")
        here.microphone.open = True
        here.microphone.say(await saying(1.0, "Okay Nabu.", 0.5))
        await here.until("wake_word_detected", 2)


async def test_muting_forgets_what_was_heard_and_ends_the_listening(engines):
    async with house(engines, Wanted(nothing_s=20.0)) as here:
        here.microphone.say(await saying("Okay Nabu."))
        await here.until("listening")
        here.live.deafened()
        await here.until("idle")
        assert here.events("heard") == []


@pytest.mark.slow
async def test_stop_from_outside_ends_whatever_it_is(engines):
    async with house(engines) as here:
        assert not here.live.stop()
        here.microphone.say(await saying("Okay Nabu."))
        await here.until("listening")
        assert here.live.stop()
        await here.until("idle")
        here.microphone.say(await saying(1.0, f"Okay Nabu, {STORY}"))
        await here.until_state(State.RESPONDING)
        assert here.live.stop()
        await here.until("idle", 2)
        assert [interrupted for _, interrupted in await here.remembered()] == [True]


@pytest.mark.slow
async def test_an_alarm_is_ended_by_saying_stop_without_a_wake_word(engines):
    class Alarm:
        ringing: tuple[str, ...] = ("egg",)

        async def stop(self) -> tuple[str, ...]:
            rang, self.ringing = self.ringing, ()
            return rang

    alarm = Alarm()
    async with house(engines, rings=alarm) as here:
        here.microphone.say(await saying(1.5, "Stop!", 1.0))
        await here.until("heard_stop")
        with anyio.fail_after(10):
            while alarm.ringing:  # noqa: ASYNC110 - the alarm tells nobody
                await anyio.sleep(0.01)


async def test_another_board_that_hears_it_better_answers_instead(engines):
    arbitration = Arbitration("perslm", "kitchen")
    arbitration.linked = lambda: True
    async with house(engines, arbitration=arbitration) as here:
        here.microphone.say(await saying("Okay Nabu.", 0.5, "What is the capital of Spain?"))
        sent = await arbitration.outgoing()
        better = Claim("bath", level_db=-3.0, over_floor_db=60.0, score=0.99)
        assert arbitration.received(sent.topic, msgspec.json.encode(better))
        await here.until("left_to_another")
        await here.until("idle")
        await anyio.sleep(0.5)
        assert here.events("heard") == []
        assert here.speaker.played == []


@pytest.mark.slow
async def test_an_answer_that_asks_is_followed_by_listening_unless_that_is_switched_off(engines):
    async def asks(ask: Ask) -> Answered | None:
        return None if "Spain" in ask.text else Answered(Intent("Test"), "Do you mean the kitchen or the bath?")

    async with house(engines, Wanted(follow_up_s=3.0)) as here:
        here.assistant.pipeline.skills = asks
        try:
            here.microphone.say(await saying("Okay Nabu, turn on the lamp."))
            await here.until("listening", 2)
            assert here.events("listening")[1].fields["how"] == "follow_up"
            here.microphone.say(await saying(0.4, "What is the capital of Spain?"))
            await here.until("heard", 2)
            assert len(here.events("wake_word_detected")) == 1
            await here.until("idle")
            here.live.follow_up = False
            here.microphone.say(await saying("Okay Nabu, turn on the lamp."))
            await here.until("idle", 2)
            assert len(here.events("listening")) == 3
        finally:
            here.assistant.pipeline.skills = None
