"""One memory as a value, and as one line of JSON: the format of `perslm memory export`.

Knows no database. First line of an export: `{"format": "perslm-memory", "version": 2, "embedder": NAME}`. Every
further line has a kind; those of memories, oldest first:

    uid, kind ("turn"|"fact"|"chunk"), person, at (ISO 8601, UTC, microseconds), said, and
    for a turn: conversation, reply, interrupted, model;  for the others: source (a turn's: perhaps);  for a
    chunk: document (its uid); optionally teller (who told what is everybody's), kept (true), used (times, last
    as at), vector: base64 of little-endian float16.

The other kinds (document, entity, claim, summary) are memory_portable.py's. Version 1 had turns and facts only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from perslm_runtime.errors import InputError

FORMAT = "perslm-memory"
KINDS = ("turn", "fact", "chunk")
VERSION = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_BEFORE = datetime(2025, 1, 1, tzinfo=UTC)  # PersLM is younger: an earlier clock is not set
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One remembered turn, fact or piece of a document (`document` is that one's uid).

    `id` is its row (0 outside a store); `uid` is the same in every store. `teller` told what is everybody's,
    `kept` was asked to be kept, `used` is how often and when last it helped with a question.
    """

    id: int
    uid: str
    kind: str
    person: str
    when: datetime
    said: str
    reply: str = ""
    conversation: str | None = None
    interrupted: bool = False
    model: str = ""
    source: str = ""
    teller: str | None = None
    kept: bool = False
    document: str | None = None
    used: tuple[int, datetime] | None = None

    @property
    def text(self) -> str:
        """What the language model is given of it: what the person said, never what a model replied."""
        return self.said


def clean(text: str) -> str:
    """`text` as the store can hold it: NUL and lone surrogates become U+FFFD."""
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def sameness(text: str) -> bytes:
    """A digest equal for two wordings of a fact that differ only in case, spacing, width, final stop."""
    normal = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(" .!")
    return hashlib.blake2b(normal.encode(), digest_size=16).digest()


def to_us(when: datetime) -> int:
    """Microseconds since 1970 (UTC)."""
    return (when - _EPOCH) // _MICROSECOND


def believable_us(now: datetime, latest_us: int | None) -> int:
    """`to_us(now)`, unless the clock was never set (a board without one starts in 1970).

    Then it is the time of the latest memory: what is said next was not said decades before it.
    """
    return to_us(now) if now >= _NOT_BEFORE else max(to_us(_NOT_BEFORE), latest_us or 0)


def from_us(us: int) -> datetime:
    """The aware UTC moment of `to_us`."""
    return _EPOCH + us * _MICROSECOND


def header(embedder: str) -> str:
    """The first line of an export."""
    return json.dumps({"format": FORMAT, "version": VERSION, "embedder": embedder}, ensure_ascii=False)


def read_header(line: str) -> str:
    """The embedder's name from the first line; `InputError` if this is no export that we can read."""
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise InputError(
            "this is not a PersLM memory export (its first line is no header): use `perslm memory export`"
        )
    if head.get("version") not in range(1, VERSION + 1):
        raise InputError(
            f"this export has format version {head.get('version')!r}, known is {VERSION}: update PersLM"
        )
    return str(head.get("embedder", ""))


def to_line(entry: Entry, vector: bytes | None) -> str:
    """One memory as one line of JSON without a line break."""
    row: dict[str, Any] = {
        "uid": entry.uid,
        "kind": entry.kind,
        "person": entry.person,
        "at": entry.when.isoformat(timespec="microseconds"),
        "said": entry.said,
    }
    if entry.kind == "turn":
        row |= {
            "conversation": entry.conversation,
            "reply": entry.reply,
            "interrupted": entry.interrupted,
            "model": entry.model,
        }
        if entry.source:
            row["source"] = entry.source
    else:
        row["source"] = entry.source
    if entry.document is not None:
        row["document"] = entry.document
    if entry.teller is not None:
        row["teller"] = entry.teller
    if entry.kept:
        row["kept"] = True
    if entry.used is not None:
        row["used"] = [entry.used[0], entry.used[1].isoformat(timespec="microseconds")]
    if vector is not None:
        row["vector"] = base64.b64encode(vector).decode()
    return json.dumps(row, ensure_ascii=False)


def from_line(line: str) -> tuple[Entry, bytes | None]:
    """The memory (with id 0) and its vector; `InputError` with a whole sentence if the line is wrong."""
    row = object_of(line)
    kind = row.get("kind")
    if kind not in KINDS:
        raise InputError(f"has kind {kind!r}, which is none that is known")
    turn = kind == "turn"
    entry = Entry(
        id=0,
        uid=_text(row, "uid"),
        kind=kind,
        person=_text(row, "person"),
        when=_moment(row.get("at")),
        said=_text(row, "said"),
        reply=_text(row, "reply", "") if turn else "",
        conversation=_text(row, "conversation") if turn else None,
        interrupted=_switch(row, "interrupted"),
        model=_text(row, "model", "") if turn else "",
        source=_text(row, "source", ""),
        teller=_text(row, "teller") if "teller" in row else None,
        kept=_switch(row, "kept"),
        document=_text(row, "document") if kind == "chunk" else None,
        used=_used(row.get("used")),
    )
    return entry, _vector(row)


def object_of(line: str) -> dict[str, Any]:
    """The JSON object in a line; `InputError` where there is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError("is not a JSON object")
    return row


def _text(row: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = row.get(name, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise InputError(f"has no text {name!r}")
    return clean(value)


def _switch(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"has a {name!r} that is neither true nor false")
    return value


def _used(value: object) -> tuple[int, datetime] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or type(value[0]) is not int or not 0 < value[0] < 2**62:
        raise InputError("has a 'used' that is not how often and when last")
    return value[0], _moment(value[1])


def _moment(value: object) -> datetime:
    try:
        when = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise InputError("has an 'at' that is no ISO 8601 time") from error
    if when.tzinfo is None:
        raise InputError("has an 'at' without its time zone")
    try:
        return when.astimezone(UTC)
    except OverflowError as error:
        raise InputError("has an 'at' outside the years 1 to 9999") from error


def _vector(row: Mapping[str, Any]) -> bytes | None:
    value = row.get("vector")
    if value is None:
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise InputError("has a 'vector' that is not base64") from error
