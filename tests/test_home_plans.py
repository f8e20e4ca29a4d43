"""Commands for another time: planned, said back, done when due or missed, taken back, and no door for guests."""

from __future__ import annotations

import json
import zlib
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest

from clocks import SetClock
from house import until
from perslm_daemon import home_command
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.notify_subjects import notice_of
from perslm_daemon.schedule_file import Errand, Item, Kind, ScheduleFile, State
from perslm_daemon.timer_verb import TimerArgs, timer
from perslm_daemon.turn import GUEST
from perslm_daemon.utterance import Priority
from perslm_runtime.completeness import Ending
from perslm_runtime.tts import Piper
from planning import Room, opened, room
from real_models import model_path
from test_home_intents import FLOORS
from test_mouth import mouth_of

pytestmark = pytest.mark.anyio
QUESTION = "Do you really want to unlock the front door at 8:00 AM tomorrow?"


@pytest.fixture(scope="module")
def piper() -> Piper:
    return Piper(model_path("piper-en_US-joe-medium", "voice.onnx").parent, threads=2)


async def test_a_command_for_later_is_kept_said_back_and_done_in_silence(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        await here.say("turn on the kettle")
        here.house.topics()
        answered = await here.ask("turn off the kettle in half an hour")
        assert answered is not None
        assert answered.text == "I will turn off the kettle at 8:40 PM."
        (done,) = answered.done
        assert (done.intent.name, done.outcome, done.targets) == ("later", "planned", ("switch.e",))
        (kept,) = await anyio.to_thread.run_sync(ScheduleFile(tmp_path / "timers.json").load)
        assert (kept.kind, kept.text, kept.name) == (Kind.COMMAND, "turn off the kettle", "turn off the kettle")
        await here.pass_(1799)
        assert here.house.topics() == []
        await here.pass_(1)
        assert here.house.topics() == ["e/set"]
        assert here.house.on("Kettle") is False
        assert (here.states(), here.aloud) == ({}, [])
        told = [(one.event_type, one.fields) for one in here.bulletin.events]
        assert [name for name, _ in told] == ["timer_started", "intent", "timer_finished"]
        assert (told[1][1]["name"], told[1][1]["targets"], told[1][1]["outcome"]) == (
            "turn_off",
            ["switch.e"],
            "done",
        )
        assert (told[0][1]["kind"], told[0][1]["text"]) == ("command", "turn off the kettle")


async def test_a_command_waits_for_the_wall_clock_in_the_room_where_it_was_said(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        said = await here.say("turn on the light at half four tomorrow", area="Bedroom")
        assert said == "I will turn on the bedroom ceiling light and the bedside lamp at 4:30 PM tomorrow."
        await here.say("turn on the kettle")
        here.house.topics()
        here.clock.set_to("2026-11-28T16:30:01+01:00")
        await here.settle()
        assert here.house.topics() == ["c/set", "d/set"]


async def test_what_is_wanted_now_is_done_and_what_is_wanted_later_planned(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        await here.say("turn on the radio")
        here.house.topics()
        answered = await here.ask("turn the kettle on now and the radio off in half an hour")
        assert answered is not None
        assert answered.text == "The kettle is on. I will turn off the radio at 8:40 PM."
        assert [one.outcome for one in answered.done] == ["done", "planned"]
        assert here.house.topics() == ["e/set"]
        assert await here.say("turn the kettle off right now and the radio in ten minutes") == (
            "The kettle is off. I will turn off the radio at 8:20 PM."
        )
        assert await here.say("kettle on and in ten minutes turn the kettle off too") == (
            "The kettle is on. I will turn off the kettle at 8:20 PM."
        )


async def test_it_is_what_was_spoken_of_when_it_was_planned(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        await here.say("turn on the radio")
        assert await here.say("turn it off in five minutes") == "I will turn off the radio at 8:15 PM."
        await here.say("turn on the kettle")
        here.house.topics()
        await here.pass_(300)
        assert here.house.topics() == ["g/set"]
        assert await here.say("turn it off in five minutes", conversation="new") == (
            "I can only do that at once: say it when it is time, or let me remind you."
        )


async def test_what_recurs_is_done_each_time_and_a_scene_of_several_acts_is_told_whole(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        said = await here.say("every weekday at seven turn on the kettle and dim the bedside lamp to 20 percent")
        assert said == "I will turn on the kettle and set the bedside lamp to 20 percent at 7:00 AM every weekday."
        for moment, topics in (
            ("2026-11-28T07:00:01+01:00", []),  # a Saturday
            ("2026-11-30T07:00:01+01:00", ["d/set", "e/set"]),
            ("2026-12-01T07:00:01+01:00", ["d/set", "e/set"]),
        ):
            here.clock.set_to(moment)
            await here.settle()
            assert here.house.topics() == topics, moment
        assert list(here.states().values()) == ["running"]


async def test_a_restart_changes_nothing_and_what_is_a_little_late_is_done(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        await here.say("turn on the kettle in ten minutes")
        here.clock.power_cut(1200)
        await here.restart()
        await here.settle()
        assert here.house.topics() == ["e/set"]
        assert here.states() == {}


async def test_what_is_too_late_is_missed_and_told_when_asked(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        await here.say("turn on the kettle in ten minutes")
        here.clock.power_cut(600 + 3601)
        await here.restart()
        await here.settle()
        assert (here.house.topics(), here.aloud) == ([], [])
        assert here.states() == {"turn on the kettle": "missed"}
        assert await here.say("what have I planned") == "I did not turn on the kettle at 8:20 PM: I was off."
        missed = here.bulletin.events[-1]
        notice = notice_of(missed)
        assert notice is not None
        assert (notice[0], notice[3]) == ("I did not turn on the kettle: I was off.", False)


async def test_a_board_that_does_not_know_for_how_long_it_was_off_does_nothing_late(tmp_path: Path) -> None:
    async with room(tmp_path, known=False) as here:
        assert await here.say("turn on the kettle in ten minutes") == "I will turn on the kettle in 10 minutes."
        answer = await here.say("turn on the kettle at nine")
        assert answer == "I do not know what time it is, my clock has not been set: say in how many minutes."
        here.clock.power_cut(100, known=False)
        await here.restart()
        await here.settle()
        assert here.states() == {"turn on the kettle": "unknown"}
        assert (await here.say("what is planned")).startswith("I was off and my clock is not set")
        here.clock.set_to("2026-11-27T20:13:00+01:00")
        await here.settle()
        assert here.house.topics() == []
        assert here.states() == {"turn on the kettle": "missed"}


async def test_what_does_not_answer_is_told_aloud_and_kept_as_missed(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        here.house.deaf = {"e"}
        await here.say("turn on the kettle in ten minutes")
        await here.pass_(600)
        assert here.aloud == ["The kettle did not answer."]
        assert await here.say("what is planned") == (
            "I did not turn on the kettle at 8:20 PM: the kettle did not answer."
        )
        (listed,) = (await timer(here.schedule, TimerArgs()))["timers"]
        assert (listed["kind"], listed["state"], listed["why"]) == (
            "command",
            "missed",
            "the kettle did not answer",
        )
        notice = notice_of(here.bulletin.events[-1])
        assert notice is not None
        assert notice[3], "it was said already"
        await here.pass_(90_000)
        assert here.states() == {}


async def test_the_mouth_says_what_was_not_done(tmp_path: Path, piper: Piper) -> None:
    async with room(tmp_path) as here, mouth_of(piper) as (mouth, speaker, _):
        here.schedule.aloud = partial(mouth.say, priority=Priority.REMINDER)
        here.house.deaf = {"e"}
        await here.say("turn on the kettle in ten minutes")
        here.clock.advance(600)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.schedule.run)
            await until(lambda: "The kettle did not answer." in mouth.said_lately() and not mouth.speaking)
            tasks.cancel_scope.cancel()
        assert speaker.seconds() > 0.5
        assert here.states() == {"turn on the kettle": "missed"}


async def test_a_lock_is_planned_by_a_yes_alone_and_that_yes_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as here:
        assert await here.say("unlock the front door tomorrow at eight") == QUESTION
        assert here.states() == {}
        assert await here.say("no") == "I leave it as it is."
        assert await here.say("yes") == "-"
        assert await here.say("unlock the front door tomorrow at eight") == QUESTION
        await here.say("tell me a joke")
        assert await here.say("yes") == "-"
        assert await here.say("unlock the front door tomorrow at eight") == QUESTION
        assert await here.say("yes", person="somebody else") == "-"
        assert await here.say("unlock the front door tomorrow at eight") == QUESTION
        assert await here.say("yes", conversation="two") == "-"
        assert await here.say("yes") == "I will unlock the front door at 8:00 AM tomorrow."
        here.clock.set_to("2026-11-28T08:00:01+01:00")
        await here.settle()
        assert here.house.sent == [("f/set", "UNLOCK")]
        monkeypatch.setattr(home_command, "CONFIRM_S", 0.0)
        assert (await here.say("unlock the front door in ten minutes")).startswith("Do you really want to")
        assert await here.say("yes") == "-"
        assert here.states() == {}


async def ruled(here: Room, rule: str) -> None:
    """What the house says of locks."""
    await anyio.Path(here.folder / "home.toml").write_text(f'{FLOORS}[confirm]\nlock = "{rule}"\n')
    await here.house.home.read_file()


async def test_a_yes_for_one_door_opens_no_other_and_rules_are_those_of_then(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        errand = Errand(person="owner", granted=("unlock lock.other", "lock lock.f"))
        await here.schedule.add(Kind.COMMAND, seconds=5, name="a", text="unlock the front door", errand=errand)
        await here.pass_(5)
        assert here.house.topics() == []
        assert here.aloud == ["The front door may not be worked from here."]
        await ruled(here, "never")
        assert await here.say("unlock the front door in ten minutes") == "I will unlock the front door at 8:20 PM."
        await ruled(here, "always")
        await here.pass_(600)
        assert here.house.topics() == []
        assert len(here.aloud) == 2
        await ruled(here, "never")
        await here.say("unlock the front door in ten minutes")
        await here.pass_(600)
        assert here.house.topics() == ["f/set"]


async def test_guests_plan_what_guests_may_do_and_see_no_more(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        answered = await here.ask("unlock the front door in ten minutes", person=GUEST)
        assert answered is not None
        assert (answered.text, answered.done[0].outcome) == (
            "The front door may not be worked from here.",
            "forbidden",
        )
        assert await here.say("yes", person=GUEST) == "-"
        await here.say("turn on the radio in ten minutes")
        await here.say("turn on the kettle in ten minutes", person=GUEST, conversation="guests")
        assert await here.say("what is planned", person=GUEST) == "I will turn on the kettle at 8:20 PM."
        assert await here.say("cancel the radio", person=GUEST) == "-"
        granted = Errand(person=GUEST, granted=("unlock lock.f",))
        await here.schedule.add(Kind.COMMAND, seconds=5, name="a", text="unlock the front door", errand=granted)
        await here.pass_(5)
        assert here.house.topics() == []
        assert here.states()["a"] == "missed"
        await here.pass_(600)
        assert here.house.topics() == ["e/set", "g/set"]


async def test_what_is_planned_is_asked_for_and_taken_back_by_its_words(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        assert await here.say("what have I planned") == "Nothing is planned."
        assert await here.say("cancel the kettle") == "-"
        assert await here.say("don't turn off the kettle") == "-"
        await here.say("turn off the kettle in half an hour")
        await here.say("turn off the radio at eleven tonight")
        await here.say("turn on the bedside lamp tomorrow at noon")
        assert await here.say("what is planned for tonight") == (
            "I will turn off the kettle at 8:40 PM. I will turn off the radio at 11:00 PM."
        )
        assert (
            await here.say("what is planned for tomorrow") == "I will turn on the bedside lamp at noon tomorrow."
        )
        assert await here.say("is anything planned for sunday") == "Nothing is planned."
        assert await here.say("cancel that") == "I will not turn on the bedside lamp."
        assert await here.say("cancel that") == ""
        assert await here.say("do not turn on the radio") == "-"
        assert await here.say("do not turn off the radio after all") == "I will not turn off the radio."
        assert await here.say("cancel the front door") == "-"
        assert await here.say("cancel the kettle at nine") == "-"
        assert await here.say("cancel the kettle") == "I will not turn off the kettle."
        await here.say("turn off the kettle in half an hour")
        await here.say("turn on the kettle in two hours")
        assert await here.say("cancel the kettle") == (
            "There are 2: say the plan to turn off the kettle or the plan to turn on the kettle."
        )
        assert await here.say("cancel everything planned") == "2 plans cancelled."
        assert here.house.topics() == []
        assert await here.skills.ending("what is planned") is Ending.FINISHED


async def test_a_plan_is_cancelled_and_listed_by_the_verb(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        await here.say("turn off the kettle in half an hour")
        (listed,) = (await timer(here.schedule, TimerArgs()))["timers"]
        assert (listed["kind"], listed["name"], listed["state"]) == ("command", "turn off the kettle", "running")
        assert here.bulletin.current()["next_alarm"]["id"] is None
        assert here.bulletin.current()["next_timer"]["id"] is None
        assert here.bulletin.current()["timers"][0]["text"] == "turn off the kettle"
        await timer(here.schedule, TimerArgs(action="cancel", id=listed["id"]))
        await here.pass_(1800)
        assert here.house.topics() == []


async def test_what_cannot_be_planned_is_said_and_not_planned(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        for said, answer in (
            (
                "turn on the ceiling light in ten minutes",
                "Which one: the kitchen ceiling light or the bedroom ceiling light? "
                "Say it again with the one that you mean.",
            ),
            ("turn on the kettle at seven today", "That time has passed."),
            ("turn on the radio at sunset", "I know no times of the sun: say an hour, for example at nine."),
            ("open the blinds in the kitchen in ten minutes", "There is no blind in the kitchen."),
            (
                "turn on the radio for ten minutes",
                "I can only do that at once: say it when it is time, or let me remind you.",
            ),
        ):
            assert await here.say(said) == answer, said
            assert here.states() == {}
        assert await here.say("the first one") == "-"  # and nothing is done now instead
        await anyio.Path(tmp_path / "timers.json.new").mkdir()  # a disk that takes nothing
        assert (await here.say("turn on the kettle in ten minutes")).startswith("The timers cannot be written to")
        assert here.states() == {}
        assert here.house.topics() == []


async def test_what_was_begun_is_done_again_where_that_is_the_same(tmp_path: Path) -> None:
    async with room(tmp_path) as here:
        for text in ("turn on the kettle", "make the bedside lamp brighter"):
            await here.schedule.add(Kind.COMMAND, seconds=5, name=text, text=text, errand=Errand(person="owner"))
        items = [msgspec.structs.replace(view.item, state=State.DOING) for view in here.schedule.views()]
        await anyio.to_thread.run_sync(ScheduleFile(tmp_path / "timers.json").save, items)
        here.clock.power_cut(60)
        await here.restart()
        await here.settle()
        assert here.house.topics() == ["e/set"]
        assert here.aloud == [
            "I could not make the bedside lamp brighter: I was cut off while I did it, and do not know how far I "
            "came."
        ]


@pytest.mark.parametrize(
    ("text", "errand"),
    [
        ("xyzzy plugh", {"person": "owner"}),
        ("", {"person": "owner"}),
        ("is the kettle on", {"person": "owner"}),
        ("yes", {"person": "owner"}),
        ("turn on the kettle", None),
        ("turn on the ceiling light", {"person": "owner"}),
        ("unlock the front door", {"person": "owner", "granted": ["", "unlock", "unlock *", "lock.f"]}),
        ("turn on it", {"person": "owner", "it": ["no.such"]}),
        ("{{ 7 * 7 }} " * 40, {"person": "", "area": "\x00"}),
    ],
)
async def test_garbage_in_a_whole_file_is_missed_and_does_nothing(
    tmp_path: Path, text: str, errand: dict[str, object] | None
) -> None:
    async with room(tmp_path) as here:
        await here.schedule.add(Kind.COMMAND, seconds=5, name="", text="x", errand=Errand(person="owner"))
        (kept,) = here.schedule.views()
        data = msgspec.to_builtins(kept.item) | {"text": text, "errand": errand}
        body = json.dumps([data]).encode()
        await anyio.Path(tmp_path / "timers.json").write_bytes(b"%08x\n" % zlib.crc32(body) + body)
        await here.restart()
        await here.pass_(5)
        assert here.house.topics() == []
        assert list(here.states().values()) == ["missed"]
        assert len(here.aloud) == 1


async def test_a_kind_that_nobody_knows_puts_the_file_aside(tmp_path: Path) -> None:
    body = json.dumps([{"id": "a", "kind": "spell", "state": "running"}]).encode()
    await anyio.Path(tmp_path / "timers.json").write_bytes(b"%08x\n" % zlib.crc32(body) + body)
    schedule = await opened(tmp_path, SetClock(), Bulletin())
    assert schedule.views() == []
    assert await anyio.Path(tmp_path / "timers.json.damaged").exists()


async def test_without_anybody_to_do_it_a_command_is_missed(tmp_path: Path) -> None:
    clock = SetClock()
    schedule = await opened(tmp_path, clock, Bulletin())
    await schedule.add(Kind.COMMAND, seconds=5, name="turn on the kettle", errand=Errand(person="owner"))
    clock.advance(5)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schedule.run)
        await until(lambda: schedule.views()[0].item.state is State.MISSED)
        tasks.cancel_scope.cancel()
    assert isinstance(schedule.views()[0].item, Item)
    assert schedule.views()[0].item.why == "nothing works the home here"
