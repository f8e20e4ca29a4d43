"""`perslm doctor`: the checks of doctor.py, printed as they come, or packed with more for whoever helps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.terminal import put, put_json


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    *,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Write a file for whoever helps: figures and states, nothing private.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--to", help="With --bundle: the file (perslm-support-….tar.gz).")
    ] = None,
) -> None:
    """Check processor, memory, disk, models, sound, broker, time; say what to do. Exit code 1 if a check fails."""
    from perslm_daemon.doctor import examine
    from perslm_daemon.findings import Verdict

    session = session_of(context)
    if bundle or to is not None:
        _bundle(session, to)
        return
    findings = []
    for finding in examine(session.config):
        findings.append(finding)
        if not session.json:
            put(f"{finding.verdict.value:<5} {finding.name}: {finding.found}")
            if finding.advice:
                put(f"      -> {finding.advice}")
    failed = sum(finding.verdict is Verdict.FAIL for finding in findings)
    if session.json:
        checks = [
            {"name": f.name, "verdict": f.verdict.value, "found": f.found, "advice": f.advice} for f in findings
        ]
        put_json({"ok": not failed, "checks": checks})
    elif failed:
        put(f"{failed} of {len(findings)} checks failed")
    if failed:
        raise typer.Exit(1)


def _bundle(session: Session, to: Path | None) -> None:
    from perslm_daemon.support import write

    file = write(session.config, to or Path(time.strftime("perslm-support-%Y%m%d-%H%M%S.tar.gz")))
    if session.json:
        put_json({"file": str(file)})
        return
    put(f"{file}: what is in it stands in its README.txt. Look before you send it.")
