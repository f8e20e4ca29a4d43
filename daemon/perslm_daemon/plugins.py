"""The plug-ins of the running daemon: started by name, registered as tools, watched, and given up where they fail.

Each lives in a process of its own behind a lane; nothing that one does ends or holds up another or the daemon.
Knows no sentence but those the plug-ins bring, and decides nothing about a call: tools.py does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from perslm_daemon import plugin_wire as wire
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Config
from perslm_daemon.plugin_process import PluginProcess, Spec
from perslm_daemon.plugin_specs import Shelf, shelf_of
from perslm_daemon.plugin_told import ToldBefore
from perslm_daemon.plugin_tools import (
    full_name,
    manifest_of,
    plain_data,
    require_bounds,
    said_of,
    unpacked,
)
from perslm_daemon.tools import Caller, Limits, Risk, Told, Tools, clipped
from perslm_runtime.errors import PersLMError, PluginFailed, PluginRefused
from perslm_runtime.lane import Lane
from perslm_runtime.lane_faults import Faults, RebuildPolicy
from perslm_runtime.plugin_sentences import PluginSentences
from perslm_runtime.tool_call import Value

log = logging.getLogger("perslm.plugins")

_LOOK_S, _LEAST_LOOK_S = 5.0, 0.5
_GRACE_S = 3.0  # the process ends a call by itself; the gate's own limit is for one that does not
_AGAIN_S = 60.0
_MOST_ASKED = 400  # characters of a question that a plug-in words
_STOP_S = 30.0  # a connection that is opened for a plug-in looks at no stop
_GIVEN_UP = RebuildPolicy(times=4, within_s=600.0)

Tell = Callable[[str, wire.NoticeShape], Awaitable[None]]
"""Where notices of plug-ins go: the plug-in's name, and what it has to tell."""


@dataclass(slots=True)
class Plugged:
    """An enabled plug-in: what it brings once that is known, or why it cannot be used."""

    name: str
    own: bool = False
    lane: Lane[PluginProcess] | None = None
    spec: Spec | None = None
    shape: wire.Shape | None = None
    problem: str = ""
    sentences: PluginSentences | None = None
    faults: Faults = field(default_factory=lambda: Faults(_GIVEN_UP))
    watched_at: float = 0.0

    @property
    def called(self) -> str:
        """What its tools' names begin with: an MCP server's own name."""
        return self.name.rpartition(".")[2]

    @property
    def state(self) -> str:
        """In one word."""
        if self.problem:
            return "refused"
        return "ready" if self.shape is not None else "starting"


class Plugins:
    """The enabled plug-ins; `run` starts them and keeps them until it is cancelled."""

    def __init__(
        self, config: Config, tools: Tools, bulletin: Bulletin, tell: Tell, again_s: float = _AGAIN_S
    ) -> None:
        self._again_s = again_s
        self._config, self._tools, self._bulletin, self._tell = config, tools, bulletin, tell
        self.plugged = {name: Plugged(name) for name in config.plugins.enabled}
        self._shelf: Shelf | None = None
        self.settled = anyio.Event()
        """Set once every enabled plug-in is ready or refused."""

    async def run(self) -> None:
        """Start what is enabled, each by itself."""
        try:
            self._shelf = await anyio.to_thread.run_sync(shelf_of, self._config)
        except PersLMError as error:
            for one in self.plugged.values():
                self._refuse(one, error)
            self.settled.set()
            return
        async with anyio.create_task_group() as tasks:
            for one in self.plugged.values():
                tasks.start_soon(self._live, one, self._shelf)
            if not self.plugged:
                self.settled.set()

    async def _live(self, one: Plugged, shelf: Shelf) -> None:
        """One plug-in, from its start until the daemon leaves, or it is given up.

        An MCP server that does not answer is tried again: it may be another machine, which comes up later.
        """
        found = shelf.find(one.name)
        one.own = found is not None and found.own
        while True:
            try:
                await self._started(one, shelf)
            except PersLMError as error:
                self._refuse(one, error)
            except Exception as error:
                # Its edge: whatever a plug-in makes of us, the daemon and the other plug-ins go on.
                log.exception("plugin=%s error=%s", one.name, type(error).__name__)
                self._refuse(one, PluginRefused(f"what it brings cannot be used ({type(error).__name__})"))
            if found is not None or one.shape is not None:
                return
            await anyio.sleep(self._again_s)

    async def _started(self, one: Plugged, shelf: Shelf) -> None:
        spec = await anyio.to_thread.run_sync(shelf.spec, one.name)
        async with Lane(f"plugin {one.name}", partial(PluginProcess, spec), stop_s=_STOP_S) as lane:
            shape = await lane.call(PluginProcess.shape)
            one.spec = await anyio.to_thread.run_sync(shelf.completed, spec, shape)
            if one.spec != spec:  # now with its settings, which it was not shown before they were checked
                await lane.renew(partial(PluginProcess, one.spec))
            shape = await anyio.to_thread.run_sync(shelf.governed, one.name, shape)
            self._register(one, shape)
            one.lane, one.problem = lane, ""
            self._settle()
            await self._look_after(one, lane, shape)

    def _register(self, one: Plugged, shape: wire.Shape) -> None:
        """Add its tools and sentences. Raises `PluginRefused` where one cannot be taken: then none is."""
        require_bounds(shape)
        reaches = one.spec is not None and bool(one.spec.hosts)
        limits = Limits(self._config.plugins.call_s + _GRACE_S, self._config.plugins.memory_mb)
        made = [(tool, manifest_of(shape, tool, reaches=reaches, limits=limits)) for tool in shape.tools]
        taken = {manifest.name for manifest in self._tools.manifests}
        if twice := sorted(taken & {manifest.name for _, manifest in made}):
            raise PluginRefused(f"the plug-in {one.name} has a tool {twice[0]}, which there is already")
        said = [said_of(tool) for tool in shape.tools]
        one.sentences = PluginSentences(one.name, said)
        for tool, manifest in made:
            self._tools.register(manifest, partial(self._run, one, tool))
        one.shape = shape
        log.info("plugin=%s version=%s tools=%d ready", one.name, shape.version, len(made))

    def _refuse(self, one: Plugged, error: PersLMError) -> None:
        before, one.problem = one.problem, str(error)
        for tool in one.shape.tools if one.shape is not None else ():
            self._tools.withdraw(full_name(one.called, tool.name), one.problem)
        one.lane, one.sentences = None, None
        log.warning("plugin=%s refused=%s", one.name, type(error).__name__)
        if one.problem != before:
            self._bulletin.tell("warning", message=f"plug-in {one.name}: {error}")
        self._settle()

    def _settle(self) -> None:
        if all(one.state != "starting" for one in self.plugged.values()):
            self.settled.set()

    # What is asked of them

    async def _run(
        self, one: Plugged, tool: wire.ToolShape, arguments: Mapping[str, Value], caller: Caller
    ) -> Told:
        """A tool's call, after the gate has let it through."""
        answered = await self._call(one, tool.name, unpacked(tool, arguments), caller)
        data = plain_data(one.name, answered.data)
        if answered.then is None:
            return Told(answered.text, one.name, data)
        then = answered.then
        known = {shape.name: shape for shape in (one.shape.tools if one.shape is not None else ())}
        if then.tool not in known:
            raise PluginFailed(f"the plug-in {one.name} wants a tool that it has not")

        async def act() -> str:
            return (await self._call(one, then.tool, then.arguments, caller)).text

        question = self._question(one, known[then.tool], answered)
        approval = self._tools.approvals.ask(
            question,
            act,
            tool=full_name(one.called, then.tool),
            person=caller.person,
            conversation=caller.conversation,
        )
        return Told(question, one.name, {**data, "approval": approval.id})

    def _question(self, one: Plugged, tool: wire.ToolShape, answered: wire.Answered) -> str:
        """What is asked before a call that a plug-in proposes: in our own words, where it always asks."""
        manifest = self._tools.get(full_name(one.called, tool.name))
        if manifest is None or manifest.risk is not Risk.ASKS or answered.then is None:
            return clipped(answered.text, _MOST_ASKED)
        said = {name: value for name, value in answered.then.arguments.items() if isinstance(value, str | int)}
        return manifest.asked(said)

    async def _call(self, one: Plugged, tool: str, arguments: Mapping[str, Any], caller: Caller) -> wire.Answered:
        asked = wire.Call(tool, dict(arguments), time.time(), caller.person)
        answered: wire.Answered = await self.ask(one, asked, wire.Answered)
        return answered

    async def ask(self, one: Plugged, asked: wire.Asked, want: type[Any]) -> Any:
        """Ask a plug-in's process; a plug-in that goes on failing is given up. Raises `PluginRefused`."""
        if one.lane is None:
            raise PluginRefused(one.problem or f"the plug-in {one.name} is still starting: try again")
        try:
            return await one.lane.call(PluginProcess.ask, asked, want, self._config.plugins.call_s)
        except PluginFailed as error:
            one.faults.count()
            if one.faults.too_many():
                self._refuse(
                    one, PluginRefused(f"{error}, the fifth time in ten minutes: it is off until a restart")
                )
            raise

    # Between calls

    async def _look_after(self, one: Plugged, lane: Lane[PluginProcess], shape: wire.Shape) -> None:
        before = ToldBefore(self._config.data_dir / "plugins" / f"{one.name}.told")
        await anyio.to_thread.run_sync(before.read)
        while not one.problem:
            if shape.watches and time.monotonic() - one.watched_at >= max(shape.watch_s, _LOOK_S):
                one.watched_at = time.monotonic()
                await self._watch(one, before)
            idle_s = self._config.plugins.idle_s
            await lane.call(PluginProcess.rest, idle_s)
            await anyio.sleep(min(_LOOK_S, max(idle_s, _LEAST_LOOK_S)))

    async def _watch(self, one: Plugged, before: ToldBefore) -> None:
        try:
            noticed = await self.ask(one, wire.Watch(time.time()), wire.Noticed)
        except PluginRefused as error:  # a server that is away: it is told where somebody asks
            log.info("plugin=%s watch=%s", one.name, type(error).__name__)
            return
        for notice in before.new(noticed.notices):
            try:
                await self._tell(one.name, notice)
            except PersLMError as error:
                log.warning("plugin=%s notice=%s", one.name, type(error).__name__)
        await anyio.to_thread.run_sync(before.write)

    async def keep(self) -> Sequence[str]:
        """After a forgetting: what plug-ins have kept of their own is out of its reach, and said so."""
        folder = self._config.data_dir / "plugins"
        kept = await anyio.to_thread.run_sync(_with_files, folder)
        return [f"what the plug-in {name} has kept, in {folder / name}" for name in kept]

    # What is told of them

    def listed(self) -> list[dict[str, Any]]:
        """Every enabled plug-in, for people and programs."""
        return [told_of(one) for one in self.plugged.values()]


def _with_files(folder: Path) -> list[str]:
    """The plug-ins whose folder has something in it."""
    if not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if one.is_dir() and any(one.iterdir()))


def all_of(shelf: Shelf, enabled: Sequence[str], states: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Everything that is installed, declared or enabled, and how it is; `states` are those of a running daemon."""
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys([*shelf.names(), *enabled]):
        found, running = shelf.find(name), states.get(name, {})
        rows.append(
            {
                "name": name,
                "state": running.get("state") or ("enabled" if name in enabled else "off"),
                "group": found.group if found is not None else "mcp",
                "package": f"{found.package} {found.version}".strip() if found is not None else "",
                "problem": running.get("problem") or (found.problem if found is not None else "") or None,
            }
        )
    return rows


def told_of(one: Plugged) -> dict[str, Any]:
    """A plug-in as data; no setting's value is in it."""
    shape = one.shape
    return {
        "name": one.name,
        "state": one.state,
        "problem": one.problem or None,
        "version": shape.version if shape is not None else None,
        "about": shape.about if shape is not None else None,
        "tools": [full_name(one.called, tool.name) for tool in shape.tools] if shape is not None else [],
        "reaches": list(one.spec.hosts) if one.spec is not None else [],
    }
