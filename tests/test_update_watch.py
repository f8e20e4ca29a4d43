"""A new model is watched: what people correct counts, where the model answered, and sends it back."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from perslm_daemon import kept, update_book
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.changes import Changes
from perslm_daemon.clock import SystemClock
from perslm_daemon.config import Flags, load
from perslm_daemon.turn import Timings, Turn
from perslm_daemon.update_book import Book, Watch
from perslm_daemon.update_watch import Watching
from perslm_daemon.updates import Updates
from perslm_runtime.errors import InputError
from perslm_runtime.intent import Intent
from updates import bundle

pytestmark = pytest.mark.anyio


def turn(heard: str, model: str = "home-v1") -> Turn:
    intent = None if model else Intent("set_timer", {})
    return Turn("t", heard, "an answer", (), model, Timings(), intent=intent)


async def watched(folder: Path, answers: int) -> tuple[Updates, Book, list[str]]:
    settings = (f"models_dir={folder / 'models'}",)
    read = partial(load, Flags(data_dir=folder, profile="dev", settings=settings), {}, with_kept=True)
    config = await anyio.to_thread.run_sync(read)
    book = Book(watch=Watch("home-v1", "llm", "smollm2-135m-q4_1", 0.0, answers=answers))
    reloads: list[str] = []
    changes = Changes(config, read, lambda: reloads.append("reload"))
    clock = await anyio.to_thread.run_sync(SystemClock)
    made = partial(Updates, config, Bulletin(), changes, clock, book=book, board_id=lambda: "board", lanes={})
    return await anyio.to_thread.run_sync(made), book, reloads


async def test_a_model_whose_answers_are_corrected_again_and_again_goes_back(tmp_path: Path) -> None:
    updates, book, reloads = await watched(tmp_path, answers=12)
    for number in range(4):
        assert book.watch is not None, number
        await updates.saw(turn("What is the capital of Italy?"))
        await updates.saw(turn("No, I meant the other one"))
    assert book.watch is None
    assert book.refused == {"home-v1": "4 of 12 answers were corrected"}
    assert reloads == ["reload"]
    assert await anyio.to_thread.run_sync(kept.read, tmp_path) == {"model.id": "smollm2-135m-q4_1"}
    assert (await anyio.to_thread.run_sync(update_book.read, tmp_path)).refused == book.refused


async def test_a_few_corrections_of_many_answers_and_those_of_skills_send_nothing_back(tmp_path: Path) -> None:
    updates, book, reloads = await watched(tmp_path, answers=40)
    for _ in range(6):
        await updates.saw(turn("set a timer for five minutes", model=""))
        await updates.saw(turn("no, I meant ten minutes", model=""))
    for _ in range(4):
        await updates.saw(turn("What is the capital of Italy?"))
        await updates.saw(turn("No, I meant the other one"))
    assert book.watch is not None
    assert (book.watch.corrections, book.refused, reloads) == (4, {}, [])


async def test_what_went_back_is_deleted_and_what_is_used_stays(tmp_path: Path) -> None:
    updates, book, _ = await watched(tmp_path, answers=0)
    models = updates._config.models_dir
    made = [await anyio.to_thread.run_sync(bundle, tmp_path, version, b"GGUF%d" % version) for version in (1, 2)]
    for number, folder in enumerate(made, 1):
        await anyio.to_thread.run_sync(shutil.copytree, folder, models / f"home-v{number}")
    book.watch, book.refused = None, {"home-v1": "it ended twice"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(updates.run)
        with anyio.fail_after(20):
            while await anyio.Path(models / "home-v1").exists():  # noqa: ASYNC110 - a folder tells nobody
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert await anyio.Path(models / "home-v2").exists()


async def test_somebody_goes_back_by_hand_to_the_model_before_and_to_none_where_there_was_none(
    tmp_path: Path,
) -> None:
    named = {"model.id": "home-v1", "intents.bundle": "mine-v1"}
    await anyio.to_thread.run_sync(kept.change, tmp_path, named)
    updates, book, reloads = await watched(tmp_path, answers=0)
    assert await updates.roll_back("llm") == "smollm2-135m-q4_1"
    book.former = {"intents": ""}
    assert await updates.roll_back("intents") == ""
    left = await anyio.to_thread.run_sync(kept.read, tmp_path)
    assert left == {"model.id": "smollm2-135m-q4_1", "intents.bundle": ""}
    assert set(book.refused) == {"home-v1", "mine-v1"}
    assert reloads == ["reload", "reload"]
    for kind, why in (("wake", "no former model"), ("vision", "no kind 'vision'")):
        with pytest.raises(InputError, match=why):
            await updates.roll_back(kind)


def test_several_who_write_the_book_at_once_take_no_draft_from_each_other(tmp_path: Path) -> None:
    book = Book(refused={f"home-v{number}": "x" * 2000 for number in range(20)})
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(update_book.write, tmp_path, book) for _ in range(64)]:
            done.result()
    assert update_book.read(tmp_path) == book


def stored(folder: Path, models: Path) -> None:
    for version in (1, 2, 3):
        shutil.copytree(bundle(folder, version, b"GGUF%d" % version), models / f"home-v{version}")
    (models / "smollm2-135m-q4_1").mkdir()


async def test_when_a_model_stays_what_was_used_before_and_the_base_stay_and_older_ones_go(tmp_path: Path) -> None:
    await anyio.to_thread.run_sync(kept.change, tmp_path, {"model.id": "home-v3"})
    updates, book, _ = await watched(tmp_path, answers=0)
    book.watch = Watch("home-v3", "llm", "home-v2", 0.0)  # since 1970: its probation is over
    book.former = {"llm": "home-v2"}
    models = updates._config.models_dir
    await anyio.to_thread.run_sync(stored, tmp_path, models)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(updates.run)
        with anyio.fail_after(20):
            while await anyio.Path(models / "home-v1").exists():  # noqa: ASYNC110 - a folder tells nobody
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    left = {path.name async for path in anyio.Path(models).iterdir() if not path.name.startswith(".")}
    assert left == {"home-v2", "home-v3", "smollm2-135m-q4_1"}
    assert (book.watch, book.history[-1].step) == (None, "kept")


async def test_answers_that_take_three_times_as_long_as_before_send_a_model_back(tmp_path: Path) -> None:
    await anyio.to_thread.run_sync(kept.change, tmp_path, {"model.id": "home-v1"})
    updates, book, reloads = await watched(tmp_path, answers=0)
    assert book.watch is not None
    book.watch.before_ms, book.watch.since_s = 100.0, 1e12  # it is watched for as long as this lasts
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(updates.run)
        await anyio.wait_all_tasks_blocked()
        for latency_ms in (900, 110, 120, 90, 100, 130, 95, 105):  # one slow one is no sign
            updates._bulletin.post("latency_ms", latency_ms)
            await anyio.wait_all_tasks_blocked()
        assert book.watch is not None
        for latency_ms in range(400, 408):
            updates._bulletin.post("latency_ms", latency_ms)
            await anyio.wait_all_tasks_blocked()  # only the latest of a value is told
        with anyio.fail_after(20):
            while not reloads:  # noqa: ASYNC110 - a list tells nobody
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert book.refused["home-v1"].startswith("answers take 40")
    assert book.refused["home-v1"].endswith("ms and took 100 ms before")


def test_corrections_of_what_was_understood_send_sentences_back() -> None:
    watching, watch = Watching(), Watch("mine-v1", "intents", "", 0.0)
    why = ""
    for _ in range(4):
        assert why == ""
        watching.saw(watch, turn("egg clock for four minutes", model=""))
        why = watching.saw(watch, turn("no, I meant five minutes", model=""))
    assert why == "4 of 8 answers were corrected"
    assert watching.went_wrong(watch, "model") == "", "another engine's error is no sign against them"
    for _ in range(2):
        assert watching.went_wrong(watch, "intents") == ""
    assert watching.went_wrong(watch, "intents") == "3 errors since it is used"
