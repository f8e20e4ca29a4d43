"""What people let go to their training host: picked out of turns, kept for them to see, sent when it has waited.

Nothing is picked for whom the configuration does not name, and nothing leaves before it has waited `share.wait_h`.
The queue is the memory's (memory_examples), so forgetting reaches it, and what was sent is taken back at the host.
Knows no transport of ours; the host's is share_host.py.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from perslm_daemon import share_host
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.clock import Clock
from perslm_daemon.config_sections import Config
from perslm_daemon.recollection import Recollection
from perslm_daemon.sharing_signs import corrects, failed, meant, says_again
from perslm_daemon.turn import Ask, Turn, intents_data
from perslm_runtime import __version__
from perslm_runtime.errors import InputError, PersLMError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_examples import KINDS, Example, redacted

log = logging.getLogger("perslm.share")

T = TypeVar("T")

_RECENT = 32  # turns that a thumb may still be about
_AGAIN_S = 90.0  # later it is another matter
_WAITING_TURNS = 16  # the oldest gives way while the memory is slow
_EVERY_S = 900.0
_AT_ONCE = 200
_MOST_BYTES = 40_000  # the host takes bodies of 64 KB


@dataclass(frozen=True, slots=True)
class _Seen:
    """A turn of somebody who lets something go."""

    ask: Ask
    turn: Turn
    memory: int
    at: float


class Sharing:
    """The board's side of its examples. `run` is its life; the rest is what people ask of it."""

    def __init__(self, config: Config, recollection: Recollection, bulletin: Bulletin, clock: Clock) -> None:
        self._config, self._recollection, self._bulletin, self._clock = config, recollection, bulletin, clock
        self._recent: deque[_Seen] = deque(maxlen=_RECENT)
        self._turns: deque[_Seen] = deque(maxlen=_WAITING_TURNS)
        self._came = anyio.Event()
        self._told = anyio.Event()
        self._one_at_a_time = anyio.Lock()
        self._problem = ""

    # -------------------------------------------------------------- what happens

    def saw(self, ask: Ask, turn: Turn) -> None:
        """A turn is over; costs it nothing. Of people who let nothing go, nothing is kept."""
        if turn.remembered_as is None or not any(self._config.share.allows(kind, ask.person) for kind in KINDS):
            return
        self._turns.append(_Seen(ask, turn, turn.remembered_as, anyio.current_time()))
        self._came.set()

    async def forgotten(self) -> Sequence[str]:
        """Something was forgotten: what of it was sent is taken back soon. What is out of reach until then."""
        self._recent.clear()
        self._turns.clear()
        waiting = await self._call(lambda memory: len(memory.examples.withdrawing(_AT_ONCE)))
        self._told.set()
        return [f"{waiting} examples at the training host, until it is reached and told"] if waiting else []

    async def run(self) -> None:
        """Pick examples out of turns, and send them when they have waited, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look)
            tasks.start_soon(self._send_again_and_again)

    async def _look(self) -> None:
        while True:
            await self._came.wait()
            self._came = anyio.Event()
            while self._turns:
                seen = self._turns.popleft()
                try:
                    await self._pick(seen)
                except PersLMError as error:
                    log.warning("example_not_kept error=%s", type(error).__name__)
                self._recent.append(seen)

    async def _pick(self, seen: _Seen) -> None:
        before = next((one for one in reversed(self._recent) if _goes_on(one, seen)), None)
        if before is None:
            return
        said, share = seen.ask.text or seen.turn.heard, self._config.share
        if corrects(said):
            if share.allows("corrections", seen.ask.person):
                await self._add("corrections", [before], meant=meant(said), by=seen, good=False)
        elif (
            share.allows("failed", seen.ask.person)
            and failed(before.turn)
            and not failed(seen.turn)
            and says_again(before.turn.heard, said)
        ):
            await self._add("failed", [before], meant=said, by=seen, good=False)

    async def _add(
        self,
        kind: str,
        turns: Sequence[_Seen],
        *,
        meant: str = "",
        by: _Seen | None = None,
        good: bool | None = None,
        judged: str = "",
    ) -> int | None:
        first = turns[0]
        body = {
            "messages": [message for one in turns for message in _messages(one.turn.heard, one.turn.reply)],
            "meant": meant,
            "intents": intents_data(by.turn) if by is not None else [],
            "good": good,
            "judged": judged,
            "model": first.turn.model,
            "language": self._config.stt.language,
            "app": __version__,
        }
        memories = [one.memory for one in turns] + ([by.memory] if by is not None else [])
        return await self._queue(first.ask.person, kind, body, memories)

    async def _queue(self, person: str, kind: str, body: Mapping[str, Any], memories: Sequence[int]) -> int | None:
        now_us, region = self._now_us(), self._config.share.region
        if len(json.dumps(body)) > _MOST_BYTES:
            raise InputError("this is too long to be an example: choose a shorter conversation")
        known = self._clock.known()
        found = await self._call(
            lambda memory: memory.examples.add(person, kind, body, memories, now_us, region, waits=known)
        )
        if found is not None:
            log.info("example_queued kind=%s", kind)
        return found

    # -------------------------------------------------------------- what people ask

    async def status(self, person: str) -> dict[str, Any]:
        """What a person lets go, how much waits, and how the host is reached."""
        counts = await self._call(lambda memory: memory.examples.counts(person))
        share = self._config.share
        return {
            "person": person,
            "allowed": [kind for kind in KINDS if share.allows(kind, person)],
            "counts": counts,
            "wait_h": share.wait_h,
            "host": await anyio.to_thread.run_sync(share_host.address, self._config),
            "problem": self._problem,
        }

    async def examples(self, person: str, states: Sequence[str]) -> list[dict[str, Any]]:
        """A person's examples, the latest first, as they would be or were sent."""
        found = await self._call(lambda memory: memory.examples.of(person, states))
        return [example_data(one, self._config.share.wait_h) for one in found]

    def consents(self, kinds: Sequence[str], person: str, *, on: bool) -> dict[str, str]:
        """The configuration's keys and values by which a person lets these kinds go, or no more."""
        if "," in person or not person.strip():
            raise InputError(f"{person[:40]!r} is no name that a configuration can hold")
        found = {}
        for kind in kinds:
            named = [one for one in self._config.share.people(kind) if one != person]
            found[f"share.{kind}"] = ", ".join([*named, person] if on else named)
        return found

    async def drop_kinds(self, kinds: Sequence[str], person: str) -> int:
        """Drop what waits of these kinds; how many."""
        return sum([await self._call(partial(_drop_kind, person, kind)) for kind in kinds])

    async def rate(self, person: str, turn: str, *, good: bool, better: str) -> int:
        """A thumb for a turn ("" is the last one), with what should have been said; the example's id."""
        self._require("corrections", person)
        latest = [*self._recent, *self._turns]
        seen = next(
            (one for one in reversed(latest) if one.ask.person == person and turn in ("", one.turn.id)), None
        )
        if seen is None:
            raise InputError("there is no such turn any more: a thumb is for one of the latest turns")
        added = await self._add("corrections", [seen], meant=better, good=good, judged="thumb")
        if added is None:
            raise InputError("this turn is in the queue already: `perslm share list` shows it")
        return added

    async def choose(self, person: str, memory: int) -> int:
        """Queue the whole conversation that a remembered turn belongs to; the example's id."""
        self._require("conversations", person)
        turns = await self._call(partial(_conversation, person, memory))
        body = {
            "messages": [message for _, said, reply in turns for message in _messages(said, reply)],
            "meant": "",
            "intents": [],
            "good": None,
            "judged": "",
            "model": self._config.model.id,
            "language": self._config.stt.language,
            "app": __version__,
        }
        added = await self._queue(person, "conversations", body, [number for number, _, _ in turns])
        if added is None:
            raise InputError("this conversation is in the queue already: `perslm share list` shows it")
        return added

    async def edit(
        self, person: str, example: int, messages: Sequence[Mapping[str, str]], meant: str | None
    ) -> None:
        """Change the words of an example that waits; it waits anew."""
        found = await self._call(lambda memory: memory.examples.one(example, person))
        body = {**found.body, **({"messages": list(messages)} if messages else {})}
        if meant is not None:
            body["meant"] = meant
        region, now_us = self._config.share.region, self._now_us()

        def change(memory: Memory) -> None:
            memory.examples.edit(example, person, redacted(memory.examples.redaction(region), body), now_us)

        await self._call(change)

    async def drop(self, person: str, example: int) -> str:
        """Take an example back, at the host as well; what became of it."""
        outcome = await self._call(lambda memory: memory.examples.drop(example, person))
        self._told.set()
        return outcome

    async def withdraw(self, person: str) -> int:
        """Take back everything that was sent; how many. The host is told as soon as it is reached."""
        count = await self._call(lambda memory: memory.examples.withdraw(person))
        self._told.set()
        return count

    async def send(self, *, now: bool = False, person: str | None = None) -> dict[str, int]:
        """Tell the host what is taken back, then send what has waited long enough (with `now`: all of `person`'s).

        Raises `PersLMError` where the host is not reached; nothing is lost, and what it has is not sent twice.
        """
        if not await anyio.to_thread.run_sync(share_host.address, self._config):
            raise InputError("this board knows no training host: `perslm sync enroll` makes it known to one")
        async with self._one_at_a_time:
            taken_back = await self._tell_withdrawn()
            sent = 0
            while batch := await self._call(partial(self._batch, now, person)):
                outcome = await anyio.to_thread.run_sync(
                    share_host.send, self._config, [wire(one) for one in batch]
                )
                await self._call(partial(_note, outcome, self._now_us()))
                sent += len(outcome.taken)
                if not outcome.taken and not outcome.withdrawn:
                    raise InputError("the host takes none of these examples: update the host")
            return {"sent": sent, "withdrawn": taken_back}

    # -------------------------------------------------------------- inside

    async def _send_again_and_again(self) -> None:
        while True:
            self._told = anyio.Event()
            # By a clock that is not set nobody can tell how long something has waited.
            host = await anyio.to_thread.run_sync(share_host.address, self._config)
            if host and self._clock.known():
                try:
                    await self.send()
                    self._problem = ""
                except PersLMError as error:
                    self._problem = str(error)
                    log.info("examples_not_sent error=%s", type(error).__name__)
            with anyio.move_on_after(_EVERY_S):
                await self._told.wait()

    async def _tell_withdrawn(self) -> int:
        told = 0
        while uids := await self._call(lambda memory: memory.examples.withdrawing(_AT_ONCE)):
            await anyio.to_thread.run_sync(share_host.withdraw, self._config, uids)
            await self._call(partial(_withdrawn, uids, self._now_us()))
            told += len(uids)
        return told

    def _batch(self, now: bool, person: str | None, memory: Memory) -> list[Example]:
        share = self._config.share
        memory.examples.begin_waiting(self._now_us())
        before_us = self._now_us() - (0 if now else round(share.wait_h * 3600e6))
        allowed = [(one, kind) for kind in KINDS for one in share.people(kind) if person in (None, one)]
        return memory.examples.to_send(before_us, allowed, _AT_ONCE, self._now_us(), share.region)

    def _require(self, kind: str, person: str) -> None:
        if not self._config.share.allows(kind, person):
            raise InputError(f"{person} does not let {kind} go: `perslm share on {kind}` changes that")

    def _now_us(self) -> int:
        return round(self._clock.wall_s() * 1e6)

    async def _call(self, work: Callable[[Memory], T]) -> T:
        return await self._recollection.lane.call(lambda memory, _stop: work(memory))


def wire(one: Example) -> dict[str, Any]:
    """An example as the host gets it: no person, and the day it happened instead of the moment."""
    return {"id": one.uid, "kind": one.kind, "day": one.at.date().isoformat(), **one.body}


def example_data(one: Example, wait_h: float) -> dict[str, Any]:
    """An example for its person: what is sent, and what became of it."""
    leaves = None if one.state != "waiting" else one.changed.timestamp() + wait_h * 3600
    return {
        "id": one.id,
        "kind": one.kind,
        "state": one.state,
        "at": one.at.isoformat(),
        "changed_at": one.changed.isoformat(),
        "leaves_at": leaves,
        "receipt": one.receipt,
        "sends": {"id": one.uid, **wire(one)} if one.body else {},
    }


def _goes_on(before: _Seen, now: _Seen) -> bool:
    return (
        before.ask.person == now.ask.person
        and before.ask.source == now.ask.source
        and now.at - before.at <= _AGAIN_S
        and before.turn.id != now.turn.id
    )


def _messages(said: str, reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": said}, {"role": "assistant", "content": reply}]


def _conversation(person: str, memory: int, store: Memory) -> list[tuple[int, str, str]]:
    chosen = store.get(memory)
    if chosen is None or chosen.person != person or chosen.conversation is None:
        raise InputError(
            f"there is no turn {memory} of {person}: `perslm memory list --kind turn` tells the numbers"
        )
    turns = [one for one in store.recent_turns(chosen.conversation, 40) if one.person == person]
    return [(one.id, one.said, one.reply) for one in turns]


def _drop_kind(person: str, kind: str, memory: Memory) -> int:
    return memory.examples.drop_kind(person, kind)


def _note(outcome: share_host.Outcome, now_us: int, memory: Memory) -> None:
    memory.examples.sent(outcome.taken, outcome.receipt)
    memory.examples.withdrawn(outcome.withdrawn, now_us)


def _withdrawn(uids: Sequence[str], now_us: int, memory: Memory) -> None:
    memory.examples.withdrawn(uids, now_us)
