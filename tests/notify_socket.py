"""systemd's side of the notification socket: a real datagram socket that a service speaks to."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Manager:
    """Bound at `address`, a path or, with a leading zero byte, a name in the abstract namespace."""

    def __init__(self, address: str, patience_s: float = 5) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(patience_s)
        self.socket.bind(address)

    def heard(self) -> list[str]:
        """The lines of the next message."""
        return self.socket.recv(4096).decode().split("\n")

    def all(self) -> list[str]:
        """Every message that has arrived."""
        found: list[str] = []
        before = self.socket.gettimeout()
        self.socket.setblocking(False)
        try:
            while True:
                found.append(self.socket.recv(4096).decode())
        except BlockingIOError:
            return found
        finally:
            self.socket.settimeout(before)

    def silent(self) -> bool:
        """Whether nothing has arrived."""
        return self.all() == []


class Listening(Manager):
    """One that reads at once, as systemd does: the socket holds ten messages, and later ones are dropped."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._messages: queue.Queue[list[str]] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        self.socket.settimeout(None)
        while (message := self.socket.recv(4096)) != b"end":
            self._messages.put(message.decode().split("\n"))

    def heard(self) -> list[str]:
        """The lines of the next message."""
        return self._messages.get(timeout=30)

    def until(self, line: str) -> list[list[str]]:
        """Every message before, and with, the first that says `line`."""
        found = [self.heard()]
        while line not in found[-1]:
            found.append(self.heard())
        return found

    def close(self) -> None:
        """Stop reading."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(b"end", self.address)
        self._thread.join()
        self.socket.close()


@contextmanager
def service_manager(address: str) -> Iterator[Listening]:
    """A service manager that listens."""
    made = Listening(address)
    try:
        yield made
    finally:
        made.close()
