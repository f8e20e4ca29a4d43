"""One run of learning preferences put together: read, load, train, write, with its lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perslm_runtime.errors import InputError
from perslm_training_host import (
    base_model,
    chat_replies,
    distilled_files,
    lineage,
    model_facts,
    prefer_trl,
    preferences,
    weights,
)
from perslm_training_host.base_model import AnswerModel, Base
from perslm_training_host.console import note
from perslm_training_host.group import Group
from perslm_training_host.preferences import Pair, Preferences, Wish
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
    engine: str = "own"


ENGINES = ("own", "trl")


def learn(recipe: Recipe, folder: Path) -> tuple[Outcome, tuple[Path, ...]]:
    """Learn in `folder`, or go on with what is there. Returns the outcome and the files written.

    Raises InputError for pairs that cannot be used, and EngineError without TRL, before the model is loaded.
    """
    if recipe.engine not in ENGINES:
        raise InputError(f"there is no engine {recipe.engine!r}: {', '.join(ENGINES)}")
    pairs = preferences.read(recipe.pairs)
    replayed = chat_replies.read(recipe.replay) if recipe.replay is not None else []
    trl = None
    if recipe.engine == "trl":
        prefer_trl.check(recipe.plan, replayed=bool(replayed))
        trl = prefer_trl.library()
    hashes = {"model": model_facts.sha256_of(recipe.model), "pairs": model_facts.sha256_of(recipe.pairs)}
    run = Run(folder)
    about = {**asdict(recipe), **{f"{part} sha256": value for part, value in hashes.items()}}
    about["sources"] = preferences.sources(pairs)
    resume = run.begin("prefer", about)
    note(f"{len(pairs)} pairs ({about['sources']}), {len(replayed)} replies to stay as before on")
    base_model.device_of(recipe.device)
    base = base_model.load(recipe.model, recipe.device)
    frozen = weights.frozen_copy(base.model)
    if recipe.low_rank:
        weights.train_low_rank(base.model, recipe.low_rank, recipe.plan.seed)
    else:
        weights.train_all(base.model)
    if trl is not None:
        talk = base.prompts.head(chat_replies.SYSTEM, ())
        outcome = prefer_trl.learn(trl, base, frozen, talk, pairs, recipe.wish, recipe.plan, run)
    else:
        outcome = _in_our_loop(recipe, base, frozen, pairs, replayed, run, resume=resume)
    written = () if outcome.ended == "stopped" else _write(recipe, base, folder, hashes)
    run.end("stopped" if outcome.ended == "stopped" else "done", asdict(outcome))
    return outcome, written


def _in_our_loop(
    recipe: Recipe,
    base: Base,
    frozen: Any,
    pairs: Sequence[Pair],
    replayed: Sequence[tuple[str, str]],
    run: Run,
    *,
    resume: bool,
) -> Outcome:
    model, before = AnswerModel(base.model), AnswerModel(frozen).eval()
    talk = base.prompts.head(chat_replies.SYSTEM, ())
    where = base_model.device_of(recipe.device)
    objective = Preferences(
        model, before, base.prompts, talk, pairs, replayed, recipe.wish, recipe.plan.accumulate, where
    )
    return train(model, objective, recipe.plan, run, Group(), resume=resume)


def _write(recipe: Recipe, base: Base, folder: Path, hashes: Mapping[str, str]) -> tuple[Path, ...]:
    """The model's file with its lineage, and of a low-rank change the adapter."""
    file = distilled_files.write(recipe.model, base.model, weights.plain_state(base.model), folder, recipe.kind)
    parents = [
        lineage.Parent("model", recipe.model.name, hashes["model"]),
        lineage.Parent("pairs", recipe.pairs.name, hashes["pairs"]),
    ]
    settings = {"steps": recipe.plan.steps, "rate": recipe.plan.rate, "engine": recipe.engine}
    lineage.note(file, model_facts.sha256_of(file), "prefer", {**settings, **asdict(recipe.wish)}, parents)
    adapter = distilled_files.write_adapter(base.model, recipe.low_rank, folder)
    return (file,) if adapter is None else (file, adapter)
