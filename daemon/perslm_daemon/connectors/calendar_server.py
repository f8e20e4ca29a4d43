"""CalDAV: finds a person's calendars on a server, reads what lies in a stretch of time, writes and removes events.

Own requests over HTTP (RFC 4791): the usual library brings its own HTTP stack, which puts itself in the place of
the urllib3 that updates need. Knows no event's inside.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urljoin
from xml.sax.saxutils import escape

from perslm_daemon.connectors.web import Reply, Web
from perslm_runtime.plugin import Problem

_D, _C = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
_XML = {"Content-Type": "application/xml; charset=utf-8"}
_HEAD = '<?xml version="1.0" encoding="utf-8"?>'
_SPACES = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"'
_FIND = (
    f"{_HEAD}<d:propfind {_SPACES}><d:prop><d:resourcetype/><d:displayname/><d:current-user-principal/>"
    "<c:calendar-home-set/><c:supported-calendar-component-set/></d:prop></d:propfind>"
)
_QUERY = (
    f"{_HEAD}<c:calendar-query {_SPACES}><d:prop><d:getetag/><c:calendar-data/></d:prop><c:filter>"
    '<c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"><c:time-range start="{since}" end="{until}"/>'
    "</c:comp-filter></c:comp-filter></c:filter></c:calendar-query>"
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A calendar on the server."""

    url: str
    name: str


@dataclass(frozen=True, slots=True)
class Lying:
    """A file on the server: an event, or a series with its exceptions."""

    url: str
    etag: str
    text: str


@dataclass(frozen=True, slots=True)
class CalendarServer:
    """A server at an address: that of a calendar, of a person's calendars, or of the server."""

    web: Web

    def calendars(self) -> list[Shown]:
        """The calendars that hold events. Raises `Problem`."""
        found = list(self._found(self.web.home, 0))
        shown = [one for response in found if (one := self._calendar(response)) is not None]
        if shown:
            return shown
        principal = self._href(found, f"{_D}current-user-principal")
        if principal is None:  # the address of the server itself: it says where CalDAV is
            found = list(self._found(urljoin(self.web.home, "/.well-known/caldav"), 0))
            principal = self._href(found, f"{_D}current-user-principal")
        if principal is not None:
            found = list(self._found(principal, 0))
        home = self._href(found, f"{_C}calendar-home-set") or principal or self.web.home
        shown = [one for response in self._found(home, 1) if (one := self._calendar(response)) is not None]
        if not shown:
            raise Problem("the calendar server shows no calendar")
        return shown

    def between(self, calendar: Shown, since: datetime, until: datetime) -> list[Lying]:
        """Every file in which something happens then. Raises `Problem`."""
        body = _QUERY.format(since=_stamp(since), until=_stamp(until)).encode()
        reply = self.web.ask("REPORT", calendar.url, body, {**_XML, "Depth": "1"})
        found = []
        for response in _responses(_required(reply, (207,), "the calendar cannot be read")):
            data, etag = response.find(f".//{_C}calendar-data"), response.find(f".//{_D}getetag")
            href = response.findtext(f"{_D}href")
            if data is not None and data.text and href:
                found.append(
                    Lying(urljoin(calendar.url, href), (etag.text if etag is not None else "") or "", data.text)
                )
        return found

    def add(self, calendar: Shown, uid: str, text: str) -> None:
        """Write a new file. Raises `Problem`."""
        url = urljoin(calendar.url.rstrip("/") + "/", f"{uid}.ics")
        headers = {"Content-Type": "text/calendar; charset=utf-8", "If-None-Match": "*"}
        _required(
            self.web.ask("PUT", url, text.encode(), headers), (200, 201, 204), "the calendar takes no new event"
        )

    def change(self, url: str, etag: str, text: str | None) -> None:
        """Replace a file that is still as it was read; without a text, remove it. Raises `Problem`."""
        match = {"If-Match": etag} if etag else {}
        if text is None:
            reply = self.web.ask("DELETE", url, None, match)
        else:
            reply = self.web.ask(
                "PUT", url, text.encode(), {"Content-Type": "text/calendar; charset=utf-8", **match}
            )
        if reply.status == 412:
            raise Problem("somebody changed that event meanwhile: ask again")
        _required(reply, (200, 201, 204), "the calendar takes no change")

    def _found(self, url: str, depth: int) -> Iterator[ET.Element]:
        reply = self.web.ask("PROPFIND", url, _FIND.encode(), {**_XML, "Depth": str(depth)})
        if reply.status in (404, 405):
            return
        for response in _responses(_required(reply, (207,), "the calendar server does not answer as one")):
            response.set("base", reply.url)
            yield response

    def _calendar(self, response: ET.Element) -> Shown | None:
        if response.find(f".//{_D}resourcetype/{_C}calendar") is None:
            return None
        kinds = [one.get("name") for one in response.findall(f".//{_C}supported-calendar-component-set/{_C}comp")]
        href = response.findtext(f"{_D}href")
        if not href or (kinds and "VEVENT" not in kinds):
            return None
        url = urljoin(str(response.get("base")), href)
        name = (response.findtext(f".//{_D}displayname") or "").strip()
        return Shown(url, name or url.rstrip("/").rpartition("/")[2])

    def _href(self, found: list[ET.Element], tag: str) -> str | None:
        for response in found:
            href = response.findtext(f".//{tag}/{_D}href")
            if href:
                return urljoin(str(response.get("base")), href)
        return None


def _responses(body: bytes) -> list[ET.Element]:
    try:
        return ET.fromstring(body).findall(f"{_D}response")  # noqa: S314 - expat bounds entities, the sandbox the rest
    except ET.ParseError as error:
        raise Problem("the calendar server answers no XML") from error


def _required(reply: Reply, statuses: tuple[int, ...], what: str) -> bytes:
    if reply.status not in statuses:
        raise Problem(f"{what} (HTTP {reply.status})")
    return reply.body


def _stamp(moment: datetime) -> str:
    return escape(f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}")
