"""SIGTERM in every state: a clean end, `offline` where a broker can hear it, and nobody who is slow is waited for.

The order is 2 s on an idle machine; the bound here is for one that computes beside it. With -s the times are
shown. Idle and with a broker of its own: test_serve.py and test_daemon_over_mqtt.py.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import mosquitto
from daemon_child import COMMAND, daemon, settings_of
from notify_socket import service_manager

pytestmark = pytest.mark.usefixtures("small_gguf")

ROOT = "perslm/kitchen"
MOST_S = 6.0
STORY = json.dumps({"text": "Tell me a very long story about a cat and a dog.", "transaction": "s"})
LONG = json.dumps({"text": "The cat sat on the mat and the dog on the log. " * 120, "transaction": "s"})


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


def stopped(child: subprocess.Popen[str], state: str) -> str:
    """End it; returns what it wrote to standard error."""
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    _, errors = child.communicate(timeout=60)
    took_s = time.monotonic() - began
    print(f"SIGTERM while {state}: {took_s:.2f} s")  # noqa: T201 - shown with -s
    assert child.returncode == 0, errors
    assert "Traceback" not in errors
    assert took_s < MOST_S
    return errors


def test_while_it_starts(tmp_path: Path) -> None:
    with service_manager(f"{tmp_path}/notify") as manager:
        child = subprocess.Popen(
            [*COMMAND, "--data-dir", str(tmp_path / "data"), *settings_of("")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NOTIFY_SOCKET": manager.address},
        )
        manager.until("STATUS=Starting the engines")
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        out, errors = child.communicate(timeout=60)
    print(f"SIGTERM while starting: {time.monotonic() - began:.2f} s")  # noqa: T201 - as above
    assert (child.returncode, out) == (0, ""), errors
    assert "Traceback" not in errors
    assert time.monotonic() - began < MOST_S


@pytest.mark.parametrize(("state", "asked"), [("reading a prompt", LONG), ("writing a reply", STORY)])
def test_while_it_works(
    tmp_path: Path, broker: mosquitto.Broker, home: mosquitto.Client, state: str, asked: str
) -> None:
    with daemon(tmp_path / "data", broker.url, model__max_reply_tokens="400") as child:
        home.until(f"{ROOT}/state", b'{"state": "online"}')
        home.publish(f"{ROOT}/request/ask", asked)
        home.until(f"{ROOT}/activity", b"processing")
        if asked == STORY:
            home.next(f"{ROOT}/reply/s")
        stopped(child, state)
        heard = home.all()
        assert b'{"state": "offline"}' in [one.payload for one in heard if one.topic == f"{ROOT}/state"]
        answers = [json.loads(one.payload) for one in heard if one.topic == f"{ROOT}/response/ask"]
        assert len(answers) == 1, "what was under way is answered too"


def test_while_the_broker_is_frozen_and_a_client_of_the_socket_reads_nothing(
    tmp_path: Path, broker: mosquitto.Broker
) -> None:
    with daemon(tmp_path / "data", broker.url) as child, closing(socket.socket(socket.AF_UNIX)) as deaf:
        deaf.connect(str(tmp_path / "data/control.sock"))
        deaf.sendall(b'{"verb": "status"}\n' * 200)
        assert broker.process is not None
        broker.process.send_signal(signal.SIGSTOP)
        try:
            stopped(child, "the broker is frozen and a client is deaf")
        finally:
            broker.process.send_signal(signal.SIGCONT)
