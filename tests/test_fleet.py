"""The fleet at a glance, and a staged roll-out that stops by itself once too many boards could not use it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perslm_daemon.update_book import Book
from perslm_daemon.update_choice import report_data
from perslm_runtime.host_account import HostAccount, enroll
from perslm_training_host.boards import BoardRecord, Boards
from perslm_training_host.cli import run as perslm_host
from perslm_training_host.fleet import as_page, row_of
from perslm_training_host.fleet_port import FleetPort
from perslm_training_host.rollout import RollOuts, roll_outs
from perslm_training_host.service import Service
from perslm_training_host.signing_keys import SigningKeys
from updates import bundle, repository

NOW_S = 1_800_000_000.0


def report(step: str, name: str = "home-v2", why: str = "it answers nonsense") -> dict[str, Any]:
    """A board's report, as the board makes it, after one step with a bundle."""
    book = Book()
    book.note(name, "downloading")
    book.note(name, step, why)
    if step in ("refused", "rolled_back"):
        book.refused = {name: why}
    book.note_trial(name, {"right": 1, "asked": 2, "tokens_per_s": 12.0, "memory_mb": 250.0, "seconds": 3.0})
    health = {"ok": True, "pressure": None, "temperature_c": 51.0, "last_words": "never told"}
    values = {"health": health, "info": {"degraded": [{"part": "stt", "reason": "/home/ana is missing"}]}}
    return report_data(book, {"llm": name}, "pi5", values, 812.4)


def test_a_report_has_outcomes_trials_and_health_and_no_words() -> None:
    told = report("kept")
    assert told["outcomes"] == {"home-v2": "kept"}
    assert told["tried"]["home-v2"]["right"] == 1
    assert told["health"] == {"ok": True, "pressure": None, "temperature_c": 51.0}
    assert (told["degraded"], told["latency_ms"]) == (["stt"], 812)
    assert "ana" not in json.dumps(told)


@dataclass
class Host:
    folder: Path
    boards: Boards
    going: RollOuts
    accounts: list[HostAccount]

    def percent(self) -> int:
        return self.going._repository.channel("stable").offers[0].percent


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    repo = repository(tmp_path)
    for version in (1, 2):
        repo.publish(bundle(tmp_path, version, b"GGUF%d" % version))
    repo.promote("home", 1, "stable")
    repo.promote("home", 2, "stable", percent=50)
    boards = Boards(tmp_path / "repository-boards")
    going = RollOuts(repo.folder, SigningKeys([tmp_path / "keys"]), boards)
    service = Service(repo.folder, boards, "127.0.0.1", 0, ["127.0.0.1"], after_report=going.look)
    with service.running() as port:
        accounts = []
        for number in range(3):
            folder = tmp_path / f"board-{number}"
            enroll(folder, f"https://127.0.0.1:{port}", boards.open_window(), f"board-{number}")
            account = HostAccount.of(folder)
            assert account is not None
            accounts.append(account)
        yield Host(repo.folder, boards, going, accounts)


def test_a_staged_roll_out_stops_by_itself_when_boards_cannot_use_it(host: Host) -> None:
    first, second, third = host.accounts
    first.report(report("kept"))
    second.report(report("in_use"))
    assert host.percent() == 50
    third.report(report("rolled_back"))
    assert host.percent() == 0
    channel = host.going._repository.channel("stable")
    assert all(channel.for_board(f"any-{number}") == (("home", 1),) for number in range(20))
    (going,) = roll_outs({"stable": channel}, host.boards.known())
    assert (going.well, going.kept, going.failed) == (
        ("board-0", "board-1"),
        ("board-0",),
        {"board-2": "it answers nonsense"},
    )


def test_without_the_targets_key_the_stop_is_wished_for(host: Host, tmp_path: Path) -> None:
    (tmp_path / "keys/targets-1.pem").rename(tmp_path / "drawer.pem")
    host.accounts[0].report(report("refused"))
    assert host.percent() == 50
    assert "perslm-host halt home 2" in host.going.wished["home-v2"]
    (tmp_path / "keys").rename(tmp_path / "repository-keys")
    (tmp_path / "drawer.pem").rename(tmp_path / "repository-keys/targets-1.pem")
    assert perslm_host(["halt", "home", "2", "--repository", str(host.folder)]) == 0
    assert host.percent() == 0
    assert perslm_host(["halt", "home", "2", "--repository", str(host.folder)]) == 3


def test_one_failure_of_many_stops_nothing_and_revoked_boards_do_not_count() -> None:
    channels = {"stable": _channel()}
    boards = {f"b{number}": BoardRecord(f"b{number}", "1", 0.0, report=report("in_use")) for number in range(10)}
    boards["bad"] = BoardRecord("bad", "1", 0.0, report=report("refused"))
    (going,) = roll_outs(channels, boards)
    assert not going.fails
    boards["worse"] = BoardRecord("worse", "1", 0.0, report=report("rolled_back"))
    (going,) = roll_outs(channels, boards)
    assert going.fails
    boards["worse"].revoked = True
    (going,) = roll_outs(channels, boards)
    assert not going.fails


def _channel() -> Any:
    from perslm_runtime.bundle import Channel, Offer

    return Channel((Offer("home", 2, "llm", 50, 1),))


def test_a_board_is_shown_with_what_is_wrong_with_it() -> None:
    told = {**report("refused"), "health": {"pressure": "memory", "stalled": ["stt"], "sound": "no microphone"}}
    row = row_of(BoardRecord("kitchen", "1", 0.0, seen_s=NOW_S - 5 * 86400, report=told), NOW_S)
    assert row.problems == (
        "silent for 5 days",
        "short of memory",
        "stt hangs",
        "stt did not start",
        "no microphone",
        "refused home-v2: it answers nonsense",
    )
    assert row.trials == ("home-v2: 1 of 2 right, 12 tokens/s, 250.0 MB",)
    fine = BoardRecord("hall", "1", 0.0, seen_s=NOW_S, report={"profile": "pi4"})
    assert row_of(fine, NOW_S).problems == ()


def test_what_a_board_says_is_no_markup_on_the_page() -> None:
    told = {"version": "<script>alert(1)</script>", "refused": {"x": "<b>"}}
    page = as_page({"k": BoardRecord("k", "1", 0.0, report=told)}, [], {}, NOW_S)
    assert "<script>" not in page
    assert "&lt;b&gt;" in page


def test_the_fleet_is_shown_in_the_terminal_as_a_file_and_on_a_port_of_this_machine(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.accounts[0].report(report("kept"))
    words = ("fleet", "--repository", str(host.folder))
    assert perslm_host([*words, "--page", str(tmp_path / "fleet.html")]) == 0
    shown = capsys.readouterr().out
    assert "home-v2 on stable, to 50 %: 1 use it, 1 kept it" in shown
    assert "812 ms" in shown
    assert perslm_host([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boards"]["board-0"]["report"]["profile"] == "pi5"
    assert "3 boards" in (tmp_path / "fleet.html").read_text()
    with FleetPort(host.folder, 0, dict).running() as port:
        assert get(port, "/", "localhost")[0] == 200
        status, body = get(port, "/fleet.json", f"127.0.0.1:{port}")
        assert (status, len(json.loads(body)["boards"])) == (200, 3)
        assert get(port, "/", "evil.example:80")[0] == 403
        assert get(port, "/boards.json", "localhost")[0] == 404


def get(port: int, path: str, host: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers={"Host": host if ":" in host else f"{host}:{port}"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_boards_that_report_at_once_lose_nothing(tmp_path: Path) -> None:
    boards = Boards(tmp_path)
    beside = Boards(tmp_path)  # as a command beside the service
    names = [f"board-{number}" for number in range(12)]
    boards._change(lambda known: known.update({name: BoardRecord(name, "1", 0.0) for name in names}))

    def tell(name: str) -> None:
        for count in range(5):
            boards.take_report(name, json.dumps({"count": count}).encode())

    threads = [threading.Thread(target=tell, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    beside.revoke("board-3")
    for thread in threads:
        thread.join()
    assert {one.report["count"] for one in beside.known().values()} == {4}
    assert boards.known()["board-3"].revoked
