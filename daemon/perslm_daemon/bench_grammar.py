"""Benchmark of tool calls: what holding a model to a grammar costs, and what a call costs the conversation."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from perslm_daemon.bench_row import Row
from perslm_daemon.cli_session import Session
from perslm_daemon.engine_builds import open_model
from perslm_daemon.stores import open_models
from perslm_runtime.choosing import Form
from perslm_runtime.errors import EngineError
from perslm_runtime.home_tools import CALL_TOKENS, EXAMPLES, HomeNames, home_system, home_text, home_tools
from perslm_runtime.lane import Stop
from perslm_runtime.llama import Llama
from perslm_runtime.llama_grammar import Grammar
from perslm_runtime.model import ChatModel, ReplyEnd
from perslm_runtime.prompt import CHATML, chat_format, start_conversation
from perslm_runtime.tool_grammar import ToolSet

_SAID = (
    "It is too dark in here.",
    "Remember that the spare key lies under the blue pot.",
    "The soup needs twenty five minutes.",
    "I am cold, make it twenty two degrees.",
    "Who wrote Hamlet?",
    "Everything off, please.",
)
_ROOMS = ("attic", "cellar", "kitchen", "nursery", "office", "bedroom", "hall", "library", "garage", "porch")
_THINGS = ("ceiling light", "floor lamp", "desk lamp", "fan", "radio", "heater", "socket", "wall light")
_COPIES = 5  # 10 rooms x 8 things x 5: as many names as a house with 400 devices has
_CONTEXT = 2048
_TIMES = 3


def grammar(session: Session) -> list[Row]:
    """The model that is configured, choosing among tools: the grammar alone, a whole call, and the next turn."""
    config = session.config
    file = open_models(config).file(config.model.id)
    sized = dataclasses.replace(config, model=dataclasses.replace(config.model, context_tokens=_CONTEXT))
    few = HomeNames(_names(1)[:24], _names(1)[:8], areas=_ROOMS)
    system, tools = home_system(few), home_tools(few)
    model = open_model(sized, file, snapshots=None)
    try:
        choose = _chooser(model, system, tools)
        choose(_SAID[0], jump=True)  # computes the head
        many = home_tools(HomeNames(_names(_COPIES), _names(_COPIES)[:100], areas=_ROOMS))
        return [*_of_tokens(model, system, many), *_of_calls(choose), *_of_turns(model, choose)]
    finally:
        model.close()


def _names(copies: int) -> list[str]:
    return [
        f"{room} {thing}{f' {copy}' if copy else ''}"
        for copy in range(copies)
        for room in _ROOMS
        for thing in _THINGS
    ]


@dataclass(slots=True)
class _Spent:
    """Milliseconds per token of three ways to choose the same tokens."""

    checked: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    free: list[float] = field(default_factory=list)


def _of_tokens(model: ChatModel, system: str, tools: ToolSet) -> list[Row]:
    """The grammar of 400 names: check first, beside the whole vocabulary and beside no grammar, token by token."""
    spent = _Spent()
    for said in _SAID:
        model.on_bare_library(functools.partial(_walk, system=system, said=said, gbnf=tools.gbnf, spent=spent))
    checked, free = statistics.mean(spent.checked), statistics.mean(spent.free)
    return [
        Row(
            "choose a token under a grammar with 400 names",
            "ms",
            checked,
            statistics.mean(spent.whole),
            "the same tokens, the grammar over the whole vocabulary",
        ),
        Row("the same beside no grammar", "ms", checked, free, "llama.cpp's greedy sampler without a grammar"),
        Row("the slowest token of these", "ms", max(spent.checked), max(spent.whole), "the slowest the other way"),
    ]


def _walk(llama: Llama, system: str, said: str, gbnf: str, spent: _Spent) -> None:
    stop = Stop()
    form = chat_format(llama.chat_template or CHATML)
    talk = start_conversation(llama.tokenize, form, system, EXAMPLES, llama.context_tokens)
    llama.clear()
    llama.decode(talk.prompt(llama.tokenize(home_text(said, "office"), special=False), CALL_TOKENS), stop)
    with Grammar(llama, gbnf) as ours, Grammar(llama, gbnf) as naive:
        for _ in range(CALL_TOKENS):
            free_ms, _free = _timed(llama.sample)
            checked_ms, token = _timed(ours.likeliest)
            whole_ms, other = _timed(naive.likeliest_of_all)
            checked_ms += _accept_ms(ours, token)
            whole_ms += _accept_ms(naive, token)
            if token != other:
                raise EngineError(f"checking first chose token {token}, the whole vocabulary {other}")
            spent.free.append(free_ms)
            spent.checked.append(checked_ms)
            spent.whole.append(whole_ms)
            if ours.complete:
                break
            llama.decode_one(token, stop)


def _accept_ms(grammar: Grammar, token: int) -> float:
    began = time.perf_counter()
    grammar.accept(token)
    return (time.perf_counter() - began) * 1000


def _timed(choose: Callable[[], int]) -> tuple[float, int]:
    """The best of a few: choosing changes nothing, and on a shared machine one in a hundred is interrupted."""
    best_ms, token = float("inf"), -1
    for _ in range(_TIMES):
        began = time.perf_counter()
        token = choose()
        best_ms = min(best_ms, (time.perf_counter() - began) * 1000)
    return best_ms, token


@dataclass(frozen=True, slots=True)
class _Called:
    """One call: its text and what it cost."""

    text: str
    total_ms: float
    decode_ms: float
    aside_ms: float


_Choose = Callable[..., _Called]


def _chooser(model: ChatModel, system: str, tools: ToolSet) -> _Choose:
    def choose(said: str, *, jump: bool) -> _Called:
        form = Form(tools.gbnf, tools.forced if jump else None)
        began = time.perf_counter()
        choice = model.choose(Stop(), system, EXAMPLES, home_text(said, "office"), form, CALL_TOKENS)
        total_ms = (time.perf_counter() - began) * 1000
        return _Called(choice.written.text, total_ms, choice.decode_ms, choice.aside_ms)

    return choose


def _of_calls(choose: _Choose) -> list[Row]:
    jumping: list[float] = []
    stepping: list[float] = []
    whole: list[float] = []
    for said in _SAID:
        jumps = [choose(said, jump=True) for _ in range(3)]
        steps = [choose(said, jump=False) for _ in range(3)]
        jumping.append(min(call.decode_ms for call in jumps))
        stepping.append(min(call.decode_ms for call in steps))
        whole.append(min(call.total_ms for call in jumps))
    step = "the same calls token by token"
    return [
        Row(
            "write a call, what is forced in one batch",
            "ms",
            statistics.mean(jumping),
            statistics.mean(stepping),
            step,
        ),
        Row("a whole call: prompt, call, conversation back", "ms", statistics.mean(whole), None, ""),
    ]


def _of_turns(model: ChatModel, choose: _Choose) -> list[Row]:
    """What a call between two turns costs the second."""
    model.begin(Stop())
    for said in ("Tell me something about Rome.", "And about Athens?", "Which of the two is older?"):
        _reply(model, said)
    used = model.used_tokens
    plain = _reply(model, "Which is larger?")
    model.begin(Stop())
    for said in ("Tell me something about Rome.", "And about Athens?", "Which of the two is older?"):
        _reply(model, said)
    aside_ms = choose(_SAID[0], jump=True).aside_ms
    after = _reply(model, "Which is larger?")
    again_ms = after.prefill_ms / max(1, after.prefilled_tokens) * used
    return [
        Row(
            "tokens the next turn computes after a call",
            "tokens",
            after.prefilled_tokens,
            plain.prefilled_tokens,
            "the same turn without a call before it",
        ),
        Row(
            f"put a conversation of {used} tokens aside and take it back",
            "ms",
            aside_ms,
            again_ms,
            "computing its tokens again at that turn's speed",
        ),
    ]


def _reply(model: ChatModel, said: str) -> ReplyEnd:
    end = list(model.reply(Stop(), said, max_tokens=24))[-1]
    assert isinstance(end, ReplyEnd)  # noqa: S101 - reply() always ends with one
    return end
