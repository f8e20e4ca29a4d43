"""Errors over HTTP: which status says what kind of error it is, and its form under /api and under /v1."""

from __future__ import annotations

import json
import logging

from perslm_daemon.http_gate import error_data
from perslm_daemon.http_library import HttpResponse, RequestValidationError
from perslm_daemon.http_stream import GoneError
from perslm_runtime.errors import PersLMError

log = logging.getLogger("perslm.http")

_STATUS = {
    "InputError": 400,
    "ConfigError": 400,
    "CatalogError": 400,
    "ToolRefused": 409,
    "PluginRefused": 409,
    "PluginFailed": 409,
    "NoticesNotKept": 503,
    "BusyError": 429,
    "DeviceError": 503,
    "EngineError": 503,
    "LaneClosed": 503,
    "MemoryStoreError": 503,
    "MemoryDamaged": 503,
    "Cancelled": 503,
}
_BUSY_S = "5"  # when to ask again: a reply's usual length


class HttpRefused(PersLMError):
    """A request is refused for a reason that HTTP has a status of its own for."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


def status_of(kind: str) -> int:
    """The status for an error of this class."""
    return _STATUS.get(kind, 500)


def failed(error: Exception, path: str) -> HttpResponse:
    """The answer for an error. What is no `PersLMError` is a bug: it is logged, and told without its words."""
    status, message = _told(error)
    headers = {"retry-after": _BUSY_S} if status == 429 else None
    return HttpResponse(
        json.dumps(_data(error, status, message, path)), status, media_type="application/json", headers=headers
    )


def as_event(error: Exception) -> bytes:
    """The error as the last event of a stream of OpenAI's."""
    status, message = _told(error)
    return f"data: {json.dumps(_data(error, status, message, '/v1/'))}\n\n".encode()


def invalid(error: RequestValidationError, path: str) -> HttpResponse:
    """The answer for a body that is not what was described: the first thing that is wrong with it."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    told = HttpRefused(400, f"{where or 'the body'}: {first['msg']}", where or None)
    return failed(told, path)


def _told(error: Exception) -> tuple[int, str]:
    if isinstance(error, HttpRefused):
        return error.status, str(error)
    if isinstance(error, PersLMError):
        return status_of(type(error).__name__), str(error)
    if not isinstance(error, GoneError):
        log.error("http_failed error=%s", type(error).__name__, exc_info=error)
    return 500, f"this is a bug in PersLM ({type(error).__name__}); the log has it"


def _data(error: Exception, status: int, message: str, path: str) -> dict[str, object]:
    data = error_data(status, message, path)
    if isinstance(error, HttpRefused) and path.startswith("/v1/"):
        data["error"] |= {"param": error.param}
        if error.code is not None:
            data["error"] |= {"code": error.code}
    return data
