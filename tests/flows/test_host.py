"""A host and a board as two programs that find each other, get to know each other, and go on together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daemon_child import daemon
from perslm_daemon.control_client import connect
from perslm_training_host.boards import Boards
from updates import bundle

pytestmark = pytest.mark.usefixtures("small_gguf")

HOST = "from perslm_training_host.cli import main; main()"
BOARD = "from perslm_daemon.cli import main; main()"


def program(code: str, folder: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", code, "--json", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    argv = [sys.executable, "-c", HOST, "--json", "serve", "--port", "0", "--fleet-port", "0", "--no-announce"]
    with subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = child.stdout.readline()
        try:
            yield str(json.loads(told)["url"])
        finally:
            child.terminate()


def test_a_board_enrols_follows_its_host_and_is_seen_in_the_fleet(tmp_path: Path) -> None:
    program(HOST, tmp_path, "keys", "init")
    program(HOST, tmp_path, "publish", str(bundle(tmp_path, 1, b"GGUF", base="smollm2-135m-q4_1")))
    program(HOST, tmp_path, "promote", "home", "1")
    data = tmp_path / "board"
    with serving(tmp_path) as url:
        code = program(HOST, tmp_path, "enroll")["code"]
        words = ("--data-dir", str(data), "--set", "node=kitchen", "sync", "enroll", url, "--code", code)
        name = program(BOARD, tmp_path, *words)["name"]
        with daemon(data, "", sync__take="ask"):
            connection = connect(data)
            assert connection is not None
            told = connection.ask("sync", {"action": "check"})
            connection.close()
        assert [one["name"] for one in told["offered"]] == ["home-v1"]
        (board,) = program(HOST, tmp_path, "boards").items()
        assert board[0] == name
        assert board[1]["report"]["in_use"]["llm"] == "smollm2-135m-q4_1"
        fleet = program(HOST, tmp_path, "fleet")
        assert fleet["boards"][name]["report"]["profile"] == "dev"
        assert fleet["roll_outs"][0]["name"] == "home-v1"
        program(HOST, tmp_path, "revoke", name)
        assert Boards(tmp_path / "repository-boards").known()[name].revoked
