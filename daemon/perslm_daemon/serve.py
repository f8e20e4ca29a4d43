"""The running daemon: engines first, then the adapters that people and programs reach it through.

Reads as its start-up story; leaving is the exact reverse. Engines outlive a change of configuration that does not
concern them: on SIGHUP only what changed is started anew.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from enum import Enum

import anyio
import anyio.to_thread

from perslm_daemon.app import Assistant, Report, start
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import ENGINE_KEYS, Config
from perslm_daemon.control_claim import require_free
from perslm_daemon.control_client import SOCKET_NAME
from perslm_daemon.mouth import Mouth
from perslm_daemon.service import Notifier
from perslm_daemon.settings import Setting, Settings, SettingValue
from perslm_daemon.sound_card import SoundCard, SoundState
from perslm_daemon.sound_server import EchoCanceller, OtherStreams, SoundServer
from perslm_daemon.verb_table import Table
from perslm_daemon.ways import Running, Sound, open_ways
from perslm_runtime import __version__
from perslm_runtime.errors import PersLMError

log = logging.getLogger("perslm.serve")


class Wish(Enum):
    """What ends a run of the adapters."""

    STOP = "stop"
    RELOAD = "reload"
    RESTART = "restart"


class Wishes:
    """Where signals and verbs leave what they want of the daemon; the first one counts."""

    def __init__(self) -> None:
        self._wish: Wish | None = None
        self._asked = anyio.Event()

    def ask(self, wish: Wish) -> None:
        """Want something; a stop overrides what is not yet done."""
        if self._wish is None or wish is Wish.STOP:
            self._wish = wish
        self._asked.set()

    async def next(self) -> Wish:
        """Wait for a wish, and take it."""
        await self._asked.wait()
        wish, self._wish = self._wish or Wish.STOP, None
        self._asked = anyio.Event()
        return wish


async def serve(
    load: Callable[[], Config],
    wishes: Wishes,
    *,
    on_report: Callable[[Report], None] | None = None,
    on_ready: Callable[[Running], None] | None = None,
) -> None:
    """Run until a stop is wished for. `load` reads the configuration, at the start and on every reload.

    A configuration with mistakes ends the start, and on a reload is told and left out of account.
    """
    config = await anyio.to_thread.run_sync(load)
    # Told before a minute of loading: two daemons on one memory would undo each other's work.
    await anyio.to_thread.run_sync(require_free, config.data_dir / SOCKET_NAME)
    notifier = Notifier()
    notifier.step("Starting the engines")

    def told(report: Report) -> None:
        notifier.step(f"{report.part} is ready: {report.proof}")
        if on_report is not None:
            on_report(report)

    while True:
        voice = config.voice.enabled
        async with start(
            config, hears=voice, speaks=voice, voice_essential=False, on_report=on_report
        ) as assistant:
            while True:
                wish = await _run_adapters(config, assistant, wishes, notifier, on_ready)
                if wish is Wish.STOP:
                    return
                before, config = config, await _reloaded(load, config)
                if wish is Wish.RESTART or _engines_differ(before, config):
                    break


async def _run_adapters(
    config: Config,
    assistant: Assistant,
    wishes: Wishes,
    notifier: Notifier,
    on_ready: Callable[[Running], None] | None,
) -> Wish:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(_in_common(config, assistant, wishes))
        ways = await stack.enter_async_context(open_ways(running, notifier))
        running.bulletin.post("state", {"state": "online"})
        ways.announce()
        # What is there now stays: a full collection took 6 to 15 ms, in the middle of somebody's request.
        gc.collect()
        gc.freeze()
        log.info("online node=%s verbs=%s", config.node, ",".join(running.verbs.names))
        notifier.ready(_status_line(running))
        if on_ready is not None:
            on_ready(replace(running, broker=ways.broker))
        wish = await wishes.next()
        log.info("leaving wish=%s", wish.value)
        if wish is Wish.STOP:
            notifier.stopping()
        else:
            notifier.reloading()
        assistant.pipeline.interrupt()
        running.bulletin.post("state", {"state": "offline"})
        return wish


@asynccontextmanager
async def _in_common(config: Config, assistant: Assistant, wishes: Wishes) -> AsyncIterator[Running]:
    """Bulletin, settings and verbs: what every adapter speaks of."""
    async with AsyncExitStack() as stack:
        bulletin = Bulletin()
        bulletin.post("state", {"state": "starting"})
        bulletin.post("activity", "idle")
        bulletin.post("info", _info(config, assistant))
        sound = await stack.enter_async_context(_sound(config, assistant, bulletin))
        settings = Settings(bulletin, _settings(assistant, sound))
        mouth = sound.mouth if sound else None
        table = Table(assistant, config, bulletin, lambda: wishes.ask(Wish.RESTART), mouth, time.monotonic())
        yield Running(config, assistant, bulletin, settings, table, table.verbs(), sound=sound)


@asynccontextmanager
async def _sound(config: Config, assistant: Assistant, bulletin: Bulletin) -> AsyncIterator[Sound | None]:
    """Sound card and mouth, for a daemon with a voice; a card that does not open is told and opens when it can."""
    if not config.voice.enabled:
        yield None
        return

    def told(state: SoundState) -> None:
        before = bulletin.current().get("sound", {})
        bulletin.post("sound", state.as_value())
        if state.problem and state.problem != before.get("problem"):
            bulletin.tell("warning", what="sound", message=state.problem)

    server = SoundServer()
    card = SoundCard(config.audio, tell=told, echo=EchoCanceller(server) if config.audio.echo_cancel else None)
    others = OtherStreams(server, config.data_dir / "ducked.json")
    mouth = Mouth(assistant.parts.tts, card, config.mouth, bulletin, others=others)
    tasks = await anyio.create_task_group().__aenter__()
    try:
        await tasks.start(card.run)
        await tasks.start(mouth.run)
        yield Sound(card, mouth)
    finally:
        tasks.cancel_scope.cancel()
        # Not handed the error: it would come out wrapped in an exception group.
        await tasks.__aexit__(None, None, None)


def _settings(assistant: Assistant, sound: Sound | None) -> dict[str, tuple[Setting, SettingValue]]:
    pipeline = assistant.pipeline
    table: dict[str, tuple[Setting, SettingValue]] = {}

    async def remember(value: SettingValue) -> None:
        pipeline.remembering = bool(value)

    if assistant.parts.memory is not None:
        switch = Setting("memory", "switch", "remember and recall", remember)
        table["memory"] = (switch, pipeline.remembering)
    if sound is not None:
        card, mouth = sound.card, sound.mouth

        async def turn_up(value: SettingValue) -> None:
            mouth.volume = float(value)

        async def mute(value: SettingValue) -> None:
            await card.mute(bool(value))

        table["volume"] = (Setting("volume", "number", "loudness of what is said", turn_up), mouth.volume)
        table["mute"] = (Setting("mute", "switch", "close the microphone", mute), card.state.muted)
    return table


def _info(config: Config, assistant: Assistant) -> dict[str, object]:
    return {
        "node": config.node,
        "version": __version__,
        "model": config.model.id,
        "parts": [report.part for report in assistant.reports],
        "degraded": [{"part": one.part, "reason": one.reason} for one in assistant.degraded],
    }


async def _reloaded(load: Callable[[], Config], before: Config) -> Config:
    try:
        return await anyio.to_thread.run_sync(load)
    except PersLMError as error:
        log.warning("reload_failed error=%s", error)
        return before


def _status_line(running: Running) -> str:
    missing = ", ".join(one.part for one in running.assistant.degraded)
    return f"{running.config.node} answers" + (f"; goes on without {missing}" if missing else "")


def _engines_differ(before: Config, after: Config) -> bool:
    return any(getattr(before, name) != getattr(after, name) for name in ("data_dir", *ENGINE_KEYS))
