"""Wake words by a plug-in: the verbs of `MicroWakeWord` for a lane, the listening in the plug-in's process.

A plug-in is asked every 60 or 120 ms of sound, for as long as the board is on; a question costs some 0.1 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from perslm_daemon import plugin_wire as wire
from perslm_daemon.config_sections import Config
from perslm_daemon.plugin_engines import answer_of, described
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import InputError, PluginEngineFailed
from perslm_runtime.lane import Stop, stop_of_build
from perslm_runtime.wake import Detection, cutoff_at

_MOST_S = 2.0  # for 120 ms of sound: longer, and the board is deaf
_CUTOFF = 0.5


class PluginWake:
    """Listens by the plug-in that `plugins.wakes` names. Raises `PluginRefused` where it cannot be used."""

    def __init__(self, config: Config) -> None:
        self.file: Path | None = None  # it brings its own
        self.name = config.plugins.wakes
        self._seconds = min(_MOST_S, config.plugins.call_s)
        self._process, shape = described(config, self.name, "wakes")
        self.words: dict[str, str] = dict(shape.words)
        """Names of its words, each with the phrase to say."""
        self._active = set(self.words)
        self._cutoffs = dict.fromkeys(self.words, _CUTOFF)
        self._process.shape(stop_of_build())  # with its settings, before somebody speaks

    def choose(self, words: Sequence[str]) -> None:
        """Listen for these of its words only; for all of them where none of these is its own."""
        self._active = set(words) & set(self.words) or set(self.words)

    def tune(self, sensitivities: Mapping[str, float]) -> None:
        """Take a word from a lower or higher score on: 0.5 is a score of 0.5, 1 takes most, 0 least."""
        for word in self._cutoffs.keys() & sensitivities.keys():
            self._cutoffs[word] = cutoff_at(sensitivities[word], _CUTOFF)

    def accept(self, pcm: Pcm) -> list[Detection]:
        """Listen to the next 16 kHz sound, and return the words that were heard in it."""
        if pcm.rate_hz != SPEECH_RATE_HZ:
            raise InputError(f"wake words are heard at {SPEECH_RATE_HZ} Hz, this sound has {pcm.rate_hz}")
        return self._listened(pcm.samples.astype("<i2").tobytes())

    def reset(self) -> None:
        """Tell it that what comes next follows nothing."""
        self._listened(b"")

    def prove(self) -> str:
        """Listen to half a second of silence; raises `EngineError` if a word is heard in it."""
        heard = self.accept(Pcm(np.zeros(SPEECH_RATE_HZ // 2, np.int16), SPEECH_RATE_HZ))
        self.reset()
        if heard:
            raise PluginEngineFailed(
                f"the plug-in {self.name} hears {heard[0].word} in silence: set plugins.wakes to none"
            )
        return f"listens for {', '.join(self.words.values())}"

    def close(self) -> None:
        """End the plug-in's process."""
        self._process.close()

    def _listened(self, samples: bytes) -> list[Detection]:
        asked = wire.Listen(samples, SPEECH_RATE_HZ)
        found = answer_of(self._process, Stop(), asked, wire.Listened, self._seconds).found
        if unknown := {one.word for one in found} - set(self.words):
            raise PluginEngineFailed(f"the plug-in {self.name} hears {min(unknown)[:40]!r}, which it never named")
        return [
            Detection(one.word, one.score, one.ended_ago_s)
            for one in found
            if one.word in self._active and one.score >= self._cutoffs[one.word]
        ]
