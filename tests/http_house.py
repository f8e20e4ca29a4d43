"""A daemon with its HTTP port open on loopback, for tests of what programs and browsers see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from perslm_daemon.config import Flags
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.ways import Running
from real_models import load_with_heads, models_dir


@asynccontextmanager
async def house(folder: Path, *more: str, voice: bool = False) -> AsyncIterator[Running]:
    """The daemon with a real model, without `voice` with nothing else; the block runs while it is online."""
    wishes, online, seen = Wishes(), anyio.Event(), list[Running]()
    settings = (
        *(() if voice else ("voice.enabled=false", "embed.enabled=false")),
        "discovery.enabled=false",
        "model.max_reply_tokens=24",
        f"models_dir={models_dir()}",
        "http.enabled=true",
        "http.port=0",
        *more,
    )

    def on_ready(running: Running) -> None:
        seen.append(running)
        online.set()

    async def run() -> None:
        flags = Flags(data_dir=folder, profile="dev", settings=settings)
        await serve(lambda: load_with_heads(flags), wishes, on_ready=on_ready)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await online.wait()
        yield seen[0]
        wishes.ask(Wish.STOP)
