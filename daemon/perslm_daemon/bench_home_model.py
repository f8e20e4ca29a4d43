"""Benchmark of the home's second stage: a table nothing is learned from, by sentences alone and with the model.

Where no sentence fits, the router and a model that has proven to choose are asked, as in the daemon; what they
choose goes the same way. One process, so that the prompt's head is computed once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio.to_thread

from perslm_daemon.bench_home_words import NEWEST, right_percent, skill_over, wrong_percent
from perslm_daemon.bench_row import Row
from perslm_daemon.bench_sentences import Judged, Noted, Table, judge, learned
from perslm_daemon.config_sections import Config
from perslm_daemon.engine_builds import open_model
from perslm_daemon.home_choose import PROVEN_PERCENT, Chooser
from perslm_daemon.home_intents import HomeIntents
from perslm_daemon.home_resolve import Act
from perslm_daemon.stores import open_models
from perslm_daemon.terminal import note
from perslm_daemon.turn import Answered, Ask, Parts
from perslm_runtime.embed import Embedder
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane
from perslm_runtime.router import Router

_CONTEXT = 2048
_FIT = "sentences that fit none that is known"


@dataclass(slots=True)
class Asked:
    """Counts the sentences that came to the second stage, and those that the router let through to the model."""

    choose: Chooser
    came: int = 0
    let_through: int = 0

    async def __call__(self, ask: Ask) -> Act | Answered | None:
        """Ask the chooser."""
        model = self.choose.parts.model
        before = model.progress
        act = await self.choose(ask)
        self.came += 1
        self.let_through += model.progress != before
        return act


async def unseen(config: Config) -> list[Row]:
    """How many sentences of the newest table are right: by ours, by Home Assistant's, and with a model behind."""
    if not NEWEST.exists():
        return []
    table = await anyio.to_thread.run_sync(Table.read, NEWEST)
    alone, stock = await _judged(table, stock=False), await _judged(table, stock=True)
    name, what = f"newest table, of {len(alone)}", "Home Assistant's own English sentences, the same resolving"
    rows = [
        Row(f"{name}: right", "%", right_percent(alone), right_percent(stock), what),
        Row(f"{name}: with a wrong action", "%", wrong_percent(alone), wrong_percent(stock), what),
    ]
    model = await anyio.to_thread.run_sync(_proven, config)
    if model is None:
        note("perslm: no second stage: it needs a model that has proven to choose and the embedder")
        return rows
    behind, asked = await judged_with(config, model, table)
    fits = f"{name}, {model} where no sentence fits"
    rows += [
        Row(f"{fits}: right", "%", right_percent(behind), right_percent(alone), "sentences alone"),
        Row(f"{fits}: with a wrong action", "%", wrong_percent(behind), wrong_percent(alone), "sentences alone"),
        Row("sentences that the router let through to the model", "", asked.let_through, asked.came, _FIT),
    ]
    return rows


def _proven(config: Config) -> str | None:
    """A model on the disk that may choose: the one that is configured before others."""
    store = open_models(config)
    ids = [config.model.id, *sorted(one.id for one in store.catalog.models)]
    good = [id_ for id_ in ids if store.catalog[id_].tools >= PROVEN_PERCENT and store.installed(id_)]
    return good[0] if good and store.installed(Embedder.name) else None


async def _judged(table: Table, *, stock: bool) -> list[Judged]:
    async with learned(table) as home, skill_over(home, stock=stock) as skill:
        await skill(Ask("turn on nothing"))
        return await judge(table, home, skill)


async def judged_with(config: Config, model: str, table: Table) -> tuple[list[Judged], Asked]:
    """A table through both stages, with the model of this id."""
    async with (
        learned(table) as home,
        skill_over(home, stock=False) as skill,
        _asked(config, model, home) as asked,
    ):
        return await _through(table, home, skill, asked), asked


async def _through(table: Table, home: Noted, skill: HomeIntents, asked: Asked) -> list[Judged]:
    await skill(Ask("turn on nothing"))
    skill.otherwise = asked
    return await judge(table, home, skill)


@asynccontextmanager
async def _asked(config: Config, model: str, home: Noted) -> AsyncIterator[Asked]:
    store = open_models(config)
    sized = dataclasses.replace(config, model=dataclasses.replace(config.model, context_tokens=_CONTEXT))
    file, folder = await anyio.to_thread.run_sync(lambda: (store.file(model), store.folder(Embedder.name)))

    async def do(intent: Intent, _ask: Ask) -> Answered:
        home.noted.append((intent.name, None, ""))  # a timer or a memory that nobody wanted is a wrong action
        return Answered(intent, "Done.")

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        parts = Parts(await enter(Lane("model", lambda: open_model(sized, file, snapshots=None))))
        parts.embed = await enter(Lane("embed", lambda: Embedder(folder)))
        router = await anyio.to_thread.run_sync(Router, Embedder.name)
        yield Asked(Chooser(parts, router, home, "", do))
