"""What distillation on the grid brings: `python benchmarks/training_qad.py FOLDER [--seeds 3] [--device cuda]`.

Takes the catalogue's SmolLM2-135M (Q4_1 inside: its weights are the parent), writes it as F16, quantizes, teaches
Q4_0 and IQ4_NL with every seed, makes their updates, and measures every file in llama.cpp on text that nothing
was trained on and on text of another kind. Keeps benchmarks/training/qad.json. Some 4,600 CPU-seconds;
`.venv-train/bin/python` runs it. Each step is kept in FOLDER as it ends: what was cut goes on there.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import training_texts
from perslm_training_host import imatrix
from perslm_training_host.llama_quantize import llama_quantize
from training_measured import TEXTS, Measured

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "training" / "qad.json"
MODELS = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
RATES = {"IQ4_NL": "5e-5", "Q4_0": "1e-4"}
BESIDE = ("f16-plain", *(f"f16-{kind}" for kind in RATES), "f16-Q4_K_M")
_OF_THIS_MACHINE = {"losses", "parent", "base", "out"}


def perslm_host(*arguments: str | Path) -> Any:
    """What a command of the training host prints as JSON."""
    argv = [sys.executable, "-m", "perslm_training_host.cli", "--json", *map(str, arguments)]
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def prepare(folder: Path) -> dict[str, Any]:
    """Texts, the parent and the files that seeds start from; returns what all seeds share and what it took."""
    kept = folder / "shared.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    training_texts.main(folder)
    parent = folder / "f16.gguf"
    if not parent.exists():
        llama_quantize(MODELS / "smollm2-135m-q4_1" / "model.gguf", parent, "F16")
    before = _children_cpu_s()
    perslm_host(
        "quantize", parent, "--out", folder, "--kinds", ",".join(RATES), "--pure", "--pieces", "1",
        "--threads", "1", "--text", folder / "train.txt", "--held-out", folder / "held_out.txt",
    )  # fmt: skip
    cpu_s = _children_cpu_s() - before
    llama_quantize(parent, folder / "f16-plain.gguf", "Q4_0")
    importance = imatrix.load(folder / "importance.npz")
    llama_quantize(parent, folder / "f16-Q4_K_M.gguf", "Q4_K_M", importance=importance)
    found = {
        "importances, both files, a look at each; cpu_s": round(cpu_s, 1),
        "texts": {name: _sha256(folder / f"{name}.txt")[:16] for name in ("train", *TEXTS)},
    }
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def taught(folder: Path, kind: str, seed: int, device: str) -> dict[str, Any]:
    """Teach one file with one seed and make its update; returns what was told of it."""
    base, out = folder / f"f16-{kind}.gguf", folder / f"{kind}-{seed}.gguf"
    kept = out.with_suffix(".json")
    run = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else None
    if run is None:
        run = perslm_host(
            "qad", folder / "f16.gguf", base, "--text", folder / "train.txt", "--out", out,
            "--rate", RATES[kind], "--seed", str(seed), "--device", device,
        )  # fmt: skip
    if "apply" not in run:  # the command wrote this file itself, before there was an update
        run["update"] = perslm_host("delta", "make", base, out, "--out", out.with_suffix(".delta"))
        applied = out.with_suffix(".applied")
        run["apply"] = perslm_host("delta", "apply", base, out.with_suffix(".delta"), "--out", applied)
        applied.unlink()
        kept.write_text(json.dumps(run), encoding="utf-8")
    told = {name: value for name, value in run.items() if name not in _OF_THIS_MACHINE}
    told["apply"].pop("out")
    return told


def main() -> None:
    """Teach and measure seed by seed, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    shared = prepare(args.folder)
    measured = Measured(args.folder)
    runs: dict[str, Any] = {}
    for kind in RATES:
        for seed in range(args.seeds):
            name = f"{kind}-{seed}"
            runs[name] = taught(args.folder, kind, seed, args.device)
            measured.file(name)
            _say(name, runs[name] | measured.figures(name))
    for name in BESIDE:
        measured.file(name)
        _say(name, measured.figures(name))
    result: dict[str, Any] = {
        "command": f"python benchmarks/training_qad.py FOLDER --seeds {args.seeds} --device {args.device}",
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "model": "SmolLM2-135M-Instruct, the catalogue's smollm2-135m-q4_1, its weights as F16 the parent",
        "intervals": "95 %, bootstrap over pieces of 512 tokens whose second halves are scored",
        "shared": shared,
        "runs": runs,
        "files": {name: measured.figures(name) for name in (*BESIDE, *runs)},
        **{kind: measured.together([f"{kind}-{seed}" for seed in range(args.seeds)]) for kind in RATES},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({kind: result[kind] for kind in RATES}, indent=1))
    measured.parent.forget()


def _say(name: str, found: dict[str, Any]) -> None:
    taken = (
        f"{found['cpu_seconds']:.0f} CPU-s, {found['update']['delta_bytes']} bytes; " if "update" in found else ""
    )
    parts = ", ".join(f"{text} {found[text]['kl_mean']:.4f} of {found[text]['tokens']} tokens" for text in TEXTS)
    print(f"{name}: {taken}{parts}", flush=True)


if __name__ == "__main__":
    main()
