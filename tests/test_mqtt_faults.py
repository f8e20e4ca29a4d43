"""A link whose broker forgets, freezes, or goes, and whose own disk is full: nothing is lost or done twice."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from disks import fill_up, small_disk
from mosquitto import Broker, Client
from perslm_daemon.broker import free_port, own_broker
from test_mqtt import ROOT, Home, asked, thread

pytestmark = pytest.mark.anyio

HEARD = (f"{ROOT}/#", "perslm/_clients/#")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "journal")


@asynccontextmanager
async def up(folder: Path, *lines: str) -> AsyncIterator[Broker]:
    """A broker that may be stopped and started again in the block."""
    broker = await thread(Broker, folder, lines)
    await thread(broker.start)
    try:
        yield broker
    finally:
        with anyio.CancelScope(shield=True):
            await thread(broker.stop)


async def test_an_answer_waits_for_a_broker_that_went_and_a_key_is_known_to_one_that_forgot_it(
    tmp_path: Path, home: Home
) -> None:
    """Without persistence: sessions, subscriptions and retained messages are gone with the process."""
    async with up(tmp_path) as broker, home.linked(broker.url):
        client = await thread(Client, broker.port, HEARD, comes_back=False)
        assert (await asked(client, "count", '{"transaction": "once"}'))["data"] == {"count": 1}
        await thread(client.publish, f"{ROOT}/request/hold", '{"transaction": "held"}')
        await home.held.wait()
        await thread(broker.stop)
        await thread(client.close)
        home.release.set()
        await anyio.sleep(0.3)
        await thread(broker.start)
        client = await thread(Client, broker.port, HEARD)
        held = await thread(client.next_json, f"{ROOT}/response/hold")
        assert (held["status"], held["transaction"]) == ("ok", "held")
        assert (await asked(client, "count", '{"transaction": "once"}'))["data"] == {"count": 1}
        assert (home.counted, home.holding) == (1, 1)
        await thread(client.close)


async def test_what_is_asked_while_the_link_is_down_is_answered_when_it_is_back(
    tmp_path: Path, home: Home
) -> None:
    """With persistence, as on a board: the broker keeps it for us."""
    kept = ("persistence true", f"persistence_location {tmp_path}/")
    async with up(tmp_path, *kept) as broker, home.linked(broker.url):
        await thread(broker.stop)
        await anyio.sleep(0.2)
        await thread(broker.start)
        client = await thread(Client, broker.port, HEARD)
        for number in range(5):
            await thread(client.publish, f"{ROOT}/request/count", json.dumps({"transaction": f"n{number}"}))
        counts = [(await thread(client.next_json, f"{ROOT}/response/count"))["data"]["count"] for _ in range(5)]
        assert sorted(counts) == [1, 2, 3, 4, 5]
        await thread(client.close)


async def test_a_broker_that_is_frozen_for_a_while_costs_nothing(tmp_path: Path, home: Home) -> None:
    async with up(tmp_path) as broker, home.linked(broker.url):
        assert broker.process is not None
        client = await thread(Client, broker.port, HEARD)
        for number in range(30):
            if number == 10:
                broker.process.send_signal(signal.SIGSTOP)
            client.send(f"{ROOT}/request/count", json.dumps({"transaction": f"n{number}"}))
        await anyio.sleep(0.5)
        broker.process.send_signal(signal.SIGCONT)
        for _ in range(30):
            assert (await thread(client.next_json, f"{ROOT}/response/count"))["status"] == "ok"
        assert home.counted == 30
        await thread(client.close)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as disk:
        yield disk


async def test_what_a_full_disk_refused_was_not_done_and_may_come_again_under_its_key(
    tmp_path: Path, full: Path
) -> None:
    home = Home(full / "journal")
    async with up(tmp_path) as broker, home.linked(broker.url):
        client = await thread(Client, broker.port, HEARD)
        assert (await asked(client, "count", '{"transaction": "a"}'))["status"] == "ok"
        await thread(fill_up, full / "ballast", 0)
        for number in range(40):  # what is left of the file's last page
            refused = await asked(client, "count", json.dumps({"transaction": f"{number}" * 90}))
            if refused["status"] == "error":
                break
        assert "No space left on device" in refused["error"]
        assert "make room on the disk" in refused["error"]
        done = home.counted
        assert (await asked(client, "echo", "still there"))["data"]["text"] == "still there"
        await thread((full / "ballast").unlink)
        again = await asked(client, "count", json.dumps({"transaction": refused["transaction"]}))
        assert again["data"] == {"count": done + 1}
        assert (await asked(client, "count", '{"transaction": "a"}'))["data"] == {"count": 1}
        await thread(client.close)


async def test_our_own_broker_on_ipv6_alone_is_used(tmp_path: Path, home: Home) -> None:
    try:
        await thread(free_port, "::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    async with own_broker(tmp_path, host="::1") as own, home.linked(f"mqtt://[{own.host}]:{own.port}"):
        client = await thread(Client, own.port, HEARD, host="::1")
        assert (await asked(client, "echo", "six"))["data"]["text"] == "six"
        await thread(client.close)
