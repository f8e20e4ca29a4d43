"""Benchmark of the spoken turn: end of recognition to first sound, beside what its parts cost alone."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
import numpy as np

from perslm_daemon.app import Assistant, start
from perslm_daemon.bench_row import Row
from perslm_daemon.cli_session import Session
from perslm_daemon.config_sections import Config
from perslm_daemon.turn import Ask, Event, Sentence, Spoken, Turn
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample
from perslm_runtime.errors import EngineError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.spoken import speakable
from perslm_runtime.tts import Piper

# About four seconds each. All differ: a question asked twice would find its own tokens in the cache.
_QUESTIONS = (
    "Could you please tell me how I should boil an egg so that it stays soft?",
    "Could you please tell me why the sky is blue during the day and red in the evening?",
    "What should I think of when I want to plant some tomatoes in my garden this year?",
    "I would like to know how far away the moon is and how long a trip there takes.",
    "Please explain to me what makes bread rise when it stands in a warm place for a while.",
    "My neighbour asked me what the largest animal in the ocean is, do you know that?",
)


@dataclass(slots=True)
class _Round:
    """One warm turn: when what happened, in milliseconds from the ask."""

    turn: Turn
    sentences: list[str]
    first_audio_ms: float
    last_text_ms: float


def turn(session: Session) -> list[Row]:
    """A spoken question of about four seconds, warm: the first sound beside its parts, and the recognizer."""
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder:
        # A memory of its own: what a benchmark says is nothing to remember.
        return anyio.run(_turn, dataclasses.replace(session.config, data_dir=Path(folder)))


async def _turn(config: Config) -> list[Row]:
    async with start(config, hears=True, speaks=True) as assistant:
        voice = assistant.parts.tts
        if voice is None:
            raise EngineError("there is no voice: set voice.enabled=true")
        questions = [resample(await _say(voice, text), SPEECH_RATE_HZ) for text in _QUESTIONS]
        await _round(assistant, questions[0])  # the first one warms caches
        rounds = [await _round(assistant, question) for question in questions[1:]]
        parts_ms = [await _parts_ms(assistant, voice, one) for one in rounds]
    longer = [one for one in rounds if len(one.sentences) > 1] or rounds
    return [
        Row(
            "end of recognition to first sound",
            "ms",
            statistics.median(one.turn.timings.first_audio or 0.0 for one in rounds),
            statistics.median(parts_ms),
            "the first sentence's tokens at this turn's decode speed + Piper alone for it",
        ),
        Row(
            f"ask to first sound ({len(longer)} replies of several sentences)",
            "ms",
            statistics.median(one.first_audio_ms for one in longer),
            statistics.median(one.last_text_ms for one in longer),
            "ask to the last sentence of the text",
        ),
        Row(
            "recognition",
            "ms",
            statistics.median(one.turn.timings.stt or 0.0 for one in rounds),
            statistics.median(question.seconds for question in questions) * 1000,
            "the question's length",
        ),
    ]


async def _parts_ms(assistant: Assistant, voice: Lane[Piper], one: _Round) -> float:
    """What the first sentence costs without anything around it: its tokens, then its sound."""
    first = one.sentences[0]
    end = one.turn.end
    if end is None or end.generated_tokens < 2:
        raise EngineError("a benchmark question got no answer: run `perslm models verify`")
    tokens = await assistant.parts.model.call(lambda model, _stop: len(model.tokens(first)))
    alone_ms = [await _timed_say(voice, speakable(first)) for _ in range(3)]
    return tokens * end.decode_ms / (end.generated_tokens - 1) + min(alone_ms)


async def _round(assistant: Assistant, question: Pcm) -> _Round:
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

    ask = Ask(sound=question, speak=True, conversation=f"bench-{time.time_ns()}", source="bench")
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
