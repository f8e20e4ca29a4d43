"""Benchmarks of the language model: against the bare library, and a restart with and without the snapshot."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anyio

from perslm_daemon.bench_row import Row
from perslm_daemon.cli_session import Session
from perslm_daemon.engine_builds import open_model
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.stores import open_models
from perslm_daemon.turn import Ask, Event, Parts
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.llama import BareSpeed, Llama, bare_speed
from perslm_runtime.model import ChatModel, ReplyEnd

_ROUNDS = 8
_GENERATED = 96
_PROMPT_TOKENS = 512
_HEAD_TOKENS = 600
_STORY = "Tell me a long story about a lighthouse keeper and his dog, with many details."
_PROSE = "The keeper climbed the stairs every evening, lit the lamp and wrote the weather into his book. "


def raw(session: Session) -> list[Row]:
    """Tokens per second through the whole pipeline beside a bare llama_decode and greedy loop."""
    return anyio.run(_raw, session)


async def _raw(session: Session) -> list[Row]:
    config = session.config
    file = open_models(config).file(config.model.id)
    bare: list[BareSpeed] = []
    decoded: list[float] = []
    prefilled: list[float] = []

    def build() -> ChatModel:
        return open_model(config, file, snapshots=None, max_reply_tokens=_GENERATED)

    async with Lane("model", build) as lane, Pipeline(Parts(lane), model_id=config.model.id) as pipeline:
        for number in range(_ROUNDS):
            bare.append(await lane.call(_bare))
            turn = await pipeline.ask(Ask(_STORY, conversation=f"decode-{number}", source="bench"), _ignore)
            decoded.append(_decode_speed(turn.end))
            text = await lane.call(lambda model, _stop: _text_of(model, _PROMPT_TOKENS))
            turn = await pipeline.ask(Ask(text, conversation=f"prefill-{number}", source="bench"), _ignore)
            prefilled.append(_prefill_speed(turn.end))
    loop = "a bare llama_decode + greedy sampler loop on the same context, same run"
    return [
        Row("decode through the pipeline", "tokens/s", max(decoded), max(b.decode for b in bare), loop),
        Row("prefill through the pipeline", "tokens/s", max(prefilled), max(b.prefill for b in bare), loop),
    ]


def _bare(model: ChatModel, _stop: Stop) -> BareSpeed:
    before = _tokens(model, model.head_tokens)
    prompt = _tokens(model, _PROMPT_TOKENS)
    short = model.tokens(_STORY)

    def measure(llama: Llama) -> BareSpeed:
        prefill = bare_speed(llama, before, prompt, 1).prefill
        return BareSpeed(prefill, bare_speed(llama, before, short, _GENERATED).decode)

    return model.on_bare_library(measure)


def _text_of(model: ChatModel, count: int) -> str:
    """A text that makes a turn of `count` new tokens."""
    sentences = (count - model.opening_tokens) // len(model.tokens(_PROSE))
    return _PROSE * sentences


def _tokens(model: ChatModel, count: int) -> list[int]:
    tokens = model.tokens(_PROSE * (count // 8))
    return tokens[:count]


def _decode_speed(end: ReplyEnd | None) -> float:
    if end is None or end.generated_tokens < _GENERATED // 2:
        return 0.0
    # The first token of a reply comes out of the prefill's logits: one decode less than tokens.
    return (end.generated_tokens - 1) / end.decode_ms * 1000


def _prefill_speed(end: ReplyEnd | None) -> float:
    return 0.0 if end is None else end.prefilled_tokens / end.prefill_ms * 1000


async def _ignore(_event: Event) -> None:
    """A benchmark looks at the finished turn only."""


def snapshot(session: Session) -> list[Row]:
    """A prompt head of 600 tokens after a restart: restored beside prefilled; then the first and second turn."""
    config = session.config
    file = open_models(config).file(config.model.id)
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder:

        def build(system: str) -> ChatModel:
            return open_model(config, file, snapshots=Path(folder), system=system)

        system = _system_of(_HEAD_TOKENS, build)
        prefills: list[float] = []
        restores: list[float] = []
        firsts: list[float] = []
        expected: list[float] = []
        second_new = second_wanted = 0
        for _ in range(3):
            for path in Path(folder).glob("*.kv"):
                path.unlink()
            cold = build(system)
            prefills.append(cold.head_ms)
            cold.close()
            warm = build(system)
            restores.append(warm.head_ms)
            question = warm.tokens("What is the capital of Italy, and what is it known for?")
            end, first_ms = _first_token(warm)
            firsts.append(first_ms)
            second = list(warm.reply(Stop(), "And of Spain?", max_tokens=4))[-1]
            if isinstance(second, ReplyEnd) and isinstance(end, ReplyEnd):
                second_new = second.prefilled_tokens
                second_wanted = len(warm.tokens("And of Spain?")) + warm.turn_overhead_tokens
            expected.append(_own_cost_ms(warm, len(question)))
            head_tokens = warm.head_tokens
            warm.close()
    own = "the question's own prefill and one decode, measured bare in the same run"
    return [
        Row(f"restore a head of {head_tokens} tokens", "ms", min(restores), min(prefills), "prefilling that head"),
        Row("first token after the restart", "ms", statistics.median(firsts), statistics.median(expected), own),
        Row("tokens prefilled in a second turn", "tokens", second_new, second_wanted, "its new tokens"),
    ]


def _system_of(tokens: int, build: Callable[[str], ChatModel]) -> str:
    """A system text that makes the head at least `tokens` long."""
    probe = build("x")
    missing = tokens - probe.head_tokens
    text = _PROSE * (missing // max(1, len(probe.tokens(_PROSE))) + 1)
    probe.close()
    return text


def _first_token(model: ChatModel) -> tuple[ReplyEnd | None, float]:
    began = time.perf_counter()
    first_ms = 0.0
    end: ReplyEnd | None = None
    for piece in model.reply(Stop(), "What is the capital of Italy, and what is it known for?", max_tokens=8):
        if isinstance(piece, ReplyEnd):
            end = piece
        elif not first_ms:
            first_ms = (time.perf_counter() - began) * 1000
    return end, first_ms


def _own_cost_ms(model: ChatModel, question_tokens: int) -> float:
    """What the question's tokens and one decode cost on the bare library, after the same head."""
    count = question_tokens + model.opening_tokens
    return model.on_bare_library(lambda llama: _time_after_head(llama, model, count))


def _time_after_head(llama: Llama, model: ChatModel, count: int) -> float:
    stop = Stop()
    llama.clear()
    llama.decode(_tokens(model, model.head_tokens), stop)
    new = _tokens(model, count)
    began = time.perf_counter()
    llama.decode(new, stop)
    llama.decode_one(llama.sample(), stop)
    return (time.perf_counter() - began) * 1000
