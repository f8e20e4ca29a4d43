"""What an earlier run of this daemon left on the broker under another name or style: found, moved, cleared.

Retained messages outlive a renamed node, another base topic, another discovery prefix or style. What is announced
is noted in the data folder; when it changes, the next connection moves Home Assistant's entities over, with their
history, and clears the rest. A name that somebody else has taken meanwhile is left alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from perslm_daemon.homeassistant import HomeAssistant, Message, discovery_filters
from perslm_daemon.mqtt_connection import Address, Connection, connect
from perslm_daemon.topics import Topics, matches
from perslm_runtime.errors import InputError

log = logging.getLogger("perslm.mqtt")

_SETTLED_S = 0.4  # the broker sends what is retained at once after it has granted the subscription
_LONGEST_S = 5.0
_MOST_NOTED = 16


@dataclass(frozen=True, slots=True)
class Trace:
    """What a run leaves on a broker: its topics, and where and how it is announced to Home Assistant."""

    base: str
    node: str
    prefix: str
    style: str

    @property
    def filters(self) -> tuple[str, ...]:
        """Where its configurations for Home Assistant are retained."""
        return discovery_filters(self.prefix, self.node, self.style)


class Past:
    """The note of what this and earlier runs announced. Its methods block on the disk."""

    def __init__(self, file: Path, now: Trace) -> None:
        self.now = now
        self._file = file

    def others(self) -> tuple[Trace, ...]:
        """Traces of earlier runs that may still be on the broker; what cannot be read counts as none."""
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            traces = [Trace(**trace) for trace in found]
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, TypeError) as error:
            log.warning("past_unreadable file=%s error=%s", self._file.name, type(error).__name__)
            return ()
        return tuple(trace for trace in traces if trace != self.now)

    def note(self, others: Sequence[Trace]) -> None:
        """Write down what is announced now and what of `others` has to be cleared yet. Raises OSError."""
        text = json.dumps([asdict(trace) for trace in (self.now, *others)][:_MOST_NOTED])
        draft = self._file.with_name(f"{self._file.name}.new")
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(self._file)


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What of the past is on the broker now: `configs` for Home Assistant, other `values`, and whose they were."""

    configs: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    traces: tuple[Trace, ...] = ()

    def steps(self, home: HomeAssistant | None) -> list[Message]:
        """What to publish, in order: entities move over, then old configurations and values are cleared."""
        moved = [] if home is None else home.migration(self.configs)
        return [*moved, *(Message(topic, b"") for topic in self.values)]


async def find_leftovers(past: Past, address: Address, **link: Any) -> Leftovers:
    """Look at the broker for what `past` names; nothing where nothing changed. Raises `BrokerError`, OSError.

    Uses a connection of its own without a session, so that no request is mixed with what is retained.
    """
    others = await anyio.to_thread.run_sync(past.others)
    await anyio.to_thread.run_sync(past.note, others)
    if not others:
        return Leftovers()
    values: dict[str, bytes] = {}
    identifier = f"perslm-{past.now.node}-past"
    async with connect(address, identifier=identifier, will=None, lasting=False, **link) as connection:
        for trace in others:
            values |= await _retained(connection, (f"{trace.base}/{trace.node}/#", *trace.filters))
    return _sorted_out(past.now, others, values)


async def settle(
    past: Past, left: Leftovers, address: Address, session_of: Callable[[str], str], **link: Any
) -> None:
    """Note that the past is cleared, and end the sessions of former names, which would go on queueing requests.

    `session_of` gives the client identifier of a node. Raises `BrokerError` and OSError.
    """
    for node in {trace.node for trace in left.traces} - {past.now.node}:
        async with connect(address, identifier=session_of(node), will=None, lasting=False, **link):
            log.info("past_cleared node=%s", node)
    taken = [trace for trace in await anyio.to_thread.run_sync(past.others) if trace not in left.traces]
    await anyio.to_thread.run_sync(past.note, taken)


def _sorted_out(now: Trace, others: Sequence[Trace], values: dict[str, bytes]) -> Leftovers:
    configs: set[str] = set()
    cleared: set[str] = set()
    free: list[Trace] = []
    for trace in others:
        try:
            root, state = (topics := Topics(trace.base, trace.node)).root, values.get(topics.state, b"")
        except InputError:
            continue  # nothing was ever announced under such a name
        renamed = (trace.base, trace.node) != (now.base, now.node)
        if renamed and b'"online"' in state:
            log.info("past_kept node=%s reason=taken", trace.node)
            continue
        free.append(trace)
        configs |= {topic for topic in values if any(matches(topic, wanted) for wanted in trace.filters)}
        if renamed:
            cleared |= {topic for topic in values if topic.startswith(f"{root}/")}
    return Leftovers(tuple(sorted(configs)), tuple(sorted(cleared)), tuple(free))


async def _retained(connection: Connection, filters: Sequence[str]) -> dict[str, bytes]:
    """What is retained under `filters`, by topic."""
    found: dict[str, bytes] = {}
    for pattern in filters:
        await connection.subscribe([pattern], with_retained=True)
        with anyio.move_on_after(_LONGEST_S):
            while True:
                with anyio.move_on_after(_SETTLED_S) as settled:
                    for delivery in await connection.next():
                        connection.acknowledge(delivery)
                        if delivery.retained and delivery.payload:
                            found[delivery.topic] = delivery.payload
                if settled.cancelled_caught:
                    break
    return found
