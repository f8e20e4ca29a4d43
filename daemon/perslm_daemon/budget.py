"""What a configuration costs in memory, and how fast its model can be: sums and estimates, nothing measured here.

The engines' figures are the catalogue's; the attention cache is computed from the model's own shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perslm_runtime.gguf import Attention, read_attention

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config
    from perslm_runtime.catalog_file import Catalog, Model

# Python with PersLM's own modules and libraries; `perslm bench` holds the product to it.
PROCESS_MB = 60

# hassil with our English sentences, measured beside all the rest.
INTENTS_MB = 10

# For models that are not on this disk; where they are, their own file is asked. From their published shapes.
_ATTENTION = {
    "smollm2-135m-q4_1": Attention(layers=30, key_values=3 * 64, value_values=3 * 64),
    "qwen2.5-coder-1.5b-q4_k_m": Attention(layers=28, key_values=2 * 128, value_values=2 * 128),
    "qwen2.5-1.5b-instruct-q4_k_m": Attention(layers=28, key_values=2 * 128, value_values=2 * 128),
    "qwen3-0.6b-q4_k_m": Attention(layers=28, key_values=8 * 128, value_values=8 * 128),
    "qwen3-1.7b-q4_k_m": Attention(layers=28, key_values=8 * 128, value_values=8 * 128),
    "qwen3-4b-q4_k_m": Attention(layers=36, key_values=8 * 128, value_values=8 * 128),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that takes memory, in MB of 1,000,000 bytes."""

    name: str
    mb: float


def attention_of(model: Model, file: Path | None) -> Attention | None:
    """Return the shape of a language model's attention from its file, else as published, else None."""
    if file is not None and file.is_file():
        return read_attention(file)
    return _ATTENTION.get(model.id)


def needed_models(config: Config) -> list[str]:
    """Return the ids of the models that this configuration loads, the language model first."""
    ids = [config.model.id]
    if config.memory.enabled and config.embed.enabled:
        ids.append(config.embed.id)
    if config.voice.enabled:
        ids += [config.stt.id, config.tts.id, "silero-vad", *config.wake.words]
    return ids


def parts(config: Config, catalog: Catalog, file: Path | None = None) -> list[Part]:
    """Return what this configuration takes; `file` is the language model's GGUF where it is on disk."""
    found = [Part("process", PROCESS_MB)]
    if config.intents.enabled:
        found.append(Part("intents", INTENTS_MB))
    for model_id in needed_models(config):
        model = catalog[model_id]
        found.append(Part(f"{model.kind} {model_id}", max(model.memory_mb, (model.size or 0) / 1e6)))
        if model.kind == "llm" and (attention := attention_of(model, file)) is not None:
            cache = config.model.context_tokens * attention.kv_bytes_per_token(config.model.kv)
            found.append(Part(f"attention cache for {config.model.context_tokens} tokens", cache / 1e6))
    return found


def tokens_per_second(model_bytes: int, bandwidth_gb_s: float) -> float:
    """Estimate decoding speed: every token reads the whole model once, so memory bandwidth is the limit."""
    return bandwidth_gb_s * 1e9 / model_bytes
