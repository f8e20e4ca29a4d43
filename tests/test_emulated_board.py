"""How the emulated board is talked to: mosquitto's own programs against a real broker; the emulator itself is
`make flash-test`'s."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mosquitto import Broker
from perslm_build.emulated_board import Board, Keys, Listener, console_end, free_port, make_key
from perslm_build.terminal import SetupError


class Powered(Board):
    """A board whose emulator is a process that only waits; its broker is a real one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.keys = Keys("any", folder / "key")
        self.console = folder / "console.log"
        self.mqtt_port = port
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Powered]:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not on this machine: `make flash-test` installs it")
    broker = Broker(tmp_path)
    broker.start()
    powered = Powered(tmp_path, broker.port)
    yield powered
    powered.end()
    assert powered.process.stdin is not None
    powered.process.stdin.close()
    broker.stop()


def test_what_the_board_says_is_heard_and_what_it_is_asked_arrives(board: Powered) -> None:
    listener = Listener(board, "kitchen")
    listener.connect(30)
    try:
        listener.send("ask", "t1", text="Why?")
        assert listener.until("request/ask", 30, transaction="t1") == {"transaction": "t1", "text": "Why?"}
    finally:
        listener.close()


def test_a_value_in_plain_text_is_waited_for_like_any_other(board: Powered) -> None:
    listener = Listener(board, "kitchen")
    listener.connect(30)
    try:
        for said in ("idle", "listening"):
            argv = board.mqtt("mosquitto_pub", "-q", "1", "-t", "perslm/kitchen/activity", "-m", said)
            subprocess.run(argv, check=True)
        assert listener.until("activity", 30, value="listening") == {"value": "listening"}
    finally:
        listener.close()


def test_a_wait_ends_at_its_limit_with_the_consoles_last_words(board: Powered) -> None:
    board.console.write_text("Kernel panic\n")
    listener = Listener(board, "kitchen")
    listener.connect(30)
    try:
        with pytest.raises(SetupError, match=r"(?s)nothing like .*'online'.*Kernel panic"):
            listener.until("state", 0.5, state="online")
    finally:
        listener.close()


def test_a_board_that_died_ends_the_wait_at_once(board: Powered) -> None:
    listener = Listener(board, "kitchen")
    board.pull_the_plug()
    with pytest.raises(SetupError, match="the emulated board ended"):
        listener.connect(300)


def test_no_broker_is_an_error_after_the_limit(board: Powered) -> None:
    board.mqtt_port = free_port()
    with pytest.raises(SetupError, match="no broker within 1 s"):
        Listener(board, "kitchen").connect(1)


def test_a_key_pair_is_drawn_for_one_run(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not on this machine")
    assert make_key(tmp_path).startswith("ssh-ed25519 ")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_a_console_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    powered = Powered.__new__(Powered)
    powered.console = tmp_path / "missing.log"
    assert console_end(powered) == ""
