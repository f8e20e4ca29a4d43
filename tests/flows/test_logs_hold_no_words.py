"""Whatever comes in over any way, the log at its most talkative holds none of the words: lengths and ids only."""

from __future__ import annotations

import json
import signal
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import mosquitto
from daemon_child import daemon
from perslm_daemon import control_client

pytestmark = pytest.mark.usefixtures("small_gguf")
NODE = "perslm/kitchen"
SECRETS = ("zarquon", "wibblefrotz", "snorgelheim", "quuxberry", "flimwort", "grobnard")
LAMP = {
    "name": "Quuxberry lamp",
    "unique_id": "lamp1",
    "command_topic": "lamps/1/set",
    "state_topic": "lamps/1",
    "schema": "json",
    "value_template": "{{ value_json.flimwort.grobnard }}",
}
REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("remember", {"text": "My cousin Zarquon lives in Snorgelheim."}),
    ("ask", {"text": "Where does my cousin Zarquon live?"}),
    ("ask", {"text": "Turn on the Quuxberry lamp."}),
    ("ask", {"text": "Set a timer for ten minutes called wibblefrotz."}),
    ("ask", {"text": "Remind me to call Zarquon tomorrow at nine."}),
    ("recall", {"text": "wibblefrotz in Snorgelheim"}),
    ("timer", {"action": "set", "when": "flimwort", "name": "grobnard"}),
    ("memory", {"action": "learn", "title": "wibblefrotz", "text": "Zarquon wrote this in Snorgelheim."}),
    ("devices", {"action": "alias", "id": "wibblefrotz", "value": "grobnard"}),
    ("say", {"text": "Flimwort and grobnard."}),
    ("config", {"key": "zarquon.wibblefrotz"}),
    ("forget", {"text": "Zarquon"}),
)
BROKEN = (
    "{wibblefrotz: broken",
    '{"text": 5, "grobnard": "flimwort"}',
    '{"text": "zarquon", "person": "grobnard"}',
)


def test_the_most_talkative_log_holds_no_word_of_what_came_in(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    data = tmp_path / "data"
    more = {"log__level": "debug", "http__enabled": "true", "http__port": "0"}
    with mosquitto.running(tmp_path / "broker") as broker, daemon(data, broker.url, **more) as child:
        log: list[str] = []
        assert child.stderr is not None
        reading = threading.Thread(target=log.extend, args=(child.stderr,))
        reading.start()
        home = mosquitto.Client(broker.port, (f"{NODE}/response/#", f"{NODE}/state"))
        home.until(f"{NODE}/state", b'{"state": "online"}')
        home.publish("homeassistant/light/lamp1/config", json.dumps(LAMP))
        home.publish("homeassistant/light/lamp2/config", '{"name": "flimwort", "command_topic": 5}')
        home.publish("lamps/1", '{"flimwort": "zarquon"}')
        answers = [asked(home, verb, arguments) for verb, arguments in REQUESTS]
        assert answers[-1]["data"]["count"] >= 1, "what was told came in, or there was nothing to forget"
        for payload in BROKEN:
            home.publish(f"{NODE}/request/ask", payload)
            home.next_json(f"{NODE}/response/ask")
        over_http(data)
        child.send_signal(signal.SIGTERM)
        child.wait(30)
        reading.join(10)
        home.close()
    text = "".join(log)
    assert "home_announcement" in text, "what is wrong is told, with ids"
    told = [line for line in log if any(secret in line.lower() for secret in SECRETS)]
    assert told == []


def asked(home: mosquitto.Client, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    home.publish(f"{NODE}/request/{verb}", json.dumps(arguments))
    answer: dict[str, Any] = home.next_json(f"{NODE}/response/{verb}")
    return answer


def over_http(data: Path) -> None:
    """A chat, a refused one, and a path of no meaning."""
    connection = control_client.connect(data)
    assert connection is not None
    with connection:
        url = connection.ask("status")["http"]
    chat = {"model": "perslm", "messages": [{"role": "user", "content": "Say wibblefrotz."}], "max_tokens": 4}
    for path, body in (
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", {"grobnard": 1}),
        ("/zarquon", {}),
    ):
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - as above
                answer.read()
        except urllib.error.HTTPError as error:
            assert error.code < 500  # noqa: PT017 - the log is what this is about
