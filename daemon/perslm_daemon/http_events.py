"""The bulletin as server-sent events: values and what happens, as long as the client listens.

What people said is told only to a token that opens the owner's memories: the rest sees that something was said.
"""

from __future__ import annotations

import json
from typing import Any

import anyio

from perslm_daemon import http_errors
from perslm_daemon.bulletin import Bulletin, Listener, Notice, Value
from perslm_daemon.http_gate import caller_of
from perslm_daemon.http_library import APIRouter, HttpRequest, HttpResponse
from perslm_daemon.http_stream import Put, Streamed
from perslm_daemon.turn import Event, Heard, Partial, Remembered, Sentence

MEDIA_TYPE = "text/event-stream"
_WORDS = frozenset({"last_heard", "last_reply"})
_WORDS_OF = frozenset({"text", "slots"})  # fields of events that hold words; an error's message is for everybody
_SPOKEN_EVENTS = frozenset({"heard", "partial", "intent", "wake_word"})
_ALIVE_S = 15.0  # proxies and phones close a connection on which nothing comes


def routes(bulletin: Bulletin, owner: str, closing: anyio.Event) -> APIRouter:
    """The route; it ends when `closing` is set."""
    router = APIRouter(prefix="/api", tags=["PersLM"])

    @router.get("/events", summary="Values and events as they happen", response_model=None)
    async def events(request: HttpRequest) -> HttpResponse:
        caller = caller_of(request.scope)
        words = "memory" in caller.scopes and caller.person == owner

        async def produce(put: Put) -> None:
            async with bulletin.listen() as notices, anyio.create_task_group() as tasks:

                async def end() -> None:
                    await closing.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(end)
                await put(b": hello\n\n")
                await _tell(notices, put, words=words)

        return Streamed(produce, MEDIA_TYPE, lambda error: http_errors.failed(error, "/api/events"))

    return router


async def _tell(notices: Listener, put: Put, *, words: bool) -> None:
    while True:
        notice: Notice | None = None
        with anyio.move_on_after(_ALIVE_S):
            notice = await notices.receive()
        if notice is None:
            await put(b": alive\n\n")
        elif (event := notice_event(notice, words=words)) is not None:
            await put(event)


def notice_event(notice: Notice, *, words: bool) -> bytes | None:
    """A notice as an event, None where it says nothing without its words."""
    if isinstance(notice, Value):
        if notice.name in _WORDS and not words:
            return None
        return as_event("value", {"name": notice.name, "value": notice.value})
    fields = dict(notice.fields)
    if notice.event_type in _SPOKEN_EVENTS and not words:
        fields = {name: value for name, value in fields.items() if name not in _WORDS_OF}
    return as_event("happened", {"event_type": notice.event_type, "fields": fields})


def turn_event(event: Event) -> bytes | None:
    """An event of a turn that is asked over HTTP; None for its sound."""
    match event:
        case Heard(text):
            return as_event("heard", {"text": text})
        case Partial(text):
            return as_event("partial", {"text": text})
        case Remembered(memories):
            found = [{"id": one.id, "text": one.text, "score": round(one.score, 3)} for one in memories]
            return as_event("recalled", {"memories": found})
        case Sentence(seq, text):
            return as_event("sentence", {"seq": seq, "text": text})
        case _:
            return None


def as_event(name: str, data: Any) -> bytes:
    """One server-sent event."""
    told = json.dumps(data, ensure_ascii=False, default=str)
    return f"event: {name}\ndata: {told}\n\n".encode("utf-8", "replace")
