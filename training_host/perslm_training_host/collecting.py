"""A data set made of lines: cleaned, judged, redacted, without doubles, and with reasons for what is left out.

Streams: what grows with the number of lines lies in a work folder on the disk. Every line that is left out is in
the quarantine with its reason, and with its words unless somebody took those back. The same lines give the same
bytes, and the bytes' sha256 is the version.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from perslm_runtime.errors import InputError
from perslm_training_host.cleaning import Wanted, cleaned
from perslm_training_host.evaluation_overlap import EvaluationSets
from perslm_training_host.near_duplicates import NearDuplicates, bare
from perslm_training_host.sources import Line, Unread

if TYPE_CHECKING:
    from perslm_runtime.redaction import Redaction

DATA, QUARANTINE, CARD = "data.jsonl", "quarantine.jsonl", "card.json"
_WORK = ".work"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a line has to be, what is taken out of it, and what it must not be like.

    `forgotten` are ids of lines that somebody had deleted.
    """

    wanted: Wanted
    redaction: Redaction | None
    evaluation: EvaluationSets
    forgotten: Set[str] = frozenset()


@dataclass(slots=True)
class Counts:
    """What came of the lines, for the card."""

    read: int = 0
    kept: int = 0
    words: int = 0
    by_source: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    redacted: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    shared: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A version on the disk: the first 16 digits of its data's sha256, its folder, and what came of the lines."""

    version: str
    folder: Path
    counts: Counts
    new: bool


def build(
    lines: Iterable[Line | Unread],
    rules: Rules,
    out: Path,
    tell: Callable[[str, int], None] = lambda _what, _count: None,
) -> Dataset:
    """Make a data set of lines below `out`. Raises `InputError` where none is left; then nothing is there but the
    quarantine. `tell` hears how many lines a step has done.
    """
    out.mkdir(parents=True, exist_ok=True)
    work = out / f"{_WORK}-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    counts = Counts()
    try:
        with (
            _Spool(work) as spool,
            NearDuplicates(work / "keys", spool.text) as seen,
            (work / QUARANTINE).open("w", encoding="utf-8") as quarantine,
        ):
            refuse = _Refuse(quarantine, counts)
            _take(lines, rules, spool, seen, refuse, tell)
            for done in seen.find():
                tell("compared", done)
            digest = _write(spool, seen, refuse, work / DATA, tell)
        if not counts.kept:
            (work / QUARANTINE).replace(out / QUARANTINE)
            raise InputError(f"none of {counts.read} lines is left: {out / QUARANTINE} says why")
        return _put(work, out, digest[:16], counts)
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Spool:
    """The lines that passed the first look, on the disk; any can be read again by its number."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._end = 0

    def __enter__(self) -> _Spool:
        self._work.mkdir(parents=True)
        self._data: BinaryIO = (self._work / "spool").open("w+b")
        self._places: BinaryIO = (self._work / "places").open("w+b")
        return self

    def __exit__(self, *error: object) -> None:
        self._data.close()
        self._places.close()

    def add(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n"
        self._data.write(line)
        self._places.write(self._end.to_bytes(8, "little"))
        self._end += len(line)

    def flush(self) -> None:
        self._data.flush()
        self._places.flush()

    def text(self, number: int) -> str:
        place = int.from_bytes(os.pread(self._places.fileno(), 8, number * 8), "little")
        line = b""
        while not line.endswith(b"\n"):
            line += os.pread(self._data.fileno(), 1 << 16, place + len(line))
            if b"\n" in line:
                line = line[: line.index(b"\n") + 1]
        return str(json.loads(line)["text"])

    def all(self) -> Iterator[bytes]:
        with (self._work / "spool").open("rb") as file:
            yield from file


class _Refuse:
    """Writes what is left out, with its reason."""

    def __init__(self, file: Any, counts: Counts) -> None:
        self._file, self.counts = file, counts

    def __call__(self, source: str, place: str, why: str, text: str = "") -> None:
        self.counts.reasons[why.partition(":")[0]] += 1
        row = {"source": source, "place": place, "why": why, **({"text": text} if text else {})}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _take(
    lines: Iterable[Line | Unread],
    rules: Rules,
    spool: _Spool,
    seen: NearDuplicates,
    refuse: _Refuse,
    tell: Callable[[str, int], None],
) -> None:
    counts = refuse.counts
    for line in lines:
        counts.read += 1
        tell("read", counts.read)
        if isinstance(line, Unread):
            refuse(line.source, line.place, f"unreadable: {line.why}")
            continue
        row, why = _judged(line, rules, counts)
        if why:
            refuse(line.source, line.place, why, "" if why == "forgotten" else row["text"])
            continue
        spool.add({**row, "place": line.place})
        seen.add(row["text"])
    spool.flush()


def _judged(line: Line, rules: Rules, counts: Counts) -> tuple[dict[str, Any], str]:
    """The line as it would be written, and why it is refused, "" where it is not."""
    messages = [(role, cleaned(said)) for role, said in line.messages]
    text = _text_of(messages) if messages else cleaned(line.text)
    ids = {id_of(text)}  # what is to be forgotten is known by its words, before and after they are redacted
    if rules.redaction is not None:
        done = rules.redaction(text)
        counts.redacted.update(done.counts)
        messages = [
            (role, _system(rules.redaction, said) if role == "system" else rules.redaction(said).text)
            for role, said in messages
        ]
        text = _text_of(messages) if messages else done.text
    ids.add(own := id_of(text))
    row: dict[str, Any] = {"id": own, "source": line.source, "text": text, **line.more}
    if messages:
        row["messages"] = [{"role": role, "content": said} for role, said in messages]
    if ids & rules.forgotten:
        return row, "forgotten"
    if why := rules.wanted.why_not(text):
        return row, why
    if rules.evaluation and rules.evaluation.holds(text):
        return row, "in an evaluation set"
    return row, ""


@lru_cache(maxsize=16)
def _system(redaction: Redaction, said: str) -> str:
    """A system text, which many lines have in common, redacted."""
    return redaction(said).text


def _text_of(messages: Sequence[tuple[str, str]]) -> str:
    """What is said and answered; a system text is the same for many lines, and no part of what is compared."""
    return "\n".join(said for role, said in messages if said and role != "system")


def id_of(text: str) -> str:
    """What a line is known by: 16 digits of the sha256 of its words."""
    return hashlib.sha256(bare(text)).hexdigest()[:16]


def _write(
    spool: _Spool, seen: NearDuplicates, refuse: _Refuse, path: Path, tell: Callable[[str, int], None]
) -> str:
    counts, digest = refuse.counts, hashlib.sha256()
    with path.open("wb") as file:
        for number, raw in enumerate(spool.all()):
            row = json.loads(raw)
            place = row.pop("place")
            same = seen.same_as(number)
            if same is not None:
                earlier = spool.text(same)
                how = "the same" if bare(earlier) == bare(row["text"]) else "nearly the same"
                refuse(row["source"], place, f"{how}: as {id_of(earlier)}, an earlier line", row["text"])
                continue
            line = json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n"
            file.write(line)
            digest.update(line)
            _count(row, counts)
            tell("written", counts.kept)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _count(row: dict[str, Any], counts: Counts) -> None:
    counts.kept += 1
    length = len(row["text"].split())
    counts.words += length
    counts.by_source[row["source"]] += 1
    counts.lengths[min(length, 2000).bit_length()] += 1
    counts.languages[row.get("language", "") or "not said"] += 1
    if "shared" in row:
        counts.shared.append(row["shared"])


def _put(work: Path, out: Path, version: str, counts: Counts) -> Dataset:
    """Put the finished version in its place by one rename; one that is there already stays."""
    folder = out / version
    if folder.exists():
        (work / QUARANTINE).replace(folder / QUARANTINE)
        return Dataset(version, folder, counts, new=False)
    fresh = work / version
    fresh.mkdir()
    for name in (DATA, QUARANTINE):
        (work / name).replace(fresh / name)
    fresh.replace(folder)
    return Dataset(version, folder, counts, new=True)
