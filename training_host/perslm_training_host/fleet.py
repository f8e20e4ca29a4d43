"""`perslm-host fleet`: every board with its version, health, last sync and trials, and how roll-outs go.

The same as a page without a script, for a browser on this machine: it loads nothing from anywhere.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from perslm_training_host.boards import BoardRecord, Boards
from perslm_training_host.console import note, put, put_json, put_table, session_of
from perslm_training_host.repository import CHANNELS, Repository
from perslm_training_host.rollout import RollOut, roll_outs
from perslm_training_host.signing_keys import SigningKeys

Folder = Annotated[
    Path, typer.Option("--repository", envvar="PERSLM_HOST_REPOSITORY", help="The repository's folder.")
]
_HERE = Path("repository")
_SILENT_S = 3 * 86400.0  # a board looks every day
_STYLE = """
body{font:14px sans-serif;margin:2em;color-scheme:light dark}table{border-collapse:collapse;margin:1em 0}
td,th{padding:.3em .8em;text-align:left;border-bottom:1px solid #8884;vertical-align:top}.bad{color:#c0392b}
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A board as the table shows it; `problems` are sentences, none where it is well."""

    name: str
    profile: str
    version: str
    model: str
    probation: str
    seen: str
    latency_ms: float | None
    trials: tuple[str, ...]
    problems: tuple[str, ...]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(fleet)


def fleet(
    context: typer.Context,
    folder: Folder = _HERE,
    *,
    page: Annotated[Path | None, typer.Option(help="Write the page to this file as well.")] = None,
) -> None:
    """Show every board: version, health, last sync, trials; and how roll-outs go."""
    known, going = look(folder)
    now_s = time.time()
    if page is not None:
        page.write_text(as_page(known, going, {}, now_s), encoding="utf-8")
    if session_of(context).json:
        put_json(as_data(known, going, {}, now_s))
        return
    if not known:
        note("no board has enrolled yet: `perslm-host enroll` shows a code for one")
        return
    rows = [row_of(record, now_s) for record in known.values()]
    put_table(
        ("board", "profile", "version", "model", "seen", "answers", "state"),
        [
            (
                one.name,
                one.profile,
                one.version,
                one.model + (" (on probation)" if one.probation else ""),
                one.seen,
                "" if one.latency_ms is None else f"{one.latency_ms:.0f} ms",
                "; ".join(one.problems) or "well",
            )
            for one in rows
        ],
    )
    for one in going:
        put(_sentence(one))


def look(folder: Path) -> tuple[dict[str, BoardRecord], list[RollOut]]:
    """The boards, and the roll-outs of a repository."""
    known = Boards(folder.with_name(f"{folder.name}-boards")).known()
    if not (folder / "metadata/1.root.json").is_file():
        return known, []
    repository = Repository(folder, SigningKeys([]))
    return known, roll_outs({name: repository.channel(name) for name in CHANNELS}, known)


def row_of(record: BoardRecord, now_s: float) -> Row:
    """A board as it is shown."""
    told: Mapping[str, Any] = record.report
    health: Mapping[str, Any] = told.get("health", {})
    problems = []
    if record.revoked:
        problems.append("revoked")
    elif record.seen_s is not None and now_s - record.seen_s > _SILENT_S:
        problems.append(f"silent for {(now_s - record.seen_s) / 86400:.0f} days")
    if health.get("pressure"):
        problems.append(f"short of {health['pressure']}")
    problems += [f"{part} hangs" for part in health.get("stalled", ())]
    problems += [f"{part} did not start" for part in told.get("degraded", ())]
    if health.get("throttled"):
        problems.append(f"throttled ({', '.join(map(str, health['throttled']))})")
    if health.get("sound", "ok") != "ok":
        problems.append(str(health["sound"]))
    problems += [f"refused {name}: {why}" for name, why in told.get("refused", {}).items()]
    return Row(
        record.name,
        str(told.get("profile", "?")),
        str(told.get("version", "?")),
        str(told.get("in_use", {}).get("llm", "?")),
        str(told.get("on_probation") or ""),
        "never" if record.seen_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(record.seen_s)),
        told.get("latency_ms"),
        tuple(_trial(name, one) for name, one in told.get("tried", {}).items()),
        tuple(problems),
    )


def as_data(
    known: Mapping[str, BoardRecord], going: list[RollOut], wished: Mapping[str, str], now_s: float
) -> dict[str, Any]:
    """The fleet for programs."""
    return {
        "boards": {
            name: {
                "enrolled_at": record.enrolled_s,
                "seen_at": record.seen_s,
                "revoked": record.revoked,
                "problems": list(row_of(record, now_s).problems),
                "report": record.report,
            }
            for name, record in known.items()
        },
        "roll_outs": [
            {
                "name": one.name,
                "channel": one.channel,
                "percent": one.percent,
                "well": list(one.well),
                "kept": list(one.kept),
                "failed": dict(one.failed),
                "fails": one.fails,
            }
            for one in going
        ],
        "stops_wished": dict(wished),
    }


def as_page(
    known: Mapping[str, BoardRecord], going: list[RollOut], wished: Mapping[str, str], now_s: float
) -> str:
    """The fleet as a page."""
    rows = "".join(_page_row(row_of(record, now_s)) for record in known.values())
    told = "".join(
        f"<p{' class=bad' if one.fails else ''}>{html.escape(_sentence(one))}</p>" for one in going
    ) + "".join(f"<p class=bad>{html.escape(f'{name}: {why}')}</p>" for name, why in wished.items())
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="30">'
        f"<title>PersLM fleet</title><style>{_STYLE}</style><h1>{len(known)} boards</h1>"
        f"<p>{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now_s))}, from {os.uname().nodename}</p>{told}"
        "<table><tr><th>board<th>profile<th>version<th>model<th>seen<th>answers<th>trials<th>state</tr>"
        f"{rows}</table></html>\n"
    )


def _page_row(one: Row) -> str:
    model = one.model + (f" (on probation: {one.probation})" if one.probation else "")
    answers = "" if one.latency_ms is None else f"{one.latency_ms:.0f} ms"
    cells = (one.name, one.profile, one.version, model, one.seen, answers)
    state = "<br>".join(map(html.escape, one.problems)) or "well"
    trials = "<br>".join(map(html.escape, one.trials))
    told = "".join(f"<td>{html.escape(cell)}" for cell in cells)
    return f"<tr>{told}<td>{trials}<td{' class=bad' if one.problems else ''}>{state}</tr>"


def _sentence(one: RollOut) -> str:
    staged = f"to {one.percent} %" if one.percent else "stopped: to nobody new"
    failed = f", {len(one.failed)} could not use it" if one.failed else ""
    return f"{one.name} on {one.channel}, {staged}: {len(one.well)} use it, {len(one.kept)} kept it{failed}"


def _trial(name: str, told: Mapping[str, Any]) -> str:
    speed = f", {told['tokens_per_s']:.0f} tokens/s" if told.get("tokens_per_s") else ""
    return f"{name}: {told.get('right')} of {told.get('asked')} right{speed}, {told.get('memory_mb')} MB"
