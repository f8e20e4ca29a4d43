"""How each engine is built from a configuration: its files, its settings, or the plug-in in its place.

Called in the engine's own thread, again after a fault. Starts, stops and reports nothing: app.py does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from perslm_daemon.config_sections import Config
from perslm_daemon.engine_choice import EngineChoice
from perslm_daemon.laid_over import adapter_of, layer_of, wake_bundle_words
from perslm_daemon.plugin_embed import PluginEmbedder, id_of
from perslm_daemon.plugin_engines import PluginRecognizer, PluginVoice
from perslm_daemon.plugin_llm import PluginChat
from perslm_daemon.plugin_wake import PluginWake
from perslm_daemon.stores import open_models
from perslm_runtime.embed_static import AnyEmbedder, open_embedder
from perslm_runtime.llama import LlamaOptions, Sampling
from perslm_runtime.model import ChatModel
from perslm_runtime.prompt import EXAMPLES
from perslm_runtime.stt import SpeechToText, open_recognizer
from perslm_runtime.tts import Piper
from perslm_runtime.wake import MicroWakeWord

if TYPE_CHECKING:
    from perslm_runtime.understanding import Understanding


class Builds:
    """A method for each part that has an engine; `choice` remembers which plug-ins have failed."""

    def __init__(self, config: Config, choice: EngineChoice) -> None:
        self._config, self._store, self._choice = config, open_models(config), choice

    def embedder_id(self) -> str:
        """The embedder that is in use, by the name that the memory keeps with its vectors."""
        config = self._config
        return id_of(config) if self._choice.by_plugin("embed", config.plugins.embeds) else config.embed.id

    def model(self) -> ChatModel:
        """The language model."""
        config = self._config
        snapshots = config.data_dir / "snapshots" if config.model.snapshot else None
        adapter = adapter_of(config, self._store)
        opened = partial(
            open_model, config, self._store.file(config.model.id), snapshots=snapshots, adapter=adapter
        )
        kind = partial(PluginChat, config, partial(self._choice.told, "model"))
        return self._choice.of("model", config.plugins.replies, lambda: opened(kind=kind), opened)

    def embed(self) -> AnyEmbedder:
        """What gives texts their vectors."""
        config = self._config
        return self._choice.of(
            "embed",
            config.plugins.embeds,
            lambda: cast("AnyEmbedder", PluginEmbedder(config)),  # it has the same verbs
            lambda: open_embedder(self._store.folder(config.embed.id), config.embed.threads),
        )

    def stt(self) -> SpeechToText:
        """The recognizer."""
        config, wanted = self._config, self._config.stt
        return self._choice.of(
            "stt",
            config.plugins.hears,
            lambda: PluginRecognizer(config),
            lambda: open_recognizer(wanted.engine, self._store.folder(wanted.id), wanted.threads, wanted.language),
        )

    def tts(self) -> Piper:
        """The voice."""
        config, wanted = self._config, self._config.tts
        return self._choice.of(
            "tts",
            config.plugins.speaks,
            lambda: cast("Piper", PluginVoice(config)),  # it has the same verbs
            lambda: Piper(
                self._store.folder(wanted.id),
                wanted.threads,
                length_scale=wanted.length_scale,
                volume=wanted.volume,
            ),
        )

    def wake(self) -> MicroWakeWord:
        """What hears the wake words."""
        config = self._config
        return self._choice.of(
            "wake",
            config.plugins.wakes,
            lambda: cast("MicroWakeWord", PluginWake(config)),  # it has the same verbs
            lambda: MicroWakeWord(wake_words(config)),
        )

    def intents(self) -> Understanding:
        """What understands sentences."""
        # hassil and what it needs take 10 MB, which only a daemon that understands intents should have
        from perslm_runtime.understanding import Understanding  # noqa: PLC0415 - imported where it is wanted

        return Understanding(self._config.stt.language, layer_of(self._config))


def own_engines(config: Config) -> Config:
    """The same without plug-ins in the place of engines: what is tried is a file of ours."""
    none = replace(config.plugins, hears="", speaks="", wakes="", embeds="", replies="")
    return replace(config, plugins=none)


def build_engine(config: Config, part: str) -> Any:
    """An engine outside any lane, for a process that tries one; `part` as in a report. Blocks.

    Nothing stands in for a plug-in that cannot be used.
    """
    return getattr(Builds(config, EngineChoice(stands_in=False)), part)()


def open_model(
    config: Config,
    file: Path,
    *,
    snapshots: Path | None,
    system: str | None = None,
    max_reply_tokens: int | None = None,
    adapter: Path | None = None,
    kind: Callable[..., ChatModel] = ChatModel,
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
    return kind(
        file,
        options,
        system=system if system is not None else wanted.system_prompt,
        examples=EXAMPLES,
        sampling=Sampling(temperature=wanted.temperature, repeat_penalty=wanted.repeat_penalty),
        max_reply_tokens=max_reply_tokens or wanted.max_reply_tokens,
        snapshots=snapshots,
        adapter=adapter,
    )


def wake_words(config: Config) -> tuple[str, ...]:
    """Every wake word that is configured, by the name its engine knows it by: those in files by their paths."""
    return (*config.wake.words, *(str(path) for path in config.wake.custom), *wake_bundle_words(config))
