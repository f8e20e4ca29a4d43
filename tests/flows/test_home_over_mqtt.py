"""The home in words on a real broker: a sentence over MQTT works a device once, and tells what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mosquitto
from daemon_child import daemon
from house import House
from perslm_daemon.bench_house import make_house

pytestmark = pytest.mark.usefixtures("small_gguf")
NODE = "perslm/kitchen"


def asked(client: mosquitto.Client, text: str, **more: Any) -> dict[str, Any]:
    client.publish(f"{NODE}/request/ask", json.dumps({"text": text, **more}))
    answer = client.next_json(f"{NODE}/response/ask")
    assert answer["status"] == "ok", answer
    data: dict[str, Any] = answer["data"]
    return data


def event(client: mosquitto.Client, event_type: str) -> dict[str, Any]:
    while True:
        told = client.next_json(f"{NODE}/event")
        if told["event_type"] == event_type:
            return told


def test_a_sentence_works_a_device_once_and_its_event_tells_slots_targets_and_outcome(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "data").mkdir()
    with mosquitto.running(tmp_path / "broker") as broker:
        house = House(broker.port, make_house(seed=3, areas=2, entities=40))
        house.announce()
        client = mosquitto.Client(broker.port, (f"{NODE}/#",))
        events = mosquitto.Client(broker.port, (f"{NODE}/event",))
        with daemon(tmp_path / "data", broker.url, home__area="Kitchen"):
            client.until(f"{NODE}/state", b'{"state": "online"}')
            while json.loads(client.next(f"{NODE}/home").payload)["devices"] < 20:
                pass
            house.send(list(house.sim.reports()))
            said = asked(client, "turn on the kitchen ceiling light", transaction="once")
            assert said["text"] == "The kitchen ceiling light is on."
            assert (said["model"], said["intent"]["name"], said["intent"]["outcome"]) == ("", "turn_on", "done")
            told = event(events, "intent")
            assert told["targets"] == said["intent"]["targets"]
            assert (told["name"], told["slots"]) == ("turn_on", {"target": "the kitchen ceiling light"})
            again = asked(client, "turn on the kitchen ceiling light", transaction="once")
            assert again["turn"] == said["turn"]
            assert house.counted["zigbee2mqtt/kitchen_ceiling_light/set"] == 1
            both = asked(client, "dim the light to 30 percent and close the blind", transaction="two")
            assert both["text"].endswith("The kitchen blind is closed.")
            assert [event(events, "intent")["name"] for _ in range(2)] == ["set_brightness", "close"]
            unlocked = asked(client, "what is the capital of Italy?", transaction="three")
            assert unlocked["intent"] is None
        events.close()
        client.close()
        house.close()
