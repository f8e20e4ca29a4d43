"""Word error rate of speech tests, over words made alike: `word_error_rate(reference, heard)`.

The normaliser is a small relative of Whisper's English one. In order: lower case; accents dropped; "10:30" ->
"ten thirty", "21st" -> "twenty first", "3.5" -> "three point five", "-5" after a space -> "minus five", any other
number in words; "%" -> "percent", "°" -> "degrees", "&" -> "and"; contractions, titles and a few British spellings
written the long or American way; a possessive 's joined to its word; everything that is no letter parts words;
filler sounds dropped. Years and digit strings are read as numbers, on both sides.
"""

from __future__ import annotations

import re
import unicodedata

import jiwer
from num2words import num2words

_WRITTEN_OUT = {
    "mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "won't": "will not", "can't": "can not",
    "cannot": "can not", "let's": "let us", "i'm": "i am", "it's": "it is", "that's": "that is",
    "what's": "what is", "there's": "there is", "here's": "here is", "he's": "he is", "she's": "she is",
    "who's": "who is", "where's": "where is", "gonna": "going to", "ok": "okay", "o'clock": "oclock",
    "colour": "color", "favourite": "favorite", "grey": "gray", "metres": "meters", "metre": "meter",
}  # fmt: skip
_ENDINGS = {"n't": " not", "'re": " are", "'ve": " have", "'ll": " will", "'d": " would", "'s": "s"}
_FILLERS = {"uh", "um", "hmm", "mm", "mhm", "ah", "er"}


def normalise(text: str) -> str:
    """Return the words of `text` as they are spoken, in lower case, one space between them."""
    text = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace("°", " degrees "))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = text.replace("%", " percent ").replace("&", " and ")
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b", lambda m: f"{m[1]} {m[2] if m[2] != '00' else ''}", text)
    text = re.sub(r"\b(\d+)(st|nd|rd|th)\b", lambda m: num2words(int(m[1]), to="ordinal"), text)
    text = re.sub(r"(?<![\w.-])-(?=\d)", "minus ", text)
    text = re.sub(r"\d+(?:\.\d+)?", _number, text)
    words: list[str] = []
    for word in re.findall(r"[a-z']+", text):
        plain = _WRITTEN_OUT.get(word.strip("'"))
        words += (plain or _without_ending(word.strip("'"))).split()
    return " ".join(word for word in words if word not in _FILLERS)


def word_error_rate(reference: str, heard: str) -> float:
    """Words wrong, missing or added per word of `reference`, normalised; 0 or 1 where that has no words."""
    wanted, got = normalise(reference), normalise(heard)
    if not wanted:
        return 1.0 if got else 0.0
    return float(jiwer.wer(wanted, got))


def _number(match: re.Match[str]) -> str:
    digits = match[0]
    return f" {num2words(float(digits) if '.' in digits else int(digits))} ".replace(" and ", " ")


def _without_ending(word: str) -> str:
    for ending, spoken in _ENDINGS.items():
        if word.endswith(ending):
            return word.removesuffix(ending) + spoken
    return word.replace("'", "")
