"""The dashboard: its files out of the package, under a policy that lets the page load nothing from anywhere else.

The files hold no secret, so everybody may read them; what they show comes from /api with a token.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.http_library import APIRouter, HttpRequest, HttpResponse

_FOLDER = Path(__file__).parent / "data" / "dashboard"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is sent: packed, and what tells it from another version."""

    packed: bytes
    tag: str
    media_type: str


def read_pages() -> Mapping[str, Page]:
    """All files by their path on the port. Blocks on the disk."""
    pages = {}
    for file in sorted(_FOLDER.iterdir()):
        if file.suffix not in _TYPES:
            continue
        content = file.read_bytes()
        tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        path = "/" if file.name == "index.html" else f"/dashboard/{file.name}"
        pages[path] = Page(gzip.compress(content, 9, mtime=0), tag, _TYPES[file.suffix])
    return pages


def routes(pages: Mapping[str, Page]) -> APIRouter:
    """The routes, which are no part of the API's description."""
    router = APIRouter(include_in_schema=False)
    for path, page in pages.items():
        router.add_api_route(path, _sender(page), methods=["GET", "HEAD"])
    return router


def _sender(page: Page) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    async def send(request: HttpRequest) -> HttpResponse:
        headers = _HEADERS | {"etag": page.tag, "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == page.tag:
            return HttpResponse(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            packed = headers | {"content-encoding": "gzip"}
            return HttpResponse(page.packed, headers=packed, media_type=page.media_type)
        return HttpResponse(gzip.decompress(page.packed), headers=headers, media_type=page.media_type)

    return send
