"""When a machine's wall clock is believed."""

from __future__ import annotations

import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from perslm_daemon.clock import SystemClock, local_zone


def test_running_time_and_the_start_of_the_machine_are_the_same_in_every_process() -> None:
    one, two = SystemClock(), SystemClock()
    assert one.boot_id == two.boot_id != ""
    before = one.boot_s()
    assert 0 <= two.boot_s() - before < 60


def test_a_machine_that_is_no_board_is_believed(tmp_path: Path) -> None:
    assert SystemClock(board=tmp_path / "none", battery=tmp_path / "none").known()


def test_a_board_without_time_server_and_battery_is_not_believed_until_somebody_sets_it(tmp_path: Path) -> None:
    class Unsynchronized(SystemClock):
        ahead_s = 0.0

        def wall_s(self) -> float:
            return time.time() + self.ahead_s

        def _synchronized(self) -> bool:
            return False  # what the kernel says of a board that no time server has reached

    board = tmp_path / "model"
    board.write_text("Raspberry Pi 4 Model B")
    clock = Unsynchronized(board=board, battery=tmp_path / "none")
    assert not clock.known()
    clock.ahead_s = 30.0
    assert not clock.known()
    clock.ahead_s = 720.0
    assert clock.known()
    clock.ahead_s = -60.0 * 60 * 24 * 365 * 40
    assert not clock.known(), "before 2025 no clock is believed"


def test_the_kernel_is_asked_and_answers(tmp_path: Path) -> None:
    board = tmp_path / "model"
    board.write_text("Raspberry Pi 4 Model B")
    assert SystemClock(board=board, battery=tmp_path / "none")._synchronized() in {True, False}


@pytest.mark.parametrize(
    ("kept", "believed"), [("now", True), ("0", False), ("1735700000", False), ("nonsense", False)]
)
def test_a_battery_clock_counts_where_it_kept_the_time(tmp_path: Path, kept: str, believed: bool) -> None:
    board, battery = tmp_path / "model", tmp_path / "since_epoch"
    board.write_text("Raspberry Pi 5 Model B")
    battery.write_text(f"{time.time():.0f}" if kept == "now" else kept)
    clock = SystemClock(board=board, battery=battery)
    assert clock._believed is believed
    assert SystemClock(trusted=True, board=board, battery=battery).known()


def test_the_zone_comes_from_the_environment_or_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert local_zone() == ZoneInfo("Europe/Berlin")
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    assert local_zone() is not None
    monkeypatch.delenv("TZ")
    assert local_zone() is not None
