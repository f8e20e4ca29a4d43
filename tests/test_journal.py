from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_daemon.journal import REMEMBERED_S, Accepted, Journal, key_of

ASK = Accepted("k1", "ask", "perslm/_clients/a", b"\x00\xff", "t1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


def test_what_was_accepted_is_known_to_the_next_process(path: Path) -> None:
    journal = Journal(path)
    journal.accept([ASK])
    journal.close()
    again = Journal(path)
    assert again.known("k1")
    assert again.unanswered() == [ASK]
    again.close()


def test_an_answer_is_kept_for_the_next_process(path: Path) -> None:
    journal = Journal(path)
    journal.accept([ASK])
    journal.finish([("k1", "schön".encode())])
    journal.close()
    again = Journal(path)
    assert again.answer("k1") == "schön".encode()
    assert again.unanswered() == []
    again.close()


def test_an_answer_that_the_broker_may_not_have_is_told_to_the_next_process(path: Path) -> None:
    journal = Journal(path)
    journal.accept([ASK, Accepted("k2", "say")])
    journal.finish([("k1", b"one"), ("k2", b"two")])
    journal.deliver(["k2", "never heard of"])
    journal.close()
    again = Journal(path)
    assert again.undelivered() == [(ASK, b"one")]
    again.deliver(["k1"])
    again.close()
    third = Journal(path)
    assert third.undelivered() == []
    assert third.answer("k1") == b"one"
    third.close()


def test_a_request_is_forgotten_after_ten_minutes_and_not_before(path: Path) -> None:
    now = [0.0]
    journal = Journal(path, clock=lambda: now[0])
    journal.accept([ASK])
    now[0] = REMEMBERED_S - 1
    assert journal.known("k1")
    now[0] = REMEMBERED_S + 1
    assert not journal.known("k1")
    journal.close()


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_torn_tail_costs_the_torn_record_alone(path: Path, cut: int) -> None:
    journal = Journal(path)
    journal.accept([ASK])
    journal.accept([Accepted("k2", "say")])
    journal.close()
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal(path)
    assert again.known("k1")
    assert again.damaged == (0 if cut == 1 else 1)  # a line without its end of line is whole
    again.accept([Accepted("k3", "say")])
    again.close()
    last = Journal(path)
    assert last.known("k3")
    assert last.damaged == 0
    last.close()


def test_a_damaged_line_in_the_middle_costs_that_line_alone(path: Path) -> None:
    journal = Journal(path)
    journal.accept([Accepted(f"k{number}", "ask") for number in range(3)])
    journal.close()
    path.write_bytes(path.read_bytes().replace(b'"k1"', b'"x1"'))
    again = Journal(path)
    assert [again.known(f"k{number}") for number in range(3)] == [True, False, True]
    again.close()


@settings(max_examples=40, deadline=None, database=None)
@given(garbage=st.binary(max_size=300))
def test_any_file_can_be_opened(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    file = tmp_path_factory.mktemp("journal") / "journal"
    file.write_bytes(garbage)
    journal = Journal(file)
    assert len(journal) == 0
    journal.close()


def test_the_file_stays_small_when_requests_are_forgotten(path: Path) -> None:
    now = [0.0]
    journal = Journal(path, clock=lambda: now[0], compact_bytes=20_000)
    for number in range(200):
        now[0] = number * 100.0
        journal.accept([Accepted(f"k{number}", "ask")])
        journal.finish([(f"k{number}", b"x" * 500)])
    journal.close()
    assert path.stat().st_size < 25_000
    again = Journal(path)
    assert again.answer("k199") == b"x" * 500
    again.close()


def test_a_request_outlives_a_process_that_is_killed(path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from perslm_daemon.journal import Accepted, Journal\n"
        "journal = Journal(Path(sys.argv[1])); journal.accept([Accepted('k1', 'ask')])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[1]
    env = {"PYTHONPATH": f"{root}/daemon:{root}/runtime"}
    subprocess.run([sys.executable, "-c", program, str(path)], env=env, check=False)
    journal = Journal(path)
    assert journal.unanswered() == [Accepted("k1", "ask")]
    journal.close()


def test_the_file_is_its_owner_s_alone(path: Path) -> None:
    Journal(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_parts_of_a_key_do_not_run_into_each_other() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("a", b"b") == key_of("a", "b")


def test_a_released_request_may_come_again_also_after_a_restart(path: Path) -> None:
    journal = Journal(path)
    journal.accept([ASK])
    journal.release([ASK.key, "never seen"])
    assert not journal.known(ASK.key)
    journal.close()
    again = Journal(path)
    assert not again.known(ASK.key)
    assert again.unanswered() == []
    again.close()


def test_a_closed_journal_says_so(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    with pytest.raises(OSError, match="closed"):
        journal.accept([ASK])


def test_a_record_holds_no_payload(path: Path) -> None:
    journal = Journal(path)
    journal.accept([ASK])
    journal.close()
    assert set(json.loads(path.read_bytes().partition(b" ")[2])) == {
        "key",
        "verb",
        "to",
        "correlation",
        "transaction",
    }
