"""What can be read of the daemon over HTTP: measurements, health, status. Its answers are those of the verbs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.http_errors import status_of
from perslm_daemon.http_library import APIRouter, HttpResponse
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.turn import Event
from perslm_daemon.verbs import Request, Response, Verbs

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Board:
    """What the routes speak of: the table of verbs, the bulletin, Prometheus text, and the engines."""

    verbs: Verbs
    bulletin: Bulletin
    metrics: Callable[[], str]
    pipeline: Pipeline


def routes(board: Board) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.get("/metrics", summary="Measurements as Prometheus reads them", response_class=HttpResponse)
    async def metrics() -> HttpResponse:
        return HttpResponse(board.metrics(), media_type=_PROMETHEUS)

    @router.get("/api/health", summary="Figures of the daemon and its board, as last measured")
    async def health() -> HttpResponse:
        return answer(Response("ok", board.bulletin.current().get("health", {})))

    @router.get("/api/status", summary="State, version, models, and what is degraded")
    async def status() -> HttpResponse:
        return answer(await board.verbs.answer(Request("status", source="http"), _ignore))

    return router


def answer(response: Response) -> HttpResponse:
    """A verb's response as HTTP: its JSON, and the status that tells what kind of error it is."""
    return HttpResponse(response.as_json(), status_code(response), media_type="application/json")


def status_code(response: Response) -> int:
    """The HTTP status of a verb's response."""
    if response.status == "ok":
        return 200
    if response.kind is None:  # no such verb here, or a bug
        return 500 if response.error and response.error.startswith("this is a bug") else 404
    return status_of(response.kind)


async def _ignore(_event: Event) -> None:
    """Nobody waits for events."""
