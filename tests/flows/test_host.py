"""A host and a board as two programs that find each other, get to know each other, and go on together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from daemon_child import daemon
from perslm_daemon.cli import run as perslm
from perslm_daemon.cli_sync import _found
from perslm_daemon.control_client import connect
from perslm_runtime.errors import InputError
from perslm_training_host.boards import Boards
from perslm_training_host.cli import run as perslm_host
from perslm_training_host.serving import _announced
from updates import bundle

pytestmark = pytest.mark.usefixtures("small_gguf")

HOST = "from perslm_training_host.cli import main; main()"


def told(
    capsys: pytest.CaptureFixture[str], command: Callable[[Sequence[str]], int], *words: str
) -> dict[str, Any]:
    """A command of either side, run in this process."""
    capsys.readouterr()
    assert command(["--json", *words]) == 0, capsys.readouterr().err
    return dict(json.loads(capsys.readouterr().out))


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


def test_a_board_enrols_follows_its_host_and_is_seen_in_the_fleet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    host, board = partial(told, capsys, perslm_host), partial(told, capsys, perslm)
    host("keys", "init")
    host("publish", str(bundle(tmp_path, 1, b"GGUF", base="smollm2-135m-q4_1")))
    host("promote", "home", "1")
    data = tmp_path / "board"
    with serving(tmp_path) as url:
        code = host("enroll")["code"]
        words = ("--data-dir", str(data), "--set", "node=kitchen", "sync", "enroll", url, "--code", code)
        name = board(*words)["name"]
        with daemon(data, "", sync__take="ask"):
            connection = connect(data)
            assert connection is not None
            looked = connection.ask("sync", {"action": "check"})
            connection.close()
        assert [one["name"] for one in looked["offered"]] == ["home-v1"]
        (known,) = host("boards").items()
        assert known[0] == name
        assert known[1]["report"]["in_use"]["llm"] == "smollm2-135m-q4_1"
        fleet = host("fleet")
        assert fleet["boards"][name]["report"]["profile"] == "dev"
        assert fleet["roll_outs"][0]["name"] == "home-v1"
        host("revoke", name)
        assert Boards(tmp_path / "repository-boards").known()[name].revoked


@pytest.mark.slow  # a board listens for three seconds
def test_a_board_finds_the_host_that_announces_itself() -> None:
    with _announced(["127.0.0.1"], 8443):
        assert _found("127.0.0.1") == "https://127.0.0.1:8443"
    with pytest.raises(InputError, match="no host announces itself"):
        _found("127.0.0.1")
