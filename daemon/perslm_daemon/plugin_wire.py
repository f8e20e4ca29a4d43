"""What the daemon and a plug-in's process say to each other: one length and one msgpack value a message.

The daemon asks, the process answers, one at a time; a reply alone comes in pieces. What comes from a plug-in's
process is decoded into these types or refused; knows neither process.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import msgspec

from perslm_runtime.plugin import ArgumentKind, SettingKind

MOST_BYTES = 16_000_000
"""Of one message: two minutes of sound are 4 MB."""


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Load what `target` ("module:attribute") is, and say what it brings."""

    group: str
    name: str
    target: str
    folder: str
    settings: dict[str, Any] = {}
    memory_mb: int = 256
    reaches: bool = False
    readable: tuple[str, ...] = ()
    traces: bool = False


class Call(msgspec.Struct, frozen=True, tag=True):
    """Run a tool. `now_s` is Unix time, believed by the daemon."""

    tool: str
    arguments: dict[str, Any]
    now_s: float
    person: str = ""


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Look whether there is something to tell."""

    now_s: float


class Hear(msgspec.Struct, frozen=True, tag=True):
    """Recognize 16-bit mono samples."""

    samples: bytes
    rate_hz: int


class Speak(msgspec.Struct, frozen=True, tag=True):
    """Make a sentence sound."""

    text: str


class Listen(msgspec.Struct, frozen=True, tag=True):
    """Look for wake words in the next 16-bit mono samples; none: what comes now follows nothing."""

    samples: bytes
    rate_hz: int


class Embed(msgspec.Struct, frozen=True, tag=True):
    """Give each text its vector."""

    texts: tuple[str, ...]


class MessageShape(msgspec.Struct, frozen=True):
    """A message, as `plugin.Message`."""

    role: str
    text: str


class Reply(msgspec.Struct, frozen=True, tag=True):
    """Reply to a conversation: `Piece` after `Piece`, then `Replied`."""

    messages: tuple[MessageShape, ...]
    most_tokens: int


class Halt(msgspec.Struct, frozen=True, tag=True):
    """Go on with no reply: the next thing said is `Replied`. Nothing where none is under way."""


class ArgumentShape(msgspec.Struct, frozen=True):
    """An argument, as `plugin.Argument`."""

    name: str
    kind: ArgumentKind
    about: str
    needed: bool
    options: tuple[str, ...]
    least: int
    most: int


class SentenceShape(msgspec.Struct, frozen=True):
    """Sentences, as `plugin.Sentence`."""

    patterns: tuple[str, ...]
    fixed: dict[str, str | int | bool]


class ToolShape(msgspec.Struct, frozen=True):
    """A tool without what it runs, as `plugin.Tool`."""

    name: str
    about: str
    arguments: tuple[ArgumentShape, ...] = ()
    reads: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    question: str = ""
    asks: bool = False
    untrusted: bool = True
    sends: bool | None = None
    sentences: tuple[SentenceShape, ...] = ()
    offered: bool = True


class SettingShape(msgspec.Struct, frozen=True):
    """A setting, as `plugin.Setting`."""

    name: str
    about: str
    kind: SettingKind
    default: str | int | bool | tuple[str, ...] | None
    needed: bool


class Shape(msgspec.Struct, frozen=True, tag=True):
    """What a plug-in brings: the answer to `Begin`."""

    name: str
    about: str
    version: str
    tools: tuple[ToolShape, ...]
    settings: tuple[SettingShape, ...]
    watches: bool
    watch_s: float
    hears: bool
    speaks: bool
    wakes: bool = False
    embeds: bool = False
    replies: bool = False
    words: dict[str, str] = {}


class NextCall(msgspec.Struct, frozen=True):
    """A call that waits for a yes."""

    tool: str
    arguments: dict[str, Any]


class Answered(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Call`; with `then`, `text` is a question."""

    text: str
    data: dict[str, Any]
    then: NextCall | None


class NoticeShape(msgspec.Struct, frozen=True):
    """Something to tell."""

    id: str
    text: str
    urgent: bool


class Noticed(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Watch`."""

    notices: tuple[NoticeShape, ...]


class Heard(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Hear`."""

    text: str


class Sounded(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Speak`."""

    samples: bytes
    rate_hz: int


class WokenShape(msgspec.Struct, frozen=True):
    """A wake word, as `plugin.Woken`."""

    word: str
    score: float
    ended_ago_s: float


class Listened(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Listen`."""

    found: tuple[WokenShape, ...]


class Embedded(msgspec.Struct, frozen=True, tag=True):
    """The answer to `Embed`: a row for each text."""

    rows: tuple[tuple[float, ...], ...]


class Piece(msgspec.Struct, frozen=True, tag=True):
    """The next piece of a reply."""

    text: str


class Replied(msgspec.Struct, frozen=True, tag=True):
    """A reply has ended."""


class Wrong(msgspec.Struct, frozen=True, tag=True):
    """Why there is no answer. What is not `told` is a fault of the plug-in: `text` is the error's kind alone.

    A process that `ends` has lost what it stands on; the next question starts another.
    """

    text: str
    told: bool
    ends: bool = False


Asked = Begin | Call | Watch | Hear | Speak | Listen | Embed | Reply | Halt
Said = Shape | Answered | Noticed | Heard | Sounded | Listened | Embedded | Piece | Replied | Wrong

_encoder = msgspec.msgpack.Encoder()
_asked: msgspec.msgpack.Decoder[Asked] = msgspec.msgpack.Decoder(Asked)
_said: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


def frame(message: Asked | Said) -> bytes:
    """A message as it goes over the pipe. Raises ValueError or TypeError where it is none."""
    body = _encoder.encode(message)
    if len(body) > MOST_BYTES:
        raise ValueError(f"a message of {len(body)} bytes; at most {MOST_BYTES} are sent")
    return len(body).to_bytes(4, "big") + body


def length_of(head: bytes) -> int:
    """The length of the message that follows its four bytes. Raises ValueError where it is too long."""
    length = int.from_bytes(head, "big")
    if length > MOST_BYTES:
        raise ValueError(f"a message of {length} bytes; at most {MOST_BYTES} are read")
    return length


def asked_of(body: bytes) -> Asked:
    """What the daemon asks. Raises `msgspec.DecodeError`."""
    return _asked.decode(body)


def said_of(body: bytes) -> Said:
    """What a plug-in's process answers. Raises `msgspec.DecodeError`."""
    return _said.decode(body)


def read_frame(pipe: BinaryIO) -> bytes | None:
    """The next message of a pipe, which keeps nothing back itself, waited for; None at its end."""
    head = _read(pipe, 4)
    return None if head is None else _read(pipe, length_of(head))


def _read(pipe: BinaryIO, length: int) -> bytes | None:
    parts = []
    while length:
        part = pipe.read(length)
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def plain_name(name: str) -> str:
    """Another world's name as one of ours: camelCase and dashes become underscores; "" where nothing is left."""
    low = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
    return low[:31] if re.match(r"[a-z]", low) else ""
