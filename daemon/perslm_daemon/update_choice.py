"""Which of the offered bundles a board takes. Pure: everything it goes by is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perslm_daemon.update_book import KEYS, Book
from perslm_runtime import __version__
from perslm_runtime.bundle import Manifest, unfit


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found: the bundle to take of each kind, and why others are not taken, by name."""

    wanted: tuple[Manifest, ...]
    not_taken: Mapping[str, str]
    retracted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """What a board is: its profile, this PersLM's version, MB of memory that a model may take (None: unknown)."""

    profile: str
    app: str
    budget_mb: int | None


def why_not(manifest: Manifest, now: str, here: Mapping[str, Manifest], book: Book, board: Board) -> str | None:
    """Why a bundle is not taken: a sentence, "" where it is in use already, None where it is taken.

    `now` is the model of its kind that is in use, `here` are the bundles on this disk by name. A board takes what
    succeeds its model: a higher version of the same bundle, or the bundle that stands on it; another model only
    when a person names it.
    """
    if now == manifest.name:
        return ""
    if manifest.name in book.refused:
        return book.refused[manifest.name]
    if manifest.kind in book.pinned:
        return f"{manifest.kind} is pinned to {book.pinned[manifest.kind]}"
    present = here.get(now)
    if not (present.id == manifest.id if present else manifest.base == now):
        return f"it is no successor of {now}: `perslm config set {KEYS[manifest.kind]} {manifest.name}` takes it"
    if present is not None and manifest.version < present.version:
        return f"{now} is newer"
    return unfit(manifest, board=board.profile, app=board.app, budget_mb=board.budget_mb) or None


def offer_data(manifest: Manifest) -> dict[str, Any]:
    """An offer as people are told of it."""
    return {
        "name": manifest.name,
        "kind": manifest.kind,
        "what": manifest.what,
        "licence": manifest.licence,
        "bytes": manifest.size,
    }


def status_data(book: Book, found: Found | None, in_use: Mapping[str, str], problem: str) -> dict[str, Any]:
    """How the updates are, for people and programs."""
    watch = book.watch
    return {
        "in_use": dict(in_use),
        "on_probation": None if watch is None else {"name": watch.name, "former": watch.former},
        "offered": [offer_data(one) for one in found.wanted] if found else [],
        "not_taken": dict(found.not_taken) if found else {},
        "refused": book.refused,
        "pinned": book.pinned,
        "checked_at": book.checked_s,
        "problem": problem,
        "history": [{"at": one.at_s, "name": one.name, "step": one.step, "why": one.why} for one in book.history],
    }


_HEALTH = frozenset(
    (
        *("ok", "uptime_s", "rss_mb", "load", "memory_available_mb", "temperature_c", "throttled", "stalled"),
        *("pressure", "sound"),
    )
)


def report_data(
    book: Book, in_use: Mapping[str, str], profile: str, values: Mapping[str, Any], latency_ms: float | None
) -> dict[str, Any]:
    """What the host is told of this board: versions, outcomes and how it is, nothing that anybody said.

    `values` is the bulletin's.
    """
    watch = book.watch
    return {
        "version": __version__,
        "profile": profile,
        "in_use": dict(in_use),
        "on_probation": watch.name if watch else None,
        "errors": watch.errors if watch else 0,
        "refused": book.refused,
        "outcomes": book.outcomes(),
        "tried": book.tried,
        "latency_ms": None if latency_ms is None else round(latency_ms),
        "health": {name: value for name, value in values.get("health", {}).items() if name in _HEALTH},
        "degraded": [one["part"] for one in values.get("info", {}).get("degraded", ())],
    }
