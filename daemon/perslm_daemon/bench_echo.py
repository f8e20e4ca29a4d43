"""The bare echo client of paho that `perslm bench mqtt` is measured against: `python -m … HOST PORT`.

What somebody would write who only wants a request's payload back on its Response Topic; nothing of PersLM is here.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

TOPIC = "bench/echo/request"


def without_delay(_client: paho.Client, _data: Any, connection: Any) -> None:
    """Send small packets at once: else each answer waits 40 ms for the acknowledgement of the packet before it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def tell_ready(*_: Any) -> None:
    """Tell the parent process, which waits for it."""
    os.write(1, b"ready\n")


def main(host: str, port: int) -> None:
    """Echo until the process is ended; prints "ready" once it listens."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(1000)

    def echo(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho gives it no types
        asked = message.properties
        if asked is None:
            return
        properties.CorrelationData = getattr(asked, "CorrelationData", None)
        client.publish(getattr(asked, "ResponseTopic", ""), message.payload, 1, False, properties)

    client.on_message = echo
    client.on_subscribe = tell_ready
    client.on_socket_open = without_delay
    client.connect(host, port)
    client.subscribe(TOPIC, qos=1)
    client.loop_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
