"""Engines and processes that fail in the middle of a turn: what the home hears, and what comes after."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mosquitto
from daemon_child import COMMAND, daemon

pytestmark = pytest.mark.usefixtures("small_gguf")

HANGS = [sys.executable, str(Path(__file__).parents[1] / "hang_child.py"), *COMMAND[3:]]
STORY = "Tell me a very long story about a cat and a dog."
PATH = {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[mosquitto.Broker]:
    (tmp_path / "broker").mkdir()
    with mosquitto.running(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def home(broker: mosquitto.Broker) -> Iterator[mosquitto.Client]:
    made = mosquitto.Client(broker.port, ("perslm/kitchen/#",))
    yield made
    made.close()


def ended(child: subprocess.Popen[str]) -> str:
    """What it wrote to standard error by its end."""
    return child.communicate(timeout=20)[1]


def ask(home: mosquitto.Client, text: str, transaction: str) -> None:
    home.publish("perslm/kitchen/request/ask", json.dumps({"text": text, "transaction": transaction}))


def answer_after_restart(home: mosquitto.Client, transaction: str) -> str:
    """The error that a keyed request got; the daemon does not carry it out again."""
    answer = home.next_json("perslm/kitchen/response/ask")
    assert (answer["status"], answer["transaction"]) == ("error", transaction)
    ask(home, STORY, transaction)
    assert home.next_json("perslm/kitchen/response/ask") == answer, "the same request is answered, not repeated"
    home.publish("perslm/kitchen/request/status")
    heard = home.next_until("perslm/kitchen/response/status")
    assert [message for message in heard if message.topic.startswith("perslm/kitchen/reply/")] == []
    return str(answer["error"])


def test_an_engine_that_hangs_is_named_with_its_turn_and_the_turn_is_not_replayed(
    tmp_path: Path, broker: mosquitto.Broker, home: mosquitto.Client
) -> None:
    with daemon(tmp_path / "data", broker.url, PATH, HANGS, health__stall_s="1") as child:
        home.until("perslm/kitchen/state", b'{"state": "online"}')
        ask(home, "Please hang.", "h1")
        told: dict[str, str] = {}
        while told.get("event_type") != "error":
            told = home.next_json("perslm/kitchen/event")
        assert told["engine"] == "model"
        assert len(told["turn"]) == 12
        assert f"the model engine hangs in turn {told['turn']}: it has been busy since" in told["message"]
        home.until("perslm/kitchen/state", b'{"state": "offline"}')
        log = ended(child)
        assert child.returncode == 8
    assert f"hung lane=model turn={told['turn']} error=the model engine hangs" in log
    with daemon(tmp_path / "data", broker.url):
        assert "not known whether it was carried out" in answer_after_restart(home, "h1")


def test_an_engine_that_raises_is_told_built_anew_and_given_up_after_the_third_time(
    tmp_path: Path, broker: mosquitto.Broker, home: mosquitto.Client
) -> None:
    with daemon(tmp_path / "data", broker.url, PATH, HANGS) as child:
        told: list[dict[str, str]] = []
        for number in range(4):
            ask(home, "Please break.", f"b{number}")
            answered = home.next_until("perslm/kitchen/response/ask")
            assert "RuntimeError: ggml says no" in json.loads(answered[-1].payload)["error"]
            events = [json.loads(one.payload) for one in answered if one.topic == "perslm/kitchen/event"]
            told += [one for one in events if one["event_type"] == "error"]
            while len(told) < 2 * number + 2:  # the answer and the events travel beside each other
                told += [one for one in [home.next_json("perslm/kitchen/event")] if one["event_type"] == "error"]
        ask(home, "What is the capital of Italy?", "b5")
        assert "given up" in home.next_json("perslm/kitchen/response/ask")["error"]
        home.publish("perslm/kitchen/request/recall", "capital")
        assert home.next_json("perslm/kitchen/response/recall")["status"] == "ok", "the rest lives"
        home.publish("perslm/kitchen/request/status")
        (missing,) = home.next_json("perslm/kitchen/response/status")["data"]["degraded"]
        assert (missing["part"], "given up" in missing["reason"]) == ("model", True)
        late = mosquitto.Client(broker.port, ("perslm/kitchen/info",))
        assert late.next_json()["degraded"] == [missing]
        late.close()
        child.terminate()
        log = ended(child)
        assert child.returncode == 0, log
    engines = [one["message"] for one in told if "engine" in one]
    assert ["is built anew" in message for message in engines] == [True, True, True, False]
    assert "failed three times in ten minutes and then again, so it was given up" in engines[3]
    turns = [one["turn"] for one in told if "turn" in one]
    assert len(set(turns)) == 4
    for turn in turns:
        assert f"turn={turn} source=mqtt failed=EngineError" in log


def test_a_stop_that_finds_an_engine_hanging_ends_with_its_code_too(
    tmp_path: Path, broker: mosquitto.Broker, home: mosquitto.Client
) -> None:
    with daemon(tmp_path / "data", broker.url, PATH, HANGS) as child:
        ask(home, "Please hang.", "h2")
        assert child.stdout is not None
        assert child.stdout.readline() == "hangs\n"
        child.terminate()
        home.until("perslm/kitchen/state", b'{"state": "offline"}')
        assert "the model engine hangs" in ended(child)
        assert child.returncode == 8


def test_a_native_crash_in_the_middle_of_a_turn_is_told_by_the_last_will_and_the_turn_is_not_replayed(
    tmp_path: Path, broker: mosquitto.Broker, home: mosquitto.Client
) -> None:
    with daemon(tmp_path / "data", broker.url, model__max_reply_tokens="400") as child:
        ask(home, STORY, "c1")
        home.next("perslm/kitchen/reply/c1")
        child.send_signal(signal.SIGSEGV)
        home.until("perslm/kitchen/state", b'{"state": "offline"}')
        assert "Fatal Python error: Segmentation fault" in ended(child)
        assert child.returncode == -signal.SIGSEGV
    with daemon(tmp_path / "data", broker.url):
        assert "not known whether it was carried out" in answer_after_restart(home, "c1")
        ask(home, "What is the capital of Italy?", "c2")
        assert "Rome" in home.next_json("perslm/kitchen/response/ask")["data"]["text"]
