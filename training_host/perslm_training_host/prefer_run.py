"""One run of learning preferences put together: read, load, train, write, with its lineage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from perslm_training_host import (
    base_model,
    chat_replies,
    distilled_files,
    lineage,
    model_facts,
    preferences,
    weights,
)
from perslm_training_host.base_model import AnswerModel
from perslm_training_host.console import note
from perslm_training_host.group import Group
from perslm_training_host.preferences import Preferences, Wish
from perslm_training_host.runs import Run
from perslm_training_host.train_loop import Outcome, Plan, train


@dataclass(frozen=True, slots=True)
class Recipe:
    """What learns what, and how."""

    model: Path
    pairs: Path
    replay: Path | None
    plan: Plan
    wish: Wish
    low_rank: int = 16
    device: str = "cpu"
    kind: str = "F16"


def learn(recipe: Recipe, folder: Path) -> tuple[Outcome, tuple[Path, ...]]:
    """Learn in `folder`, or go on with what is there. Returns the outcome and the files written.

    Raises InputError for pairs that cannot be used, before the model is loaded.
    """
    pairs = preferences.read(recipe.pairs)
    replayed = chat_replies.read(recipe.replay) if recipe.replay is not None else []
    hashes = {"model": model_facts.sha256_of(recipe.model), "pairs": model_facts.sha256_of(recipe.pairs)}
    run = Run(folder)
    about = {**asdict(recipe), **{f"{part} sha256": value for part, value in hashes.items()}}
    about["sources"] = preferences.sources(pairs)
    resume = run.begin("prefer", about)
    note(f"{len(pairs)} pairs ({about['sources']}), {len(replayed)} replies to stay as before on")
    where = base_model.device_of(recipe.device)
    base = base_model.load(recipe.model, recipe.device)
    frozen = AnswerModel(weights.frozen_copy(base.model)).eval()
    if recipe.low_rank:
        weights.train_low_rank(base.model, recipe.low_rank, recipe.plan.seed)
    else:
        weights.train_all(base.model)
    model = AnswerModel(base.model)
    talk = base.prompts.head(chat_replies.SYSTEM, ())
    objective = Preferences(
        model, frozen, base.prompts, talk, pairs, replayed, recipe.wish, recipe.plan.accumulate, where
    )
    outcome = train(model, objective, recipe.plan, run, Group(), resume=resume)
    written: tuple[Path, ...] = ()
    if outcome.ended != "stopped":
        file = distilled_files.write(
            recipe.model, base.model, weights.plain_state(base.model), folder, recipe.kind
        )
        parents = [
            lineage.Parent("model", recipe.model.name, hashes["model"]),
            lineage.Parent("pairs", recipe.pairs.name, hashes["pairs"]),
        ]
        settings = {"steps": recipe.plan.steps, "rate": recipe.plan.rate, **asdict(recipe.wish)}
        lineage.note(file, model_facts.sha256_of(file), "prefer", settings, parents)
        adapter = distilled_files.write_adapter(base.model, recipe.low_rank, folder)
        written = (file,) if adapter is None else (file, adapter)
    run.end("stopped" if outcome.ended == "stopped" else "done", asdict(outcome))
    return outcome, written
