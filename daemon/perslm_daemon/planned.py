"""What is planned, asked about and taken back in words: a part of the everyday skills, over the plans of the home.

Guests hear of what guests have planned, and take back no more than that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from perslm_daemon import schedule_words
from perslm_daemon.home_plans import Plans
from perslm_daemon.schedule_file import Kind, State
from perslm_daemon.schedule_words import View
from perslm_daemon.skills import meant
from perslm_daemon.turn import GUEST, Ask
from perslm_runtime.errors import InputError
from perslm_runtime.intent import Intent
from perslm_runtime.time_words import find, words_of
from perslm_runtime.when import Part, When

_TAKES_BACK = re.compile(r"\b(?:cancel|forget|never ?mind|scratch|leave it)\b", re.IGNORECASE)
_SAYS_NOTHING = frozenset(
    (
        *("the", "a", "an", "my", "our", "that", "this", "please", "turn", "switch", "put", "set", "after", "all"),
        *("any", "more", "anymore", "then", "plan", "command", "to", "for", "at", "in", "on", "off", "up", "down"),
        *("of", "command", "from", "by"),
    )
)
_HOURS = {Part.MORNING: (4, 12), Part.AFTERNOON: (12, 18), Part.EVENING: (17, 24), Part.NIGHT: (18, 30)}
"""The hours of each part of a day; those of a night go on into the next."""


class Planned:
    """Answers what is asked of the plans; None leaves a sentence to others."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    async def __call__(self, intent: Intent, ask: Ask) -> str | None:
        """Tell what is planned, or take it back. Raises `InputError` where more than one may be meant."""
        match intent.name:
            case "plan_status":
                return self._status(intent, ask)
            case "cancel_all_plans":
                views = self._views(ask)
                await self._plans.schedule.cancel([view.item for view in views])
                return (
                    f"{len(views)} plan{'' if len(views) == 1 else 's'} cancelled."
                    if views
                    else "Nothing is planned."
                )
            case "cancel_plan":
                return await self._cancel(self._fitting(intent, ask))
            case "nevermind":
                last = self._plans.last(ask.conversation) if _TAKES_BACK.search(ask.text) else ""
                return await self._cancel([view for view in self._views(ask) if view.item.id == last])
        return None

    def _views(self, ask: Ask) -> list[View]:
        views = self._plans.schedule.views(Kind.COMMAND)
        return [view for view in views if ask.person != GUEST or _is_of_guest(view)]

    def _status(self, intent: Intent, ask: Ask) -> str:
        now, when = self._plans.schedule.now(), intent.when
        views = self._views(ask)
        if when is not None and now is not None:
            views = [view for view in views if view.at is not None and _is_then(when, view.at, now)]
        return schedule_words.told(views, now, "Nothing is planned.")

    async def _cancel(self, views: Sequence[View]) -> str | None:
        if len(views) > 1:
            raise InputError(
                f"there are {len(views)}: say {schedule_words.names([one.item for one in views], 'or')}"
            )
        if not views:
            return None
        item = views[0].item
        await self._plans.schedule.cancel([item])
        return f"I will not {item.name or item.text}." if item.state is not State.MISSED else "I forget about it."

    def _fitting(self, intent: Intent, ask: Ask) -> list[View]:
        """What is planned that has every word that was said, and the time where one was."""
        words = words_of((intent.text("what") or intent.text("name")).lower())
        spans = find(words)
        taken = {at for one in spans for at in range(one.start, one.end)}
        said = {word for at, word in enumerate(words) if at not in taken}
        views = [view for view in self._views(ask) if _has(view, said)]
        times = [one.value for one in spans if isinstance(one.value, When)]
        times += [intent.when] if intent.when is not None else []
        now = self._plans.schedule.now()
        if times and now is not None:
            views = [view for view in views if view.at is not None and meant(times[0], view.at, now)]
        return views


def _is_of_guest(view: View) -> bool:
    return view.item.errand is not None and view.item.errand.person == GUEST


def _has(view: View, said: set[str]) -> bool:
    """Whether a plan has every word; "on" is not "off", and words that say nothing alone are no match."""
    item = view.item
    words = {*words_of(item.text.lower()), *words_of(item.name.lower())}
    opposite = {"on": "off", "off": "on", "open": "close", "close": "open", "lock": "unlock", "unlock": "lock"}
    if any(word in opposite and opposite[word] in words and word not in words for word in said):
        return False
    weighty = said - _SAYS_NOTHING
    return bool(weighty) and weighty <= words


def _is_then(when: When, at: datetime, now: datetime) -> bool:
    """Whether something due at `at` is of the day, part of a day, or hour that somebody asks about."""
    if when.part is None or when.hour is not None:
        return meant(when, at, now)
    first, last = _HOURS[when.part]
    if not when.names_a_day:
        return first <= at.hour < last or at.hour + 24 < last
    early = at - timedelta(days=1)
    plain = When(days=when.days, weekday=when.weekday, date=when.date, every=when.every)
    return (first <= at.hour < last and meant(plain, at, now)) or (
        at.hour + 24 < last and meant(plain, early, now)
    )
