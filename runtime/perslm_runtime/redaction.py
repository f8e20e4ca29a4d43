"""A text without what says whose it is: names, addresses, numbers and secrets become [name], [phone] and so on.

Pure; what is known of a person's contacts and places is handed in. Done twice it changes nothing more. It is made
for examples that leave the house: a word too many costs little there, one too few cannot be taken back.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perslm_runtime import private_codes, private_numbers, private_places, private_secrets
from perslm_runtime.private_names import Names, introduced
from perslm_runtime.private_numbers import Span
from perslm_runtime.private_places import ADDRESS

_DONE = re.compile(r"\[(?:name|phone|card|number|address|email|link|secret)\]")
# Of pieces that overlap the first of these gives its name to all.
_RANK = ("email", "secret", "card", "address", "link", "number", "phone", "name")


@dataclass(frozen=True, slots=True)
class Redacted:
    """The text with placeholders, and how many of each kind were put in."""

    text: str
    counts: Mapping[str, int]


class Redaction:
    """Takes out `names` of people, `places`, and everything private that can be told by its form.

    `regions` are countries (ISO 3166) whose way of writing phone numbers is known, the own one first.
    """

    def __init__(
        self, names: Iterable[str] = (), places: Iterable[str] = (), regions: Sequence[str] = ("US", "GB", "DE")
    ) -> None:
        self._names, self._places = Names(names), Names(places, ADDRESS)
        self._regions = tuple(dict.fromkeys(regions))

    def __call__(self, text: str) -> Redacted:
        """The text as it may leave, in NFC."""
        text = unicodedata.normalize("NFC", text)
        counts: Counter[str] = Counter()
        while True:  # what stood beside something private may be seen only without it
            before, text = text, self._once(text, counts)
            if text == before:
                return Redacted(text, dict(counts))

    def _once(self, text: str, counts: Counter[str]) -> str:
        parts: list[str] = []
        at = 0
        for span in _joined(text, self._found(text)):
            parts += [text[at : span.start], f"[{span.kind}]"]
            counts[span.kind] += 1
            at = span.end
        return "".join([*parts, text[at:]])

    def of_data(self, data: Any) -> Any:
        """The same for every string in lists and dictionaries; keys stay."""
        if isinstance(data, str):
            return self(data).text
        if isinstance(data, Mapping):
            return {key: self.of_data(value) for key, value in data.items()}
        return [self.of_data(one) for one in data] if isinstance(data, list | tuple) else data

    def _found(self, text: str) -> Iterator[Span]:
        yield from private_secrets.spans(text)
        yield from private_codes.spans(text)
        yield from private_numbers.spans(text, self._regions)
        yield from private_places.spans(text)
        yield from self._names.spans(text)
        yield from self._places.spans(text)
        yield from introduced(text)


def _joined(text: str, found: Iterable[Span]) -> list[Span]:
    """Pieces in order, those that overlap as one; placeholders that stand there already are left alone."""
    done = [match.span() for match in _DONE.finditer(text)]
    free = [span for span in found if not any(span.start < end and start < span.end for start, end in done)]
    joined: list[Span] = []
    for span in sorted(free):
        if joined and span.start < joined[-1].end:
            last = joined[-1]
            kind = min(last.kind, span.kind, key=_RANK.index)
            joined[-1] = Span(last.start, max(last.end, span.end), kind)
        else:
            joined.append(span)
    return joined
