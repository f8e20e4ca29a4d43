"""`perslm-host embed`: sentence models for boards: int8 with its agreement measured, and a table for the smallest.

`export` makes the board's int8 file out of the published weights and holds it against them; `static` distils the
int8 model into one vector a token. Both tell how near they came on sentences that were not used to make them.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from perslm_runtime.errors import InputError
from perslm_training_host.console import Progress, command_group, put, put_json, session_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Out = Annotated[Path, typer.Option(help="Folder to write.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = command_group(app, "embed", "Sentence models for boards: int8, or a table of words.")
    group.command("export")(export)
    group.command("static")(static)


def export(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="Published all-MiniLM-L6-v2: config, tokenizer, safetensors.")],
    *,
    sentences: Annotated[Path, typer.Option(help="JSONL with `text` (a golden file of sentences).")],
    out: _Out,
) -> None:
    """Make the int8 model and measure how far it agrees with the published one (torch, fp32)."""
    from perslm_runtime import minilm
    from perslm_runtime.embed import Embedder
    from perslm_runtime.lane import Stop
    from perslm_training_host.reference import read_sentences, reference_vectors

    texts = read_sentences(sentences)
    minilm.convert(model, out)
    embedder = Embedder(out)
    found, wanted = embedder.embed(texts, Stop()), reference_vectors(model, texts)
    embedder.close()
    told = {"out": out, "size_bytes": _size(out), **agreement(found, wanted)}
    _put(context, told)


def static(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="Folder of the board's int8 model (`perslm models pull`).")],
    *,
    text: Annotated[list[Path], typer.Option(help="Sentences of its use: .txt with one a line, or .jsonl.")],
    out: _Out,
    ridge: Annotated[float, typer.Option(help="How strongly the map is held back.")] = 1.0,
    words: Annotated[int, typer.Option(help="Only the first so many tokens of the vocabulary; 0: all.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads.")] = 2,
) -> None:
    """Distil the sentence model into a table of int8 vectors, one a token."""
    from perslm_runtime.embed import Embedder, open_tokenizer, token_ids
    from perslm_runtime.embed_static import TABLE
    from perslm_runtime.lane import Stop
    from perslm_training_host import static_words

    lines = _sentences(text)
    tokenizer, embedder = open_tokenizer(model / "tokenizer.json"), Embedder(model, threads)
    count = words or tokenizer.get_vocab_size()
    cut = [token_ids(tokenizer, line)[1:-1] for line in lines]
    cut = [one for one in cut if one and max(one) < count]
    stop = Stop()

    def embed(rows: Any) -> NDArray[np.float32]:
        return embedder.embed_tokens(rows, stop)

    quiet = session_of(context).json
    alone = static_words.words_alone(embed, range(count), Progress("words", count, quiet=quiet).at)
    table, fit = static_words.fitted(embed, alone, cut, ridge, Progress("sentences", len(cut), quiet=quiet).at)
    codes, scales = static_words.int8_rows(table)
    try:
        out.mkdir(parents=True, exist_ok=True)
        np.savez(out / TABLE, codes=codes, scales=scales)
        shutil.copyfile(model / "tokenizer.json", out / "tokenizer.json")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}): make room, then run it again") from error
    embedder.close()
    _put(context, {"out": out, "size_bytes": _size(out), "words": count, **asdict(fit)})


def agreement(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> dict[str, float]:
    """How near two models' unit vectors [texts, columns] of the same texts are, and whether they find the same."""
    cosine = (found * wanted).sum(axis=1)
    ours, theirs = found @ found.T, wanted @ wanted.T
    for square in (ours, theirs):
        np.fill_diagonal(square, -1)
    return {
        "texts": len(found),
        "cosine_mean": round(float(cosine.mean()), 5),
        "cosine_least": round(float(cosine.min()), 5),
        "same_nearest": round(float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()), 4),
    }


def _sentences(paths: list[Path]) -> list[str]:
    found: dict[str, None] = {}
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        for number, line in enumerate(lines, start=1):
            try:
                said = json.loads(line)["text"] if path.suffix == ".jsonl" and line else line
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f'{path}, line {number}: expected {{"text": "…"}}: {error}') from error
            if str(said).strip():
                found[str(said).strip()] = None
    return list(found)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def _put(context: typer.Context, told: dict[str, Any]) -> None:
    if session_of(context).json:
        put_json(told)
        return
    for name, value in told.items():
        put(f"{name}: {value}")
