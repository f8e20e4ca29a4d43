"""Wyoming's asr: transcribe, audio-start, audio-chunk..., audio-stop -> transcript, always, also of silence ("").

Home Assistant returns at the transcript; sent before its audio-stop, that saves the 0.7 s it would wait.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perslm_daemon.wyoming_hearing import SENSITIVITY, Hearing, Patience, Raw
from perslm_daemon.wyoming_jobs import Jobs, Places
from perslm_daemon.wyoming_wire import AudioChunk, AudioStart, AudioStop, Event, Transcribe, Transcript, Wire
from perslm_daemon.wyoming_wire import sound_format as format_of
from perslm_runtime.lane import Lane
from perslm_runtime.stt import SpeechToText
from perslm_runtime.vad import Silero


@dataclass(frozen=True, slots=True)
class Recognizer:
    """What listens, for all clients. `language` is what it understands; with `ends` it hears the end of speech."""

    stt: Lane[SpeechToText]
    vad: Lane[Silero] | None
    language: str
    longest_s: float
    ends: bool
    places: Places


class Listening:
    """One client's asr."""

    def __init__(self, recognizer: Recognizer, wire: Wire, jobs: Jobs) -> None:
        self._recognizer, self._wire, self._jobs = recognizer, wire, jobs
        self._silence_s: float | None = None
        self._hearing: Hearing | None = None
        self._awaited = False

    def take(self, event: Event) -> bool:
        """Take an event; False when it is none of asr's. Raises `InputError` and `BusyError`."""
        if Transcribe.is_type(event.type):
            self._silence_s = SENSITIVITY.get(str(event.data.get("vad_sensitivity")))
            self._hearing, self._awaited = None, True
        elif AudioStart.is_type(event.type):
            format_of(event)
            self._begin()
        elif AudioChunk.is_type(event.type):
            self._sound(event)
        elif AudioStop.is_type(event.type):
            self._stop()
        else:
            return False
        return True

    def _begin(self) -> Hearing:
        if self._hearing is not None:
            self._hearing.close()
        recognizer = self._recognizer
        patience = Patience(longest_s=recognizer.longest_s)
        if self._silence_s is not None:
            patience = replace(patience, silence_s=self._silence_s)
        hearing = Hearing(recognizer.vad, recognizer.stt, patience, ends=recognizer.ends)

        async def hear() -> None:
            self._wire.put(Transcript(await hearing.words(), language=recognizer.language))

        self._jobs.start(hear, recognizer.places)
        self._hearing, self._awaited = hearing, False
        return hearing

    def _sound(self, event: Event) -> None:
        if self._hearing is None and not self._awaited:
            return  # what follows a transcript that was sent before audio-stop
        raw = Raw(event.payload or b"", *format_of(event))
        (self._hearing or self._begin()).take(raw)

    def _stop(self) -> None:
        hearing = self._hearing
        if hearing is None and self._awaited:
            hearing = self._begin()  # no sound at all: that is silence too
        if hearing is not None:
            hearing.close()
        self._hearing, self._awaited = None, False
