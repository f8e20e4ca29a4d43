"""What the memory's verbs do for whoever asks over the network: remember, recall, forget, and looking at it.

Who asks sees and changes what is theirs (the name that the broker vouches for, else the owner) and what is shared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from perslm_daemon import memory_views
from perslm_daemon.memory_views import found_data
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.turn import GUEST, Tell, Vector
from perslm_daemon.verbs import Request, TextArgs
from perslm_runtime.errors import InputError, MemoryStoreError
from perslm_runtime.memory import Memory, Recalled
from perslm_runtime.memory_backup import back_up, restore
from perslm_runtime.memory_db import count_rows
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_files import folder_of, restorable
from perslm_runtime.memory_prune import Budget
from perslm_runtime.spans import Span, span_of

log = logging.getLogger("perslm.memory")


class RememberArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """A fact; a `shared` one is everybody's."""

    shared: bool = False


class RecallArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """At most `k` memories."""

    k: Annotated[int, msgspec.Meta(ge=1, le=50)] = 5


class ForgetArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """The memory `id`; or what says all the words of `text` and/or lies between `since` and `until`.

    Times are ISO 8601 with their time zone; `last` is a time in words: "1h", "the last hour", "yesterday".
    """

    id: int | None = None
    since: str | None = None
    until: str | None = None
    last: str | None = None


class MemoryArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """Looking at the memory and tending it.

    `search` and `related` take a `text`, `learn` a `text` and its `title`; `why`, `share` and `keep` an `id`
    (`off` takes it back); `timeline` a `by`; `restore` the `name` of one of the `backups`, never a path. `prune`
    erases only with `apply`. All may be asked twice; what was said between two restores is then put aside.
    """

    action: Literal[
        "profile",
        "search",
        "why",
        "related",
        "timeline",
        "graph",
        "learn",
        "share",
        "keep",
        "prune",
        "backup",
        "backups",
        "restore",
        "stats",
    ] = "profile"
    id: int | None = None
    name: str = ""
    title: str = ""
    k: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20
    by: Literal["day", "week", "month"] | None = None
    apply: bool = False
    off: bool = False


class MemoryVerbs:
    """The verbs over `pipeline`; `owner` is who asks where nobody vouches for another name.

    What concerns everybody's memories (`prune`, `backup`, `backups`, `restore`, `stats`) is the owner's alone.
    """

    def __init__(self, pipeline: Pipeline, owner: str, budget: Budget) -> None:
        self._pipeline, self._owner, self._budget = pipeline, owner, budget

    async def remember(self, args: RememberArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Store a fact."""
        if not args.text.strip():
            raise InputError("there is nothing to remember: send a text")
        recollection = self._pipeline.recollection
        number = await recollection.remember(args.text.strip(), self._person(request), shared=args.shared)
        self._pipeline.tend()
        return {"id": number}

    async def recall(self, args: RecallArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Memories that answer a text, best first."""
        if not args.text.strip():
            raise InputError("there is nothing to look for: send a text")
        found = await self._pipeline.recollection.recall(args.text, args.k, self._person(request))
        return {"memories": [memory_data(memory) for memory in found]}

    async def forget(self, args: ForgetArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Erase what is the asker's, on the disk, in the running conversation and on the broker."""
        span = None if args.last is None else span_of(args.last, datetime.now().astimezone())
        wanted = Wanted(
            ids=() if args.id is None else (args.id,),
            text=args.text.strip() or None,
            since=_later(_time(args.since), span),
            until=_time(args.until) if span is None else span.until,
            owner=self._person(request),
        )
        done = await self._pipeline.forget(wanted)
        # File names are words of people: here they are counted, so that the answer in the journal holds none.
        files = [f"{len(done.files)} files that were learned and say it still"] if done.files else []
        receipt = {
            "ids": list(done.ids),
            "at": done.at.isoformat(),
            "claims": done.claims,
            "summaries": done.summaries,
            "copies": len(done.erased_in) + len(done.deleted),
            "beyond": [*files, *done.beyond],
        }
        return {"count": done.count, "receipt": receipt}

    async def memory(self, args: MemoryArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Look at the memory, or tend it."""
        person = self._person(request)
        if person == GUEST:
            raise InputError("a guest has no memory here")
        if args.action in _FOR_EVERYBODY:
            if person != self._owner:
                raise InputError(f"{args.action} concerns everybody's memories: only {self._owner} may ask for it")
            if args.action == "restore":
                return await self._restored(args.name)
            async with self._pipeline.recollection.copies:
                return await self._look(lambda store: self._tended(store, args))
        vector = None
        if args.action == "search":
            _, vector = await self._pipeline.recollection.looking(_text(args), person)
        look = _LOOKS[args.action]
        return await self._look(lambda store: look(store, args, person, vector))

    async def _look(self, look: Callable[[Memory], Mapping[str, Any]]) -> Mapping[str, Any]:
        return await self._pipeline.recollection.lane.call(lambda store, _stop: look(store))

    async def _restored(self, name: str) -> Mapping[str, Any]:
        def chosen(store: Memory, _stop: object) -> Callable[[], Path | None]:
            file = _file_of(store.file)
            return partial(restore, file, _named(file, name), key=store.key)

        exchange = await self._pipeline.recollection.lane.call(chosen)  # a wrong name closes nothing
        kept = await self._pipeline.exchange_memory(exchange)
        rows = await self._pipeline.recollection.lane.call(lambda store, _stop: store.count())
        log.info("memory_restored rows=%d", rows)
        answer = {"restored": name, "rows": rows, "forgotten": _FORGOTTEN}
        back = {} if kept is None else {"kept": kept.name, "back": f"restore {kept.name} takes this back"}
        return {**answer, **back}

    def _tended(self, store: Memory, args: MemoryArgs) -> Mapping[str, Any]:
        if args.action == "stats":
            return memory_views.stats(store)
        if args.action == "backup":
            folder = folder_of(_file_of(store.file))
            return {"backup": back_up(store, folder, self._pipeline.recollection.keep).name}
        if args.action == "backups":
            return {"backups": [_backup_data(path, store.key) for path in restorable(_file_of(store.file))]}
        plan = store.plan_pruning(self._budget)
        if args.apply and plan.ids:
            store.erase(plan.ids)
        gone = {"repeated": len(plan.repeated), "faded": len(plan.faded), "ids": plan.ids[:200]}
        return {"rows": plan.rows, "bytes": plan.bytes, **gone, "erased": args.apply and bool(plan.ids)}

    def _person(self, request: Request) -> str:
        vouched = request.person is not None or request.source == "socket"
        return self._pipeline.recollection.asker(request.person or self._owner, vouched=vouched)


def _file_of(file: Path | None) -> Path:
    if file is None:
        raise InputError("this memory has no file")
    return file


def _named(file: Path, name: str) -> Path:
    """The backup called so: compared with those that are there, so that a path finds none."""
    for path in restorable(file):
        if path.name == name:
            return path
    raise InputError("restore needs the name of a backup: the action backups lists them")


def _backup_data(path: Path, key: bytes | None) -> Mapping[str, Any]:
    """A backup as `backups` lists it; `rows` is None for one that cannot be read, which `restore` would refuse."""
    state = path.stat()
    rows = None
    with suppress(MemoryStoreError):
        rows = count_rows(path, key)
    made = datetime.fromtimestamp(state.st_mtime).astimezone().isoformat(timespec="seconds")
    return {"name": path.name, "at": made, "bytes": state.st_size, "rows": rows}


def _mark(store: Memory, args: MemoryArgs, person: str) -> Mapping[str, Any]:
    memory_views.why(store, _id(args), person)  # it is the asker's
    change = store.share if args.action == "share" else store.keep
    return {"id": _id(args), "changed": change(_id(args), not args.off)}


def _learned(store: Memory, args: MemoryArgs, person: str) -> Mapping[str, Any]:
    if not args.title.strip():
        raise InputError("a text that is learned needs a title")
    done = store.learn_text(args.title.strip(), _text(args), person=person)
    return {"title": done.source, "what": done.what, "pieces": done.pieces}


_FORGOTTEN = "what was forgotten since this backup was made stays forgotten: it was erased in the backup too"
_Look = Callable[[Memory, MemoryArgs, str, Vector | None], Mapping[str, Any]]
_FOR_EVERYBODY = frozenset(("prune", "backup", "backups", "restore", "stats"))
_LOOKS: dict[str, _Look] = {
    "profile": lambda store, _args, person, _: memory_views.profile(store, person),
    "search": lambda store, args, person, vector: {
        "memories": found_data(store.search(_text(args), vector=vector, k=args.k, person=person))
    },
    "why": lambda store, args, person, _: memory_views.why(store, _id(args), person),
    "related": lambda store, args, person, _: memory_views.related(store, person, _text(args)),
    "timeline": lambda store, args, person, _: memory_views.timeline(store, person, args.k, span=args.by),
    "graph": lambda store, _args, person, _: memory_views.graph(store, person),
    "learn": lambda store, args, person, _: _learned(store, args, person),
    "share": lambda store, args, person, _: _mark(store, args, person),
    "keep": lambda store, args, person, _: _mark(store, args, person),
}


def _text(args: MemoryArgs) -> str:
    if not args.text.strip():
        raise InputError(f"{args.action} needs a text")
    return args.text.strip()


def _id(args: MemoryArgs) -> int:
    if args.id is None:
        raise InputError(f"{args.action} needs the id of a memory")
    return args.id


def memory_data(memory: Recalled) -> dict[str, Any]:
    """A memory as the verb `recall` answers it."""
    return {
        "id": memory.id,
        "text": memory.text,
        "score": round(memory.score, 3),
        "when": memory.when.isoformat(),
        "why": memory.why,
    }


def _later(since: datetime | None, span: Span | None) -> datetime | None:
    if since is None or span is None:
        return since if span is None else span.since
    return max(since, span.since)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{text[:40]!r} is no time: send ISO 8601, as 2026-01-31T18:00+01:00") from error
