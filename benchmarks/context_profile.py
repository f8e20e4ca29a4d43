"""Whether a share of the window for the profile carries more of what questions need (context.py has the others).

`python benchmarks/context_profile.py` talks the development dialogues as context.py does, with a block of claims
known at that moment before what is recalled; the table is kept in benchmarks/results/context_profile.json. What a
question needs is carried by a line too whose claim was read from the turn that answers it. The rules read few of
those turns, so a second set asks for what they do read: bench_personal.py, told among the same dialogues.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import product
from pathlib import Path

import context
import recall as golden
import recall_stories
from perslm_daemon.bench_personal import personal
from perslm_daemon.bench_recall import Store, opened
from perslm_daemon.config_sections import Config
from perslm_runtime.context import Shares
from perslm_runtime.llama import Llama, LlamaOptions
from perslm_runtime.memory_claims import Known
from perslm_runtime.profile import sentence
from perslm_runtime.prompt import CHATML, EXAMPLES, chat_format, memory_line, start_conversation
from perslm_runtime.recall import STOP_WORDS

KEPT = golden.ROOT / "benchmarks/results/context_profile.json"
PARTS = (0.05, 0.1, 0.15)  # of what is free in the window
WAYS = (  # what gives the tokens, and which lines: all, best first; those that share a word with the question; and
    ("memories", "all"),  # of either only those that do not stand in the window already
    ("memories", "sharing"),
    ("turns", "all"),
    ("turns", "sharing"),
    ("turns", "all, once"),
    ("turns", "sharing, once"),
)
K, MORE = 3, 4  # memories recalled (memory.recall_k); and one more instead of a profile
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Line:
    """A claim as a sentence, with what decides its place: when it holds, how sure it is, what said it."""

    text: str
    roots: frozenset[str]
    since: datetime
    until: datetime | None
    confidence: float
    said: tuple[str, ...]
    places: tuple[int, ...]


def known(store: Store) -> list[Line]:
    """All that the rules ever read of a dialogue, as lines; what says nothing but a name of itself is left out."""
    while store.memory.claims.look(1000):
        pass
    claims = store.memory.claims.known("owner", past=True)
    called: dict[int, str] = {}
    for claim in claims:
        if claim.object is not None:
            called[claim.object] = f"{called.get(claim.object, '')} {claim.relation} {claim.value}"
    return [_line(claim, store, called.get(claim.subject, "")) for claim in claims if claim.about != claim.value]


def _line(claim: Known, store: Store, called: str) -> Line:
    places = tuple(store.places[memory] for memory in claim.sources)
    said = tuple(store.dialogue.told[place].said for place in places)
    text = sentence(claim)
    text = f"{text[:1].upper()}{text[1:]}."
    return Line(text, _roots(f"{text} {called}"), claim.since, claim.until, claim.confidence, said, places)


@lru_cache(None)
def _roots(text: str) -> frozenset[str]:
    words = (word.casefold() for word in _WORD.findall(text))
    return frozenset(word[:5].rstrip("s") for word in words if word not in STOP_WORDS)


def with_lines(talk: context.Talk, lines: Sequence[Line]) -> context.Talk:
    """The talk whose questions count a line for a turn that it was read from, where it holds the answer."""
    by_text = {(one.text, context.needed(one, talk.dialogue)): one for one in talk.dialogue.asked}

    def ways(question: context.Question) -> tuple[tuple[str, ...], ...]:
        asked = by_text[question.text, question.needed]
        found = []
        for place, way in zip(sorted(asked.evidence), question.needed, strict=True):
            answers = [one.casefold() for one in asked.answers if one.casefold() in way[0].casefold()]
            read = [one.text for one in lines if place in one.places]
            found.append(
                (*way, *(one for one in read if not answers or any(a in one.casefold() for a in answers)))
            )
        return tuple(found)

    return replace(talk, questions=tuple(replace(one, needed=ways(one)) for one in talk.questions))


def block(
    talk: context.Talk,
    lines: Sequence[Line],
    count: Callable[[str], int],
    part: float,
    taken_from: str,
    which: str,
    costs: list[int],
) -> context.Beside:
    """The block of the profile before what is recalled; its tokens go into `costs`."""

    def beside(text: str, place: int, beside_it: Sequence[str], free: int, room: int) -> tuple[str, int]:
        at, asked, chosen = talk.dialogue.told[place].at, _roots(text), list[str]()
        holding = [one for one in lines if one.since <= at and (one.until is None or one.until > at)]
        new = [one for one in holding if not any(said in beside_it[:K] for said in one.said)]
        order = sorted(new, key=lambda one: (-len(one.roots & asked), -one.confidence, -one.since.timestamp()))
        standing = "\n".join(beside_it) if which.endswith("once") else ""
        for one in order:
            wanted = which.startswith("all") or one.roots & asked
            if not wanted or one.text in standing or one.text in chosen:
                continue
            if count(memory_line(" ".join([*chosen, one.text]))) <= part * free:
                chosen.append(one.text)
        cost = count(memory_line(" ".join(chosen))) if chosen else 0
        costs.append(cost)
        head = memory_line(" ".join(chosen)) + "\n" if chosen else ""
        return head, max(0, room - cost) if taken_from == "memories" else room

    return beside


def main() -> None:
    """Try the grid on both sets and keep the table."""
    models = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
    embed, began = golden.minilm(models / "all-minilm-l6-v2"), time.monotonic()
    file = next((models / "smollm2-135m-q4_1").glob("*.gguf"))
    rows = []
    with tempfile.TemporaryDirectory() as name, closing(Llama(file, LlamaOptions(context_tokens=512))) as llama:
        form, system = chat_format(llama.chat_template or CHATML), Config().model.system_prompt
        tokens = lru_cache(None)(lambda text: llama.tokenize(text, special=False))
        text_of = lambda run: b"".join(map(llama.piece, run)).decode("utf-8", "replace")  # noqa: E731 - one line, used once
        told = list(recall_stories.dialogues(context.DIALOGUES))
        sets = {"dialogues": told, "personal": [personal(one, number) for number, one in enumerate(told)]}
        for kind, dialogues in sets.items():
            talks = []
            for number, dialogue in enumerate(dialogues):
                with opened(Path(name) / f"{kind}{number}", dialogue, embed) as store:
                    lines = known(store)
                    talks.append((with_lines(context.prepared(store, embed), lines), lines))
            needs = [ways for talk, _ in talks for one in talk.questions for ways in one.needed]
            read = sum(len(ways) > 1 for ways in needs) / len(needs)
            asked = sum(len(talk.questions) for talk, _ in talks)
            print(f"{kind}: {asked} questions, {read:.3f} read, {time.monotonic() - began:.0f} s", flush=True)
            tried = [
                (K, 0.0, "", ""),
                (MORE, 0.0, "", ""),
                *((K, part, *way) for part, way in product(PARTS, WAYS)),
            ]
            for window, (k, part, taken_from, which) in product(context.WINDOWS, tried):
                new = lambda: start_conversation(llama.tokenize, form, system, EXAMPLES, window)  # noqa: B023, E731 - used in this round only
                found, costs = list[float](), list[int]()
                for (talk, lines), speed in product(talks, context.SPEEDS):
                    beside = block(talk, lines, lambda one: len(tokens(one)), part, taken_from, which, costs)
                    reply = context.WINDOWS[window]
                    got = context.carried(talk, new, tokens, text_of, Shares(), reply, speed, k, beside)
                    found += [value for _, value in got]
                rows.append(
                    {"set": kind, "questions": asked, "read_by_rules": round(read, 3), "window": window}
                    | {"recalled": k, "part": part, "taken_from": taken_from, "lines": which}
                    | {"carried": round(sum(found) / len(found), 4), "tokens": round(sum(costs) / len(costs), 1)}
                )
                print(rows[-1], flush=True)
    KEPT.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
