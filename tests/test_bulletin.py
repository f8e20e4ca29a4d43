"""The bulletin: values are never lost, events are bounded, and who is too slow is told."""

from __future__ import annotations

import anyio
import pytest

from perslm_daemon.bulletin import Bulletin, Happening, Listener, Notice, Value

pytestmark = pytest.mark.anyio


async def all_of(listener: Listener) -> list[Notice]:
    found: list[Notice] = []
    while True:
        try:
            found.append(listener.receive_nowait())
        except anyio.WouldBlock:
            return found


async def test_who_listens_later_gets_every_value_first() -> None:
    bulletin = Bulletin()
    bulletin.post("state", "online")
    bulletin.tell("heard", text="nobody listens")
    bulletin.post("volume", 0.5)
    async with bulletin.listen() as notices:
        bulletin.tell("heard", text="now")
        assert await all_of(notices) == [
            Value("state", "online"),
            Value("volume", 0.5),
            Happening("heard", {"text": "now"}),
        ]


async def test_a_listener_far_behind_loses_old_events_and_is_told_but_no_value() -> None:
    bulletin = Bulletin()
    async with bulletin.listen() as notices:
        for number in range(1000):
            bulletin.post(f"value_{number % 700}", number)
            bulletin.tell("tick", number=number)
        found = await all_of(notices)
    values = {notice.name: notice.value for notice in found if isinstance(notice, Value)}
    assert len(values) == 700
    assert values["value_0"] == 700
    assert values["value_699"] == 699
    ticks = [
        notice.fields["number"]
        for notice in found
        if isinstance(notice, Happening) and notice.event_type == "tick"
    ]
    assert ticks == list(range(744, 1000))
    assert found[0] == Happening("warning", {"what": "lost", "message": "744 events came too fast and are lost"})


async def test_the_same_value_again_is_no_news() -> None:
    bulletin = Bulletin()
    bulletin.post("activity", "idle")
    async with bulletin.listen() as notices:
        assert await notices.receive() == Value("activity", "idle")
        bulletin.post("activity", "idle")
        with anyio.move_on_after(0.05) as scope:
            await notices.receive()
        assert scope.cancelled_caught
        bulletin.post("activity", "processing")
        assert await notices.receive() == Value("activity", "processing")
