"""Speech to text as the rest of PersLM sees it: one protocol, two engines behind it, and what both need.

A recognizer `listen`s to one utterance: sound is handed over as it comes with `accept`, which answers with the
text so far, and `finish` gives the transcript. Knows neither microphones nor files; takes 16 kHz sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import ConfigError, InputError
from perslm_runtime.lane import Stop

ENGINES = ("whisper", "vosk")

SHORTEST_WINDOW_S = 10.0
"""What Whisper is given at the least: in shorter windows it loops (stt_whisper.py)."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in `seconds` of sound. `text` is empty when nobody spoke.

    `confidence` is 0 to 1 (the mean probability per token or word), None when nothing was heard.
    """

    text: str
    seconds: float
    confidence: float | None


class Utterance(Protocol):
    """One utterance on its way from sound to text. Used from the recognizer's thread, and not after `finish`."""

    def accept(self, pcm: Pcm, stop: Stop) -> str:
        """Take the next 16 kHz sound, of any length, and return the text so far, which may still change.

        Raises `Cancelled` when `stop` is set, `InputError` for another rate.
        """

    def look(self, stop: Stop) -> Transcript:
        """Return the transcript as if everything had been accepted; more may still follow.

        A `finish` after it with nothing accepted in between costs no second decoding. Raises as `finish`.
        """

    def finish(self, stop: Stop) -> Transcript:
        """Return the transcript of everything accepted. Raises `Cancelled` when `stop` is set."""


class SpeechToText(Protocol):
    """A recognizer: built, used and closed in one thread."""

    name: str
    file: Path | None

    def listen(self, vocabulary: Sequence[str] = ()) -> Utterance:
        """Begin an utterance. `vocabulary` holds words or phrases that are likely (names, rooms, commands)."""

    def prove(self) -> str:
        """Recognise a moment of silence and say what was seen; raises `EngineError` when it is wrong."""

    def close(self) -> None:
        """Free the model; a second call does nothing."""


def open_recognizer(
    engine_name: str, folder: Path, threads: int, language: str = "en", *, partials: bool = False
) -> SpeechToText:
    """Load the recognizer `engine_name` ("whisper" or "vosk") from its model's folder.

    `language` and `partials` are Whisper's: a Vosk model has its one language and always gives partial results.
    Raises `ConfigError` for another name and `EngineError` for a model that cannot be loaded.
    """
    # Imported here, because each engine's libraries cost a quarter of a second and 50 MB, and one is enough.
    if engine_name == "whisper":
        from perslm_runtime.stt_whisper import Whisper  # noqa: PLC0415 - see above

        return Whisper(folder, threads, language.partition("-")[0], partials=partials)  # it knows no countries
    if engine_name == "vosk":
        from perslm_runtime.stt_vosk import Vosk  # noqa: PLC0415 - see above

        return Vosk(folder, threads)
    raise ConfigError(f"there is no speech engine {engine_name}: choose one of {', '.join(ENGINES)}")


def require_rate(pcm: Pcm) -> None:
    """Raise `InputError` unless `pcm` has the rate that recognizers take."""
    if pcm.rate_hz != SPEECH_RATE_HZ:
        raise InputError(f"speech is recognised at {SPEECH_RATE_HZ} Hz, this sound has {pcm.rate_hz}: resample it")


def join(parts: Sequence[Transcript]) -> Transcript:
    """Make one transcript of consecutive ones; confidences are weighed by length of text."""
    heard = [part for part in parts if part.text]
    sure = [(part.confidence, len(part.text)) for part in heard if part.confidence is not None]
    weight = sum(length for _, length in sure)
    return Transcript(
        " ".join(part.text for part in heard),
        sum(part.seconds for part in parts),
        sum(confidence * length for confidence, length in sure) / weight if weight else None,
    )
