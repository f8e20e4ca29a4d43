"""The table of what is done for each intent: timers, alarms, reminders, the clock, the volume, stop and repeat.

Each skill is a few lines over the schedule or the settings and returns what is said. One that fails says why, as
its error does. Knows no sentence (the recognizer does) and no sound.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from perslm_daemon import engine_calls, schedule_words
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.missing import Missing, question_for
from perslm_daemon.schedule import Schedule
from perslm_daemon.schedule_file import Item, Kind, State, adjective
from perslm_daemon.schedule_words import View
from perslm_daemon.settings import Settings
from perslm_daemon.skills_tongue import said_in
from perslm_daemon.turn import Answered, Ask
from perslm_runtime.completeness import Ending, ends_in_a_number
from perslm_runtime.errors import InputError, PersLMError
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane
from perslm_runtime.when import DAYS, PastError, When, resolve

log = logging.getLogger("perslm.skills")

_STEP = 0.1  # of the volume, where nobody says how much
_UNMUTED = 0.5  # where it was silent before anybody muted it
_NO_CLOCK = "I do not know what time it is, because my clock has not been set."

# Skills that change nothing: they may be asked before it is sure that somebody wants to know.
_READING = frozenset({"get_time", "get_date", "get_day", "timer_status", "alarm_status", "reminder_status"})

_PLANS = frozenset({"plan_status", "cancel_plan", "cancel_all_plans"})

Skill = Callable[[Intent], Awaitable[str]]


class Skills:
    """Answers what it understands; None leaves the sentence to the model. Given to the pipeline.

    Without a `schedule` nothing could ring later: then what needs one is answered with what to do. `now` is local
    time, None where the clock has not been set.
    """

    def __init__(
        self,
        recognizer: Lane[Any],
        schedule: Schedule | None,
        settings: Settings,
        bulletin: Bulletin,
        now: Callable[[], datetime | None],
        language: str = "en",
    ) -> None:
        self._recognizer, self._running, self._now = recognizer, schedule, now
        self._settings, self._bulletin = settings, bulletin
        self._language = language
        self._loud: float | None = None
        self._missing = Missing()
        self.planned: Callable[[Intent, Ask], Awaitable[str | None]] | None = None
        """Answers what is asked of commands for another time; None leaves a sentence to others."""
        self._table: dict[str, Skill] = {
            "set_timer": self._set_timer,
            "timer_status": self._timer_status,
            "pause_timer": self._pause,
            "resume_timer": self._resume,
            "cancel_timer": lambda intent: self._cancel(intent, Kind.TIMER),
            "cancel_all_timers": lambda _: self._cancel_all(Kind.TIMER),
            "add_time": lambda intent: self._change(intent, 1),
            "remove_time": lambda intent: self._change(intent, -1),
            "set_alarm": self._set_alarm,
            "alarm_status": lambda intent: self._status(intent, Kind.ALARM),
            "cancel_alarm": lambda intent: self._cancel(intent, Kind.ALARM),
            "cancel_all_alarms": lambda _: self._cancel_all(Kind.ALARM),
            "set_reminder": self._set_reminder,
            "reminder_status": lambda intent: self._status(intent, Kind.REMINDER),
            "cancel_reminder": lambda intent: self._cancel(intent, Kind.REMINDER),
            "cancel_all_reminders": lambda _: self._cancel_all(Kind.REMINDER),
            "snooze": self._snooze,
            "stop": self._stop,
            "nevermind": self._nevermind,
            "repeat": self._repeat,
            "get_time": self._time,
            "get_date": self._date,
            "get_day": self._day,
            "set_volume": self._set_volume,
            "volume_up": lambda intent: self._turn(intent, 1),
            "volume_down": lambda intent: self._turn(intent, -1),
            "mute": self._mute,
            "unmute": self._unmute,
            "mute_microphone": self._mute_microphone,
        }

    @property
    def intents(self) -> frozenset[str]:
        """The intents there is a skill for."""
        return frozenset(self._table)

    async def __call__(self, ask: Ask) -> Answered | None:
        """Do what is wanted and say so; None where no intent is recognized."""
        intent = self._missing.answered(ask)
        try:
            if intent is None:
                intent = await self._recognizer.call(engine_calls.understand, ask.text)
        except PersLMError as error:
            log.warning("not_recognized error=%s", type(error).__name__)
            return None
        if intent is None:
            return None
        if (said := await self._of_plans(intent, ask)) is not None:
            return Answered(intent, said)
        if intent.name not in self._table:
            return None
        if question := question_for(intent):
            self._missing.ask_for(ask, intent)
            return Answered(intent, question)
        return await self.do(intent)

    async def _of_plans(self, intent: Intent, ask: Ask) -> str | None:
        if self.planned is None or intent.name not in _PLANS | {"nevermind"}:
            return None
        try:
            return await self.planned(intent, ask)
        except PersLMError as error:
            return f"{schedule_words.capital(str(error))}."

    async def do(self, intent: Intent) -> Answered:
        """Carry out an intent, whoever understood it."""
        try:
            said = await self._said(intent)
        except PersLMError as error:
            said = f"{schedule_words.capital(str(error))}."
        return Answered(intent, said)

    async def _said(self, intent: Intent) -> str:
        said = await self._table[intent.name](intent)
        if self._language == "en":
            return said
        return await said_in(self._recognizer, intent, self._now(), said) or said

    async def ending(self, text: str) -> Ending | None:
        """How finished `text` is as a command: None where it is none, or where a number at its end may go on."""
        try:
            intent: Intent | None = await self._recognizer.call(engine_calls.understand, text)
        except PersLMError:
            return None
        if intent is not None and intent.name == "plan_status" and self.planned is not None:
            return Ending.FINISHED
        if intent is None or intent.name not in self._table or ends_in_a_number(text):
            return None
        return Ending.UNSURE if question_for(intent) else Ending.FINISHED

    async def preview(self, text: str) -> str | None:
        """What a question that only reads would be answered now; "" for what changes something, else None."""
        try:
            intent: Intent | None = await self._recognizer.call(engine_calls.understand, text)
            if intent is None or intent.name not in self._table:
                return None
            if intent.name in _READING:
                return await self._said(intent)
        except PersLMError:
            pass  # the turn itself tells what is wrong
        return ""

    @property
    def _schedule(self) -> Schedule:
        if self._running is None:
            raise InputError("nothing would ring: start PersLM with `perslm run`, then say it again")
        return self._running

    # Timers

    async def _set_timer(self, intent: Intent) -> str:
        seconds = intent.seconds() or 0
        return self._set(await self._schedule.add(Kind.TIMER, seconds=seconds, name=intent.text("name")))

    def _set(self, item: Item) -> str:
        view = next(view for view in self._schedule.views() if view.item.id == item.id)
        return schedule_words.set_to(view, self._now())

    async def _timer_status(self, intent: Intent) -> str:
        return await self._status(intent, Kind.TIMER)

    async def _status(self, intent: Intent, kind: Kind) -> str:
        views = self._fitting(intent, kind)
        return schedule_words.told(views, self._now(), self._none(intent, kind))

    async def _pause(self, intent: Intent) -> str:
        running = [view for view in self._fitting(intent, Kind.TIMER) if view.item.state is State.RUNNING]
        item = self._one_of([view.item for view in running], intent, Kind.TIMER)
        await self._schedule.pause(item)
        return f"The {item.called} is paused."

    async def _resume(self, intent: Intent) -> str:
        paused = [view.item for view in self._fitting(intent, Kind.TIMER) if view.item.state is State.PAUSED]
        item = self._one_of(paused, intent, Kind.TIMER)
        await self._schedule.resume(item)
        return f"The {item.called} goes on."

    async def _change(self, intent: Intent, sign: int) -> str:
        seconds = intent.seconds() or 0
        if sign > 0 and not intent.text("name") and self._schedule.ringing:
            return await self._snooze(intent)
        item = self._one_of([view.item for view in self._fitting(intent, Kind.TIMER)], intent, Kind.TIMER)
        changed = await self._schedule.change(item, sign * seconds)
        view = next(view for view in self._schedule.views() if view.item.id == changed.id)
        return schedule_words.told([view], self._now(), "")

    async def _cancel(self, intent: Intent, kind: Kind) -> str:
        items = [view.item for view in self._fitting(intent, kind)]
        item = self._one_of([one for one in items if one.state is State.RINGING] or items, intent, kind)
        await self._schedule.cancel([item])
        return "" if item.state is State.RINGING else f"The {item.called} is cancelled."

    async def _cancel_all(self, kind: Kind) -> str:
        items = [view.item for view in self._schedule.views(kind)]
        await self._schedule.cancel(items)
        if not items:
            return f"There is no {kind.value}."
        return f"{len(items)} {kind.value}{'s' if len(items) > 1 else ''} cancelled."

    def _fitting(self, intent: Intent, kind: Kind) -> list[View]:
        """What there is of a kind that the intent may mean, by name, length, words or time."""
        views = self._schedule.views(kind)
        name, what, of = intent.text("name"), intent.text("what").lower(), intent.seconds("of")
        if name:
            views = [view for view in views if name == view.item.name.lower()] or [
                view for view in views if set(name.split()) & set(view.item.name.lower().split())
            ]
        if what:
            views = [view for view in views if what in view.item.text.lower() or view.item.text.lower() in what]
        if of is not None:
            views = [view for view in views if abs(view.item.total_s - of) < 1]
        when, now = intent.when, self._now()
        if when is not None and now is not None:
            views = [view for view in views if view.at is not None and meant(when, view.at, now)]
        return views

    def _one_of(self, items: Sequence[Item], intent: Intent, kind: Kind) -> Item:
        if not items:
            raise InputError(self._none(intent, kind).rstrip("."))
        if len(items) > 1:
            raise InputError(f"there are {len(items)}: say {schedule_words.names(items, 'or')}")
        return items[0]

    def _none(self, intent: Intent, kind: Kind) -> str:
        of = intent.seconds("of")
        which = intent.text("name") or (adjective(of) if of else "")
        return f"There is no {f'{which} ' if which else ''}{kind.value}."

    # Alarms and reminders

    async def _set_alarm(self, intent: Intent) -> str:
        return await self._set_at(intent, Kind.ALARM)

    async def _set_reminder(self, intent: Intent) -> str:
        return await self._set_at(intent, Kind.REMINDER)

    async def _set_at(self, intent: Intent, kind: Kind) -> str:
        when, seconds = intent.when, intent.seconds()
        name, text = intent.text("name"), intent.text("what")
        if seconds is not None:
            return self._set(await self._schedule.add(kind, seconds=seconds, name=name, text=text))
        if when is None:
            raise InputError("say when, for example: tomorrow at nine")
        local = await self._moment(when, waking=kind is Kind.ALARM)
        return self._set(await self._schedule.add(kind, local=local, every=when.every, name=name, text=text))

    async def _moment(self, when: When, *, waking: bool) -> datetime:
        now = self._now()
        if now is None:
            raise InputError(_NO_CLOCK.rstrip("."))
        try:
            return resolve(when, now, waking=waking)
        except PastError as error:
            raise InputError(f"{error}") from error

    async def _snooze(self, intent: Intent) -> str:
        snoozed = await self._schedule.snooze(intent.seconds())
        if not snoozed:
            return "Nothing is ringing."
        views = [view for view in self._schedule.views() if view.item.id == snoozed[0].id]
        return schedule_words.told(views, self._now(), "")

    # The conversation itself

    async def _stop(self, _intent: Intent) -> str:
        if self._running is not None:
            await self._running.stop()
        return ""

    async def _nevermind(self, _intent: Intent) -> str:
        return ""

    async def _repeat(self, _intent: Intent) -> str:
        said = self._bulletin.current().get("last_reply")
        return str(said) if said else "I have not said anything yet."

    # The clock

    async def _time(self, _intent: Intent) -> str:
        now = self._now()
        return _NO_CLOCK if now is None else f"It is {schedule_words.say_clock(now)}."

    async def _date(self, intent: Intent) -> str:
        return self._on(intent, lambda day: f"{DAYS[day.weekday()]}, {day:%B} {day.day}, {day.year}")

    async def _day(self, intent: Intent) -> str:
        return self._on(intent, lambda day: DAYS[day.weekday()])

    def _on(self, intent: Intent, said: Callable[[datetime], str]) -> str:
        now, when = self._now(), intent.when
        if now is None:
            return _NO_CLOCK
        if when is None or when.days == 0:
            return f"It is {said(now)}."
        if when.days is not None:
            day = "Tomorrow" if when.days == 1 else "The day after tomorrow"
            return f"{day} is {said(now + timedelta(when.days))}."
        return f"That is {said(resolve(When(weekday=when.weekday, date=when.date, every=when.every), now))}."

    # The volume

    async def _set_volume(self, intent: Intent) -> str:
        return await self._to((intent.seconds("level") or 0) / 100)

    async def _turn(self, intent: Intent, sign: int) -> str:
        step = intent.seconds("step")
        return await self._to(self._volume() + sign * (_STEP if step is None else step / 100))

    async def _to(self, level: float) -> str:
        level = round(min(1.0, max(0.0, level)), 2)
        await self._settings.change("volume", str(level))
        return f"Volume {round(level * 100)} percent."

    async def _mute(self, _intent: Intent) -> str:
        before = self._volume()
        await self._to(0.0)
        self._loud = before or self._loud
        return ""

    async def _unmute(self, _intent: Intent) -> str:
        return await self._to(self._volume() or self._loud or _UNMUTED)

    def _volume(self) -> float:
        if "volume" not in self._settings.table:
            raise InputError("there is no loudspeaker here whose volume could be changed")
        return float(self._bulletin.current()["volume"])

    async def _mute_microphone(self, _intent: Intent) -> str:
        if "mute" not in self._settings.table:
            raise InputError("there is no microphone here that could be switched off")
        await self._settings.change("mute", "ON")
        return "The microphone is off."


def meant(when: When, at: datetime, now: datetime) -> bool:
    """Whether an alarm at `at` is the one somebody means by `when`: what was not said, fits."""
    day = (
        (when.days is None or at.date() == (now + timedelta(when.days)).date())
        and (when.weekday is None or at.weekday() == when.weekday)
        and (when.date is None or (at.month, at.day) == when.date)
        and (not when.every or at.weekday() in when.every)
    )
    hour = at.hour == when.hour if when.exact else when.hour is None or at.hour % 12 == when.hour % 12
    return day and hour and (when.hour is None or at.minute == when.minute)


def alone(recognizer: Lane[Any], now: Callable[[], datetime | None], language: str = "en") -> Skills:
    """The skills of a process that answers and ends: the clock, but nothing that rings later."""
    bulletin = Bulletin()
    return Skills(recognizer, None, Settings(bulletin, {}), bulletin, now, language)
