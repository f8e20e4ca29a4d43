"""`perslm-host qad`: teach a 4-bit file to answer as its parent does, without leaving its grid.

Takes the parent (F16) and a file that `quantize --pure` made of it, and writes a child of the same size and
format. Ctrl-C keeps the run; the same command goes on where it stopped.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from perslm_runtime.errors import InputError
from perslm_training_host.console import Progress, note, put, put_json, session_of

_STOPPING = (signal.SIGINT, signal.SIGTERM)
_KEEP_EVERY = 50  # steps; keeping 1.3 GB of a 135M model takes some seconds


def register(app: typer.Typer) -> None:
    """Add `qad` to the command line."""
    app.command()(qad)


def qad(
    context: typer.Context,
    parent: Annotated[Path, typer.Argument(help="GGUF file whose answers are the truth, best F16.")],
    base: Annotated[Path, typer.Argument(help="Its Q4_0 or IQ4_NL file (`perslm-host quantize --pure`).")],
    *,
    text: Annotated[list[Path], typer.Option(help="Text to learn on: .txt, .md, or .jsonl with `text`.")],
    out: Annotated[Path, typer.Option(help="GGUF file to write.")],
    steps: Annotated[int, typer.Option(min=1, help="Steps.")] = 110,
    rows: Annotated[int, typer.Option(min=1, help="Pieces in a step.")] = 4,
    length: Annotated[int, typer.Option(min=8, help="Tokens in a piece.")] = 256,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Which pieces come when.")] = 0,
    scales: Annotated[str, typer.Option(help="frozen (a small update) or recomputed.")] = "frozen",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    bf16: Annotated[bool | None, typer.Option(help="Multiply in bfloat16; by itself where the CPU can.")] = None,
) -> None:
    """Distil a model into its own 4-bit file, on the exact grid, and write the file."""
    from perslm_training_host import gguf_file, gguf_model, texts
    from perslm_training_host.grid_distilling import GridDistilling, Plan, fast_bf16

    session = session_of(context)
    if scales not in ("frozen", "recomputed"):
        raise InputError(f"--scales {scales}: choose frozen or recomputed")
    source, quantized = gguf_file.read(parent), gguf_file.read(base)
    use_bf16 = fast_bf16() if bf16 is None else bf16
    plan = Plan(steps, rows, length, rate, seed, scales, device, use_bf16)  # type: ignore[arg-type]  # checked above
    tokens = texts.tokens_of(text, base)
    if not session.json:
        memory_gb = gguf_model.needed_bytes(source) * 5 / 1e9
        note(f"{len(tokens)} tokens of text, {steps * rows * length} to learn on; {memory_gb:.1f} GB of memory")
    run = GridDistilling(source, quantized, tokens, plan)
    kept = out.with_name(out.name + ".run")
    if kept.exists():
        run.go_on_from(kept)
        note(f"going on after step {run.step} of {steps}")
    progress = Progress("distilling", steps, quiet=session.json)

    def told(step: int, loss: float) -> None:
        progress.at(step, figures=f"loss {loss:.4f}")
        if step % _KEEP_EVERY == 0 and step < steps:
            run.keep(kept)

    try:
        with stop_between_steps() as stopped:
            run.run(lambda step, loss: told(step, loss) if not stopped() else _interrupt())
    except KeyboardInterrupt:
        note(f"stopped after step {run.step}: the same command goes on from there")
        run.keep(kept)
        raise
    gguf_file.write_child(quantized, out, run.replacements())
    kept.unlink(missing_ok=True)
    outcome = run.outcome
    result = {
        "parent": str(parent),
        "base": str(base),
        "out": str(out),
        "steps": steps,
        "tokens": steps * rows * length,
        "rate": rate,
        "seed": seed,
        "scales": scales,
        "bf16": use_bf16,
        "cpu_seconds": round(outcome.cpu_seconds, 1),
        "changed_codes": round(outcome.changed_codes, 6),
        "losses": [round(loss, 5) for loss in outcome.losses],
    }
    out.with_suffix(".json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    _draw(out, outcome.losses)
    if session.json:
        put_json(result)
    else:
        put(f"{out}: {outcome.changed_codes:.3%} of the codes changed, {outcome.cpu_seconds:.0f} CPU-seconds")


@contextmanager
def stop_between_steps() -> Iterator[Callable[[], bool]]:
    """Hold SIGINT and SIGTERM back and say whether one came: in the middle of a step some weights have moved."""
    came: list[int] = []
    before = {word: signal.signal(word, lambda number, _frame: came.append(number)) for word in _STOPPING}
    try:
        yield lambda: bool(came)
    finally:
        for word, handler in before.items():
            signal.signal(word, handler)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _draw(out: Path, losses: list[float]) -> None:
    from perslm_training_host.charts import Points, plot

    curve = Points("loss", list(range(1, len(losses) + 1)), losses)
    out.with_suffix(".svg").write_text(plot("Divergence while learning", "step", "KL", [curve]), encoding="utf-8")
