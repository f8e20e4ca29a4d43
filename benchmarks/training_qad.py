"""What distillation on the grid brings: `python benchmarks/training_qad.py FOLDER [--seeds 3] [--device cuda]`.

Takes the catalogue's SmolLM2-135M (Q4_1 inside: its weights are the parent), writes it as F16, quantizes, teaches
Q4_0 and IQ4_NL with every seed, makes their updates, and measures every file in llama.cpp on text that nothing
was trained on and on text of another kind. Keeps benchmarks/training/qad.json. On two idle cores an hour;
`.venv-train/bin/python` runs it. Each seed's run is kept in FOLDER as it ends: what was cut off goes on there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import training_texts
from perslm_training_host import bootstrap, llama_scores, texts
from perslm_training_host.llama_quantize import llama_quantize

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "training" / "qad.json"
MODELS = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
RATES = {"IQ4_NL": "5e-5", "Q4_0": "1e-4"}
PIECES = 79  # 20,145 scored tokens


def perslm_host(*arguments: str | Path) -> Any:
    """What a command of the training host prints as JSON."""
    argv = [sys.executable, "-m", "perslm_training_host.cli", "--json", *map(str, arguments)]
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)


def train(folder: Path, seeds: int, device: str) -> dict[str, dict[str, Any]]:
    """Quantize and teach; returns what each run told, by the child's name."""
    training_texts.main(folder)
    parent = folder / "f16.gguf"
    if not parent.exists():
        llama_quantize(MODELS / "smollm2-135m-q4_1" / "model.gguf", parent, "F16")
    perslm_host(
        "quantize", parent, "--out", folder, "--kinds", ",".join(RATES), "--pure", "--pieces", "1",
        "--text", folder / "train.txt", "--held-out", folder / "held_out.txt",
    )  # fmt: skip
    llama_quantize(parent, folder / "f16-plain.gguf", "Q4_0")
    told: dict[str, dict[str, Any]] = {}
    for kind, rate in RATES.items():
        base = folder / f"f16-{kind}.gguf"
        for seed in range(seeds):
            out = folder / f"{kind}-{seed}.gguf"
            kept = out.with_suffix(".json")
            if kept.exists():
                told[out.stem] = json.loads(kept.read_text(encoding="utf-8"))
                continue
            run = perslm_host(
                "qad", parent, base, "--text", folder / "train.txt", "--out", out,
                "--rate", rate, "--seed", str(seed), "--device", device,
            )  # fmt: skip
            run["update"] = perslm_host("delta", "make", base, out, "--out", out.with_suffix(".delta"))
            applied = out.with_suffix(".applied")
            run["apply"] = perslm_host("delta", "apply", base, out.with_suffix(".delta"), "--out", applied)
            applied.unlink()
            kept.write_text(json.dumps(run), encoding="utf-8")
            told[out.stem] = run
    return told


def measure(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """Every file's figures on both texts, with the interval of its divergence over pieces."""
    figures: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text, most in (("held_out", PIECES), ("other_kind", PIECES)):
        tokens = texts.tokens_of([folder / f"{text}.txt"], folder / "f16.gguf")[: most * llama_scores.PIECE]
        with llama_scores.Scorer(folder / "f16.gguf") as parent:
            children = [llama_scores.Scorer(folder / f"{name}.gguf") for name in names]
            for name, found in zip(names, llama_scores.compare(parent, children, tokens)[1:], strict=True):
                spread = bootstrap.interval(bootstrap.by_piece(found.kl, found.piece))
                figures[name][text] = found.summary() | {
                    "kl_interval": [round(spread.low, 5), round(spread.high, 5)]
                }
            for child in children:
                child.close()
    return figures


def main() -> None:
    """Train, measure, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    began = time.time()
    told = train(args.folder, args.seeds, args.device)
    figures = measure(args.folder, ["f16-plain", *(f"f16-{kind}" for kind in RATES), *told])
    result: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "wall_s": round(time.time() - began),
        "runs": {
            name: {k: v for k, v in run.items() if k not in {"losses", "parent", "base", "out"}}
            for name, run in told.items()
        },
        "files": figures,
    }
    for kind in RATES:
        means = [figures[f"{kind}-{seed}"]["held_out"]["kl_mean"] for seed in range(args.seeds)]
        result[kind] = {"kl_mean_of_seeds": float(np.mean(means)), "seeds": asdict(bootstrap.interval(means))}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
