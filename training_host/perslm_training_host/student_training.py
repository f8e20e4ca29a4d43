"""Training the task student: first at full precision, then seen through the grid of the 4-bit file. One recipe.

The second part begins where the first ends; both are runs that resume. `cpu` is what two cores do in an hour,
`cuda` what one large GPU does in ten minutes; they differ in how much is learned, not in how.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from perslm_runtime.errors import InputError
from perslm_training_host import base_model, chat_replies, paraphrases, student_files, weights
from perslm_training_host.base_model import AnswerModel, Base
from perslm_training_host.grid_distilling import fast_bf16
from perslm_training_host.group import Group
from perslm_training_host.home_said import ALL, LEARN, TEST
from perslm_training_host.runs import Run
from perslm_training_host.student_task import Kitchen, Mixture, StudentObjective, call_scores
from perslm_training_host.train_loop import Outcome, Plan, train

_KEEP_EVERY = 40
"""Steps between checkpoints at most: on two cores four minutes of work."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a student is made: steps at full precision and on the grid, and what a step is made of."""

    steps: int
    grid_steps: int
    rate: float
    grid_rate: float
    rows: int
    accumulate: int = 1
    sentences: int = 24
    talk_weight: float = 1.0
    low_rank: int = 0
    bf16: bool = True
    validate_every: int = 200
    homes: int = 24
    workers: int = 0
    replies: int = 600
    paraphrases: int = 300
    seed: int = 0
    fold: str = LEARN

    def plan(self, steps: int, rate: float) -> Plan:
        """The training plan of one of the two parts."""
        return Plan(
            steps=steps,
            rate=rate,
            accumulate=self.accumulate,
            warm_up_steps=min(50, max(1, steps // 10)),
            bf16=self.bf16,
            seed=self.seed,
            keep_every=max(1, min(self.validate_every, _KEEP_EVERY)),
            validate_every=self.validate_every,
        )


RECIPES = {
    "cpu": Recipe(
        steps=300,
        grid_steps=90,
        rate=3.5e-4,
        grid_rate=1.5e-4,
        rows=2,
        talk_weight=1.5,
        validate_every=150,
        homes=8,
        replies=700,
        paraphrases=225,
    ),
    "cuda": Recipe(
        steps=1600,
        grid_steps=700,
        rate=4e-4,
        grid_rate=1e-4,
        rows=16,
        validate_every=400,
        homes=40,
        workers=12,
        replies=2000,
        paraphrases=1000,
    ),
}


def prepared_recipe(device: str, **changes: float | str | None) -> Recipe:
    """The recipe for a device with what was asked for otherwise. Raises InputError for a negative number."""
    given = {name: value for name, value in changes.items() if value is not None}
    bad = [name for name, value in given.items() if not isinstance(value, str) and value < 0]
    if bad:
        raise InputError(f"{', '.join(bad)} cannot be negative")
    if given.get("fold", LEARN) not in (LEARN, ALL):
        raise InputError(f"{given['fold']!r} is nothing to train on: learn or all")
    if device != "cuda":
        given = {"bf16": fast_bf16(), **given}  # without the hardware a step takes minutes instead of seconds
    return replace(RECIPES["cuda" if device == "cuda" else "cpu"], **given)  # type: ignore[arg-type]  # names are the options of the command line


def train_student(
    base_path: Path, folder: Path, replies: Path, recipe: Recipe, device: str, group: Group
) -> list[Outcome]:
    """Train in `folder`, or go on with what was begun there; at its end the student's weights are in it.

    Raises what loading and training raise. Ctrl-C leaves checkpoints of both parts.
    """
    where = base_model.device_of(device)
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    base = base_model.load(base_path, device)
    if not replies.exists() and device == "cuda":
        chat_replies.make_on_device(base, replies, recipe.replies, recipe.seed)
    pairs = chat_replies.read(replies)
    kitchen = Kitchen(
        base.prompts,
        pairs,
        Mixture(recipe.rows, 1024, recipe.sentences, recipe.talk_weight, recipe.seed, recipe.fold),
        paraphrases.households(paraphrases.read(folder / paraphrases.FILE), recipe.seed),
    )
    student = AnswerModel(base.model)
    frozen = AnswerModel(weights.frozen_copy(base.model)).eval()
    if recipe.low_rank:
        weights.train_low_rank(base.model, recipe.low_rank, recipe.seed)
    else:
        weights.train_all(base.model)
    objective_model = group.wrap(student)
    objective = StudentObjective(
        objective_model,
        frozen,
        kitchen,
        recipe.accumulate,
        workers=min(recipe.workers, max(1, (os.cpu_count() or 1) - 2)) if recipe.workers else 0,
        homes=recipe.homes,
    )
    outcomes: list[Outcome] = []
    try:
        outcomes.append(_part(objective_model, objective, folder / "whole", recipe, device, group, grid=False))
        if outcomes[-1].ended == "stopped":
            return outcomes
        student_files.keep_whole(base_path, _state(base), folder)
        if recipe.grid_steps:
            weights.put_on_grid(base.model)
            outcomes.append(_part(objective_model, objective, folder / "grid", recipe, device, group, grid=True))
        if outcomes[-1].ended != "stopped":
            student_files.keep_grid(base_path, _state(base), folder)
            _measure(objective_model, kitchen, folder, where, recipe.homes)
    finally:
        objective.close()
    return outcomes


def _part(
    model: torch.nn.Module,
    objective: StudentObjective,
    folder: Path,
    recipe: Recipe,
    device: str,
    group: Group,
    *,
    grid: bool,
) -> Outcome:
    run = Run(folder)
    steps, rate = (recipe.grid_steps, recipe.grid_rate) if grid else (recipe.steps, recipe.rate)
    about = {**asdict(recipe), "device": device, "on the grid": grid}
    resume = run.begin("student", about)
    objective.shift = recipe.steps if grid else 0
    outcome = train(model, objective, recipe.plan(steps, rate), run, group, resume=resume)
    run.end("stopped" if outcome.ended == "stopped" else "done", asdict(outcome))
    return outcome


def _state(base: Base) -> dict[str, torch.Tensor]:
    return weights.plain_state(base.model)


def _measure(model: torch.nn.Module, kitchen: Kitchen, folder: Path, device: torch.device, homes: int) -> None:
    """Note how many of the test file's calls greedy writing gets right, without a grammar: a first figure."""
    model.eval()
    calls, memories = call_scores(model, kitchen, TEST, homes, device)
    run = Run(folder / "grid" if (folder / "grid" / "run.json").exists() else folder / "whole")
    about = run.about()
    found = {
        "test calls without grammar": sum(calls.values()) / max(1, len(calls)),
        "test memories, word by word": memories,
    }
    run.end(about["state"], {**about["outcome"], **found})
