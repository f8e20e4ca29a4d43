"""`perslm-host prefer`: let a model learn which answers its people wanted, without forgetting the rest.

Pairs come from corrections and thumbs (`perslm-host collect`); what is replayed from `student replies` or from any
JSONL of questions and replies. Ctrl-C keeps the run; the same command goes on to the same bits.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from perslm_training_host.console import note, put, put_json, session_of


def register(app: typer.Typer) -> None:
    """Add `prefer` to the command line."""
    app.command()(prefer)


def prefer(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="GGUF file or Hugging Face folder that learns.")],
    pairs: Annotated[Path, typer.Argument(help='JSONL of {"prompt", "chosen", "rejected", "source"}.')],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run: begun here, or gone on with.")],
    replay: Annotated[
        Path | None, typer.Option(help='JSONL of {"question", "reply"} to stay as before on.')
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps.")] = 100,
    rows: Annotated[int, typer.Option(min=1, help="Pairs in a micro-batch.")] = 4,
    accumulate: Annotated[int, typer.Option(min=1, help="Micro-batches in a step.")] = 1,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-5,
    beta: Annotated[float, typer.Option(help="How dearly leaving the model from before costs.")] = 0.1,
    anchor: Annotated[float, typer.Option(help="Weight of the better answer's own likelihood.")] = 0.1,
    replay_weight: Annotated[float, typer.Option(help="Weight of the replay.")] = 1.0,
    low_rank: Annotated[int, typer.Option("--lora", help="Train a change of this rank; 0 trains all.")] = 16,
    seed: Annotated[int, typer.Option(help="Which pairs come when.")] = 0,
    keep_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 50,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = 25,
    patience: Annotated[int, typer.Option(help="End after so many validations without a better one.")] = 0,
    bf16: Annotated[bool | None, typer.Option(help="Multiply in bfloat16; by itself where the CPU can.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    kind: Annotated[str, typer.Option(help="F16 or F32, of the GGUF file that is written.")] = "F16",
    engine: Annotated[
        str,
        typer.Option(
            help="own, or trl: the same loss by TRL's trainer (extra `trl`); replays and resumes nothing."
        ),
    ] = "own",
) -> None:
    """Learn preferences (DPO) from pairs of a better and a worse answer; write the model's file."""
    from perslm_training_host.grid_distilling import fast_bf16
    from perslm_training_host.prefer_run import Recipe, learn
    from perslm_training_host.preferences import Wish
    from perslm_training_host.train_loop import Plan

    session = session_of(context)
    use_bf16 = (device == "cuda" or fast_bf16()) if bf16 is None else bf16
    plan = Plan(
        steps=steps, rate=rate, accumulate=accumulate, warm_up_steps=min(20, max(1, steps // 10)), bf16=use_bf16,
        seed=seed, keep_every=keep_every, validate_every=validate_every, patience=patience,
    )  # fmt: skip
    wish = Wish(beta, anchor, replay_weight, rows, seed=seed)
    if replay is None and engine == "own" and not session.json:
        note("nothing is replayed: the model may forget how it answers otherwise; --replay keeps it")
    outcome, written = learn(Recipe(model, pairs, replay, plan, wish, low_rank, device, kind, engine), out)
    if session.json:
        put_json({"outcome": asdict(outcome), "written": written})
    else:
        put(f"{outcome.ended} after {outcome.steps} steps, loss {outcome.loss:.4f}")
        for path in written:
            put(str(path))
    if outcome.ended == "stopped":
        raise typer.Exit(130)
