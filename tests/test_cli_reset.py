from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from perslm_daemon import cli_reset
from perslm_daemon.cli import run
from test_firstboot import reset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A card's root, as far as the command looks."""
    for name, text in (("usr/local/lib/perslm/reset.py", ""), ("etc/hostname", "kitchen\n")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def perslm(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def ask(*words: str | Path) -> Said:
        code = run(["--json", "reset", *map(str, words)])
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return ask


def test_the_command_leaves_the_mark_that_first_boot_reads(root: Path, perslm: Callable[..., Said]) -> None:
    assert cli_reset._MARK == reset.MARK
    done = perslm("--factory", "--keep-network", "--yes", "kitchen", "--root", root)
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"at": "the next start", "network_kept": True}
    assert reset.asked(root, root / "boot") == reset.KEEP_NETWORK


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--yes", "kitchen"), "--factory"),
        (("--factory", "--yes", "bathroom"), "nothing was done"),
    ],
)
def test_without_the_right_word_nothing_is_asked_for(
    root: Path, perslm: Callable[..., Said], words: tuple[str, ...], said: str
) -> None:
    done = perslm(*words, "--root", root)
    assert done.code != 0
    assert said in done.err
    assert reset.asked(root, root / "boot") is None


def test_another_machine_is_no_card(tmp_path: Path, perslm: Callable[..., Said]) -> None:
    assert "no PersLM card" in perslm("--factory", "--yes", "x", "--root", tmp_path).err
