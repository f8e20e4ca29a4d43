"""Which division of the window carries most of what questions need: memories, notes of what left, newest turns.

`python benchmarks/context.py` talks the development dialogues (recall_stories.py) through the product's own
recall, window and notes, for a grid of shares, and keeps the table in benchmarks/results/context.json. A question
is carried where the sentence that answers it stands in what the model would read. No model writes: its vocabulary
counts the tokens, and the replies are those of the dialogues. Each question is asked soon after its evidence, and
at the end.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import recall as golden
import recall_stories
from perslm_daemon.bench_dialogue import Asked, Dialogue
from perslm_daemon.bench_recall import Store, opened
from perslm_daemon.config_sections import Config
from perslm_runtime import recall
from perslm_runtime.context import Shares, Window, divide, text_with_memories
from perslm_runtime.llama import Llama, LlamaOptions
from perslm_runtime.prompt import CHATML, EXAMPLES, Conversation, chat_format, start_conversation

KEPT = golden.ROOT / "benchmarks/results/context.json"
DIALOGUES = 3
SPOKEN = 350  # turns of each dialogue that are one running conversation; those before are in the memory alone
SOON = (2, 6, 15, 40)  # turns after its evidence that a question is asked
WINDOWS = {512: 64, 1024: 128, 2048: 160}  # tokens of the window, and of a reply
MEMORIES = (0.1, 0.2, 0.3, 0.45, 0.6)
NOTES = (0.0, 0.1, 0.2, 0.3, 0.45)
SPEEDS = (30.0, 400.0)  # tokens per second that are read: a board, a desk machine
RECALLED = (3, 8)  # memories at most (memory.recall_k)
PLACES = ("soon", "end")


@dataclass(frozen=True, slots=True)
class Question:
    """A question after turn `after`; the ways to say each thing it needs, and what is recalled, best first."""

    place: str
    after: int
    text: str
    needed: tuple[tuple[str, ...], ...]
    recalled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Talk:
    """A dialogue's last turns, what is recalled for each, and the questions."""

    dialogue: Dialogue
    start: int
    recalled: tuple[tuple[str, ...], ...]
    questions: tuple[Question, ...]


Beside = Callable[[str, int, Sequence[str], int, int], tuple[str, int]]
"""(text, its place, texts read beside it, tokens free, tokens for memories) -> a block, tokens for memories."""


def needed(asked: Asked, dialogue: Dialogue) -> tuple[tuple[str, ...], ...]:
    """Of each evidence turn the sentence with the answer, or its longest."""
    found = []
    for place in sorted(asked.evidence):
        sentences = re.split(r"(?<=[.!?])\s+", dialogue.told[place].said)
        right = [one for one in sentences if any(answer.casefold() in one.casefold() for answer in asked.answers)]
        found.append((max(right or sentences, key=len),))
    return tuple(found)


def prepared(store: Store, embed: golden.Embed) -> Talk:
    """Look up once what no share changes."""
    dialogue, told, last = store.dialogue, store.dialogue.told, len(store.dialogue.told) - 1
    start = max(0, len(told) - SPOKEN)

    def found(text: str, by: golden.Vector, known: int) -> tuple[str, ...]:
        items = store.memory.recall(text, vector=by, k=60)
        return tuple(told[place].said for item in items if (place := store.places[item.id]) < known)[
            : max(RECALLED)
        ]

    recalled = []
    for place in range(start, len(told)):
        store.now = told[place].at
        recalled.append(found(told[place].said, store.matrix[place], place))
    questions = []
    for number, (asked, by) in enumerate(zip(dialogue.asked, store.looked_by, strict=True)):
        soon = min(last, max(asked.evidence) + SOON[number % len(SOON)])
        for name, after in zip(PLACES, (soon, last), strict=True):
            if after < start:
                continue
            one = replace(asked, at=max(told[after].at, asked.at))
            store.now = one.at
            vectors = by if name == "end" else recall.blended(embed([asked.text]))
            recalled_now = found(asked.text, vectors, after + 1)
            questions.append(Question(name, after, asked.text, needed(asked, dialogue), recalled_now))
    return Talk(dialogue, start, tuple(recalled), tuple(questions))


def carried(
    talk: Talk,
    new: Callable[[], Conversation],
    tokens: Callable[[str], list[int]],
    text_of: Callable[[Sequence[int]], str],
    shares: Shares,
    reply: int,
    speed: float,
    k: int,
    beside: Beside = lambda _text, _place, _recalled, _free, room: ("", room),
) -> Iterator[tuple[str, float]]:
    """(place, share of what it needs that stands in the window) of each question."""
    conversation, window = new(), Window(tokens, reply, shares)
    texts: list[str] = []

    def said(text: str, recalled: Sequence[str], place: int) -> str:
        free = conversation.limit - len(conversation.head) - reply - len(tokens(text))
        room = divide(free, speed, shares).memories
        kept = texts[len(texts) - len(conversation.turns) :]
        block, room = beside(text, place, [*recalled[:k], *kept], free, room)
        return block + text_with_memories(text, recalled[:k], {}, room, lambda one: len(tokens(one)))

    def made_room(user: Sequence[int]) -> None:
        if not conversation.fits(user, reply):
            window.note_what_leaves(conversation, len(user) + reply)
        conversation.prompt(user, reply)

    for place, told in enumerate(talk.dialogue.told[talk.start :], talk.start):
        text = said(told.said, talk.recalled[place - talk.start], place)
        user = tokens(text)
        made_room(user)
        conversation.add(user, tokens(told.reply), told.said)
        texts.append(text)
        for question in (one for one in talk.questions if one.after == place):
            asked = said(question.text, question.recalled, place)
            kept = _after_asking(conversation, window, tokens(asked), reply)
            read = "\n".join([text_of(kept.summary), *texts[len(texts) - len(kept.turns) :], asked])
            stand = [any(way in read for way in ways) for ways in question.needed]
            yield question.place, sum(stand) / len(stand)


def _after_asking(talk: Conversation, window: Window, user: Sequence[int], reply: int) -> Conversation:
    """The conversation as the model reads it with the question; `talk` itself goes on without."""
    copy = replace(
        talk, turns=[*talk.turns], summary=[*talk.summary], said=[*talk.said], gone=[*talk.gone], read=[*talk.read]
    )
    if not copy.fits(user, reply):
        window.note_what_leaves(copy, len(user) + reply)
    copy.prompt(user, reply)
    return copy


def main() -> None:
    """Try the grid, print the best and keep the table."""
    models = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
    embed, began = golden.minilm(models / "all-minilm-l6-v2"), time.monotonic()
    file = next((models / "smollm2-135m-q4_1").glob("*.gguf"))
    with tempfile.TemporaryDirectory() as name, closing(Llama(file, LlamaOptions(context_tokens=512))) as llama:
        talks = []
        for number, dialogue in enumerate(recall_stories.dialogues(DIALOGUES)):
            with opened(Path(name) / str(number), dialogue, embed) as store:
                talks.append(prepared(store, embed))
        form, system = chat_format(llama.chat_template or CHATML), Config().model.system_prompt
        tokens = lru_cache(None)(lambda text: llama.tokenize(text, special=False))
        text_of = lambda run: b"".join(map(llama.piece, run)).decode("utf-8", "replace")  # noqa: E731 - one line, used once
        print(
            f"{sum(len(talk.questions) for talk in talks)} questions, {time.monotonic() - began:.0f} s", flush=True
        )
        rows = []
        for window, k, memories, notes in product(WINDOWS, RECALLED, MEMORIES, NOTES):
            new = lambda: start_conversation(llama.tokenize, form, system, EXAMPLES, window)  # noqa: B023, E731 - used in this round only
            row: dict[str, float] = {"window": window, "recalled": k, "memories": memories, "notes": notes}
            shares, reply = Shares(memories, notes), WINDOWS[window]
            for speed in SPEEDS:
                found = [
                    one for talk in talks for one in carried(talk, new, tokens, text_of, shares, reply, speed, k)
                ]
                for place in PLACES:
                    values = [value for where, value in found if where == place]
                    row[f"{place}_{speed:.0f}"] = round(sum(values) / len(values), 3)
            row["mean"] = round(sum(row[f"{p}_{s:.0f}"] for p in PLACES for s in SPEEDS) / 4, 4)
            rows.append(row)
            print(row, flush=True)
    rows.sort(key=lambda row: (row["window"], row["recalled"], -row["mean"]))
    questions = sum(len(talk.questions) for talk in talks)
    KEPT.write_text(json.dumps({"questions": questions, "tried": rows}, indent=1) + "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
