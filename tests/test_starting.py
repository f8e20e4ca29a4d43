"""`starting` is said while engines are built, over a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mosquitto import Broker
from perslm_daemon.config import Config, Flags, load
from perslm_daemon.mqtt_connection import Address, connect
from perslm_daemon.starting import Starting
from perslm_runtime.errors import EngineError

pytestmark = pytest.mark.anyio
WAIT_S = 60.0


@pytest.fixture
def later(tmp_path: Path) -> Iterator[Broker]:
    """A broker that is not there yet."""
    found = Broker(tmp_path)
    yield found
    found.stop()


@pytest.fixture
def broker(later: Broker) -> Broker:
    later.start()
    return later


@pytest.fixture
def config(later: Broker) -> Config:
    return load(Flags(profile="dev", settings=(f"mqtt.broker={later.url}", "node=kitchen")), environ={})


@pytest.fixture
def unnamed() -> Config:
    return load(Flags(profile="dev"), environ={})


async def state_on(port: int) -> str:
    """What a listener is told: what is retained, or the first that comes."""
    address = Address("127.0.0.1", port)
    with anyio.fail_after(WAIT_S):
        async with connect(
            address, identifier="listener", will=None, keepalive_s=60, protocol="5", lasting=False
        ) as connection:
            await connection.subscribe(["perslm/kitchen/state"], with_retained=True)
            heard = await connection.next()
    return str(json.loads(heard[0].payload)["state"])


async def test_it_is_heard_while_engines_are_built_and_stays_when_the_link_takes_over(
    broker: Broker, config: Config
) -> None:
    async with Starting() as starting:
        starting.begin(config)
        assert await state_on(broker.port) == "starting"
        await starting.end()
        assert await state_on(broker.port) == "starting", "no last will: the link says what is next"


async def test_a_start_that_fails_does_not_leave_starting_behind(broker: Broker, config: Config) -> None:
    async def failing() -> None:
        async with Starting() as starting:
            starting.begin(config)
            assert await state_on(broker.port) == "starting"
            raise EngineError("there is no model")

    with pytest.raises(EngineError):
        await failing()
    assert await state_on(broker.port) == "offline"


async def test_a_broker_that_comes_later_is_told(later: Broker, config: Config) -> None:
    async with Starting() as starting:
        starting.begin(config)
        await anyio.sleep(0.2)
        await anyio.to_thread.run_sync(later.start)
        assert await state_on(later.port) == "starting"


async def test_where_no_broker_is_named_nobody_is_told_and_nothing_waits(unnamed: Config) -> None:
    async with Starting() as starting:
        starting.begin(unnamed)
        with anyio.fail_after(WAIT_S):
            await starting.end()
