"""PersLM as its users install it: on a Debian of its own, started by a real systemd, asked over its broker."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from systemd_machine import Machine, booted, debian

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ASK = """
import queue, sys
import paho.mqtt.client as paho
heard = queue.Queue()
client = paho.Client(paho.CallbackAPIVersion.VERSION2)
if len(sys.argv) > 1:
    client.username_pw_set(*sys.argv[1:])
client.on_connect = lambda *told: (client.subscribe("perslm/home/response/#", 1), heard.put(str(told[3])))
client.on_subscribe = lambda *_: client.publish("perslm/home/request/ask", "What is the capital of Italy?", 1)
client.on_message = lambda _client, _data, message: heard.put(message.payload.decode())
client.connect("127.0.0.1", 1883)
client.loop_start()
print(heard.get(timeout=60))
if len(sys.argv) > 1:
    print(heard.get(timeout=60))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return debian(tmp_path_factory.mktemp("debian"))


@pytest.fixture
def machine(root: Path) -> Iterator[Machine]:
    with booted(root) as one:
        one.until("perslm", "ActiveState", "active")
        yield one


def ask(machine: Machine, *user: str) -> str:
    """What a client on that machine's loopback is told, with a user's name and password or without."""
    told = subprocess.run(
        ["nsenter", "-t", str(machine.pid), "-n", sys.executable, "-c", ASK, *user],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_it_starts_with_the_machine_and_comes_back_from_a_kill_and_from_a_freeze(machine: Machine) -> None:
    assert "answers" in machine.show("perslm", "StatusText")
    warned = machine.run("journalctl", "-b", "--no-pager", "-o", "cat")
    assert "Unknown key" not in warned, "the backoff is for a systemd that knows it"
    for signal in ("KILL", "STOP"):  # the second ends when the watchdog's 30 s are over
        before = machine.show("perslm", "MainPID")
        restarts = int(machine.show("perslm", "NRestarts"))
        machine.run("kill", f"-{signal}", before)
        machine.until("perslm", "NRestarts", str(restarts + 1))
        machine.until("perslm", "ActiveState", "active")
        assert machine.show("perslm", "MainPID") != before
    machine.run("systemctl", "reload", "perslm")
    machine.until("perslm", "ActiveState", "active")
    machine.run("systemctl", "stop", "perslm")
    assert machine.show("perslm", "Result") == "success"


def test_a_house_asks_it_with_a_password_and_after_the_power_was_gone(root: Path) -> None:
    with booted(root) as machine:
        machine.until("perslm", "ActiveState", "active")
        machine.run("/opt/perslm/bin/perslm", "broker", "listen", "0.0.0.0", "--service")  # noqa: S104 - of a namespace
        said = machine.run("/opt/perslm/bin/perslm", "broker", "user", "ha", "--hub", "--generate", "--service")
        (password,) = re.findall(r"^password\s+(\S+)$", said, re.MULTILINE)
        machine.until("perslm", "ActiveState", "active")
        assert "Rome" in ask(machine, "ha", password)
        assert "Not authorized" in ask(machine)
    with booted(root) as machine:  # nobody stopped anything in an orderly way
        machine.until("perslm", "ActiveState", "active")
        assert "Rome" in ask(machine, "ha", password)


@pytest.mark.parametrize("unit", ["perslm", "perslm-broker"])
def test_a_running_unit_is_exposed_by_two_at_most(machine: Machine, unit: str) -> None:
    machine.until(unit, "ActiveState", "active")
    (level,) = re.findall(r"exposure level for \S+: ([0-9.]+)", machine.run("systemd-analyze", "security", unit))
    assert float(level) <= 2.0
