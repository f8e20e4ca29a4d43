"""What distilling costs and brings: `python benchmarks/training_distil.py FOLDER [PART …]`.

`step`: one step of our loop beside a bare PyTorch loop, same model (SmolLM2-135M teaching itself), batch and loss,
three processes of each in turn.
`memory`: what the loss of 2,048 places takes beyond its inputs, whole and in chunks. `pruned`: SmolLM2-135M with
27 of its 30 layers, measured in llama.cpp before and after a lesson, on text that nobody learned. `cached`: bytes
and seconds of a teacher's kept words. Keeps benchmarks/training/distil.json; `.venv-train/bin/python` runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

import training_texts
from perslm_training_host import gguf_file, gguf_model, llama_scores
from perslm_training_host.distilling import Probabilities, Taught
from perslm_training_host.divergence import forward_kl
from perslm_training_host.grid_distilling import fast_bf16
from perslm_training_host.group import Group
from perslm_training_host.lessons import Dense, Lesson, mean_loss
from perslm_training_host.llama_quantize import llama_quantize
from perslm_training_host.runs import Run
from perslm_training_host.student_model import StudentModel
from perslm_training_host.teachers import TorchTeacher
from perslm_training_host.texts import Pieces
from perslm_training_host.train_loop import Plan, train
from perslm_training_host.weights import train_all

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "training" / "distil.json"
MODELS = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
GGUF = MODELS / "smollm2-135m-q4_1" / "model.gguf"
STEPS, ROWS, LENGTH = 6, 2, 256


def step_time(which: str, folder: Path) -> dict[str, float]:
    """CPU and wall seconds of a step, the first one left out; `which` is "ours" or "bare"."""
    file = gguf_file.read(GGUF)
    student, teacher = gguf_model.load(file), gguf_model.load(file).requires_grad_(False)
    train_all(student)
    tokens = torch.randint(0, 40_000, (STEPS * ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    times: list[tuple[float, float]] = []

    def mark(_line: object = None) -> None:
        times.append((time.process_time(), time.perf_counter()))

    if which == "ours":
        pieces = Pieces(tokens.reshape(-1).tolist(), LENGTH, 0)
        model = StudentModel(student)
        device = torch.device("cpu")
        objective = Probabilities(
            model,
            TorchTeacher(teacher, bf16=fast_bf16()),
            None,
            pieces,
            None,
            Taught(rows=ROWS, length=LENGTH),
            1,
            49_152,
            device,
        )
        run = Run(folder / f"step-{os.getpid()}", mark)
        run.begin("step", {})
        # No checkpoint falls into these steps: the last step's is written behind its mark.
        train(model, objective, Plan(STEPS, 1e-5, bf16=fast_bf16(), keep_every=1000), run, Group(), resume=False)
    else:
        _bare(student, teacher, tokens, mark)
    cpu, wall = zip(*times, strict=True)
    return {"cpu_s": (cpu[-1] - cpu[0]) / (STEPS - 1), "wall_s": (wall[-1] - wall[0]) / (STEPS - 1)}


def _bare(student: Any, teacher: Any, tokens: torch.Tensor, mark: Any) -> None:
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.0)
    student.train()
    for step in range(STEPS):
        batch = tokens[step * ROWS : (step + 1) * ROWS]
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bf16()):
            with torch.no_grad():
                wanted = teacher(input_ids=batch).logits[:, :-1].flatten(0, 1).float().log_softmax(-1)
            said = student(input_ids=batch).logits[:, :-1].flatten(0, 1).float().log_softmax(-1)
            loss = functional.kl_div(said, wanted, log_target=True, reduction="batchmean")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mark()


def loss_memory(which: str) -> dict[str, float]:
    """Peak memory beyond the inputs in MB, and seconds; `which` is "whole" or "chunks"."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(2048, 576, generator=draw, requires_grad=True)
    taught = torch.randn(2048, 576, generator=draw)
    head = torch.randn(49_152, 576, generator=draw) / 24
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    if which == "whole":
        with torch.no_grad():
            wanted = taught @ head.T
        loss = forward_kl(hidden @ head.T, wanted).mean()
    else:
        lesson = Lesson(
            torch.arange(2048),
            torch.zeros(2048, dtype=torch.long),
            Dense(taught, lambda part: part @ head.T),
            forward_kl,
        )
        loss = mean_loss(hidden, head, None, lesson)
    loss.backward()
    seconds = time.process_time() - began
    assert hidden.grad is not None
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {
        "extra_mb": round(extra),
        "cpu_s": round(seconds, 2),
        "gradient": float(hidden.grad.double().square().sum()),
    }


def perslm_host(*arguments: str | Path) -> Any:
    """What a command of the training host prints as JSON."""
    argv = [sys.executable, "-m", "perslm_training_host.cli", "--json", *map(str, arguments)]
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)


def texts_and_parent(folder: Path) -> Path:
    """Write the texts and the F16 parent into `folder`; returns the parent."""
    training_texts.main(folder)
    parent = folder / "f16.gguf"
    if not parent.exists():
        llama_quantize(GGUF, parent, "F16")
    return parent


def pruned(folder: Path) -> dict[str, Any]:
    """A student of 27 layers before and after a lesson, KL from its teacher in llama.cpp."""
    parent = texts_and_parent(folder)
    common = ["--text", folder / "train.txt", "--layers", "27", "--rows", "2", "--licence", "apache-2.0"]
    before = perslm_host(
        "distill", parent, parent, *common, "--steps", "1", "--rate", "1e-12", "--out", folder / "cut"
    )
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    lesson = [*common, "--steps", "60", "--rate", "2e-4", "--out", folder / "taught"]
    after = perslm_host("distill", parent, parent, *lesson)
    cpu_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began
    found = {"steps": 60, "tokens": 60 * 512, "rate": 2e-4, "seed": 0, "cpu_s": round(cpu_s)}
    found["estimate_s"] = round(after["estimate"]["seconds"])
    found["trained_s"] = round(after["outcome"]["seconds"])
    for text in ("held_out", "other_kind"):
        with llama_scores.Scorer(parent) as scorer:
            tokens = scorer.tokens((folder / f"{text}.txt").read_text(encoding="utf-8"))[: 12 * 512]
            children = [llama_scores.Scorer(Path(report["written"][0])) for report in (before, after)]
            scores = llama_scores.compare(scorer, children, tokens)
            found[text] = {
                name: one.summary() for name, one in zip(("teacher", "cut", "taught"), scores, strict=True)
            }
            for child in children:
                child.close()
    found["size_mb"] = round(Path(after["written"][0]).stat().st_size / 1e6, 1)
    return found


def cached(folder: Path) -> dict[str, Any]:
    """Bytes a token and CPU-seconds of keeping the 64 likeliest words of 16 pieces, asked of the GGUF file."""
    parent = texts_and_parent(folder)
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    perslm_host(
        "distill", parent, parent, "--text", folder / "train.txt", "--likeliest", "64", "--rows", "2",
        "--steps", "8", "--licence", "apache-2.0", "--out", folder / "cached",
    )  # fmt: skip
    size = sum(file.stat().st_size for file in (folder / "logits").glob("*/*.npz"))
    masses = []
    for file in sorted((folder / "logits").glob("*/*.npz")):
        with np.load(file) as shard:
            masses.append(float(1 - np.exp(shard["logs"][:, -1].astype(np.float64)).mean()))
    return {
        "likeliest": 64,
        "tokens": 16 * 255,
        "bytes_a_token": round(size / (16 * 255), 1),
        "bytes_a_token_of_all_words": 49_152 * 2,
        "mass_kept": round(float(np.mean(masses)), 4),
        "cpu_s_with_8_steps": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began),
    }


def main() -> None:
    """Do what is asked for, each part in a process of its own, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", default=["step", "memory", "pruned", "cached"])
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.one:
        part, _, which = options.one.partition(":")
        print(json.dumps(step_time(which, options.folder) if part == "step" else loss_memory(which)))
        return
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    found |= {
        "command": "python benchmarks/training_distil.py FOLDER",
        "model": "SmolLM2-135M-Instruct, catalogue",
        "evaluation text": "benchmarks/training_texts.py: held_out.txt (topics of Python's reference "
        "that nobody trained on) and other_kind.txt (PersLM's licence)",
    }
    for part in options.parts:
        if part == "step":
            found[part] = steps_in_turn(options.folder)
        elif part == "memory":
            found[part] = {kind: _apart(options.folder, f"memory:{kind}") for kind in ("whole", "chunks")}
        else:
            found[part] = pruned(options.folder) if part == "pruned" else cached(options.folder)
        print(part, json.dumps(found[part], indent=1))
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def steps_in_turn(folder: Path, rounds: int = 3) -> dict[str, Any]:
    """Both loops by turns, so that a machine that is shared burdens both alike; the ratio of their medians."""
    told: dict[str, list[dict[str, float]]] = {"bare": [], "ours": []}
    for _ in range(rounds):
        for kind, found in told.items():
            found.append(_apart(folder, f"step:{kind}"))
    medians = {kind: statistics.median(one["cpu_s"] for one in found) for kind, found in told.items()}
    return {
        "bare": medians["bare"],
        "ours": medians["ours"],
        "ratio": round(medians["ours"] / medians["bare"], 3),
        "all": told,
        "tokens": ROWS * LENGTH,
    }


def _apart(folder: Path, one: str) -> Any:
    argv = [sys.executable, __file__, str(folder), "--one", one]
    return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    main()
