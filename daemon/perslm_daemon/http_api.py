"""The table of verbs over HTTP, and what else a dashboard shows: measurements, settings, memories.

Every verb is `POST /api/<verb>` with its arguments as JSON, and is answered as everywhere. What only reads has a
GET beside it. Its arguments are described by the verbs' own types.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from perslm_daemon import engine_calls, http_errors
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import keys
from perslm_daemon.http_errors import HttpRefused, status_of
from perslm_daemon.http_events import MEDIA_TYPE, as_event, turn_event
from perslm_daemon.http_gate import caller_of
from perslm_daemon.http_library import APIRouter, HttpRequest, HttpResponse, Query
from perslm_daemon.http_scopes import person_of, require_all, scopes_of
from perslm_daemon.http_stream import Put, Streamed, while_connected
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.settings import Settings
from perslm_daemon.turn import Event
from perslm_daemon.verbs import Request, Response, Verb, Verbs
from perslm_runtime.errors import InputError, MemoryStoreError
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_lines import Entry

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
# What is read by GET: its path, the verb, its arguments, and what it gives
_READ = (
    ("status", "status", b"", "State, version, models, and what is degraded"),
    ("timers", "timer", b'{"action": "list"}', "Timers, alarms and reminders"),
    ("devices", "devices", b"{}", "The devices of the home, as last reported"),
    ("models", "model", b'{"action": "list"}', "The language models on this disk"),
    ("config", "config", b"{}", "Every configuration key, its value and where that came from"),
)
_OF_SETTING = ("kind", "about", "least", "most", "step", "unit", "options")


@dataclass(frozen=True, slots=True)
class Board:
    """What the routes speak of: verbs, settings, bulletin, Prometheus text, the engines, and whose they are."""

    verbs: Verbs
    settings: Settings
    bulletin: Bulletin
    metrics: Callable[[], str]
    pipeline: Pipeline
    owner: str


class SettingValue(msgspec.Struct, forbid_unknown_fields=True):
    """A setting's new value."""

    value: bool | float | str


class Correction(msgspec.Struct, forbid_unknown_fields=True):
    """What a memory should say."""

    text: str


def routes(board: Board) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["PersLM"])
    _add_readings(router, board)
    _add_settings(router, board)
    _add_memories(router, board)
    for name in board.verbs.names:
        verb = board.verbs.get(name)
        if verb is not None:
            _add_verb(router, board, verb)
    return router


def _add_readings(router: APIRouter, board: Board) -> None:
    @router.get("/metrics", summary="Measurements as Prometheus reads them", response_class=HttpResponse)
    async def metrics() -> HttpResponse:
        return HttpResponse(board.metrics(), media_type=_PROMETHEUS)

    @router.get("/api/health", summary="Figures of the daemon and its board, as last measured")
    async def health() -> HttpResponse:
        return answer(Response("ok", board.bulletin.current().get("health", {})))

    @router.get("/api/me", summary="Who asks, and what is opened")
    async def me(request: HttpRequest) -> HttpResponse:
        caller = caller_of(request.scope)
        told = {"name": caller.name, "person": caller.person, "scopes": sorted(caller.scopes)}
        return answer(Response("ok", {**told, "verbs": [*board.verbs.names]}))

    @router.get("/api/keys", summary="Every configuration key: what it does, what it may be, its default")
    async def explained() -> HttpResponse:
        told = {
            key.name: {"help": key.help, "may_be": key.kind.allowed, "default": _plain(key.default)}
            for key in keys().values()
        }
        return answer(Response("ok", {"keys": told}))

    for path, verb, payload, about in _READ:
        if board.verbs.get(verb) is not None:
            router.add_api_route(
                f"/api/{path}", _reader(board, verb, payload), methods=["GET"], summary=about, name=f"read {path}"
            )


def _reader(board: Board, verb: str, payload: bytes) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def read(request: HttpRequest) -> HttpResponse:
        caller = caller_of(request.scope)
        if verb != "model":
            require_all(caller, scopes_of(verb))
        asked = Request(verb, payload, source="http", person=person_of(caller))
        return answer(await board.verbs.answer(asked, _ignore))

    return read


def _add_verb(router: APIRouter, board: Board, verb: Verb) -> None:
    async def run(request: HttpRequest) -> HttpResponse:
        caller = caller_of(request.scope)
        require_all(caller, scopes_of(verb.name))
        payload = await request.body()
        asked = Request(verb.name, payload, source="http", person=person_of(caller))
        if MEDIA_TYPE in request.headers.get("accept", ""):
            return _streamed(board, asked)
        return answer(await while_connected(request, lambda: board.verbs.answer(asked, _ignore)))

    router.add_api_route(
        f"/api/{verb.name}",
        run,
        methods=["POST"],
        summary=verb.about[:1].upper() + verb.about[1:],
        name=f"verb {verb.name}",
        openapi_extra={"requestBody": _body_of(verb)},
    )


def _streamed(board: Board, asked: Request) -> HttpResponse:
    """The events of a verb as they happen, then `answer` with what it says in the end."""

    async def produce(put: Put) -> None:
        async def tell(event: Event) -> None:
            if (told := turn_event(event)) is not None:
                await put(told)

        response = await board.verbs.answer(asked, tell)
        await put(as_event("answer", msgspec.json.decode(response.as_json())))

    return Streamed(produce, MEDIA_TYPE, lambda error: http_errors.failed(error, "/api/"))


def _add_settings(router: APIRouter, board: Board) -> None:
    @router.get("/api/settings", summary="What can be changed at any time, with its value and what it may be")
    async def show() -> HttpResponse:
        values = board.bulletin.current()
        told = {}
        for name, setting in board.settings.table.items():
            told[name] = {field: getattr(setting, field) for field in _OF_SETTING} | {"value": values.get(name)}
        return answer(Response("ok", {"settings": told}))

    @router.post("/api/settings/{name}", summary="Change a setting", openapi_extra=_json_body(SettingValue))
    async def change(name: str, request: HttpRequest) -> HttpResponse:
        caller = caller_of(request.scope)
        require_all(caller, ("admin",) if name in {"model", "memory"} else ("home",))
        wanted = _read(await request.body(), SettingValue).value
        text = ("ON" if wanted else "OFF") if isinstance(wanted, bool) else str(wanted)
        return answer(Response("ok", {"value": await board.settings.change(name, text)}))


def _add_memories(router: APIRouter, board: Board) -> None:
    @router.get("/api/memories", summary="What is remembered of this person, newest first")
    async def browse(
        request: HttpRequest,
        kind: Annotated[str, Query(pattern="^(fact|turn)?$")] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> HttpResponse:
        caller = caller_of(request.scope)
        require_all(caller, ("memory",))
        memory = _memory(board)
        found = await memory.call(engine_calls.browse, caller.person, kind or None, limit, offset)
        return answer(Response("ok", {"memories": [_entry(one) for one in found]}))

    @router.post("/api/memories/{id}", summary="Correct a memory", openapi_extra=_json_body(Correction))
    async def correct(id: int, request: HttpRequest) -> HttpResponse:  # noqa: A002 - the path's own word
        caller = caller_of(request.scope)
        require_all(caller, ("memory",))
        text = _read(await request.body(), Correction).text.strip()
        if not text:
            raise InputError("there is nothing to remember: send a text, or forget it with the verb forget")
        entry = await _memory(board).call(engine_calls.memory, id) if id < 2**62 else None
        if entry is None or entry.person != caller.person:
            raise HttpRefused(404, f"there is no memory {id} of {caller.person}")
        new = await board.pipeline.recollection.remember(text, caller.person)
        board.pipeline.tend()
        await board.pipeline.forget(Wanted(ids=(id,), owner=caller.person))
        return answer(Response("ok", {"id": new}))


def _memory(board: Board) -> Any:
    if board.pipeline.parts.memory is None:
        raise MemoryStoreError("the memory is off or did not start: `perslm status` says why")
    return board.pipeline.parts.memory


def _entry(entry: Entry) -> dict[str, Any]:
    told = {"id": entry.id, "kind": entry.kind, "when": entry.when.isoformat(), "text": entry.said}
    return {**told, **({"reply": entry.reply} if entry.kind == "turn" else {})}


def answer(response: Response) -> HttpResponse:
    """A verb's response as HTTP: its JSON, and the status that tells what kind of error it is."""
    status = 200
    if response.status != "ok":
        is_bug = response.error is not None and response.error.startswith("this is a bug")
        status = status_of(response.kind) if response.kind is not None else 500 if is_bug else 404
    headers = {"cache-control": "no-store", **({"retry-after": "5"} if status == 429 else {})}
    return HttpResponse(response.as_json(), status, headers=headers, media_type="application/json")


def _read(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise InputError(f"the body is not what is wanted here: {error}") from error


def _body_of(verb: Verb) -> dict[str, Any]:
    return {"required": False, "content": {"application/json": {"schema": _schema(verb.args)}}}


def _json_body(kind: type[Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _schema(kind)}}}}


def _schema(kind: type[Any]) -> dict[str, Any]:
    """A type's schema with nothing outside itself."""
    (schema,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    found: dict[str, Any] = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return [str(one) for one in value] if isinstance(value, tuple) else str(value)


async def _ignore(_event: Event) -> None:
    """Nobody waits for events."""
