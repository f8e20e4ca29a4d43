"""The whole daemon as a process on a real broker: what a home sees of it, from its birth to its last will."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mosquitto
from daemon_child import COMMAND, daemon

pytestmark = pytest.mark.usefixtures("small_gguf")


def test_a_home_asks_commands_and_loses_the_daemon_over_mqtt(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    with mosquitto.running(tmp_path / "broker") as broker:
        home = mosquitto.Client(broker.port, ("perslm/kitchen/#", "homeassistant/#"))
        with daemon(tmp_path / "data", broker.url) as child:
            home.until("perslm/kitchen/state", b'{"state": "online"}')
            home.publish(
                "perslm/kitchen/request/remember", '{"text": "The key is under the pot.", "transaction": "a"}'
            )
            kept = home.next_json("perslm/kitchen/response/remember")
            assert (kept["status"], kept["transaction"]) == ("ok", "a")
            home.publish("perslm/kitchen/request/ask", '{"text": "Where is the key?", "transaction": "b"}')
            heard = home.next_json("perslm/kitchen/event")
            assert heard == {"event_type": "heard", "text": "Where is the key?"}
            first = home.next_json("perslm/kitchen/reply/b")
            assert (first["seq"], first["final"]) == (0, False)
            answer = home.next_json("perslm/kitchen/response/ask")
            assert "pot" in answer["data"]["text"]
            assert answer["data"]["recalled"][0]["text"] == "The key is under the pot."
            home.publish("perslm/kitchen/request/ask", "{broken")
            assert "no valid JSON" in home.next_json("perslm/kitchen/response/ask")["error"]
            home.publish("perslm/kitchen/memory/set", "OFF")
            home.until("perslm/kitchen/memory", b"OFF")
            told = mosquitto.Client(broker.port, ("homeassistant/device/perslm_kitchen/config",))
            announced = told.next_json()
            assert {"device", "origin", "components"} <= set(announced)
            told.close()
            began = time.monotonic()
            child.send_signal(signal.SIGTERM)
            home.until("perslm/kitchen/state", b'{"state": "offline"}')
            _, errors = child.communicate(timeout=10)
            assert child.returncode == 0, errors
            assert time.monotonic() - began < 5, "2 s on an idle machine; other tests may compute beside it"
        with daemon(tmp_path / "data", broker.url) as child:
            home.until("perslm/kitchen/state", b'{"state": "online"}')
            child.kill()
            home.until("perslm/kitchen/state", b'{"state": "offline"}')
        home.close()


def test_the_daemon_brings_its_own_broker_and_ends_it(tmp_path: Path) -> None:
    with daemon(tmp_path / "data", "own") as child:
        status = subprocess.run(
            [*COMMAND[:3], "--data-dir", str(tmp_path / "data"), "--json", "status"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert json.loads(status.stdout)["node"] == "kitchen", status.stderr
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=10)
    assert child.returncode == 0, errors
    assert "Traceback" not in errors


def test_a_daemon_without_a_broker_joins_the_one_that_announces_itself(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    child = Path(__file__).parents[1] / "discovery_child.py"
    with mosquitto.running(tmp_path / "broker") as broker:
        home = mosquitto.Client(broker.port, ("perslm/kitchen/state",))
        announcing = subprocess.Popen(
            [sys.executable, str(child), "broker", f"a-{tmp_path.name}", str(broker.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert announcing.stdout is not None
            assert "announced" in announcing.stdout.readline()
            found = {"discovery__enabled": "true", "discovery__interfaces": "loopback"}
            with daemon(tmp_path / "data", "", **found):
                home.until("perslm/kitchen/state", b'{"state": "online"}')
        finally:
            announcing.communicate(timeout=10)
        home.close()
