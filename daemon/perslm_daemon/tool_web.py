"""A page of the web as text, as a sandboxed tool: one GET, redirects followed, what is readable taken out.

Runs in the child: parsing what strangers wrote happens where it can do no harm. Every connection, of a redirect
too, is asked for at the daemon, which knows the hosts and judges the addresses.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from perslm_daemon.tool_world import ToolError, World
from perslm_runtime import __version__
from perslm_runtime.documents import pieces_of
from perslm_runtime.errors import InputError

_MOST_BYTES = 2 << 20
_MOST_REDIRECTS = 5
_WAIT_S = 8.0
_CONTEXT = ssl.create_default_context()  # read once, in the process that forks: 20 ms
_TEXT = re.compile(r"text/(html|plain|markdown|csv|xml)|application/(xhtml\+xml|json|xml|rss\+xml|atom\+xml)")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class _Connection(http.client.HTTPConnection):
    """HTTP over a connection that the daemon opened."""

    def __init__(self, world: World, url: SplitResult) -> None:
        tls = url.scheme == "https"
        super().__init__(url.hostname or "", url.port or (443 if tls else 80), timeout=_WAIT_S)
        self._world, self._tls = world, tls

    def connect(self) -> None:
        made: socket.socket = self._world.dial(self.host, self.port)
        made.settimeout(_WAIT_S)
        self.sock = _CONTEXT.wrap_socket(made, server_hostname=self.host) if self._tls else made


def read(arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """The readable text of a page; `source` is the host it came from in the end."""
    url = str(arguments["url"]).strip()
    if not re.match(r"[a-z][a-z0-9+.-]*://", url, re.IGNORECASE):
        url = f"https://{url}"
    for _ in range(_MOST_REDIRECTS + 1):
        split = _checked(url)
        found = _get(split, world)
        if isinstance(found, str):
            url = urljoin(url, found)
            continue
        kind, body = found
        text, title = _readable(kind, body)
        if not text:
            raise ToolError("there is nothing to read on that page")
        return {"text": text, "source": split.hostname or "", "data": {"url": url, "title": title}}
    raise ToolError("the page leads from one address to the next without end")


def _checked(url: str) -> SplitResult:
    try:
        split = urlsplit(url)
        _ = split.port
    except ValueError:
        raise ToolError("that is no address of a page") from None
    if split.scheme not in ("http", "https") or not split.hostname:
        raise ToolError("only pages of http and https can be read")
    if split.username is not None or split.password is not None:
        raise ToolError("an address with a password in it is not read")
    return split


def _get(url: SplitResult, world: World) -> str | tuple[str, bytes]:
    """The address of a redirect, or the kind and bytes of the answer."""
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    connection = _Connection(world, url)
    try:
        headers = {"User-Agent": f"PersLM/{__version__}", "Accept": "text/html, text/plain, */*;q=0.1"}
        connection.request("GET", _quoted(path), headers=headers)
        answer = connection.getresponse()
        if answer.status in (301, 302, 303, 307, 308):
            place = answer.getheader("Location")
            if not place:
                raise ToolError("the page leads to nowhere")
            return place
        if answer.status != 200:
            raise ToolError(f"the server answered {answer.status}")
        kind = answer.getheader("Content-Type") or "text/plain; charset=utf-8"
        if not _TEXT.match(kind.lower()):
            raise ToolError(f"that is no page of text ({kind[:40]})")
        body = answer.read(_MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise ToolError(f"the page cannot be read ({type(error).__name__})") from error
    finally:
        connection.close()
    if len(body) > _MOST_BYTES:
        raise ToolError(f"the page is larger than {_MOST_BYTES >> 20} MB")
    return kind, body


def _readable(kind: str, body: bytes) -> tuple[str, str]:
    """Text and title of a body."""
    named = re.search(r"charset=[\"']?([\w-]+)", kind) or re.search(
        rb"<meta[^>]+charset=[\"']?([\w-]+)", body[:2048]
    )
    charset = "utf-8"
    if named is not None:
        charset = named[1].decode() if isinstance(named[1], bytes) else named[1]
    try:
        text = body.decode(charset, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    if "html" not in kind.lower():
        return text.strip(), ""
    title = _TITLE.search(text)
    try:
        pieces = pieces_of(text, ".html")
    except InputError as error:
        raise ToolError(str(error)) from error
    said = " ".join(title[1].split())[:200] if title is not None else ""
    return "\n\n".join(piece.text for piece in pieces), said


def _quoted(path: str) -> str:
    """A path that may stand in a request line: no spaces and no control characters."""
    return "".join(
        letter if "!" <= letter <= "~" else "".join(f"%{byte:02X}" for byte in letter.encode()) for letter in path
    )
