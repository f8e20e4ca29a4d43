"""Commands for another time on a real broker with a simulated house: done when due, after a restart, or never."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mosquitto
from daemon_child import daemon
from flows.test_home_over_mqtt import asked, event
from house import House
from perslm_daemon.bench_devices import Sent, SimDevice, SimHouse
from perslm_daemon.bench_house import make_house

pytestmark = pytest.mark.usefixtures("small_gguf")
NODE = "perslm/kitchen"
LIGHT, PLUG = "zigbee2mqtt/kitchen_ceiling_light/set", "zigbee2mqtt/kitchen_plug/set"


def locked_house() -> SimHouse:
    """A house with a front door, whose lock says what it did."""
    house = make_house(seed=3, areas=2, entities=40)
    config = {"name": "Front Door", "unique_id": "fd", "command_topic": "fd/set", "state_topic": "fd/state"}
    house.announcements.append(Sent("homeassistant/lock/fd/config", json.dumps(config), True))

    def take(payload: str) -> list[Sent]:
        return [Sent("fd/state", f"{payload}ED", True)]

    def report() -> list[Sent]:
        return [Sent("fd/state", "LOCKED", True)]

    house.devices.append(SimDevice("front door", "lock", "homeassistant", {"fd/set": take}, report))
    return house


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + mosquitto.WAIT_S
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def timers(client: mosquitto.Client, **arguments: Any) -> list[dict[str, Any]]:
    client.publish(f"{NODE}/request/timer", json.dumps({"action": "list", **arguments}))
    answer = client.next_json(f"{NODE}/response/timer")
    assert answer["status"] == "ok", answer
    found: list[dict[str, Any]] = answer["data"]["timers"]
    return found


def known(client: mosquitto.Client, house: House) -> None:
    client.until(f"{NODE}/state", b'{"state": "online"}')
    while json.loads(client.next(f"{NODE}/home").payload)["devices"] < 21:
        pass
    house.send(list(house.sim.reports()))


def ended(client: mosquitto.Client, event_type: str = "timer_finished") -> dict[str, Any]:
    while (told := event(client, event_type))["kind"] != "command":
        pass
    return told


def test_plans_are_done_when_due_over_a_restart_and_a_lock_only_by_a_yes(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "data").mkdir()
    with mosquitto.running(tmp_path / "broker") as broker:
        house = House(broker.port, locked_house())
        house.announce()
        client = mosquitto.Client(broker.port, (f"{NODE}/#",))
        events = mosquitto.Client(broker.port, (f"{NODE}/event",))
        with daemon(tmp_path / "data", broker.url, home__area="Kitchen") as child:
            known(client, house)
            said = asked(client, "turn on the kitchen ceiling light in one second", transaction="a")
            assert said["text"] == "I will turn on the kitchen ceiling light in 1 second."
            assert (said["intent"]["name"], said["intent"]["outcome"]) == ("later", "planned")
            assert said["intent"]["slots"] == {"what": "turn on the kitchen ceiling light", "duration": 1}
            assert ended(events)["name"] == "turn on the kitchen ceiling light"
            assert house.counted[LIGHT] == 1
            assert timers(client) == []

            said = asked(client, "unlock the front door in one second", transaction="b")
            assert said["text"] == "Do you really want to unlock the front door in 1 second?"
            assert asked(client, "no", transaction="c")["text"] == "I leave it as it is."
            asked(client, "unlock the front door in one second", transaction="d")
            assert asked(client, "yes", transaction="e")["intent"]["outcome"] == "planned"
            ended(events)
            assert house.commands.count(("fd/set", "UNLOCK")) == 1

            asked(client, "turn on the kitchen plug in two seconds", transaction="f")
            assert asked(client, "what have I planned", transaction="g")["text"].startswith("I will turn on the")
            assert asked(client, "cancel that", transaction="h")["text"] == "I will not turn on the kitchen plug."
            assert timers(client) == []

            said = asked(client, "turn off the kitchen ceiling light in three seconds", transaction="i")
            assert said["intent"]["outcome"] == "planned"
            child.kill()
            client.until(f"{NODE}/state", b'{"state": "offline"}')
        with daemon(tmp_path / "data", broker.url, home__area="Kitchen"):
            until(lambda: house.counted[LIGHT] == 2)
            assert ended(events)["name"] == "turn off the kitchen ceiling light"
            assert house.counted[PLUG] == 0
        events.close()
        client.close()
        house.close()


def test_what_is_too_late_is_missed_what_is_silent_is_told_and_guests_open_nothing(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "data").mkdir()
    with mosquitto.running(tmp_path / "broker") as broker:
        house = House(broker.port, locked_house())
        house.announce()
        client = mosquitto.Client(broker.port, (f"{NODE}/#",))
        events = mosquitto.Client(broker.port, (f"{NODE}/event",))
        with daemon(tmp_path / "data", broker.url, home__area="Kitchen") as child:
            known(client, house)
            asked(client, "turn on the kitchen plug in two seconds", transaction="a")
            child.kill()
            client.until(f"{NODE}/state", b'{"state": "offline"}')
        time.sleep(7.5)  # what is late by less than 5 s is on time
        more = {"timers__late_s": "0", "memory__guests": "true", "home__light_s": "1"}
        with daemon(tmp_path / "data", broker.url, home__area="Kitchen", **more):
            missed = ended(events, "timer_missed")
            assert (missed["why"], missed["off"]) == ("I was off", True)
            client.until(f"{NODE}/state", b'{"state": "online"}')
            (kept,) = timers(client)
            assert (kept["state"], kept["name"]) == ("missed", "turn on the kitchen plug")
            timers(client, action="cancel", id=kept["id"])
            said = asked(client, "unlock the front door in one second", transaction="b")
            assert (said["text"], said["intent"]["outcome"]) == (
                "The front door may not be worked from here.",
                "forbidden",
            )
            house.faults["kitchen ceiling light"] = "never"
            said = asked(client, "turn off the kitchen ceiling light in one second", transaction="c")
            assert said["intent"]["outcome"] == "planned"
            missed = ended(events, "timer_missed")
            assert missed["why"] == "the kitchen ceiling light did not answer"
            told = asked(client, "what is planned", transaction="d")["text"]
            assert told.startswith("I did not turn off the kitchen ceiling light at ")
            assert ("fd/set", "UNLOCK") not in house.commands
            assert house.counted[PLUG] == 0
        events.close()
        client.close()
        house.close()
