"""Several boards hear one wake word: exactly one answers, whatever arrives when."""

from __future__ import annotations

import itertools

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perslm_daemon.arbitration import Arbitration, Claim, wake_id

NEAR = {"level_db": -20.0, "over_floor_db": 40.0, "score": 0.95}
FAR = {"level_db": -38.0, "over_floor_db": 25.0, "score": 0.99}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def board(node: str, clock: Clock | None = None) -> Arbitration:
    one = Arbitration("perslm", node, now=clock or Clock())
    one.linked = lambda: True
    return one


def claim(node: str, **heard: float) -> bytes:
    return msgspec.json.encode(Claim(node, **heard))


claims = st.builds(
    Claim,
    node=st.sampled_from(["attic", "bath", "kitchen", "living-room"]),
    level_db=st.floats(-90, 0),
    over_floor_db=st.floats(0, 80),
    score=st.floats(0, 1),
)


@given(st.lists(claims, min_size=2, max_size=6))
def test_claims_have_one_order_whoever_compares_them(some):
    best = max(some)
    for order in itertools.islice(itertools.permutations(some), 24):
        assert max(order).rank == best.rank


def test_the_nearer_microphone_wins_and_a_tie_goes_by_name():
    assert Claim("kitchen", **NEAR) > Claim("bath", **FAR)
    assert Claim("bath", **NEAR) > Claim("kitchen", **NEAR)


@pytest.mark.anyio
async def test_without_a_broker_it_answers_at_once():
    alone = Arbitration("perslm", "kitchen")
    assert await alone.ours("Okay Nabu", **FAR)
    with anyio.move_on_after(0.05) as nothing_to_send:
        await alone.outgoing()
    assert nothing_to_send.cancelled_caught


@pytest.mark.anyio
async def test_a_better_claim_that_comes_within_the_moment_takes_the_wake():
    kitchen = board("kitchen")
    results: list[bool] = []

    async def wake() -> None:
        results.append(await kitchen.ours("Okay Nabu", **FAR))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wake)
        sent = await kitchen.outgoing()
        assert sent.topic == "perslm/_arbitration/okay_nabu"
        assert kitchen.received(sent.topic, sent.payload)  # its own claim comes back and changes nothing
        assert kitchen.received(sent.topic, claim("living-room", **NEAR))
    assert results == [False]


@pytest.mark.anyio
async def test_a_better_claim_that_came_a_little_before_counts_too():
    kitchen = board("kitchen")
    kitchen.received("perslm/_arbitration/okay_nabu", claim("living-room", **NEAR))
    assert not await kitchen.ours("Okay Nabu", **FAR)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("topic", "node", "ago_s"),
    [
        ("perslm/_arbitration/hey_jarvis", "living-room", 0.0),
        ("perslm/_arbitration/okay_nabu", "living-room", 1.5),
        ("perslm/_arbitration/okay_nabu", "kitchen", 0.0),
    ],
)
async def test_another_phrase_an_older_wake_and_ones_own_claim_do_not_count(topic, node, ago_s):
    clock = Clock()
    kitchen = board("kitchen", clock)
    kitchen.received(topic, claim(node, **NEAR))
    clock.now += ago_s
    assert await kitchen.ours("Okay Nabu", **FAR)


@pytest.mark.anyio
async def test_a_slower_board_that_heard_it_better_takes_it_even_later():
    kitchen = board("kitchen")
    assert await kitchen.ours("Okay Nabu", **FAR)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kitchen.lost)
            await anyio.sleep(0.01)
            kitchen.received("perslm/_arbitration/okay_nabu", claim("living-room", **NEAR))


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[1]", b'{"node": 5}', b"\xff", b'{"node": "x", "level_db": 1e999}']
)
def test_what_is_no_claim_is_passed_over(payload):
    kitchen = board("kitchen")
    assert kitchen.received("perslm/_arbitration/okay_nabu", payload)
    assert not kitchen._beaten()


def test_other_topics_are_not_ours():
    assert not board("kitchen").received("perslm/kitchen/request/ask", b"{}")


@given(st.text())
def test_a_phrase_is_always_one_level_of_a_topic(phrase):
    from perslm_daemon.topics import is_level

    assert is_level(wake_id(phrase[:100]))
