"""How a person reads a written reply aloud: `as_read(text)`, for both sides of a word error rate, before `wer`.

In order: a block of code is "code omitted"; of an address only the host stays; "2026-11-23" is a month, a day and
a year; "$5.50" is money; "7:30 p.m.", "7.30pm", "9:00" and "9 o'clock" are times; "5–10" is "5 to 10"; units, "+"
and "=" are words; "U.S." and "J. R. R." are their letters, together; "e.g." is "for example". It shares no line
with `perslm_runtime.spoken`, so that an error there is heard as one.
"""

from __future__ import annotations

import datetime as dt
import re

_UNITS = {
    "degree celsius": "degrees celsius",
    "km/h": "kilometers per hour",
    "kph": "kilometers per hour",
    "km per hour": "kilometers per hour",
    "kmh": "kilometers per hour",
}


def as_read(text: str) -> str:
    """Return `text` with everything but plain numbers in words; case and punctuation stay."""
    text = re.sub(r"(?s)```.*?(?:```|\Z)", " code omitted ", text)
    text = re.sub(r"https?://(?:www\.)?([^/\s]+)\S*", r"\1", text)
    text = re.sub(r"(?<=\w) dot (?=com\b)", ".", text)
    text = re.sub(r"\b\d{4}-\d\d-\d\d\b", lambda m: f"{dt.date.fromisoformat(m[0]):%B %d, %Y}", text)
    text = re.sub(r"(?<=[a-z] \d\d)(?:st|nd|rd|th)\b(?=,? \d{4})", "", text)
    text = re.sub(r"\$(\d+)\.(\d\d)", r"\1 dollars \2", text)
    text = re.sub(r"\$(\d[\d,]*)", r"\1 dollars", text)
    text = re.sub(r"(\d dollars) and (\d+) cents", r"\1 \2", text)
    text = re.sub(r"(?<=\d)[.:](\d\d)\s?([ap])\.?m\b\.?", r":\1 \2m", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\d)\s?([ap])\.?m\b\.?", r" \1m", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(\d{1,2})(?:(?::00)?(?= [ap]m)|:00| o'clock)", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=\d)\s?[–-]\s?(?=\d)", " to ", text)
    text = re.sub(r"°\s?C\b", " degrees celsius", text)
    for written, read in _UNITS.items():
        text = re.sub(rf"(?<![a-z]){re.escape(written)}\b", f" {read}", text, flags=re.IGNORECASE)
    text = text.replace("e.g.", "for example").replace("+", " plus ").replace("=", " equals ")
    return re.sub(r"\b(?:[A-Z]\. ?){2,}", lambda m: re.sub(r"[. ]", "", m[0]) + " ", text)
