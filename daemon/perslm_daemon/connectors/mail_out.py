"""Sending one message over SMTP, and whom a name means. Knows no sentence; asks nobody: the daemon does."""

from __future__ import annotations

import re
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import urlsplit

from perslm_daemon.connectors.web import why
from perslm_daemon.near import is_near
from perslm_runtime.plugin import Context, Problem

_TIMEOUT_S = 15.0
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an address."""

    name: str
    address: str


def people(context: Context) -> list[Person]:
    """Whom the settings name: "Ana <ana@example.org>". Raises `Problem` for one that is no address."""
    found = []
    for line in context.settings["people"]:
        name, _, address = line.partition("<")
        address = address.strip(" >")
        if not _ADDRESS.fullmatch(address) or not name.strip():
            raise Problem(f"{line[:60]!r} among `people` is not written as: Ana <ana@example.org>")
        found.append(Person(name.strip(), address))
    return found


def meant(context: Context, said: str) -> Person:
    """The one person that a name means, or an address that was given. Raises `Problem`."""
    if _ADDRESS.fullmatch(said):
        return next((one for one in people(context) if one.address.lower() == said.lower()), Person(said, said))
    words = said.lower().split()
    found = [one for one in people(context) if all(word in one.name.lower().split() for word in words)]
    if not found:
        raise Problem(f"I know no address of {said}: add it to `people` under [mail] in the plug-in settings")
    if len(found) > 1:
        raise Problem(f"{said} may be {' or '.join(one.name for one in found)}: say which")
    return found[0]


def send(context: Context, to: str, subject: str, text: str) -> str:
    """Send a message; returns its Message-ID. Raises `Problem`."""
    of = context.settings
    sender = of["address"] or (of["user"] if _ADDRESS.fullmatch(of["user"] or "") else "")
    if not of["smtp"] or not sender:
        raise Problem("nothing can be sent: set `smtp` and `address` under [mail] in the plug-in settings")
    if not _ADDRESS.fullmatch(to):
        raise Problem(f"{to[:60]!r} is no mail address")
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, " ".join(subject.split())[:200]
    message["Date"] = format_datetime(context.now)
    message["Message-ID"] = made = make_msgid(domain=sender.partition("@")[2])
    message.set_content(text)
    parts = urlsplit(of["smtp"])
    host = parts.hostname or ""
    try:
        with _opened(parts.scheme, host, parts.port) as server:
            if of["password"] and (server.has_extn("auth") or not is_near(host)):
                server.login(of["user"], of["password"])
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        raise Problem(f"the mail server takes no mail for {to}") from error
    except (OSError, smtplib.SMTPException) as error:
        said = "it refuses" if isinstance(error, smtplib.SMTPResponseException) else why(error)
        raise Problem(f"the mail was not sent: {host} does not take it ({said})") from error
    return made


def _opened(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(
            host, port or 465, "perslm", timeout=_TIMEOUT_S, context=ssl.create_default_context()
        )
    server = smtplib.SMTP(host, port or 587, "perslm", timeout=_TIMEOUT_S)
    if server.has_extn("starttls") or not is_near(host):  # beyond this network never without
        server.starttls(context=ssl.create_default_context())
    return server
