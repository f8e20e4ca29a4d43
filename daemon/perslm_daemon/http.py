"""The HTTP way in: where it listens, with which certificate, and the application that answers there.

Another way in beside MQTT and the control socket: it knows verbs, bulletin and measurements, and loads its library
only where `http.enabled` asks for it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import anyio.to_thread
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from perslm_daemon import (
    http_api,
    http_dashboard,
    http_errors,
    http_events,
    http_openai,
    http_openai_sound,
    http_tls,
    http_tokens,
)
from perslm_daemon.addresses import told_addresses
from perslm_daemon.broker_file import url_host
from perslm_daemon.chats import Chats
from perslm_daemon.config_sections import Config
from perslm_daemon.http_access import Access, is_loopback
from perslm_daemon.http_api import Board
from perslm_daemon.http_errors import HttpRefused
from perslm_daemon.http_gate import Gate
from perslm_daemon.http_library import FastAPI, HttpRequest, HttpResponse, RequestValidationError
from perslm_daemon.http_openai import Models
from perslm_daemon.http_server import HttpServer, listen
from perslm_daemon.http_stream import GoneError
from perslm_daemon.http_tls import Certificate
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.plugin_embed import id_of
from perslm_runtime import __version__
from perslm_runtime.errors import PersLMError
from perslm_runtime.llama import Sampling

_LOOPBACK = "127.0.0.1"
_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what people write for every address, and one of them
# OpenAI's paths, whose bodies the library takes apart before a route sees who asks.
_NEEDS = dict.fromkeys(
    ("/v1/chat/completions", "/v1/audio/transcriptions", "/v1/audio/speech", "/v1/embeddings"), "chat"
)


@dataclass(frozen=True, slots=True)
class HttpPort:
    """An open port and the server that answers there once it runs.

    `url` is for people, `is_near` says that only this machine reaches it, `fingerprint` is the certificate's, ""
    without TLS, and `warning` is a sentence where it is not as the configuration wishes.
    """

    url: str
    port: int
    is_near: bool
    server: HttpServer
    fingerprint: str = ""
    warning: str = ""

    async def serve(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        await self.server.serve(task_status=task_status)


async def open_port(config: Config, board: Board) -> HttpPort:
    """Listen as the configuration asks for, on loopback alone while there is no token. Raises `ConfigError`."""
    wanted, warning = config.http, ""
    host = wanted.host
    if not is_loopback(host) and not await anyio.to_thread.run_sync(http_tokens.read, config.data_dir):
        host = _LOOPBACK
        warning = f"HTTP listens on {host} and not on {wanted.host} until there is a token: run `perslm token add`"
    names = (*_names(), *(name.strip() for name in wanted.names.split(",") if name.strip()))
    certificate = await anyio.to_thread.run_sync(_certificate, config, host, names)
    access = Access(config.data_dir, config.person, wanted.per_minute)
    closing = anyio.Event()
    pages = await anyio.to_thread.run_sync(http_dashboard.read_pages)
    app = application(config, board, closing)
    app.include_router(http_dashboard.routes(pages))
    sounds = frozenset({"/v1/audio/transcriptions"})
    gate = Gate(app, access, names, is_open=pages.__contains__, sounds=sounds, needs=_NEEDS)
    listening = await anyio.to_thread.run_sync(listen, host, wanted.port)
    port: int = listening.getsockname()[1]
    tls = None if certificate is None else (certificate.file, certificate.key)
    url = f"{'http' if tls is None else 'https'}://{url_host(_EVERY.get(host, host))}:{port}"
    fingerprint = "" if certificate is None else certificate.fingerprint
    return HttpPort(url, port, is_loopback(host), HttpServer(gate, listening, closing, tls), fingerprint, warning)


def application(config: Config, board: Board, closing: anyio.Event) -> FastAPI:
    """The application as ASGI, without its gate; `closing` ends answers that have no end of their own."""
    app = FastAPI(
        title="PersLM",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.include_router(http_api.routes(board))
    app.include_router(http_events.routes(board.bulletin, board.owner, closing))
    sampling = Sampling(temperature=config.model.temperature, repeat_penalty=config.model.repeat_penalty)
    parts, models = board.pipeline.parts, _models(config, board.pipeline)
    app.include_router(http_openai.routes(Chats(board.pipeline), models, sampling))
    app.include_router(
        http_openai_sound.routes(parts, models, language=config.stt.language, longest_s=config.stt.longest_s)
    )

    @app.exception_handler(PersLMError)
    async def refused(request: HttpRequest, error: PersLMError) -> HttpResponse:
        return http_errors.failed(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: HttpRequest, error: RequestValidationError) -> HttpResponse:
        return http_errors.invalid(error, request.url.path)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def nothing(request: HttpRequest, error: Exception) -> HttpResponse:
        status = getattr(error, "status_code", 404)
        path, method = request.url.path, request.method
        told = f"nothing is at {path[:80]}" if status == 404 else f"{path[:80]} is not asked with {method}"
        return http_errors.failed(HttpRefused(status, f"{told}: see /api/openapi.json"), path)

    @app.exception_handler(GoneError)
    async def gone(_request: HttpRequest, _error: GoneError) -> HttpResponse:
        return HttpResponse(status_code=499)  # nobody reads it

    return app


def _models(config: Config, pipeline: Pipeline) -> Models:
    parts = pipeline.parts
    return Models(
        config.model.id,
        id_of(config) if parts.embed is not None else "",
        config.stt.id if parts.stt is not None else "",
        config.tts.id if parts.tts is not None else "",
    )


def _certificate(config: Config, host: str, names: Sequence[str]) -> Certificate | None:
    wanted = config.http
    if wanted.tls == "off" or (wanted.tls == "auto" and is_loopback(host)):
        return None
    if wanted.cert_file is not None:
        return http_tls.given(wanted.cert_file, wanted.key_file or wanted.cert_file)
    addresses = told_addresses() if host in _EVERY else [host]
    return http_tls.own(config.data_dir, names, ["127.0.0.1", "::1", *addresses])


def _names() -> tuple[str, ...]:
    """The names this machine is reached by, besides its addresses."""
    own = socket.gethostname().partition(".")[0].lower()
    return ("localhost", own, f"{own}.local")
