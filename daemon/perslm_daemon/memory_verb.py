"""What the memory's verbs do for whoever asks over the network: remember, recall, forget.

Who asks sees and changes what is theirs (the name that the broker vouches for, else the owner) and what is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec

from perslm_daemon.pipeline import Pipeline
from perslm_daemon.turn import Tell
from perslm_daemon.verbs import Request, TextArgs
from perslm_runtime.errors import InputError
from perslm_runtime.memory import Recalled
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.spans import Span, span_of


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


class MemoryVerbs:
    """The verbs over `pipeline`; `owner` is who asks where nobody vouches for another name."""

    def __init__(self, pipeline: Pipeline, owner: str) -> None:
        self._pipeline, self._owner = pipeline, owner

    async def remember(self, args: RememberArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Store a fact."""
        if not args.text.strip():
            raise InputError("there is nothing to remember: send a text")
        recollection = self._pipeline.recollection
        return {"id": await recollection.remember(args.text.strip(), self._person(request), shared=args.shared)}

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

    def _person(self, request: Request) -> str:
        vouched = request.person is not None or request.source == "socket"
        return self._pipeline.recollection.asker(request.person or self._owner, vouched=vouched)


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
