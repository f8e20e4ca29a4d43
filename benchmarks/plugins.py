"""What plug-ins cost: starting one, a call, its memory; beside a bare Python that imports the same.

`python benchmarks/plugins.py [RESULT.json]`. Needs the extras `connectors` and `mcp`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perslm_daemon import plugin_wire as wire
from perslm_daemon.plugin_mcp import MCP_PROGRAM, mcp_settings
from perslm_daemon.plugin_process import PluginProcess, Spec
from perslm_daemon.process import private_bytes
from perslm_runtime.lane import Stop

ROUNDS, CALLS = 7, 300
EMPTY = """
from perslm_runtime.plugin import Plugin, Tool
plugin = Plugin("empty", "does nothing", tools=(Tool("nothing", "does nothing", lambda context: "nothing"),))
"""
EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART:20260101T120000Z\r\nDTEND:20260101T130000Z\r\nRRULE:FREQ=DAILY\r\nSUMMARY:Lunch\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


def measured(spec: Spec, call: wire.Call, imports: str) -> dict[str, Any]:
    """Milliseconds to start (median) and of a call (median, 99th), its own memory in MB; and the bare import."""
    starts, calls, held = [], [], 0
    for _ in range(ROUNDS):
        process = PluginProcess(spec)
        began = time.perf_counter()
        process.shape(Stop())
        starts.append((time.perf_counter() - began) * 1000)
        if len(starts) == ROUNDS:
            process.ask(Stop(), call, wire.Answered, 30)
            for _ in range(CALLS):
                began = time.perf_counter()
                process.ask(Stop(), call, wire.Answered, 30)
                calls.append((time.perf_counter() - began) * 1000)
            held = private_bytes(process.pid)
        process.close()
    calls.sort()
    return {
        "start_ms": round(statistics.median(starts), 1),
        "bare_python_with_the_same_import_ms": round(statistics.median(_timed(lambda: _bare(imports))), 1),
        "call_ms_p50": round(calls[len(calls) // 2], 2),
        "call_ms_p99": round(calls[int(len(calls) * 0.99)], 2),
        "memory_mb": round(held / 1e6, 1),
    }


def _timed(work: Callable[[], None]) -> list[float]:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return took


def _bare(imports: str) -> None:
    subprocess.run([sys.executable, "-P", "-c", imports], check=True)


def main() -> None:
    """Measure, print, and keep where a file is named."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty_plugin.py").write_text(EMPTY)
        (folder / "lunch.ics").write_text(EVENT)
        paths = tuple(path for path in [str(folder), *sys.path] if path)
        now_s = time.time()
        settings = {
            "url": None, "user": None, "password": None, "calendar": None, "only": (), "ics": (),
            "files": (str(folder / "lunch.ics"),), "minutes": 60, "remind_minutes": 10,
        }  # fmt: skip
        calendar = "perslm_daemon.connectors.calendar:plugin"
        server = Path(__file__).parents[1] / "tests" / "mcp_server.py"
        readable = [
            str(Path(path).resolve()) for path in [*paths, sys.prefix, sys.base_prefix] if Path(path).is_dir()
        ]
        table = {
            "command": [sys.executable, str(server)],
            "reads": ["list_notes"],
            "readable": readable,
            "env": {"PYTHONPATH": os.pathsep.join(paths)},
        }
        notes = mcp_settings("notes", table, folder).for_child()
        results = {
            "empty plug-in": measured(
                Spec("empty", "perslm.tools", "empty_plugin:plugin", folder / "empty", paths=paths),
                wire.Call("nothing", {}, now_s),
                "import perslm_runtime.plugin, msgspec",
            ),
            "calendar (.ics)": measured(
                Spec("calendar", "perslm.connectors", calendar, folder / "calendar", settings=settings,
                     readable=settings["files"], memory_mb=384, paths=paths),
                wire.Call("events", {"span": "today"}, now_s),
                "import perslm_runtime.plugin, msgspec, icalendar, recurring_ical_events",
            ),
            "MCP server (program, with its own process)": measured(
                Spec("notes", "mcp", "notes", folder / "notes", settings=notes, memory_mb=384, paths=paths,
                     program=MCP_PROGRAM),
                wire.Call("list_notes", {}, now_s),
                "import mcp",
            ),
        }  # fmt: skip
    text = json.dumps({"rounds": ROUNDS, "calls": CALLS, "results": results}, indent=1)
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
