"""How much memory `perslm-host collect` takes with the number of lines: it should not grow.

    python benchmarks/collect.py [LINES ...]       # 100000 and 1000000 without

Writes files of made-up lines (a tenth repeats an earlier one, a tenth nearly), collects each in a process of its
own with every check on, and keeps the most memory that process had, its CPU time and what came of the lines.
Beside it what Python takes to hold the same lines in a set, as a collector in memory would.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/collect.json"
_WORDS = [
    "light",
    "lamp",
    "hall",
    "kitchen",
    "bedroom",
    "heating",
    "blind",
    "window",
    "door",
    "garden",
    "morning",
    "evening",
    "music",
    "radio",
    "oven",
    "kettle",
    "water",
    "coffee",
    "children",
    "school",
    "train",
    "bus",
    "street",
    "market",
    "apple",
    "bread",
    "cheese",
    "river",
    "bridge",
    "cloud",
    "winter",
    "summer",
    "letter",
    "paper",
    "picture",
    "chair",
    "table",
    "shelf",
    "carpet",
    "mirror",
    "candle",
    "garage",
    "bicycle",
    "ladder",
    "hammer",
    "bucket",
    "flower",
    "tree",
    "branch",
    "leaf",
    "stone",
    "open",
    "close",
    "turn",
    "bring",
    "carry",
    "find",
    "look",
    "wait",
    "begin",
    "finish",
    "clean",
    "paint",
    "write",
    "read",
    "listen",
    "speak",
    "walk",
    "run",
    "sleep",
    "wake",
]
_COLLECT = "import sys; from perslm_training_host.cli import main; main()"
_HOLD = "import sys; held = {line for line in open(sys.argv[1], encoding='utf-8')}"


def main() -> None:
    """Measure, print and keep the result."""
    counts = [int(word) for word in sys.argv[1:]] or [100_000, 1_000_000]
    with tempfile.TemporaryDirectory() as name:
        found = [measured(Path(name), count) for count in counts]
    told = {"collect": found, "memory_grows_by": round(found[-1]["most_mb"] / found[0]["most_mb"], 3)}
    print(json.dumps(told, indent=1))
    if len(sys.argv) == 1:
        RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def measured(folder: Path, count: int) -> dict[str, Any]:
    """One number of lines."""
    file = folder / f"{count}.jsonl"
    with file.open("w", encoding="utf-8") as opened:
        for text in texts(count):
            opened.write(json.dumps({"text": text}) + "\n")
    out = folder / f"out-{count}"
    began = time.monotonic()
    collected = child([sys.executable, "-c", _COLLECT, "--json", "collect", str(file), "--out", str(out)])
    card = json.loads(collected["said"])
    held = child([sys.executable, "-c", _HOLD, str(file)])
    return {
        "lines": count,
        "kept": card["kept"],
        "left_out": card["left_out"],
        "most_mb": collected["most_mb"],
        "cpu_s": collected["cpu_s"],
        "wall_s": round(time.monotonic() - began),
        "held_in_memory_mb": held["most_mb"],
    }


def texts(count: int) -> Iterator[str]:
    """Made-up lines, of which a tenth repeats one of the last 1,000 and a tenth nearly does."""
    dice = random.Random(count)  # noqa: S311 - draws words, no secrets
    latest: list[str] = []
    for number in range(count):
        way = dice.random()
        if latest and way < 0.1:
            yield dice.choice(latest)
        elif latest and way < 0.2:
            yield f"{dice.choice(latest)} please"
        else:
            text = f"{' '.join(dice.choices(_WORDS, k=dice.randint(8, 24)))} {number % 977}"
            latest = [*latest[-999:], text] if number % 100 == 0 else latest
            yield text


def child(argv: list[str]) -> dict[str, Any]:
    """Run a program to its end: what it said, the most memory it had (MB), its CPU seconds."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv[3:]} ended with {process.returncode}")
    return {
        "said": said,
        "most_mb": round(used.ru_maxrss / 1000, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
    }


if __name__ == "__main__":
    main()
