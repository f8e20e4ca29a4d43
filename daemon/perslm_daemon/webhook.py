"""One POST to an address that takes notifications as ntfy does: the text as body, title and urgency as headers.

Own code for one request: no client library is on a board, and waiting here has to be cancellable.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from anyio.streams.buffered import BufferedByteReceiveStream

from perslm_runtime import __version__
from perslm_runtime.errors import PersLMError

_WAIT_S = 10.0
_MOST_HEAD_BYTES = 16_384


class WebhookFailed(PersLMError):
    """An address did not take a notification; `again` says that it may later."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


async def post(url: str, text: str, headers: Mapping[str, str]) -> None:
    """Post a text. Raises `WebhookFailed`."""
    split = urlsplit(url)
    tls = split.scheme == "https"
    host, port = split.hostname or "", split.port or (443 if tls else 80)
    body = text.encode("utf-8", "replace")
    path = (split.path or "/") + (f"?{split.query}" if split.query else "")
    lines = {
        "Host": split.netloc,
        "User-Agent": f"PersLM/{__version__}",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **{name: _header(value) for name, value in headers.items()},
    }
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    try:
        context = await anyio.to_thread.run_sync(ssl.create_default_context) if tls else None
        with anyio.fail_after(_WAIT_S):
            stream = (
                await anyio.connect_tcp(host, port)
                if context is None
                else await anyio.connect_tcp(host, port, tls=True, ssl_context=context)
            )
            async with stream:
                await stream.send(head.encode("latin-1", "replace") + body)
                status = await BufferedByteReceiveStream(stream).receive_until(b"\r\n", _MOST_HEAD_BYTES)
    except (OSError, TimeoutError, anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound) as error:
        raise WebhookFailed(f"{host} does not answer ({type(error).__name__})", again=True) from error
    except anyio.BrokenResourceError as error:
        raise WebhookFailed(f"{host} broke off", again=True) from error
    _judge(host, status)


def _judge(host: str, status: bytes) -> None:
    words = status.split(b" ", 2)
    code = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if not 200 <= code < 300:
        again = code in (0, 408, 425, 429) or code >= 500
        raise WebhookFailed(f"{host} answered {code or 'with something that is no HTTP'}", again=again)


def _header(value: str) -> str:
    """A value as a header may have it: one line, and what is not ASCII as RFC 2047 writes it (ntfy reads that)."""
    line = " ".join(value.split())
    return line if line.isascii() else f"=?UTF-8?B?{b64encode(line.encode()).decode()}?="
