"""Vectors by a plug-in: the verbs of `Embedder` for a lane, the model in the plug-in's process.

The memory keeps the vectors of one embedder at a time; `id_of` is the name by which it knows this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_daemon import plugin_wire as wire
from perslm_daemon.config_sections import Config
from perslm_daemon.plugin_engines import answer_of, started
from perslm_runtime.embed import prove
from perslm_runtime.errors import PluginEngineFailed
from perslm_runtime.lane import Stop

_MOST_DIMENSIONS = 4096


def id_of(config: Config) -> str:
    """The name of the embedder that is configured, as the memory keeps it with its vectors."""
    return f"plug-in {config.plugins.embeds}" if config.plugins.embeds else config.embed.id


class PluginEmbedder:
    """Vectors of the plug-in that `plugins.embeds` names. Raises `PluginRefused` where it cannot be used."""

    def __init__(self, config: Config) -> None:
        self.file: Path | None = None  # it brings its own
        self.name = config.plugins.embeds
        self._seconds = config.plugins.call_s
        self._process = started(config, self.name, "embeds")
        self._dimensions = 0

    def embed(self, texts: Sequence[str], stop: Stop) -> NDArray[np.float32]:
        """One L2-normalised vector per text, float32 [len(texts), n]; n is what its first answer had.

        Raises `PluginEngineFailed` for anything that is no such rows.
        """
        if not texts:
            return np.empty((0, self._dimensions), np.float32)
        asked = wire.Embed(tuple(texts))
        rows = answer_of(self._process, stop, asked, wire.Embedded, self._seconds).rows
        wide = {len(row) for row in rows}
        if len(rows) != len(texts) or len(wide) != 1 or not self._fits(width := wide.pop()):
            raise PluginEngineFailed(
                f"the plug-in {self.name} has to give each text as many numbers, a multiple of 8"
            )
        self._dimensions = width
        vectors = np.asarray(rows, np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise PluginEngineFailed(f"the plug-in {self.name} gave a vector of zeros or of no numbers")
        made: NDArray[np.float32] = vectors / lengths
        return made

    def prove(self) -> str:
        """Embed three sentences; raise `EngineError` unless the two about the same thing are closest."""
        return prove(self.embed, self.name)

    def close(self) -> None:
        """End the plug-in's process."""
        self._process.close()

    def _fits(self, width: int) -> bool:
        return 0 < width <= _MOST_DIMENSIONS and width % 8 == 0 and self._dimensions in (0, width)
