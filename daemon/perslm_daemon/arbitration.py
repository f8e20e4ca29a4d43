"""Which of several boards answers when more than one heard the wake word: one board's view of the claims of all.

Pure: claims come in and go out as bytes. No clocks have to agree. A claim belongs to our wake when it names the
same phrase and arrives within a second of our own, before or after. Claims have one order everywhere,
so whoever knows all of them comes to the same winner; the answer itself comes after the command, when all are.
"""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import total_ordering

import anyio
import msgspec

LEVEL = "_arbitration"
"""Level of the topics under the base: `<base>/_arbitration/<phrase>`."""

_WAIT_S = 0.15
_SAME_WAKE_S = 1.0
_REMEMBERED = 32


@total_ordering
class Claim(msgspec.Struct, frozen=True):
    """A board heard the phrase: how loud, how far above its room (dB), how sure (0 to 1). The greatest answers."""

    node: str
    level_db: float
    over_floor_db: float
    score: float

    @property
    def rank(self) -> tuple[float, float, str]:
        """Loud and clear counts; microphones differ in gain and rooms in noise, so the mean of both does.

        Rounded, so that a hair's breadth does not decide; a tie goes to the first name in the alphabet.
        """
        strength = round((self.level_db + self.over_floor_db) / 2)
        return (-strength, -round(self.score, 2), self.node)

    def __lt__(self, other: Claim) -> bool:
        return self.rank > other.rank


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A claim to publish to everybody, not retained."""

    topic: str
    payload: bytes


class Arbitration:
    """The claims that this node knows of. `linked`: whether others can be heard; where not, we answer at once."""

    def __init__(self, base: str, node: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self.linked: Callable[[], bool] = lambda: False
        self._base, self._node, self._now = base, node, now
        self._others: deque[tuple[float, str, Claim]] = deque(maxlen=_REMEMBERED)
        self._news = anyio.Event()
        self._to_send: deque[Outgoing] = deque(maxlen=4)
        self._sends = anyio.Event()
        self._own: tuple[float, str, Claim] | None = None

    @property
    def topics(self) -> str:
        """The filter under which claims come in."""
        return f"{self._base}/{LEVEL}/+"

    async def outgoing(self) -> Outgoing:
        """Wait for a claim to publish; one that nobody took in time is lost, as all have decided by then."""
        while not self._to_send:
            await self._sends.wait()
        return self._to_send.popleft()

    async def ours(self, phrase: str, *, level_db: float, over_floor_db: float, score: float) -> bool:
        """Claim a wake, wait for what others claim, and tell whether we answer; at once where we are alone."""
        if not self.linked():
            self._own = None
            return True
        claim = Claim(self._node, round(level_db, 1), round(over_floor_db, 1), round(score, 3))
        name = wake_id(phrase)
        self._own = (self._now(), name, claim)
        self._to_send.append(Outgoing(f"{self._base}/{LEVEL}/{name}", msgspec.json.encode(claim)))
        self._sends.set()
        self._sends = anyio.Event()
        with anyio.move_on_after(_WAIT_S):
            await self.lost()
        return not self._beaten()

    async def lost(self) -> None:
        """Return when a better claim for our last wake is known; never where ours is the best."""
        while not self._beaten():
            await self._news.wait()

    def received(self, topic: str, payload: bytes) -> bool:
        """Take a message; False when its topic is not one of claims."""
        prefix = f"{self._base}/{LEVEL}/"
        if not topic.startswith(prefix):
            return False
        try:
            claim = msgspec.json.decode(payload, type=Claim)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
            return True
        finite = all(map(math.isfinite, (claim.level_db, claim.over_floor_db, claim.score)))
        if finite and claim.node != self._node:
            self._others.append((self._now(), topic.removeprefix(prefix), claim))
            self._news.set()
            self._news = anyio.Event()
        return True

    def _beaten(self) -> bool:
        if self._own is None:
            return False
        at, name, own = self._own
        return any(
            other_name == name and abs(other_at - at) <= _SAME_WAKE_S and other > own
            for other_at, other_name, other in self._others
        )


def wake_id(phrase: str) -> str:
    """The phrase as a level of a topic: the same on every board, wherever its model's file lies."""
    return re.sub(r"[^a-z0-9]+", "_", phrase.lower()).strip("_") or "wake"
