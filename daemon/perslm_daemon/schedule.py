"""Timers, alarms, reminders, commands and what recurs: kept on the disk, counted by the machine's running time.

Timers, alarms and reminders ring until they are stopped; a command is done.

A change is on the disk before it is told. What ran out while PersLM was off is announced late and says so; where
nobody knows for how long it was off, it waits as `unknown` until the clock is set. Tells the bulletin; how ringing
sounds is the `Ringer`'s. Knows no words of a request and no transport.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread
from msgspec.structs import replace

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.clock import Clock
from perslm_daemon.config_sections import Timers
from perslm_daemon.schedule_file import Errand, Item, Kind, ScheduleFile, State, TimersNotKept
from perslm_daemon.schedule_told import WAITS, Change, event_of, kept, next_one
from perslm_daemon.schedule_words import View, capital, rung
from perslm_runtime.errors import InputError, PersLMError
from perslm_runtime.when import local_time, next_of, unix_time

log = logging.getLogger("perslm.timers")

MOST = 100
"""Timers, alarms and reminders there may be at once."""

_LOOK_S = 10.0  # wall clocks are set and machines sleep: nothing waits longer without a look
_ON_TIME_S = 5.0  # later than this, it is told how late
_ANCHOR_S = 2.0  # wall time that may differ from what is kept before it is written anew
_KEEP_MISSED_S = 86_400.0


class Ringer(Protocol):
    """How ringing sounds."""

    async def ring(self, text: str) -> None:
        """Ring once and say `text`; called again and again, and cancelled when it is stopped."""


class NoSound:
    """Rings nowhere: whoever listens to the events does."""

    async def ring(self, text: str) -> None:
        """Nothing is heard."""
        await anyio.lowlevel.checkpoint()


Worker = Callable[[Item], Awaitable[str]]
"""Does a command that is due; returns "" where it was done, else why not."""


class Schedule:
    """What is due when. Used in the event loop; `open` reads the file, `run` rings until it is cancelled.

    Commands are done by `worker`; where there is none they are missed.
    """

    def __init__(
        self, wanted: Timers, file: ScheduleFile, clock: Clock, zone: tzinfo, bulletin: Bulletin, ringer: Ringer
    ) -> None:
        self._wanted, self._file, self._clock, self._zone = wanted, file, clock, zone
        self._bulletin, self._ringer = bulletin, ringer
        self._items: dict[str, Item] = {}
        self._lock = anyio.Lock()
        self._changed = anyio.Event()
        self._rings = anyio.Event()
        self._works = anyio.Event()
        self.worker: Worker | None = None
        self.aloud: Callable[[str], Awaitable[object]] | None = None
        """Says what came of a command that was not done; None where there is no voice."""
        self._ring_scope: anyio.CancelScope | None = None
        self._began_s = clock.boot_s()

    async def open(self) -> None:
        """Read what is kept. What was ringing when PersLM ended is due, and rings again."""
        for item in await anyio.to_thread.run_sync(self._file.load):
            begun = item.state is State.DOING
            state = State.RUNNING if begun or item.state is State.RINGING else item.state
            errand = replace(item.errand, begun=True) if begun and item.errand is not None else item.errand
            self._items[item.id] = replace(item, state=state, errand=errand)
        self._post()

    async def run(self) -> None:
        """Look at the clock when something is due, and ring."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ring_on)
            tasks.start_soon(self._work_on)
            while True:
                wait_s = await self.look()
                with anyio.move_on_after(wait_s):
                    await self._changed.wait()
                self._changed = anyio.Event()

    # What there is

    def now(self) -> datetime | None:
        """Local time, or None where the clock has not been set."""
        return local_time(self._clock.wall_s(), self._zone) if self._clock.known() else None

    def views(self, *kinds: Kind) -> list[View]:
        """Everything there is (of these kinds), soonest first; what is not known last."""
        views = [self._view(item) for item in self._items.values() if not kinds or item.kind in kinds]
        return sorted(views, key=lambda view: float("inf") if view.seconds_left is None else view.seconds_left)

    @property
    def ringing(self) -> list[Item]:
        """What rings now."""
        return [item for item in self._items.values() if item.state is State.RINGING]

    def _view(self, item: Item) -> View:
        left = self._left(item)
        if item.state in {State.RINGING, State.MISSED, State.DOING}:
            return View(item, 0.0, self._local(item.due_wall_s))
        if left is None:
            return View(item, None, None)
        due = self._clock.wall_s() + left if self._clock.known() and item.state is not State.PAUSED else None
        return View(item, max(0.0, left), self._local(due))

    def _local(self, wall_s: float | None) -> datetime | None:
        return None if wall_s is None else local_time(round(wall_s), self._zone)

    def _left(self, item: Item) -> float | None:
        """Seconds until it is due, below 0 when that has passed; None where nobody knows."""
        clock = self._clock
        if item.state is State.PAUSED:
            return item.left_s
        if item.local and clock.known():
            return unix_time(datetime.fromisoformat(item.local), self._zone) - clock.wall_s()
        if item.boot_id == clock.boot_id:
            return item.due_boot_s - clock.boot_s()
        if item.due_wall_s is not None and clock.known():
            return item.due_wall_s - clock.wall_s()
        return None

    # What is done with it. Each is on the disk when it returns, and raises `TimersNotKept` where it cannot be.

    async def add(
        self,
        kind: Kind,
        *,
        seconds: float | None = None,
        local: datetime | None = None,
        every: Iterable[int] = (),
        name: str = "",
        text: str = "",
        errand: Errand | None = None,
    ) -> Item:
        """Set it in `seconds`, or at a `local` time (without a zone; then perhaps `every` weekday again)."""
        if len(self._items) >= MOST:
            raise InputError(f"there are {MOST} timers, alarms, reminders and plans already: cancel some first")
        if local is not None and not self._clock.known():
            raise InputError("I do not know what time it is, my clock has not been set: say in how many minutes")
        due_s = seconds if local is None else unix_time(local, self._zone) - self._clock.wall_s()
        if due_s is None or not 0 < due_s < 366 * 86_400:
            raise InputError("a timer runs for at least a second and at most a year")
        item = Item(
            id=uuid.uuid4().hex[:8],
            kind=kind,
            state=State.RUNNING,
            total_s=due_s,
            due_boot_s=self._clock.boot_s() + due_s,
            boot_id=self._clock.boot_id,
            name=name.strip(),
            text=text.strip(),
            due_wall_s=self._wall(due_s),
            local="" if local is None else local.isoformat(),
            every=tuple(sorted(every)),
            errand=errand,
        )
        await self._do(lambda change: change.tell("timer_started", item))
        return item

    async def pause(self, item: Item) -> None:
        """Hold a timer. What waits for a time of day cannot be held (`InputError`)."""
        left = self._left(item)
        if item.local or left is None or item.state not in {State.RUNNING, State.SNOOZED}:
            raise InputError(f"the {item.called} cannot be paused: cancel it and set it anew")
        await self._put("timer_updated", replace(item, state=State.PAUSED, left_s=max(0.0, left)))

    async def resume(self, item: Item) -> None:
        """Let a paused timer run on. Raises `InputError` for one that is not paused."""
        if item.state is not State.PAUSED:
            raise InputError(f"the {item.called} is not paused")
        await self._put("timer_updated", self._counting(item, item.left_s))

    async def change(self, item: Item, by_s: float) -> Item:
        """Give a timer more time, or less; one that runs out by it rings at once."""
        left = self._left(item)
        if item.local or left is None or item.state in {State.RINGING, State.MISSED}:
            raise InputError(f"the {item.called} cannot be changed: cancel it and set it anew")
        paused = item.state is State.PAUSED
        changed = self._counting(replace(item, total_s=max(1.0, item.total_s + by_s)), max(0.0, left + by_s))
        if paused:
            changed = replace(changed, state=State.PAUSED, left_s=max(0.0, left + by_s))
        await self._put("timer_updated", changed)
        return changed

    async def cancel(self, items: Sequence[Item]) -> None:
        """Take items away; those that ring are silent at once."""

        def do(change: Change) -> None:
            for item in items:
                ringing = self._items.get(item.id, item).state in {State.RINGING, State.MISSED}
                change.end("timer_finished" if ringing else "timer_cancelled", item)

        await self._do(do)

    async def stop(self) -> list[Item]:
        """End everything that rings; returns it."""
        ringing = self.ringing
        if ringing:
            await self.cancel(ringing)
        return ringing

    async def snooze(self, seconds: float | None = None) -> list[Item]:
        """Let everything that rings ring again later (`timers.snooze_s` where nothing is said); returns it."""
        wait_s = self._wanted.snooze_s if seconds is None else seconds
        ringing = self.ringing

        def do(change: Change) -> None:
            for item in ringing:
                again = self._counting(replace(item, local="", late_s=0.0, off=False), wait_s)
                change.tell("timer_updated", replace(again, state=State.SNOOZED))

        if ringing:
            await self._do(do)
        return ringing

    def _counting(self, item: Item, left_s: float) -> Item:
        """The item with `left_s` to go from now."""
        clock = self._clock
        return replace(
            item,
            state=State.RUNNING,
            boot_id=clock.boot_id,
            due_boot_s=clock.boot_s() + left_s,
            due_wall_s=self._wall(left_s),
        )

    def _wall(self, left_s: float) -> float | None:
        return self._clock.wall_s() + left_s if self._clock.known() else None

    async def _put(self, event_type: str, item: Item) -> None:
        await self._do(lambda change: change.tell(event_type, item))

    async def _do(self, work: Callable[[Change], None]) -> None:
        async with self._lock:
            change = Change()
            work(change)
            await self._commit(change)
        self._changed.set()

    async def _commit(self, change: Change, *, anyway: bool = False) -> None:
        """Write, then make it so, then tell; `anyway` also where it cannot be written.

        A cancellation waits: disk and memory never differ.
        """
        items = {name: item for name, item in (self._items | change.put).items() if name not in change.gone}
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._file.save, items.values())
        except TimersNotKept as error:
            if not anyway:
                raise
            log.error("timers_not_kept error=%s", error)
        were = {item.id for item in self.ringing}
        self._items = items
        rings = {item.id for item in self.ringing}
        self._post()
        for event_type, item in change.events:
            self._bulletin.tell(event_type, **event_of(item))
        if were - rings and self._ring_scope is not None:
            self._ring_scope.cancel()
        if rings:
            self._rings.set()
        self._works.set()

    # The clock

    async def look(self) -> float:
        """See what is due now, and ring it; returns the seconds after which to look again."""
        async with self._lock:
            change = Change()
            for item in self._items.values():
                self._see(item, change)
            if change.put or change.gone:  # a full disk is no reason to let somebody oversleep
                await self._commit(change, anyway=True)
            waiting = [self._left(item) for item in self._items.values() if item.state in WAITS]
            busy = bool(waiting or self.ringing)
        due = [left for left in waiting if left is not None]
        return max(0.0, min([_LOOK_S, *due])) if busy else 3600.0

    def _see(self, item: Item, change: Change) -> None:
        left = self._left(item)
        if item.state in WAITS:
            if left is None:
                self._lost(item, change)
            elif left <= 0:
                self._due(item, -left, change)
            else:
                self._anchor(item, left, change)
        elif item.state is State.RINGING and self._clock.boot_s() - item.rings_since_s >= self._wanted.ring_s:
            change.tell("timer_missed", replace(item, state=State.MISSED))
        elif item.state is State.MISSED and left is not None and left < -_KEEP_MISSED_S:
            change.gone.add(item.id)

    def _lost(self, item: Item, change: Change) -> None:
        """The machine was off, and for how long nobody knows; now, or never."""
        if self._clock.known() and item.kind is Kind.COMMAND:
            missed = replace(self._counting(item, 0.0), state=State.MISSED, off=True, due_wall_s=None)
            change.tell("timer_missed", replace(missed, why="I was off, and do not know for how long"))
        elif self._clock.known():  # the time was not known when it was written down: it never will be
            log.info("timer_lost id=%s", item.id)
            ended = self._counting(replace(item, late_s=0.0, off=True), 0.0)
            change.tell("timer_ringing", self._rung(replace(ended, due_wall_s=None)))
        elif item.state is not State.UNKNOWN:
            change.tell("timer_updated", replace(item, state=State.UNKNOWN))

    def _due(self, item: Item, late_s: float, change: Change) -> None:
        """It rings; or, too late for that, is missed. What recurs rings as one of its own, and waits again."""
        one = item
        if item.every:
            latest, upcoming = self._turns_of(item)
            change.put[item.id] = upcoming
            one = replace(item, id=uuid.uuid4().hex[:8], every=(), local=latest.isoformat())
            late_s = max(0.0, self._clock.wall_s() - unix_time(latest, self._zone))
            one = replace(one, due_wall_s=self._clock.wall_s() - late_s)
        late_s = late_s if late_s > _ON_TIME_S else 0.0
        off = item.boot_id != self._clock.boot_id or self._clock.boot_s() - late_s < self._began_s
        one = replace(one, late_s=late_s, off=off and late_s > 0)
        command = item.kind is Kind.COMMAND
        if late_s > self._wanted.late_s:
            why = ("I was off" if one.off else "it was too late for it") if command else ""
            change.tell("timer_missed", replace(one, state=State.MISSED, why=why))
        elif command:
            change.put[one.id] = replace(one, state=State.DOING)
        else:
            change.tell("timer_ringing", self._rung(one))

    def _rung(self, item: Item) -> Item:
        return replace(item, state=State.RINGING, rings_since_s=self._clock.boot_s())

    def _turns_of(self, item: Item) -> tuple[datetime, Item]:
        """Of what recurs and is due: the latest time it was, and the item waiting for the next."""
        every, latest = frozenset(item.every), datetime.fromisoformat(item.local)
        upcoming = next_of(every, latest.time(), latest)
        while (left := unix_time(upcoming, self._zone) - self._clock.wall_s()) <= 0:
            latest, upcoming = upcoming, next_of(every, latest.time(), upcoming)
        return latest, self._counting(replace(item, local=upcoming.isoformat(), total_s=left), left)

    def _anchor(self, item: Item, left: float, change: Change) -> None:
        """Keep both clocks of an item right: after a start of the machine, and when the wall clock was set."""
        fresh = replace(self._counting(item, left), state=item.state)
        known_again = item.state is State.UNKNOWN
        if known_again:
            fresh = replace(fresh, state=State.RUNNING)
        walls = (item.due_wall_s, fresh.due_wall_s)
        wall_moved = None not in walls and abs(walls[0] - walls[1]) > _ANCHOR_S  # type: ignore[operator]  # not None
        boot_moved = item.boot_id != fresh.boot_id or abs(item.due_boot_s - fresh.due_boot_s) > _ANCHOR_S
        wall_found = item.due_wall_s is None and fresh.due_wall_s is not None
        if known_again or wall_moved or wall_found or boot_moved:
            change.tell("timer_updated", fresh)

    # Ringing

    def ring_text(self) -> str:
        """What is said of everything that rings; "" for nothing."""
        return " ".join(rung(item, self._local(item.due_wall_s)) for item in self.ringing)

    async def _ring_on(self) -> None:
        while True:
            await self._rings.wait()
            self._rings = anyio.Event()
            while text := self.ring_text():
                with anyio.CancelScope() as self._ring_scope:
                    try:
                        await self._ringer.ring(text)
                    except PersLMError as error:
                        log.warning("ring_failed error=%s", type(error).__name__)
                    await anyio.sleep(self._wanted.pause_s)
                self._ring_scope = None

    # Doing

    async def _work_on(self) -> None:
        begun: set[str] = set()
        async with anyio.create_task_group() as tasks:
            while True:
                self._works = anyio.Event()
                for item in self._items.values():
                    if item.state is State.DOING and item.id not in begun:
                        begun.add(item.id)
                        tasks.start_soon(self._work, item)
                await self._works.wait()

    async def _work(self, item: Item) -> None:
        """Have a command done; one that was not is kept as missed."""
        try:
            why = "nothing works the home here" if self.worker is None else await self.worker(item)
        except PersLMError as error:
            log.warning("command_failed id=%s error=%s", item.id, type(error).__name__)
            why = str(error)
        async with self._lock:
            change = Change()
            if item.id in self._items and why:
                change.tell("timer_missed", replace(item, state=State.MISSED, why=why))
            elif item.id in self._items:
                change.end("timer_finished", item)
            await self._commit(change, anyway=True)
        self._changed.set()
        if why and self.aloud is not None:  # kept first: who waits for a long answer to end may not hear it
            try:
                await self.aloud(f"{capital(why)}.")
            except PersLMError as error:
                log.warning("not_said id=%s error=%s", item.id, type(error).__name__)

    # The bulletin

    def _post(self) -> None:
        views = self.views()
        self._bulletin.post("timers", [kept(view) for view in views])
        alarms = [view for view in views if view.item.kind in {Kind.ALARM, Kind.REMINDER}]
        timers = [view for view in views if view.item.kind is Kind.TIMER]
        self._bulletin.post("next_alarm", next_one(alarms))
        self._bulletin.post("next_timer", next_one(timers))
