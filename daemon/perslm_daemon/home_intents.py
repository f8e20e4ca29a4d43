"""The home by sentences: what is wanted is worked or told, and answered by what happened. A skill of the pipeline.

Keeps for each conversation what was spoken of last ("and the bedroom too", "turn it off"), the question that
waits for a yes, and the one that waits for a choice. Guests may not do what asks first.
"""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from perslm_daemon import engine_calls
from perslm_daemon.home import Home
from perslm_daemon.home_acts import acts_beside, acts_of, room_of
from perslm_daemon.home_answers import QUESTIONS, answer, value_wish
from perslm_daemon.home_book import entries_of
from perslm_daemon.home_command import Grant
from perslm_daemon.home_device import Happened, Outcome
from perslm_daemon.home_done import how, intent_of, sentence
from perslm_daemon.home_naming import named
from perslm_daemon.home_plans import Plans
from perslm_daemon.home_resolve import Act, NothingError, UnclearError, Where
from perslm_daemon.home_said_before import said_out
from perslm_daemon.home_strange import not_here
from perslm_daemon.home_talk import Talk, going_on
from perslm_daemon.home_tongue import answer_in, outcomes_in, question_in, stock_said, unclear_in
from perslm_daemon.turn import GUEST, Answered, Ask, Done
from perslm_runtime.completeness import Ending, ends_in_a_number
from perslm_runtime.errors import InputError, PersLMError
from perslm_runtime.home_later import now_and_then
from perslm_runtime.home_names import Entry
from perslm_runtime.home_wish import Target, Wish
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane
from perslm_runtime.tongues import Tongue

log = logging.getLogger("perslm.home")


_MOST_CONVERSATIONS = 64
_GOING_ON = frozenset({"fragment", "value_of", "name", "move_room"})
_IN_THERE = re.compile(r"\bin there\b", re.IGNORECASE)
_NAMING = frozenset({"name", "move_room", "hide"})
_LATER = "I can only do that at once: say it when it is time, or let me remind you"
_SUN = "I know no times of the sun: say an hour, for example at nine"


@dataclass(slots=True)
class _Told:
    """What came of one wish."""

    text: str
    done: Done


Otherwise = Callable[[Ask], Awaitable[Act | Answered | None]]
"""Chooses an action where no sentence fits, or has done one; None leaves it to the talk."""


@dataclass(slots=True)
class HomeIntents:
    """Answers what is about the home; None leaves a sentence to others. `area` is this board's room, if any.

    `tongue` has the phrases of another language than English. `asks`: what `otherwise` chose is asked about first.
    `plans` takes what is for another time; without them that is only said to be none.
    """

    recognizer: Lane[Any]
    home: Home
    area: str = ""
    tongue: Tongue | None = None
    otherwise: Otherwise | None = None
    asks: bool = True
    plans: Plans | None = None
    _talks: OrderedDict[str, Talk] = field(default_factory=OrderedDict)
    _entries: tuple[object, tuple[Entry, ...]] | None = None

    async def __call__(self, ask: Ask) -> Answered | None:
        """Do or tell what is wanted of the home."""
        return await self._now_and_then(ask) or await self._all_at_once(ask)

    async def _now_and_then(self, ask: Ask) -> Answered | None:
        """ "The lamp off now and the heater off at ten": one is done, and the other planned."""
        if self.plans is None or self.tongue is not None or (both := now_and_then(ask.text)) is None:
            return None
        names, entries = self._names()
        try:
            at_once = await self.recognizer.call(engine_calls.wishes, both[0], names, entries)
            later = await self.recognizer.call(engine_calls.later, both[1])
        except PersLMError:
            return None
        if not at_once or later is None:
            return None
        first = await self._all_at_once(replace(ask, text=both[0]))
        second = await self._all_at_once(replace(ask, text=both[1])) if first is not None else None
        if first is None or second is None:
            return first
        return Answered(first.intent, f"{first.text} {second.text}", (*first.done, *second.done))

    async def _all_at_once(self, ask: Ask) -> Answered | None:
        names, entries = self._names()
        talk = self._talk(ask)
        came, ask = ask, self._said_out(ask, talk)
        try:
            wishes: Sequence[Wish] = await self.recognizer.call(engine_calls.wishes, ask.text, names, entries)
            planned = ask is not came and await self.recognizer.call(engine_calls.later, ask.text) is not None
            if not wishes and ask is not came and not planned:
                ask = came
                wishes = await self.recognizer.call(engine_calls.wishes, ask.text, names, entries)
        except PersLMError as error:
            log.warning("not_recognized error=%s", type(error).__name__)
            return None
        if (agreed := await self._agreed(wishes, ask, talk)) is not None:
            return agreed
        wishes = going_on(wishes, ask.text, talk, self.home)
        if not wishes or not self._helps(wishes[0], ask, talk):
            await self._withdraw(talk)
            return await self._without_sentence(ask, talk)
        told: list[_Told] = []
        pending = talk.pending
        if wishes[0].name not in ("yes", "no"):
            await self._withdraw(replace(talk, choice=None))
        talk.pending = None
        beside = room_of(wishes, self.home)
        for wish in wishes:
            told.append(await self._one(wish, ask, talk, pending, beside))
            if told[-1].done.outcome == "unclear":
                break  # what comes after may depend on the answer
        return Answered(
            told[0].done.intent,
            " ".join(sentence(one.text) for one in told if one.text),
            tuple(one.done for one in told),
        )

    def _helps(self, wish: Wish, ask: Ask, talk: Talk) -> bool:
        """Whether a hint is one that something can be done for: in a room without heating it is talk."""
        if not wish.hint:
            return True
        where = self._where(ask, talk)
        played = wish.name == "change_volume"  # "I can't hear the TV", of which there may be one
        named = any(
            not target.here and (target.devices or target.placed or (played and target.noun))
            for target in wish.targets
        )
        if where.area is None and not named:
            return False
        try:
            return bool(acts_of(wish, self.home, where))
        except (UnclearError, NothingError):
            return False

    async def ending(self, text: str) -> Ending | None:
        """How finished `text` is as a sentence about the home; "turn on the kitchen" may go on with "light"."""
        names, entries = self._names()
        try:
            wishes = await self.recognizer.call(engine_calls.wishes, text, names, entries)
        except PersLMError:
            return None
        if not wishes or wishes[-1].name in _GOING_ON or ends_in_a_number(text):
            return None
        open_ended = any(target.is_place or target.every for target in wishes[-1].targets)
        return Ending.UNSURE if open_ended else Ending.FINISHED

    async def preview(self, text: str) -> str | None:
        """What a question would be answered now; "" for what changes something, None for what is not of it."""
        names, entries = self._names()
        try:
            wishes = await self.recognizer.call(engine_calls.wishes, text, names, entries)
            if not wishes:
                return None
            if len(wishes) == 1 and wishes[0].name in QUESTIONS:
                said, ids = answer(wishes[0], self.home, Where(self.area or None))
                if self.tongue is not None:
                    said = answer_in(self.tongue, wishes[0], self.home, ids) or said
                return sentence(said)
        except (PersLMError, UnclearError, NothingError):
            pass  # the turn itself tells what is wrong
        return ""

    async def strange(self, ask: Ask) -> Answered | None:
        """Say of a thing that no device is that it is not there, before a model tells something of it."""
        names, entries = self._names()
        try:
            said = await self.recognizer.call(engine_calls.strange, ask.text, names, entries)
        except PersLMError:
            return None
        return not_here(said, known=bool(self.home.devices())) if said else None

    def waits(self, ask: Ask) -> bool:
        """Whether a question of the home stands in this conversation: for a yes, or for which one."""
        talk = self._talks.get(ask.conversation)
        return (
            talk is not None
            and talk.fresh
            and (
                talk.choice is not None
                or talk.plan is not None
                or (talk.pending is not None and self.home.pending is not None)
            )
        )

    def speaks_of_it(self, ask: Ask) -> bool:
        """Whether a conversation has just been about devices: then "turn that off" means those."""
        talk = self._talks.get(ask.conversation)
        return talk is not None and bool(talk.it) and talk.fresh

    # One wish

    async def _one(self, wish: Wish, ask: Ask, talk: Talk, pending: str | None, beside: str = "") -> _Told:
        if wish.name != "choose":
            talk.choice = None
        where = self._where(ask, talk)
        if (
            beside and talk.it and _IN_THERE.search(ask.text)
        ):  # "turn off the bedroom TV and close the blinds in there"
            where = replace(where, area=beside)
        try:
            if not self.home.devices():
                raise NothingError("I have found no device in this home yet")
            if wish.name in ("yes", "no"):
                return await self._confirmed(wish, pending, talk)
            if wish.name == "undo":
                return await self._outcomes(wish, await self.home.undo(by=ask.source), talk)
            if wish.name in _NAMING:
                return await self._named(wish, ask, where)
            if wish.name in QUESTIONS:
                return self._answered(wish, where, talk)
            return await self._act(wish, acts_beside(wish, self.home, where, beside), ask, talk)
        except UnclearError as error:
            if error.options:
                talk.choice, talk.at = (wish, error.options), time.monotonic()
            outcome, said = "unclear", str(error)
            if self.tongue is not None:
                said = unclear_in(self.tongue, error, self.home)
        except NothingError as error:
            outcome, said = "nothing", str(error) if self.tongue is None else self.tongue.say("nothing")
        except PersLMError as error:
            outcome, said = "failed", str(error)
        return _Told(said, Done(intent_of(wish), (), outcome))

    def _answered(self, wish: Wish, where: Where, talk: Talk) -> _Told:
        asked = value_wish(wish, self.home) if wish.name == "value_of" else wish
        said, ids = answer(asked, self.home, where)
        if self.tongue is not None:
            said = answer_in(self.tongue, asked, self.home, ids) or said
        self._spoke_of(talk, asked, ids)
        return _Told(said, Done(intent_of(asked), ids, "answered"))

    async def _act(self, wish: Wish, acts: Sequence[Act], ask: Ask, talk: Talk, *, unsure: bool = False) -> _Told:
        grant = Grant.SAFE_ONLY if ask.person == GUEST else Grant.ASK
        outcomes: list[Outcome] = []
        self._spoke_of(talk, wish, tuple(id_ for act in acts for id_ in act.devices))
        for act in acts:
            outcomes += await self.home.act(act.devices, act.action, grant=grant, by=ask.source, unsure=unsure)
        return await self._outcomes(wish, outcomes, talk)

    async def _outcomes(self, wish: Wish, outcomes: Sequence[Outcome], talk: Talk) -> _Told:
        asked = [one for one in outcomes if one.happened is Happened.NEEDS_CONFIRMATION]
        done = [one for one in outcomes if one.happened is not Happened.NEEDS_CONFIRMATION]
        text = await self._summary(wish, done) if done else ""
        pending = self.home.pending
        if asked and pending is not None and pending.question == asked[0].sentence:  # and nobody else's question
            talk.pending, talk.at = pending.id, time.monotonic()
            asks = pending.question if self.tongue is None else question_in(self.tongue, pending, self.home)
            text = f"{sentence(text)} {asks}".strip()
        if not outcomes:
            text = await self._summary(wish, ())
        return _Told(text, Done(intent_of(wish), tuple(one.device for one in outcomes), how(outcomes)))

    async def _summary(self, wish: Wish, outcomes: Sequence[Outcome]) -> str:
        """What came of it, in the language that is spoken."""
        if self.tongue is not None:
            return outcomes_in(self.tongue, outcomes)
        return await stock_said(self.recognizer, wish, self.home, outcomes) or self.home.summary(outcomes)

    async def _withdraw(self, talk: Talk) -> None:
        """Take back what waits for an answer: a yes has to be the next word."""
        pending, talk.pending, talk.choice = talk.pending, None, None
        if pending is not None:
            with suppress(InputError):  # it was too late for it anyway
                await self.home.confirm(False, pending, by="voice")

    async def _confirmed(self, wish: Wish, pending: str | None, talk: Talk) -> _Told:
        if pending is None:
            raise InputError("nothing waits for a yes")
        outcomes = await self.home.confirm(wish.name == "yes", pending, by="voice")
        if wish.name == "no":
            left = "I leave it as it is" if self.tongue is None else self.tongue.say("left")
            return _Told(left, Done(intent_of(wish), (), "done"))
        return await self._outcomes(wish, outcomes, talk)

    async def _named(self, wish: Wish, ask: Ask, where: Where) -> _Told:
        if ask.person == GUEST:
            return _Told("only somebody who lives here can change that", Done(intent_of(wish), (), "forbidden"))
        said, ids = await named(wish, self.home, where)
        return _Told(said, Done(intent_of(wish), ids, "done"))

    async def _without_sentence(self, ask: Ask, talk: Talk) -> Answered | None:
        """A command for another time, or one that somebody else can choose."""
        later = await self.recognizer.call(engine_calls.later, ask.text)
        if later is not None:
            planned = await self.plans.plan(ask, later, talk, self._where(ask, talk)) if self.plans else None
            said = f"{_SUN if later.sun else _LATER}."
            return planned or Answered(Intent("later"), said, (Done(Intent("later"), (), "nothing"),))
        act = await self.otherwise(ask) if self.otherwise is not None else None
        if act is None or isinstance(act, Answered):
            return act
        wish = Wish(act.action.verb, (Target(devices=tuple((id_,) for id_ in act.devices)),))
        told = await self._act(wish, (act,), ask, talk, unsure=self.asks)
        chosen = replace(
            told.done, intent=Intent(told.done.intent.name, {**told.done.intent.slots, "chosen_by": "model"})
        )
        return Answered(chosen.intent, sentence(told.text), (chosen,))

    async def _agreed(self, wishes: Sequence[Wish], ask: Ask, talk: Talk) -> Answered | None:
        """The answer to a yes or no to a plan; whatever else is said takes the plan back."""
        plan, talk.plan = talk.plan, None
        if plan is None or self.plans is None or not wishes or wishes[0].name not in ("yes", "no"):
            return None
        return await self.plans.agreed(plan, ask, yes=wishes[0].name == "yes")

    # What a conversation goes on with

    def _talk(self, ask: Ask) -> Talk:
        talk = self._talks.pop(ask.conversation, None) or Talk()
        if not talk.fresh:
            talk.it, talk.last, talk.choice = (), None, None
        self._talks[ask.conversation] = talk
        while len(self._talks) > _MOST_CONVERSATIONS:
            self._talks.popitem(last=False)
        return talk

    def _said_out(self, ask: Ask, talk: Talk) -> Ask:
        """The sentence with the names of what it takes from before, unless a question waits for which one."""
        if self.tongue is not None or talk.choice is not None or not talk.fresh:
            return ask
        where = self._where(ask, talk)
        it = [device for id_ in talk.it if (device := self.home.device(id_)) is not None]
        text = said_out(ask.text, talk.last, it, self.home.devices(), where.area or "")
        return ask if text == ask.text else replace(ask, text=text)

    @staticmethod
    def _spoke_of(talk: Talk, wish: Wish, ids: tuple[str, ...]) -> None:
        talk.at, talk.it, talk.last = time.monotonic(), ids or talk.it, wish

    def _where(self, ask: Ask, talk: Talk) -> Where:
        area = ask.area or self.area
        known = {word.lower(): one.name for one in self.home.areas() for word in (one.name, *one.aliases)}
        return Where(known.get(area.lower()) or area or None, talk.it if talk.fresh else ())

    def _names(self) -> tuple[object, tuple[Entry, ...]]:
        """The home's names; gathered anew when one of them changed."""
        stamp = (self.home.generation, self.home.table)
        if self._entries is None or self._entries[0] != stamp:
            self._entries = (stamp, entries_of(self.home))
        return self._entries
