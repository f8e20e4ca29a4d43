"""What is said and understood of the home in other languages than English, besides Home Assistant's sentences.

The phrases (tongues.toml) say what really came of a command, as the English answers do. Knows no device.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from perslm_runtime.time_words import words_of


@dataclass(frozen=True, slots=True)
class Tongue:
    """The phrases of one language by their keys, and what means yes, no and undo in it."""

    language: str
    phrases: Mapping[str, str]
    answers: Mapping[str, str]
    """Words in lower case, and the wish they are: yes, no or undo."""

    def say(self, key: str, **values: object) -> str:
        """The phrase of a key with its values put in."""
        return self.phrases[key].format(**values)

    def state(self, word: str) -> str:
        """A state ("on", "locked") in this language; as it is where there is no word for it."""
        return self.phrases.get(word, word.replace("_", " "))


@cache
def _table() -> Mapping[str, Mapping[str, str]]:
    text = files("perslm_runtime").joinpath("tongues.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def spoken_tongues() -> tuple[str, ...]:
    """The languages that there are phrases of ours in, besides English."""
    return tuple(_table())


@cache
def tongue(language: str) -> Tongue | None:
    """The phrases of a language; None for English and where there are none."""
    phrases = _table().get(language.partition("-")[0])  # Swiss German is answered in German
    if phrases is None:
        return None
    answers = {
        " ".join(words_of(said)): wish for wish in ("yes", "no", "undo") for said in phrases[wish].split("|")
    }
    return Tongue(language, phrases, answers)
