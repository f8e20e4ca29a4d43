"""Topic names and payloads of the MQTT interface, as pure values: what docs/mqtt.md says and nothing else.

Every name is made here and read here, so a name that was made can be read back. Knows no broker and no verb.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perslm_runtime.errors import InputError

_NODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# No separator, wildcard, control character, half a surrogate or noncharacter.
_NONCHARACTERS = "".join(chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17))
_LEVEL = re.compile(f"[^/+#\x00-\x1f\x7f-\x9f\ud800-\udfff{_NONCHARACTERS}]{{1,200}}")
RESERVED = frozenset({"request", "response", "reply", "event", "as", "set"})
"""First levels under a node that are no value's name."""


@dataclass(frozen=True, slots=True)
class RequestTopic:
    """A request for `verb`; `user` is set where the topic carries the name that the broker vouches for."""

    verb: str
    user: str | None = None


@dataclass(frozen=True, slots=True)
class SetTopic:
    """A new value for a setting."""

    setting: str


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one node under `base`. Raises `InputError` for a base or a node that cannot be in a topic."""

    base: str
    node: str

    def __post_init__(self) -> None:
        if self.base.startswith("$") or not all(map(is_level, self.base.split("/"))):
            raise InputError(
                f"{self.base[:80]!r} is no base for topics: no empty level, +, # or control character"
            )
        if not _NODE.fullmatch(self.node):
            raise InputError(
                f"{self.node[:80]!r} is no node name: 1 to 64 of a-z, 0-9, _ and -, beginning with no _"
            )

    @property
    def root(self) -> str:
        """Where everything of this node lies."""
        return f"{self.base}/{self.node}"

    @property
    def state(self) -> str:
        """Retained; the last will's topic."""
        return f"{self.root}/state"

    @property
    def event(self) -> str:
        """Events, not retained."""
        return f"{self.root}/event"

    def request(self, verb: str, user: str | None = None) -> str:
        """Where a request for `verb` goes, from `user` where the broker binds names."""
        return f"{self.root}/request/{verb}" if user is None else f"{self.root}/as/{user}/request/{verb}"

    def response(self, verb: str) -> str:
        """Where the answer of `verb` goes when no Response Topic is given."""
        return f"{self.root}/response/{verb}"

    def reply(self, turn: str) -> str:
        """Where the sentences of a turn go; `turn` has to be a legal level."""
        return f"{self.root}/reply/{turn}"

    def value(self, name: str) -> str:
        """The retained topic of a value or a setting. Raises `InputError` for a name that means something else."""
        if not is_level(name) or name in RESERVED:
            raise InputError(f"{name[:80]!r} cannot be the name of a value")
        return f"{self.root}/{name}"

    def set(self, setting: str) -> str:
        """Where a new value of a setting goes."""
        return f"{self.value(setting)}/set"

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """What the daemon listens to."""
        return (f"{self.root}/request/+", f"{self.root}/as/+/request/+", f"{self.root}/+/set")

    def read(self, topic: str) -> RequestTopic | SetTopic | None:
        """What a topic asks for, or None for one that asks nothing of this node."""
        if not topic.startswith(f"{self.root}/"):
            return None
        match topic[len(self.root) + 1 :].split("/"):
            case ["request", verb]:
                return RequestTopic(_answerable(verb))
            case ["as", user, "request", verb]:
                return RequestTopic(_answerable(verb), user)
            case [setting, "set"] if setting not in RESERVED:
                return SetTopic(setting)
            case _:
                return None


@dataclass(frozen=True, slots=True)
class ReplyPart:
    """One message of a streamed reply: a sentence, or the closing one with the whole text and the timings."""

    seq: int
    text: str
    final: bool = False
    timings_ms: dict[str, Any] | None = None
    turn: str | None = None
    error: str | None = None

    def as_json(self) -> bytes:
        """The message as it is published; what is not there is left out."""
        body: dict[str, Any] = {"seq": self.seq, "text": self.text, "final": self.final}
        body |= {
            name: value for name in ("timings_ms", "turn", "error") if (value := getattr(self, name)) is not None
        }
        return as_json(body)

    @classmethod
    def read(cls, payload: bytes) -> ReplyPart:
        """The part out of its message."""
        return cls(**json.loads(payload))


def _answerable(verb: str) -> str:
    """The verb, or for what can be none a name under which its asker is told so."""
    return verb if is_level(verb) else "unknown"


def is_level(text: str) -> bool:
    """Whether `text` can be a level of a topic: not empty, not long, no / + # and no control character."""
    return _LEVEL.fullmatch(text) is not None


def is_topic(topic: str) -> bool:
    """Whether something can be published to `topic`."""
    short = len(topic.encode("utf-8", "replace")) < 65_536
    return short and not topic.startswith("$") and all(map(is_level, topic.split("/")))


def matches(topic: str, pattern: str) -> bool:
    """Whether a topic lies under a filter: + is one level, a final # all that follow."""
    wanted, given = pattern.split("/"), topic.split("/")
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(given) or level not in ("+", given[at]):
            return False
    return len(wanted) == len(given)


def overlap(one: str, other: str) -> bool:
    """Whether some topic lies under both filters."""
    first, second = one.split("/"), other.split("/")
    for at in range(max(len(first), len(second))):
        mine = first[at] if at < len(first) else None
        theirs = second[at] if at < len(second) else None
        if "#" in (mine, theirs):
            return True
        if mine is None or theirs is None or (mine != theirs and "+" not in (mine, theirs)):
            return False
    return True


def may_answer(topic: str, allowed: Sequence[str]) -> bool:
    """Whether a Response Topic can be published to and lies under an allowed filter."""
    return is_topic(topic) and any(matches(topic, pattern) for pattern in allowed)


def payload_of(value: object) -> bytes:
    """A value as its retained topic carries it: ON and OFF, the plain text or number, JSON for all else."""
    if isinstance(value, bool):
        return b"ON" if value else b"OFF"
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return as_json(value)


def event_payload(event_type: str, fields: object) -> bytes:
    """An event: its type first, then what belongs to it."""
    return as_json({"event_type": event_type, **(fields if isinstance(fields, dict) else {})})


def state_payload(state: str) -> bytes:
    """`{"state": …}`: starting, online or offline."""
    return as_json({"state": state})


def as_json(value: object) -> bytes:
    """JSON in UTF-8; what JSON does not know is written as text, and half a surrogate as a question mark."""
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")
