"""`make stress`: the tests that repeat, many rounds; the report of the last run is kept beside the benchmarks."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from perslm_build import locks
from perslm_build.environment import Environment

REPORT = locks.ROOT / "benchmarks" / "results" / "stress.json"
_LIMIT_S = "3600"  # a test of 100 rounds may take what ten of 10 rounds take


def report(junit: str, rounds: int, began: str) -> dict[str, Any]:
    """What pytest's JUnit file says, as the kept report: counts, and each test with its outcome and seconds."""
    cases = [
        {
            "name": f"{case.get('classname')}.{case.get('name')}",
            "seconds": round(float(case.get("time", "0")), 1),
            "outcome": _outcome(case),
            "why": (_reason(case) or "").splitlines()[:3],
        }
        for case in ET.fromstring(junit).iter("testcase")  # noqa: S314 - the file is our own pytest's
    ]
    outcomes = [str(case["outcome"]) for case in cases]
    counts = {name: outcomes.count(name) for name in ("passed", "failed", "skipped")}
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    return {"began": began, "rounds": rounds, "machine": machine, **counts, "tests": cases}


def joined(new: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The new report with what the one `before` says of tests that did not run now; each says of which run."""
    run = {str(case["name"]) for case in new["tests"]}
    kept = [
        {"began": before["began"], "rounds": before["rounds"], **case}
        for case in before["tests"]
        if case["name"] not in run
    ]
    tests = [*({"began": new["began"], "rounds": new["rounds"], **case} for case in new["tests"]), *kept]
    outcomes = [case["outcome"] for case in tests]
    return {**new, **{name: outcomes.count(name) for name in ("passed", "failed", "skipped")}, "tests": tests}


def _outcome(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def _reason(case: ET.Element) -> str | None:
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            return found.get("message")
    return None


def run(env: Environment, arguments: Sequence[str]) -> int:
    """Run the tests marked `stress` and write the report. Returns pytest's exit status."""
    junit = locks.ROOT / ".cache" / "stress.xml"
    junit.parent.mkdir(exist_ok=True)
    junit.unlink(missing_ok=True)
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    argv: list[str | Path] = [
        env.program("pytest"),
        "-m",
        "stress",
        f"--timeout={_LIMIT_S}",
        f"--junit-xml={junit}",
        *arguments,
    ]
    status = subprocess.run(argv, cwd=locks.ROOT, check=False).returncode
    if junit.is_file():
        new = report(junit.read_text(encoding="utf-8"), int(os.environ["PERSLM_STRESS_ROUNDS"]), began)
        if arguments and REPORT.is_file():  # some of the tests: the others' last run stays
            new = joined(new, json.loads(REPORT.read_text(encoding="utf-8")))
        _write(new, REPORT)
    return status


def _write(facts: dict[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(
        f"{facts['passed']} passed, {facts['failed']} failed, {facts['skipped']} skipped "
        f"in {facts['rounds']} rounds: {target}"
    )
