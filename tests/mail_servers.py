"""Real mail servers on free loopback ports: pymap for IMAP, aiosmtpd for SMTP, each a process of its own."""

from __future__ import annotations

import imaplib
import mailbox
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from email.message import EmailMessage, Message
from pathlib import Path

from perslm_daemon.broker import free_port

USER, PASSWORD = "demouser", "demopass"  # pymap's own person
WAIT_S = 60.0


def _until(answers: Callable[[], object], child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            answers()
            return
        except (OSError, smtplib.SMTPException, imaplib.IMAP4.error):
            assert child.poll() is None, "the mail server ended"
            assert time.monotonic() < deadline, "the mail server does not answer"
            time.sleep(0.05)


@contextmanager
def _child(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, *arguments]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(WAIT_S)


class Mailbox:
    """pymap's mailbox of one person, emptied."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        return f"imap://127.0.0.1:{self.port}"

    @contextmanager
    def _opened(self) -> Iterator[imaplib.IMAP4]:
        box = imaplib.IMAP4("127.0.0.1", self.port, WAIT_S)
        box.login(USER, PASSWORD)
        box.select("INBOX")
        yield box
        box.logout()

    def empty(self) -> None:
        with self._opened() as box:
            box.store("1:*", "+FLAGS", "\\Deleted")
            box.expunge()

    def deliver(self, sender: str, subject: str, text: str, at: datetime, *, html: str = "") -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = sender, "me@example.org", subject
        message["Date"] = at
        message.set_content(text)
        if html:
            message.clear_content()
            message.set_content(html, subtype="html")
        with self._opened() as box:
            box.append("INBOX", "", imaplib.Time2Internaldate(at), message.as_bytes())

    def unseen(self) -> int:
        with self._opened() as box:
            return len(box.search(None, "UNSEEN")[1][0].split())


@contextmanager
def imap() -> Iterator[Mailbox]:
    port = free_port()
    with _child(
        "-c",
        "from pymap.main import main; main()",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "dict",
        "--demo-data",
    ) as child:
        _until(lambda: imaplib.IMAP4("127.0.0.1", port, WAIT_S).logout(), child)
        box = Mailbox(port)
        box.empty()
        yield box


class Taken:
    """What aiosmtpd took, as it lies in its folder."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self._folder = port, folder

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def mails(self) -> list[Message]:
        return list(mailbox.Maildir(self._folder, create=True))


@contextmanager
def smtp(folder: Path) -> Iterator[Taken]:
    port = free_port()
    mailbox.Maildir(folder, create=True)
    handler = ("-c", "aiosmtpd.handlers.Mailbox", str(folder))
    with _child("-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}", *handler) as child:
        _until(lambda: smtplib.SMTP("127.0.0.1", port, timeout=WAIT_S).quit(), child)
        yield Taken(port, folder)
