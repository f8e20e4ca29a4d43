"""One run of a satellite's pipeline: wake word, words, answer, its sound; from the stage it asks for to the last.

The events are those that Home Assistant sends, in its order. A run is cancelled by the next one, by a stop, and
when the satellite goes; what was said until then is remembered as interrupted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from perslm_daemon.turn import Ask, Event, Sentence, Spoken, Tell, Turn
from perslm_daemon.wyoming_hearing import Hearing, Patience, Raw, roughly_resampled
from perslm_daemon.wyoming_voice import Sounding, spoken
from perslm_daemon.wyoming_wire import (
    MAX_TEXT_CHARS,
    Detect,
    Detection,
    Error,
    PipelineStage,
    RunPipeline,
    Synthesize,
    Transcribe,
    Transcript,
    VoiceStarted,
    VoiceStopped,
    Wire,
)
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.stt import SpeechToText
from perslm_runtime.tts import Piper
from perslm_runtime.vad import Silero
from perslm_runtime.wake import MicroWakeWord

AskTurn = Callable[[Ask, Tell], Awaitable[Turn]]

_WAITING_PIECES = 512  # of a satellite's sound: half a minute, after which the newest is lost


@dataclass(frozen=True, slots=True)
class Engines:
    """What satellites are answered with. Without `wake`, a satellite has to hear its wake word itself."""

    vad: Lane[Silero]
    stt: Lane[SpeechToText]
    tts: Lane[Piper]
    wake: Lane[MicroWakeWord] | None
    wake_words: tuple[str, ...]
    voice_rate_hz: int
    language: str
    turn: AskTurn


@dataclass(frozen=True, slots=True)
class Asker:
    """In whose name a satellite asks, in which conversation, and in which room; "" where that is not known."""

    person: str
    conversation: str
    area: str = ""


class Run:
    """One run, over one connection; `take` and `close` never wait, `answer` does the whole of it."""

    def __init__(self, wanted: RunPipeline, engines: Engines, wire: Wire, asker: Asker) -> None:
        self.wanted = wanted
        self._engines, self._wire, self._asker = engines, wire, asker
        self._sender, self._receiver = anyio.create_memory_object_stream[Raw](_WAITING_PIECES)
        self._hearing: Hearing | None = None
        self.sounded_s = 0.0
        """Seconds of sound that the satellite was given to play."""

    def take(self, raw: Raw) -> None:
        """Take the satellite's next sound. Raises `InputError` when its rate changes."""
        if self._hearing is not None:
            self._hearing.take(raw)
        else:
            try:
                self._sender.send_nowait(raw)
            except anyio.WouldBlock:
                return

    def close(self) -> None:
        """The satellite sends no more sound."""
        self._sender.close()
        if self._hearing is not None:
            self._hearing.close()

    async def answer(self) -> None:
        """Run every stage that is asked for. Raises a `PersLMError` when one fails."""
        with self._sender, self._receiver:
            await self._stages()

    async def _stages(self) -> None:
        first, last = self.wanted.start_stage, self.wanted.end_stage
        if first is PipelineStage.TTS:
            await self._say((self.wanted.announce_text or "")[:MAX_TEXT_CHARS])
            return
        if first is PipelineStage.WAKE:
            if not await self._woken() or last is PipelineStage.WAKE:
                return
        elif first is not PipelineStage.ASR:
            raise InputError(f"a satellite's pipeline cannot begin at {first.value}: begin at wake, asr or tts")
        text = await self._heard()
        if not text:
            self._wire.put(Error("no words were recognized", "stt-no-text-recognized"))
            return
        self._wire.put(Transcript(text, language=self._engines.language))
        if last is not PipelineStage.ASR:
            await self._reply(text, aloud=last is PipelineStage.TTS)

    async def _woken(self) -> bool:
        """Wait for a wake word in the satellite's sound; False when the sound ended without one."""
        wake = self._engines.wake
        if wake is None:
            raise EngineError("there is no wake word engine here: let the satellite hear its wake word itself")
        asked = self.wanted.wake_word_names or ()
        words = tuple(word for word in self._engines.wake_words if word in asked) or self._engines.wake_words
        self._wire.put(Detect(names=list(words)))
        listener = await wake.call(_listener, words)
        try:
            heard_s = 0.0
            async for piece in self._receiver:
                heard_s += piece.seconds
                for name in await wake.call(_listened, listener, piece):
                    self._wire.put(Detection(name=name, timestamp=round(heard_s * 1000)))
                    return True
        finally:
            with anyio.CancelScope(shield=True):
                await wake.call(_put_away, listener)
        return False

    async def _heard(self) -> str:
        self._wire.put(Transcribe(language=self._engines.language))
        hearing = Hearing(self._engines.vad, self._engines.stt, Patience(), ends=True, on_voice=self._voice)
        while self._receiver.statistics().current_buffer_used:  # what came while the wake word was looked at
            hearing.take(self._receiver.receive_nowait())
        if not self._sender.statistics().open_send_streams:
            hearing.close()
        self._hearing = hearing
        return await hearing.words()

    def _voice(self, speaks: bool, at_ms: int) -> None:
        self._wire.put(VoiceStarted(at_ms) if speaks else VoiceStopped(at_ms))

    async def _reply(self, text: str, *, aloud: bool) -> None:
        sounding = Sounding(self._wire.put, self._engines.voice_rate_hz)

        async def tell(event: Event) -> None:
            if isinstance(event, Sentence) and aloud:
                self._wire.put(Synthesize(event.text.strip()))
            elif isinstance(event, Spoken):
                sounding.take(event.sound)
                self.sounded_s = sounding.seconds

        asked = Ask(
            text,
            speak=aloud,
            conversation=self._asker.conversation,
            person=self._asker.person,
            source="satellite",
            area=self._asker.area,
        )
        try:
            await self._engines.turn(asked, tell)
        finally:
            sounding.end()

    async def _say(self, text: str) -> None:
        sounding = Sounding(self._wire.put, self._engines.voice_rate_hz)
        self._wire.put(Synthesize(text))
        try:
            async with aclosing(spoken(self._engines.tts, text)) as sounds:
                async for sound in sounds:
                    sounding.take(sound)
                    self.sounded_s = sounding.seconds
        finally:
            sounding.end()


def _listener(_common: MicroWakeWord, _stop: Stop, words: tuple[str, ...]) -> MicroWakeWord:
    """A listener of its own (0.8 ms to build): they remember what they heard."""
    return MicroWakeWord(words)


def _listened(_common: MicroWakeWord, _stop: Stop, listener: MicroWakeWord, sound: Raw) -> list[str]:
    found = listener.accept(Pcm(roughly_resampled(sound.pcm()), SPEECH_RATE_HZ))
    return [one.word for one in found]


def _put_away(_common: MicroWakeWord, _stop: Stop, listener: MicroWakeWord) -> None:
    listener.close()
