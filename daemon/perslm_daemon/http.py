"""The HTTP way in: where it listens, and the application that answers there.

Another way in beside MQTT and the control socket: it knows verbs, bulletin and measurements, and loads its library
only where `http.enabled` asks for it.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

import anyio
import anyio.to_thread
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from perslm_daemon import http_api
from perslm_daemon.config_sections import Config
from perslm_daemon.http_api import Board
from perslm_daemon.http_gate import Gate
from perslm_daemon.http_library import FastAPI
from perslm_daemon.http_server import HttpServer, listen
from perslm_runtime import __version__
from perslm_runtime.errors import ConfigError


@dataclass(frozen=True, slots=True)
class HttpPort:
    """An open port: its `url` for people, and the server that answers there once it runs."""

    url: str
    server: HttpServer

    async def serve(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        await self.server.serve(task_status=task_status)


async def open_port(config: Config, board: Board) -> HttpPort:
    """Listen as the configuration asks for. Raises `ConfigError` where that is not possible."""
    wanted = config.http
    if not _is_loopback(wanted.host):
        raise ConfigError(
            f"http.host is {wanted.host} and nobody would have to prove who they are: set http.host=127.0.0.1"
        )
    listening = await anyio.to_thread.run_sync(listen, wanted.host, wanted.port)
    port: int = listening.getsockname()[1]
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    return HttpPort(f"http://{host}:{port}", HttpServer(Gate(application(board), _names()), listening))


def application(board: Board) -> FastAPI:
    """The application as ASGI, without its gate."""
    app = FastAPI(
        title="PersLM",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.include_router(http_api.routes(board))
    return app


def _names() -> tuple[str, ...]:
    """The names this machine is reached by, besides its addresses."""
    own = socket.gethostname().partition(".")[0]
    return ("localhost", own, f"{own}.local")


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")
