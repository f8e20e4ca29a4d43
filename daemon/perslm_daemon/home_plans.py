"""Commands for another time: understood when they are said, kept in the schedule, done when they are due.

What is done then goes the same confirmed way as what is said then, by the rules of the house as they are then. A
yes is asked for when it is planned, and opens only what it was given for. Knows no sentence of its own.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio
from msgspec.structs import replace

from perslm_daemon import engine_calls, home_command, schedule_words
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.home import Home
from perslm_daemon.home_acts import acts_beside, room_of
from perslm_daemon.home_book import entries_of
from perslm_daemon.home_command import Grant
from perslm_daemon.home_device import Device, Happened, Outcome
from perslm_daemon.home_done import how, intent_of, sentence
from perslm_daemon.home_resolve import Act, NothingError, UnclearError, Where
from perslm_daemon.home_talk import SPOKEN_OF_S, Plan, Talk, going_on
from perslm_daemon.home_words import deed, listed
from perslm_daemon.home_words import sentence as came_of
from perslm_daemon.schedule import Schedule
from perslm_daemon.schedule_file import Errand, Item, Kind
from perslm_daemon.turn import GUEST, Answered, Ask, Done
from perslm_runtime.errors import InputError, PersLMError
from perslm_runtime.home_later import Later
from perslm_runtime.home_wish import Wish
from perslm_runtime.intent import Intent, Slot, slots_data
from perslm_runtime.lane import Lane
from perslm_runtime.time_words import say_duration
from perslm_runtime.when import PastError, When, resolve

_HOME_S = 20.0  # after a start the broker tells within that what there is
_MOST_CONVERSATIONS = 64
_NOT_TWICE = frozenset(
    {"toggle", "raise", "lower", "next", "previous", "press", "change_position", "change_brightness"}
    | {"change_temperature", "change_volume", "change_speed"}
)
"""Wishes of which nobody knows, once they were begun, whether to do them again."""


@dataclass(frozen=True, slots=True)
class _Meant:
    """A wish with what it does, on which devices."""

    wish: Wish
    acts: tuple[Act, ...]


class Plans:
    """The commands that wait in the schedule, whose worker `work` is."""

    def __init__(
        self,
        recognizer: Lane[Any],
        home: Home,
        schedule: Schedule,
        bulletin: Bulletin,
    ) -> None:
        self._recognizer, self._home, self.schedule = recognizer, home, schedule
        self._bulletin = bulletin
        self._last: OrderedDict[str, tuple[str, float]] = OrderedDict()

    # Planned

    async def plan(self, ask: Ask, later: Later, talk: Talk, where: Where) -> Answered | None:
        """Keep a command for its time and say so, or ask for a yes; None where no moment was said."""
        if later.seconds is None and later.when is None:
            return None
        try:
            errand = Errand(person=ask.person, area=where.area or "", it=await self._it(later.command, where))
            meant = await self._meant(later.command, errand)
            if not meant:
                return None
            return await self._planned(ask, later, talk, meant, errand)
        except UnclearError as error:
            return self._answered(later, f"{error} Say it again with the one that you mean.", "unclear")
        except (NothingError, PersLMError) as error:
            outcome = "nothing" if isinstance(error, NothingError) else "failed"
            return self._answered(later, sentence(str(error)), outcome)

    async def _planned(
        self, ask: Ask, later: Later, talk: Talk, meant: Sequence[_Meant], errand: Errand
    ) -> Answered:
        acts = [act for one in meant for act in one.acts]
        ids = tuple(dict.fromkeys(id_ for act in acts for id_ in act.devices))
        risky = [Act(act.action, some) for act in acts if (some := self._risky(act))]
        if risky and ask.person == GUEST:
            told = [
                came_of(device, Happened.FORBIDDEN, act.action, {}) for act in risky for device in self._known(act)
            ]
            return self._answered(later, sentence(listed(told)), "forbidden", ids)
        plan = Plan(later, self._does(acts), errand, time.monotonic() + home_command.CONFIRM_S)
        if not risky:
            return await self._kept(plan, ask, ids)
        granted = tuple(f"{act.action.verb} {id_}" for act in risky for id_ in act.devices)
        talk.plan, talk.at = (
            Plan(later, plan.does, replace(errand, granted=granted), plan.until_s),
            time.monotonic(),
        )
        when = self._when(later)
        return self._answered(later, f"Do you really want to {plan.does} {when}?", "asked", ids)

    async def agreed(self, plan: Plan, ask: Ask, *, yes: bool) -> Answered | None:
        """What a yes or no to a plan leads to; None where it came too late, or from somebody else."""
        if plan.until_s < time.monotonic() or ask.person != plan.errand.person:
            return None
        if not yes:
            return self._answered(plan.later, "I leave it as it is.", "done")
        try:
            return await self._kept(plan, ask, tuple(one.partition(" ")[2] for one in plan.errand.granted))
        except PersLMError as error:
            return self._answered(plan.later, sentence(str(error)), "failed")

    async def _kept(self, plan: Plan, ask: Ask, ids: tuple[str, ...]) -> Answered:
        later, when = plan.later, plan.later.when
        item = await self.schedule.add(
            Kind.COMMAND,
            seconds=later.seconds,
            local=None if when is None else _resolved(when, self._now()),
            every=() if when is None else when.every,
            name=plan.does,
            text=later.command,
            errand=plan.errand,
        )
        self._last.pop(ask.conversation, None)
        self._last[ask.conversation] = (item.id, time.monotonic())
        while len(self._last) > _MOST_CONVERSATIONS:
            self._last.popitem(last=False)
        view = next(view for view in self.schedule.views() if view.item.id == item.id)
        return self._answered(later, schedule_words.set_to(view, self.schedule.now()), "planned", ids)

    def _when(self, later: Later) -> str:
        """When it would be, as it is asked for a yes: "at 8:00 AM tomorrow". Raises `InputError`."""
        if later.when is None:
            return f"in {say_duration(later.seconds or 0)}"
        now = self._now()
        return schedule_words.at_time(_resolved(later.when, now), now, later.when.every)

    def _now(self) -> datetime:
        now = self.schedule.now()
        if now is None:
            raise InputError("I do not know what time it is, my clock has not been set: say in how many minutes")
        return now

    def last(self, conversation: str) -> str:
        """The id of what was planned last in a conversation, not long ago; "" for none."""
        id_, at = self._last.get(conversation, ("", 0.0))
        return id_ if time.monotonic() - at < SPOKEN_OF_S else ""

    @staticmethod
    def _answered(later: Later, said: str, outcome: str, ids: tuple[str, ...] = ()) -> Answered:
        slots: dict[str, Slot] = {"what": later.command}
        slots |= {"duration": later.seconds} if later.seconds is not None else {}
        slots |= {"when": later.when} if later.when is not None else {}
        intent = Intent("later", slots)
        return Answered(intent, said, (Done(intent, ids, outcome),))

    # What is meant

    async def _it(self, command: str, where: Where) -> tuple[str, ...]:
        """The devices that were spoken of, where the command is about "it"."""
        wishes = await self._wishes(command)
        about = any(target.it or target.this for wish in wishes for target in wish.targets)
        return where.it if about else ()

    async def _wishes(self, command: str) -> Sequence[Wish]:
        stamp = (self._home.generation, self._home.table)
        wishes: Sequence[Wish] = await self._recognizer.call(
            engine_calls.wishes, command, stamp, entries_of(self._home)
        )
        return wishes

    async def _meant(self, command: str, errand: Errand) -> list[_Meant]:
        """What a kept sentence means now: the same way when it is planned and when it is due.

        Raises `UnclearError` and `NothingError`.
        """
        wishes = await self._wishes(command)
        talk = Talk(at=time.monotonic(), it=errand.it)
        wishes = going_on(wishes, command, talk, self._home)
        where = Where(errand.area or None, errand.it)
        beside = room_of(wishes, self._home)
        return [_Meant(wish, acts_beside(wish, self._home, where, beside)) for wish in wishes]

    def _risky(self, act: Act) -> tuple[str, ...]:
        return tuple(id_ for id_ in act.devices if self._home.asks_first(id_, act.action.verb))

    def _known(self, act: Act) -> list[Device]:
        return [device for id_ in act.devices if (device := self._home.device(id_)) is not None]

    def _does(self, acts: Sequence[Act]) -> str:
        return listed([deed(self._known(act), act.action) for act in acts])

    # Due

    async def work(self, item: Item) -> str:
        """Do what is due; "" where it was done, else why not, as a sentence without its full stop."""
        errand = item.errand
        planned = f"I could not {item.name or item.text or 'do what was planned'}"
        if errand is None:
            return f"{planned}: nobody knows any more who wanted it"
        with anyio.move_on_after(_HOME_S):
            await self._home.ready()
        try:
            meant = await self._meant(item.text, errand)
        except UnclearError:
            return f"{planned}: more than one thing is meant by it now"
        except NothingError as error:
            return f"{planned}: {error}"
        if not meant:
            return f"{planned}: I do not understand it any more"
        if errand.begun and any(one.wish.name in _NOT_TWICE for one in meant):
            return f"{planned}: I was cut off while I did it, and do not know how far I came"
        came = [await self._done(item, errand, one) for one in meant]
        return "; ".join(self._home.summary(outcomes) for outcomes in came if not all(map(_went_well, outcomes)))

    async def _done(self, item: Item, errand: Errand, meant: _Meant) -> list[Outcome]:
        """Do one wish and tell of it as of any intent."""
        outcomes: list[Outcome] = []
        for act in meant.acts:
            for ids, grant in self._granted(act, errand):
                outcomes += await self._home.act(ids, act.action, grant=grant, by="plan")
        intent = intent_of(meant.wish)
        self._bulletin.tell(
            "intent",
            turn=item.id,
            name=intent.name,
            slots=slots_data(intent),
            targets=[one.device for one in outcomes],
            outcome=how(outcomes),
        )
        return outcomes

    def _granted(self, act: Act, errand: Errand) -> Iterator[tuple[tuple[str, ...], Grant]]:
        """The devices for which a yes was given, and those that have to need none."""
        allowed = () if errand.person == GUEST else errand.granted
        yes = tuple(id_ for id_ in act.devices if f"{act.action.verb} {id_}" in allowed)
        rest = tuple(id_ for id_ in act.devices if id_ not in yes)
        yield from ((ids, grant) for ids, grant in ((yes, Grant.CONFIRMED), (rest, Grant.SAFE_ONLY)) if ids)


def _went_well(outcome: Outcome) -> bool:
    return outcome.happened.good or outcome.happened is Happened.TOLD  # of which nobody can know


def _resolved(when: When, now: datetime) -> datetime:
    """The local time that is meant. Raises `InputError` for one that has passed."""
    try:
        return resolve(when, now)
    except PastError as error:
        raise InputError(f"{error}") from error
