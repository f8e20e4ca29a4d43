"""`perslm-host evaluate`: all that is asked of the very file a board would get, in llama.cpp, and the verdict.

Measures against the parent (how much was lost), against the version in the field (whether it got worse, with a
paired bootstrap), and against gates in TOML. Exit code 1 where a gate does not hold, so that a script stops
there.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_training_host.console import Progress, Session, put, put_json, put_table, session_of

if TYPE_CHECKING:
    from perslm_training_host.evaluation_report import Report
    from perslm_training_host.evaluation_tasks import Answers
    from perslm_training_host.llama_scores import Scores

OWN_GATES = Path(__file__).parent / "evaluation" / "gates.toml"


def register(app: typer.Typer) -> None:
    """Add `evaluate` to the command line."""
    app.command()(evaluate)


def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="GGUF file that would be shipped.")],
    *,
    parent: Annotated[Path, typer.Option(help="What it was made from, best F16.")],
    held_out: Annotated[list[Path], typer.Option(help="Text that no training saw.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    field: Annotated[Path | None, typer.Option(help="GGUF file that boards run now.")] = None,
    other_kind: Annotated[
        list[Path] | None, typer.Option(help="Text of another kind than what was trained on.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Home commands, as tests/golden/tools.jsonl; none are asked without it.")
    ] = None,
    secrets: Annotated[
        Path | None, typer.Option(help="Questions after planted secrets, `forbidden` names them.")
    ] = None,
    gates: Annotated[Path, typer.Option(help="Gates in TOML.")] = OWN_GATES,
    pieces: Annotated[int, typer.Option(min=1, help="Pieces of 512 tokens to score at most.")] = 80,
    most: Annotated[int, typer.Option(min=1, help="Items to ask in each task at most.")] = 1000,
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 2,
) -> None:
    """Measure a GGUF file as a board would run it, judge it by gates, and write a report."""
    from perslm_runtime.delta import sha256_of
    from perslm_training_host import board_profiles as boards
    from perslm_training_host import gates as gate_files
    from perslm_training_host import texts
    from perslm_training_host.evaluation_report import Report, page
    from perslm_training_host.llama_scores import PIECE

    session = session_of(context)
    bounds = gate_files.read(gates)  # before minutes of computing
    tokens = texts.tokens_of(held_out, parent)[: pieces * PIECE]
    other = texts.tokens_of(other_kind, parent)[: pieces * PIECE] if other_kind else []
    report = Report(model.name, sha256_of(model), parent.name, field.name if field else None)
    files = [model, *([field] if field else [])]
    scores = _scored(session, parent, files, tokens, threads)
    _take_scores(report, scores)
    if other:
        report.figures["kl_other_kind"] = float(_scored(session, parent, files, other, threads)[0].kl.mean())
    asked = [_asked(session, file, home, secrets, threads, most) for file in files]
    _take_answers(report, asked)
    _take_parity(report, model, parent)
    _take_speed(report, model, threads)
    size = model.stat().st_size
    report.boards = {board.profile: round(board.tokens_per_s(size), 1) for board in boards.boards()}
    report.verdicts = gate_files.judge(bounds, report.figures, report.against_field)
    out.mkdir(parents=True, exist_ok=True)
    kl = dict(zip([model.name, "in the field"], [each.kl for each in scores], strict=False))
    (out / "report.html").write_text(page(report, kl), encoding="utf-8")
    (out / "report.json").write_text(json.dumps(_as_json(report), indent=1) + "\n", encoding="utf-8")
    _show(session, report, out)
    if not report.passed:
        raise typer.Exit(1)


def _scored(session: Session, parent: Path, files: list[Path], tokens: list[int], threads: int) -> list[Scores]:
    """Scores of the files against their parent, the parent's own left out."""
    from perslm_training_host.llama_scores import PIECE, Scorer, compare

    progress = Progress("scoring", len(tokens) // PIECE, quiet=session.json)
    with ExitStack() as opened:
        source = opened.enter_context(Scorer(parent, threads=threads))
        children = [opened.enter_context(Scorer(path, threads=threads)) for path in files]
        return compare(source, children, tokens, told=progress.at)[1:]


def _take_scores(report: Report, scores: list[Scores]) -> None:
    from perslm_training_host.bootstrap import by_piece, difference, interval

    def kl(found: Scores) -> Any:
        return by_piece(found.kl, found.piece)

    def summary(found: Scores) -> dict[str, float]:
        return {name: value for name, value in found.summary().items() if name != "tokens"}

    report.figures |= summary(scores[0])
    report.intervals["kl_mean"] = interval(kl(scores[0]))
    if len(scores) > 1:
        report.field_figures |= summary(scores[1])
        report.against_field["kl_mean"] = difference(kl(scores[0]), kl(scores[1]))


def _asked(
    session: Session, file: Path, home: Path | None, secrets: Path | None, threads: int, most: int
) -> Answers:
    from perslm_training_host.evaluation_tasks import ask_all

    shown: dict[str, Progress] = {}

    def told(what: str, done: int, total: int) -> None:
        shown.setdefault(what, Progress(what, total, quiet=session.json)).at(done)

    return ask_all(file, home=home, secrets=secrets, threads=threads, most=most, told=told)


def _take_answers(report: Report, asked: list[Answers]) -> None:
    from perslm_training_host.bootstrap import difference, interval

    report.figures |= asked[0].means()
    report.intervals |= {figure: interval(items) for figure, items in asked[0].items.items()}
    if len(asked) > 1:
        report.field_figures |= asked[1].means()
        report.against_field |= {
            figure: difference(items, asked[1].items[figure]) for figure, items in asked[0].items.items()
        }


def _take_parity(report: Report, model: Path, parent: Path) -> None:
    """Whether text becomes the same tokens, and talk the same prompt, as in the parent."""
    from perslm_training_host import gguf_file
    from perslm_training_host.evaluation_tasks import parity_texts
    from perslm_training_host.llama_scores import Scorer

    strings = parity_texts()
    with Scorer(model, only_tokens=True) as ours, Scorer(parent, only_tokens=True) as theirs:
        equal = [
            ours.tokens(text, special=special) == theirs.tokens(text, special=special)
            for text in strings
            for special in (False, True)
        ]
    report.figures["tokenizer_equal"] = sum(equal) / len(equal)
    key = "tokenizer.chat_template"
    one, other = gguf_file.read(model).metadata.get(key), gguf_file.read(parent).metadata.get(key)
    report.figures["template_equal"] = float(one == other)


def _take_speed(report: Report, model: Path, threads: int) -> None:
    from perslm_training_host import speed

    found = speed.measure(model, threads)
    report.figures["size_mb"] = round(model.stat().st_size / 1e6, 1)
    report.figures |= {name: getattr(found, name) for name in speed.Speed.__slots__}


def _as_json(report: Report) -> dict[str, object]:
    return asdict(report) | {"passed": report.passed}


def _show(session: Session, report: Report, out: Path) -> None:
    if session.json:
        put_json(_as_json(report))
        return
    rows = [
        (name, f"{value:.5g}", f"{report.field_figures[name]:.5g}" if name in report.field_figures else "")
        for name, value in report.figures.items()
    ]
    put_table(("FIGURE", "VALUE", "FIELD"), rows)
    for verdict in report.verdicts:
        put(f"{'holds' if verdict.passed else 'FAILS'}: {verdict.figure}: {verdict.why}")
    put(f"{out / 'report.html'}")
