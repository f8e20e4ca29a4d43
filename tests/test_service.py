from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from notify_socket import Manager
from perslm_daemon.logs import event
from perslm_daemon.service import Journal, Notifier, credential, entry, log_to_journal


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.socket.close()


@pytest.fixture
def notifier(tmp_path: Path, manager: Manager) -> Iterator[Notifier]:
    found = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"})
    yield found
    found.close()


def test_each_step_of_the_start_says_what_it_is_and_asks_for_time(manager: Manager, notifier: Notifier) -> None:
    notifier.step("loading the\nmodel", allow_s=120)
    assert manager.heard() == ["STATUS=loading the model", "EXTEND_TIMEOUT_USEC=120000000"]
    notifier.step("proving it")
    status, extend = manager.heard()
    assert status == "STATUS=proving it"
    assert int(extend.removeprefix("EXTEND_TIMEOUT_USEC=")) >= 240_000_000  # twice a 120-second engine


def test_ready_watchdog_and_stopping_reach_systemd(manager: Manager, notifier: Notifier) -> None:
    notifier.ready("Answers 10 verbs; without stt: no microphone")
    assert manager.heard() == ["READY=1", "STATUS=Answers 10 verbs; without stt: no microphone"]
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]
    notifier.status("Thinking")
    assert manager.heard() == ["STATUS=Thinking"]
    notifier.stopping()
    assert manager.heard() == ["STOPPING=1", "STATUS=Stopping"]


def test_a_reload_tells_its_time_as_newer_systemds_demand(manager: Manager, notifier: Notifier) -> None:
    notifier.reloading()
    reloading, monotonic, _status = manager.heard()
    assert reloading == "RELOADING=1"
    assert int(monotonic.removeprefix("MONOTONIC_USEC=")) > 0


def test_a_socket_in_the_abstract_namespace_is_found() -> None:
    name = f"perslm-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    notifier = Notifier({"NOTIFY_SOCKET": f"@{name}"})
    notifier.alive()
    assert manager.heard() == ["WATCHDOG=1"]
    notifier.close()
    manager.socket.close()


def test_outside_systemd_nothing_is_sent_and_nothing_fails() -> None:
    notifier = Notifier({})
    assert not notifier.listened_to
    assert notifier.watchdog_s is None
    notifier.ready("x")
    notifier.alive()
    notifier.close()


def test_a_manager_that_does_not_read_never_makes_the_daemon_wait(manager: Manager, notifier: Notifier) -> None:
    for _ in range(2000):
        notifier.status("x" * 500)
    assert manager.heard()[0].startswith("STATUS=")


def test_after_close_and_with_a_dead_manager_calls_do_nothing(tmp_path: Path, notifier: Notifier) -> None:
    (tmp_path / "notify").unlink()
    notifier.alive()
    notifier.close()
    notifier.alive()
    assert not notifier.listened_to


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_time_is_read_where_it_is_meant_for_us(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert Notifier(environ).watchdog_s == seconds


def test_a_credential_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").write_text("geheim wort\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert credential("mqtt_password", environ) == "geheim wort"
    assert credential("memory_key", environ) is None
    assert credential("mqtt_password", {}) is None


def test_a_credential_that_was_kept_encrypted_is_read_where_no_plain_one_is(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / "memory_key.sealed").write_text("old")
    assert credential("memory_key", environ) == "old"
    (tmp_path / "memory_key").write_text("new")
    assert credential("memory_key", environ) == "new"


def record(message: str, *args: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("perslm.turn", level, __file__, 7, message, args, None)


def test_a_turns_id_source_and_timings_become_fields() -> None:
    message, fields = entry(record("turn=%s source=%s first_token_ms=%s", "01JA", "mqtt", 210))
    assert message == "turn=01JA source=mqtt first_token_ms=210"
    wanted = {"PERSLM_TURN": "01JA", "PERSLM_SOURCE": "mqtt", "PERSLM_FIRST_TOKEN_MS": "210", "PRIORITY": "6"}
    assert wanted.items() <= fields.items()
    assert entry(record("x", level=logging.ERROR))[1]["PRIORITY"] == "3"


def test_the_fields_of_an_event_become_fields_and_stay_readable(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("test.service")
    with caplog.at_level(logging.INFO, "test.service"):
        event(log, "online", node="kitchen", verbs=9)
    message, fields = entry(caplog.records[0])
    assert message == "online node=kitchen verbs=9"
    assert (fields["PERSLM_NODE"], fields["PERSLM_VERBS"]) == ("kitchen", "9")


def test_where_standard_error_is_not_the_journal_the_log_stays_as_it_is() -> None:
    before = list(logging.getLogger("perslm").handlers)
    assert not log_to_journal({})
    assert not log_to_journal({"JOURNAL_STREAM": "1:1"})
    assert logging.getLogger("perslm").handlers == before


def test_the_module_works_where_systemd_python_is_missing(tmp_path: Path) -> None:
    (tmp_path / "systemd.py").write_text("raise ImportError('no such library here')\n")
    program = (
        "import os\n"
        "from perslm_daemon.service import Notifier, log_to_journal\n"
        "seen = os.fstat(2)\n"
        "print(log_to_journal({'JOURNAL_STREAM': f'{seen.st_dev}:{seen.st_ino}'}), Notifier({}).listened_to)\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout, found.stderr) == ("False False\n", "")


_IN_A_JOURNAL = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd && mount -t tmpfs tmpfs /var/log || exit 77
systemd-journald & pid=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S /run/systemd/journal/socket ] && break; sleep 0.1; done
"$PYTHON" -c 'import logging
from perslm_daemon.service import Journal
log = logging.getLogger("perslm.turn"); log.addHandler(Journal()); log.setLevel(20)
log.info("turn=%s source=%s total_ms=%d", "01JB", "mqtt", 340)'
journalctl --sync 2>/dev/null; sleep 0.3
journalctl -o json PERSLM_TURN=01JB --no-pager; kill $pid
"""


def test_a_turn_is_found_in_a_real_journal_by_its_fields() -> None:
    pytest.importorskip("systemd.journal")
    journald = Path("/lib/systemd/systemd-journald")
    if os.geteuid() != 0 or shutil.which("unshare") is None or not journald.exists():
        pytest.skip("needs root and systemd-journald")
    found = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", _IN_A_JOURNAL],
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PATH": f"{os.environ['PATH']}:{journald.parent}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if found.returncode == 77 or "Operation not permitted" in found.stderr:
        pytest.skip("this machine allows no namespaces")
    (line,) = found.stdout.splitlines()
    seen = json.loads(line)
    assert seen["MESSAGE"] == "turn=01JB source=mqtt total_ms=340"
    assert (seen["PERSLM_SOURCE"], seen["PERSLM_TOTAL_MS"]) == ("mqtt", "340")
    assert seen["SYSLOG_IDENTIFIER"] == "perslm"


def test_a_handler_can_be_made_where_there_is_no_journal_to_hear_it() -> None:
    pytest.importorskip("systemd.journal")
    Journal().emit(record("turn=%s", "01JC"))
