"""Two nodes on a real mosquitto hear one wake word, and one answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest

from mosquitto import Broker, Client, running
from perslm_daemon.arbitration import Arbitration
from perslm_daemon.broker_address import address_of
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.journal import Journal
from perslm_daemon.mqtt import BrokerLink
from perslm_daemon.settings import Settings
from perslm_daemon.verbs import Verbs

pytestmark = pytest.mark.anyio
T = TypeVar("T")

NEAR = {"level_db": -20.0, "over_floor_db": 40.0, "score": 0.95}
FAR = {"level_db": -38.0, "over_floor_db": 25.0, "score": 0.99}


async def thread(function: Callable[..., T], *args: Any) -> T:
    return await anyio.to_thread.run_sync(partial(function, *args))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running(tmp_path) as made:
        yield made


@asynccontextmanager
async def nodes(broker: Broker, folder: Path, *names: str) -> AsyncIterator[list[Arbitration]]:
    """Nodes that are linked to the broker; leaving the block says goodbye."""
    async with AsyncExitStack() as stack:
        made: list[Arbitration] = []
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for name in names:
            bulletin = Bulletin()
            arbitration = Arbitration("perslm", name)
            journal = await thread(Journal, folder / f"{name}.journal")
            stack.callback(journal.close)
            link = BrokerLink(
                Mqtt(),
                address=await thread(address_of, Mqtt(broker=broker.url)),
                node=name,
                verbs=Verbs({}),
                bulletin=bulletin,
                settings=Settings(bulletin, {}),
                journal=journal,
                arbitration=arbitration,
            )
            await tasks.start(lambda *, task_status, link=link: link.run(task_status=task_status))
            made.append(arbitration)
        yield made
        tasks.cancel_scope.cancel()


async def answering(arbitrations: list[Arbitration], heard: list[dict[str, float]]) -> list[bool]:
    """Who answers once every claim has had its time: first the moment's answer, then a later loss."""
    answers = [False] * len(arbitrations)

    async def wake(number: int) -> None:
        answers[number] = await arbitrations[number].ours("Okay Nabu", **heard[number])
        if answers[number]:
            with anyio.move_on_after(1.0) as kept:
                await arbitrations[number].lost()
            answers[number] = kept.cancelled_caught

    async with anyio.create_task_group() as tasks:
        for number in range(len(arbitrations)):
            tasks.start_soon(wake, number)
    return answers


async def test_of_three_boards_the_nearest_answers_and_a_tie_goes_by_name(broker, tmp_path):
    async with nodes(broker, tmp_path, "kitchen", "bath", "attic") as (kitchen, bath, attic):
        assert await answering([kitchen, bath, attic], [NEAR, FAR, FAR]) == [True, False, False]
        await anyio.sleep(1.1)  # the next wake is another one
        assert await answering([kitchen, bath, attic], [FAR, FAR, FAR]) == [False, False, True]


async def test_a_board_alone_on_the_broker_answers(broker, tmp_path):
    async with nodes(broker, tmp_path, "kitchen") as (kitchen,):
        assert kitchen.linked()
        assert await kitchen.ours("Okay Nabu", **FAR)


async def test_claims_are_not_retained(broker, tmp_path):
    async with nodes(broker, tmp_path, "kitchen") as (kitchen,):
        await kitchen.ours("Okay Nabu", **NEAR)
    late = await thread(Client, broker.port, ("perslm/_arbitration/#", "perslm/kitchen/state"))
    first = await thread(late.next)
    await thread(late.close)
    assert first.topic == "perslm/kitchen/state"


async def test_with_the_broker_gone_every_board_answers_for_itself(broker, tmp_path):
    async with nodes(broker, tmp_path, "kitchen", "bath") as (kitchen, bath):
        await thread(broker.stop)
        with anyio.fail_after(20):
            while kitchen.linked() or bath.linked():  # noqa: ASYNC110 - the link tells nobody
                await anyio.sleep(0.02)
        assert await answering([kitchen, bath], [NEAR, FAR]) == [True, True]
