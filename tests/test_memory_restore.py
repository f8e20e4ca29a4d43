"""`perslm memory backup` and `restore`, and what every command says of a damaged memory."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command_line import Ended, environment
from perslm_daemon import cli

Perslm = Callable[..., Ended]


@pytest.fixture
def perslm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Perslm]:
    for name, value in environment(tmp_path, PERSLM_EMBED__ENABLED="false").items():
        monkeypatch.setenv(name, value)
    log = logging.getLogger("perslm")
    before = (log.handlers[:], log.level, log.propagate)
    yield lambda *arguments: Ended(cli.run(arguments, None), *capfd.readouterr())
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


def damage(file: Path) -> None:
    with file.open("r+b") as data:
        data.seek(4096)
        data.write(os.urandom(4096))


def test_a_damaged_memory_names_its_last_good_backup_and_the_command_that_restores_it(
    perslm: Perslm, tmp_path: Path
) -> None:
    assert perslm("memory", "add", "The bicycle is green.").code == 0
    saved = perslm("memory", "backup", "--json").data
    assert saved == {"file": str(tmp_path / "data/backups/memory-000001.db"), "memories": 1}
    file = tmp_path / "data/memory.db"
    damage(file)
    before = file.read_bytes()
    told = perslm("memory", "list")
    assert told.code == 6
    assert saved["file"] in told.err
    assert file.read_bytes() == before
    assert perslm("memory", "restore").code == 3, "nobody was there to confirm"
    command = re.search(r"`perslm (--data-dir .+? memory restore)`", told.err)
    assert command is not None
    ended = perslm(*shlex.split(command[1]), "--yes")
    assert ended.code == 0, ended.err
    assert "1 memories are back" in ended.out
    assert (tmp_path / "data/memory.db.damaged-1").read_bytes() == before
    assert "bicycle" in perslm("memory", "list").out


@pytest.mark.parametrize("gone", ["deleted", "emptied"])
def test_a_memory_that_vanished_is_never_replaced_by_an_empty_one(
    perslm: Perslm, tmp_path: Path, gone: str
) -> None:
    encrypted = ("--set", "memory.encrypt=true")
    perslm(*encrypted, "memory", "add", "The bicycle is green.")
    perslm(*encrypted, "memory", "backup")
    file = tmp_path / "data/memory.db"
    if gone == "deleted":
        file.unlink()
    else:
        os.truncate(file, 0)
    told = perslm(*encrypted, "memory", "add", "New.")
    assert (told.code, file.exists()) == (6, gone == "emptied")
    assert "backups/memory-000001.db" in told.err
    assert perslm(*encrypted, "memory", "restore", "--yes").code == 0
    assert "bicycle" in perslm(*encrypted, "memory", "list").out


def test_without_a_backup_the_message_says_so_and_a_file_of_ones_own_can_be_restored(
    perslm: Perslm, tmp_path: Path
) -> None:
    perslm("memory", "add", "The bicycle is green.")
    own = tmp_path / "own.db"
    assert perslm("memory", "backup", str(own)).code == 0
    assert perslm("memory", "backup", str(own)).code == 3, "it exists"
    damage(tmp_path / "data/memory.db")
    assert "there is no backup in" in perslm("memory", "list").err
    assert perslm("memory", "restore", "--yes").code == 3
    assert perslm("memory", "restore", str(own), "--yes").code == 0
    assert "bicycle" in perslm("memory", "list").out


def test_what_is_forgotten_is_not_in_the_backups_either(perslm: Perslm, tmp_path: Path) -> None:
    perslm("memory", "add", "The code is Zanthopolis.")
    perslm("memory", "backup")
    assert perslm("memory", "forget", "Zanthopolis").code == 0
    for file in (tmp_path / "data").rglob("*"):
        assert not file.is_file() or b"anthopolis" not in file.read_bytes(), file
