"""`perslm-host harness`: lm-evaluation-harness on the very GGUF file, with tasks that lie on this disk. An extra.

Tasks are the harness's own YAML files; nothing is fetched: what a task names has to be here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host.console import put_json, put_table, session_of


def register(app: typer.Typer) -> None:
    """Add `harness` to the command line."""
    app.command()(harness)


def harness(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="GGUF file.")],
    folder: Annotated[Path, typer.Argument(help="Folder with the tasks' YAML files and their data.")],
    *,
    tasks: Annotated[str, typer.Option(help="Names of tasks, separated by commas.")],
    most: Annotated[int, typer.Option(help="Questions of each task at most; 0: all.")] = 0,
    shots: Annotated[int, typer.Option(help="Examples before each question.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads.")] = 2,
) -> None:
    """Measure a GGUF file by lm-evaluation-harness on local tasks (extra `harness`)."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of tasks: give one with the harness's YAML files")
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}  # nothing is fetched
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        from perslm_training_host.harness_model import GgufModel
    except ImportError as error:
        raise EngineError(
            f"lm-evaluation-harness is not here ({error}): .venv-train/bin/pip install 'perslm[harness]'"
        ) from error
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    if missing := sorted(set(names) - set(manager.all_tasks)):
        raise InputError(
            f"{folder} has no task {', '.join(missing)}: it has {', '.join(manager.all_tasks) or 'none'}"
        )
    scored = GgufModel(model, threads)
    try:
        found = simple_evaluate(
            scored, tasks=names, num_fewshot=shots, limit=most or None, task_manager=manager, log_samples=False,
            bootstrap_iters=1000,
        )  # fmt: skip
    finally:
        scored.close()
    _put(context, (found or {}).get("results", {}))


def _put(context: typer.Context, results: dict[str, dict[str, Any]]) -> None:
    if session_of(context).json:
        put_json(results)
        return
    rows = [
        [name, figure.partition(",")[0], f"{value:.4f}"]
        for name, figures in results.items()
        for figure, value in figures.items()
        if isinstance(value, float)
    ]
    put_table(["task", "figure", "value"], rows)
