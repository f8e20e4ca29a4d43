"""What the sentence model loses as int8 and as a table: `python benchmarks/training_embeddings.py FOLDER`.

Makes sentences for the table (the training homes' talk, memories and questions, and sentences of Python's
reference topics; never the golden questions), distils it, and holds int8 model and table against each other on the
golden recall questions: recall.py's own rankers. Keeps benchmarks/training/embeddings.json. The int8 model's own
agreement with the published weights is measured by `perslm-host embed export`.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from numpy.typing import NDArray

import recall
from perslm_runtime.embed_static import StaticEmbedder, open_embedder
from perslm_runtime.lane import Stop
from perslm_training_host.embed import agreement
from perslm_training_host.home_made import data
from perslm_training_host.home_said import LEARN, household, is_dev
from perslm_training_host.phrases import as_people_write, lines, resolve
from perslm_training_host.recollections import recollection

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "training" / "embeddings.json"


def sentences(seed: int) -> list[str]:
    """Sentences to fit the table on."""
    found: dict[str, None] = {}
    for number in range(4000):
        asked = recollection(LEARN, seed, number)
        parts = [*asked.prompt.split("\n"), asked.answer]
        found |= dict.fromkeys(part.strip("- ").strip() for part in parts)
    for number in range(150):
        found |= {said.prompt.split("\n")[-1]: None for said in household(LEARN, seed, number, 24).said}
    dice = random.Random(f"talk {seed}")  # noqa: S311 - draws sentences, no secrets
    talk = [line for line in lines(data("train")["none"]["any"]) if "<" not in line and not is_dev(line)]
    for _ in range(4000):
        found[as_people_write(resolve(dice.choice(talk), dice), dice)] = None
    text = " ".join(" ".join(topics.values()).split())
    found |= {part: None for part in re.split(r"(?<=[.!?])\s+", text) if 20 < len(part) < 200}
    kept = [sentence for sentence in found if sentence]
    dice.shuffle(kept)
    return kept


def measured(embedder: Any, told: list[str]) -> dict[str, Any]:
    """Recall of the golden questions with an embedder, on all of them and on the test half, and its speed."""

    def embed(texts: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = embedder.embed(list(texts), Stop())
        return found

    with tempfile.TemporaryDirectory() as folder:
        bench = recall.Bench(Path(folder), embed)
        test = [asked for asked in bench.asked if asked.test]
        rankers = {"vectors": bench.vectors, "ours": bench.ours_order, "ours, with its floor": bench.ours}
        table = {
            half: {name: asdict(recall.quality(ranker, asked)) for name, ranker in rankers.items()}
            for half, asked in (("all", bench.asked), ("test", test))
        }
        bench.close()
    began = time.process_time()
    for text in told:
        embedder.embed([text], Stop())
    per = (time.process_time() - began) / len(told)
    return {"recall": table, "cpu_us_a_sentence": round(per * 1e6)}


def main() -> None:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    text, table = options.folder / "sentences.txt", options.folder / "static"
    text.write_text("\n".join(sentences(options.seed)), encoding="utf-8")
    model = Path.home() / ".local/share/perslm/models/all-minilm-l6-v2"
    host = [sys.executable, "-m", "perslm_training_host.cli", "--json", "embed"]
    argv = [*host, "static", model, "--text", text, "--out", table]
    made = json.loads(subprocess.run(list(map(str, argv)), check=True, stdout=subprocess.PIPE, text=True).stdout)
    told, questions = recall.read_golden()
    texts = [one.said for one in told] + [question for question, _ in questions]
    whole, static = open_embedder(model, 2), StaticEmbedder(table)
    found: dict[str, Any] = {
        "command": "python benchmarks/training_embeddings.py FOLDER",
        "evaluation": f"tests/golden/recall.jsonl, {len(told)} memories, {len(questions)} questions, none trained",
        "table": {key: made[key] for key in ("size_bytes", "words", "sentences", "cosine_words_alone", "cosine")},
        "seed": options.seed,
        "cosine_on_golden": agreement(static.embed(texts, Stop()), whole.embed(texts, Stop())),
        "int8": {
            "size_bytes": sum(file.stat().st_size for file in model.glob("model.onnx*")),
            **measured(whole, texts),
        },
        "static": measured(static, texts),
    }
    before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    RESULT.write_text(json.dumps(before | found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
