"""What happens around the daemon: the name server goes, the disk fills up, the clock jumps by years."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mosquitto
from clock_shim import JumpingClock
from daemon_child import COMMAND, daemon
from perslm_daemon.broker import free_port

pytestmark = pytest.mark.usefixtures("small_gguf")

ROOT = "perslm/kitchen"
TEN_YEARS_S = 315_576_000


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[mosquitto.Broker]:
    (tmp_path / "broker").mkdir()
    with mosquitto.running(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def home(broker: mosquitto.Broker) -> Iterator[mosquitto.Client]:
    made = mosquitto.Client(broker.port, (f"{ROOT}/#",))
    yield made
    made.close()


def asked(home: mosquitto.Client, verb: str, **arguments: Any) -> dict[str, Any]:
    home.publish(f"{ROOT}/request/{verb}", json.dumps(arguments))
    return home.next_json(f"{ROOT}/response/{verb}")


def retained(broker: mosquitto.Broker) -> set[str]:
    """The topics that whoever comes to the broker now is told of."""
    late = mosquitto.Client(broker.port, ("perslm/#", "homeassistant/#"))
    found = {message.topic for message in late.all(0.5) if message.retain}
    late.close()
    assert {f"{ROOT}/state", f"{ROOT}/info", "homeassistant/device/perslm_kitchen/config"} <= found
    return found


def with_mounts(script: str, *arguments: str) -> list[str]:
    """The daemon's command in a file system of its own, after `script`; skips where that is not allowed."""
    unshare = shutil.which("unshare")
    allowed = unshare and subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False)
    if not allowed or allowed.returncode != 0:
        pytest.skip("this machine allows no namespaces")
    return [str(unshare), "--mount", "sh", "-c", f'{script} && shift {len(arguments)} && exec "$@"', "sh",
            *arguments, *COMMAND]  # fmt: skip


def test_a_name_that_is_unknown_for_a_while_is_waited_for_and_found_again(tmp_path: Path) -> None:
    hosts, port = tmp_path / "hosts", free_port()
    hosts.write_text("")
    command = with_mounts('mount --bind "$1" /etc/hosts && mount --bind /dev/null /etc/resolv.conf', str(hosts))
    (tmp_path / "broker").mkdir()
    with (
        mosquitto.running(tmp_path / "broker", f"listener {port} ::1") as broker,
        daemon(tmp_path / "data", f"mqtt://house.test:{port}", command=command) as child,
    ):
        home = mosquitto.Client(broker.port, (f"{ROOT}/#",))
        hosts.write_text("::1 house.test\n")
        home.until(f"{ROOT}/state", b'{"state": "online"}')
        assert asked(home, "status")["status"] == "ok"  # answers come after everything was published
        home.close()
        before = retained(broker)
        hosts.write_text("")
        broker.stop()  # whoever connects again has to look the name up again
        broker.start()
        home = mosquitto.Client(broker.port, (f"{ROOT}/#",))
        assert home.all(1.0) == [], "nobody finds it"
        hosts.write_text("::1 house.test\n")
        home.until(f"{ROOT}/state", b'{"state": "online"}')
        assert asked(home, "status")["status"] == "ok"
        assert retained(broker) >= before, "this broker kept nothing: all of it was published again"
        home.close()
        child.terminate()
        _, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert "no address is known for house.test: check the name in mqtt.broker and the DNS" in errors


def test_a_full_disk_is_told_and_is_over_when_there_is_room(
    tmp_path: Path, broker: mosquitto.Broker, home: mosquitto.Client
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    command = with_mounts('mount -t tmpfs -o size=64m tmpfs "$1"', str(data))
    with daemon(data, broker.url, command=command) as child:
        home.until(f"{ROOT}/state", b'{"state": "online"}')
        seen = Path(f"/proc/{child.pid}/root{data}")
        assert asked(home, "remember", text="The key is under the pot.", transaction="d1")["status"] == "ok"
        fill(seen / "fill")
        refused = asked(home, "remember", text="The cat is out.", transaction="d2")
        assert re.search(r"make room on the disk|no space is left .*: free some", refused["error"])
        assert asked(home, "status")["status"] == "ok"
        assert asked(home, "recall", text="key")["data"]["memories"][0]["text"] == "The key is under the pot."
        (seen / "fill").unlink()
        assert asked(home, "remember", text="The cat is out.", transaction="d3")["status"] == "ok"
        assert len(asked(home, "recall", text="cat")["data"]["memories"]) == 1
        child.terminate()
        _, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert "Traceback" not in errors


def fill(path: Path) -> None:
    """Write until nothing fits any more, not even a byte into a page that is there."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 20, 4096, 1):
            while True:
                os.write(file, b"x" * size)
    except OSError:
        pass
    finally:
        os.close(file)


def test_a_clock_that_jumps_by_years_changes_no_answer_no_timer_and_no_memory(
    tmp_path: Path, broker: mosquitto.Broker, home: mosquitto.Client
) -> None:
    clock = JumpingClock(tmp_path / "clock")
    with daemon(tmp_path / "data", broker.url, clock.environ) as child:
        home.until(f"{ROOT}/state", b'{"state": "online"}')
        first = asked(home, "remember", text="The key is under the pot.", transaction="j1")
        asked(home, "timer", action="set", seconds=3600, name="roast")
        for ahead in (TEN_YEARS_S, -TEN_YEARS_S * 5, 0):
            clock.ahead(ahead)
            now = time.time() + ahead
            again = asked(home, "remember", text="The key is under the pot.", transaction="j1")
            assert again == first, "the journal counts running time"
            left = asked(home, "timer", action="list")["data"]["timers"][0]["seconds_left"]
            assert 3500 < left <= 3600, "a timer counts running time"
            old = asked(home, "remember", text="x", sent_at=now - 3600)
            assert "s old and is not carried out" in old["error"], "it is measured by the clock as it is now"
            assert asked(home, "stop", sent_at=now)["status"] == "ok"
            (memory,) = asked(home, "recall", text="key")["data"]["memories"]
            assert memory["when"][:4] in {
                time.strftime("%Y", time.gmtime(time.time() + d)) for d in (-86400, 86400)
            }
            status = asked(home, "status")["data"]
            assert (status["degraded"], status["uptime_s"] < 600) == ([], True)
        assert asked(home, "remember", text="The cat is out.", transaction="j2")["status"] == "ok"
        child.terminate()
        _, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert "Traceback" not in errors
