"""A line cleaned, and whether it is worth learning: length, language, noise. Pure but for the language model.

Languages are told by py3langid's model, which is unsure of a few words: a short line is refused only where another
language is certain.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff]")
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n ?(?:\n ?)*")
_REPEATED = re.compile(r"(.)\1{9,}|(\b\w+\b)(?:\W+\2\b){5,}", re.DOTALL)
_SURE = 0.9
_FEW_LETTERS = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """What lines are kept: how long (characters, words) and in which languages ("" or none: any)."""

    fewest_chars: int = 8
    most_chars: int = 20_000
    fewest_words: int = 2
    languages: Sequence[str] = ("en",)

    def why_not(self, text: str) -> str:
        """Why a cleaned text is refused; "" where it is wanted."""
        if not text:
            return "empty"
        if len(text) < self.fewest_chars or len(text.split()) < self.fewest_words:
            return "too short"
        if len(text) > self.most_chars:
            return "too long"
        if sum(map(str.isalpha, text)) + sum(map(str.isspace, text)) < 0.6 * len(text):
            return "mostly no words"
        if _REPEATED.search(text):
            return "repeats itself"
        return self._why_not_language(text)

    def _why_not_language(self, text: str) -> str:
        if not self.languages:
            return ""
        found, how_sure = _identifier().classify(text[:2000])
        if found in self.languages:
            return ""
        share = sum(value for name, value in _identifier().rank(text[:2000]) if name in self.languages)
        certain = how_sure >= _SURE if len(text) < _FEW_LETTERS else how_sure >= 0.5 and share < 0.2
        return f"language {found}" if certain else ""


@cache
def _identifier() -> Any:
    langid: Any = import_module("py3langid.langid")  # 95 MB, which only who filters by language needs
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def cleaned(text: str) -> str:
    """NFC, without control and invisible letters; blanks and empty lines are single."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _INVISIBLE.sub("", text)
    text = _CONTROL.sub(" ", text)
    return _LINES.sub("\n", _BLANKS.sub(" ", text)).strip()
