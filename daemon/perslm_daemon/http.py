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

from perslm_daemon import http_api, http_tls, http_tokens
from perslm_daemon.addresses import told_addresses
from perslm_daemon.broker_file import url_host
from perslm_daemon.config_sections import Config
from perslm_daemon.http_access import Access, is_loopback
from perslm_daemon.http_api import Board
from perslm_daemon.http_gate import Gate
from perslm_daemon.http_library import FastAPI
from perslm_daemon.http_server import HttpServer, listen
from perslm_daemon.http_tls import Certificate
from perslm_runtime import __version__

_LOOPBACK = "127.0.0.1"
_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what people write for every address, and one of them


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
    gate = Gate(application(board), access, names)
    listening = await anyio.to_thread.run_sync(listen, host, wanted.port)
    port: int = listening.getsockname()[1]
    tls = None if certificate is None else (certificate.file, certificate.key)
    url = f"{'http' if tls is None else 'https'}://{url_host(_EVERY.get(host, host))}:{port}"
    fingerprint = "" if certificate is None else certificate.fingerprint
    return HttpPort(url, port, is_loopback(host), HttpServer(gate, listening, tls), fingerprint, warning)


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
