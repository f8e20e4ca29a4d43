"""A trial where memory holds one model: the one in use makes room, and is back as soon as anybody wants it."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from perslm_daemon import update_book, update_proving
from perslm_daemon.engine_builds import build_engine
from perslm_daemon.machine import memory_room_mb
from perslm_daemon.process import command_line
from perslm_daemon.turns_first import TurnsFirst
from perslm_daemon.update_book import Book
from perslm_daemon.update_proving import Proving
from perslm_runtime.bundle import Manifest
from perslm_runtime.bundle_trial import Expected, Trial
from perslm_runtime.errors import BundleRefused, CatalogError
from perslm_runtime.lane import Lane, Stop
from real_models import with_heads
from test_update_kinds import FRANCE, Shelf

pytestmark = pytest.mark.anyio


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path)
    with_heads(tmp_path / "data")
    made.config = replace(made.config, sync=replace(made.config.sync, quiet_s=0.0, reserve_mb=1_000_000))
    return made


@asynccontextmanager
async def proving(shelf: Shelf, part: str, book: Book) -> AsyncIterator[tuple[Proving, Lane[Any]]]:
    async with Lane(part, partial(build_engine, shelf.config, part)) as lane:
        yield Proving(shelf.config, book, TurnsFirst(0), {part: lane}), lane


def sentences(shelf: Shelf) -> Manifest:
    text = b'[[intent]]\nname = "get_time"\nsentences = ["how late is it getting"]\n'
    return shelf.put(
        "intents", {"sentences.toml": text}, Trial(sentences=(Expected("how late is it getting", "get_time"),))
    )


def probes() -> list[int]:
    """The processes of this one that try a bundle."""
    pids = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    ours = [pid for pid in pids if "perslm_daemon.update_probe" in command_line(pid)]
    return [pid for pid in ours if parent(pid) == os.getpid()]


def parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


async def the_probe(before: int = 0) -> int:
    """The process of the trial, once it is there and another than the one before."""
    with anyio.fail_after(60):
        while True:
            for pid in await anyio.to_thread.run_sync(probes):
                if pid != before:
                    return pid
            await anyio.sleep(0.05)


def capital(model: Any, stop: Stop) -> str:
    model.begin(stop)
    *_, end = model.reply(stop, "What is the capital of Italy?", 24)
    return str(end.text)


async def test_whoever_asks_in_the_middle_of_a_trial_is_answered_by_the_former_model_and_it_begins_again(
    shelf: Shelf, small_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_proving, "_QUIETER_S", (0.0, 0.0))
    content = await anyio.to_thread.run_sync(small_gguf.read_bytes)
    put = partial(shelf.put, "llm", {"model.gguf": content + b"another"}, Trial((FRANCE,), right=1))
    manifest = await anyio.to_thread.run_sync(put)
    book, outcomes = Book(), []
    async with proving(shelf, "model", book) as (tries, lane), anyio.create_task_group() as tasks:

        async def proved() -> None:
            outcomes.append(await tries.prove(manifest))

        tasks.start_soon(proved)
        await the_probe()
        kept = await anyio.to_thread.run_sync(update_book.read, shelf.config.data_dir)
        assert kept.trying == "new-v1", "a power cut now is known of at the next start"
        assert "Rome" in await lane.call(capital)
        assert lane.rebuilt == 1
        with anyio.fail_after(120):
            while not outcomes:  # noqa: ASYNC110 - a list tells nobody
                await anyio.sleep(0.01)
        assert (outcomes[0].right, lane.rebuilt, book.trying) == (1, 1, "")
        await tries.restore()
        assert lane.rebuilt == 2
        await tries.restore()
        assert lane.rebuilt == 2, "what is back is left alone"


async def test_a_model_that_is_wanted_each_time_is_not_refused_and_tried_at_the_next_look(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_proving, "_QUIETER_S", (0.0,))
    manifest = await anyio.to_thread.run_sync(sentences, shelf)
    said: list[CatalogError] = []
    async with proving(shelf, "intents", Book()) as (tries, lane), anyio.create_task_group() as tasks:

        async def proved() -> None:
            with pytest.raises(CatalogError, match="memory holds one intents at a time") as error:
                await tries.prove(manifest)
            said.append(error.value)

        tasks.start_soon(proved)
        await the_probe()
        assert await lane.call(lambda engine, _stop: engine.recognize("what time is it").name) == "get_time"
    assert not isinstance(said[0], BundleRefused)


async def test_a_trial_that_memory_does_not_hold_beside_is_tried_alone_and_refused_where_it_does_not_either(
    shelf: Shelf,
) -> None:
    shelf.config = replace(shelf.config, sync=replace(shelf.config.sync, reserve_mb=0))
    manifest = await anyio.to_thread.run_sync(sentences, shelf)
    async with proving(shelf, "intents", Book()) as (tries, lane), anyio.create_task_group() as tasks:

        async def proved() -> None:
            with pytest.raises(
                BundleRefused, match="new-v1 was ended in its trial by the system: memory does not"
            ):
                await tries.prove(manifest)

        tasks.start_soon(proved)
        beside = await the_probe()
        assert await lane.call(lambda engine, _stop: engine.recognize("what time is it").name) == "get_time"
        await anyio.to_thread.run_sync(os.kill, beside, signal.SIGKILL)  # as the kernel does
        alone = await the_probe(beside)
        await anyio.to_thread.run_sync(os.kill, alone, signal.SIGKILL)


def test_the_room_for_a_trial_is_what_the_services_limit_leaves_where_that_is_nearer(tmp_path: Path) -> None:
    assert memory_room_mb(tmp_path) == 0, "a kernel that says nothing"
    group = tmp_path / "sys/fs/cgroup/system.slice/perslm.service"
    for folder in (tmp_path / "proc/self", group):
        folder.mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000000 kB\nMemAvailable:   500000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/perslm.service\n")
    assert memory_room_mb(tmp_path) == 512
    (group / "memory.current").write_text("250000000\n")
    (group / "memory.max").write_text("max\n")
    assert memory_room_mb(tmp_path) == 512
    (group / "memory.high").write_text("330000000\n")
    assert memory_room_mb(tmp_path) == 80
    (group / "memory.stat").write_text("anon 1\ninactive_file 40000000\nactive_file 90000000\n")
    assert memory_room_mb(tmp_path) == 120
    (group / "memory.max").write_text("260000000\n")
    assert memory_room_mb(tmp_path) == 50
