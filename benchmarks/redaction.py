"""How much of what is private is taken out of a text, and how often something that is not.

    python benchmarks/redaction.py

`redaction.jsonl`: 266 sentences, written and as a recognizer writes speech, with names, addresses, numbers and
mail drawn by Faker for ten countries; the sentences around them are others than the rules were made with. A value
counts as taken out when none of its words is left. False alarms are counted on the home commands, everyday
intents, replies and talk of the other sets, beside ten contacts whose names are mostly words as well. Beside it
what looking for the contacts' names as they are written would find.

`redaction_2.jsonl`: 273 values of seventeen countries and 50 sentences that look a little like them, by an author
who knew no rule. The rules as they were found 0.65 of its 120 addresses; mended on addresses of our own before it
was looked at, they found what FIRST_SIGHT says, and what was missed then was mended. So every figure of now is one
of sets that were seen.

The first look at the older set found 264 of the 266 ("has jay answered yet", and a ship's address), the one at
another of the kind before it 261.

`addresses.txt`: 282 addresses of twenty countries, written by hand: of the first 105 the rules found 59 at first
sight, and mended on those 45 of the 49 that were written then; of 131 more, half as speech is written, 44 of 80
and then 40 of 52. All are seen by now.

What a rule is worth on a text that it has not seen is told by earlier rules: `BY_FRAMES` says what those of two
earlier states found of the sets they had not seen, alone and with private_frames.py, which goes by what is said
around an address. Its words were chosen with the second set and every other line of `addresses.txt` in view.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "runtime")]

from perslm_runtime.redaction import Redaction  # noqa: E402 - after the path is set

# (right, of) at the first look at redaction_2.jsonl, before any of it was learned from.
FIRST_SIGHT = {
    "address": (95, 120),
    "name": (42, 43),
    "email": (26, 30),
    "phone": (40, 40),
    "card": (14, 14),
    "secret": (22, 26),
    "false_alarms": (3, 50),
}
# (alone, with the frames, of): rules that had seen neither set, and those that had seen all but the second.
BY_FRAMES = {
    "the other lines of addresses.txt": (69, 99, 141),
    "the second set, by the oldest rules": (61, 94, 120),
    "the second set": (94, 113, 120),
}
_NO_ADDRESSES = ROOT / "benchmarks/no_addresses.txt"
_ADDRESSES = ROOT / "benchmarks/addresses.txt"
RESULT = ROOT / "benchmarks/results/redaction.json"
_SETS = (ROOT / "benchmarks/redaction.jsonl", ROOT / "benchmarks/redaction_2.jsonl")
_SMALL_WORDS = {"the", "of", "de", "la", "at", "dot", "und", "a", "dash", "underscore"}
_CONTACTS = (
    *("Will Turner", "Mark", "Rose Day", "Grace Hill", "May Summers", "Ana", "Ludwig Meier", "Bill Light"),
    *("Frank", "Hope"),
)
# Sentences of those sets that do name somebody: what is taken out of them is no mistake.
_NAMES_SOMEBODY = re.compile(r"\b[Aa]na\b|\bDr\. |https?://|My name is Clara")


def main() -> None:
    """Measure, print and keep the result."""
    found = {
        kind: {"right": right, "of": whole, "recall": round(right / whole, 3)}
        for kind, (right, whole) in recalls().items()
    }
    wrong, whole = false_alarms()
    texts = [line["text"] for line in lines()]
    redaction = Redaction(_CONTACTS)
    began = time.perf_counter()
    for text in texts:
        redaction(text)
    told = {
        "recall": found,
        "recall_of_all": round(
            sum(one["right"] for one in found.values()) / sum(one["of"] for one in found.values()), 3
        ),
        "first_sight_of_the_second_set": {
            kind: {"right": right, "of": whole, "share": round(right / whole, 3)}
            for kind, (right, whole) in FIRST_SIGHT.items()
        },
        "addresses_of_twenty_countries": elsewhere(),
        "addresses_unseen_by_the_rules": {
            name: {"alone": alone, "with_frames": both, "of": whole}
            for name, (alone, both, whole) in BY_FRAMES.items()
        },
        "counted_timed_or_ranked": no_address(),
        "names_as_written_alone": round(as_written(), 3),
        "false_alarms": {"sentences": len(wrong), "of": whole, "share": round(len(wrong) / whole, 4)},
        "us_per_sentence": round((time.perf_counter() - began) / len(texts) * 1e6),
    }
    print(json.dumps(told, indent=1))
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def lines() -> list[dict[str, Any]]:
    """Both sets."""
    return [json.loads(line) for one in _SETS for line in one.read_text(encoding="utf-8").splitlines()]


def recalls() -> dict[str, tuple[int, int]]:
    """(taken out, of) for each kind."""
    right: dict[str, int] = defaultdict(int)
    whole: dict[str, int] = defaultdict(int)
    for line in lines():
        left = Redaction(line.get("names", ()))(line["text"]).text
        for kind, value in line["found"]:
            whole[kind] += 1
            right[kind] += not _is_left(value, line["text"], left)
    return {kind: (right[kind], whole[kind]) for kind in whole}


def elsewhere() -> dict[str, float]:
    """Addresses in `addresses.txt` that are taken out; what was found at first sight stands there."""
    redaction, right, whole = Redaction(), 0, 0
    for line in _ADDRESSES.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        text, value = re.sub("[{}]", "", line), line[line.index("{") + 1 : line.index("}")]
        whole += 1
        right += not _is_left(value, text, redaction(text).text)
    return {"right": right, "of": whole, "recall": round(right / whole, 3)}


def no_address() -> dict[str, int]:
    """Sentences of `no_addresses.txt` that are changed."""
    redaction = Redaction()
    texts = [line for line in _NO_ADDRESSES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {"changed": sum(redaction(text).text != text for text in texts), "of": len(texts)}


def as_written() -> float:
    """The share of names that is found by looking for the contacts' names alone, letter by letter."""
    named = [line for line in lines() if line["found"] and line["found"][0][0] == "name"]
    return sum(any(name in line["text"] for name in line.get("names", ())) for line in named) / len(named)


def false_alarms() -> tuple[list[tuple[str, str]], int]:
    """Sentences that name nobody and were changed, with what became of them; and how many there are."""
    redaction = Redaction(_CONTACTS)
    texts = [text for text in _ordinary() if not _NAMES_SOMEBODY.search(text)]
    return [(text, after) for text in texts if (after := redaction(text).text) != text], len(texts)


def _ordinary() -> list[str]:
    found = [str(line["text"]) for line in lines() if not line["found"]]
    for name in ("home_sentences.jsonl", "home_sentences_2.jsonl"):
        said = map(json.loads, (ROOT / "benchmarks" / name).read_text(encoding="utf-8").splitlines())
        found += [str(line["say"]) for line in said if "say" in line]
    for name in ("intents.txt", "not_intents.txt", "replies.txt", "chat.txt"):
        for line in (ROOT / "tests/golden" / name).read_text(encoding="utf-8").splitlines():
            text = line.partition("->")[0].partition("=>")[0].strip()
            if text and not text.startswith("#"):
                found.append(text)
    return found


def _is_left(value: str, before: str, after: str) -> bool:
    """Whether a word of the value is still there that stood nowhere else in the sentence."""
    words = set(re.findall(r"\w+", re.sub(r"\[\w+\]", " ", after.lower())))
    text, private = before.lower(), value.lower()
    return any(
        word in words and len(word) > 1 and word not in _SMALL_WORDS and text.count(word) == private.count(word)
        for word in re.findall(r"\w+", private)
    )


if __name__ == "__main__":
    main()
