"""`perslm doctor`: the checks of doctor.py, printed as they come."""

from __future__ import annotations

import typer

from perslm_daemon.cli_session import session_of
from perslm_daemon.terminal import put, put_json


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""
    app.command()(doctor)


def doctor(context: typer.Context) -> None:
    """Check processor, memory, disk, models, sound, broker, time; say what to do. Exit code 1 if a check fails."""
    from perslm_daemon.doctor import Verdict, examine

    session = session_of(context)
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
