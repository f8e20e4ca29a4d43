"""How a broker answers: the round trip that decides how quick PersLM feels over MQTT, and what protects it.

A broker without `set_tcp_nodelay` holds the second of two small packets back until the first is acknowledged, for
40 ms. It is made to send two at once here, beside one alone for comparison.
"""

from __future__ import annotations

import secrets
import statistics
from dataclasses import dataclass
from typing import Literal

import anyio

from perslm_daemon.mqtt_connection import Address, BrokerError, Connection, WrongProtocolError, connect

_ROUNDS, _COUNTED = 9, 5  # the kernel acknowledges the first packets of a connection at once
_LIMIT_S = 1.0
_HELD_BACK_MS = 25.0


@dataclass(frozen=True, slots=True)
class BrokerReport:
    """What was found. `ask_to_reply_ms` is the median of two packets at once, `alone_ms` of one alone."""

    address: str
    protocol: str
    tls: bool
    user: str
    ask_to_reply_ms: float
    alone_ms: float

    @property
    def holds_back(self) -> bool:
        """Whether the broker makes every answer wait."""
        return self.ask_to_reply_ms - self.alone_ms > _HELD_BACK_MS


async def check(address: Address, root: str, protocol: str = "auto") -> BrokerReport:
    """Connect and measure, beside the daemon's own connection, under `root` (BASE/NODE), which is the daemon's.

    Raises `BrokerError` where the broker is not there, refuses us, or gives nothing back; takes a second at most.
    """
    try:
        return await _check(address, root, "3.1.1" if protocol == "3.1.1" else "5")
    except WrongProtocolError:
        if protocol == "5":
            raise
        return await _check(address, root, "3.1.1")


async def _check(address: Address, root: str, protocol: Literal["5", "3.1.1"]) -> BrokerReport:
    mark = secrets.token_hex(8)
    async with connect(
        address,
        identifier=f"perslm-check-{mark}",
        will=None,
        keepalive_s=30,
        protocol=protocol,
        lasting=False,
        patience_s=_LIMIT_S,
    ) as connection:
        topic = f"{root}/reply/check-{mark}"
        await connection.subscribe([topic])
        try:
            with anyio.fail_after(_LIMIT_S):
                alone = [await _alone(connection, f"{topic}-alone") for _ in range(_COUNTED)]
                both = [await _both(connection, topic) for _ in range(_ROUNDS)]
        except TimeoutError as error:
            raise BrokerError(
                f"{address} does not give back what is published to {root}/reply/…: "
                f"let PersLM read and write {root}/#"
            ) from error
    return BrokerReport(
        str(address),
        protocol,
        address.tls,
        address.username or "",
        round(statistics.median(both[-_COUNTED:]), 2),
        round(statistics.median(alone), 2),
    )


async def _alone(connection: Connection, topic: str) -> float:
    """Milliseconds until the broker has confirmed something that nobody listens to."""
    began = anyio.current_time()
    await connection.publish(topic, b"")
    return (anyio.current_time() - began) * 1000


async def _both(connection: Connection, topic: str) -> float:
    """Milliseconds until the confirmation and the message itself are here; only then is anything sent again."""
    began = anyio.current_time()
    await connection.publish(topic, b"")
    deliveries = await connection.next()
    took = anyio.current_time() - began
    for delivery in deliveries:
        connection.acknowledge(delivery)
    return took * 1000
