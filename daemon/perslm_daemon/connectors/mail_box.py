"""A mailbox over IMAP: what is new, from whom, about what; the words of one message. Marks nothing.

The door to imap-tools. Knows no sentence; text of messages is cut and made plain.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from imaplib import IMAP4
from typing import Any
from urllib.parse import urlsplit

from imap_tools import AND, BaseMailBox, ImapToolsError, MailBox, MailBoxStartTls, MailBoxUnencrypted, MailMessage

from perslm_daemon.connectors.plain_text import plain, shown_words
from perslm_daemon.connectors.web import why
from perslm_daemon.near import is_near
from perslm_runtime.plugin import Context, Problem

_TIMEOUT_S = 12.0
_MOST_LOOKED_AT = 200
_MOST_CHARS = 1500


@dataclass(frozen=True, slots=True)
class Mail:
    """A message. `text` is "" where it was not asked for."""

    uid: str
    name: str
    address: str
    subject: str
    date: datetime
    seen: bool
    text: str = ""

    @property
    def sender(self) -> str:
        """Who wrote it, as one says it."""
        return self.name or self.address.partition("@")[0] or "somebody"


@contextmanager
def opened(context: Context) -> Iterator[BaseMailBox]:
    """The mailbox that the settings name. Raises `Problem`."""
    of = context.settings
    if not of["imap"] or not of["user"]:
        raise Problem("no mailbox is named: set `imap` and `user` under [mail] in the plug-in settings")
    parts = urlsplit(of["imap"])
    host = parts.hostname or ""
    try:
        box = _box(parts.scheme, host, parts.port)
        try:
            box.login(of["user"], of["password"] or "", initial_folder=None)
            box.folder.set(of["folder"], readonly=True)
            yield box
        finally:
            _leave(box)
    except Problem:
        raise
    except (OSError, IMAP4.error, ImapToolsError) as error:
        # The server's own words may repeat what was sent: only the kind is told.
        said = why(error) if isinstance(error, OSError) else "it refuses; look at user, password and folder"
        raise Problem(f"the mail server {host} does not answer ({said})") from error


def _box(scheme: str, host: str, port: int | None) -> BaseMailBox:
    if scheme == "imaps":
        return MailBox(host, port or 993, timeout=_TIMEOUT_S, ssl_context=ssl.create_default_context())
    if is_near(host):  # its own network, or this machine
        return MailBoxUnencrypted(host, port or 143, timeout=_TIMEOUT_S)
    return MailBoxStartTls(host, port or 143, timeout=_TIMEOUT_S, ssl_context=ssl.create_default_context())


def _leave(box: BaseMailBox) -> None:
    try:
        box.client.logout()
    except (OSError, IMAP4.error):
        box.client.shutdown()


def found(
    context: Context,
    *,
    unseen: bool = True,
    who: str = "",
    about: str = "",
    days: int = 30,
    most: int = 20,
    text: bool = False,
) -> list[Mail]:
    """Messages, the newest first. `who` and `about` are words of the sender and the subject."""
    since = (context.now - timedelta(days=days)).date()
    wanted: dict[str, Any] = {"date_gte": since}
    if unseen:
        wanted["seen"] = False
    kept: list[Mail] = []
    with opened(context) as box:
        uids = box.uids(AND(**wanted))[-_MOST_LOOKED_AT:][::-1]
        for message in _heads(box, uids):
            mail = _mail(message)
            if _fits(who, f"{mail.name} {mail.address}") and _fits(about, mail.subject):
                kept.append(mail)
        kept = sorted(kept, key=lambda one: one.date, reverse=True)[:most]
        if text:
            kept = [_mail(one, text=True) for mail in kept for one in _whole(box, mail.uid)]
    return kept


def _heads(box: BaseMailBox, uids: list[str]) -> Iterator[MailMessage]:
    if not uids:
        return iter(())
    return iter(box.fetch(AND(uid=uids), mark_seen=False, headers_only=True, bulk=100))


def _whole(box: BaseMailBox, uid: str) -> list[MailMessage]:
    return list(box.fetch(AND(uid=uid), mark_seen=False))


def _mail(message: MailMessage, *, text: bool = False) -> Mail:
    sender = message.from_values
    date = message.date if message.date.tzinfo is not None else message.date.astimezone()
    return Mail(
        str(message.uid),
        plain(sender.name if sender is not None else "", 80),
        plain(sender.email if sender is not None else message.from_, 120),
        plain(message.subject, 160) or "nothing in particular",
        date,
        "\\Seen" in message.flags,
        _words(message) if text else "",
    )


def _words(message: MailMessage) -> str:
    """What somebody wrote: the plain part, else the words of the HTML one, without what is quoted."""
    text = message.text or shown_words(message.html)
    lines = [line for line in text.splitlines() if not line.startswith(">")]
    kept = re.split(r"\n-- ?\n|\nOn .{4,80} wrote:\n", "\n".join(lines))[0]
    return plain(kept, _MOST_CHARS)


def _fits(said: str, text: str) -> bool:
    return all(word in text.lower() for word in said.lower().split())
