"""Names that were not understood, and what they may have been meant to be: "the chandler ear" for the chandelier.

Only words that are none of the language and of no name are repaired, where the sentence has a verb of the home.
"""

from __future__ import annotations

from collections.abc import Iterator

from perslm_runtime.home_chunks import BREAK
from perslm_runtime.home_names import Hit, Kind, NameBook
from perslm_runtime.home_parts import HomeParts
from perslm_runtime.home_strange import Strangers


def repairs(words: list[str], book: NameBook, read: HomeParts, strangers: Strangers) -> Iterator[dict[int, Hit]]:
    """What unknown words may have been meant to be, the most likely first."""
    known = read.grammar | read.known.noun_words | read.known.rooms | {BREAK}
    unknown = [
        at
        for at, word in enumerate(words)
        if word not in known and word not in book.words and not word[0].isdigit()
    ]
    if len(unknown) > 3 or len(words) > 14 or not (set(words) & read.verbs):
        return
    spans: list[tuple[float, int, Hit]] = []
    nouns = {at for at, word in enumerate(words) if word in read.known.noun_words}  # "front door": no room
    anchors = unknown or [
        at for at, word in enumerate(words) if word in book.words and word not in read.sentences.words
    ]
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + 5) + 1):
            inside = set(range(start, end))
            if not inside & set(anchors) or words[start] in read.fillers or words[end - 1] in read.fillers:
                continue
            if any(words[at] in read.verbs for at in inside):
                continue
            if any(strangers.is_thing(words[at]) and words[at] not in book.words for at in inside):
                continue  # "pool heater" is no towel heater heard wrongly
            hit = book.repair(words, start, end, (Kind.DEVICE, Kind.AREA))
            if hit is not None and (hit.kind is not Kind.AREA or inside.isdisjoint(nouns)):
                spans.append((hit.alike + 0.02 * (end - start), start, hit))
    spans.sort(key=lambda one: one[0], reverse=True)
    for _, start, hit in spans[:3]:
        yield {start: hit}
    if len(spans) > 1:
        best = spans[0]
        apart = [one for one in spans[1:] if one[1] >= best[2].end or one[2].end <= best[1]]
        if apart:
            yield {best[1]: best[2], apart[0][1]: apart[0][2]}
