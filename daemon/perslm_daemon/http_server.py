"""HTTP on a listening socket, in this event loop: uvicorn without its signals, its logging and its ways to exit.

Knows sockets and ASGI; what is answered is the application's.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from perslm_runtime.errors import ConfigError

Application = Callable[[Any, Any, Any], Awaitable[None]]
"""An ASGI application."""

_GRACE_S = 1  # for answers that are being given when it ends; uvicorn wants whole seconds
_LAST_S = 2.0  # for their tasks to end once they are cancelled
_POLL_S = 0.01
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
    """Serves `app` on `listening`, which it closes."""

    def __init__(self, app: Application, listening: socket.socket) -> None:
        self._app, self._listening = app, listening
        self.closing = anyio.Event()
        """Set when it begins to end: answers without an end of their own, as events, end then."""

    async def serve(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once clients are answered. Ends within about a second."""
        try:
            server = await anyio.to_thread.run_sync(partial(_server, self._app))
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
                self.closing.set()
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


def _server(app: Application) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
    )
    config.load()  # imports what it needs: reads files
    return _Server(config)
