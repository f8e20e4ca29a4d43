"""A board and its host become sure of each other; a guesser, a relay and a revoked board do not."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from perslm_daemon.cli import run as perslm
from perslm_runtime.certificates import (
    BOARD_DAYS,
    HOST_DAYS,
    Identity,
    authority,
    days_left,
    for_board,
    for_host,
    keep,
    kept,
    self_signed,
    serial_of,
)
from perslm_runtime.connections import Connections
from perslm_runtime.errors import InputError
from perslm_runtime.fetch import FetchError, read_url
from perslm_runtime.host_account import HostAccount, enroll, plant
from perslm_runtime.lane import Stop
from perslm_runtime.pairing import PairingRefused, digits_of
from perslm_training_host.boards import TRIES, WINDOW_S, Boards
from perslm_training_host.cli import run as perslm_host
from perslm_training_host.service import Service
from updates import bundle, repository


@dataclass
class Host:
    boards: Boards
    url: str
    now_s: list[float]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    repo = repository(tmp_path / "host")
    repo.publish(bundle(tmp_path))
    now = [1_800_000_000.0]
    boards = Boards(tmp_path / "host/repository-boards", clock=lambda: now[0])
    service = Service(repo.folder, boards, "127.0.0.1", 0, ["127.0.0.1", "localhost"])
    with service.running() as port:
        yield Host(boards, f"https://127.0.0.1:{port}", now)


def enrolled(host: Host, folder: Path, name: str = "kitchen") -> HostAccount:
    enroll(folder, host.url, host.boards.open_window(), name)
    account = HostAccount.of(folder)
    assert account is not None
    return account


def read(account: HostAccount, path: str) -> bytes:
    return b"".join(read_url(f"{account.url}{path}", timeout_s=5, stop=Stop(), tls=account.context()))


def test_an_enrolled_board_reads_the_repository_and_reports(host: Host, tmp_path: Path) -> None:
    account = enrolled(host, tmp_path / "board")
    assert oct((tmp_path / "board/board.key").stat().st_mode)[-3:] == "600"
    assert json.loads(read(account, "/metadata/timestamp.json"))["signed"]["_type"] == "timestamp"
    assert json.loads(account.anchor)["signed"]["_type"] == "root"
    account.report({"version": "0.1.0", "model": "home-v1"})
    record = host.boards.known()["kitchen"]
    assert (record.report["model"], record.seen_s) == ("home-v1", host.now_s[0])


@pytest.mark.parametrize("path", ["/metadata/../../keys/root-1.pem", "/keys/root-1.pem", "/metadata/.hidden", "/"])
def test_nothing_beside_the_repository_is_served(host: Host, tmp_path: Path, path: str) -> None:
    account = enrolled(host, tmp_path / "board")
    with pytest.raises(FetchError) as told:
        read(account, path)
    assert told.value.status == 404


def test_who_shows_no_certificate_gets_nothing(host: Host) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(FetchError) as told:
        list(read_url(f"{host.url}/metadata/timestamp.json", timeout_s=5, stop=Stop(), tls=context))
    assert told.value.status == 403


def test_a_code_serves_one_board_once_and_expires(host: Host, tmp_path: Path) -> None:
    code = host.boards.open_window()
    enroll(tmp_path / "one", host.url, code.replace("-", " "), "one")
    with pytest.raises(PairingRefused, match="no board is expected"):
        enroll(tmp_path / "two", host.url, code, "two")
    code = host.boards.open_window()
    host.now_s[0] += WINDOW_S + 1
    with pytest.raises(PairingRefused, match="has expired"):
        enroll(tmp_path / "two", host.url, code, "two")
    assert set(host.boards.known()) == {"one"}
    assert HostAccount.of(tmp_path / "two") is None


def test_a_guesser_has_three_tries(host: Host, tmp_path: Path) -> None:
    assert (TRIES, WINDOW_S) == (3, 300), "three tries, five minutes"
    code = host.boards.open_window()
    wrong = f"{(int(digits_of(code)) + 1) % 10**9:09}"
    for _ in range(TRIES):
        with pytest.raises(PairingRefused, match="not the right one"):
            enroll(tmp_path / "board", host.url, wrong, "guesser")
    with pytest.raises(PairingRefused, match="too many tries"):
        enroll(tmp_path / "board", host.url, code, "guesser")
    assert host.boards.known() == {}
    assert not (tmp_path / "board").exists()


def test_a_relay_in_the_middle_is_noticed_by_both(host: Host, tmp_path: Path) -> None:
    code = host.boards.open_window()
    with relay(tmp_path / "relay", int(host.url.rpartition(":")[2])) as port, pytest.raises(PairingRefused):
        enroll(tmp_path / "board", f"https://127.0.0.1:{port}", code, "kitchen")
    assert host.boards.known() == {}
    assert HostAccount.of(tmp_path / "board") is None


@contextmanager
def answering(
    inside: ssl.SSLContext, handler: type[BaseHTTPRequestHandler] = BaseHTTPRequestHandler
) -> Iterator[int]:
    """A server behind TLS on a free port."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that leaves is what is tested
        server.socket = inside.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def relay(folder: Path, target: int) -> Iterator[int]:
    """Somebody who ends the board's TLS with a certificate of their own and passes every word on."""
    folder.mkdir()
    fake = for_host(authority("not the host"), "not the host", ["127.0.0.1"])
    (folder / "pem").write_bytes(fake.key + fake.certificate)
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(folder / "pem")

    class PassOn(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = posted(target, self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with answering(inside, PassOn) as port:
        yield port


def posted(port: int, path: str, body: bytes | str) -> tuple[int, bytes]:
    """What the service on `port` answers to somebody who shows no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_revoked_board_and_a_replaced_key_are_let_in_no_more(host: Host, tmp_path: Path) -> None:
    account = enrolled(host, tmp_path / "board")
    before = tmp_path / "before"
    before.mkdir()
    for path in (tmp_path / "board").iterdir():
        (before / path.name).write_bytes(path.read_bytes())
    assert not account.renew_if_due()
    account.renew()
    assert read(account, "/metadata/timestamp.json")
    stolen = HostAccount.of(before)
    assert stolen is not None
    with pytest.raises(FetchError, match="403"):
        read(stolen, "/metadata/timestamp.json")
    host.boards.revoke("kitchen")
    with pytest.raises(FetchError, match="403"):
        read(account, "/metadata/timestamp.json")
    with pytest.raises(PairingRefused):
        account.report({})
    with pytest.raises(InputError, match="no board is called 'bath'"):
        host.boards.revoke("bath")


def test_a_certificate_is_renewed_a_month_before_its_end(host: Host, tmp_path: Path) -> None:
    enrolled(host, tmp_path / "board")
    shown = (tmp_path / "board/board.pem").read_bytes()
    assert days_left(shown) > 89
    ending = datetime.now(UTC) - timedelta(days=BOARD_DAYS - 29)
    asked = self_signed("kitchen")
    old = Identity(asked.key, for_board(host.boards.authority(), asked.certificate, "kitchen", ending))
    host.boards._change(lambda known: setattr(known["kitchen"], "serial", serial_of(old.certificate)))
    keep(tmp_path / "board", "board", old)
    account = HostAccount.of(tmp_path / "board")
    assert account is not None
    assert account.renew_if_due()
    assert read(account, "/metadata/timestamp.json")
    assert days_left((tmp_path / "board/board.pem").read_bytes()) > 89


def test_a_host_whose_own_certificate_ends_soon_has_another_and_a_clock_that_is_wrong_is_named(
    tmp_path: Path,
) -> None:
    repo, boards = repository(tmp_path / "host"), Boards(tmp_path / "host/tls")
    plant(tmp_path / "board", boards.seed("kitchen", "https://127.0.0.1:1", repo.anchor.read_bytes()))
    account = HostAccount.of(tmp_path / "board")
    assert account is not None
    first = boards.server(["127.0.0.1"])
    assert boards.server(["127.0.0.1"]) == first
    for at, seen in ((timedelta(days=2), "not yet valid"), (timedelta(days=-HOST_DAYS - 2), "has expired")):
        keep(boards.folder, "server", for_host(boards.authority(), "host", ["127.0.0.1"], datetime.now(UTC) + at))
        inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inside.load_cert_chain(boards.folder / "server.pem", boards.folder / "server.key")
        with answering(inside) as port, pytest.raises(FetchError) as told:
            b"".join(Connections(account.context(), 5.0).read(f"https://127.0.0.1:{port}/", stop=Stop()))
        assert f"{seen}); is `date` right here?" in str(told.value)
    assert days_left(boards.server(["127.0.0.1"]).certificate) > HOST_DAYS - 1


def test_a_renewal_whose_answer_is_lost_or_that_the_power_ends_half_way_locks_no_board_out(
    host: Host, tmp_path: Path
) -> None:
    account = enrolled(host, tmp_path / "board")
    host.boards.renew("kitchen", self_signed("lost").certificate)  # the host did it, and nobody heard of it
    assert read(account, "/metadata/timestamp.json")
    host.boards.renew("kitchen", self_signed("lost again").certificate)
    account.renew()
    (tmp_path / "cut").mkdir()
    for path in (tmp_path / "board").iterdir():
        (tmp_path / "cut" / path.name).write_bytes(path.read_bytes())
    before = kept(tmp_path / "board", "board")
    assert before is not None
    keep(tmp_path / "cut", "next", before)
    (tmp_path / "cut/board.pem").write_bytes(self_signed("the one before").certificate)  # the key is the new one
    mended = HostAccount.of(tmp_path / "cut")
    assert mended is not None
    assert read(mended, "/metadata/timestamp.json")
    assert kept(tmp_path / "cut", "board") == before


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "pc.local", "https://"])
def test_an_address_that_is_none_is_told(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="https://pc"):
        enroll(tmp_path, url, "123-456-789", "kitchen")


def test_a_host_that_is_not_there_and_a_code_that_is_none_are_told(host: Host, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(FetchError, match="cannot be reached"):
        enroll(tmp_path, f"https://127.0.0.1:{port}", "123-456-789", "kitchen")
    with pytest.raises(PairingRefused, match="the code has 9 digits"):
        enroll(tmp_path, host.url, "12-34", "kitchen")


@pytest.mark.parametrize("body", ["", "{", "[]", '{"message": "zz", "certificate": "x"}', '{"message": 5}', "{}"])
@pytest.mark.parametrize("path", ["/enroll/begin", "/enroll/finish", "/report", "/renew", "/other"])
def test_garbage_is_refused_and_the_service_goes_on(host: Host, path: str, body: str) -> None:
    host.boards.open_window()
    status, _ = posted(int(host.url.rpartition(":")[2]), path, body)
    assert status in {400, 403, 404}


def test_a_seed_makes_a_board_known_without_a_code_and_its_key_is_replaced_at_once(
    host: Host, tmp_path: Path
) -> None:
    words = ["seed", "hall", "--url", host.url, "--repository", str(host.boards.folder.with_name("repository"))]
    assert perslm_host([*words, "--out", str(tmp_path / "hall.json")]) == 0
    assert perslm_host([*words, "--out", str(tmp_path / "again.json")]) == 3, "the name is taken"
    assert oct((tmp_path / "hall.json").stat().st_mode)[-3:] == "600"
    for data in ("board", "thief"):
        seeding = ["--data-dir", str(tmp_path / data), "sync", "enroll", "--seed", str(tmp_path / "hall.json")]
        assert perslm(seeding) == 0
    account, copied = HostAccount.of(tmp_path / "board/host"), HostAccount.of(tmp_path / "thief/host")
    assert account is not None
    assert copied is not None
    assert account.renew_if_due()
    assert not account.renew_if_due()
    account.report({"version": "0.1.0"})
    with pytest.raises(PairingRefused):
        copied.report({"version": "0.1.0"})


@pytest.mark.parametrize(
    "seed", [b"", b"{}", b"nonsense", b'{"name": "x", "url": "y", "key": "", "certificate": ""}']
)
def test_what_is_no_seed_is_told(tmp_path: Path, seed: bytes) -> None:
    with pytest.raises(InputError, match="no seed"):
        plant(tmp_path / "board", seed)
    assert not (tmp_path / "board").exists()
