"""Updates wait for mains and for a cool board, and go on by themselves; what they wait for is told."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from perslm_daemon import updates as updates_module
from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.changes import Changes
from perslm_daemon.clock import SystemClock
from perslm_daemon.config import Flags, load
from perslm_daemon.config_sync import Sync
from perslm_daemon.machine import processor_times
from perslm_daemon.update_book import Book
from perslm_daemon.update_calm import Calm
from perslm_daemon.updates import Updates
from perslm_runtime.fetch import Progress
from perslm_runtime.lane import Stop
from updates import bundle, repository, served


def supply(root: Path, name: str, **values: str) -> None:
    folder = root / "sys/class/power_supply" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in values.items():
        (folder / file).write_text(text + "\n")


def heat(root: Path, celsius: float) -> None:
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "temp").write_text(f"{celsius * 1000:.0f}\n")


def firmware(root: Path, word: str) -> None:
    folder = root / "sys/devices/platform/soc/soc:firmware"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "get_throttled").write_text(word)


def test_a_board_without_a_battery_or_sensors_is_calm(tmp_path: Path) -> None:
    assert Calm(Sync(), tmp_path).reason() == ""


def test_a_board_waits_while_it_runs_on_its_battery_unless_it_may(tmp_path: Path) -> None:
    calm = Calm(Sync(), tmp_path)
    supply(tmp_path, "BAT0", type="Battery", status="Discharging", capacity="64")
    assert calm.reason() == "the board runs on its battery (64 %)"
    assert Calm(Sync(mains_only=False), tmp_path).reason() == ""
    supply(tmp_path, "AC", type="Mains", online="1")
    assert calm.reason() == ""
    supply(tmp_path, "AC", type="Mains", online="0")
    supply(tmp_path, "BAT0", type="Battery", status="Full", capacity="100")
    assert calm.reason() == "", "a full battery that feeds nobody"


def test_a_mouses_battery_feeds_no_board(tmp_path: Path) -> None:
    supply(tmp_path, "hid-mouse", type="Battery", scope="Device", status="Discharging", capacity="9")
    assert Calm(Sync(), tmp_path).reason() == ""


def test_a_hot_board_waits_until_it_is_clearly_cooler(tmp_path: Path) -> None:
    calm = Calm(Sync(hot_c=75), tmp_path)
    heat(tmp_path, 74.9)
    assert calm.reason() == ""
    heat(tmp_path, 76)
    assert calm.reason() == "the board is hot (76.0 °C, limit 75)"
    heat(tmp_path, 72)
    assert "hot" in calm.reason(), "no flutter around one degree"
    heat(tmp_path, 69.9)
    assert calm.reason() == ""


@pytest.mark.parametrize(
    ("word", "why"), [("0x1", "supply is too weak"), ("0x8", "is hot"), ("0x50000", ""), ("0x0", "")]
)
def test_the_firmwares_word_counts_for_now_alone(tmp_path: Path, word: str, why: str) -> None:
    firmware(tmp_path, word)
    found = Calm(Sync(), tmp_path).reason()
    assert (why in found) if why else found == ""


def test_the_cores_time_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    assert processor_times(tmp_path) == (0, 0)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu  10 1 5 80 4 0 0 0 7 7\ncpu0 1 1 1 1\n")
    assert processor_times(tmp_path) == (84, 100)
    idle, whole = processor_times()
    assert 0 < idle < whole


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """How a board follows a host that offers sentences which cannot be used: how far they come is looked at."""
    repo = repository(tmp_path / "host")
    repo.publish(bundle(tmp_path, 1, b"[[intent", kind="intents", file="sentences.toml"))
    repo.promote("home", 1, "stable")
    foreign = bundle(tmp_path, 1, b"GGUF", id="lora", kind="adapter", file="adapter.gguf", base_sha256="0" * 64)
    shutil.copytree(foreign, tmp_path / "models/lora-v1")
    (tmp_path / "data").mkdir()
    heat(tmp_path, 90)
    with served(repo) as site:
        yield (
            f"models_dir={tmp_path / 'models'}",
            f"sync.mirrors={site.address}",
            f"sync.root_file={repo.anchor}",
            "model.adapter=lora-v1",
            "sync.rate_kb_s=0",
            "sync.quiet_s=0",
        )


@pytest.mark.anyio
async def test_what_is_offered_waits_is_told_once_and_is_taken_when_the_board_is_calm(
    tmp_path: Path, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates_module, "_CALM_S", 0.05)
    monkeypatch.setattr(updates_module, "_AFTER_START_S", 0.0)
    bulletin = Bulletin()
    updates = await made(tmp_path, settings, bulletin)
    steps: list[str] = []
    async with bulletin.listen() as notices, anyio.create_task_group() as tasks:
        tasks.start_soon(updates.run)
        with anyio.fail_after(60):
            async for notice in notices:
                if not isinstance(notice, Happening) or notice.event_type != "update":
                    continue
                steps.append(str(notice.fields["step"]))
                if steps == ["waiting"]:
                    assert updates.status()["waiting"] == "the board is hot (90.0 °C, limit 75)"
                    assert notice.fields["message"] == updates.status()["waiting"]
                    assert "it rests: lora-v1 was made for another" in updates.status()["not_taken"]["lora-v1"]
                    await updates.check(take=True)  # by hand it waits as well, and is not told again
                    await anyio.to_thread.run_sync(heat, tmp_path, 40)
                if steps[-1] == "refused":
                    break
        tasks.cancel_scope.cancel()
    assert steps == ["waiting", "downloading", "trying", "refused"]
    assert updates.status()["waiting"] == ""


@pytest.mark.anyio
async def test_home_assistants_entity_shows_how_far_a_download_has_come(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    bulletin = Bulletin()
    updates = await made(tmp_path, settings, bulletin)

    def brings(stop: Stop) -> bool:
        updates._arrived(stop, Progress("home-v1", 40, 100))
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if bulletin.current().get("update", {}).get("update_percentage") == 40:
                return bool(bulletin.current()["update"]["in_progress"])
            time.sleep(0.01)
        return False

    assert await updates._thread_with_stop(brings)


async def made(folder: Path, settings: tuple[str, ...], bulletin: Bulletin) -> Updates:
    """The updates of a board whose /sys lies in `folder`."""
    read = partial(load, Flags(data_dir=folder / "data", profile="dev", settings=settings), {}, with_kept=True)
    config, clock = await anyio.to_thread.run_sync(read), await anyio.to_thread.run_sync(SystemClock)
    changes = Changes(config, read, lambda: None)
    make = partial(
        Updates, config, bulletin, changes, clock, book=Book(), board_id=lambda: "b", lanes={}, root=folder
    )
    return await anyio.to_thread.run_sync(make)
