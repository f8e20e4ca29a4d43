"""The composition root: builds every part in order and stops them in the exact reverse.

Read `start` as the start-up story. Each part is an engine in its lane; it proves itself once and is reported
with its name, file, memory and load time. A part that cannot start and is not essential is declared degraded,
with the reason, and the rest lives. How an engine is built is in engine_builds.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
import anyio.to_thread

from perslm_daemon.config_sections import LIVE_KEYS, Config
from perslm_daemon.engine_builds import Builds
from perslm_daemon.engine_choice import EngineChoice
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.plugin_embed import id_of
from perslm_daemon.process import resident_bytes
from perslm_daemon.stores import make_data_dir, open_memory
from perslm_daemon.turn import Parts
from perslm_runtime.errors import PersLMError
from perslm_runtime.heap import give_back_large_blocks
from perslm_runtime.lane import Lane
from perslm_runtime.lane_faults import RebuildPolicy
from perslm_runtime.memory_backup import Keep
from perslm_runtime.memory_prune import Budget
from perslm_runtime.plugin import ENGINES
from perslm_runtime.vad import Silero
from perslm_runtime.wake import MicroWakeWord

if TYPE_CHECKING:
    from perslm_runtime.understanding import Understanding

log = logging.getLogger("perslm.start")

# How long an engine may ignore its stop before it counts as hanging: one Whisper window takes 10 s on a Pi 4.
_STOP_S = 30.0


class Engine(Protocol):
    """What every engine offers, so that it can be started, reported and stopped alike."""

    name: str

    @property
    def file(self) -> Path | None:
        """Where its model lies; None for engines that bring their own."""

    def prove(self) -> str:
        """Do one tiny real thing; say what came of it."""

    def close(self) -> None:
        """Free it."""


EngineT = TypeVar("EngineT", bound=Engine)


@dataclass(frozen=True, slots=True)
class Report:
    """A part that started: what it is, where it comes from, the memory it added (bytes) and its load time (s)."""

    part: str
    name: str
    file: Path | None
    memory_bytes: int
    load_s: float
    proof: str

    def line(self) -> str:
        """The report as one line for a terminal."""
        where = self.file.parent.name if self.file else "built in"
        size = f"{self.memory_bytes / 1e6:5.0f} MB  {self.load_s:5.2f} s"
        return f"  {self.part:<7} {self.name:<22} {where:<22} {size}  {self.proof}"


@dataclass(frozen=True, slots=True)
class Degraded:
    """A part that did not start, and why; the message says what to do."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fault:
    """An engine failed in a call: the part, its error as a sentence, and why it was given up, "" where it was not.

    One that was not given up is built anew at once. `count` counts the faults of ten minutes, this one included.
    """

    part: str
    error: str
    count: int
    given_up: str = ""

    def sentence(self) -> str:
        """What to tell the house."""
        if self.given_up:
            return self.given_up
        return f"the {self.part} engine failed ({self.error}) and is built anew"


@dataclass(frozen=True, slots=True)
class Assistant:
    """The started whole: its pipeline, its parts, what they reported, and what is missing."""

    pipeline: Pipeline
    parts: Parts
    vad: Lane[Silero] | None
    wake: Lane[MicroWakeWord] | None
    intents: Lane[Understanding] | None
    reports: tuple[Report, ...]
    degraded: tuple[Degraded, ...]
    choice: EngineChoice

    @property
    def lanes(self) -> tuple[Lane[Any], ...]:
        """Every engine that started."""
        parts = self.parts
        every = (parts.model, parts.memory, parts.embed, parts.stt, parts.tts, self.vad, self.wake, self.intents)
        return tuple(lane for lane in every if lane is not None)

    @property
    def missing(self) -> tuple[Degraded, ...]:
        """What did not start, what failed so often that it was given up, and plug-ins in whose place we stand."""
        gone = (Degraded(lane.name, lane.given_up) for lane in self.lanes if lane.given_up)
        stood_in = (Degraded(part, problem) for part, problem in dict(self.choice.problems).items())
        return (*self.degraded, *gone, *stood_in)


@asynccontextmanager
async def start(
    config: Config,
    *,
    hears: bool = False,
    speaks: bool = False,
    understands: bool = False,
    voice_essential: bool = True,
    on_report: Callable[[Report], None] | None = None,
    on_fault: Callable[[Fault], None] | None = None,
) -> AsyncIterator[Assistant]:
    """Start the assistant that `config` describes, and stop it when the block is left.

    `understands` asks for intents. `hears` and `speaks` ask for the recognizer and the voice; without
    `voice_essential` they may be missing, as any part but the model may, and are then declared degraded.
    `on_fault` is called in the loop whenever an engine's call failed, for as long as the block lasts. Parts are
    built one after the other: on a board with little memory two loads at once would add up their peaks, and only
    so is each part's memory known.
    """
    give_back_large_blocks()
    await anyio.to_thread.run_sync(make_data_dir, config)
    choice = EngineChoice()
    builds = await anyio.to_thread.run_sync(Builds, config, choice)
    async with AsyncExitStack() as stack:
        parts = _PartStarter(stack, on_report, on_fault, voice_essential=voice_essential)
        memory = None
        if config.memory.enabled:
            memory = await parts.optional("memory", lambda: open_memory(config, id_of(config)))
        embed = None
        if memory is not None and config.embed.enabled:
            embed = await parts.optional("embed", builds.embed)
        model = await parts.essential("model", builds.model)
        stt = tts = vad = wake = None
        if hears:
            vad = await parts.optional("vad", Silero)
            wake = await parts.optional("wake", builds.wake)
            stt = await parts.voice("stt", builds.stt)
        if speaks:
            tts = await parts.voice("tts", builds.tts)
        intents = None
        if understands and config.intents.enabled:
            intents = await parts.optional("intents", builds.intents)
        engines = Parts(model, memory, embed, stt, tts)
        pipeline = await stack.enter_async_context(
            Pipeline(
                engines,
                model_id=config.model.id,
                embedder=id_of(config),
                recall_k=config.memory.recall_k,
                budget=Budget(config.memory.most_rows, config.memory.most_mb),
                keep=Keep(config.memory.backups, config.memory.backup_days),
            )
        )
        pipeline.recollection.embedder_now = builds.embedder_id
        pipeline.recollection.gives_lines = config.memory.profile
        pipeline.recollection.reading.wanted = config.memory.model_facts
        told = tuple(parts.reports), tuple(parts.degraded)
        yield Assistant(pipeline, engines, vad, wake, intents, *told, choice)


def needs_start(assistant: Assistant, before: Config, after: Config) -> bool:
    """Whether a change of configuration concerns more than engines that can be built anew in their lanes."""
    whole = ("data_dir", "models_dir", "memory", "voice")
    if any(_differ(name, before, after) for name in whole) or before.stt.language != after.stt.language:
        return True
    if any(getattr(before.plugins, name) != getattr(after.plugins, name) for name in ENGINES):
        return True
    if (before.embed.enabled, before.embed.id) != (after.embed.enabled, after.embed.id):
        return True  # the memory's vectors are the embedder's
    if before.intents.enabled != after.intents.enabled:
        return True
    lanes = renewable(assistant)
    voice = ("stt", "tts", "wake") if after.voice.enabled else ()
    concerned = ("model", "embed", *voice, *(("intents",) if after.intents.enabled else ()))
    # A part that did not start is tried again, from the beginning, when its configuration changes.
    return any(lanes[part] is None and _differ(part, before, after) for part in concerned)


async def renew(assistant: Assistant, before: Config, after: Config) -> Assistant:
    """Build anew the engines whose configuration changed; all else goes on, the conversation included.

    Raises what the build raises; then the former engine is back and `before` goes on for it.
    """
    builds = await anyio.to_thread.run_sync(Builds, after, assistant.choice)
    reports = {report.part: report for report in assistant.reports}
    for part, lane in renewable(assistant).items():
        if lane is None or not _differ(part, before, after):
            continue
        held = await anyio.to_thread.run_sync(resident_bytes)
        assistant.choice.anew(part)
        await lane.renew(getattr(builds, part))
        reports[part] = await _report_of(part, lane, held)
    if tuple(reports.values()) == assistant.reports:
        return assistant
    assistant.pipeline.model_id = after.model.id
    return replace(assistant, reports=tuple(reports.values()))


def renewable(assistant: Assistant) -> dict[str, Lane[Any] | None]:
    """The lanes whose engine can be exchanged while all else goes on, by part; None where one does not run."""
    parts = assistant.parts
    return {
        "model": parts.model,
        "embed": parts.embed,
        "stt": parts.stt,
        "tts": parts.tts,
        "wake": assistant.wake,
        "intents": assistant.intents,
    }


def _differ(section: str, before: Config, after: Config) -> bool:
    """Whether a key or section differs in more than what is changed while it runs."""
    one, other = getattr(before, section), getattr(after, section)
    for name in LIVE_KEYS:
        inside, _, rest = name.rpartition(".")
        if inside == section:
            one = replace(one, **{rest: getattr(other, rest)})
    return bool(one != other)


async def _report_of(part: str, lane: Lane[Any], held_before: int) -> Report:
    """Have a part prove itself, and say what it is."""

    def proved(engine: Engine, _stop: object) -> tuple[str, Path | None, str, int]:
        return engine.name, engine.file, engine.prove(), resident_bytes()

    began = time.perf_counter()
    name, file, proof, held = await lane.call(proved)
    report = Report(part, name, file, max(0, held - held_before), lane.load_s, proof)
    log.info(
        "part=%s engine=%s load_ms=%d prove_ms=%d memory_mb=%d",
        part,
        name,
        lane.load_s * 1000,
        (time.perf_counter() - began) * 1000,
        report.memory_bytes / 1e6,
    )
    return report


class _PartStarter:
    """Starts parts on a stack and keeps what they reported."""

    def __init__(
        self,
        stack: AsyncExitStack,
        on_report: Callable[[Report], None] | None,
        on_fault: Callable[[Fault], None] | None,
        *,
        voice_essential: bool,
    ) -> None:
        self._voice_essential = voice_essential
        self.reports: list[Report] = []
        self.degraded: list[Degraded] = []
        self._stack = stack
        self._on_report = on_report or (lambda _report: None)
        self._on_fault = on_fault or (lambda _fault: None)

    async def essential(self, part: str, build: Callable[[], EngineT]) -> Lane[EngineT]:
        """Start a part that nothing works without; its error ends the start."""
        before: list[int] = []

        def weighed() -> EngineT:
            before.append(resident_bytes())
            return build()

        def failed(_name: str, error: BaseException, count: int) -> None:
            what = str(error) if isinstance(error, PersLMError) else f"{type(error).__name__}: {error}"
            self._on_fault(Fault(part, what, count, lane.given_up or ""))

        lane = Lane(part, weighed, rebuild=RebuildPolicy(), on_fault=failed, stop_s=_STOP_S)
        await self._stack.enter_async_context(lane)
        report = await _report_of(part, lane, before[0])
        self.reports.append(report)
        self._on_report(report)
        return lane

    async def voice(self, part: str, build: Callable[[], EngineT]) -> Lane[EngineT] | None:
        """Start a part of the voice: essential where the caller asked for exactly that."""
        if self._voice_essential:
            return await self.essential(part, build)
        return await self.optional(part, build)

    async def optional(self, part: str, build: Callable[[], EngineT]) -> Lane[EngineT] | None:
        """Start a part the rest can live without; why it cannot start is kept as degraded."""
        try:
            return await self.essential(part, build)
        except PersLMError as error:
            log.warning("part=%s degraded=%s", part, type(error).__name__)
            self.degraded.append(Degraded(part, str(error)))
            return None
