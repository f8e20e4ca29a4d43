"""Questions about what was told earlier, with the memories in front as the product gives them, and the right
answer.

The facts are templates in home_data: {..} is what is asked for, (a|b) a choice that the questions name as @1, @2.
The answer is the fact, turned to the person who asks. Where no memory answers, it is said so.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from perslm_runtime.errors import InputError
from perslm_runtime.prompt import user_text
from perslm_training_host.home_made import data
from perslm_training_host.home_said import ALL, DEV, TEST, is_dev
from perslm_training_host.phrases import as_people_write, lines, resolve

UNKNOWN = "You have not told me that yet."
_UNKNOWN_SHARE = 0.15
_MOST_MEMORIES = 5
_GROUP = re.compile(r"\(([^()]*)\)|\{([^{}]*)\}")
_TURNED = {
    "i": "you", "my": "your", "me": "you", "we": "you", "our": "your", "am": "are", "us": "you", "mine": "yours",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recollection:
    """A user message with memories, the answer to learn, and what an answer has to hold."""

    prompt: str
    answer: str
    must_hold: str

    def is_right(self, answer: str) -> bool:
        """Whether an answer holds what was asked for; where nothing was told, whether it says so."""
        return self.must_hold.casefold() in answer.casefold()


@dataclass(frozen=True, slots=True)
class _Fact:
    fact: str
    question: str
    value: str


def recollection(fold: str, seed: int, number: int) -> Recollection:
    """Question `number` of a fold; the same arguments give the same question on any machine."""
    dice = random.Random(f"memory {fold} {seed} {number}")  # noqa: S311 - draws sentences, no secrets
    told = data("test" if fold == TEST else "train")["memories"]
    known = [line for line in lines(told["facts"]) if _of_fold(line, fold)]
    distractors = [line for line in lines(told["facts"]) if fold == TEST or not is_dev(line)]
    asked = _fact(dice.choice(known), dice)
    others = [_fact(line, dice).fact for line in dice.sample(distractors, dice.randint(0, _MOST_MEMORIES - 1))]
    others = [other for other in others if other[:12] != asked.fact[:12]]
    if dice.random() < _UNKNOWN_SHARE:
        unknown = [line for line in lines(told["unknown"]) if fold == TEST or not is_dev(line)]
        question = resolve(dice.choice(unknown), dice)
        return Recollection(user_text(question, [_sentence(other) for other in others]), UNKNOWN, "not told me")
    place = 0 if dice.random() < 0.6 else dice.randint(0, len(others))
    memories = [_sentence(memory) for memory in (*others[:place], asked.fact, *others[place:])]
    prompt = user_text(as_people_write(asked.question, dice), memories)
    return Recollection(prompt, turned(asked.fact), asked.value)


def turned(fact: str) -> str:
    """A fact as it is told back: "my car is red" becomes "Your car is red."."""
    words = [_TURNED.get(word.lower(), word) for word in fact.split(" ")]
    text = " ".join(words).replace("you was ", "you were ")
    return f"{text[:1].upper()}{text[1:]}."


def _of_fold(line: str, fold: str) -> bool:
    return fold in (TEST, ALL) or is_dev(line) == (fold == DEV)


def _sentence(fact: str) -> str:
    return f"{fact[:1].upper()}{fact[1:]}."


def _fact(line: str, dice: random.Random) -> _Fact:
    fact, questions, *rest = (part.strip() for part in line.split(" | "))
    chosen: list[str] = []
    value = rest[-1] if rest else ""

    def choose(found: re.Match[str]) -> str:
        nonlocal value
        picked: str = dice.choice((found[1] or found[2]).split("|"))
        if found[2]:
            value = picked
        else:
            chosen.append(picked)
        return picked

    fact = _GROUP.sub(choose, fact)
    if not value:
        raise InputError(f"the memory {line!r} does not mark what is asked for: put it into braces")
    question = dice.choice(questions.split(";"))
    for number, picked in enumerate(chosen, start=1):
        question = question.replace(f"@{number}", picked)
    return _Fact(fact, resolve(question, dice), value)
