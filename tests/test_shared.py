"""The host keeps what boards share: whole, once, encrypted, and not a byte of it once it is taken back."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perslm_runtime.errors import InputError
from perslm_runtime.fetch import FetchError
from perslm_runtime.host_account import HostAccount, enroll
from perslm_training_host.boards import Boards
from perslm_training_host.cli import run as perslm_host
from perslm_training_host.service import Service
from perslm_training_host.shared import Shared


def example(number: int, said: str = "turn on the zanthopol") -> dict[str, Any]:
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": "I cannot do that."}]
    return {"id": f"{number:032x}", "kind": "failed", "day": "2026-11-27", "messages": messages, "good": False}


@dataclass
class Host:
    boards: Boards
    port: int
    account: HostAccount

    @property
    def shared(self) -> Shared:
        return Shared(self.boards.folder)

    def ids(self) -> list[str]:
        with self.shared.opened() as shared:
            return [kept.example.id for kept in shared.all()]


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    (folder / "repository/metadata").mkdir(parents=True)
    (folder / "repository/metadata/1.root.json").write_text("{}")
    boards = Boards(folder / "repository-boards")
    service = Service(folder / "repository", boards, "127.0.0.1", 0, ["127.0.0.1", "localhost"])
    with service.running() as port:
        url = f"https://127.0.0.1:{port}"
        enroll(folder / "board", url, boards.open_window(), "kitchen")
        account = HostAccount.of(folder / "board")
        assert account is not None
        yield Host(boards, port, account)


@pytest.fixture
def host(enrolled: Host) -> Host:
    """The host with nothing shared yet."""
    for file in enrolled.boards.folder.glob("examples.db*"):
        file.unlink()
    return enrolled


def holding(host: Host, word: bytes) -> list[str]:
    return [file.name for file in host.boards.folder.iterdir() if word in file.read_bytes()]


def test_examples_are_kept_once_with_their_receipt_and_lie_encrypted(host: Host) -> None:
    told = host.account.tell("/examples", {"examples": [example(1), example(2)]})
    assert told["taken"] == [example(1)["id"], example(2)["id"]]
    again = host.account.tell("/examples", {"examples": [example(2), example(3)]})
    assert again["taken"] == [example(2)["id"], example(3)["id"]]
    with host.shared.opened() as shared:
        kept = list(shared.all("kitchen"))
    assert [one.receipt for one in kept] == [told["receipt"], told["receipt"], again["receipt"]]
    assert kept[0].example.messages[0].content == "turn on the zanthopol"
    assert holding(host, b"zanthopol") == []


def test_what_is_taken_back_is_gone_and_never_comes_again(host: Host) -> None:
    host.account.tell("/examples", {"examples": [example(1), example(2)]})
    late = example(9)["id"]
    host.account.tell("/withdraw", {"ids": [example(1)["id"], late]})
    assert host.ids() == [example(2)["id"]]
    told = host.account.tell("/examples", {"examples": [example(1), example(9), example(3)]})
    assert (told["taken"], told["withdrawn"]) == ([example(3)["id"]], [example(1)["id"], late])
    assert host.ids() == [example(2)["id"], example(3)["id"]]


def test_an_upload_that_is_cut_in_two_leaves_nothing(host: Host) -> None:
    examples = [example(number) for number in range(20)]
    body = json.dumps({"examples": examples}).encode()
    head = f"POST /examples HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        raw = socket.create_connection(("127.0.0.1", host.port), timeout=10)
        with host.account.context().wrap_socket(raw, server_hostname="127.0.0.1") as line:
            line.sendall(head + body[:cut])
            line.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while line.recv(4096):  # until the host has seen the end
                    pass
        assert host.ids() == [], cut
    assert len(host.account.tell("/examples", {"examples": examples})["taken"]) == 20


@pytest.mark.parametrize(
    "said",
    [
        {"examples": "all"},
        {"examples": [example(1), {"id": "x"}]},
        {"examples": [example(1), {**example(2), "person": "ana"}]},
        {"examples": [example(1), {**example(2), "id": ""}]},
        {},
    ],
)
def test_a_request_with_a_wrong_example_is_refused_whole(host: Host, said: dict[str, Any]) -> None:
    with pytest.raises(FetchError) as told:
        host.account.tell("/examples", said)
    assert told.value.status == 400
    assert host.ids() == []


def test_several_boards_at_once_lose_nothing(host: Host) -> None:
    def send(part: int) -> None:
        for number in range(5):
            host.account.tell("/examples", {"examples": [example(part * 100 + number)]})

    threads = [threading.Thread(target=send, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(host.ids()) == 20


def test_who_shows_no_certificate_shares_nothing(host: Host) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    body = json.dumps({"examples": [example(1)]}).encode()
    connection = http.client.HTTPSConnection("127.0.0.1", host.port, context=context, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/examples", body)
        assert connection.getresponse().status == 403
    assert host.ids() == []


def test_the_person_at_the_host_lists_and_drops(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    host.account.tell("/examples", {"examples": [example(1), example(2)]})
    repository = ("--repository", str(host.boards.folder.with_name("repository")))
    assert perslm_host(["examples", "count", *repository, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"][0]["count"] == 2
    assert perslm_host(["examples", "drop", example(1)["id"], *repository]) == 0
    assert perslm_host(["examples", "list", *repository]) == 0
    assert example(2)["id"] in (shown := capsys.readouterr().out)
    assert "meant" not in shown
    assert perslm_host(["examples", "drop", "kitchen", *repository]) == 0
    assert host.ids() == []
    assert perslm_host(["examples", "drop", "nobody", *repository]) == 3


def test_a_file_without_its_key_is_told(tmp_path: Path) -> None:
    shared = Shared(tmp_path)
    with shared.opened():
        pass
    (tmp_path / "examples.key").unlink()
    with pytest.raises(InputError, match="put it back"), shared.opened():
        pass
