"""Strangers' text made plain: the words of HTML that are shown, one line without control characters, cut. Pure."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

_SILENT = frozenset(("script", "style", "head", "title"))
_LINES = frozenset(("p", "br", "div", "tr", "li", "h1", "h2", "h3"))
_MOST_CHARS = 500_000


def shown_words(html: str) -> str:
    """The words of a page or of a part of one."""
    reader = _Words()
    reader.feed(html[:_MOST_CHARS])
    reader.close()
    return "".join(reader.parts)


class _Words(HTMLParser):
    """The words of a page that are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Notice what is not shown."""
        self._silent += tag in _SILENT
        self.parts.append("\n" if tag in _LINES else "")

    def handle_endtag(self, tag: str) -> None:
        """As above."""
        self._silent = max(0, self._silent - (tag in _SILENT))

    def handle_data(self, data: str) -> None:
        """Keep words."""
        if not self._silent:
            self.parts.append(data)


def plain(text: str, most: int) -> str:
    """A stranger's text as one line without control characters, cut."""
    shown = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def ended(text: str) -> str:
    """With a full stop, where it has no end of its own."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
