"""A port that hands on to another on this machine, and counts what crosses it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Crossed:
    """Connections and bytes, both ways, that went through the relay at `port`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = self.bytes = 0
        self.lock = threading.Lock()

    def since(self) -> tuple[int, int]:
        """Connections and bytes since the last call."""
        with self.lock:
            found = (self.connections, self.bytes)
            self.connections = self.bytes = 0
        return found


@contextmanager
def relayed(port: int) -> Iterator[Crossed]:
    """A port that hands everything on to another, and counts."""
    serving_threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                with crossed.lock:
                    crossed.bytes += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def serve(near: socket.socket) -> None:
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

    def accept(listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            with crossed.lock:
                crossed.connections += 1
            serving_threads.append(threading.Thread(target=serve, args=(near,)))
            serving_threads[-1].start()

    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        crossed = Crossed(listening.getsockname()[1])
        thread = threading.Thread(target=accept, args=(listening,))
        thread.start()
        try:
            yield crossed
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for one in (thread, *serving_threads):
                one.join()
