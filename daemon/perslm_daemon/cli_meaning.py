"""What the command line needs to give memories their vectors, where the embedder is on and its model is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perslm_daemon.stores import open_models

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config
    from perslm_runtime.embed_static import AnyEmbedder
    from perslm_runtime.memory import Memory

_AT_ONCE = 64  # vectors that are made up for at a time: under a second


def open_embedder(config: Config) -> AnyEmbedder | None:
    """The embedder, or None; the caller closes it.

    Where a plug-in gives the memory its vectors, the daemon has it do that when idle.
    """
    store = open_models(config)
    if not config.embed.enabled or config.plugins.embeds or not store.installed(config.embed.id):
        return None
    from perslm_runtime.embed_static import open_embedder as open_any

    return open_any(store.folder(config.embed.id), config.embed.threads)


def embed(embedder: AnyEmbedder, texts: list[str]) -> Any:
    """One vector per text."""
    from perslm_runtime.lane import Stop

    return embedder.embed(texts, Stop())


def make_up_for_vectors(config: Config, memory: Memory, embedder: AnyEmbedder, most: int = _AT_ONCE) -> int:
    """Compute the newest missing vectors, at most so many; how many there were."""
    made = 0
    while made < most and (missing := memory.missing_vectors(min(_AT_ONCE, most - made))):
        vectors = embed(embedder, [text for _, text in missing])
        pairs = [(number, vector) for (number, _), vector in zip(missing, vectors, strict=True)]
        memory.set_vectors(pairs, config.embed.id)
        made += len(missing)
    return made
