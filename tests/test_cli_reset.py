from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perslm_daemon import cli_reset
from test_firstboot import reset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A card's root, as far as the command looks."""
    for name, text in (("usr/local/lib/perslm/reset.py", ""), ("etc/hostname", "kitchen\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def perslm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", "from perslm_daemon.cli import main; main()", "--json", "reset", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_the_command_leaves_the_mark_that_first_boot_reads(root: Path) -> None:
    assert cli_reset._MARK == reset.MARK
    done = perslm("--factory", "--keep-network", "--yes", "kitchen", "--root", root)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"at": "the next start", "network_kept": True}
    assert reset.asked(root, root / "boot") == reset.KEEP_NETWORK


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--yes", "kitchen"), "--factory"),
        (("--factory", "--yes", "bathroom"), "nothing was done"),
    ],
)
def test_without_the_right_word_nothing_is_asked_for(root: Path, words: tuple[str, ...], said: str) -> None:
    done = perslm(*words, "--root", root)
    assert done.returncode != 0
    assert said in done.stderr
    assert reset.asked(root, root / "boot") is None


def test_another_machine_is_no_card(tmp_path: Path) -> None:
    done = perslm("--factory", "--yes", "x", "--root", tmp_path)
    assert "no PersLM card" in done.stderr
