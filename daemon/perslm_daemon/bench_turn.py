"""Benchmark of the spoken turn: end of recognition to first sound, beside what its parts cost alone."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import anyio
import numpy as np
from perslm_runtime.spoken import speakable

from perslm_daemon.app import Assistant, start
from perslm_daemon.bench_row import Row
from perslm_daemon.cli_session import Session
from perslm_daemon.pipeline import Ask, Event, Sentence, Spoken, Turn
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample
from perslm_runtime.errors import EngineError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.tts import Piper

_ROUNDS = 5
_QUESTION = "Could you please tell me why the sky is blue during the day and red in the evening?"


@dataclass(slots=True)
class _Round:
    """One warm turn: when what happened, in milliseconds from the ask."""

    turn: Turn
    sentences: list[str]
    first_audio_ms: float
    last_text_ms: float


def turn(session: Session) -> list[Row]:
    """A spoken question of about four seconds, warm: the first sound beside its parts, and the recognizer."""
    return anyio.run(_turn, session)


async def _turn(session: Session) -> list[Row]:
    async with start(session.config, hears=True, speaks=True) as assistant:
        voice = assistant.parts.tts
        if voice is None:
            raise EngineError("there is no voice: set voice.enabled=true")
        question = resample(await _say(voice, _QUESTION), SPEECH_RATE_HZ)
        await _round(assistant, question, 0)  # the first one warms caches
        rounds = [await _round(assistant, question, number + 1) for number in range(_ROUNDS)]
        first = speakable(rounds[0].sentences[0])
        alone_ms = [await _timed_say(voice, first) for _ in range(3)]
        tokens = await assistant.parts.model.call(lambda model, _stop: len(model.tokens(rounds[0].sentences[0])))
    speeds = [
        (one.turn.end.generated_tokens - 1) / one.turn.end.decode_ms for one in rounds if one.turn.end is not None
    ]
    parts_ms = tokens / max(speeds) + min(alone_ms)
    ours = statistics.median(one.turn.timings.first_audio or 0.0 for one in rounds)
    heard = statistics.median(one.turn.timings.stt or 0.0 for one in rounds)
    text_done = statistics.median(one.last_text_ms for one in rounds)
    audio = statistics.median(one.first_audio_ms for one in rounds)
    return [
        Row(
            "end of recognition to first sound",
            "ms",
            ours,
            parts_ms,
            f"the first sentence's {tokens} tokens at this run's decode speed + Piper alone for it",
        ),
        Row("ask to first sound", "ms", audio, text_done, "ask to the last sentence of the text"),
        Row("recognition", "ms", heard, question.seconds * 1000, "the question's length"),
    ]


async def _round(assistant: Assistant, question: Pcm, number: int) -> _Round:
    began = time.perf_counter()
    sentences: list[str] = []
    marks = {"audio": 0.0, "text": 0.0}

    async def tell(event: Event) -> None:
        now_ms = (time.perf_counter() - began) * 1000
        if isinstance(event, Sentence):
            sentences.append(event.text)
            marks["text"] = now_ms
        elif isinstance(event, Spoken) and not marks["audio"]:
            marks["audio"] = now_ms

    ask = Ask(sound=question, speak=True, conversation=f"bench-{time.time_ns()}-{number}", person="benchmark")
    done = await assistant.pipeline.ask(ask, tell)
    if not sentences:
        raise EngineError("the benchmark's question got no answer: run `perslm models verify`")
    return _Round(done, sentences, marks["audio"], marks["text"])


async def _say(voice: Lane[Piper], text: str) -> Pcm:
    def work(engine: Piper, stop: Stop) -> list[Pcm]:
        return list(engine.speak(text, stop))

    pieces = await voice.call(work)
    return Pcm(np.concatenate([piece.samples for piece in pieces]), pieces[0].rate_hz)


async def _timed_say(voice: Lane[Piper], text: str) -> float:
    began = time.perf_counter()
    await _say(voice, text)
    return (time.perf_counter() - began) * 1000
