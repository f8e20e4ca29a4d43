"""The whole daemon as a process on a real broker: what a home sees of it, from its birth to its last will."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import mosquitto
from daemon_child import COMMAND, daemon
from perslm_daemon.broker import free_port, prepare, tell_running
from perslm_daemon.broker_file import BrokerFile, child_place
from perslm_daemon.broker_users import Role, Users
from perslm_daemon.config import Flags, load
from perslm_daemon.doctor import check_broker
from perslm_daemon.findings import Finding, Verdict

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


def asked_by_the_doctor(data_dir: Path) -> Finding:
    """What `perslm doctor` finds of the broker that a running daemon uses."""
    (finding,) = check_broker(load(Flags(data_dir, "dev"), environ={}))
    return finding


def test_everybody_connected_hears_offline_before_the_daemon_ends_its_own_broker(tmp_path: Path) -> None:
    port = free_port()
    with daemon(tmp_path / "data", "own", mqtt__own_port=str(port)) as child:
        listening = [mosquitto.Client(port, ("perslm/kitchen/state",), comes_back=False) for _ in range(8)]
        for client in listening:
            client.until("perslm/kitchen/state", b'{"state": "online"}')
            client.on_lost(partial(client.arrived.put, None))
        assert asked_by_the_doctor(tmp_path / "data").verdict is Verdict.OK
        child.send_signal(signal.SIGTERM)
        for client in listening:
            heard = list(iter(partial(client.arrived.get, timeout=mosquitto.WAIT_S), None))
            assert [message.payload for message in heard][-1:] == [b'{"state": "offline"}']
        _, errors = child.communicate(timeout=10)
    assert child.returncode == 0, errors
    for client in listening:
        client.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[mosquitto.Broker]:
    """perslm-broker.service by its own files, as a process that is nobody's child here; ana may use it."""
    place = child_place(tmp_path / "service")
    users = Users(place.folder, "perslm", "kitchen")
    users.put("ana", "anas", drawn=True)
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/mqtt_password").write_text("the daemon's\n")
    (tmp_path / "unused").mkdir()
    broker = mosquitto.Broker(tmp_path / "unused")
    prepare(place, BrokerFile(place.folder, broker.port, user="root"), users, "the daemon's", drawn=True)
    broker.conf = place.conf
    broker.start()
    yield broker
    broker.stop()


def test_the_service_outlives_a_killed_daemon_and_says_so_to_whoever_comes(
    tmp_path: Path, service: mosquitto.Broker
) -> None:
    ana = {"username": "ana", "password": "anas"}
    home = mosquitto.Client(service.port, ("perslm/kitchen/#",), **ana)
    secret = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    lan = {"mqtt__own": "service", "mqtt__own_host": "0.0.0.0", "mqtt__own_port": str(service.port)}  # noqa: S104 - of the file
    with daemon(tmp_path / "data", "own", secret, **lan) as child:
        home.until("perslm/kitchen/state", b'{"state": "online"}')
        home.publish("perslm/kitchen/as/ana/request/remember", "The key is under the pot.")
        assert home.next_json("perslm/kitchen/response/remember")["status"] == "ok", "the broker binds her name"
        finding = asked_by_the_doctor(tmp_path / "data")
        assert finding.verdict is Verdict.OK
        assert "as perslm, with a password" in finding.found
        usurper = mosquitto.Client(service.port, identifier="perslm-kitchen", **ana)
        home.publish("perslm/kitchen/request/status")
        assert home.next_json("perslm/kitchen/response/status")["status"] == "ok"
        usurper.close()
        home.forget()
        child.kill()
        home.until("perslm/kitchen/state", b'{"state": "offline"}')
    home.close()
    late = mosquitto.Client(service.port, ("perslm/kitchen/state",), **ana)
    message = late.next()
    assert (message.payload, message.retain) == (b'{"state": "offline"}', True)
    late.close()


def test_a_second_node_works_and_is_asked_with_rights_of_its_own(
    tmp_path: Path, service: mosquitto.Broker
) -> None:
    users = Users(tmp_path / "service/broker", "perslm", "kitchen")
    users.put("ha", "has", Role.HUB, drawn=True)
    users.put("attic", "attics", Role.NODE, drawn=True)
    assert tell_running(child_place(tmp_path / "service"))
    second = {"node": "attic", "mqtt__password": "attics", "mqtt__identities": "true"}
    url = f"mqtt://attic@127.0.0.1:{service.port}"
    ana = mosquitto.Client(service.port, ("perslm/attic/#",), username="ana", password="anas")  # noqa: S106 - the test's
    with daemon(tmp_path / "data", url, **second):
        ana.until("perslm/attic/state", b'{"state": "online"}')
        home = mosquitto.Client(service.port, ("homeassistant/device/#",), username="ha", password="has")  # noqa: S106 - the test's
        assert home.next().topic == "homeassistant/device/perslm_attic/config"
        ana.publish("perslm/attic/as/ana/request/remember", "The key is under the pot.")
        assert ana.next_json("perslm/attic/response/remember")["status"] == "ok"
        home.close()
    ana.until("perslm/attic/state", b'{"state": "offline"}')
    ana.close()


def test_a_port_that_is_taken_is_told_and_the_daemon_goes_on_without_mqtt(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    with (
        mosquitto.running(tmp_path / "broker") as broker,
        daemon(tmp_path / "data", "own", mqtt__own_port=str(broker.port)) as child,
    ):
        home = mosquitto.Client(broker.port, ("perslm/#",))
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=10)
        assert home.all(0.1) == [], "it is not ours"
        home.close()
    assert f"port {broker.port} of 127.0.0.1 is taken" in errors
    assert child.returncode == 0


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


def test_a_house_without_a_broker_gets_ours(tmp_path: Path) -> None:
    found = {"discovery__enabled": "true", "discovery__interfaces": "loopback"}
    with daemon(tmp_path / "data", "", **found) as child:
        told: dict[str, str] = {}
        deadline = time.monotonic() + 30
        while "broker" not in told and time.monotonic() < deadline:
            status = subprocess.run(
                [*COMMAND[:3], "--data-dir", str(tmp_path / "data"), "--json", "status"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            told = json.loads(status.stdout)
            time.sleep(0.1)
        home = mosquitto.Client(
            int(told["broker"].rpartition(":")[2]), ("perslm/kitchen/state",), comes_back=False
        )
        home.until("perslm/kitchen/state", b'{"state": "online"}')
        child.send_signal(signal.SIGTERM)
        home.until("perslm/kitchen/state", b'{"state": "offline"}')
        _, errors = child.communicate(timeout=15)
        assert child.returncode == 0, errors
        home.close()
