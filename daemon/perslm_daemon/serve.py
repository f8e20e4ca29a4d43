"""The running daemon: engines first, then the adapters that people and programs reach it through.

Reads as its start-up story; leaving is the exact reverse. Engines outlive a change of configuration that does not
concern them: on SIGHUP only what changed is started anew.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from enum import Enum
from functools import partial

import anyio
import anyio.to_thread

from perslm_daemon import forgetting, kept, telling, tool_table, update_book
from perslm_daemon.answering import Answering, answering_of, moment_of, plans_of
from perslm_daemon.app import Assistant, Fault, Report, needs_start, renew, renewable, start
from perslm_daemon.arbitration import Arbitration
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.changes import Changes
from perslm_daemon.clock import Clock, clocks
from perslm_daemon.config_sections import ENGINE_KEYS, Config
from perslm_daemon.control_claim import require_free
from perslm_daemon.control_client import SOCKET_NAME
from perslm_daemon.discovery import identity
from perslm_daemon.home_book import hints
from perslm_daemon.llms import usable_llms
from perslm_daemon.mouth import Mouth
from perslm_daemon.notify import Notifications
from perslm_daemon.patience import Patience
from perslm_daemon.plugin_wire import NoticeShape
from perslm_daemon.plugins import Plugins
from perslm_daemon.schedule import NoSound, Ringer, Schedule
from perslm_daemon.schedule_file import ScheduleFile
from perslm_daemon.service import Notifier
from perslm_daemon.settings import Setting, Settings, SettingValue
from perslm_daemon.sharing import Sharing
from perslm_daemon.skills import Skills
from perslm_daemon.starting import Starting
from perslm_daemon.tool_table import open_tools
from perslm_daemon.updates import Updates
from perslm_daemon.verb_table import Table
from perslm_daemon.voice import open_live, open_sound, voice_settings
from perslm_daemon.ways import Running, home_of, open_ways
from perslm_runtime import __version__
from perslm_runtime.completeness import Ending
from perslm_runtime.errors import PersLMError

log = logging.getLogger("perslm.serve")

_HEARD_OUT_S = 30.0  # a reply that is read aloud takes half a minute; whoever talks longer is cut off


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
        self.stopping = anyio.Event()
        """Set once a stop is wished for."""

    def ask(self, wish: Wish) -> None:
        """Want something; a stop overrides what is not yet done."""
        if self._wish is None or wish is Wish.STOP:
            self._wish = wish
        if wish is Wish.STOP:
            self.stopping.set()
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
    settled = await anyio.to_thread.run_sync(update_book.settle, config.data_dir)
    if settled:
        config = await anyio.to_thread.run_sync(load)
    async with Patience(Notifier()) as patience, Starting() as starting:
        patience.step("Starting the engines")
        frame = _Frame(load, wishes, patience, starting, on_report, on_ready, [settled] if settled else [])
        await _serve(config, frame)
    await anyio.to_thread.run_sync(update_book.ended, config.data_dir)


async def _serve(config: Config, frame: _Frame) -> None:
    while True:
        async with AsyncExitStack() as stack:
            frame.starting.begin(config)
            assistant, config = await _start_engines(stack, frame, config)
            await frame.starting.end()
            while True:
                wish = await _run_adapters(config, assistant, frame)
                if wish is Wish.STOP:
                    return
                before, config = config, await _reloaded(frame, config)
                if wish is Wish.RESTART or needs_start(assistant, before, config):
                    frame.patience.step("Starting the engines anew")
                    break
                assistant, config = await _renewed(frame, assistant, before, config)


@dataclass(slots=True)
class _Frame:
    """What stays the same for as long as the daemon runs. `news` is told as warnings once somebody can hear it."""

    load: Callable[[], Config]
    wishes: Wishes
    patience: Patience
    starting: Starting
    on_report: Callable[[Report], None] | None
    on_ready: Callable[[Running], None] | None
    news: list[str] = field(default_factory=list)
    bulletin: Bulletin | None = None

    def told(self, report: Report) -> None:
        """A part is ready; the next one is begun."""
        self.patience.step(f"{report.part} is ready: {report.proof}")
        if self.on_report is not None:
            self.on_report(report)

    def tell_fault(self, fault: Fault) -> None:
        """Let the house know that an engine failed; before anybody listens the log has it."""
        if self.bulletin is None:
            return
        self.bulletin.tell("error", message=fault.sentence(), engine=fault.part)
        if fault.given_up:
            info = self.bulletin.current()["info"]
            gone = {"part": fault.part, "reason": fault.given_up}
            self.bulletin.post("info", {**info, "degraded": [*info["degraded"], gone]})


async def _start_engines(stack: AsyncExitStack, frame: _Frame, config: Config) -> tuple[Assistant, Config]:
    """Start what `config` describes. Where it fails by what was set while running, that is taken back."""
    try:
        return await _engines(stack, frame, config), config
    except PersLMError as error:
        gone = await anyio.to_thread.run_sync(kept.take_back, config.data_dir, _is_of_engines)
        if not gone:
            raise
        frame.news.append(f"{', '.join(gone)} is taken back, PersLM could not start with it: {error}")
        log.exception("taken_back keys=%s", ",".join(gone))
        former = await anyio.to_thread.run_sync(frame.load)
        return await _engines(stack, frame, former), former


async def _engines(stack: AsyncExitStack, frame: _Frame, config: Config) -> Assistant:
    voice = config.voice.enabled
    return await stack.enter_async_context(
        start(
            config,
            hears=voice,
            speaks=voice,
            understands=True,
            voice_essential=False,
            on_report=frame.told,
            on_fault=frame.tell_fault,
        )
    )


async def _renewed(frame: _Frame, assistant: Assistant, before: Config, after: Config) -> tuple[Assistant, Config]:
    """The assistant with only those engines built anew that `after` concerns; unchanged where that fails."""
    frame.patience.step("Building anew what the configuration changed")
    try:
        return await renew(assistant, before, after), after
    except PersLMError as error:
        gone = await anyio.to_thread.run_sync(kept.take_back, after.data_dir, _is_of_engines)
        frame.news.append(f"the new configuration is not in force: {error}")
        log.exception("renew_failed taken_back=%s", ",".join(gone))
        return assistant, before


def _is_of_engines(key: str) -> bool:
    return key.partition(".")[0] in ENGINE_KEYS


async def _run_adapters(config: Config, assistant: Assistant, frame: _Frame) -> Wish:
    wishes, notifier, on_ready = frame.wishes, frame.patience.notifier, frame.on_ready
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(_in_common(config, assistant, frame))
        ways = await stack.enter_async_context(open_ways(running, notifier))
        # Only now: what ran out while we were off is told to a broker that is there to hear it.
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(running.schedule.run)
        table = running.table
        if table.updates is not None:
            tasks.start_soon(table.updates.run)
        if table.sharing is not None:
            tasks.start_soon(table.sharing.run)
        if table.tools is not None:
            tasks.start_soon(table.tools.approvals.run)
        if table.plugins is not None:
            tasks.start_soon(table.plugins.run)
        if table.notifications is not None:
            tasks.start_soon(telling.run, table.notifications, config.notify, running.bulletin, table.home)
        running.bulletin.post("state", {"state": "online"})
        for message in frame.news:
            running.bulletin.tell("warning", message=message)
        frame.news.clear()
        ways.announce()
        # What is there now stays: a full collection took 6 to 15 ms, in the middle of somebody's request.
        gc.unfreeze()  # what a reload has replaced
        gc.collect()
        gc.freeze()
        log.info("online node=%s verbs=%s", config.node, ",".join(running.verbs.names))
        frame.patience.end()
        notifier.ready(_status_line(running))
        if on_ready is not None:
            on_ready(replace(running, broker=ways.broker, own=ways.own, http=ways.http))
        wish = await wishes.next()
        if wish is not Wish.STOP:
            await _heard_out(assistant, wishes)
        log.info("leaving wish=%s", wish.value)
        if wish is Wish.STOP:
            notifier.stopping()
        else:
            notifier.reloading()
        assistant.pipeline.interrupt()
        running.bulletin.post("state", {"state": "offline"})
        return wish


async def _heard_out(assistant: Assistant, wishes: Wishes) -> None:
    """A change comes between two turns: who is being answered, or waits for it, is answered first.

    A turn that began after the board had been found idle was cut off by the change-over. A stop waits for nobody.
    """
    async with anyio.create_task_group() as tasks:

        async def unless_stopped() -> None:
            await wishes.stopping.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(unless_stopped)
        with anyio.move_on_after(_HEARD_OUT_S):
            async with assistant.pipeline.queue.patiently():
                pass
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _in_common(config: Config, assistant: Assistant, frame: _Frame) -> AsyncIterator[Running]:
    """Bulletin, settings and verbs: what every adapter speaks of."""
    async with AsyncExitStack() as stack:
        bulletin = frame.bulletin = Bulletin()
        bulletin.post("state", {"state": "starting"})
        bulletin.post("activity", "idle")
        bulletin.post("info", _info(config, assistant))
        changes = Changes(config, frame.load, lambda: frame.wishes.ask(Wish.RELOAD))
        sound = await stack.enter_async_context(open_sound(config, assistant, bulletin))
        mouth = sound.mouth if sound else None
        restart = partial(frame.wishes.ask, Wish.RESTART)
        clock, zone = await anyio.to_thread.run_sync(clocks, config.timers.trust_clock)
        schedule = await _schedule(config, bulletin, mouth or NoSound(), frame, clock, zone)
        table = Table(assistant, config, bulletin, restart, changes, mouth, time.monotonic(), schedule)
        table.home = home_of(config, bulletin) if config.home.enabled else None
        table.updates = await _updates(config, assistant, bulletin, changes, clock)
        recollection = assistant.pipeline.recollection if assistant.parts.memory is not None else None
        if recollection is not None:
            table.sharing = Sharing(config, recollection, bulletin, clock)
        stands_on = tool_table.Parts(config.data_dir, schedule.now, schedule, recollection, table.home)
        table.tools = await stack.enter_async_context(open_tools(config.tools, bulletin, stands_on))
        table.notifications = await _notifications(config, bulletin, schedule, mouth, frame)
        table.plugins = Plugins(config, table.tools, bulletin, partial(_tell_of_plugin, table))
        arbitration = Arbitration(config.mqtt.base, config.node)
        skills: Answering | None = None

        async def knows(text: str) -> Ending | None:
            return None if skills is None else await skills.ending(text)

        if sound is not None:
            loop = open_live(
                config,
                assistant,
                sound,
                bulletin,
                table.turn_by_voice,
                arbitration=arbitration,
                rings=schedule,
                knows=knows,
            )
            table.live = await stack.enter_async_context(loop)
        llms = await anyio.to_thread.run_sync(usable_llms, config)
        found = _settings(assistant, config, table, llms)
        if table.live is not None and table.home is not None and config.stt.engine == "whisper":
            table.live.expect(partial(hints, table.home))
        if sound is not None:
            found |= voice_settings(config, assistant, sound, table.live)
        settings = Settings(bulletin, found, changes.keep)
        if assistant.intents is not None:
            everyday = Skills(assistant.intents, schedule, settings, bulletin, schedule.now, config.stt.language)
            plans = plans_of(assistant, table.home, schedule, bulletin, mouth)
            skills = await answering_of(config, assistant, table.home, everyday, table.tools, table.plugins, plans)
        assistant.pipeline.skills = skills
        assistant.pipeline.moment = await anyio.to_thread.run_sync(moment_of, config)
        assistant.pipeline.elsewhere = [forgetting.OnBulletin(bulletin).drop, table.plugins.keep]
        if table.sharing is not None:
            assistant.pipeline.elsewhere.append(table.sharing.forgotten)
        if table.notifications is not None:
            assistant.pipeline.elsewhere.append(table.notifications.forget)
        assistant.pipeline.preview = None if skills is None else skills.preview
        yield Running(
            config,
            assistant,
            bulletin,
            settings,
            table,
            table.verbs(),
            schedule,
            sound=sound,
            arbitration=arbitration,
        )


async def _updates(
    config: Config, assistant: Assistant, bulletin: Bulletin, changes: Changes, clock: Clock
) -> Updates:
    book = await anyio.to_thread.run_sync(update_book.read, config.data_dir)
    board_id, lanes = partial(identity, config.data_dir), renewable(assistant)
    made = partial(Updates, config, bulletin, changes, clock, book=book, board_id=board_id, lanes=lanes)
    return await anyio.to_thread.run_sync(made)  # it looks for the host's folder on the disk


async def _notifications(
    config: Config, bulletin: Bulletin, schedule: Schedule, mouth: Mouth | None, frame: _Frame
) -> Notifications | None:
    """The notifications, with what is kept of them."""
    told = telling.notifications_of(config.notify, config.data_dir, bulletin, schedule.now, mouth)
    if told is not None:
        try:
            await told.open()
        except PersLMError as error:
            frame.news.append(str(error))
    return told


async def _tell_of_plugin(table: Table, plugin: str, notice: NoticeShape) -> None:
    """What a plug-in has to tell, as a notification; without those it is an event."""
    if table.notifications is None:
        table.bulletin.tell("notice", text=notice.text, subject=plugin)
        return
    await table.notifications.put(notice.text, title=plugin, urgency="high" if notice.urgent else "normal")


async def _schedule(
    config: Config, bulletin: Bulletin, ringer: Ringer, frame: _Frame, clock: Clock, zone: tzinfo
) -> Schedule:
    """The timers, alarms and reminders that are kept in the data folder."""
    file = ScheduleFile(config.data_dir / "timers.json")
    schedule = Schedule(config.timers, file, clock, zone, bulletin, ringer)
    try:
        await schedule.open()
    except PersLMError as error:
        frame.news.append(str(error))
    return schedule


def _settings(
    assistant: Assistant, config: Config, table: Table, llms: Sequence[str]
) -> dict[str, tuple[Setting, SettingValue]]:
    recollection = assistant.pipeline.recollection
    found: dict[str, tuple[Setting, SettingValue]] = {}

    async def remember(value: SettingValue) -> None:
        recollection.remembering = bool(value)

    if assistant.parts.memory is not None:
        recollection.remembering = config.memory.remember
        switch = Setting("memory", "switch", "remember and recall", remember, key="memory.remember")
        found["memory"] = (switch, recollection.remembering)

        async def guests(value: SettingValue) -> None:
            recollection.only_guests = bool(value)

        recollection.only_guests = config.memory.guests
        about = "whoever is not vouched for asks as a guest, who leaves nothing and is told nothing"
        found["guests"] = (Setting("guests", "switch", about, guests, key="memory.guests"), config.memory.guests)
    if len(llms) > 1:

        async def answer_with(value: SettingValue) -> None:
            await table.use_model(str(value))

        choice = Setting("model", "select", "which model answers", answer_with, options=tuple(llms))
        found["model"] = (choice, config.model.id)
    return found


def _info(config: Config, assistant: Assistant) -> dict[str, object]:
    return {
        "node": config.node,
        "version": __version__,
        "model": config.model.id,
        "parts": [report.part for report in assistant.reports],
        "degraded": [{"part": one.part, "reason": one.reason} for one in assistant.missing],
    }


async def _reloaded(frame: _Frame, before: Config) -> Config:
    try:
        return await anyio.to_thread.run_sync(frame.load)
    except PersLMError as error:
        log.warning("reload_failed error=%s", error)
        frame.news.append(f"the configuration was not read anew: {error}")
        return before


def _status_line(running: Running) -> str:
    missing = ", ".join(one.part for one in running.assistant.missing)
    return f"{running.config.node} answers" + (f"; goes on without {missing}" if missing else "")
