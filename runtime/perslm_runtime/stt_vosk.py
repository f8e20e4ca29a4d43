"""Vosk (Kaldi): words while they are spoken, and a grammar of words to expect. Only importer of vosk.

Kaldi decodes as the sound comes, in one thread, with the text so far after every piece. Given a vocabulary it
listens for their words only, which is twenty times cheaper and far surer on a small model.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import vosk  # type: ignore[import-untyped]  # the package ships no types

from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import EngineError
from perslm_runtime.lane import Stop
from perslm_runtime.stt import Transcript, require_rate

log = logging.getLogger(__name__)

# Kaldi writes its log to stderr, past Python; for the whole process, so it is said once.
vosk.SetLogLevel(-1)

_PIECE_SAMPLES = SPEECH_RATE_HZ // 4


class Vosk:
    """A Vosk model from its folder (`am/`, `graph/`, `conf/`). `threads` is not used: Kaldi decodes in one.

    Raises `EngineError` when the model cannot be loaded.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.name = folder.name
        self.file: Path | None = folder / "am" / "final.mdl"
        if not self.file.is_file():
            raise EngineError(
                f"the speech model in {folder} is incomplete: run `perslm models pull {folder.name}`"
            )
        try:
            self._model: Any = vosk.Model(str(folder))
        except Exception as error:  # vosk has no class of its own for it
            raise EngineError(
                f"the speech model {folder} could not be loaded: run `perslm models verify {folder.name}`"
            ) from error

    def listen(self, vocabulary: Sequence[str] = ()) -> VoskUtterance:
        """Begin an utterance. With a `vocabulary` of phrases only their words are heard, in whatever order."""
        if self._model is None:
            raise EngineError(f"the recognizer {self.name} is closed")
        phrases = self._sayable(vocabulary)
        if not phrases:
            return VoskUtterance(vosk.KaldiRecognizer(self._model, float(SPEECH_RATE_HZ)))
        # "[unk]" takes what is none of the words; a model without it (the small Korean one) makes words of all.
        other = ["[unk]"] if self._model.vosk_model_find_word("[unk]") >= 0 else []
        grammar = json.dumps([*phrases, *other], ensure_ascii=False)
        return VoskUtterance(vosk.KaldiRecognizer(self._model, float(SPEECH_RATE_HZ), grammar))

    def prove(self) -> str:
        """Listen to half a second of silence; raises `EngineError` if a word is heard in it."""
        began = time.perf_counter()
        utterance = self.listen()
        utterance.accept(Pcm(np.zeros(SPEECH_RATE_HZ // 2, np.int16), SPEECH_RATE_HZ), Stop())
        if utterance.finish(Stop()).text:
            raise EngineError(f"{self.name} hears words in silence: run `perslm models verify {self.name}`")
        return f"heard half a second of silence as silence in {(time.perf_counter() - began) * 1000:.0f} ms"

    def close(self) -> None:
        """Free the model; a second call does nothing. Kaldi frees it when its last utterance is gone too."""
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _sayable(self, vocabulary: Sequence[str]) -> list[str]:
        """Leave out the words that the model has no pronunciation for, and say so in the log."""
        phrases: list[str] = []
        unknown: set[str] = set()
        for phrase in vocabulary:
            words = phrase.lower().split()
            known = [word for word in words if self._model.vosk_model_find_word(word) >= 0]
            unknown.update(set(words) - set(known))
            if known:
                phrases.append(" ".join(known))
        if unknown:
            log.warning(
                "%s cannot hear these words, it does not know them: %s", self.name, ", ".join(sorted(unknown))
            )
        return list(dict.fromkeys(phrases))


class VoskUtterance:
    """One utterance in a Kaldi recognizer. Kaldi closes a sentence at each pause; they are joined."""

    def __init__(self, recognizer: Any) -> None:
        recognizer.SetWords(True)
        self._recognizer = recognizer
        self._texts: list[str] = []
        self._sure: list[float] = []
        self._samples = 0

    def accept(self, pcm: Pcm, stop: Stop) -> str:
        """Decode `pcm` a quarter of a second at a time and return the words so far."""
        require_rate(pcm)
        stop.check()
        for start in range(0, len(pcm.samples), _PIECE_SAMPLES):
            piece = pcm.samples[start : start + _PIECE_SAMPLES]
            self._samples += len(piece)
            if self._recognizer.AcceptWaveform(piece.tobytes()):
                self._take(self._recognizer.Result())
            stop.check()
        return self.look(stop).text

    def look(self, stop: Stop) -> Transcript:
        """Return the words so far; Kaldi says how sure it is only at the end."""
        stop.check()
        partial: str = json.loads(self._recognizer.PartialResult())["partial"]
        return Transcript(_words([*self._texts, partial]), self._samples / SPEECH_RATE_HZ, None)

    def finish(self, stop: Stop) -> Transcript:
        """Let Kaldi look at the last words again and return all."""
        stop.check()
        self._take(self._recognizer.FinalResult())
        confidence = sum(self._sure) / len(self._sure) if self._sure else None
        return Transcript(_words(self._texts), self._samples / SPEECH_RATE_HZ, confidence)

    def _take(self, result: str) -> None:
        heard = json.loads(result)
        self._texts.append(heard["text"])
        self._sure += [word["conf"] for word in heard.get("result", []) if word["word"] != "[unk]"]


def _words(texts: Sequence[str]) -> str:
    return " ".join(word for text in texts for word in text.split() if word != "[unk]")
