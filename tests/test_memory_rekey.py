"""A new key, the first key, and no key any more: for the memory and all its copies, through any interruption."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from command_line import Ended, environment
from memories import KEY, other_process, raw_bytes, vector
from perslm_daemon import cli
from perslm_runtime.errors import MemoryDamaged, MemoryStoreError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_backup import back_up
from perslm_runtime.memory_files import folder_of
from perslm_runtime.memory_rekey import rekey

OTHER = bytes(range(100, 132))


def filled(path: Path, key: bytes | None) -> tuple[list[str], list[Path]]:
    """What an export of it holds, and every file: the memory, a backup, one put aside."""
    with closing(Memory(path, key=key)) as memory:
        for number in range(20):
            memory.remember_turn(f"zanthopolis {number}", "yes", conversation="c", vector=vector(number))
        saved = back_up(memory, folder_of(path))
        aside = path.with_name("memory.db.damaged-1")
        memory.backup(aside)
        return list(memory.export_lines(vectors=True)), [path, saved, aside]


@pytest.mark.parametrize(("old", "new"), [(KEY, OTHER), (None, KEY), (KEY, None)], ids=["new", "first", "none"])
def test_every_file_gets_the_new_key_and_keeps_what_it_holds(
    tmp_path: Path, old: bytes | None, new: bytes | None
) -> None:
    path = tmp_path / "memory.db"
    lines, files = filled(path, old)
    assert rekey(path, old, new) == files
    for file in files:
        with closing(Memory(file, key=new, is_copy=True)) as memory:
            assert list(memory.export_lines(vectors=True)) == lines
            memory.check()
        assert (b"anthopolis" in raw_bytes(file)) is (new is None)
        assert file.stat().st_mode & 0o077 == 0
        with pytest.raises(MemoryStoreError):
            Memory(file, key=old or OTHER, is_copy=True)
    assert rekey(path, old, new) == [], "done again, nothing is left to do"
    assert not list(tmp_path.rglob(".*"))


def test_what_was_interrupted_goes_on_when_done_again(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    lines, files = filled(path, KEY)
    rekey(files[1], KEY, OTHER)  # as if the power had gone after one of the files
    path.with_name(".memory.db-rekeying.new").write_bytes(b"half a copy")
    assert rekey(path, KEY, OTHER) == [files[0], files[2]]
    with closing(Memory(path, key=OTHER)) as memory:
        assert list(memory.export_lines(vectors=True)) == lines


def test_a_wrong_key_changes_nothing_and_a_user_is_named(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    _, files = filled(path, KEY)
    before = [file.read_bytes() for file in files]
    with pytest.raises(MemoryDamaged, match="neither"):
        rekey(path, OTHER, bytes(32))
    assert [file.read_bytes() for file in files] == before
    plain = tmp_path / "plain" / "memory.db"
    Memory(plain).close()
    with other_process(plain, "open") as child, pytest.raises(MemoryStoreError, match=str(child.pid)):
        rekey(plain, None, KEY)


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


def test_the_command_encrypts_changes_and_decrypts(perslm: Perslm, tmp_path: Path) -> None:
    encrypted = ("--set", "memory.encrypt=true")
    file, key = tmp_path / "data/memory.db", tmp_path / "data/memory.key"
    assert perslm("memory", "rekey").code == 6, "there is none yet"
    assert perslm("memory", "add", "The bicycle is green.").code == 0
    assert "rekey" in perslm(*encrypted, "memory", "list").err, "it says what to do"
    assert perslm(*encrypted, "memory", "rekey").code == 0
    first = key.read_text()
    assert b"bicycle" not in raw_bytes(file)
    assert "bicycle" in perslm(*encrypted, "memory", "list").out
    assert "encrypted with a new key" in perslm(*encrypted, "memory", "rekey").out
    assert key.read_text() != first
    key.rename(key.with_name("memory.key.new"))  # the power went before the key file's last rename
    key.write_text(first)
    told = perslm(*encrypted, "memory", "list")
    assert (told.code, "finish it with `perslm memory rekey`" in told.err) == (6, True)
    assert perslm(*encrypted, "memory", "rekey").code == 0
    assert "bicycle" in perslm(*encrypted, "memory", "list").out
    assert "not encrypted any more" in perslm("memory", "rekey").out
    assert b"bicycle" in raw_bytes(file)
    assert "bicycle" in perslm("memory", "list").out
