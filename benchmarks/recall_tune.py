"""Chooses the weights of recall.py: random search on the development dialogues and half of the golden questions.

`python benchmarks/recall_tune.py N` tries N sets and keeps all of them in benchmarks/results/recall_tried.json,
best first; recall.py's defaults are set from the best by hand. The test dialogues are not touched: `perslm bench
memory` asks them.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import recall as golden
import recall_stories
from perslm_daemon.bench_recall import opened, share_found
from perslm_runtime.recall import Weights, rank

KEPT = golden.ROOT / "benchmarks/results/recall_tried.json"
DIALOGUES = 3
_RANGES = {
    "meaning": (0.4, 0.9),
    "unrelated": (0.0, 0.3),
    "before": (0.0, 0.7),
    "before_meaning": (0.0, 0.7),
    "reply": (0.0, 0.4),
    "asked": (0.1, 0.6),
    "alias": (0.2, 1.0),
    "time": (0.1, 1.0),
    "anchor": (0.0, 0.6),
    "anchor_days": (0.5, 9.0),
    "anchor_before_days": (0.1, 3.0),
    "lean": (0.0, 0.3),
    "recency": (0.0, 0.05),
    "saturation": (0.2, 1.5),
    "length": (0.0, 0.6),
}


def drawn(draw: random.Random, near: Weights) -> Weights:
    """Another set of weights: three of them moved, or one time in four anywhere."""
    changed: dict[str, Any] = {}
    wild = draw.random() < 0.25
    for name in draw.sample(sorted(_RANGES), 3):
        low, high = _RANGES[name]
        value = draw.uniform(low, high) if wild else getattr(near, name) + draw.gauss(0, (high - low) / 10)
        changed[name] = round(min(high, max(low, value)), 3)
    return replace(near, **changed)


def main() -> None:
    """Search, print the best and keep all."""
    rounds = int(sys.argv[1])
    models = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
    embed = golden.minilm(models / "all-minilm-l6-v2")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, asked = Path(name), []
        for number, dialogue in enumerate(recall_stories.dialogues(DIALOGUES)):
            store = stack.enter_context(opened(folder / str(number), dialogue, embed))
            for one, vector in zip(dialogue.asked, store.looked_by, strict=True):
                question, found = store.gathered(one, vector, Weights())
                asked.append((one, question, found, store.places))
        (folder / "golden").mkdir()
        bench = golden.Bench(folder / "golden", embed)
        dev = [one for one in bench.asked if not one.test]
        gathered = {one.text: bench.gathered(one) for one in dev}
        bench.close()

        def measured(weights: Weights) -> dict[str, Any]:
            at_3 = at_10 = 0.0
            for one, question, found, places in asked:
                order = [places[item.candidate.id] for item in rank(question, found, one.at, weights)[:10]]
                at_3 += share_found(order, one.evidence, 3) / len(asked)
                at_10 += share_found(order, one.evidence) / len(asked)
            q = golden.quality(lambda a: golden.ranked(*gathered[a.text], weights, floor=False), dev)
            goal = at_10 + 0.5 * at_3 + 0.5 * q.at_5 + 0.25 * q.at_1
            figures = {"goal": goal, "at_10": at_10, "at_3": at_3, "golden_at_1": q.at_1, "golden_at_5": q.at_5}
            return {**{name: round(value, 4) for name, value in figures.items()}, "weights": asdict(weights)}

        draw = random.Random(1)  # noqa: S311 - a search, not a secret
        tried = [measured(Weights())]
        print(tried[0])
        began = time.monotonic()
        for _ in range(rounds):
            best = max(tried, key=lambda row: row["goal"])
            tried.append(measured(drawn(draw, Weights(**best["weights"]))))
        print(f"{rounds} sets in {time.monotonic() - began:.0f} s")
    tried.sort(key=lambda row: -row["goal"])
    KEPT.write_text(json.dumps({"tried": tried}, indent=1) + "\n")
    for row in tried[:5]:
        print({name: value for name, value in row.items() if name != "weights"})
        print({name: row["weights"][name] for name in _RANGES})


if __name__ == "__main__":
    main()
