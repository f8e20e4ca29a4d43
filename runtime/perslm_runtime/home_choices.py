"""What is chosen of a thing that knows a few words: "set the washing programme to wool". English, pure.

The words are the device's own, so no sentence of the table can hold them: whatever is left beside the name and the
verb is the word, and the device decides whether it knows it.
"""

from __future__ import annotations

import re

from perslm_runtime.home_chunks import Chunked
from perslm_runtime.home_wish import Wish

_T = r"xtarget0x"
_SAID = tuple(
    re.compile(f"^{pattern}$")
    for pattern in (
        rf"(?:set|put|change|switch|turn|make|have) {_T} (?:to |on |onto |over to )?(?P<word>.+)",
        rf"{_T} (?:to|on|onto) (?P<word>.+)",
        rf"(?:choose|pick|select|use|set|put|change|switch|switch to) (?P<word>.+?) (?:for|on|as) {_T}",
    )
)
_NO_WORD = re.compile(r"\bx[a-z]+\d+x\b|^(?:on|off|up|down|open|closed|shut)$")


def chosen(chunked: Chunked, fillers: frozenset[str]) -> Wish | None:
    """The wish of a sentence with marks that chooses a word of one thing; None for any other."""
    if len(chunked.targets) != 1 or len(targets := next(iter(chunked.targets.values()))) != 1:
        return None
    ids = targets[0].ids
    if not ids or {chunked.domains.get(id_) for id_ in ids} != {"select"}:
        return None
    said = " ".join(word for word in chunked.words if word not in fillers)
    for pattern in _SAID:
        if (found := pattern.match(said)) is not None and not _NO_WORD.search(found["word"]):
            return Wish("select", targets, word=found["word"])
    return None
