"""How fast the splitter and the words for the voice are: `python benchmarks/sentences.py [--json OUT.json]`.

A reply comes as tokens of four characters, as from a model; the reference is the least the same Python can do with
such a stream: collect it and `str.split` it at full stops. Best of five, processor time, one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "runtime"))

from perslm_runtime.sentences import SentenceSplitter  # noqa: E402 - the benchmark runs from a checkout too
from perslm_runtime.spoken import speakable  # noqa: E402 - as above

TOKEN_CHARS = 4


def main() -> None:
    """Measure, print a table, and keep the JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the result in this file")
    options = parser.parse_args()
    text = (ROOT / "tests/golden/replies.txt").read_text("utf-8").replace("%\n", "") * 50
    tokens = [text[at : at + TOKEN_CHARS] for at in range(0, len(text), TOKEN_CHARS)]
    pieces = split(tokens)
    reference = rate(lambda: collect_and_split(tokens), text)
    rows = [
        row("split", rate(lambda: split(tokens), text), reference),
        row("speakable", rate(lambda: [speakable(piece) for piece in pieces], text), reference),
    ]
    result = {"machine": {"processor": platform.machine(), "python": platform.python_version()}, "rows": rows}
    for line in rows:
        print(f"{line['name']:10} {line['ours']:>12,} {line['unit']}   reference {line['reference']:>12,}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


def split(tokens: list[str]) -> list[str]:
    """Feed the tokens one by one, as they come from a model."""
    splitter = SentenceSplitter()
    return [piece for token in tokens for piece in splitter.feed(token)] + splitter.flush()


def collect_and_split(tokens: list[str]) -> list[str]:
    """The least one can do: append every token as it comes, split once at the end."""
    parts = []
    for token in tokens:
        parts.append(token)  # noqa: PERF402 - one by one, as they come
    return "".join(parts).split(". ")


def rate(work: Callable[[], object], text: str) -> int:
    """Characters of `text` per second of processor time."""
    seconds = []
    for _ in range(5):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return round(len(text) / min(seconds))


def row(name: str, ours: int, reference: int) -> dict[str, str | int | float]:
    """One line in the form of `perslm bench`."""
    return {
        "name": name,
        "unit": "characters/s",
        "ours": ours,
        "reference": reference,
        "ratio": round(ours / reference, 4),
        "what_reference_is": "append each token, join, str.split at full stops",
    }


if __name__ == "__main__":
    main()
