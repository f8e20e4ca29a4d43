"""What is said while a device is waited for: a word after a silence, so that nobody is left with nothing.

A garage door may take twenty seconds to say that it did not move. Who does not want to wait says the wake word:
that ends the turn, and what was sent stays sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio

from perslm_daemon.turn import only_error

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Moment:
    """The word, and after how many seconds of silence it is said."""

    words: str
    after_s: float


async def meanwhile(
    work: Callable[[], Awaitable[Result]], after_s: float, say: Callable[[], Awaitable[None]]
) -> Result:
    """What comes of `work`. Where that takes longer than `after_s`, `say` runs too and is not cut off."""
    speaks = False

    async def later() -> None:
        nonlocal speaks
        await anyio.sleep(after_s)
        speaks = True
        await say()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(later)
            result = await work()
            if not speaks:
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise only_error(group) from None
    return result
