"""Sentences out of templates: choices, durations, numbers in words, and the way people really write. By a seed.

(a|b) is a choice and may be nested. Everything comes out of the `random.Random` it is given, so the same seed
gives the same sentence on any machine. Knows no home and no call.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from perslm_runtime.errors import InputError

_CHOICE = re.compile(r"\(([^()]*)\)")
_MOST_CHOICES = 200
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
_BEFORE = (
    "Please, ", "Hey, ", "Okay, ", "Um, ", "So, ", "Listen, ", "PersLM, ", "Hello, ", "Oh, ", "Well, ",
    "Right, ", "Excuse me, ",
)  # fmt: skip
_BEHIND = (", please", " please", ", thanks", ", will you", " now please", ", would you", " if you can")


def resolve(template: str, dice: random.Random) -> str:
    """One of the sentences that a template stands for. Raises InputError where brackets do not close."""
    text = template
    for _ in range(_MOST_CHOICES):
        found = _CHOICE.search(text)
        if found is None:
            if "(" in text or ")" in text:
                break
            return " ".join(text.split())
        text = text[: found.start()] + dice.choice(found[1].split("|")) + text[found.end() :]
    raise InputError(f"the brackets of {template!r} do not close: mend the file of sentences")


def in_words(number: int) -> str:
    """A whole number from 0 to 999 as it is spoken: "one hundred and six"."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    return f"{_ONES[hundreds]} hundred" + (f" and {in_words(rest)}" if rest else "")


def spoken(number: int, dice: random.Random) -> str:
    """A number in words or, as some recognizers write it, in digits."""
    return in_words(number) if dice.random() < 0.6 else str(number)


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of time as it is said, before a noun ("twenty minute"), and as a call states it."""

    said: str
    before_noun: str
    amount: int
    unit: str

    @property
    def equals(self) -> list[tuple[int, str]]:
        """Every (amount, unit) that is the same time and that a call may state, the stated one first."""
        seconds = self.amount * _SECONDS[self.unit]
        others = [(seconds // size, unit) for unit, size in _SECONDS.items() if seconds % size == 0]
        same = [(self.amount, self.unit), *others]
        return [pair for number, pair in enumerate(same) if 1 <= pair[0] <= 600 and pair not in same[:number]]


_FIXED = (
    Duration("half an hour", "half hour", 30, "minutes"),
    Duration("a quarter of an hour", "quarter hour", 15, "minutes"),
    Duration("three quarters of an hour", "forty five minute", 45, "minutes"),
    Duration("an hour and a half", "ninety minute", 90, "minutes"),
    Duration("one and a half hours", "ninety minute", 90, "minutes"),
    Duration("an hour", "one hour", 1, "hours"),
    Duration("a minute", "one minute", 1, "minutes"),
    Duration("a minute and a half", "ninety second", 90, "seconds"),
    Duration("half a minute", "thirty second", 30, "seconds"),
    Duration("two and a half hours", "two and a half hour", 150, "minutes"),
    Duration("two and a half minutes", "two and a half minute", 150, "seconds"),
    Duration("a couple of minutes", "two minute", 2, "minutes"),
    Duration("an hour and twenty minutes", "eighty minute", 80, "minutes"),
    Duration("one hour ten", "seventy minute", 70, "minutes"),
    Duration("an hour and a quarter", "seventy five minute", 75, "minutes"),
)


def duration(dice: random.Random) -> Duration:
    """A span of time, mostly of whole minutes."""
    if dice.random() < 0.2:
        return dice.choice(_FIXED)
    unit = dice.choices(("minutes", "seconds", "hours"), (70, 15, 15))[0]
    amount = {
        "minutes": dice.choice((dice.randint(1, 60), dice.randint(1, 20), 5 * dice.randint(1, 18))),
        "seconds": dice.choice((dice.randint(5, 120), 10 * dice.randint(1, 9), 45, 90)),
        "hours": dice.randint(1, 12),
    }[unit]
    words, single = spoken(amount, dice), unit.removesuffix("s")
    return Duration(f"{words} {single if amount == 1 else unit}", f"{words} {single}", amount, unit)


_IMPERATIVES = frozenset(
    (
        "adjust", "brighten", "bring", "change", "close", "cool", "crank", "cut", "dim", "douse", "drop", "engage",
        "get", "give", "heat", "increase", "keep", "kill", "launch", "let", "lift", "light", "lower", "make",
        "open", "play", "power", "put", "raise", "reduce", "roll", "set", "shut", "silence", "start", "stop",
        "move", "switch", "take", "tone", "turn", "wake", "warm", "water",
    )
)  # fmt: skip
_ASKS = (
    "Could you {} for me?", "Can you {}?", "Could you {}?", "Would you {}?", "I want you to {}.",
    "I'd like you to {}.", "Would you please {}?", "Could you please {}?", "Please {}.", "You may {} now.",
    "Go and {}.", "I need you to {}.", "It would be nice if you could {}.", "Be so kind as to {}.",
    "Don't forget to {}.", "Can you {} right away?", "{} right now.", "Just {}.", "Quickly {}.",
    "Why don't you {}?", "I think you should {}.",
)  # fmt: skip


def asked_politely(text: str, dice: random.Random) -> str:
    """An order as a question or a wish, a third of the time; what is no order stays."""
    order = text.rstrip(".!")
    if order.partition(" ")[0].lower() not in _IMPERATIVES or "." in order or dice.random() > 0.3:
        return text
    wish = dice.choice(_ASKS).format(order[:1].lower() + order[1:])
    return wish[:1].upper() + wish[1:]


def as_people_write(text: str, dice: random.Random) -> str:
    """The sentence with a word before or behind it, or without capitals and stops, as recognizers write."""
    text = text[:1].upper() + text[1:]
    if dice.random() < 0.10:
        keep = text.split(" ", 1)[0] in {"I", "I'm", "I'd", "I'll", "I've", "TV", "LED", "Hue", "PersLM"}
        text = dice.choice(_BEFORE) + (text if keep else text[:1].lower() + text[1:])
    if dice.random() < 0.08 and text.endswith("."):
        text = text[:-1] + dice.choice(_BEHIND) + "."
    way = dice.random()
    if way < 0.22:
        return re.sub(r"[.,!?:;]", "", text).lower()
    return text.rstrip(".!") if way < 0.34 else text


def lines(block: str) -> list[str]:
    """The lines of a block that say something."""
    return [line.strip() for line in block.splitlines() if line.strip()]
