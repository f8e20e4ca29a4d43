"""The support bundle: what is planted everywhere is in none of its bytes, and would be found if it were."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from perslm_daemon.config import Flags, load
from perslm_daemon.stores import open_memory
from perslm_daemon.support import names_of_ours, write
from perslm_daemon.support_words import Vocabulary, log_words, plain, traceback_lines, words_of
from perslm_runtime.errors import InputError

# A name, a sentence, a password, a token, an address and a folder: one in each place where a bundle looks.
PLANTED = ("Ingeborg", "lighthouse", "correct-horse-7731", "hunter2", "127.77.77.3", "annas-kitchen", "58213")
CONFIG = """node = "annas-kitchen"
[mqtt]
broker = "mqtt://hunter2@127.77.77.3:58213"
password = "correct-horse-7731"
[wake]
words = ["hey_jarvis"]
[model]
threads = 2
system_prompt = "You belong to Ingeborg of the lighthouse."
"""
CRASH = """Traceback (most recent call last):
  File "/home/Ingeborg/perslm_daemon/turn.py", line 12, in answer
    say("the lighthouse of Ingeborg")
ValueError: hunter2 is not the lighthouse
"""


@pytest.fixture(scope="module")
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One machine for all of this file."""
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(scope="module")
def bundle(tmp_path: Path) -> Path:
    """A bundle of a machine with planted words in its configuration, memory, journal and a crash.

    The command itself writes it, with a `journalctl` that prints the planted journal.
    """
    data = tmp_path / "Ingeborg"
    data.mkdir()
    file = tmp_path / "perslm.toml"
    file.write_text(CONFIG)
    (data / "perslm-crash-1.log").write_text(CRASH)
    (data / "lighthouse.txt").write_text("Ingeborg")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "journalctl").write_text(f"#!/bin/sh\ncat {tmp_path}/journal\n")
    (programs / "journalctl").chmod(0o755)
    said = [
        "2026-01-31T12:00:00.000+01:00 info turn source=mqtt heard_chars=21 first_token_ms=310 model=Ingeborg",
        "online node=annas-kitchen verbs=9",
        'mirror_refused url=https://hunter2@127.77.77.3/ reason="the lighthouse of Ingeborg"',
        "somebody wrote print(words): Ingeborg keeps the lighthouse, PIN 58213, correct-horse-7731",
    ]
    lines = [
        json.dumps({"MESSAGE": text, "PRIORITY": "6", "__REALTIME_TIMESTAMP": "1700000000000000"}) for text in said
    ]
    (tmp_path / "journal").write_text("\n".join(lines) + "\n")
    memory = open_memory(load(Flags(data_dir=data, config_file=file), environ={}))
    memory.remember_fact("Ingeborg keeps the lighthouse")
    memory.close()
    target = tmp_path / "bundle.tar.gz"
    argv = [sys.executable, "-c", "from perslm_daemon.cli import main; main()", "--json", "--data-dir", data]
    done = subprocess.run(
        [*argv, "--config", file, "doctor", "--bundle", "--to", target],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PERSLM_MODELS_DIR": str(data / "models"),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        },
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"file": str(target)}
    return target


def texts(bundle: Path) -> dict[str, str]:
    with tarfile.open(bundle) as archive:
        return {
            member.name.removeprefix("perslm-support/"): (archive.extractfile(member) or io.BytesIO())
            .read()
            .decode()
            for member in archive
        }


def test_nothing_that_was_planted_is_in_it(bundle: Path) -> None:
    found = texts(bundle)
    everything = "\n".join((*found, *found.values()))
    assert [word for word in PLANTED if word.lower() in everything.lower()] == []


def test_what_was_planted_would_be_found(bundle: Path, tmp_path: Path) -> None:
    raw = CONFIG + CRASH + (tmp_path / "journal").read_text()
    assert [word for word in PLANTED if word not in raw] == []
    assert any(b"lighthouse" in path.read_bytes() for path in (tmp_path / "Ingeborg").glob("memory.db*")), (
        "the memory is plain here, so a bundle that copied it would show"
    )


def test_it_says_what_helps(bundle: Path) -> None:
    found = texts(bundle)
    assert json.loads(found["config.json"])["model.threads"] == {"value": 2, "from": "a file or an option"}
    assert json.loads(found["config.json"])["mqtt.password"]["value"] == "(8 characters)"
    checks = {one["name"]: one for one in json.loads(found["doctor.json"])}
    assert {"python", "disk for data", "processor"} <= set(checks)
    assert " GB free at" in checks["disk for data"]["found"]
    assert "turn source=mqtt heard_chars=21 first_token_ms=310 model=…\n" in found["log.txt"]
    assert "online node=… verbs=9" in found["log.txt"]
    assert "perslm_daemon/turn.py:12 answer\n  ValueError\n" in found["crashes.txt"]
    assert json.loads(found["files.json"])["0"]["memory.db (kB)"] > 0
    assert "typer " in found["packages.txt"]
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_not_written_over(bundle: Path, tmp_path: Path) -> None:
    before = bundle.read_bytes()
    with pytest.raises(InputError, match="--to"):
        write(load(Flags(data_dir=tmp_path, config_file=Path(os.devnull)), environ={}), bundle)
    assert bundle.read_bytes() == before


def test_a_line_keeps_our_words_and_figures(tmp_path: Path) -> None:
    source = tmp_path / "own.py"
    source.write_text('yield f"{free} MB are free on {name}; see what it says"\n')
    vocabulary = Vocabulary(words_of((source, tmp_path / "missing.py")), frozenset({"whisper-tiny.en"}))
    assert vocabulary.line("812 MB are free on /home/anna; see Anna's whisper-tiny.en") == (
        "812 MB are free on … see … whisper-tiny.en"
    )
    assert vocabulary.line("call 0049301234567890") == "…", "a number so long is somebody's"


def test_of_the_log_only_the_calls_words_count(tmp_path: Path) -> None:
    source = tmp_path / "own.py"
    source.write_text(
        'SECRET = "lighthouse"\nlog.warning("mirror_refused url=%s", url)\nevent(log, "turn", recall_ms=1)\n'
    )
    assert log_words((source,)) == {"mirror_refused", "url", "s", "turn", "recall_ms"}


def test_of_a_traceback_places_are_kept_and_no_message() -> None:
    assert traceback_lines(CRASH) == ["perslm_daemon/turn.py:12 answer", "ValueError"]
    assert (
        traceback_lines("perslm_runtime.errors.BundleRefused: x of hunter2")[0]
        == "perslm_runtime.errors.BundleRefused"
    )


def test_values_pass_by_what_they_are() -> None:
    names = names_of_ours()
    assert plain({"a": ["smollm2-135m-q4_1", "Anna", 3, True, None, Path("/x")]}, names) == {
        "a": ["smollm2-135m-q4_1", "(4 characters)", 3, True, None, "(PosixPath)"]
    }
