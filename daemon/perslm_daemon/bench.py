"""`perslm bench`: how fast and how small, each figure beside its reference measured in the same run.

A benchmark returns rows; this module runs it, prints it and keeps its JSON. Machines are shared and noisy, so
what is to be compared is the ratio, and both sides of it are the best of alternating rounds.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from perslm_daemon.bench_row import Row
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.terminal import note, put, put_json, put_table
from perslm_runtime import __version__
from perslm_runtime.errors import InputError

Benchmark = Callable[[Session], list[Row]]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Which benchmark; all when left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the JSON here instead of in the data folder.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="`memory`: dialogues in LoCoMo's JSON form instead of our own.")
    ] = None,
) -> None:
    """Measure speed and memory beside a reference; run it alone on an idle machine."""
    session = session_of(context)
    known = benchmarks(data)
    if name is not None and name not in known:
        raise InputError(f"there is no benchmark {name!r}: choose one of {', '.join(known)}")
    chosen = [name] if name else list(known)
    rows: list[Row] = []
    for one in chosen:
        note(f"measuring {one} ...")
        rows += known[one](session)
    result: dict[str, object] = {"machine": _machine(session), "rows": [_as_json(row) for row in rows]}
    kept = _keep(result, out or session.config.data_dir / "bench" / f"{name or 'all'}.json")
    if session.json:
        put_json(result)
        return
    _put_rows(rows)
    note(f"kept in {kept}")


def benchmarks(data: Path | None = None) -> dict[str, Benchmark]:
    """All benchmarks by name; `data` is for `memory`."""
    from perslm_daemon import (  # noqa: PLC0415 - engines
        bench_answers,
        bench_grammar,
        bench_home,
        bench_http,
        bench_listen,
        bench_memory,
        bench_model,
        bench_mqtt,
        bench_process,
        bench_turn,
        bench_voice,
    )

    return {
        "raw": bench_model.raw,
        "snapshot": bench_model.snapshot,
        "grammar": bench_grammar.grammar,
        "turn": bench_turn.turn,
        "mqtt": bench_mqtt.mqtt,
        "http": bench_http.http_port,
        "voice": bench_voice.voice,
        "listen": bench_listen.listen,
        "home": bench_home.home,
        "memory": partial(bench_memory.memory, data=data),
        "memory-million": bench_memory.million,
        "memory-answers": bench_answers.answers,
        "footprint": bench_process.footprint,
        "import": bench_process.import_time,
        "boards": bench_process.boards,
    }


def _as_json(row: Row) -> dict[str, object]:
    ratio = None if row.ratio is None else round(row.ratio, 4)
    figures = {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(row).items()}
    return {
        "name": figures["name"],
        "unit": figures["unit"],
        "ours": figures["ours"],
        "reference": figures["reference"],
        "ratio": ratio,
        "what_reference_is": figures["what_reference_is"],
    }


def _machine(session: Session) -> dict[str, object]:
    from perslm_daemon.machine import this_machine, usable_cores  # noqa: PLC0415 - only here
    from perslm_daemon.process import idle_cores  # noqa: PLC0415 - psutil

    machine = this_machine()
    return {
        "architecture": machine.architecture,
        "board": machine.board,
        "ram_mb": machine.ram_mb,
        "cores": usable_cores(),
        "idle_cores": round(idle_cores(), 1),
        "python": platform.python_version(),
        "perslm": __version__,
        "profile": session.config.profile,
        "model": session.config.model.id,
        "threads": session.config.model.threads,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _put_rows(rows: list[Row]) -> None:
    table = [
        [
            row.name,
            f"{row.ours:,.2f}",
            "" if row.reference is None else f"{row.reference:,.2f}",
            row.unit,
            "" if row.ratio is None else f"{row.ratio:.3f}",
            row.what_reference_is,
        ]
        for row in rows
    ]
    put_table(["what", "ours", "reference", "unit", "ratio", "what the reference is"], table)
    put()


def _keep(result: dict[str, object], target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"the result could not be kept in {target} ({error.strerror}): use --out") from error
    return target
