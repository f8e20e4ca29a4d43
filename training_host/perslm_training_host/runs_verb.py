"""`perslm-host runs`: what was trained here, how it went, and in what two runs differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perslm_training_host.console import command_group, put, put_json, put_table, session_of
from perslm_training_host.runs import Run, differences, page, runs_below, write_whole

_Folder = Annotated[Path, typer.Argument(help="A run's folder.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = command_group(app, "runs", "Training runs: list, show, compare.")
    group.command("list")(list_runs)
    group.command("show")(show)
    group.command("compare")(compare)


def list_runs(
    context: typer.Context, folder: Annotated[Path, typer.Argument(help="Where to look, at any depth.")] = Path()
) -> None:
    """List the runs below a folder, oldest first."""
    found = runs_below(folder)
    if session_of(context).json:
        put_json([{"folder": run.folder, **run.about()} for run in found])
        return
    rows = []
    for run in found:
        about = run.about()
        last = (run.lines() or [{}])[-1]
        loss = f"{last['loss']:.4f}" if "loss" in last else ""
        rows.append(
            [str(run.folder), about["verb"], about["state"], about["begun"], str(last.get("step", "")), loss]
        )
    put_table(["run", "verb", "state", "begun", "step", "loss"], rows)


def show(context: typer.Context, folder: _Folder) -> None:
    """Show a run's recipe, outcome and last figures, and draw its page (report.html in its folder)."""
    run = Run(folder)
    about, last = run.about(), (run.lines() or [{}])[-1]
    write_whole(folder / "report.html", page([run]))
    if session_of(context).json:
        put_json({**about, "last": last})
        return
    for part in ("recipe", "outcome"):
        for name, value in about.get(part, {}).items():
            put(f"{part}.{name}: {value}")
    put(f"last: {last}")
    put(f"page: {folder / 'report.html'}")


def compare(
    context: typer.Context,
    one: _Folder,
    other: _Folder,
    *,
    page_file: Annotated[
        Path | None, typer.Option("--page", help="Write both runs' curves to this HTML file.")
    ] = None,
) -> None:
    """Say in what two runs differ: settings and outcomes."""
    runs = [Run(one), Run(other)]
    found = differences(*runs)
    if page_file is not None:
        write_whole(page_file, page(runs))
    if session_of(context).json:
        put_json([{"what": what, "one": left, "other": right} for what, left, right in found])
        return
    put_table(["what", str(one), str(other)], [list(row) for row in found])
