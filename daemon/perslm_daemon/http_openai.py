"""OpenAI's API: chat completions and the list of models, over the same queue and engines as every turn.

A client's messages come whole with each request and never touch the person's conversation. Memories are put before
the model only for a token with the scope memory, and the home is worked only for one with the scope home.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perslm_daemon import http_errors
from perslm_daemon.chats import Chat, ChatEnd, Chats
from perslm_daemon.http_access import Caller
from perslm_daemon.http_errors import HttpRefused
from perslm_daemon.http_gate import caller_of, lacking
from perslm_daemon.http_library import APIRouter, HttpRequest, HttpResponse, JSONResponse
from perslm_daemon.http_openai_forms import ChatRequest
from perslm_daemon.http_openai_tools import Calls
from perslm_daemon.http_stream import Put, Streamed, while_connected
from perslm_runtime.llama import Sampling

OWN_NAME = "perslm"
"""A name that any model of the daemon's answers to."""

_DONE = b"data: [DONE]\n\n"
_REASONS = {"end": "stop", "stop": "stop", "length": "length", "stopped": "stop"}


@dataclass(frozen=True, slots=True)
class Models:
    """The names that may be asked for: the language model's, and of the engines beside it "" for none."""

    chat: str
    embed: str = ""
    stt: str = ""
    tts: str = ""

    def require(self, asked: str, kind: str) -> str:
        """The model's own name for what is `asked`. Raises `HttpRefused` (404) for another than the one in use."""
        own = str(getattr(self, kind))
        known = {own, OWN_NAME, *_USUAL.get(kind, ())}
        if not own:
            raise HttpRefused(
                404, f"this PersLM has no engine for that ({kind}): `perslm status`", "model", _MISSING
            )
        if asked not in known:
            raise HttpRefused(
                404, f"the model {asked[:80]!r} is not in use here: ask for {own!r}", "model", _MISSING
            )
        return own


_MISSING = "model_not_found"
_USUAL = {"stt": ("whisper-1",), "tts": ("tts-1",)}  # what clients have built in


def routes(chats: Chats, models: Models, sampling: Sampling) -> APIRouter:
    """The routes; `sampling` is how the model samples by itself."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])

    @router.get("/models", summary="The models that answer here")
    async def list_models() -> JSONResponse:
        found = [getattr(models, kind) for kind in ("chat", "embed", "stt", "tts")]
        data = [_model(name) for name in dict.fromkeys(found) if name]
        return JSONResponse({"object": "list", "data": data})

    @router.get("/models/{name}", summary="One of the models")
    async def one_model(name: str) -> JSONResponse:
        if name not in {models.chat, models.embed, models.stt, models.tts, OWN_NAME} or not name:
            raise HttpRefused(404, f"the model {name[:80]!r} is not in use here", "model", _MISSING)
        return JSONResponse(_model(name))

    @router.post("/chat/completions", summary="The reply to a list of messages", response_model=None)
    async def complete(wanted: ChatRequest, request: HttpRequest) -> HttpResponse:
        caller = require(request, "chat")
        models.require(wanted.model, "chat")
        calls = wanted.calls
        chat = _chat(wanted, caller, sampling, calls)
        answer = _Answer(chat, models.chat, calls)
        if wanted.stream:
            usage = wanted.stream_options is not None and wanted.stream_options.include_usage

            async def produce(put: Put) -> None:
                await answer.stream(chats, put, usage=usage)

            path = request.url.path
            return Streamed(
                produce, "text/event-stream", lambda error: http_errors.failed(error, path), http_errors.as_event
            )
        end = await while_connected(request, lambda: chats.run(chat, _ignore))
        return JSONResponse(answer.whole(end))

    return router


def require(request: HttpRequest, scope: str) -> Caller:
    """Who asks, who has to have `scope`. Raises `HttpRefused` (403)."""
    caller = caller_of(request.scope)
    if scope not in caller.scopes:
        raise HttpRefused(403, lacking(scope))
    return caller


def _chat(wanted: ChatRequest, caller: Caller, sampling: Sampling, calls: Calls | None) -> Chat:
    plain = wanted.is_plain
    return Chat(
        wanted.completion(sampling, calls),
        caller.person,
        acts=plain and "home" in caller.scopes,
        recalls=wanted.messages[-1].role == "user" and "memory" in caller.scopes,
        keeps=bool(wanted.store) and "memory" in caller.scopes,
        forgets=plain and "memory" in caller.scopes,
    )


async def _ignore(_piece: str) -> None:
    """The pieces come whole at the end."""


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "perslm"}


class _Answer:
    """One completion as OpenAI's clients read it, whole or in chunks."""

    def __init__(self, chat: Chat, model: str, calls: Calls | None) -> None:
        self._chat, self._calls = chat, calls
        self._head = {"id": f"chatcmpl-{chat.id}", "created": int(time.time()), "model": model}

    def whole(self, end: ChatEnd) -> dict[str, Any]:
        """The answer in one."""
        message: dict[str, Any] = {"role": "assistant", "content": end.text, "refusal": None}
        tools = self._tool_calls(end)
        if tools:
            message |= {"content": None, "tool_calls": tools}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(end, tools)}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": _usage(end),
            **_timings(end),
        }

    async def stream(self, chats: Chats, put: Put, *, usage: bool) -> None:
        """The answer in chunks. A call comes in one, once it is complete."""
        begun = False

        async def tell(piece: str) -> None:
            nonlocal begun
            if self._calls is not None and (self._is_call or (not begun and Calls.is_call(piece))):
                self._is_call = True
                return
            await put(self._chunk({"content": piece} if begun else {"role": "assistant", "content": piece}))
            begun = True

        end = await chats.run(self._chat, tell)
        tools = self._tool_calls(end)
        if tools:
            await put(self._chunk({"role": "assistant", "tool_calls": [{"index": 0, **tool} for tool in tools]}))
        elif self._is_call:  # a call that was cut off is text after all
            await put(self._chunk({"role": "assistant", "content": end.text}))
        await put(self._chunk({}, _reason(end, tools)))
        if usage:
            last = {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(end)}
            last |= _timings(end)
            await put(_event(last))
        await put(_DONE)

    _is_call = False

    def _chunk(self, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**self._head, "object": "chat.completion.chunk", "choices": [choice]})

    def _tool_calls(self, end: ChatEnd) -> list[dict[str, Any]]:
        call = self._calls.parse(end.text) if self._calls is not None else None
        if call is None:
            return []
        called = {"name": call.name, "arguments": call.arguments}
        return [{"id": f"call_{self._chat.id}", "type": "function", "function": called}]


def _reason(end: ChatEnd, tools: list[dict[str, Any]]) -> str:
    return "tool_calls" if tools else _REASONS[end.why]


def _usage(end: ChatEnd) -> dict[str, Any]:
    return {
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.reply_tokens,
        "total_tokens": end.prompt_tokens + end.reply_tokens,
        "prompt_tokens_details": {"cached_tokens": end.reused_tokens},
    }


def _timings(end: ChatEnd) -> dict[str, Any]:
    """Milliseconds since the chat was taken up, waiting for its turn included; no part of OpenAI's API."""
    first = None if end.first_token_ms is None else round(end.first_token_ms, 2)
    return {"timings": {"first_token_ms": first, "total_ms": round(end.total_ms, 2)}}


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "replace")
