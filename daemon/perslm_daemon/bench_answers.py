"""Benchmark of the answer, not only of what was found: questions answered right with memory on and off.

The configured model answers questions of the test dialogues as a turn would. An answer is right when
it contains the expected words; the model's window and speed decide how much it is given (context.py).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from perslm_daemon import bench_stories
from perslm_daemon.bench_dialogue import Asked, Dialogue
from perslm_daemon.bench_memory import embedder
from perslm_daemon.bench_personal import personal
from perslm_daemon.bench_recall import Embed, Vector, opened
from perslm_daemon.bench_row import Row
from perslm_daemon.cli_session import Session
from perslm_daemon.engine_builds import open_model
from perslm_daemon.engine_calls import known_lines
from perslm_daemon.stores import open_models
from perslm_runtime.errors import EngineError
from perslm_runtime.known_lines import Line, near
from perslm_runtime.lane import Stop
from perslm_runtime.model import ChatModel

_QUESTIONS = 40
_MOST_TOKENS = 32
_RECALLED = 3  # as the daemon's memory.recall_k
_MOST_TURNS = 80
_AT_ONCE = 1000
_SMALL = frozenset(("a", "an", "the", "my", "of", "in"))
_CHATTER = (
    "Tell me something about rivers.",
    "What is bread made of?",
    "Why do cats purr?",
    "How is glass made?",
    "What do bees eat?",
    "Describe a lighthouse.",
    "What is a fable?",
    "Why do leaves fall?",
    "How do boats float?",
    "What makes the wind?",
    "What is a comet?",
    "Tell me about owls.",
    "How does a clock work?",
    "What is rust?",
)
# Told at the beginning of a conversation that outgrows the window, and a word by which it is known.
_TOLD = (
    ("My dentist is called Doctor Okoye.", "Okoye"),
    ("I promised Selma to water her ferns on Friday.", "ferns"),
    ("The gate code is 5 8 1 3.", "5 8 1 3"),
    ("My train leaves at seven twenty.", "seven twenty"),
    ("I am allergic to cashews.", "cashews"),
    ("My cat's name is Figaro.", "Figaro"),
    ("We owe the baker forty euros.", "forty euros"),
    ("My sister Ines moved to Lisbon in March.", "Lisbon"),
)


def answers(session: Session) -> list[Row]:
    """Questions answered right: with memory beside without; and what was told early in a long conversation."""
    config = session.config
    embed = embedder(session)
    dialogue = bench_stories.dialogues(1)[0]
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder:
        model = open_model(
            config, open_models(config).file(config.model.id), snapshots=None, max_reply_tokens=_MOST_TOKENS
        )
        try:
            with opened(Path(folder), dialogue, embed) as store:
                asked = _chosen(dialogue, store.looked_by)
                given = [_recalled(store.recalled(one, vector)[:_RECALLED], dialogue) for one, vector in asked]
                on = [_right(model, one, memories) for (one, _), memories in zip(asked, given, strict=True)]
                off = [_right(model, one, []) for one, _ in asked]
            told, beside = _personal(model, Path(folder) / "personal", dialogue, embed)
            kept, summarised = _long_conversation(model)
        finally:
            model.close()
    name = config.model.id
    return [
        Row(
            f"answered right with memory, {name} ({len(on)} questions)", "share", _mean(on), _mean(off), "without"
        ),
        Row(
            f"answered right of what is known of the person, {name} ({len(told)} questions)",
            "share",
            _mean(beside),
            _mean(told),
            "what is recalled alone",
        ),
        Row(
            f"told early and still in the overflowed window, {name} ({len(_TOLD)} facts)",
            "share",
            kept,
            summarised,
            "the model's own summary of the same turns",
        ),
    ]


def _personal(model: ChatModel, folder: Path, dialogue: Dialogue, embed: Embed) -> tuple[list[bool], list[bool]]:
    """Personal questions answered right with what is recalled, and with the profile's nearest lines beside it."""
    without, with_lines = [], []
    with opened(folder, personal(dialogue, 1), embed) as store:
        while store.memory.claims.look(_AT_ONCE):
            pass
        lines = known_lines(store.memory, Stop(), "owner")
        vectors = embed([line.text for line in lines])
        for asked, alone, by in zip(store.dialogue.asked, store.asked_vectors, store.looked_by, strict=True):
            recalled = _recalled(store.recalled(asked, by)[:_RECALLED], store.dialogue)
            without.append(_right(model, asked, recalled))
            with_lines.append(_right(model, asked, recalled, near(lines, vectors, asked.text, alone)))
    return without, with_lines


def _chosen(dialogue: Dialogue, vectors: Sequence[Vector]) -> list[tuple[Asked, Vector]]:
    """Questions with a known answer, evenly out of all kinds."""
    known = [pair for pair in zip(dialogue.asked, vectors, strict=True) if pair[0].answers]
    return known[:: max(1, len(known) // _QUESTIONS)][:_QUESTIONS]


def _recalled(places: Sequence[int], dialogue: Dialogue) -> list[str]:
    return [dialogue.told[place].said for place in places]


def _right(model: ChatModel, asked: Asked, memories: list[str], lines: Sequence[Line] = ()) -> bool:
    model.begin(Stop())
    reply = _reply(model, model.with_memories(asked.text, memories, lines=lines))
    return any(contains(reply, answer) for answer in asked.answers)


def _reply(model: ChatModel, text: str) -> str:
    return "".join(piece for piece in model.reply(Stop(), text, max_tokens=_MOST_TOKENS) if isinstance(piece, str))


def contains(reply: str, answer: str) -> bool:
    """Whether the words of `answer`, but for articles and the like, stand in `reply` one after the other."""
    return f" {_plain(answer)} " in f" {_plain(reply)} "


def _plain(text: str) -> str:
    return " ".join(word for word in re.findall(r"\w+", text.lower()) if word not in _SMALL)


def _long_conversation(model: ChatModel) -> tuple[float, float]:
    """Of what was told at the beginning, the share that is still said in the window after it overflowed.

    Returns that of our notes, and that of the summary which the model wrote of the same turns.
    """
    stop = Stop()
    model.begin(stop, [(told, "All right, I will remember that.") for told, _ in _TOLD])
    for turn in range(_MOST_TURNS):
        for _ in model.reply(stop, _CHATTER[turn % len(_CHATTER)], max_tokens=_MOST_TOKENS * 2):
            pass
        if model.wants_compaction:
            summary = model.compact(stop)
            kept = " ".join(model.notes)
            return _mean([contains(kept, w) for _, w in _TOLD]), _mean([contains(summary, w) for _, w in _TOLD])
    raise EngineError("the conversation never filled the window: set model.context_tokens lower")


def _mean(right: Sequence[bool]) -> float:
    return sum(right) / len(right)
