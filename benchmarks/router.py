"""Fits the router and measures it: `python benchmarks/router.py` prints what it does on sentences it never saw.

`--fit` fits the linear head to runtime/perslm_runtime/router_examples.toml (ridge logistic regression, Newton's
method, ten folds) and writes router_head.json. Strength of the ridge: the one that finds most commands above the
score of all talk in the folds. The thresholds come from the folds as well; what is held apart decides nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
import tomllib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from perslm_runtime.embed import Embedder
from perslm_runtime.lane import Stop
from perslm_runtime.router import HeadFile, Route, Router

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "runtime/perslm_runtime/router_examples.toml"
HEAD = ROOT / "runtime/perslm_runtime/router_head.json"
TOOLS = ROOT / "tests/golden/tools.jsonl"
CHAT = ROOT / "tests/golden/chat.txt"
RESULT = ROOT / "benchmarks/results/router.json"
RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
FOLDS = 10
ASKED_OF_CHAT = 0.02

Matrix = NDArray[np.float64]


def examples() -> tuple[list[str], list[str]]:
    """The sentences to learn from: (commands, chat), the slots filled."""
    text = tomllib.loads(EXAMPLES.read_text(encoding="utf-8"))

    def filled(lines: list[str]) -> list[str]:
        done: list[str] = []
        for line in lines:
            slot = next((slot for slot in ("thing", "room") if f"{{{slot}}}" in line), None)
            done += [line.format(**{slot: word}) for word in text[f"{slot}s"]] if slot else [line]
        return done

    return filled(text["commands"]), filled(text["chat"])


def held_apart() -> tuple[list[str], list[str]]:
    """The sentences to measure on: (commands, chat)."""
    rows = [json.loads(line) for line in TOOLS.read_text(encoding="utf-8").splitlines()[1:]]
    talk = [row["say"] for row in rows if row["expect"] == [["none"]]]
    return (
        [row["say"] for row in rows if row["expect"] != [["none"]]],
        [*CHAT.read_text(encoding="utf-8").splitlines(), *talk],
    )


def digest() -> str:
    """What tells this set of examples from another."""
    return hashlib.blake2b(EXAMPLES.read_bytes(), digest_size=16).hexdigest()


def fit(embedder: Embedder) -> HeadFile:
    """The head for the present examples."""
    commands, chat = examples()
    vectors = embedder.embed([*commands, *chat], Stop()).astype(np.float64)
    wanted = np.r_[np.ones(len(commands)), np.zeros(len(chat))]
    folds = np.random.default_rng(0).integers(0, FOLDS, len(wanted))

    def unseen(ridge: float) -> Matrix:
        scores = np.zeros(len(wanted))
        for fold in range(FOLDS):
            weights = newton(vectors[folds != fold], wanted[folds != fold], ridge)
            scores[folds == fold] = vectors[folds == fold] @ weights[:-1] + weights[-1]
        return scores

    def found(ridge: float) -> float:
        scores = unseen(ridge)
        return float((scores[wanted == 1] > scores[wanted == 0].max()).mean())

    ridge = max(RIDGES, key=found)
    talk = unseen(ridge)[wanted == 0]
    weights = newton(vectors, wanted, ridge)
    return HeadFile(
        embedder.name,
        digest(),
        [round(float(weight), 5) for weight in weights[:-1]],
        round(float(weights[-1]), 5),
        round(float(np.quantile(talk, 1 - ASKED_OF_CHAT)), 5),
        round(float(talk.max()), 5),
    )


def newton(vectors: Matrix, wanted: Matrix, ridge: float) -> Matrix:
    """Weights and bias of a logistic regression, [dimensions + 1]; the bias is not held back."""
    columns = np.c_[vectors, np.ones(len(vectors))]
    holds = np.r_[np.full(vectors.shape[1], ridge), 1e-6]
    weights = np.zeros(columns.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-columns @ weights))
        slope = columns.T @ (chance - wanted) + holds * weights
        bend = (columns * (chance * (1 - chance))[:, None]).T @ columns + np.diag(holds)
        step = np.linalg.solve(bend, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    return weights


def measure(embedder: Embedder, head: HeadFile) -> dict[str, object]:
    """What the router does with sentences it never saw."""
    router = Router(embedder.name, head)
    commands, chat = held_apart()
    vectors = {text: embedder.embed([text], Stop())[0] for text in [*commands, *chat]}
    began = time.perf_counter()
    routes = {text: router.route(vector) for text, vector in vectors.items()}
    route_us = (time.perf_counter() - began) / len(routes) * 1e6

    def counted(texts: list[str], *wanted: Route) -> int:
        return sum(routes[text] in wanted for text in texts)

    alone, wrong = counted(commands, Route.COMMAND), counted(chat, Route.COMMAND)
    asked, asked_chat = (counted(texts, Route.COMMAND, Route.ASK) for texts in (commands, chat))
    return {
        "commands": len(commands),
        "chat": len(chat),
        "command": {
            "recall": round(alone / len(commands), 4),
            "precision": round(alone / max(1, alone + wrong), 4),
            "chat_taken_for_commands": wrong,
            "share_of_chat": round(wrong / len(chat), 4),
        },
        "command_or_ask": {
            "recall": round(asked / len(commands), 4),
            "precision": round(asked / max(1, asked + asked_chat), 4),
            "chat_asked_about": asked_chat,
            "share_of_chat": round(asked_chat / len(chat), 4),
        },
        "route_us": round(route_us, 1),
    }


def open_embedder() -> Embedder:
    """The embedder among the pulled models."""
    models = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
    return Embedder(models / Embedder.name)


def main() -> None:
    """Fit where asked, measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="fit the head anew and write router_head.json")
    wanted = parser.parse_args()
    embedder = open_embedder()
    if wanted.fit:
        HEAD.write_bytes(msgspec.json.format(msgspec.json.encode(fit(embedder)), indent=0) + b"\n")
    result = measure(embedder, msgspec.json.decode(HEAD.read_bytes(), type=HeadFile))
    embedder.close()
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
