"""The composition root: builds every part in order and stops them in the exact reverse.

Read `start` as the start-up story. Each part is an engine in its lane; it proves itself once and is reported
with its name, file, memory and load time. A part that cannot start and is not essential is declared degraded,
with the reason, and the rest lives. Nothing else in PersLM builds engines from configuration.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from perslm_daemon.config_sections import Config
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.process import resident_bytes
from perslm_daemon.stores import make_data_dir, open_memory, open_models
from perslm_daemon.turn import Parts
from perslm_runtime.embed import Embedder
from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Lane
from perslm_runtime.lane_faults import RebuildPolicy
from perslm_runtime.llama import LlamaOptions, Sampling
from perslm_runtime.model import ChatModel
from perslm_runtime.prompt import EXAMPLES
from perslm_runtime.stt import SpeechToText, open_recognizer
from perslm_runtime.tts import Piper
from perslm_runtime.vad import Silero
from perslm_runtime.wake import MicroWakeWord

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
class Assistant:
    """The started whole: its pipeline, its parts, what they reported, and what is missing."""

    pipeline: Pipeline
    parts: Parts
    vad: Lane[Silero] | None
    wake: Lane[MicroWakeWord] | None
    reports: tuple[Report, ...]
    degraded: tuple[Degraded, ...]


@asynccontextmanager
async def start(
    config: Config,
    *,
    hears: bool = False,
    speaks: bool = False,
    voice_essential: bool = True,
    on_report: Callable[[Report], None] | None = None,
) -> AsyncIterator[Assistant]:
    """Start the assistant that `config` describes, and stop it when the block is left.

    `hears` and `speaks` ask for the recognizer and the voice; without `voice_essential` they may be missing, as
    any part but the model may, and are then declared degraded. Parts are built one
    after the other: on a board with little memory two loads at once would add up their peaks, and only so
    is each part's memory known.
    """
    store = await anyio.to_thread.run_sync(open_models, config)
    folder = await anyio.to_thread.run_sync(make_data_dir, config)
    snapshots = folder / "snapshots" if config.model.snapshot else None
    async with AsyncExitStack() as stack:
        parts = _PartStarter(stack, on_report, voice_essential=voice_essential)
        memory = None
        if config.memory.enabled:
            memory = await parts.optional("memory", lambda: open_memory(config, config.embed.id))
        embed = None
        if memory is not None and config.embed.enabled:
            embed = await parts.optional(
                "embed", lambda: Embedder(store.folder(config.embed.id), config.embed.threads)
            )
        model = await parts.essential(
            "model", lambda: open_model(config, store.file(config.model.id), snapshots=snapshots)
        )
        stt = tts = vad = wake = None
        if hears:
            vad = await parts.optional("vad", Silero)
            wake = await parts.optional("wake", lambda: MicroWakeWord(config.wake.words))
            stt = await parts.voice("stt", lambda: _open_stt(config, store.folder(config.stt.id)))
        if speaks:
            tts = await parts.voice("tts", lambda: _open_tts(config, store.folder(config.tts.id)))
        engines = Parts(model, memory, embed, stt, tts)
        pipeline = await stack.enter_async_context(
            Pipeline(
                engines,
                model_id=config.model.id,
                embedder=config.embed.id,
                recall_k=config.memory.recall_k,
            )
        )
        yield Assistant(pipeline, engines, vad, wake, tuple(parts.reports), tuple(parts.degraded))


class _PartStarter:
    """Starts parts on a stack and keeps what they reported."""

    def __init__(
        self, stack: AsyncExitStack, on_report: Callable[[Report], None] | None, *, voice_essential: bool
    ) -> None:
        self._voice_essential = voice_essential
        self.reports: list[Report] = []
        self.degraded: list[Degraded] = []
        self._stack = stack
        self._on_report = on_report or (lambda _report: None)

    async def essential(self, part: str, build: Callable[[], EngineT]) -> Lane[EngineT]:
        """Start a part that nothing works without; its error ends the start."""
        before: list[int] = []

        def weighed() -> EngineT:
            before.append(resident_bytes())
            return build()

        def proved(engine: EngineT, _stop: object) -> tuple[str, Path | None, str, int]:
            return engine.name, engine.file, engine.prove(), resident_bytes()

        lane = await self._stack.enter_async_context(Lane(part, weighed, rebuild=RebuildPolicy(), stop_s=_STOP_S))
        began = time.perf_counter()
        name, file, proof, after = await lane.call(proved)
        report = Report(part, name, file, max(0, after - before[0]), lane.load_s, proof)
        log.info(
            "part=%s engine=%s load_ms=%d prove_ms=%d memory_mb=%d",
            part,
            name,
            lane.load_s * 1000,
            (time.perf_counter() - began) * 1000,
            report.memory_bytes / 1e6,
        )
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


def open_model(
    config: Config,
    file: Path,
    *,
    snapshots: Path | None,
    system: str | None = None,
    max_reply_tokens: int | None = None,
) -> ChatModel:
    """The language model as `config` describes it; the rest overrides it (benchmarks do)."""
    wanted = config.model
    options = LlamaOptions(
        context_tokens=wanted.context_tokens,
        batch_tokens=wanted.batch_tokens,
        threads=wanted.threads,
        batch_threads=wanted.batch_threads,
        kv=wanted.kv,
        flash_attention=wanted.flash_attention,
        mmap=wanted.mmap,
        mlock=wanted.mlock,
    )
    return ChatModel(
        file,
        options,
        system=system if system is not None else wanted.system_prompt,
        examples=EXAMPLES,
        sampling=Sampling(temperature=wanted.temperature, repeat_penalty=wanted.repeat_penalty),
        max_reply_tokens=max_reply_tokens or wanted.max_reply_tokens,
        snapshots=snapshots,
    )


def _open_stt(config: Config, folder: Path) -> SpeechToText:
    return open_recognizer(config.stt.engine, folder, config.stt.threads, config.stt.language)


def _open_tts(config: Config, folder: Path) -> Piper:
    return Piper(folder, config.tts.threads, length_scale=config.tts.length_scale, volume=config.tts.volume)
