"""What an idle look at a training host costs: one handshake, and little over it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopback_http import Site, serving
from perslm_runtime.bundle import channel_path, read_channel
from perslm_runtime.bundles import look_up
from perslm_runtime.connections import Connections, NotModified
from perslm_runtime.fetch import FetchError
from perslm_runtime.host_account import HostAccount, plant
from perslm_runtime.lane import Stop
from perslm_runtime.trust import Trust
from perslm_training_host.boards import Boards
from perslm_training_host.service import Service
from relays import relayed
from updates import bundle, repository


class Looks:
    """A board that looks at its host and reports, over connections that it is given."""

    def __init__(self, folder: Path, account: HostAccount) -> None:
        self._folder, self.account = folder, account

    def __call__(self, connections: Connections) -> None:
        trust = Trust(
            self._folder, self.account.anchor, [self.account.url], now=time.time, connections=connections
        )
        trust.refresh()
        channel = read_channel(trust.read(channel_path("stable")))
        assert [look_up(trust, *one).name for one in channel.for_board("kitchen")] == ["home-v1"]
        health = {"ok": True, "uptime_s": 86400, "rss_mb": 310.5, "load": 0.2}
        self.account.report({"version": "0.1.0", "in_use": {"llm": "home-v1"}, "health": health}, connections)
        connections.rest()


def test_an_idle_look_with_its_report_is_one_connection_and_less_than_5_kb_with_tls(tmp_path: Path) -> None:
    repo = repository(tmp_path / "host")
    repo.publish(bundle(tmp_path))
    repo.promote("home", 1, "stable")
    boards = Boards(tmp_path / "host/tls")
    service = Service(repo.folder, boards, "127.0.0.1", 0, ["127.0.0.1"])
    with service.running() as served, relayed(served) as crossed:
        port = crossed.port
        plant(tmp_path / "board", boards.seed("kitchen", f"https://127.0.0.1:{port}", repo.anchor.read_bytes()))
        account = HostAccount.of(tmp_path / "board")
        assert account is not None
        look = Looks(tmp_path / "trust", account)
        kept = Connections(account.context(), 20.0)
        look(kept)
        assert crossed.since()[0] == 1, "the first look, which reads everything"
        look(Connections(account.context(), 20.0))
        connections, whole = crossed.since()
        assert (connections, whole < 5000) == (1, True), "an idle look with a whole handshake"
        look(kept)
        connections, resumed = crossed.since()
        assert (connections, resumed < whole - 1000) == (1, True), "an idle look that goes on with a TLS session"
        assert boards.known()["kitchen"].report["in_use"] == {"llm": "home-v1"}
        boards.revoke("kitchen")
        with pytest.raises(FetchError, match="403"):
            look(kept)
        kept.rest()


def test_a_connection_that_its_server_has_ended_meanwhile_is_opened_anew(tmp_path: Path) -> None:
    repo = repository(tmp_path / "host")
    boards = Boards(tmp_path / "host/tls")
    seed = boards.seed("kitchen", "https://127.0.0.1:1", repo.anchor.read_bytes())
    plant(tmp_path / "board", seed)
    account = HostAccount.of(tmp_path / "board")
    assert account is not None
    connections = Connections(account.context(), 20.0)
    service = Service(repo.folder, boards, "127.0.0.1", 0, ["127.0.0.1"])
    with service.running() as port:
        url = f"https://127.0.0.1:{port}/metadata/1.root.json"
        first = b"".join(connections.read(url, stop=Stop()))
    (idle,) = connections._idle.values()
    idle[0].sock.shutdown(socket.SHUT_RDWR)
    again = Service(repo.folder, boards, "127.0.0.1", port, ["127.0.0.1"])
    with again.running():
        assert b"".join(connections.read(url, stop=Stop())) == first
    connections.rest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving({"/a": b"first"}) as one:
        yield one


def test_a_redirect_is_followed_and_a_refusal_is_told_with_its_status(site: Site) -> None:
    connections = Connections(None, 5.0)
    site.redirects["/b"] = f"{site.address}/a"
    assert b"".join(connections.read(f"{site.address}/b", stop=Stop())) == b"first"
    with pytest.raises(FetchError, match="404") as told:
        list(connections.read(f"{site.address}/c", stop=Stop()))
    assert told.value.status == 404
    with pytest.raises(FetchError, match="is not an https address"):
        list(connections.read("http://example.org/a", stop=Stop()))
    site.redirects["/d"] = "http://example.org/a"
    with pytest.raises(FetchError, match="not an https address"):
        list(connections.read(f"{site.address}/d", stop=Stop()))


def test_what_the_server_has_unchanged_is_not_sent_again(tmp_path: Path) -> None:
    repo = repository(tmp_path / "host")
    boards = Boards(tmp_path / "host/tls")
    plant(tmp_path / "board", boards.seed("kitchen", "https://127.0.0.1:1", repo.anchor.read_bytes()))
    account = HostAccount.of(tmp_path / "board")
    assert account is not None
    with Service(repo.folder, boards, "127.0.0.1", 0, ["127.0.0.1"]).running() as port:
        connections, url = (
            Connections(account.context(), 20.0),
            f"https://127.0.0.1:{port}/metadata/timestamp.json",
        )
        seen: list[str] = []
        assert b"".join(connections.read(url, stop=Stop(), seen=seen))
        with pytest.raises(NotModified):
            list(connections.read(url, stop=Stop(), validator=seen[0]))
        repo.sign(fresh=True)
        assert b"".join(connections.read(url, stop=Stop(), validator=seen[0])), "another one is sent"
        connections.rest()
