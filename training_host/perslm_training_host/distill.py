"""`perslm-host distill`: let a teacher teach a student, by its probabilities on a text or by its answers.

The teacher is a Hugging Face folder, a GGUF file or an OpenAI-compatible server; the student a GGUF file or a
folder, whole, by a low-rank change, or made smaller first. Ctrl-C keeps the run; the same command goes on to the
same bits.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perslm_training_host.console import put, put_json, session_of

if TYPE_CHECKING:
    from perslm_training_host.distill_run import Report


def register(app: typer.Typer) -> None:
    """Add `distill` to the command line."""
    app.command()(distill)


def distill(
    context: typer.Context,
    teacher: Annotated[str, typer.Argument(help="GGUF file, Hugging Face folder, or http(s)://…/v1 of a server.")],
    student: Annotated[Path, typer.Argument(help="GGUF file or Hugging Face folder that learns.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the run: begun here, or gone on with.")],
    text: Annotated[list[Path] | None, typer.Option(help="Text to learn the teacher's probabilities on.")] = None,
    prompts: Annotated[Path | None, typer.Option(help='JSONL of {"prompt"}: learn the answers instead.')] = None,
    held_out: Annotated[list[Path] | None, typer.Option(help="Text to validate on, never learned.")] = None,
    loss: Annotated[str, typer.Option(help="forward-kl, reverse-kl, jsd or ce.")] = "forward-kl",
    ce: Annotated[float, typer.Option(help="Share of the text's own next token in the loss.")] = 0.0,
    temperature: Annotated[float, typer.Option(help="Softens both sides.")] = 1.0,
    likeliest: Annotated[
        int, typer.Option(help="Keep this many of the teacher's words on disk; 0: all, live.")
    ] = 0,
    on_policy: Annotated[float, typer.Option(help="Share of steps on the student's own words.")] = 0.0,
    steps: Annotated[int, typer.Option(min=1, help="Steps.")] = 200,
    rows: Annotated[int, typer.Option(min=1, help="Pieces in a micro-batch.")] = 4,
    accumulate: Annotated[int, typer.Option(min=1, help="Micro-batches in a step.")] = 1,
    length: Annotated[int, typer.Option(min=4, help="Tokens in a piece.")] = 256,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Which pieces come when.")] = 0,
    low_rank: Annotated[int, typer.Option("--lora", help="Train a change of this rank; 0 trains all.")] = 0,
    layers: Annotated[int, typer.Option(help="Prune to this many layers.")] = 0,
    feed_forward: Annotated[int, typer.Option(help="Prune to this many inner neurons.")] = 0,
    width: Annotated[int, typer.Option(help="Prune to this many columns.")] = 0,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.")] = 50,
    patience: Annotated[int, typer.Option(help="End after so many validations without a better one.")] = 0,
    keep_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 50,
    bf16: Annotated[bool | None, typer.Option(help="Multiply in bfloat16; by itself where the CPU can.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    distributed: Annotated[
        str, typer.Option(help="Under torchrun: ddp, fsdp, or zero2 or zero3 (DeepSpeed).")
    ] = "none",
    kind: Annotated[str, typer.Option(help="F16 or F32, of the GGUF file that is written.")] = "F16",
    licence: Annotated[str, typer.Option(help="The teacher's licence, where its file does not say it.")] = "",
    licence_checked: Annotated[
        bool, typer.Option(help="You have read it: it allows learning from answers.")
    ] = False,
    teacher_model: Annotated[str, typer.Option(help="The model's name on a server.")] = "teacher",
    answer_tokens: Annotated[int, typer.Option(min=1, help="Longest answer to a prompt.")] = 160,
    estimate: Annotated[bool, typer.Option("--estimate", help="Tell what it would take, and end.")] = False,
    price: Annotated[float, typer.Option(help="Price of an hour of one process, for the estimate.")] = 0.0,
    track: Annotated[str, typer.Option(help="tensorboard or wandb (offline), beside the run's own log.")] = "",
) -> None:
    """Teach a student by a teacher's next-token probabilities, or by its answers; write the student's file."""
    from perslm_training_host.distill_run import Recipe, check_group, distil
    from perslm_training_host.distilling import Taught
    from perslm_training_host.grid_distilling import fast_bf16
    from perslm_training_host.group import join
    from perslm_training_host.pruning import Shape
    from perslm_training_host.train_loop import Plan

    session = session_of(context)
    use_bf16 = (device == "cuda" or fast_bf16()) if bf16 is None else bf16
    plan = Plan(
        steps=steps, rate=rate, accumulate=accumulate, warm_up_steps=min(20, max(1, steps // 10)), bf16=use_bf16,
        seed=seed, keep_every=keep_every, validate_every=validate_every if held_out or prompts else 0,
        patience=patience,
    )  # fmt: skip
    recipe = Recipe(
        teacher=teacher, student=student, text=tuple(text or ()), plan=plan, held_out=tuple(held_out or ()),
        taught=Taught(loss, ce, temperature, likeliest, on_policy, rows, length, seed), prompts=prompts,
        shape=Shape(layers, feed_forward, width), low_rank=low_rank, device=device, kind=kind,
        teacher_model=teacher_model, answer_tokens=answer_tokens,
    )  # fmt: skip
    with join(distributed) as group:
        check_group(recipe, group)
        report = distil(
            recipe, out, group, licence=licence, licence_checked=licence_checked, price=price,
            only_estimate=estimate, track=track, quiet=session.json,
        )  # fmt: skip
        first = group.first
    if first:
        _tell(report, as_json=session.json)
    if report.outcome is not None and report.outcome.ended == "stopped":
        raise typer.Exit(130)


def _tell(report: Report, *, as_json: bool) -> None:
    told = report.estimate
    if as_json:
        put_json(
            {
                "estimate": None if told is None else asdict(told),
                "outcome": None if report.outcome is None else asdict(report.outcome),
                "written": list(report.written),
            }
        )
        return
    if report.outcome is not None:
        put(f"{report.outcome.ended} after {report.outcome.steps} steps, loss {report.outcome.loss:.4f}")
    for path in report.written:
        put(str(path))
