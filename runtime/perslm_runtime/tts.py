"""Text to speech with Piper: one sentence of sound at a time, at the voice's own rate. Only importer of piper.

Piper turns text into phonemes (espeak-ng, which also finds the sentences) and phonemes into sound (a VITS network
run by onnxruntime). The two steps are called one by one here, because a stop has to come in between, a sentence
without an end has to be cut, and Piper's own loader offers no say over threads.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from piper import PiperConfig, PiperVoice, SynthesisConfig

from perslm_runtime.audio import Pcm, to_int16
from perslm_runtime.errors import EngineError
from perslm_runtime.lane import Stop
from perslm_runtime.onnx_session import open_session

# Piper logs the words it speaks at DEBUG and every phoneme a voice lacks at WARNING.
logging.getLogger("piper").setLevel(logging.ERROR)

LONGEST_PIECE = 200
"""Phonemes given to the network at once: about 14 s of sound, which bounds memory and the wait for a stop."""


class Piper:
    """A Piper voice from a folder with `voice.onnx` and `voice.onnx.json`.

    `length_scale` stretches the voice's own pace (1.2 is slower); `volume` is 0 to 1 of full scale. A voice that
    does not vary says the same text the same way every time: flatter, for what is compared. Raises `EngineError`
    when the voice cannot be loaded. One thread only: espeak-ng keeps its state per process.
    """

    def __init__(
        self, folder: Path, threads: int, *, length_scale: float = 1.0, volume: float = 1.0, varies: bool = True
    ) -> None:
        self.name = folder.name
        self.file = folder / "voice.onnx"
        config = _read_config(folder / "voice.onnx.json")
        self.rate_hz = config.sample_rate
        self._volume = volume
        config.length_scale *= length_scale
        if not varies:
            config.noise_scale = config.noise_w_scale = 0.0
        self._voice: PiperVoice | None = PiperVoice(
            session=open_session(self.file, threads), config=config, download_dir=folder
        )

    def speak(self, text: str, stop: Stop, *, pace: float = 1.0) -> Iterator[Pcm]:
        """Yield the sound of `text`, a sentence (or a long sentence's part) at a time.

        What has nothing to say (blank, punctuation only) yields nothing. `stop` is looked at before each piece.
        Every piece is brought to the same peak, as Piper does, then turned down to `volume`. `pace` 2 is twice as
        fast as the voice is set to.
        """
        voice = self._ready()
        form = None if pace == 1.0 else SynthesisConfig(length_scale=voice.config.length_scale / pace)
        for sentence in voice.phonemize(_plain(text)):
            for phonemes in cut_phonemes(sentence, LONGEST_PIECE):
                stop.check()
                sound = voice.phoneme_ids_to_audio(voice.phonemes_to_ids(phonemes), form)
                if isinstance(sound, tuple):
                    raise EngineError(f"the voice {self.name} returned alignments that nobody asked for")
                peak = max(float(np.max(np.abs(sound), initial=0.0)), 1e-8)
                yield Pcm(to_int16(np.atleast_1d(sound) * (self._volume / peak)), self.rate_hz)

    def set_volume(self, volume: float) -> None:
        """Speak louder or softer from the next piece on; 0 to 1 of full scale."""
        self._volume = min(1.0, max(0.0, volume))

    def prove(self) -> str:
        """Speak one word; raises `EngineError` unless it is sound of a word's length."""
        began = time.perf_counter()
        spoken = np.concatenate([piece.samples for piece in self.speak("Ready.", Stop())])
        took_ms = (time.perf_counter() - began) * 1000
        seconds = len(spoken) / self.rate_hz
        if not 0.1 < seconds < 5.0 or float(spoken.astype(np.float32).std()) < 100.0 * self._volume:
            raise EngineError(f"the voice {self.name} is broken: run `perslm models verify {self.name}`")
        return f"spoke one word, {seconds:.1f} s of sound at {self.rate_hz} Hz, in {took_ms:.0f} ms"

    def close(self) -> None:
        """Free the voice; a second call does nothing."""
        self._voice = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ready(self) -> PiperVoice:
        if self._voice is None:
            raise EngineError(f"the voice {self.name} is closed")
        return self._voice


def cut_phonemes(phonemes: Sequence[str], longest: int) -> Iterator[list[str]]:
    """Cut a sentence's phonemes into pieces of at most `longest`, after a comma or else between words.

    Pieces without any letter are left out: the network makes a grunt of bare punctuation.
    """
    rest = list(phonemes)
    while rest:
        at = len(rest) if len(rest) <= longest else _cut_at(rest, longest)
        piece, rest = rest[:at], rest[at:]
        if any(phoneme.isalpha() for phoneme in piece):
            yield piece


def _cut_at(phonemes: Sequence[str], longest: int) -> int:
    """Find the last comma in the second half of the first `longest`, else the last gap between words, else cut."""
    for marks in (",;:", " "):
        for at in range(longest, longest // 2, -1):
            if phonemes[at - 1] in marks:
                return at
    return longest


def _plain(text: str) -> str:
    """Take out what is not speech to Piper: NUL, lone surrogates, and `[[`, which opens its phoneme notation."""
    encodable = text.encode("utf-8", "ignore").decode().replace("\0", " ")
    while "[[" in encodable:
        encodable = encodable.replace("[[", "[")
    return encodable


def _read_config(file: Path) -> PiperConfig:
    try:
        return PiperConfig.from_dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            f"the voice's description {file} is missing or broken: run `perslm models pull {file.parent.name}`"
        ) from error
