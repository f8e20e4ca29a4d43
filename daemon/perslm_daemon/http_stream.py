"""Answers that take their time: given piece by piece, or whole, while the client is still there.

A client that hangs up, or takes nothing for ten seconds, cancels what makes its answer. Nothing is sent before the
first piece, so that what fails until then is an answer with its own status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from perslm_daemon.http_gate import Receive, Scope, Send
from perslm_daemon.http_library import HttpRequest, HttpResponse

T = TypeVar("T")

Put = Callable[[bytes], Awaitable[None]]
"""Sends one piece of an answer."""
Produce = Callable[[Put], Awaitable[None]]
"""Makes an answer, piece by piece."""
Failed = Callable[[Exception], HttpResponse]
"""What to answer for an error; raises it again where it is a bug."""
LastWords = Callable[[Exception], bytes]
"""How an error is told behind pieces that were sent already."""

_TAKE_S = 10.0


class GoneError(Exception):
    """The client hung up: nobody hears an answer."""


async def while_connected(request: HttpRequest, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives; cancelled when the client hangs up, which raises `GoneError`. Errors come as they are."""
    done: list[T] = []
    failed: list[Exception] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_when_gone, request.receive, tasks.cancel_scope)
        try:
            done.append(await work())
        except Exception as error:  # noqa: BLE001 - raised below, where no task group wraps it
            failed.append(error)
        tasks.cancel_scope.cancel()
    if failed:
        raise failed[0]
    if not done:
        raise GoneError
    return done[0]


class Streamed(HttpResponse):
    """An answer that `produce` makes piece by piece, as `media_type`."""

    def __init__(
        self, produce: Produce, media_type: str, failed: Failed, last_words: LastWords | None = None
    ) -> None:
        super().__init__(None, media_type=media_type, headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._produce, self._failed, self._last_words = produce, failed, last_words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        other: list[HttpResponse] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            answer = await self._answer(_Sender(send, self.status_code, self.raw_headers))
            if answer is not None:
                other.append(answer)
            tasks.cancel_scope.cancel()
        for answer in other:
            await answer(scope, receive, send)

    async def _answer(self, sender: _Sender) -> HttpResponse | None:
        """Send what is produced; the answer to give instead where that failed before the first piece."""
        try:
            await self._produce(sender.put)
        except Exception as error:
            if not sender.started:
                return self._failed(error)
            if self._last_words is None:
                raise
            await sender.put(self._last_words(error))
        await sender.finish()
        return None


class _Sender:
    def __init__(self, send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._send, self._status, self._headers = send, status, headers
        self.started = False

    async def put(self, piece: bytes) -> None:
        """Send a piece. Who takes nothing for too long is no client any more."""
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        try:
            with anyio.fail_after(_TAKE_S):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        except TimeoutError as error:
            raise GoneError from error

    async def finish(self) -> None:
        """End the answer."""
        if not self.started:
            await self.put(b"")
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_when_gone(receive: Callable[[], Awaitable[Any]], scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
