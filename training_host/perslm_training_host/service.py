"""The host's port: the repository for enrolled boards, their reports, and the enrolment of a new one, over TLS.

A board shows its certificate; without one, only the two steps of the enrolment answer. The standard library's
server is enough: the files are static, boards are few, and a thousand of them are served by mirrors.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from perslm_runtime.errors import PersLMError
from perslm_runtime.pairing import PairingRefused
from perslm_training_host.boards import Boards
from perslm_training_host.shared import Shared

log = logging.getLogger("perslm.host")

_LONGEST_BODY = 64 << 10
_PATIENCE_S = 30.0
_CHUNK = 1 << 16
NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")


class Service(ThreadingHTTPServer):
    """Listens on `host` and `port`; `reached_by` are the names and addresses its certificate is for.

    `after_report` is called when a board has told a new outcome, in that board's thread.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        repository: Path,
        boards: Boards,
        host: str,
        port: int,
        reached_by: list[str],
        after_report: Callable[[], object] = lambda: None,
    ) -> None:
        self.repository, self.boards, self.after_report = repository, boards, after_report
        self.shared = Shared(boards.folder)
        self.fingerprint = boards.server(reached_by).fingerprint
        boards.authority()
        super().__init__((host, port), _Handler)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.load_cert_chain(boards.folder / "server.pem", boards.folder / "server.key")
        self._context.load_verify_locations(boards.folder / "authority.pem")
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._context.num_tickets = 1  # of 0.8 KB: the board's certificate is in it

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake belongs to the client's own thread: a slow one holds up nobody."""
        request.settimeout(_PATIENCE_S)
        with self._context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves, or whose certificate is refused, is no event."""
        log.debug("client_lost address=%s", client_address[0])

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serve from a thread while the block runs; gives the port."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self.server_address[1]
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"
    server_version = "perslm-host"
    sys_version = ""
    timeout = _PATIENCE_S
    wbufsize = _CHUNK  # head and body in one record: apart, the second waits 40 ms for an acknowledgement
    disable_nagle_attribute = True

    def do_GET(self) -> None:
        board = self._board()
        if board is None:
            return self._answer(HTTPStatus.FORBIDDEN, {"error": "a board's certificate is needed: enrol first"})
        file = self._file()
        if file is None:
            return self._answer(HTTPStatus.NOT_FOUND, {"error": "there is no such file"})
        self._send_file(file)
        return None

    def do_POST(self) -> None:
        doors: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "/enroll/begin": self._begin,
            "/enroll/finish": self._finish,
            "/report": self._report,
            "/renew": self._renew,
            "/examples": self._examples,
            "/withdraw": self._withdraw,
        }
        door = doors.get(self.path)
        if door is None:
            return self._answer(HTTPStatus.NOT_FOUND, {"error": "there is no such door"})
        try:
            self._answer(HTTPStatus.OK, door(self._body()))
        except PairingRefused as error:
            log.warning("enrolment_refused address=%s", self.client_address[0])
            self._answer(HTTPStatus.FORBIDDEN, {"error": str(error)})
        except (PersLMError, KeyError, TypeError, ValueError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error) or type(error).__name__})
        return None

    # -------------------------------------------------------------- doors

    def _begin(self, said: dict[str, Any]) -> dict[str, Any]:
        message = self.server.boards.begin(
            str(said["certificate"]).encode(), self.server.fingerprint, bytes.fromhex(said["message"])
        )
        return {"message": message.hex()}

    def _finish(self, said: dict[str, Any]) -> dict[str, Any]:
        name = str(said["name"])
        if not 0 < len(name) <= 64 or not set(name) <= NAME_LETTERS:
            raise ValueError("a board's name has lower-case letters, digits, '-', '_' and '.'")
        root = (self.server.repository / "metadata/1.root.json").read_bytes()
        given, proof = self.server.boards.finish(said["fingerprint"], bytes.fromhex(said["proof"]), name, root)
        log.info("enrolled board=%s", name)
        return {"given": given.decode(), "proof": proof.hex()}

    def _report(self, said: dict[str, Any]) -> dict[str, Any]:
        before = self.server.boards.take_report(self._required_board(), json.dumps(said).encode())
        if before.get("outcomes") != said.get("outcomes"):
            self.server.after_report()
        return {}

    def _renew(self, said: dict[str, Any]) -> dict[str, Any]:
        fresh = self.server.boards.renew(self._required_board(), str(said["certificate"]).encode())
        return {"certificate": fresh.decode()}

    def _examples(self, said: dict[str, Any]) -> dict[str, Any]:
        board, examples = self._required_board(), said["examples"]
        if not isinstance(examples, list):
            raise TypeError("a list of examples is needed")
        with self.server.shared.opened() as shared:
            taken = shared.take(board, examples)
        log.info("examples_taken board=%s count=%d", board, len(taken.ids))
        return {"taken": list(taken.ids), "withdrawn": list(taken.withdrawn), "receipt": taken.receipt}

    def _withdraw(self, said: dict[str, Any]) -> dict[str, Any]:
        board, ids = self._required_board(), [str(one) for one in said["ids"]]
        with self.server.shared.opened() as shared:
            gone = shared.withdraw(ids)
        log.info("examples_withdrawn board=%s count=%d", board, gone)
        return {"withdrawn": ids}

    # -------------------------------------------------------------- inside

    def _board(self) -> str | None:
        """The enrolled board at the other end, by the certificate that TLS has verified."""
        shown = self.connection.getpeercert()
        if not shown:
            return None
        names = [value for part in shown["subject"] for key, value in part if key == "commonName"]
        serial = str(shown["serialNumber"]).lstrip("0")
        return names[0] if names and self.server.boards.admitted(names[0], serial) else None

    def _required_board(self) -> str:
        board = self._board()
        if board is None:
            raise PairingRefused("a board's certificate is needed: enrol first")
        return board

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", "0"))
        if not 0 < length <= _LONGEST_BODY:
            self.close_connection = True
            raise ValueError(f"a body of 1 to {_LONGEST_BODY} bytes is needed")
        said = json.loads(self.rfile.read(length))
        if not isinstance(said, dict):
            raise TypeError("a JSON object is needed")
        return said

    def _file(self) -> Path | None:
        """The file of the repository behind this path; nothing outside of it, and nothing hidden."""
        parts = PurePosixPath(unquote(self.path.partition("?")[0])).parts[1:]
        if not parts or parts[0] not in {"metadata", "targets"} or any(part.startswith(".") for part in parts):
            return None
        file = self.server.repository.joinpath(*parts)
        return file if file.is_file() and file.resolve().is_relative_to(self.server.repository.resolve()) else None

    def _send_file(self, file: Path) -> None:
        size = file.stat().st_size
        version = f'"{size:x}-{file.stat().st_mtime_ns:x}"'
        if self.headers.get("If-None-Match") == version:
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("ETag", version)
            self.end_headers()
            return
        start = 0
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and asked.endswith("-") and self.headers.get("If-Range", version) == version:
            start = int(asked[6:-1]) if asked[6:-1].isdecimal() else 0
        if start >= size > 0:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK)
        self.send_header("Content-Length", str(size - start))
        self.send_header("ETag", version)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        with file.open("rb") as opened:
            opened.seek(start)
            while chunk := opened.read(_CHUNK):
                self.wfile.write(chunk)

    def _answer(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        log.debug("request path=%s", self.path.partition("?")[0])
