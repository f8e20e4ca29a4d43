"""What is in a data set and how it came about, for people and programs: card.json, README.md and plots as SVG.

Also what becomes of older versions: one that holds an example which was taken back loses its data.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from perslm_training_host.charts import Points, plot
from perslm_training_host.collecting import CARD, DATA, QUARANTINE, Dataset
from perslm_training_host.runs import write_whole


def write_card(dataset: Dataset, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Write the card beside the data; what it says."""
    counts = dataset.counts
    card = {
        "version": dataset.version,
        "made": time.strftime("%Y-%m-%d %H:%M:%S"),
        "recipe": dict(recipe),
        "read": counts.read,
        "kept": counts.kept,
        "words": counts.words,
        "sources": dict(sorted(counts.by_source.items())),
        "left_out": dict(sorted(counts.reasons.items())),
        "taken_out_of_lines": dict(sorted(counts.redacted.items())),
        "languages": dict(sorted(counts.languages.items())),
        "words_a_line": {
            f"{1 << bits >> 1} to {(1 << bits) - 1}": n for bits, n in sorted(counts.lengths.items())
        },
        "shared": sorted(counts.shared),
    }
    write_whole(dataset.folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    write_whole(dataset.folder / "lengths.svg", _lengths(counts.lengths))
    write_whole(dataset.folder / "left_out.svg", _bars("Lines left out, by reason", counts.reasons))
    write_whole(dataset.folder / "README.md", _readme(card))
    return card


def empty_older(out: Path, present: Set[str], keep: str) -> list[str]:
    """Delete the data of versions that hold a shared example which is not `present` any more; their names.

    The card stays, and says so.
    """
    emptied = []
    for folder in sorted(one for one in out.iterdir() if one.is_dir() and one.name != keep):
        try:
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if not (folder / DATA).exists() or set(card.get("shared", ())) <= present:
            continue
        for name in (DATA, QUARANTINE):
            (folder / name).unlink(missing_ok=True)
        write_whole(
            folder / CARD, json.dumps({**card, "emptied": "examples in it were taken back"}, indent=1) + "\n"
        )
        emptied.append(folder.name)
    return emptied


def _readme(card: Mapping[str, Any]) -> str:
    lines = [
        f"# Data set {card['version']}",
        "",
        f"Made {card['made']}: {card['kept']} of {card['read']} lines, {card['words']} words.",
        "",
        "![Words a line](lengths.svg)",
        "",
        "![Left out](left_out.svg)",
        "",
        *_table("source", "lines", card["sources"]),
        *_table("left out, because", "lines", card["left_out"]),
        *_table("taken out of lines", "times", card["taken_out_of_lines"]),
        f"{len(card['shared'])} lines were shared by boards. What was left out, and why, is in `{QUARANTINE}`.",
        "",
        "Made by:",
        "",
        "```json",
        json.dumps(card["recipe"], indent=1, ensure_ascii=False),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _table(name: str, count: str, rows: Mapping[str, int]) -> Sequence[str]:
    if not rows:
        return ()
    return (f"| {name} | {count} |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items()), "")


def _lengths(lengths: Counter[int]) -> str:
    bits = range(min(lengths), max(lengths) + 1)
    series = Points("lines", [float(one) for one in bits], [float(lengths[one]) for one in bits])
    return plot("Lines by their words", "words, as a power of two", "lines", [series])


def _bars(title: str, counted: Counter[str]) -> str:
    """Horizontal bars with their names and numbers."""
    rows = counted.most_common() or [("nothing", 0)]
    highest = max(1, *(number for _, number in rows))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {40 + 24 * len(rows)}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="currentColor"><title>{title}</title>',
        f'<text x="10" y="18" font-weight="bold">{title}</text>',
    ]
    for number, (name, count) in enumerate(rows):
        y = 36 + 24 * number
        parts.append(
            f'<text x="210" y="{y + 13}" text-anchor="end">{_plain(name)}</text>'
            f'<rect x="220" y="{y}" width="{340 * count / highest:.1f}" height="16" fill="#2f6fde"/>'
            f'<text x="{228 + 340 * count / highest:.1f}" y="{y + 13}">{count}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def _plain(name: str) -> str:
    return name.replace("&", "&amp;").replace("<", "&lt;")
