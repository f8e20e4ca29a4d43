"""Timers as a home sees them on a real broker, through the death and the restart of the daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mosquitto
from flows.test_daemon_over_mqtt import daemon

pytestmark = pytest.mark.usefixtures("small_gguf")
NODE = "perslm/kitchen"


def event(home: mosquitto.Client, event_type: str) -> dict[str, Any]:
    """The next event of a type."""
    while True:
        told = home.next_json(f"{NODE}/event")
        if told["event_type"] == event_type:
            return told


def asked(home: mosquitto.Client, verb: str, arguments: object) -> dict[str, Any]:
    home.publish(f"{NODE}/request/{verb}", json.dumps(arguments))
    answer = home.next_json(f"{NODE}/response/{verb}")
    assert answer["status"] == "ok", answer
    data: dict[str, Any] = answer["data"]
    return data


def test_timers_are_set_ring_are_stopped_and_outlive_kill_9(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    with mosquitto.running(tmp_path / "broker") as broker:
        home = mosquitto.Client(broker.port, (f"{NODE}/#",))
        with daemon(tmp_path / "data", broker.url, timers__pause_s="0.2") as child:
            home.until(f"{NODE}/state", b'{"state": "online"}')
            said = asked(home, "ask", {"text": "Set a pasta timer for one hour.", "transaction": "a"})
            assert said["text"] == "Pasta timer set for 1 hour."
            assert said["intent"] == {"name": "set_timer", "slots": {"name": "pasta", "duration": 3600}}
            (made,) = asked(home, "timer", {"action": "set", "seconds": 1, "name": "egg"})["timers"]
            assert event(home, "timer_ringing")["id"] == made["id"]
            home.publish(f"{NODE}/request/stop")
            assert event(home, "timer_finished")["name"] == "egg"
            (soon,) = asked(home, "timer", {"action": "set", "seconds": 3, "name": "soon"})["timers"]
            child.kill()
            home.until(f"{NODE}/state", b'{"state": "offline"}')
        with daemon(tmp_path / "data", broker.url, timers__pause_s="0.2"):
            rings = event(home, "timer_ringing")
            assert (rings["id"], rings["name"]) == (soon["id"], "soon")
            listed = asked(home, "timer", {"action": "list"})["timers"]
            assert {one["name"]: one["state"] for one in listed} == {"soon": "ringing", "pasta": "running"}
            assert 3000 < next(one for one in listed if one["name"] == "pasta")["seconds_left"] < 3600
            told = mosquitto.Client(broker.port, (f"{NODE}/timers", f"{NODE}/next_timer"))
            kept = told.next(f"{NODE}/next_timer")
            assert json.loads(kept.payload)["name"] == "pasta"
            told.close()
        home.close()
