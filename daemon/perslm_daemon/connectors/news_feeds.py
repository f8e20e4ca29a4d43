"""RSS and Atom feeds as headlines: fetched, parsed, made plain. The door to feedparser; knows no sentence."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import feedparser

from perslm_daemon.connectors.plain_text import plain, shown_words
from perslm_daemon.connectors.web import Web
from perslm_runtime.plugin import Problem

_MOST_ENTRIES = 100


@dataclass(frozen=True, slots=True)
class Headline:
    """One entry of a feed; `at` is None where the feed does not say."""

    title: str
    feed: str
    about: str
    at: datetime | None
    link: str


def headlines(urls: Sequence[str]) -> list[Headline]:
    """The entries of all feeds, the newest first. Raises `Problem` where none can be read."""
    found: list[Headline] = []
    problems: list[str] = []
    for url in urls:
        try:
            found += _of(url)
        except Problem as problem:
            problems.append(str(problem))
    if problems and not found:
        raise Problem(problems[0])
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(found, key=lambda one: one.at or oldest, reverse=True)


def _of(url: str) -> list[Headline]:
    host = urlsplit(url).hostname
    reply = Web().ask("GET", url, headers={"Accept": "application/rss+xml, application/atom+xml, application/xml"})
    if reply.status != 200:
        raise Problem(f"the feed of {host} cannot be read (HTTP {reply.status})")
    read = feedparser.parse(reply.body, response_headers={"content-type": reply.headers.get("content-type", "")})
    if not read.entries and not read.get("version"):
        raise Problem(f"what {host} sends is no feed")
    name = plain(str(read.feed.get("title", "")), 60) or str(host)
    return [_headline(one, name) for one in read.entries[:_MOST_ENTRIES] if one.get("title")]


def _headline(entry: feedparser.FeedParserDict, feed: str) -> Headline:
    parsed = entry.get("published_parsed") or entry.get("updated_parsed")
    at = datetime.fromtimestamp(timegm(parsed), UTC) if parsed else None
    about = plain(shown_words(str(entry.get("summary", ""))), 600)
    return Headline(
        plain(shown_words(str(entry["title"])), 200), feed, about, at, str(entry.get("link", ""))[:500]
    )
