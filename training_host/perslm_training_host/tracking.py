"""A run's figures for TensorBoard or Weights & Biases, beside our own log. Both are extras; W&B stays offline.

A tracker takes the same lines as the log. Nothing leaves the machine: W&B runs with mode "offline", and whoever
wants it online runs `wandb sync` himself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from perslm_runtime.errors import EngineError, InputError

KINDS = ("tensorboard", "wandb")
Track = Callable[[Mapping[str, object]], None]


def tracker(kind: str, folder: Path, recipe: Mapping[str, object]) -> AbstractContextManager[Track]:
    """The tracker `kind` of the run in `folder`; "" is none. Raises EngineError where its library is missing."""
    if kind not in ("", *KINDS):
        raise InputError(f"there is no tracker {kind!r}: {', '.join(KINDS)}")
    makers = {"": _nothing, "tensorboard": _tensorboard, "wandb": _wandb}
    return makers[kind](folder, recipe)


@contextmanager
def _nothing(_folder: Path, _recipe: Mapping[str, object]) -> Any:
    yield lambda _line: None


@contextmanager
def _tensorboard(folder: Path, recipe: Mapping[str, object]) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise EngineError(f"TensorBoard is not here ({error}): pip install 'perslm[track]'") from error
    writer = SummaryWriter(str(folder / "tensorboard"))
    try:
        writer.add_text("recipe", "\n".join(f"    {name}: {value}" for name, value in recipe.items()))

        def track(line: Mapping[str, object]) -> None:
            for name, value in line.items():
                if name != "step" and isinstance(value, int | float):
                    writer.add_scalar(name, value, int(str(line.get("step", 0))))

        yield track
    finally:
        writer.close()


@contextmanager
def _wandb(folder: Path, recipe: Mapping[str, object]) -> Any:
    try:
        import wandb  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise EngineError(f"Weights & Biases is not here ({error}): pip install 'perslm[track]'") from error
    run = wandb.init(project="perslm", name=folder.name, dir=str(folder), config=dict(recipe), mode="offline")
    try:
        yield lambda line: run.log({name: value for name, value in line.items() if name != "step"})
    finally:
        run.finish()
