"""Plots as plain SVG text: curves and labelled points.

Nothing is loaded from anywhere. Colours follow the page's own (`currentColor`), so a plot reads on a light and on
a dark page.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 30, 46
_COLOURS = ("#2f6fde", "#d9602b", "#2a9d5c", "#9b51c9", "#b8860b", "#c2315a")


@dataclass(frozen=True, slots=True)
class Points:
    """One series: its name, its points, and labels beside them (empty for a curve, which is drawn as a line)."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    labels: Sequence[str] = ()


def plot(title: str, x_name: str, y_name: str, series: Sequence[Points]) -> str:
    """An SVG of all series over common axes that begin at zero where the values are near it."""
    low_x, high_x = _range([x for each in series for x in each.xs])
    low_y, high_y = _range([y for each in series for y in each.ys])

    def across(x: float) -> float:
        return _LEFT + (x - low_x) / (high_x - low_x) * (_WIDTH - _LEFT - _RIGHT)

    def down(y: float) -> float:
        return _HEIGHT - _BOTTOM - (y - low_y) / (high_y - low_y) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="currentColor"><title>{html.escape(title)}</title>',
        f'<text x="{_LEFT}" y="18" font-weight="bold">{html.escape(title)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">{html.escape(x_name)}</text>',
        f'<text x="14" y="{_TOP + 4}" transform="rotate(-90 14 {_TOP + 4})" text-anchor="end">'
        f"{html.escape(y_name)}</text>",
    ]
    parts.extend(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{down(tick):.1f}" y2="{down(tick):.1f}" '
        f'stroke="currentColor" stroke-opacity="0.15"/><text x="{_LEFT - 6}" y="{down(tick) + 4:.1f}" '
        f'text-anchor="end">{tick:g}</text>'
        for tick in _ticks(low_y, high_y)
    )
    parts.extend(
        f'<text x="{across(tick):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in _ticks(low_x, high_x)
    )
    for number, each in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        if each.labels:
            parts += [
                f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="4" fill="{colour}"/>'
                f'<text x="{across(x) + 7:.1f}" y="{down(y) + 4:.1f}">{html.escape(label)}</text>'
                for x, y, label in zip(each.xs, each.ys, each.labels, strict=True)
            ]
        else:
            line = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in zip(each.xs, each.ys, strict=True))
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(series) > 1:
            parts.append(
                f'<text x="{_LEFT + 10}" y="{_TOP + 12 + 14 * number}" fill="{colour}">'
                f"{html.escape(each.name)}</text>"
            )
    return "\n".join([*parts, "</svg>"])


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis: a little room at both, and zero where the values come near it."""
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or max(abs(high) * 0.1, 1e-9)
    return (0.0 if 0 <= low < (high - low) else low - room), high + room


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers between the ends."""
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 8)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]
