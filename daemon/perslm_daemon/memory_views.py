"""The memory as people look at it: profile, timeline, graph, why, people, documents and figures, as plain data.

Used by the command line on the file itself and by the verb `memory` in the memory's lane. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from perslm_runtime.errors import InputError
from perslm_runtime.graph_svg import draw, graph_of
from perslm_runtime.memory import Memory, Recalled
from perslm_runtime.memory_claims import Known
from perslm_runtime.memory_lines import Entry
from perslm_runtime.profile import profile_of, sentence
from perslm_runtime.relations import way

_CLIPPED = 200  # characters of a memory in a table


def profile(memory: Memory, person: str) -> dict[str, Any]:
    """Who a person is by what is known, as sentences and as data, each with how sure and whence."""
    known = memory.claims.known(person)
    return {"lines": profile_of(known).lines(), "known": [known_data(one) for one in known]}


def related(memory: Memory, person: str, text: str) -> dict[str, Any]:
    """Those whom "my sister's children" names."""
    found = memory.claims.related(person, way(text))
    return {"people": [{"entity": entity, "name": name} for entity, name in found]}


def timeline(memory: Memory, person: str, limit: int, *, span: str | None = None) -> dict[str, Any]:
    """What was told and became known, oldest first, the newest `limit`; with `span`, the summaries."""
    if span is not None:
        summaries = memory.summaries.of(person, span)[-limit:]
        return {
            "timeline": [{"when": one.first.isoformat(), "what": one.span, "text": one.text} for one in summaries]
        }
    rows: list[dict[str, Any]] = [
        {"when": entry.when.isoformat(), "what": entry.kind, "id": entry.id, "text": _clipped(entry.said)}
        for entry in memory.list(None, limit, 0, person)
        if entry.kind != "chunk"
    ]
    for one in memory.claims.known(person, past=True):
        if one.about == one.value:
            continue  # "Ana's name is Ana"
        ended = "" if one.until is None else f" (until {one.until.astimezone():%Y-%m-%d})"
        rows.append({"when": one.since.isoformat(), "what": "known", "text": sentence(one) + ended})
    return {"timeline": sorted(rows, key=lambda row: str(row["when"]))[-limit:]}


def graph(memory: Memory, person: str) -> dict[str, Any]:
    """The graph of what holds: labels, links and the drawing."""
    labels, links = graph_of(memory.claims.known(person))
    return {
        "nodes": labels,
        "links": [{"from": start, "to": end, "relation": relation} for start, end, relation in links],
        "svg": draw(labels, links),
    }


def why(memory: Memory, number: int, person: str | None = None) -> dict[str, Any]:
    """Where a memory comes from, what is known from it, and how often it helped. `person`: only theirs."""
    entry = memory.get(number)
    if entry is None or (person is not None and person not in (entry.person, entry.teller)):
        raise InputError(f"there is no memory {number}: `perslm memory list` has them")
    known = [
        one
        for name in {entry.person, entry.teller or entry.person}
        for one in memory.claims.known(name, past=True)
        if number in one.sources
    ]
    return {**entry_data(entry), "known": [known_data(one) for one in known]}


def stats(memory: Memory) -> dict[str, Any]:
    """How much there is, of whom, and how large."""
    size = memory.file.stat().st_size if memory.file is not None else 0
    return {
        "turns": memory.count("turn"),
        "facts": memory.count("fact"),
        "pieces": memory.count("chunk"),
        "people": [
            {"name": one.name, "memories": one.memories, "last": one.last and one.last.isoformat()}
            for one in memory.people()
        ],
        "known": sum(len(memory.claims.known(one.name)) for one in memory.people()),
        "documents": [
            {"source": one.source, "pieces": one.pieces, "learned": one.learned.isoformat()}
            for one in memory.documents.all()
        ],
        "bytes": size,
    }


def entry_data(entry: Entry) -> dict[str, Any]:
    """A memory as data."""
    return {
        "id": entry.id,
        "kind": entry.kind,
        "person": entry.person,
        "told_by": entry.teller,
        "when": entry.when.isoformat(),
        "said": entry.said,
        "reply": entry.reply,
        "conversation": entry.conversation,
        "interrupted": entry.interrupted,
        "model": entry.model,
        "source": entry.source,
        "kept": entry.kept,
        "helped": 0 if entry.used is None else entry.used[0],
    }


def known_data(one: Known) -> dict[str, Any]:
    """A claim as data, with its sentence."""
    return {
        "text": sentence(one),
        "about": one.about,
        "relation": one.relation,
        "value": one.value,
        "since": one.since.isoformat(),
        "until": None if one.until is None else one.until.isoformat(),
        "confidence": one.confidence,
        "how": one.how,
        "sources": list(one.sources),
    }


def found_data(found: Iterable[Recalled]) -> list[dict[str, Any]]:
    """Memories as `memory.search` answers them and `perslm memory search --json` prints them."""
    return [
        {
            "id": one.id,
            "kind": one.kind,
            "text": one.text,
            "score": one.score,
            "when": one.when.isoformat(),
            "why": one.why,
        }
        for one in found
    ]


def day(moment: str) -> str:
    """A moment for people, in this machine's time."""
    if len(moment) == len("2026-01-31"):
        return moment
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"


def _clipped(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CLIPPED else line[: _CLIPPED - 1] + "…"
