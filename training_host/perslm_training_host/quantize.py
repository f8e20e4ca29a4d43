"""`perslm-host quantize`: one parent in several kinds, measured on the files themselves, and the choice per board.

The importance matrix comes from torch, the bytes from llama.cpp's quantizer, the figures from llama.cpp running
the very files that lie in the folder afterwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from perslm_runtime.errors import InputError
from perslm_training_host.console import Progress, Session, note, put, put_json, put_table, session_of

_DEFAULT_KINDS = "Q4_0,IQ4_NL,Q5_0,Q4_K_M,Q8_0"
_IMPORTANCE_PIECES = 16  # 8,192 tokens; more brings nothing that could be measured


@dataclass(frozen=True, slots=True)
class Row:
    """What one file came to. Speeds are tokens per second of this machine."""

    name: str
    kind: str
    importance: bool
    size_bytes: int
    quantize_cpu_s: float
    tokens: int
    perplexity: float
    kl_mean: float
    kl_p99: float
    same_top: float
    prompt_tokens_per_s: float
    answer_tokens_per_s: float
    resident_mb: float


def register(app: typer.Typer) -> None:
    """Add `quantize` to the command line."""
    app.command()(quantize)


def quantize(
    context: typer.Context,
    parent: Annotated[Path, typer.Argument(help="GGUF file to quantize, best F16 or F32.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the files, the table and the plot.")],
    held_out: Annotated[list[Path], typer.Option(help="Text that no training sees: figures are taken on it.")],
    text: Annotated[
        list[Path] | None, typer.Option(help="Text for the importance matrix; without it there is none.")
    ] = None,
    kinds: Annotated[str, typer.Option(help="Kinds, separated by commas.")] = _DEFAULT_KINDS,
    importance_file: Annotated[
        Path | None, typer.Option("--importance", help="importance.npz of an earlier run, instead of --text.")
    ] = None,
    pure: Annotated[
        bool, typer.Option("--pure", help="Every matrix in the kind itself: what `qad` starts from.")
    ] = False,
    pieces: Annotated[int, typer.Option(help="Measure on so many pieces of 512 tokens at most.")] = 80,
    threads: Annotated[int, typer.Option(help="Threads.")] = 2,
) -> None:
    """Quantize a model to several kinds and measure each file: size, perplexity, KL to the parent, speed."""
    from perslm_training_host import imatrix, texts
    from perslm_training_host.llama_quantize import FILE_TYPES, llama_quantize
    from perslm_training_host.llama_scores import PIECE

    session = session_of(context)
    wanted = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    if unknown := [kind for kind in wanted if kind not in FILE_TYPES] or ([] if wanted else ["nothing"]):
        raise InputError(f"{unknown[0]} is no kind of quantization: choose from {', '.join(FILE_TYPES)}")
    tokens = texts.tokens_of(held_out, parent)[: pieces * PIECE]
    out.mkdir(parents=True, exist_ok=True)
    importance = imatrix.load(importance_file) if importance_file is not None else None
    if text and importance is None:
        importance = _importance(session, parent, text)
        imatrix.save(importance, out / "importance.npz")
    made: list[tuple[str, Path, float]] = []
    for kind in wanted:
        target = out / f"{parent.stem}-{kind}.gguf"
        began = time.process_time()
        llama_quantize(parent, target, kind, importance=importance, threads=threads, pure=pure)
        made.append((kind, target, time.process_time() - began))
        if not session.json:
            note(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB")
    rows = _measured(session, parent, made, tokens, threads, importance=importance is not None)
    _write(out, parent, held_out, rows)
    _show(session, rows)


def _importance(session: Session, parent: Path, text: Sequence[Path]) -> dict[str, NDArray[np.float32]]:
    """The importance matrix of the parent on the first pieces of `text`, evenly spread over it."""
    from perslm_training_host import gguf_file, gguf_model, imatrix, texts
    from perslm_training_host.llama_scores import pieces

    file = gguf_file.read(parent)
    if not session.json:
        note(f"loading {parent.name} as float32: {gguf_model.needed_bytes(file) / 1e9:.1f} GB of memory")
    cut = pieces(texts.tokens_of(text, parent))
    cut = cut[:: max(1, len(cut) // _IMPORTANCE_PIECES)][:_IMPORTANCE_PIECES]
    progress = Progress("importance matrix", len(cut), quiet=session.json)
    return imatrix.measure(gguf_model.load(file), file, cut, told=progress.at)


def _measured(
    session: Session,
    parent: Path,
    made: Sequence[tuple[str, Path, float]],
    tokens: Sequence[int],
    threads: int,
    *,
    importance: bool,
) -> list[Row]:
    """Score the parent and every file over the same tokens, then time each by itself."""
    from perslm_training_host import speed
    from perslm_training_host.llama_scores import Scorer, compare

    progress = Progress("measuring", len(tokens) // 512, quiet=session.json)
    with ExitStack() as opened:
        source = opened.enter_context(Scorer(parent, threads=threads))
        children = [opened.enter_context(Scorer(path, threads=threads)) for _, path, _ in made]
        scores = compare(source, children, tokens, told=progress.at)
    rows = []
    for (kind, path, cpu_s), found in zip([("parent", parent, 0.0), *made], scores, strict=True):
        quick = speed.measure(path, threads)
        told = found.summary()
        rows.append(
            Row(
                name=path.name,
                kind=kind,
                importance=importance and kind != "parent",
                size_bytes=path.stat().st_size,
                quantize_cpu_s=round(cpu_s, 1),
                tokens=int(told["tokens"]),
                perplexity=told["perplexity"],
                kl_mean=told["kl_mean"],
                kl_p99=told["kl_p99"],
                same_top=told["same_top"],
                prompt_tokens_per_s=quick.prompt_tokens_per_s,
                answer_tokens_per_s=quick.answer_tokens_per_s,
                resident_mb=quick.resident_mb,
            )
        )
    return rows


def _choices(rows: Sequence[Row]) -> dict[str, str | None]:
    from perslm_training_host import board_profiles as boards

    candidates = [boards.Candidate(row.name, row.size_bytes, row.kl_mean) for row in rows if row.kind != "parent"]
    found = {board.profile: boards.choice(board, candidates) for board in boards.boards()}
    return {profile: chosen.name if chosen else None for profile, chosen in found.items()}


def _write(out: Path, parent: Path, held_out: Sequence[Path], rows: Sequence[Row]) -> None:
    """Keep the table and the plot of size against divergence beside the files."""
    from perslm_training_host.charts import Points, plot

    told = {
        "parent": str(parent),
        "held_out": [str(path) for path in held_out],
        "rows": [{name: getattr(row, name) for name in Row.__slots__} for row in rows],
        "boards": _choices(rows),
    }
    (out / "quantize.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    files = [row for row in rows if row.kind != "parent"]
    points = Points(
        "files", [r.size_bytes / 1e6 for r in files], [r.kl_mean for r in files], [r.kind for r in files]
    )
    drawn = plot("Size and divergence", "MB", "mean KL to the parent", [points])
    (out / "quantize.svg").write_text(drawn, encoding="utf-8")


def _show(session: Session, rows: Sequence[Row]) -> None:
    chosen = _choices(rows)
    if session.json:
        put_json(
            {"rows": [{name: getattr(row, name) for name in Row.__slots__} for row in rows], "boards": chosen}
        )
        return
    columns = ("FILE", "MB", "PERPLEXITY", "KL", "KL P99", "SAME TOP", "PROMPT/S", "ANSWER/S")
    put_table(
        columns,
        [
            (
                row.name,
                f"{row.size_bytes / 1e6:.1f}",
                f"{row.perplexity:.2f}",
                f"{row.kl_mean:.4f}",
                f"{row.kl_p99:.3f}",
                f"{row.same_top:.1%}",
                f"{row.prompt_tokens_per_s:.0f}",
                f"{row.answer_tokens_per_s:.0f}",
            )
            for row in rows
        ],
    )
    for profile, name in chosen.items():
        put(f"{profile}: {name or 'none of these fits and speaks in time'}")
