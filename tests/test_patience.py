from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from notify_socket import Manager
from perslm_daemon.patience import Patience
from perslm_daemon.service import Notifier
from perslm_runtime.errors import ConfigError

pytestmark = pytest.mark.anyio


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.socket.close()


def notifier(manager: Manager, **more: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.address, **more})


async def heard(manager: Manager) -> list[str]:
    return await anyio.to_thread.run_sync(manager.heard)


async def test_one_build_that_takes_longer_than_a_step_asks_for_time_again_and_again(manager: Manager) -> None:
    async with Patience(notifier(manager), every_s=0.05) as patience:
        patience.step("Starting the engines")
        assert await heard(manager) == ["STATUS=Starting the engines", "EXTEND_TIMEOUT_USEC=250000"]
        began = time.monotonic()
        for _ in range(8):  # eight steps, and nothing but the build happened
            status, extend = await heard(manager)
            assert status.startswith("STATUS=Starting the engines (")
            assert status.endswith(" MB in memory)")
            assert extend == "EXTEND_TIMEOUT_USEC=250000"
        assert time.monotonic() - began > 0.3


async def test_a_build_without_an_end_is_left_to_systemd(manager: Manager) -> None:
    seconds = 0.0
    async with Patience(notifier(manager), every_s=0.02, longest_s=60.0, clock=lambda: seconds) as patience:
        patience.step("Starting the engines")
        seconds = 60.0
        while "(60 s" not in (await heard(manager))[0]:
            pass
        seconds = 60.1
        await anyio.sleep(0.1)
        await anyio.to_thread.run_sync(manager.all)
        await anyio.sleep(0.1)
        assert manager.silent()
        patience.step("model is ready")  # the next step has its own time
        assert (await heard(manager))[0] == "STATUS=model is ready"
        assert "model is ready (0 s" in (await heard(manager))[0]


async def test_when_all_is_built_nothing_more_is_asked_for(manager: Manager) -> None:
    async with Patience(notifier(manager), every_s=0.02) as patience:
        patience.step("Starting the engines")
        patience.end()
        await heard(manager)
        await anyio.sleep(0.1)
        assert manager.silent()


async def test_the_sign_of_life_goes_on_while_engines_are_built_anew(manager: Manager) -> None:
    watched = notifier(manager, WATCHDOG_USEC="90000")
    async with Patience(watched) as patience:
        patience.end()  # the start is over
        patience.step("Building anew what the configuration changed")
        lives = 0
        began = time.monotonic()
        while lives < 6:
            lives += (await heard(manager)) == ["WATCHDOG=1"]
        assert time.monotonic() - began < 10, "every 30 ms, not every minute"


async def test_a_start_is_not_watched_before_it_is_over(manager: Manager) -> None:
    watched = notifier(manager, WATCHDOG_USEC="90000")
    async with Patience(watched) as patience:
        patience.step("Starting the engines")
        said = [await heard(manager) for _ in range(6)]  # of one engine: every 30 ms
        assert ["WATCHDOG=1"] not in said
        assert all(lines[1].startswith("EXTEND_TIMEOUT_USEC=") for lines in said)


async def test_an_error_comes_out_as_it_is(manager: Manager) -> None:
    with pytest.raises(ConfigError):
        async with Patience(notifier(manager)):
            raise ConfigError("no")
