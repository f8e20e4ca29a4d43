"""Wake words, by microWakeWord. Only importer of pymicro_wakeword; four models come in the package.

All words share one feature extraction, so a second word costs a fraction of the first. A model is a
TensorFlow Lite file beside a manifest (`.json`) that names its phrase and cutoff.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pymicro_wakeword
from pymicro_wakeword.wakeword import TfLiteWakeWord

from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import ConfigError, EngineError, InputError

_PACKAGE = Path(pymicro_wakeword.__file__).parent
BUILT_IN: tuple[str, ...] = tuple(model.value for model in pymicro_wakeword.Model)


# Seconds from the end of the phrase until its model fires: where to cut 8 commands spoken with it at three speeds,
# half of them in one breath. There 2, 4 and 5 % of the command's words are wrong, 0.1 s away from it up to 18.
_FIRES_AFTER_S = {"okay_nabu": 0.17, "hey_jarvis": 0.25, "hey_mycroft": 0.07, "alexa": 0.2}
_FIRES_AFTER_OTHERS_S = 0.15

_FALLEN = 6  # scores (60 ms) below half the cutoff, after which a word may be heard again

_MOST_OPEN, _MOST_SHUT = 0.4, 0.995  # cutoffs at sensitivity 1 and 0


@dataclass(frozen=True, slots=True)
class Detection:
    """A wake word that was heard: how sure (`score`, 0 to 1), and seconds since its phrase ended (may be < 0)."""

    word: str
    score: float
    ended_ago_s: float


@dataclass(slots=True)
class _Word:
    name: str
    model: pymicro_wakeword.MicroWakeWord
    own_cutoff: float
    cutoff: float
    low: int = 6  # scores in a row below half its cutoff: it has to fall before it is heard again
    active: bool = True


class MicroWakeWord:
    """Listens for several wake words at once. `words` are built-in names or paths of `.tflite` files.

    `cutoffs` raises or lowers a word's own threshold, 0 to 1, by the name in `words`. After a word was heard,
    none is reported for `pause_s`: in noise one phrase stirs several models. Raises `ConfigError` for an unknown
    word or a wrong cutoff, `EngineError` for a broken model.
    """

    name = "microwakeword"

    def __init__(
        self, words: Sequence[str], cutoffs: Mapping[str, float] | None = None, *, pause_s: float = 1.0
    ) -> None:
        cutoffs = cutoffs or {}
        _check(words, cutoffs)
        self.file: Path | None = _manifest(words[0]).with_suffix(".tflite")
        self._pause = round(pause_s * SPEECH_RATE_HZ)
        self._heard = 0
        self._quiet_until = 0
        self._features = pymicro_wakeword.MicroWakeWordFeatures()
        self._words = [_opened(word, cutoffs.get(word)) for word in words]

    @property
    def words(self) -> dict[str, str]:
        """Names of the words listened for, each with the phrase to say."""
        return {word.name: word.model.wake_word for word in self._words}

    def choose(self, words: Sequence[str]) -> None:
        """Listen for these of the words only, from now on. Raises `ConfigError` for one that is not loaded."""
        unknown = set(words) - {word.name for word in self._words}
        if unknown:
            raise ConfigError(f"the wake word {min(unknown)} is not loaded: name it in wake.words and restart")
        for word in self._words:
            if word.active != (word.name in words):
                word.active = not word.active
                word.model.reset()

    def tune(self, sensitivities: Mapping[str, float]) -> None:
        """Make words easier or harder to hear: 0.5 is a model's own cutoff, 1 hears most, 0 least."""
        for word in self._words:
            if word.name in sensitivities:
                word.cutoff = cutoff_at(sensitivities[word.name], word.own_cutoff)

    def accept(self, pcm: Pcm) -> list[Detection]:
        """Listen to the next 16 kHz sound, of any length, and return the words that were heard in it, in order."""
        if pcm.rate_hz != SPEECH_RATE_HZ:
            raise InputError(
                f"wake words are heard at {SPEECH_RATE_HZ} Hz, this sound has {pcm.rate_hz}: resample it"
            )
        found: list[tuple[_Word, float, int]] = []
        for features in self._features.process_streaming(pcm.samples.tobytes()):
            self._heard += SPEECH_RATE_HZ // 100  # one set of features per 10 ms
            for word in self._words:
                score = word.model.process_streaming_prob(features) if word.active else None
                if score is None:
                    continue
                if score > word.cutoff and word.low >= _FALLEN and self._heard >= self._quiet_until:
                    word.low = 0
                    self._quiet_until = self._heard + self._pause
                    found.append((word, score, self._heard))
                # Between two of its strides a model gives 0: one high score in three keeps it up.
                word.low = word.low + 1 if score < word.cutoff / 2 else 0 if word.low < _FALLEN else word.low
        return [
            Detection(word.name, score, (self._heard - at) / SPEECH_RATE_HZ + _fires_after_s(word.name))
            for word, score, at in found
        ]

    def reset(self) -> None:
        """Forget what was heard, as after a gap in the sound."""
        self._features.reset()
        self._heard = self._quiet_until = 0
        for word in self._words:
            word.model.reset()
            word.low = _FALLEN

    def prove(self) -> str:
        """Listen to half a second of silence; raises `EngineError` if a word is heard in it."""
        began = time.perf_counter()
        heard = self.accept(Pcm(np.zeros(SPEECH_RATE_HZ // 2, np.int16), SPEECH_RATE_HZ))
        took_ms = (time.perf_counter() - began) * 1000
        self.reset()
        if heard:
            raise EngineError(f"the wake word {heard[0].word} is heard in silence: its model is broken")
        phrases = ", ".join(self.words.values())
        return f"listens for {phrases}; half a second took {took_ms:.0f} ms"

    def close(self) -> None:
        """Free the models; a second call does nothing."""
        for word in self._words:
            word.model.close()
        self._words = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def cutoff_at(sensitivity: float, own: float) -> float:
    """The cutoff at a sensitivity from 0 to 1; at 0.5 it is the model's `own`."""
    end, share = (
        (_MOST_OPEN, sensitivity - 0.5) if sensitivity > 0.5 else (max(own, _MOST_SHUT), 0.5 - sensitivity)
    )
    return own + (min(end, own) - own if sensitivity > 0.5 else end - own) * min(1.0, 2 * share)


def _fires_after_s(word: str) -> float:
    return _FIRES_AFTER_S.get(word, _FIRES_AFTER_OTHERS_S)


def _opened(word: str, cutoff: float | None) -> _Word:
    model = _load(_manifest(word))
    own = model.probability_cutoff
    return _Word(word, model, own, own if cutoff is None else cutoff)


def _check(words: Sequence[str], cutoffs: Mapping[str, float]) -> None:
    if not words:
        raise ConfigError("no wake word is named: choose one of " + ", ".join(BUILT_IN))
    if len(set(words)) < len(words):
        raise ConfigError("a wake word is named twice: name each once")
    for word, cutoff in cutoffs.items():
        if word not in words:
            raise ConfigError(f"a cutoff is set for the wake word {word}, which is not among {', '.join(words)}")
        if not 0.0 < cutoff < 1.0:
            raise ConfigError(f"the cutoff of the wake word {word} is {cutoff}: it must be between 0 and 1")


def _manifest(word: str) -> Path:
    """Return the `.json` of a built-in word or of a `.tflite` path."""
    if word in BUILT_IN:
        return _PACKAGE / "models" / f"{word}.json"
    path = Path(word)
    if path.suffix not in (".tflite", ".json"):
        raise ConfigError(
            f"the wake word {word} is unknown: choose one of {', '.join(BUILT_IN)}, or the path of a .tflite file"
        )
    if not path.with_suffix(".json").is_file():
        raise ConfigError(
            f"the manifest {path.with_suffix('.json')} is missing: put the one that came with the model there"
        )
    return path.with_suffix(".json")


def _load(manifest: Path) -> pymicro_wakeword.MicroWakeWord:
    try:
        model = manifest.parent / json.loads(manifest.read_text("utf-8"))["model"]
        _require_loadable(model)
        return pymicro_wakeword.MicroWakeWord.from_config(manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(f"the wake word {manifest} could not be loaded: fetch it again ({error!r})") from error


def _require_loadable(model: Path) -> None:
    """Ask TensorFlow Lite itself whether `model` is a model.

    pymicro_wakeword 2.5 hands the NULL it gets for a broken file to the interpreter: a segmentation fault.
    """
    library = next((_PACKAGE / "lib").glob("*tensorflowlite_c.*"), None)
    if library is None:
        raise EngineError("TensorFlow Lite is missing from pymicro-wakeword: reinstall it")
    lib = TfLiteWakeWord(library).lib
    handle = lib.TfLiteModelCreateFromFile(str(model.resolve()).encode()) if model.is_file() else None
    if not handle:
        raise EngineError(f"{model} is missing or no TensorFlow Lite model: fetch it again")
    lib.TfLiteModelDelete(handle)
