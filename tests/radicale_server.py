"""A real Radicale on a free loopback port, with one person who has a password and calendars."""

from __future__ import annotations

import base64
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.broker import free_port

USER, PASSWORD = "ana", "correct horse"
_MAKE = (
    '<?xml version="1.0"?><c:mkcalendar xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:set><d:prop>'
    "<d:displayname>{name}</d:displayname></d:prop></d:set></c:mkcalendar>"
)
WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Radicale:
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, method: str, path: str, body: str = "") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        connection.request(method, path, body.encode(), {"Authorization": f"Basic {pair}"})
        status = connection.getresponse().status
        connection.close()
        return status

    def calendar(self, name: str) -> None:
        assert self.ask("MKCALENDAR", f"/{USER}/{name}/", _MAKE.format(name=name)) == 201

    def put(self, calendar: str, name: str, event: str) -> None:
        text = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tests//EN\r\n{event}\r\nEND:VCALENDAR\r\n"
        assert self.ask("PUT", f"/{USER}/{calendar}/{name}.ics", text) == 201

    def files(self, calendar: str) -> list[str]:
        return [file.read_text() for file in self.folder.glob(f"collection-root/{USER}/{calendar}/*.ics")]


@contextmanager
def running(folder: Path) -> Iterator[Radicale]:
    port = free_port()
    (folder / "users").write_text(f"{USER}:{PASSWORD}\n")
    (folder / "radicale.conf").write_text(
        f"[server]\nhosts = 127.0.0.1:{port}\n[auth]\ntype = htpasswd\nhtpasswd_filename = {folder}/users\n"
        f"htpasswd_encryption = plain\ndelay = 0\n[storage]\nfilesystem_folder = {folder}/stored\n"
        "[logging]\nlevel = error\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "radicale", "--config", str(folder / "radicale.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Radicale(port, folder / "stored")
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                server.ask("PROPFIND", "/")
                break
            except OSError:
                assert child.poll() is None, "Radicale ended"
                assert time.monotonic() < deadline, "Radicale does not answer"
                time.sleep(0.05)
        yield server
    finally:
        child.terminate()
        child.wait(WAIT_S)
