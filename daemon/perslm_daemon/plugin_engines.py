"""Plug-ins as ears and mouth: a recognizer and a voice for a lane, whose work is done in a plug-in's process.

They have the verbs of PersLM's own engines. A plug-in that hangs is ended after `plugins.call_s`; what it fails at
is an engine's fault, so the lane builds anew and gets the built-in engine (engine_choice.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from perslm_daemon import plugin_wire as wire
from perslm_daemon.config_sections import Config
from perslm_daemon.plugin_process import PluginProcess
from perslm_daemon.plugin_specs import shelf_of
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import PluginEngineFailed, PluginRefused
from perslm_runtime.lane import Stop, stop_of_build
from perslm_runtime.stt import Transcript, require_rate

_RATES_HZ = range(8_000, 48_001)
_DOES = {
    "hears": "recognize",
    "speaks": "speak",
    "wakes": "hear wake words",
    "embeds": "give texts vectors",
    "replies": "reply",
}
SaidT = TypeVar("SaidT", bound=msgspec.Struct)


class PluginRecognizer:
    """Speech to text by the plug-in that `plugins.hears` names. Raises `PluginRefused` where it cannot be used."""

    def __init__(self, config: Config) -> None:
        self.file: Path | None = None  # it brings its own
        self.name = config.plugins.hears
        self._seconds = config.plugins.call_s
        self._process = started(config, self.name, "hears")

    def listen(self, vocabulary: Sequence[str] = ()) -> _PluginUtterance:
        """Begin an utterance; a plug-in takes no vocabulary."""
        return _PluginUtterance(self._process, self._seconds)

    def prove(self) -> str:
        """Recognize a moment of silence."""
        utterance = self.listen()
        utterance.accept(Pcm(np.zeros(SPEECH_RATE_HZ // 2, np.int16), SPEECH_RATE_HZ), Stop())
        heard = utterance.finish(Stop())
        return f"heard {heard.text!r} in half a second of silence"

    def close(self) -> None:
        """End the plug-in's process."""
        self._process.close()


class _PluginUtterance:
    """Sound that is collected and recognized as a whole."""

    def __init__(self, process: PluginProcess, seconds: float) -> None:
        self._process, self._seconds = process, seconds
        self._parts: list[Pcm] = []
        self._known: Transcript | None = None

    def accept(self, pcm: Pcm, stop: Stop) -> str:
        """Take the next sound; there is no text before the end."""
        stop.check()
        require_rate(pcm)
        self._parts.append(pcm)
        self._known = None
        return ""

    def look(self, stop: Stop) -> Transcript:
        """The transcript of what came so far."""
        if self._known is None:
            samples = np.concatenate([np.zeros(0, np.int16), *(part.samples for part in self._parts)])
            asked = wire.Hear(samples.astype("<i2").tobytes(), SPEECH_RATE_HZ)
            text = answer_of(self._process, stop, asked, wire.Heard, self._seconds).text
            self._known = Transcript(" ".join(text.split()), len(samples) / SPEECH_RATE_HZ, None)
        return self._known

    def finish(self, stop: Stop) -> Transcript:
        """The transcript of everything."""
        return self.look(stop)


class PluginVoice:
    """Text to speech by the plug-in that `plugins.speaks` names. Raises `PluginRefused` where it cannot be."""

    def __init__(self, config: Config) -> None:
        self.file: Path | None = None  # it brings its own
        self.name = config.plugins.speaks
        self._seconds, self._volume = config.plugins.call_s, config.tts.volume
        self._process = started(config, self.name, "speaks")
        self.rate_hz = self._made("Ready.", stop_of_build()).rate_hz

    def speak(self, text: str, stop: Stop, *, pace: float = 1.0) -> Iterator[Pcm]:
        """The sound of a sentence in one piece, at the plug-in's pace and at the rate of its first one."""
        if not any(letter.isalnum() for letter in text):
            return
        made = self._made(text, stop)
        if made.rate_hz != self.rate_hz:
            raise PluginEngineFailed(
                f"the plug-in {self.name} changed its rate from {self.rate_hz} to {made.rate_hz} Hz"
            )
        loud = np.clip(made.samples.astype(np.float32) * self._volume, -32768, 32767)
        yield Pcm(loud.astype(np.int16), made.rate_hz)

    def set_volume(self, volume: float) -> None:
        """Speak louder or softer from the next sentence on; 0 to 1."""
        self._volume = min(1.0, max(0.0, volume))

    def prove(self) -> str:
        """Say what was made at the start."""
        return f"spoke one word at {self.rate_hz} Hz"

    def close(self) -> None:
        """End the plug-in's process."""
        self._process.close()

    def _made(self, text: str, stop: Stop) -> Pcm:
        said = answer_of(self._process, stop, wire.Speak(text), wire.Sounded, self._seconds)
        if said.rate_hz not in _RATES_HZ or len(said.samples) % 2:
            raise PluginEngineFailed(f"the plug-in {self.name} makes no 16-bit sound of 8 to 48 kHz")
        return Pcm(np.frombuffer(said.samples, "<i2"), said.rate_hz)


def answer_of(process: PluginProcess, stop: Stop, asked: wire.Asked, want: type[SaidT], seconds: float) -> SaidT:
    """What an engine's plug-in answers. Raises `PluginEngineFailed` for whatever it refuses or fails at."""
    try:
        return process.ask(stop, asked, want, seconds)
    except PluginRefused as error:
        raise PluginEngineFailed(str(error)) from error


def started(config: Config, name: str, wanted: str) -> PluginProcess:
    """The process of an engine with its settings."""
    return described(config, name, wanted)[0]


def described(config: Config, name: str, wanted: str) -> tuple[PluginProcess, wire.Shape]:
    """The same, and what it brings. Raises `PluginRefused` where it has not what is `wanted` ("hears", ...)."""
    shelf = shelf_of(config)
    first = PluginProcess(shelf.spec(name))
    try:
        shape = first.shape(stop_of_build())
    finally:
        first.close()
    if not getattr(shape, wanted):
        raise PluginRefused(f"the plug-in {name} does not {_DOES[wanted]}: set plugins.{wanted} to one that does")
    return PluginProcess(shelf.completed(shelf.spec(name), shape)), shape
