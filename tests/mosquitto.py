"""A real mosquitto on a free loopback port, and a plain paho client that talks to it."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from perslm_daemon.broker import free_port, mosquitto

WAIT_S = 30.0  # other tests may compute beside this one


class Broker:
    """A mosquitto that can be stopped and started again on its port."""

    def __init__(self, folder: Path, lines: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.conf = folder / "mosquitto.conf"
        text = [f"listener {self.port} 127.0.0.1", "user root", *lines]
        if "set_tcp_nodelay false" not in lines:
            text.append("set_tcp_nodelay true")
        if not any(line.startswith("allow_anonymous") for line in lines):
            text.append("allow_anonymous true")
        self.conf.write_text("\n".join(text) + "\n")

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [mosquitto(), "-c", str(self.conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, "mosquitto ended"
            time.sleep(0.01)
        raise AssertionError("mosquitto does not answer")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(WAIT_S)
            self.process = None


@contextmanager
def running(folder: Path, *lines: str) -> Iterator[Broker]:
    broker = Broker(folder, lines)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def session_is_there(port: int, identifier: str) -> bool:
    """Whether the broker keeps a session for that client; it does not any more when this has asked."""
    told: queue.Queue[bool] = queue.Queue()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=identifier, protocol=paho.MQTTv5)
    client.on_connect = lambda _client, _data, flags, *_: told.put(flags.session_present)
    client.connect("127.0.0.1", port, clean_start=False)
    client.loop_start()
    found = told.get(timeout=WAIT_S)
    client.disconnect()
    client.loop_stop()
    client._reset_sockets()
    return found


class Client:
    """A paho client in its own thread: what arrives lies in a queue. Its methods block: call them in a thread."""

    def __init__(
        self,
        port: int,
        topics: tuple[str, ...] = (),
        *,
        identifier: str = "",
        comes_back: bool = True,
        host: str = "127.0.0.1",
        **login: str,
    ) -> None:
        self.arrived: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._subscribed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, identifier, protocol=paho.MQTTv5, reconnect_on_failure=comes_back
        )
        if login:
            self._client.username_pw_set(login["username"], login["password"])
        self._client.on_socket_open = _send_at_once
        self._client.max_inflight_messages_set(1000)
        self._client.on_message = lambda _client, _data, message: self.arrived.put(message)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect(host, port)
        self._client.loop_start()
        for topic in topics:
            self._subscribed.clear()
            self._client.subscribe(topic, qos=1)
            assert self._subscribed.wait(WAIT_S)

    def publish(self, topic: str, payload: bytes | str = b"", **more: Any) -> None:
        """Publish and wait until the broker has it; `more` as for `send`."""
        self.send(topic, payload, **more).wait_for_publish(WAIT_S)

    def send(
        self,
        topic: str,
        payload: bytes | str = b"",
        *,
        qos: int = 1,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
        expiry_s: int | None = None,
    ) -> paho.MQTTMessageInfo:
        """Publish and wait for nothing."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho gives it no types
        if response_topic is not None:
            properties.ResponseTopic = response_topic
        if correlation is not None:
            properties.CorrelationData = correlation
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        return self._client.publish(topic, payload, qos, retain, properties)

    def next(self, topic: str = "") -> paho.MQTTMessage:
        """The next message, on `topic` where one is given."""
        deadline = time.monotonic() + WAIT_S
        while True:
            message = self.arrived.get(timeout=max(0.01, deadline - time.monotonic()))
            if not topic or message.topic == topic:
                return message

    def next_until(self, topic: str) -> list[paho.MQTTMessage]:
        """Everything that arrives before, and with, the next message on a topic."""
        found = [self.next()]
        while found[-1].topic != topic:
            found.append(self.next())
        return found

    def all(self, within_s: float = 0.3) -> list[paho.MQTTMessage]:
        """Everything that has arrived, or does so before nothing came for `within_s`."""
        found: list[paho.MQTTMessage] = []
        try:
            while True:
                found.append(self.arrived.get(timeout=within_s))
        except queue.Empty:
            return found

    def forget(self) -> None:
        """Drop what has arrived."""
        while not self.arrived.empty():
            self.arrived.get_nowait()

    def next_json(self, topic: str = "") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.next(topic).payload)
        return found

    def until(self, topic: str, payload: bytes) -> None:
        """Wait for a certain message."""
        while self.next(topic).payload != payload:
            pass

    def on_lost(self, tell: Callable[[], object]) -> None:
        """Be told when the broker ends this connection."""
        self._client.on_disconnect = lambda *_: tell()

    def close(self) -> None:
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()  # else they are closed by the garbage collector, which warns


def _send_at_once(_client: object, _data: object, connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def refusal(port: int, name: str | None, password: str = "", protocol: str = "5") -> str:
    """What the broker says to somebody who connects; "Success" where it lets them in."""
    said: queue.Queue[str] = queue.Queue()
    version = paho.MQTTv5 if protocol == "5" else paho.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version, reconnect_on_failure=False)
    if name is not None:
        client.username_pw_set(name, password)

    def answered(*told: object) -> None:
        said.put(str(told[3]))
        client.disconnect()

    client.on_connect = answered
    client.connect("127.0.0.1", port)
    client.loop_start()
    answer = said.get(timeout=WAIT_S)
    client.loop_stop()
    return answer


def die_with_a_will(port: int, name: str, password: str, topic: str) -> None:
    """Connect with a last will for `topic`, and break the connection."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(name, password)
    client.will_set(topic, "will", 1)
    client.connect("127.0.0.1", port)
    deadline = time.monotonic() + WAIT_S
    while not client.is_connected() and time.monotonic() < deadline:
        client.loop(0.1)
    connection = client.socket()
    assert connection is not None
    connection.close()
