"""What is answered without the model: through the real pipeline, memory, recognizer of intents and schedule."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import pytest

from clocks import SetClock
from perslm_daemon import skills
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Timers
from perslm_daemon.moment import Moment
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.schedule import NoSound, Schedule
from perslm_daemon.schedule_file import ScheduleFile
from perslm_daemon.settings import Setting, Settings, SettingValue
from perslm_daemon.timer_verb import TimerArgs, timer
from perslm_daemon.turn import Answered, Ask, Event, Parts, Sentence, Spoken, intent_data, timings_data
from perslm_runtime.completeness import Ending
from perslm_runtime.errors import InputError
from perslm_runtime.intent import Intent
from perslm_runtime.intents import Recognizer
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory
from perslm_runtime.model import ChatModel
from perslm_runtime.tts import Piper
from real_models import build_model, model_path

pytestmark = pytest.mark.anyio
BERLIN = ZoneInfo("Europe/Berlin")


@dataclass
class Room:
    """What is there to be spoken to."""

    skills: skills.Skills
    schedule: Schedule
    bulletin: Bulletin
    clock: SetClock
    changed: list[tuple[str, SettingValue]] = field(default_factory=list)

    async def say(self, text: str) -> str:
        """The answer; "-" where the sentence is the model's."""
        answered = await self.skills(Ask(text))
        return "-" if answered is None else answered.text


@asynccontextmanager
async def room(folder: Path, *, loud: bool = True) -> AsyncIterator[Room]:
    clock, bulletin = SetClock("2026-11-27T12:00:00+01:00"), Bulletin()
    changed: list[tuple[str, SettingValue]] = []

    def setting(name: str, kind: str) -> Setting:
        async def apply(value: SettingValue) -> None:
            changed.append((name, value))

        return Setting(name, kind, name, apply)  # type: ignore[arg-type]  # a kind of setting

    there: dict[str, tuple[Setting, SettingValue]] = {}
    if loud:
        there = {"volume": (setting("volume", "number"), 0.5), "mute": (setting("mute", "switch"), False)}
    schedule = Schedule(Timers(), ScheduleFile(folder / "timers.json"), clock, BERLIN, bulletin, NoSound())
    await schedule.open()
    async with Lane("intents", Recognizer) as lane:
        table = skills.Skills(lane, schedule, Settings(bulletin, there), bulletin, schedule.now)
        yield Room(table, schedule, bulletin, clock, changed)


async def test_timers_by_voice_from_set_to_cancelled(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        assert await here.say("how long is left on the timer") == "There is no timer."
        assert await here.say("set a timer for ten minutes") == "Timer set for 10 minutes."
        assert await here.say("set a pasta timer for eight and a half minutes") == (
            "Pasta timer set for 8 minutes and 30 seconds."
        )
        here.clock.advance(60)
        assert await here.say("how long is left on the pasta timer") == (
            "The pasta timer has 7 minutes and 30 seconds left."
        )
        assert await here.say("how much time is left") == (
            "The pasta timer has 7 minutes and 30 seconds left. The 10 minute timer has 9 minutes left."
        )
        assert await here.say("cancel the timer") == ("There are 2: say the pasta timer or the 10 minute timer.")
        assert await here.say("pause the ten minute timer") == "The 10 minute timer is paused."
        assert await here.say("what timers do i have") == (
            "The pasta timer has 7 minutes and 30 seconds left. The 10 minute timer is paused with 9 minutes left."
        )
        assert await here.say("resume the timer") == "The 10 minute timer goes on."
        assert await here.say("add five minutes to the pasta timer") == (
            "The pasta timer has 12 minutes and 30 seconds left."
        )
        assert await here.say("cancel the egg timer") == "There is no egg timer."
        assert await here.say("cancel the pasta timer") == "The pasta timer is cancelled."
        assert await here.say("cancel all timers") == "1 timer cancelled."


async def test_a_ringing_timer_is_stopped_snoozed_and_given_more_time(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        assert await here.say("snooze") == "Nothing is ringing."
        for way in ("stop", "cancel the timer", "cancel the pasta timer"):
            await here.say("set a pasta timer for one minute")
            here.clock.advance(60)
            await here.schedule.look()
            assert len(here.schedule.ringing) == 1
            assert await here.say(way) == ""
            assert here.schedule.views() == []
        await here.say("set a pasta timer for one minute")
        here.clock.advance(60)
        await here.schedule.look()
        assert await here.say("five more minutes") == "The pasta timer rings again in 5 minutes."
        here.clock.advance(300)
        await here.schedule.look()
        assert await here.say("snooze for two minutes") == "The pasta timer rings again in 2 minutes."


async def test_alarms_by_voice(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        assert await here.say("wake me at seven") == "Alarm set for 7:00 AM tomorrow."
        assert await here.say("set an alarm for half past nine pm") == "Alarm set for 9:30 PM today."
        assert (
            await here.say("set a gym alarm for six every weekday") == "Gym alarm set for 6:00 AM every weekday."
        )
        assert await here.say("when is my next alarm") == (
            "The alarm is set for 9:30 PM today. The alarm is set for 7:00 AM tomorrow. "
            "The gym alarm is set for 6:00 AM every weekday."
        )
        assert await here.say("cancel my seven o'clock alarm") == "The alarm is cancelled."
        assert await here.say("don't wake me up tomorrow") == "There is no alarm."
        assert await here.say("cancel the gym alarm") == "The gym alarm is cancelled."
        assert await here.say("turn off all alarms") == "1 alarm cancelled."
        assert await here.say("set an alarm") == "At what time?"
        assert await here.say("wake me up tomorrow") == "At what time?"
        assert await here.say("At half past six.") == "Alarm set for 6:30 AM tomorrow."


async def test_what_is_missing_is_asked_for_and_the_answer_completes_it(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        assert await here.say("set a pasta timer") == "For how long?"
        assert await here.say("Ten minutes, please.") == "Pasta timer set for 10 minutes."
        assert await here.say("set a timer") == "For how long?"
        assert await here.say("what time is it")
        assert await here.skills(Ask("ten minutes")) is None, "the question counted for the next thing said"
        assert await here.say("set a timer") == "For how long?"
        assert await here.say("never mind") == ""
        assert await here.say("cancel all timers") == "1 timer cancelled."


async def test_a_question_waits_for_whom_it_asked(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        asked = await here.skills(Ask("set a timer", person="Ana", source="voice"))
        assert asked is not None
        assert asked.text == "For how long?"
        assert await here.skills(Ask("ten minutes", person="Ben", source="voice")) is None
        assert await here.skills(Ask("ten minutes", person="Ana", source="mqtt")) is None
        answered = await here.skills(Ask("ten minutes", person="Ana", source="voice"))
        assert answered is not None
        assert answered.intent.slots == {"duration": 600}


async def test_how_finished_a_command_is_follows_from_what_it_lacks(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        for text, ending in (
            ("timer for ten minutes", Ending.FINISHED),
            ("volume up", Ending.FINISHED),
            ("set a timer", Ending.UNSURE),
            ("set an alarm for seven", None),
            ("set the volume to 30", None),
            ("what is the capital of Spain", None),
        ):
            assert await here.skills.ending(text) is ending, text


async def test_reminders_by_voice(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        assert await here.say("remind me in ten minutes to take the bread out") == (
            "I will remind you in 10 minutes: take the bread out."
        )
        assert await here.say("remind me tomorrow at nine to call Ana") == (
            "I will remind you at 9:00 AM tomorrow: call Ana."
        )
        assert await here.say("remind me to call Ben") == "When?"
        assert await here.say("tomorrow at ten") == "I will remind you at 10:00 AM tomorrow: call Ben."
        here.clock.advance(600)
        await here.schedule.look()
        assert here.schedule.ring_text() == "Reminder: take the bread out."
        await here.say("stop")
        assert await here.say("what are my reminders") == (
            "The reminder is set for 9:00 AM tomorrow: call Ana. "
            "The reminder is set for 10:00 AM tomorrow: call Ben."
        )
        assert await here.say("cancel the reminder to call Ana") == "The reminder is cancelled."


async def test_the_clock_and_the_calendar(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        here.clock.advance(3605)
        assert await here.say("what time is it") == "It is 1:00 PM."
        assert await here.say("what's the date") == "It is Friday, November 27, 2026."
        assert await here.say("what day is it today") == "It is Friday."
        assert await here.say("what day is tomorrow") == "Tomorrow is Saturday."
        assert await here.say("what day is the day after tomorrow") == "The day after tomorrow is Sunday."


async def test_without_a_clock_it_says_that_it_does_not_know(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        here.clock.power_cut(off_s=0, known=False)
        for text in ("what time is it", "what day is it", "wake me at seven", "remind me tomorrow to call Ana"):
            assert "clock has not been set" in await here.say(text)
        assert await here.say("set a timer for ten minutes") == "Timer set for 10 minutes."


async def test_the_volume(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        assert await here.say("louder") == "Volume 60 percent."
        assert await here.say("turn it down by twenty percent") == "-"
        assert await here.say("turn the volume down by twenty percent") == "Volume 40 percent."
        assert await here.say("volume seven") == "Volume 70 percent."
        assert await here.say("mute") == ""
        assert await here.say("unmute") == "Volume 70 percent."
        assert await here.say("full volume") == "Volume 100 percent."
        assert await here.say("louder") == "Volume 100 percent."
        assert await here.say("mute the microphone") == "The microphone is off."
        assert here.changed[-1] == ("mute", True)
    async with room(tmp_path, loud=False) as here:
        assert await here.say("louder") == "There is no loudspeaker here whose volume could be changed."
        assert await here.say("stop listening") == "There is no microphone here that could be switched off."


async def test_repeat_says_the_last_reply_again(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        assert await here.say("say that again") == "I have not said anything yet."
        here.bulletin.post("last_reply", "Paris.")
        assert await here.say("say that again") == "Paris."


@pytest.fixture(scope="module")
def golden() -> set[str]:
    lines = (Path(__file__).parent / "golden/intents.txt").read_text(encoding="utf-8").splitlines()
    return {line.partition(" -> ")[2].partition(";")[0] for line in lines if not line.startswith("#")} - {""}


@pytest.fixture(scope="module")
def voice() -> Path:
    return model_path("piper-en_US-joe-medium", "voice.onnx").parent


async def test_every_intent_that_can_be_recognized_has_a_skill(tmp_path: Path, golden: set[str]) -> None:
    async with room(tmp_path) as here:
        assert here.skills.intents == golden


async def test_a_disk_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        here.schedule._file = ScheduleFile(Path("/dev/null/timers.json"))
        said = await here.say("set a timer for ten minutes")
        assert said.startswith("The timers cannot be written")


async def test_a_process_that_ends_sets_nothing_that_would_have_to_ring(tmp_path: Path) -> None:
    async with Lane("intents", Recognizer) as lane:
        here = skills.alone(lane, lambda: datetime.now().astimezone())
        for text in ("set a timer for ten minutes", "wake me at seven", "what timers do i have", "snooze"):
            answered = await here(Ask(text))
            assert answered is not None
            assert answered.text == "Nothing would ring: start PersLM with `perslm run`, then say it again."
        clock = await here(Ask("what time is it"))
        assert clock is not None
        assert clock.text.startswith("It is ")
        silent = await here(Ask("stop"))
        assert silent is not None
        assert silent.text == ""


# The verb


async def test_the_verb_answers_as_documented(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        made = await timer(here.schedule, TimerArgs(action="set", seconds=600, name="pasta"))
        assert {"id", "name", "seconds_left", "state"} <= set(made["timers"][0])
        assert made["timers"][0]["seconds_left"] == pytest.approx(600)
        for at in ("2026-11-28T07:00", "2026-11-28T06:00:00+00:00", "tomorrow at seven", "7 am"):
            alarm = (await timer(here.schedule, TimerArgs(action="set", at=at)))["timers"][0]
            assert (alarm["kind"], alarm["at"]) == ("alarm", "2026-11-28T07:00:00+01:00"), at
            await timer(here.schedule, TimerArgs(action="cancel", id=alarm["id"]))
        weekly = await timer(here.schedule, TimerArgs(action="set", at="every weekday at seven", text="get up"))
        assert (weekly["timers"][0]["kind"], weekly["timers"][0]["every"]) == ("reminder", [0, 1, 2, 3, 4])
        paused = await timer(here.schedule, TimerArgs(action="pause", name="Pasta"))
        assert paused["timers"][0]["state"] == "paused"
        assert (await timer(here.schedule, TimerArgs(action="resume", name="pasta")))["timers"][0][
            "state"
        ] == "running"
        listed = await timer(here.schedule, TimerArgs())
        assert [one["kind"] for one in listed["timers"]] == ["timer", "reminder"]
        json.dumps(listed)
        here.clock.advance(600)
        await here.schedule.look()
        snoozed = await timer(here.schedule, TimerArgs(action="snooze", seconds=60))
        assert snoozed["timers"][0]["state"] == "snoozed"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (TimerArgs(action="set"), "either seconds or at"),
        (TimerArgs(action="set", seconds=5, at="7 am"), "either seconds or at"),
        (TimerArgs(action="set", at="soonish"), "is no time"),
        (TimerArgs(action="set", at="2020-01-01T00:00"), "at least a second"),
        (TimerArgs(action="set", seconds=float("nan")), "at least a second"),
        (TimerArgs(action="pause"), "no timer"),
        (TimerArgs(action="cancel", id="nope"), "'nope'"),
        (TimerArgs(action="cancel", name="roast"), "'roast'"),
        (TimerArgs(action="snooze"), "nothing is ringing"),
    ],
)
async def test_the_verb_says_what_is_wrong(tmp_path: Path, args: TimerArgs, why: str) -> None:
    async with room(tmp_path) as here:
        with pytest.raises(InputError, match=why):
            await timer(here.schedule, args)


async def test_the_verb_asks_for_an_id_where_several_fit(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        for _ in range(2):
            await timer(here.schedule, TimerArgs(action="set", seconds=600))
        with pytest.raises(InputError, match="send the id of one"):
            await timer(here.schedule, TimerArgs(action="cancel"))


# Through the pipeline


@pytest.fixture(scope="module")
def model(small_gguf: Path) -> ChatModel:
    """One loaded model for all tests of the module: a lane closes it, so closing is held back."""

    class Kept(ChatModel):
        def close(self) -> None:
            """Stay open for the next lane."""

    loaded = build_model(small_gguf)
    loaded.__class__ = Kept
    return loaded


@asynccontextmanager
async def pipeline(
    folder: Path, model: ChatModel, *, voice: Path | None = None
) -> AsyncIterator[tuple[Pipeline, Room]]:
    async with AsyncExitStack() as stack:
        parts = Parts(await stack.enter_async_context(Lane("model", lambda: model)))
        parts.memory = await stack.enter_async_context(Lane("memory", lambda: Memory(folder / "memory.db")))
        if voice is not None:
            parts.tts = await stack.enter_async_context(Lane("tts", lambda: Piper(voice, 1)))
        here = await stack.enter_async_context(room(folder))
        line = await stack.enter_async_context(Pipeline(parts, model_id="smollm2-135m-q4_1"))
        line.skills = here.skills
        line.relief = anyio.sleep_forever  # nothing idles: whatever the model does, a turn asked for
        yield line, here


async def test_an_intent_is_told_remembered_and_never_touches_the_model(model: ChatModel, tmp_path: Path) -> None:
    events: list[Event] = []

    async def tell(event: Event) -> None:
        events.append(event)

    async with pipeline(tmp_path, model) as (line, here):
        before = line.parts.model.progress
        turn = await line.ask(Ask("set a pasta timer for ten minutes", conversation="kitchen"), tell)
        assert turn.reply == "Pasta timer set for 10 minutes."
        assert events == [Sentence(0, turn.reply)]
        assert intent_data(turn) == {"name": "set_timer", "slots": {"name": "pasta", "duration": 600}}
        assert (turn.model, turn.end, turn.recalled) == ("", None, ())
        times = timings_data(turn.timings)
        assert times["intent"] is not None
        assert (times["first_token"], times["recall"]) == (None, None)
        assert line.parts.model.progress == before
        assert len(here.schedule.views()) == 1
        silent = await line.ask(Ask("never mind"), tell)
        assert (silent.reply, len(events)) == ("", 1)
        assert line.parts.model.progress == before
        assert line.parts.memory is not None
        entry = await line.parts.memory.call(lambda memory, _stop: memory.get(turn.remembered_as or 0))
        assert entry is not None
        assert (entry.said, entry.reply) == (
            "set a pasta timer for ten minutes",
            "Pasta timer set for 10 minutes.",
        )
        chat = await line.ask(Ask("What is the capital of Italy?", conversation="kitchen"), tell)
        assert chat.intent is None
        assert "Rome" in chat.reply


async def test_an_intent_is_answered_while_the_model_is_still_busy_between_turns(
    model: ChatModel, tmp_path: Path
) -> None:
    async def tell(_event: Event) -> None:
        """Nobody listens."""

    async with pipeline(tmp_path, model) as (line, _), anyio.create_task_group() as tasks:
        done = threading.Event()
        tasks.start_soon(line.parts.model.call, lambda _model, _stop: done.wait(30))
        turn = await line.ask(Ask("what time is it"), tell)
        assert turn.reply == "It is noon."
        assert line.parts.model.busy_since is not None
        done.set()


async def test_an_intents_answer_is_spoken_like_any_other(model: ChatModel, tmp_path: Path, voice: Path) -> None:
    spoken: list[Spoken] = []

    async def tell(event: Event) -> None:
        if isinstance(event, Spoken):
            spoken.append(event)

    async with pipeline(tmp_path, model, voice=voice) as (line, _):
        turn = await line.ask(Ask("what timers do i have", speak=True), tell)
        assert turn.reply == "There is no timer."
        assert sum(one.sound.seconds for one in spoken) > 0.4
        assert turn.timings.first_audio is not None
        assert turn.problems == ()


async def test_a_question_that_reads_can_be_previewed_and_nothing_else_can(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        before = here.bulletin.current()
        assert await here.skills.preview("what timers do i have") == "There is no timer."
        assert await here.skills.preview("what time is it") == "It is noon."
        for changes in ("set a timer for ten minutes", "stop", "volume up", "wake me at seven"):
            assert await here.skills.preview(changes) == ""
        assert await here.skills.preview("who was Caesar") is None, "that is the model's"
        assert here.schedule.views() == []
        assert here.changed == []
        assert here.bulletin.current() == before


async def test_an_answer_prepared_in_advance_is_what_is_heard(
    model: ChatModel, tmp_path: Path, voice: Path
) -> None:
    heard: list[bytes] = []

    async def tell(event: Event) -> None:
        if isinstance(event, Spoken):
            heard.append(event.sound.samples.tobytes())

    async def preview(text: str) -> str | None:
        return "There is no timer." if "timers" in text else None

    async with pipeline(tmp_path, model, voice=voice) as (line, _):
        await line.ask(Ask("what timers do i have", speak=True), tell)
        made_then, heard = b"".join(heard), []
        line.preview = preview
        await line.prepare("what timers do i have")
        await line.prepare("who was Caesar")
        turn = await line.ask(Ask("what timers do i have", speak=True), tell)
        assert turn.reply == "There is no timer."
        assert len(b"".join(heard)) == pytest.approx(len(made_then), rel=0.2), "Piper varies a little"


async def test_a_question_read_ahead_is_answered_from_there_and_another_as_ever(
    model: ChatModel, tmp_path: Path
) -> None:
    told: list[Event] = []

    async def tell(event: Event) -> None:
        told.append(event)

    async def read(line: Pipeline, question: str, ahead: str) -> int:
        """Tokens that were computed after the question was asked."""
        await line.prepare(ahead)
        told_before = len(told)
        turn = await line.ask(Ask(question), tell)
        assert len(told) > told_before
        assert turn.reply
        assert turn.end is not None
        return turn.end.prefilled_tokens

    async with pipeline(tmp_path, model) as (line, here):
        line.preview = here.skills.preview
        await line.ask(Ask("What is the capital of France?"), tell)  # the conversation begins
        told.clear()
        await line.prepare("What is the capital of Spain?")
        assert told == []
        assert await read(line, "What is the capital of Spain?", "What is the capital of Spain?") == 1
        assert await read(line, "And of Portugal?", "And of Italy?") > 3, "the end of its prompt at the least"
        assert await read(line, "And of Greece?", "") > 8
        memory = line.parts.memory
        assert memory is not None
        said = await memory.call(lambda store, _stop: [turn.said for turn in store.list("turn")])
        assert "And of Italy?" not in said


async def test_who_waits_for_a_device_hears_a_word_and_then_what_happened(
    model: ChatModel, tmp_path: Path, voice: Path
) -> None:
    told: list[str] = []
    heard = anyio.Event()

    async def tell(event: Event) -> None:
        if isinstance(event, Sentence):
            told.append(f"{event.seq} {event.text.strip()}")
        elif isinstance(event, Spoken):
            heard.set()

    async def slow(_ask: Ask) -> Answered:
        with anyio.fail_after(20):
            await heard.wait()  # the door says nothing until the word was heard
        return Answered(Intent("open"), "The garage door did not answer.")

    async with pipeline(tmp_path, model, voice=voice) as (line, here):
        line.skills, line.moment = slow, Moment("One moment.", 0.05)
        turn = await line.ask(Ask("open the garage door", speak=True), tell)
        assert told == ["0 One moment.", "1 The garage door did not answer."]
        assert turn.reply == "The garage door did not answer.", "the word is no part of what is remembered"
        told.clear()
        heard.set()
        await line.ask(Ask("open the garage door"), tell)
        assert told == ["0 The garage door did not answer."], "who reads does not wait in silence"
        told.clear()
        line.skills, line.moment = here.skills, Moment("One moment.", 30.0)
        await line.ask(Ask("what timers do i have", speak=True), tell)
        assert told == ["0 There is no timer."], "what is answered at once is not announced"
