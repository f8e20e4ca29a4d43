"""A new model is watched: what people correct counts, where the model answered, and sends it back."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio.to_thread
import pytest

from perslm_daemon import kept, update_book
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.changes import Changes
from perslm_daemon.clock import SystemClock
from perslm_daemon.config import Flags, load
from perslm_daemon.turn import Timings, Turn
from perslm_daemon.update_book import Book, Watch
from perslm_daemon.updates import Updates
from perslm_runtime.intent import Intent

pytestmark = pytest.mark.anyio


def turn(heard: str, model: str = "home-v1") -> Turn:
    intent = None if model else Intent("set_timer", {})
    return Turn("t", heard, "an answer", (), model, Timings(), intent=intent)


async def watched(folder: Path, answers: int) -> tuple[Updates, Book, list[str]]:
    read = partial(load, Flags(data_dir=folder, profile="dev"), {}, with_kept=True)
    config = await anyio.to_thread.run_sync(read)
    book = Book(watch=Watch("home-v1", "llm", "smollm2-135m-q4_1", 0.0, answers=answers))
    reloads: list[str] = []
    changes = Changes(config, read, lambda: reloads.append("reload"))
    clock = await anyio.to_thread.run_sync(SystemClock)
    made = partial(Updates, config, Bulletin(), changes, clock, book=book, board_id=lambda: "board")
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
