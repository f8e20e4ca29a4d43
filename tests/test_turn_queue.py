"""Who has the engines, and who goes before whom."""

from __future__ import annotations

import anyio
import pytest

from perslm_daemon.turn_queue import TurnQueue
from perslm_runtime.errors import BusyError

pytestmark = pytest.mark.anyio


async def test_whoever_speaks_goes_before_programs_and_is_not_refused_for_them() -> None:
    queue, order = TurnQueue(), list[str]()

    async def take(name: str, *, first: bool = False) -> None:
        await queue.enter(first=first)
        order.append(name)
        queue.leave()

    await queue.enter()
    async with anyio.create_task_group() as tasks:
        for name in ("one", "two"):
            tasks.start_soon(take, name)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(BusyError, match="waiting"):
            await queue.enter()
        for name in ("voice", "another voice"):
            tasks.start_soon(lambda name=name: take(name, first=True))
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(BusyError):
            await queue.enter(first=True)
        queue.leave()
    assert order == ["voice", "another voice", "one", "two"]
    assert not queue.taken


async def test_who_gives_way_is_cancelled_and_has_the_engines_back_before_all_others() -> None:
    queue, order = TurnQueue(), list[str]()

    async def chat() -> None:
        await queue.enter()
        with queue.giving_way() as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        await queue.let_pass()
        order.append("chat")
        with queue.giving_way() as again:
            pass
        assert not again.cancelled_caught
        queue.leave()

    async def take(name: str, *, first: bool) -> None:
        await queue.enter(first=first)
        await anyio.wait_all_tasks_blocked()
        assert queue.waiting == (1 if first else 0), "who has given way is refused nothing and refuses nobody"
        order.append(name)
        queue.leave()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(chat)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(lambda: take("program", first=False))
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(lambda: take("voice", first=True))
    assert order == ["voice", "chat", "program"]


async def test_who_is_cancelled_as_the_engines_come_hands_them_on() -> None:
    queue = TurnQueue()

    async def take() -> None:
        await queue.enter()
        try:
            await anyio.sleep_forever()
        finally:
            queue.leave()

    await queue.enter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        queue.leave()
        tasks.cancel_scope.cancel()
    assert not queue.taken
    await queue.enter()
    with anyio.move_on_after(0):
        await queue.enter()
    queue.leave()
    assert not queue.taken
    async with queue.patiently():
        assert queue.taken
    assert not queue.taken
