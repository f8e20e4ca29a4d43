"""`starting`, said to the broker while engines are built: on a slow board that takes minutes.

A connection of its own, with the last will that every start has; it ends before the link begins. Says one word and
hears none. A broker that is not there yet is tried again; what is wrong with it, the link tells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from perslm_daemon.broker import service_broker
from perslm_daemon.broker_address import address_of
from perslm_daemon.config_sections import Config, Mqtt
from perslm_daemon.mqtt_connection import Address, BrokerError, Connection, Will, WrongProtocolError, connect
from perslm_daemon.topics import Topics, state_payload
from perslm_runtime.errors import PersLMError

log = logging.getLogger("perslm.mqtt")

_WAIT_S, _GOODBYE_S = 2.0, 0.8


class Starting:
    """Says it from `begin` to `end`. An async context manager, because what says it runs beside the engines."""

    def __init__(self) -> None:
        self._tasks: TaskGroup | None = None
        self._scope: anyio.CancelScope | None = None
        self._over = anyio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            # Not handed the error: it would come out wrapped in an exception group.
            await tasks.__aexit__(None, None, None)

    def begin(self, config: Config) -> None:
        """Engines are being built from now on."""
        if self._tasks is None or self._scope is not None:
            return
        self._scope, self._over = anyio.CancelScope(), anyio.Event()
        self._tasks.start_soon(self._say, config, self._scope, self._over)

    async def end(self) -> None:
        """They are: the connection is closed when this returns, and the broker still says `starting`."""
        scope, self._scope = self._scope, None
        if scope is not None:
            scope.cancel()
            await self._over.wait()

    async def _say(self, config: Config, scope: anyio.CancelScope, over: anyio.Event) -> None:
        try:
            with scope:
                await _keep_saying(config, lambda: scope is not self._scope)
        finally:
            over.set()


async def _keep_saying(config: Config, handed_over: Callable[[], bool]) -> None:
    topics = Topics(config.mqtt.base, config.node)
    protocol: Literal["5", "3.1.1"] = "3.1.1" if config.mqtt.protocol == "3.1.1" else "5"
    while True:
        try:
            address = await anyio.to_thread.run_sync(_known_address, config.mqtt)
            if address is None:
                return
            async with connect(
                address,
                identifier=f"perslm-{config.node}-starting",
                will=Will(topics.state, state_payload("offline")),
                keepalive_s=config.mqtt.keepalive_s,
                protocol=protocol,
                lasting=False,
            ) as connection:
                try:
                    await connection.publish(topics.state, state_payload("starting"), retain=True)
                    await connection.next()  # nothing comes: it ends with the connection
                except anyio.get_cancelled_exc_class():
                    if not handed_over():  # the start failed, or was stopped
                        await _take_back(connection, topics)
                    raise
        except WrongProtocolError:
            if protocol == "3.1.1" or config.mqtt.protocol != "auto":
                return
            protocol = "3.1.1"
        except (BrokerError, PersLMError, OSError) as error:
            log.debug("starting_not_said error=%s", type(error).__name__)
        await anyio.sleep(_WAIT_S)


async def _take_back(connection: Connection, topics: Topics) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(_GOODBYE_S), suppress(BrokerError):
        await connection.publish(topics.state, state_payload("offline"), retain=True)


def _known_address(link: Mqtt) -> Address | None:
    """Where the broker is, if that is known before there is a daemon; one that is looked for or brought is not."""
    if link.broker == "own":
        return address_of(link, service_broker(link.own_host, link.own_port)) if link.own == "service" else None
    return address_of(link, again=True) if link.broker else None
