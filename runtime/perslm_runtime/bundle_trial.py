"""What a bundle's manifest asks of a board before it is used: questions, sentences, clips, and bounds. Pure.

Each kind has the parts that make sense for it (`PARTS`); a part that its kind cannot be tried with is a mistake
of the manifest, because a probe that nobody runs would read like one that was passed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

ANYTHING = "*"
"""A slot's value that may be anything, as long as the slot is there."""

PARTS: Mapping[str, frozenset[str]] = {
    "llm": frozenset(("questions", "tokens_per_s", "memory_mb")),
    "adapter": frozenset(("questions", "tokens_per_s", "memory_mb")),
    "stt": frozenset(("clips", "word_errors", "real_time", "memory_mb")),
    "wake": frozenset(("clips", "real_time", "memory_mb")),
    "intents": frozenset(("sentences", "sentence_ms", "memory_mb")),
    "tts": frozenset(("real_time", "memory_mb")),
    "embed": frozenset(("memory_mb",)),
    "app": frozenset(),
}
_MOST = 200  # of questions, sentences or clips: a Pi 4 asks a small model 200 questions in five minutes


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question of the trial; the answer has to hold one of `any_of` (letters' case does not matter)."""

    ask: str
    any_of: tuple[str, ...]


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence, the intent that has to come of it ("": none, it is talk), and its slots as text.

    `slots` names those that count; "*" is any value.
    """

    say: str
    intent: str = ""
    slots: dict[str, str] = {}


class Clip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A WAV file of the bundle, and the words that have to be heard in it; "" where none may be.

    For a wake word, `words` is its name where it is called in the clip.
    """

    path: str
    words: str = ""


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a board tries before it changes over. 0 asks for nothing, except where it says how much may be wrong.

    `right` of the questions have to be answered as expected; every sentence has to be understood as it says.
    `word_errors` is the largest share of wrong words over all clips (a wake word is heard or not: none may be
    wrong). `tokens_per_s` is the slowest decoding, `real_time` the fewest seconds of sound a second (heard, or
    spoken), `sentence_ms` the longest that one sentence may take, `memory_mb` the most memory that may come out.
    """

    questions: tuple[Question, ...] = ()
    right: int = 0
    tokens_per_s: float = 0.0
    memory_mb: int = 0
    sentences: tuple[Expected, ...] = ()
    sentence_ms: float = 0.0
    clips: tuple[Clip, ...] = ()
    word_errors: float = 0.0
    real_time: float = 0.0


def mistakes(kind: str, trial: Trial, paths: Collection[str]) -> list[str]:
    """What is wrong with a trial of a bundle of this kind that has these files; sentences."""
    found: list[str] = []
    if not 0 <= trial.right <= len(trial.questions):
        found.append("trial.right has to be 0 to the number of questions")
    given = {name for name in Trial.__struct_fields__ if name != "right" and getattr(trial, name)}
    if beside := sorted(given - PARTS.get(kind, frozenset())):
        found.append(f"the trial of {kind} has no {', '.join(beside)}")
    many = (name for name in ("questions", "sentences", "clips") if len(getattr(trial, name)) > _MOST)
    found += [f"trial.{name} has more than {_MOST}" for name in many]
    strange = (one.path for one in trial.clips if one.path not in paths or not one.path.endswith(".wav"))
    found += [f"the clip {path[:80]!r} is no .wav file of the bundle" for path in strange]
    if not 0.0 <= trial.word_errors < 1.0:
        found.append("trial.word_errors has to be 0 to less than 1")
    return found


def word_errors(said: str, heard: str) -> tuple[int, int]:
    """(words that are wrong, missing or too many; words said), by edit distance over lower-case words."""
    wanted, got = _words(said), _words(heard)
    row = list(range(len(got) + 1))
    for number, word in enumerate(wanted, 1):
        before, row[0] = row[0], number
        for at, other in enumerate(got, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (word != other))
    return row[-1], len(wanted)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower().replace("'", ""))
