"""The report of an evaluation as one HTML page: gates, figures, plots. Nothing in it is loaded from anywhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perslm_training_host.bootstrap import Interval
from perslm_training_host.charts import Points, plot
from perslm_training_host.gates import Verdict

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; } body { max-width: 46rem; margin: 2rem
auto; padding: 0 1rem; } table { border-collapse: collapse; width: 100%; margin: 1rem 0; } th, td { text-align:
left; padding: .3rem .6rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
td.number { text-align: right; font-variant-numeric: tabular-nums; } .passed { color: #2a9d5c; } .failed { color:
#c2315a; font-weight: bold; } svg { width: 100%; height: auto; } code { overflow-wrap: anywhere; }
"""


@dataclass(slots=True)
class Report:
    """All that was found of one file."""

    file: str
    sha256: str
    parent: str
    field_file: str | None
    figures: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    field_figures: dict[str, float] = field(default_factory=dict)
    against_field: dict[str, Interval] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    boards: dict[str, float] = field(default_factory=dict)  # profile -> tokens per second its bandwidth allows

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(verdict.passed for verdict in self.verdicts)


def page(report: Report, kl: Mapping[str, NDArray[np.floating]]) -> str:
    """The page; `kl` holds the divergence of every scored token, of the new file and of the one in the field."""
    state = "All gates hold" if report.passed else "Not to be shipped: a gate does not hold"
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>{html.escape(report.file)}</title><style>{_STYLE}</style>',
        f"<h1>{html.escape(report.file)}</h1>",
        f'<p class="{"passed" if report.passed else "failed"}">{state}.</p>',
        f"<p>sha256 <code>{report.sha256}</code><br>parent {html.escape(report.parent)}<br>"
        f"in the field {html.escape(report.field_file or 'nothing')}</p>",
        "<h2>Gates</h2>",
        _table(("figure", "holds", "why"), [_verdict(verdict) for verdict in report.verdicts]),
        "<h2>Figures</h2>",
        _table(("figure", "value", "95 % interval", "field", "difference to the field"), _figures(report)),
        plot("Divergence of the tokens", "share of tokens", "KL", _quantiles(kl)),
        "<h2>Boards</h2>",
        "<p>What a board's memory bandwidth allows for a file of this size.</p>",
        _table(
            ("profile", "tokens per second"),
            [(_cell(name), _number(value)) for name, value in report.boards.items()],
        ),
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def _quantiles(kl: Mapping[str, NDArray[np.floating]]) -> list[Points]:
    """Sorted divergences up to the 99th of a hundred: how many tokens are hurt, and how badly."""
    shares = np.linspace(0, 0.99, 100)
    return [Points(name, shares.tolist(), np.quantile(values, shares).tolist()) for name, values in kl.items()]


def _verdict(verdict: Verdict) -> tuple[str, ...]:
    held = "passed" if verdict.passed else "failed"
    return _cell(verdict.figure), f'<td class="{held}">{held}</td>', _cell(verdict.why)


def _figures(report: Report) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, value in report.figures.items():
        own, other = report.intervals.get(name), report.against_field.get(name)
        theirs = report.field_figures.get(name)
        rows.append(
            (
                _cell(name),
                _number(value),
                _cell(f"{own.low:.4g} to {own.high:.4g}" if own else ""),
                _number(theirs) if theirs is not None else _cell(""),
                _cell(f"{other.mean:+.4g} ({other.low:+.4g} to {other.high:+.4g})" if other else ""),
            )
        )
    return rows


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(text: str) -> str:
    return f"<td>{html.escape(text)}</td>"


def _number(value: float) -> str:
    return f'<td class="number">{value:.5g}</td>'
