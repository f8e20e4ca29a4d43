"""A graph of people and what is known of them, drawn as SVG.

Pure: names and links in, one picture out; the layout is forces between circles (Fruchterman and Reingold), from a
fixed start, so that the same graph is drawn the same. Text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.memory_claims import Known

_ROUNDS = 200
_SIDE = 150.0  # of the square that a node has to itself
_MARGIN = 90.0
_MOST = 200  # nodes: the forces of more take seconds, and nobody could read it
_LABEL_CHARS = 28


def graph_of(known: Sequence[Known]) -> tuple[list[str], list[tuple[int, int, str]]]:
    """The nodes (labels) and links (from, to, relation) of what holds: people, and what is said of them."""
    nodes: dict[object, int] = {}
    labels: list[str] = []
    links: list[tuple[int, int, str]] = []

    def node(key: object, label: str) -> int:
        if key not in nodes:
            nodes[key] = len(labels)
            labels.append(label)
        return nodes[key]

    for claim in known:
        if claim.until is not None or claim.relation == "name" or len(labels) >= _MOST:
            continue
        start = node(claim.subject, claim.about)
        key: object = claim.object if claim.object is not None else (claim.relation, claim.value.lower())
        links.append((start, node(key, claim.value), claim.relation))
    return labels, links


def draw(labels: Sequence[str], links: Sequence[tuple[int, int, str]]) -> str:
    """The picture as an SVG document."""
    places = _laid_out(len(labels), links)
    if len(labels):
        places = places - places.min(axis=0) + _MARGIN
    width, height = (places.max(axis=0) + _MARGIN) if len(labels) else (2 * _MARGIN, 2 * _MARGIN)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for start, end, relation in links:
        (x1, y1), (x2, y2) = places[start], places[end]
        lines.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#9aa5b1"/>')
        lines.append(_text((x1 + x2) / 2, (y1 + y2) / 2 - 4, relation, "#52606d", size=11))
    for label, (x, y) in zip(labels, places, strict=True):
        mine = label == "you"
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{9 if mine else 6}" fill="{_fill(mine)}"/>')
        lines.append(_text(x, y - 13, label, "#1f2933"))
    return "\n".join([*lines, "</svg>", ""])


def _fill(mine: bool) -> str:
    return "#d64545" if mine else "#2680c2"


def _text(x: float, y: float, text: str, fill: str, size: int = 13) -> str:
    shown = text if len(text) <= _LABEL_CHARS else text[: _LABEL_CHARS - 1] + "…"
    clear = "".join(c for c in shown if c.isprintable())
    halo = 'stroke="white" stroke-width="3" paint-order="stroke"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="{size}" fill="{fill}" {halo}>'
        f"{escape(clear)}</text>"
    )


def _laid_out(count: int, links: Sequence[tuple[int, int, str]]) -> NDArray[np.float64]:
    """A place for each node, [count, 2]: linked ones near each other, all of them apart."""
    angles = np.arange(count) * 2.399963  # the golden angle: a start in which no two lie on each other
    spread = _SIDE * math.sqrt(max(1, count))
    places = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (spread * np.sqrt(np.arange(count) + 1))[:, None]
    places = places / max(1.0, math.sqrt(count))
    starts = np.array([link[0] for link in links], int)
    ends = np.array([link[1] for link in links], int)
    for turn in range(_ROUNDS if count > 1 else 0):
        apart = places[:, None] - places[None, :]  # [count, count, 2]
        far = np.maximum(np.linalg.norm(apart, axis=2), 1.0)
        force = (apart / far[..., None] * (_SIDE**2 / far)[..., None]).sum(axis=1)
        along = places[ends] - places[starts]
        pull = along * (np.linalg.norm(along, axis=1) / _SIDE)[:, None]
        np.add.at(force, starts, pull)
        np.add.at(force, ends, -pull)
        size = np.maximum(np.linalg.norm(force, axis=1), 1e-9)
        step = _SIDE * (1 - turn / _ROUNDS) / 4
        places = places + force / size[:, None] * np.minimum(size, step)[:, None]
    return places
