"""The engine that understands sentences without a model: everyday intents, and wishes about the home. For a lane.

English has sentences of ours for both, other languages have Home Assistant's. The names of the home come with each
sentence and are made into a book once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from perslm_runtime.errors import InputError
from perslm_runtime.home_later import Later
from perslm_runtime.home_names import Entry, NameBook
from perslm_runtime.home_sentences import HomeSentences
from perslm_runtime.home_stock import StockHome
from perslm_runtime.home_wish import Wish
from perslm_runtime.intent import Intent
from perslm_runtime.intents import Recognizer, Sentences
from perslm_runtime.sentence_layer import EMPTY, Layer
from perslm_runtime.stock_answers import StockAnswers
from perslm_runtime.time_words import words_of

_LONGEST_CHARS = 300
_POLITE = re.compile(
    r"^((please|can you|could you|would you|hey|ok|okay|and|perslm) )+|( (please|for me|thanks|thank you))+$"
)
# "Remember when we met": that is talk, and so is what follows "don't forget" where nothing was told.
_NO_FACT = re.compile(
    r"(when|how|me|the time|that time|what|who|where|why|if|you|us|it|that|this)\b", re.IGNORECASE
)
_EXAMPLE = "turn on everything in the attic"


class Understanding(Recognizer):
    """Recognizes everyday intents and wishes about the home in one language.

    `layer` lays sentences over the English ones.
    """

    def __init__(self, language: str = "en", layer: Layer = EMPTY) -> None:
        super().__init__(language, layer)
        # Home Assistant's English ones behind ours found not one of 400 sentences more, and once another number.
        self._home = HomeSentences(layer) if language == "en" else None
        self._of_home: HomeSentences | StockHome = self._home or StockHome(language)
        self._about = _about() if language == "en" else None
        self._book: tuple[object, NameBook] | None = None
        self._answers: StockAnswers | None = None
        if layer != EMPTY:
            self._read_through()

    def _read_through(self) -> None:
        """Sentences are read when they are first used: strangers' are now. Raises `InputError`."""
        try:
            self.recognize("prove it")
            self.wishes(_EXAMPLE, "proof", ())
        except Exception as error:  # hassil has no one error for what cannot be read
            raise InputError(f"the sentences that are laid over cannot be read: {error}") from error
        self._book = None

    def prove(self) -> str:
        """As `Recognizer.prove`; the sentences about the home are made ready too (60 ms that nobody waits for)."""
        self.wishes(_EXAMPLE, "proof", ())
        self._book = None
        return super().prove()

    def wishes(self, text: str, names: object, entries: Sequence[Entry]) -> tuple[Wish, ...]:
        """What a sentence wants of the home; () for any other. `names` changes whenever `entries` do."""
        if not text.strip() or len(text) > _LONGEST_CHARS:
            return ()
        return self._of_home.recognize(text, self._named(names, entries))

    def said(self, intent: str, key: str, slots: Mapping[str, Any], state: Mapping[str, Any]) -> str:
        """Home Assistant's answer in this language to one of its intents that was done; "" where it has none."""
        if self._answers is None:
            self._answers = StockAnswers(self._language)
        return self._answers.said(intent, key, slots, state)

    def about(self, text: str) -> Intent | None:
        """What is asked of PersLM itself: its memory, or what it can do. `what` has the words as said."""
        if self._about is None or len(text) > _LONGEST_CHARS:
            return None
        words = words_of(text)
        low = _POLITE.sub("", " ".join(words).lower())
        for found in self._about.match(low, {}):
            said = next((said.strip() for name, _, said in found.entities if name == "what"), "")
            if found.intent == "remember" and (len(said.split()) < 2 or _NO_FACT.match(said)):
                continue
            return Intent(found.intent, {"what": _as_said(said, " ".join(words))} if said else {})
        return None

    def later(self, text: str) -> Later | None:
        """What a sentence would command but for the time in it; after `wishes`, with its names."""
        if self._home is None or self._book is None:
            return None
        return self._home.later(text, self._book[1])

    def strange(self, text: str, names: object, entries: Sequence[Entry]) -> str:
        """The thing or room that a sentence for the home is about and that it has not; "" for any other text."""
        if self._home is None or not text.strip() or len(text) > _LONGEST_CHARS:
            return ""
        return self._home.strange(text, self._named(names, entries))

    def _named(self, names: object, entries: Sequence[Entry]) -> NameBook:
        if self._book is None or self._book[0] != names:
            self._book = (names, NameBook(entries))
        return self._book[1]


def _about() -> Sentences:
    table = tomllib.loads(files("perslm_runtime").joinpath("about_en.toml").read_text(encoding="utf-8"))
    return Sentences(table["intent"], table["rules"], {})


def _as_said(low: str, text: str) -> str:
    """A part of a sentence with its capital letters."""
    at = text.lower().rfind(low)
    return text[at : at + len(low)] if at >= 0 else low
