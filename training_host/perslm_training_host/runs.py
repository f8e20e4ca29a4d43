"""Training runs on the disk: what was asked, how the loss went, the last state, and a page that shows it.

One folder a run: `run.json` (recipe and outcome), `log.jsonl` (a line a step), `state.pt` (all that exact resuming
needs), `report.html`. Whoever writes replaces whole files; a run that was killed can always be read.
"""

from __future__ import annotations

import html
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perslm_runtime.errors import InputError

_RECIPE, _LOG, _STATE, _PAGE = "run.json", "log.jsonl", "state.pt", "report.html"
_COLOURS = ("#1f6f8b", "#c8553d", "#3a7d44", "#7b4b94", "#b8860b", "#555555")


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder. Building it touches nothing. `track` is told every line of the log too."""

    folder: Path
    track: Callable[[Mapping[str, object]], None] | None = None

    @property
    def state_file(self) -> Path:
        """Where the state for resuming is."""
        return self.folder / _STATE

    def begin(self, verb: str, recipe: Mapping[str, object]) -> bool:
        """Make the folder, or take up the run that is there; returns whether there was one.

        Raises InputError where the run there was begun with another recipe: it would mix two runs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = json.loads(json.dumps(recipe, default=str))
        if (self.folder / _RECIPE).exists():
            before = self.about()["recipe"]
            other = sorted(key for key in {*before, *plain} if before.get(key) != plain.get(key))
            if other:
                raise InputError(
                    f"{self.folder} holds a run with another {', '.join(other)}: give the same settings to go on"
                    " with it, or another folder"
                )
            return self.state_file.exists()
        self.write(
            {"verb": verb, "recipe": plain, "begun": time.strftime("%Y-%m-%d %H:%M:%S"), "state": "running"}
        )
        return False

    def about(self) -> dict[str, Any]:
        """What is known of the run. Raises InputError where the folder holds none."""
        try:
            found: dict[str, Any] = json.loads((self.folder / _RECIPE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.folder} holds no run that can be read ({error})") from error
        return found

    def write(self, about: Mapping[str, object]) -> None:
        """Replace what is known of the run."""
        write_whole(self.folder / _RECIPE, json.dumps(about, indent=1, default=str) + "\n")

    def end(self, state: str, outcome: Mapping[str, object]) -> None:
        """Note how the run ended ("done", "stopped", "failed") and what came out; draw its page."""
        self.write({**self.about(), "state": state, "outcome": dict(outcome)})
        write_whole(self.folder / _PAGE, page([self]))

    def log(self, line: Mapping[str, object]) -> None:
        """Append a line to the log."""
        with (self.folder / _LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.track is not None:
            self.track(line)

    def lines(self) -> list[dict[str, Any]]:
        """The log, a step once: after a crash some are there twice, and the later ones hold."""
        try:
            text = (self.folder / _LOG).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        found: dict[Any, dict[str, Any]] = {}
        for line in text.splitlines():
            try:
                read = json.loads(line)
            except ValueError:
                continue  # the line that was being written when the process was killed
            found[read.get("step")] = read
        return [found[step] for step in sorted(found)]


def runs_below(folder: Path) -> list[Run]:
    """All runs below a folder, oldest first."""
    found = [Run(file.parent) for file in folder.glob(f"**/{_RECIPE}")]
    return sorted(found, key=lambda run: (str(run.about().get("begun", "")), str(run.folder)))


def differences(one: Run, other: Run) -> list[tuple[str, str, str]]:
    """(what, one's, other's) for every recipe key and outcome in which two runs differ."""
    sides = [_flat(run.about()) for run in (one, other)]
    names = sorted({*sides[0], *sides[1]})
    pairs = ((name, *(str(side.get(name, "")) for side in sides)) for name in names)
    return [(name, left, right) for name, left, right in pairs if left != right]


def _flat(about: Mapping[str, Any]) -> dict[str, object]:
    found: dict[str, object] = {}
    for part in ("recipe", "outcome"):
        found |= {f"{part}.{name}": value for name, value in about.get(part, {}).items()}
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or as before."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def page(runs: Sequence[Run]) -> str:
    """An HTML page, complete in itself, with the curves and the facts of some runs."""
    names = list(dict.fromkeys(name for run in runs for line in run.lines() for name in line if name != "step"))
    curves = [_figure(name, [(run.folder.name, list(_points(run, name))) for run in runs]) for name in names]
    facts = [
        f"<tr><td>{html.escape(run.folder.name)}</td><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>"
        for run in runs
        for name, value in _flat(run.about()).items()
    ]
    title = ", ".join(html.escape(run.folder.name) for run in runs)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:15px sans-serif;margin:2em}td{padding:2px 1em 2px 0;border-bottom:1px solid #ddd}"
        f"figure{{display:inline-block;margin:1em}}</style><h1>{title}</h1>{''.join(curves)}"
        f"<table>{''.join(facts)}</table></html>\n"
    )


def _points(run: Run, name: str) -> Iterable[tuple[float, float]]:
    for line in run.lines():
        value = line.get(name)
        if isinstance(value, int | float) and not math.isnan(value):
            yield float(line["step"]), float(value)


def _figure(name: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """One small chart of values by step as SVG; empty series are left out."""
    series = [(label, points) for label, points in series if points]
    if not series:
        return ""
    xs, ys = zip(*(point for _, points in series for point in points), strict=True)
    width, height, left = 420, 220, 60

    def at(x: float, y: float) -> str:
        across = left + (x - min(xs)) / (max(xs) - min(xs) or 1) * (width - left - 10)
        return f"{across:.1f},{height - 30 - (y - min(ys)) / (max(ys) - min(ys) or 1) * (height - 50):.1f}"

    drawn = []
    for number, (label, points) in enumerate(series):
        path, colour = " ".join(at(*point) for point in points), _COLOURS[number % len(_COLOURS)]
        drawn.append(
            f'<polyline fill="none" stroke="{colour}" points="{path}"><title>{html.escape(label)}</title>'
        )
    lines = "</polyline>".join([*drawn, ""])
    frame = f'x="{left}" y="20" width="{width - left - 10}" height="{height - 50}" fill="none" stroke="#ccc"'
    texts = (
        (2, 28, f"{max(ys):.4g}"),
        (2, height - 30, f"{min(ys):.4g}"),
        (left, height - 10, f"step {min(xs):.0f}"),
        (width - 80, height - 10, f"{max(xs):.0f}"),
    )
    labels = "".join(f'<text x="{x}" y="{y}" font-size="12">{text}</text>' for x, y, text in texts)
    return (
        f'<figure><figcaption>{html.escape(name)}</figcaption><svg width="{width}" height="{height}">'
        f"<rect {frame}/>{lines}{labels}</svg></figure>"
    )
