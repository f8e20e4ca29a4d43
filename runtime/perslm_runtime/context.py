"""What of a conversation and of the memory goes into the model's window, and how much. Pure.

The window is divided between the head, what is recalled, notes of what has left it, and the newest turns.
Notes are the person's own sentences, word by word: a small model's summary of a conversation loses its names and
numbers (docs/recall.md has the figures).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perslm_runtime.known_lines import SHARE, Line, beside
from perslm_runtime.prompt import SUMMARY_REPLY, Conversation, memory_line, summary_text, user_text
from perslm_runtime.recall import STOP_WORDS, only_asks

_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\d)[^.!?\n]*)*[.!?]*")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_NUMBER = re.compile(
    r"\d|\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty"
    r"|seventy|eighty|ninety|hundred|thousand|half|first|second|third|monday|tuesday|wednesday|thursday|friday"
    r"|saturday|sunday|january|february|march|april|june|july|august|september|october|november|december)\b",
    re.IGNORECASE,
)
_PROMISE = re.compile(
    r"\b(promise[ds]?|remember|don't forget|do not forget|agreed|i will|i'll|we will|we'll|have to|must|need to"
    r"|owe|deadline|appointment|allergic|never|always|called|name is)\b",
    re.IGNORECASE,
)
_OWN = re.compile(r"\b(my|our|i|we)\b", re.IGNORECASE)
_MOST_NOTE_CHARS = 240

# Of what is free in the window; the newest turns have the rest. Chosen from benchmarks/results/context.json:
# how often the sentence that answers a question stands in the window. Memories: 3 of them (memory.recall_k)
# need 0.3 of what 512 tokens leave and 0.1 of 1024. Of 8 in 512 tokens, 0.45 carries 0.690 of the questions, 0.3
# 0.665, 0.6 0.699; but with 0.6 a page of a manual leaves the turns a tenth. Notes: without them 0.607, 0.693 and
# 0.760 are carried in 512, 1024 and 2048 tokens, with 0.3 0.613, 0.716 and 0.805; 0.2 and 0.45 are within 0.02 of
# that, and each is the best in one window.
_MEMORY_SHARE = 0.45
_NOTES_SHARE = 0.3
_PREFILL_S = 2.0  # what reading memories may cost before the first word; a Pi 4 reads 20 to 70 tokens per second
_UNKNOWN_TOKENS_PER_S = 60.0
_DRAWN = 0.6
_LEAST_MEMORY_TOKENS = 48  # one sentence is given on the slowest board too


@dataclass(frozen=True, slots=True)
class Shares:
    """Of what head and reply leave free in the window: what memories and notes may take."""

    memories: float = _MEMORY_SHARE
    notes: float = _NOTES_SHARE


@dataclass(frozen=True, slots=True)
class Division:
    """Tokens of the window that memories and notes may take; the newest turns have the rest."""

    memories: int
    notes: int


def divide(
    free_tokens: int,
    prefill_tokens_per_s: float | None,
    shares: Shares = Shares(),
) -> Division:
    """Divide what head and reply leave free. Memories are read anew with every question, so they cost time too."""
    speed = prefill_tokens_per_s or _UNKNOWN_TOKENS_PER_S
    memories = min(int(free_tokens * shares.memories), max(_LEAST_MEMORY_TOKENS, int(speed * _PREFILL_S)))
    return Division(max(0, memories), max(0, int(free_tokens * shares.notes)))


class Window:
    """Keeps notes of what leaves a conversation, as `tokens` cuts them; `reply_tokens` are left for the reply."""

    def __init__(
        self,
        tokens: Callable[[str], list[int]],
        reply_tokens: int,
        shares: Shares = Shares(),
    ) -> None:
        self._tokens = tokens
        self._shares = shares
        self._reply_tokens = reply_tokens

    def question_text(
        self,
        talk: Conversation,
        question: str,
        memories: Sequence[str],
        sources: Mapping[str, str],
        lines: Sequence[Line],
        prefill_tokens_per_s: float | None,
    ) -> str:
        """The user text of `question` with as many of `memories` and of the profile's `lines` as fit."""
        free = talk.limit - len(talk.head) - self._reply_tokens - len(self._tokens(question))
        room = divide(free, prefill_tokens_per_s, self._shares).memories
        text = text_with_memories(question, memories, sources, room, self._count)
        known = beside(lines, [text, *talk.read, *talk.gone], int(free * SHARE), self._count)
        before = "".join(f"{memory_line(line)}\n" for line in known)
        return f"{before}\n{text}" if known and text == question else before + text

    def _count(self, text: str) -> int:
        return len(self._tokens(text))

    def note_what_leaves(self, talk: Conversation, new_tokens: int) -> None:
        """Before turns are dropped to make room for `new_tokens`, put what was told in them into notes."""
        room = talk.limit - len(talk.head) - len(talk.opening) - new_tokens - self._most_notes(talk)
        kept = len(talk.turns)
        while kept and sum(map(len, talk.turns[-kept:])) > room:
            kept -= 1
        talk.compact([], kept)
        talk.summary = self.summary_run(talk, "")

    def summary_run(self, talk: Conversation, summary: str) -> list[int]:
        """The tokens that stand for the turns that have left; none where there is nothing to say of them."""
        most = max(0, self._most_notes(talk) - len(self._tokens(summary)))
        notes = notes_of(talk.gone, most, lambda note: len(self._tokens(memory_line(note))) + 1)
        talk.gone = list(notes)  # what was not worth noting now will not be later
        text = summary_text(summary, notes)
        return [*self._tokens(text), *talk.opening, *self._tokens(SUMMARY_REPLY), *talk.closing] if text else []

    def _most_notes(self, talk: Conversation) -> int:
        return divide(talk.limit - len(talk.head) - self._reply_tokens, None, self._shares).notes


def notes_of(said: Sequence[str], most_tokens: int, count: Callable[[str], int]) -> list[str]:
    """The sentences worth keeping of what a person said, in their order, `most_tokens` at most as `count` counts.

    What names somebody, gives a number or a day, or promises goes first; of equals the newer. Questions are out.
    """
    sentences = list(dict.fromkeys(s for text in said for s in _sentences(text)))
    order = sorted(range(len(sentences)), key=lambda place: (-_worth(sentences[place]), -place))
    chosen, left = [], most_tokens
    for place in order:
        if _worth(sentences[place]) == 0:
            break
        cost = count(sentences[place])
        if cost <= left:
            chosen.append(place)
            left -= cost
    return [sentences[place] for place in sorted(chosen)]


def _sentences(text: str) -> list[str]:
    found = (sentence.strip() for sentence in _SENTENCE.findall(text))
    return [sentence for sentence in found if 3 < len(sentence) <= _MOST_NOTE_CHARS and not only_asks(sentence)]


def _worth(sentence: str) -> int:
    words = _WORD.findall(sentence)
    names = any(word[0].isupper() and word.casefold() not in STOP_WORDS for word in words[1:])
    own = bool(_OWN.search(sentence))
    return 2 * names + 2 * bool(_NUMBER.search(sentence)) + 2 * bool(_PROMISE.search(sentence)) + own


def passage(text: str, question: str, most_chars: int) -> str:
    """The stretch of whole sentences of `text` that shares most with `question`, of about `most_chars` at most."""
    if len(text) <= most_chars:
        return text
    wanted = _roots(question)
    sentences = [found.strip() for found in re.split(r"(?<=[.!?])\s+|\n+", text) if found.strip()]
    shared = [len(wanted.intersection(map(_root, _WORD.findall(sentence)))) for sentence in sentences]
    start = max(range(len(sentences)), key=lambda place: (shared[place], -place))
    end = start + 1
    taken = len(sentences[start])
    while end < len(sentences) and taken + len(sentences[end]) < most_chars:
        taken += len(sentences[end]) + 1
        end += 1
    while start > 0 and taken + len(sentences[start - 1]) < most_chars:
        start -= 1
        taken += len(sentences[start]) + 1
    return _cut(" ".join(sentences[start:end]), most_chars)


def draws_on(reply: str, question: str, text: str) -> bool:
    """Whether most of what `reply` says beyond the words of `question` stands in `text`."""
    asked, held = _roots(question), _roots(text)
    new = _roots(reply) - asked
    return bool(new) and len(new & held) >= _DRAWN * len(new)


def _roots(text: str) -> set[str]:
    return {_root(word) for word in _WORD.findall(text) if word.casefold() not in STOP_WORDS}


def _root(word: str) -> str:
    """A word without its ending, near enough to compare "washed" and "washing", "lasts" and "last"."""
    return word.casefold()[:5].rstrip("s")


def _cut(text: str, most_chars: int) -> str:
    """`text`, ended at a word where it is too long."""
    return text if len(text) <= most_chars else text[:most_chars].rsplit(" ", 1)[0] + " ..."


def fitting(memories: Sequence[str], question: str, most_tokens: int, count: Callable[[str], int]) -> list[str]:
    """As many of `memories`, best first, as fit: the first whole or its best passage, later ones only whole."""
    chosen: list[str] = []
    left = most_tokens
    for memory in memories:
        cost = count(memory)
        text = memory
        if cost > left and not chosen and left > 0:
            chars = max(80, len(memory) * left // cost)
            text = passage(memory, question, chars)
            cost = count(text)
        if cost <= left or not chosen:
            chosen.append(text)
            left -= cost
    return chosen


def text_with_memories(
    question: str, memories: Sequence[str], sources: Mapping[str, str], room: int, count: Callable[[str], int]
) -> str:
    """The user text of `question` with as many of `memories`, best first, as `room` tokens hold.

    `count` tells the tokens of a text, `sources` the documents that memories are pieces of.
    """
    chosen, named = [], {}
    for text in fitting(memories, question, room, lambda one: count(memory_line(one))):
        chosen.append(text)
        named[text] = next((source for whole, source in sources.items() if text[:40] in whole), "")
    return user_text(question, chosen, sources=named)
