"""Which of the offered bundles a board takes. Pure: everything it goes by is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from perslm_daemon.update_book import KEYS, Book
from perslm_runtime import __version__
from perslm_runtime.bundle import LAID_OVER, Manifest, unfit


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found: the bundle to take of each kind, and why others are not taken, by name."""

    wanted: tuple[Manifest, ...]
    not_taken: Mapping[str, str]
    retracted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """What a board is: its profile, this PersLM's version, MB of memory that a model may take (None: unknown).

    `base_sha256` is the language model's file, which an adapter has to be made for; `language` is the spoken one.
    """

    profile: str
    app: str
    budget_mb: int | None
    base_sha256: str = ""
    language: str = "en"


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
    if why := _not_for_here(manifest, board):
        return why
    present = here.get(now)
    if not _succeeds(manifest, now, present, board):
        return f"it is no successor of {now}: `perslm config set {KEYS[manifest.kind]} {manifest.name}` takes it"
    return _not_now(manifest, now, present, book) or None


def _not_for_here(manifest: Manifest, board: Board) -> str:
    """Why a bundle is for other boards, languages or models than these; "" where it is for this one."""
    if manifest.kind == "adapter" and manifest.base_sha256 != board.base_sha256:
        return (
            f"it was made for another model (sha256 {manifest.base_sha256[:12]}) than the one in use here "
            f"({board.base_sha256[:12]})"
        )
    if manifest.kind == "intents" and board.language not in manifest.languages:
        return f"it is for {', '.join(manifest.languages)}, and {board.language} is spoken here"
    return unfit(manifest, board=board.profile, app=board.app, budget_mb=board.budget_mb)


def _not_now(manifest: Manifest, now: str, present: Manifest | None, book: Book) -> str:
    """Why a successor is not taken yet; "" where it is."""
    if present is not None and present.id == manifest.id and manifest.version < present.version:
        return f"{now} is newer"
    if book.watch is not None and book.watch.kind != manifest.kind:
        return f"{book.watch.name} is on probation: one new thing at a time, so that it is known what failed"
    return ""


def _succeeds(manifest: Manifest, now: str, present: Manifest | None, board: Board) -> bool:
    """Whether a bundle is the next one: of what is in use, or the first of a kind that is laid over."""
    if manifest.kind in LAID_OVER and not now:
        return True
    if present is None:
        return manifest.base == now
    rests = manifest.kind == "adapter" and present.base_sha256 != board.base_sha256
    return present.id == manifest.id or rests


def sorted_out(
    offered: Iterable[Manifest],
    in_use: Callable[[str], str],
    here: Mapping[str, Manifest],
    book: Book,
    board: Board,
) -> tuple[tuple[Manifest, ...], dict[str, str]]:
    """What of an offer is taken, and why not the rest, by name; `in_use` gives the model of a kind."""
    wanted: list[Manifest] = []
    not_taken: dict[str, str] = {}
    for manifest in offered:
        why = why_not(manifest, in_use(manifest.kind), here, book, board)
        if why is None:
            wanted.append(manifest)
        elif why:
            not_taken[manifest.name] = why
    return tuple(wanted), not_taken


def offer_data(manifest: Manifest) -> dict[str, Any]:
    """An offer as people are told of it."""
    return {
        "name": manifest.name,
        "kind": manifest.kind,
        "what": manifest.what,
        "licence": manifest.licence,
        "bytes": manifest.size,
    }


def status_data(
    book: Book, found: Found | None, in_use: Mapping[str, str], problem: str, waits: str = ""
) -> dict[str, Any]:
    """How the updates are, for people and programs. `waits` says why what is offered is not taken yet."""
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
        "waiting": waits,
        "history": [{"at": one.at_s, "name": one.name, "step": one.step, "why": one.why} for one in book.history],
    }


def entity_data(found: Found | None, book: Book, in_use: Mapping[str, str], percent: int | None) -> dict[str, Any]:
    """The value `update` as Home Assistant's update entity reads it: the language model comes first."""
    wanted = [one for one in found.wanted if one.name not in book.refused] if found else []
    latest = next((one for one in wanted if one.kind == "llm"), next(iter(wanted), None))
    now = in_use[latest.kind if latest else "llm"] or "none"
    return {
        "installed_version": now,
        "latest_version": latest.name if latest else now,
        "title": latest.what if latest else None,
        "in_progress": percent is not None,
        "update_percentage": percent,
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
