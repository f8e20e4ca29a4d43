"""Lines that nobody said: commands in made-up homes with their calls, questions on memories, talk that a teacher
answers, and commands that a teacher says in other words.

Templates know the truth of a call, so another wording is kept only where everything that the call names is still
in it. What a teacher wrote is kept in a file: asked once, it is asked no more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from perslm_runtime.home_tools import home_system
from perslm_training_host.held_out import is_held_out, likeness, words_of
from perslm_training_host.home_said import LEARN, Said, household
from perslm_training_host.phrases import in_words
from perslm_training_host.recollections import recollection
from perslm_training_host.sources import Line, Unread

Answer = Callable[[str, str], str | None]
"""A teacher: system text and question in, reply out, None where it did not come to an end."""

_SENTENCES_A_HOME = 12
_LIKE_ENOUGH = 0.5  # words in common, of a sentence whose call names nothing that it says
_OTHER_WORDS = (
    "You say what somebody asked of their home in other words. Keep every name, room and number. "
    "Answer with one short sentence and nothing else."
)
_TALK = "You are a helpful AI assistant named PersLM. Your answers are short, because they are spoken aloud."
_MEANING = re.compile(r"[\w']+")


def home_lines(count: int, seed: int) -> Iterator[Line]:
    """`count` commands in homes with their calls; the same seed gives the same ones."""
    number = made = 0
    while made < count:
        home = household(LEARN, seed, number, _SENTENCES_A_HOME)
        for said in home.said[: count - made]:
            system = home_system(home.home.names)
            yield _call(f"home {seed}.{number}", said, said.prompt, system)
            made += 1
        number += 1


def memory_lines(count: int, seed: int) -> Iterator[Line]:
    """`count` questions on memories, with their answers."""
    for number in range(count):
        one = recollection(LEARN, seed, number)
        yield Line("memories", f"{seed}.{number}", messages=(("user", one.prompt), ("assistant", one.answer)))


def talk_lines(questions: list[str], teacher: Answer, cache: Path) -> Iterator[Line | Unread]:
    """Questions with the teacher's answers."""
    for number, question in enumerate(questions):
        reply = _asked(teacher, cache, _TALK, question)
        if reply:
            yield Line("talk", str(number), messages=(("user", question), ("assistant", reply)))
        else:
            yield Unread("talk", str(number), "the teacher gave no whole answer")


def reworded_lines(count: int, seed: int, teacher: Answer, cache: Path) -> Iterator[Line | Unread]:
    """`count` home commands in a teacher's words, with the calls of the sentences they were made from."""
    number = tried = 0
    while tried < count:
        home = household(LEARN, seed, number, _SENTENCES_A_HOME)
        for said in home.said[: count - tried]:
            tried += 1
            place = f"{seed}.{number}.{tried}"
            other = _asked(teacher, cache, _OTHER_WORDS, said.text).strip().strip('"').partition("\n")[0]
            if why := _why_not(said, other):
                yield Unread("reworded", place, why)
            else:
                prompt = said.prompt.replace(said.text, other)
                yield _call("reworded", said, prompt, home_system(home.home.names), place)
        number += 1


def _call(place: str, said: Said, prompt: str, system: str, where: str = "") -> Line:
    messages = (("system", system), ("user", prompt), ("assistant", said.call))
    return Line("home" if not where else "reworded", where or place, messages=messages)


def _why_not(said: Said, other: str) -> str:
    """Why another wording may mean another thing; "" where it keeps all that the call names."""
    if not other or len(other) > 3 * len(said.text) + 40:
        return "the teacher did not answer with one sentence"
    if _bare(other) == _bare(said.text):
        return "the teacher said the same"
    if is_held_out(other):
        return "too like a held-out sentence"
    words, before = (set(_MEANING.findall(text.lower())) for text in (other, said.text))
    named = 0
    for word in _MEANING.findall(said.call.lower().partition("(")[2].replace("_", " ")):
        spelled = set(in_words(int(word)).split()) if word.isdecimal() and int(word) < 1000 else {word}
        if (spelled | {word}) & before:
            named += 1
            if not (spelled | {word}) & words:
                return f"the teacher left something out: {word}"
    if not named and likeness(words_of(other), words_of(said.text)) < _LIKE_ENOUGH:
        return "the teacher's words are far from what was said"
    return ""


def _bare(text: str) -> str:
    return " ".join(_MEANING.findall(text.lower()))


def _asked(teacher: Answer, cache: Path, system: str, question: str) -> str:
    """What the teacher says, from the cache where it was asked before."""
    key = sha256(f"{system}\0{question}".encode()).hexdigest()[:24]
    known = _cached(cache)
    if key not in known:
        known[key] = teacher(system, question) or ""
        with cache.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "reply": known[key]}, ensure_ascii=False) + "\n")
    return known[key]


_read: dict[Path, dict[str, str]] = {}


def _cached(cache: Path) -> dict[str, str]:
    if cache not in _read:
        cache.parent.mkdir(parents=True, exist_ok=True)
        found: dict[str, str] = {}
        if cache.exists():
            for line in cache.read_text(encoding="utf-8").splitlines():
                try:
                    one = json.loads(line)
                    found[one["key"]] = str(one["reply"])
                except (ValueError, KeyError, TypeError):  # the line that a killed run left half
                    continue
        _read[cache] = found
    return _read[cache]
