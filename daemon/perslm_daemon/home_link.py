"""Brings the home its messages over the daemon's one connection, and takes its commands there.

Announcements are listened to at QoS 1, states at QoS 0: for those the broker keeps nothing while we are away, and
they need no acknowledgement. What nobody reads any more is left. Lasts for one connection at a time.
"""

from __future__ import annotations

import logging

import anyio

from perslm_daemon.home import Home
from perslm_daemon.home_entity import Order
from perslm_daemon.mqtt_connection import BrokerError, Connection, Delivery

log = logging.getLogger("perslm.home")

_QUIET_S = 0.3  # without an announcement: then all that is retained has come
_LONGEST_S = 15.0
_TOGETHER_S = 0.05  # what is announced in one go is subscribed to in one go
_ASK_EVERY_S = 0.05
_MOST_STRAYS = 10_000
_AGAIN_S = 5.0


class HomeLink:
    """The home's end of the connection."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._scope: anyio.CancelScope | None = None
        self._strays: set[str] = set()
        self._left: set[str] = set()

    def take(self, delivery: Delivery) -> None:
        """A message that is no request: the home's, or one left over from a former run, which is then left."""
        if self._home.wants(delivery.topic):
            self._home.take(delivery.topic, delivery.payload, delivery.retained)
        elif delivery.qos == 0 and delivery.topic not in self._left and len(self._left) < _MOST_STRAYS:
            self._strays.add(delivery.topic)

    def lose(self) -> None:
        """The connection is gone."""
        self._home.disconnected()
        if self._scope is not None:
            self._scope.cancel()

    async def follow(self, connection: Connection) -> None:
        """Listen for as long as the connection lasts; where the broker is too slow to say yes, once more."""
        with anyio.CancelScope() as self._scope:
            while True:
                try:
                    await self._follow(connection)
                except BrokerError as error:
                    log.info("home_not_followed error=%s", error)
                await anyio.sleep(_AGAIN_S)

    async def _follow(self, connection: Connection) -> None:
        home = self._home

        async def publish(order: Order) -> None:
            await connection.publish(order.topic, order.payload, retain=order.retain)

        home.connected(publish)
        await self._listen(connection, home.filters, qos=1)
        held = await self._settle(connection)
        home.settled()
        await self._ask(publish)
        while True:
            await home.moved()
            await anyio.sleep(_TOGETHER_S)
            held = await self._adjust(connection, held)

    async def _settle(self, connection: Connection) -> frozenset[str]:
        """Listen to the states of what is announced, until nothing new comes."""
        held: frozenset[str] = frozenset()
        with anyio.move_on_after(_LONGEST_S):
            generation, quiet_since = -1, anyio.current_time()
            while True:
                held = await self._adjust(connection, held)
                now = anyio.current_time()
                if self._home.generation != generation or not self._home.idle:
                    generation, quiet_since = self._home.generation, now
                elif now - quiet_since >= _QUIET_S:
                    break
                await anyio.sleep(_TOGETHER_S)
        return held

    async def _adjust(self, connection: Connection, held: frozenset[str]) -> frozenset[str]:
        wanted = self._home.topics()
        await self._listen(connection, sorted(wanted - held), qos=0)
        gone = [*(held - wanted), *self._strays]
        if gone:
            self._left |= self._strays
            self._strays.clear()
            await connection.unsubscribe(*gone)
        return wanted

    async def _listen(self, connection: Connection, topics: tuple[str, ...] | list[str], *, qos: int) -> None:
        if topics:
            refused = await connection.subscribe_many(topics, qos=qos)
            if refused:
                log.warning("home_not_allowed topics=%d first=%s", len(refused), refused[0])

    async def _ask(self, publish: object) -> None:
        """Have devices tell what they do not retain, one after the other: a radio network is slow."""
        for order in self._home.asks():
            await publish(order)  # type: ignore[operator]  # the function of `_follow`
            await anyio.sleep(_ASK_EVERY_S)
