"""Real recordings for speech tests, and Piper's voice for sentences that nobody recorded.

`two_cities` and `beckett` come with the catalogue's `recorded-speech`; the others with Debian's
pocketsphinx-testdata, which the set-up installs. A recording that is not there skips the test with the command
to get it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav, resample
from perslm_runtime.lane import Stop
from perslm_runtime.tts import Piper
from real_models import model_path

SPHINX = Path("/usr/share/pocketsphinx/test/data")

TWO_CITIES = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
    "foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of light, it "
    "was the season of darkness, it was the spring of hope, it was the winter of despair, we had everything "
    "before us, we had nothing before us, we were all going direct to heaven, we were all going direct the "
    "other way; in short, the period was so far like the present period, that some of its noisiest authorities"
    " insisted on its being received, for good or for evil, in the superlative degree of comparison only."
)
BECKETT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."


def recorded(name: str) -> Pcm:
    """Return `beckett` (10 s) or `two_cities` (44 s) at 16 kHz."""
    return resample(read_wav(model_path("recorded-speech", f"{name}.wav")), SPEECH_RATE_HZ)


def sphinx_clips() -> Iterator[tuple[str, Pcm]]:
    """Yield (what was said, sound) of the twelve short clips: read books, card games, commands."""
    if not SPHINX.is_dir():
        pytest.skip("the recordings are missing: run `apt-get install pocketsphinx-testdata`")
    for lines in (SPHINX / "librivox/transcription", SPHINX / "cards/cards.transcription"):
        for line in lines.read_text().splitlines():
            words, _, name = line.rpartition("(")
            said = words.replace("<s>", "").replace("</s>", "").strip()
            # "more a amiable" is a slip of the transcript, not of the reader.
            yield (
                said.replace("more a amiable", "more amiable"),
                read_wav(lines.parent / f"{name.rstrip(')')}.wav"),
            )
    for name, said in (("goforward", "go forward ten meters"), ("something", "go somewhere and do something")):
        samples = np.frombuffer((SPHINX / f"{name}.raw").read_bytes(), "<i2").astype(np.int16)
        yield said, Pcm(samples, SPEECH_RATE_HZ)


@cache
def voice() -> Piper:
    """The voice of spoken test sentences, loaded once; it says a sentence the same way in every run."""
    return Piper(model_path("piper-en_US-joe-medium", "voice.onnx").parent, threads=2, varies=False)


@cache
def spoken(text: str) -> Pcm:
    """Return `text` in Piper's voice at 16 kHz, with a second of silence around it."""
    said = np.concatenate([piece.samples for piece in voice().speak(text, Stop())])
    return resample(Pcm(np.pad(said, voice().rate_hz // 2), voice().rate_hz), SPEECH_RATE_HZ)


def pieces(pcm: Pcm, seconds: float) -> Iterator[Pcm]:
    """Yield `pcm` as a microphone would: `seconds` at a time."""
    step = round(seconds * pcm.rate_hz)
    for start in range(0, len(pcm.samples), step):
        yield Pcm(pcm.samples[start : start + step], pcm.rate_hz)
