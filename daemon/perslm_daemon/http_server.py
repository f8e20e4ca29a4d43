"""HTTP on a listening socket, in this event loop: uvicorn without its signals, its logging and its ways to exit.

Knows sockets and ASGI; what is answered is the application's.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from uvicorn.protocols.http.h11_impl import H11Protocol

from perslm_runtime.errors import ConfigError

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""

_GRACE_S = 1  # for answers that are being given when it ends; uvicorn wants whole seconds
_LAST_S = 2.0  # for their tasks to end once they are cancelled
_POLL_S = 0.01
_REQUEST_S = 15.0  # from a connection, or the last answer, to the whole head of a request
_BACKLOG = 128
_MOST_CONNECTIONS = 128  # the next ones are told 503: a browser keeps six


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at `host`, an IP address. Raises `ConfigError`. Called in a thread."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"the HTTP port {port} of {host} cannot be had ({error.strerror}): set http.port or http.host"
        ) from error
    return listening


class HttpServer:
    """Serves `app` on `listening`, which it closes; with a certificate and its key, by TLS.

    `closing` is set when it begins to end: answers without an end of their own, as events, end then.
    """

    def __init__(
        self,
        app: Application,
        listening: socket.socket,
        closing: anyio.Event,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._app, self._listening, self._closing, self._tls = app, listening, closing, tls

    async def serve(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once clients are answered. Ends within about a second."""
        try:
            server = await anyio.to_thread.run_sync(partial(_server, self._app, self._tls))
        except BaseException:
            self._listening.close()
            raise
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run, server)
            try:
                while not server.started:  # noqa: ASYNC110 - uvicorn tells it by an attribute
                    await anyio.sleep(_POLL_S)
                task_status.started()
                await anyio.sleep_forever()
            finally:
                self._closing.set()
                server.should_exit = True

    async def _run(self, server: uvicorn.Server) -> None:
        """Uvicorn ends by itself when it is asked to: its own tasks are not in our task groups."""
        with anyio.CancelScope(shield=True):
            await server.serve(sockets=[self._listening])
            with anyio.move_on_after(_LAST_S):
                while server.server_state.tasks:  # noqa: ASYNC110 - uvicorn cancels them and does not wait
                    await anyio.sleep(_POLL_S)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's."""
        yield


class _Protocol(H11Protocol):
    """Closes a connection that sends no whole request: uvicorn alone waits for ever, and 128 of them shut it."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._wait_no_more()
        self._wait()
        super().on_response_complete()

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(_REQUEST_S, self._give_up)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def _server(app: Application, tls: tuple[Path, Path] | None) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=None if tls is None else tls[0],
        ssl_keyfile=None if tls is None else tls[1],
    )
    config.load()  # imports what it needs: reads files
    return _Server(config)
