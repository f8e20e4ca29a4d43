"""How the daemon and its board are: the watchdog's proof, the figures of `health`, and when to spare the board.

Watches lanes and the board, and knows no transport: figures go on the bulletin, a warning is an event of it, and
the sign of life goes to whoever was handed in (systemd's watchdog). Heat and memory pressure pause background work
through `Pressure`; the turn that somebody waits for goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from perslm_daemon.board_state import BoardState, board_state
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Health as Wanted
from perslm_daemon.process import resident_bytes, thread_count
from perslm_runtime.heap import give_back_free_pages
from perslm_runtime.lane import Lane

log = logging.getLogger("perslm.health")

_COOLER_C = 5.0  # below the limit by this much, background work goes on: no flutter around one degree
_EASED = 0.5  # of the limit, for memory pressure


class Pressure:
    """Whether the board should be spared: what can wait asks `reason` before it begins, or awaits `relief`."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self._eased = anyio.Event()
        self._eased.set()
        self._changed = anyio.Event()

    @property
    def reason(self) -> str | None:
        """Why background work pauses, as a sentence, or None when it may go on."""
        return "; ".join(self.reasons.values()) or None

    async def relief(self) -> None:
        """Return when background work may go on; at once where nothing presses."""
        await self._eased.wait()

    async def until(self, kind: str, *, pressing: bool) -> None:
        """Return when `kind` ("memory", "temperature") presses, or does so no more; at once where it is so."""
        while (kind in self.reasons) is not pressing:
            await self._changed.wait()

    def judge(self, kind: str, value: float | None, limit: float, ease: float, sentence: str) -> str | None:
        """Take a measurement into account: from `limit` on it presses, below `ease` no more.

        Returns the sentence when it begins to press, else None. Not measurable is not pressing.
        """
        pressing = kind in self.reasons
        if value is not None and value >= (ease if pressing else limit):
            self.reasons[kind] = sentence
            self._tell_change(changed=not pressing)
            if self._eased.is_set():
                self._eased = anyio.Event()
            return None if pressing else sentence
        self.reasons.pop(kind, None)
        self._tell_change(changed=pressing)
        if not self.reasons:
            self._eased.set()
        return None

    def _tell_change(self, *, changed: bool) -> None:
        if changed:
            self._changed.set()
            self._changed = anyio.Event()


@dataclass(frozen=True, slots=True)
class Figures:
    """One report. Memory in bytes, times in seconds; `cpu_percent` is of one core since the last report."""

    uptime_s: float
    rss_bytes: int
    threads: int
    cpu_percent: float
    cpu_seconds: float
    board: BoardState
    stalled: tuple[str, ...]
    pressure: str | None

    def as_fields(self) -> dict[str, Any]:
        """The value of `health` on the bulletin: what people and dashboards read."""
        board = self.board
        return {
            "ok": not self.stalled and self.pressure is None,
            "uptime_s": round(self.uptime_s),
            "rss_mb": round(self.rss_bytes / 1e6, 1),
            "threads": self.threads,
            "cpu_percent": round(self.cpu_percent, 1),
            "load": round(board.load, 2),
            "memory_available_mb": board.memory_available_mb,
            "memory_pressure_percent": board.memory_pressure_percent,
            "temperature_c": board.temperature_c,
            "throttled": list(board.throttled),
            "stalled": list(self.stalled),
            "pressure": self.pressure,
        }


class Health:
    """Watches the daemon; `run` it beside everything else.

    `lanes` gives the engines in use now, `beat` is told every third of `beat_s` seconds while the event loop and
    every busy engine make progress, and not otherwise. `root` is where the board's /proc and /sys are found.
    """

    def __init__(
        self,
        wanted: Wanted,
        bulletin: Bulletin,
        lanes: Callable[[], Sequence[Lane[Any]]],
        *,
        beat: Callable[[], None] | None = None,
        beat_s: float | None = None,
        root: Path = Path("/"),
    ) -> None:
        self.pressure = Pressure()
        self._wanted, self._bulletin, self._lanes, self._root = wanted, bulletin, lanes, root
        self._beat, self._beat_s = beat, beat_s
        self._began = time.monotonic()
        self._last = (self._began, time.process_time())
        self._figures: Figures | None = None
        self._silent: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self._beat is not None and self._beat_s is not None:
                tasks.start_soon(self._beats, self._beat, self._beat_s / 3)
            while True:
                await self.report()
                await anyio.sleep(self._wanted.interval_s)

    def stalled(self) -> tuple[str, ...]:
        """Names of the engines that have worked for `health.stall_s` without a sign of life."""
        return tuple(lane.name for lane in self._lanes() if lane.silent_s > self._wanted.stall_s)

    async def report(self) -> Figures:
        """Measure, warn of what is new, and post `health`."""
        figures = self._figures = await self.figures()
        self._bulletin.post("health", {**figures.as_fields(), **self._sound(figures)})
        return figures

    def _sound(self, figures: Figures) -> dict[str, Any]:
        """What the sound card says of itself, where there is one: a board that cannot be heard is not well."""
        said = self._bulletin.current().get("sound")
        if said is None:
            return {}
        problem = said["problem"]
        return {"ok": problem is None and figures.as_fields()["ok"], "sound": problem or "ok"}

    async def figures(self) -> Figures:
        """Measure, and judge what presses; where nobody computes, free memory goes back first.

        The files of /proc are read in a thread: the loop never waits.
        """
        board = await anyio.to_thread.run_sync(board_state, self._root)
        if all(lane.busy_since is None for lane in self._lanes()):
            await anyio.to_thread.run_sync(give_back_free_pages)
        rss, threads = await anyio.to_thread.run_sync(_own_cost)
        now, used = time.monotonic(), time.process_time()
        (before, used_before), self._last = self._last, (now, used)
        self._judge(board)
        return Figures(
            uptime_s=now - self._began,
            rss_bytes=rss,
            threads=threads,
            cpu_percent=100 * (used - used_before) / max(now - before, 0.001),
            cpu_seconds=used,
            board=board,
            stalled=self.stalled(),
            pressure=self.pressure.reason,
        )

    def metrics(self) -> str:
        """The last report as Prometheus reads it; what this board cannot measure is left out."""
        figures = self._figures
        if figures is None:
            return ""
        board = figures.board
        rows: list[tuple[str, str, str, float | int | None]] = [
            ("perslm_uptime_seconds", "gauge", "Time since the daemon started.", figures.uptime_s),
            ("perslm_resident_memory_bytes", "gauge", "Memory of the daemon that is in RAM.", figures.rss_bytes),
            ("perslm_threads", "gauge", "Threads of the daemon, native ones included.", figures.threads),
            ("perslm_cpu_seconds_total", "counter", "Processor time the daemon used.", figures.cpu_seconds),
            ("perslm_board_load1", "gauge", "Load of the board, mean of a minute.", board.load),
            (
                "perslm_board_memory_available_bytes",
                "gauge",
                "Memory that can be had without swapping.",
                board.memory_available_mb * 1_000_000 or None,
            ),
            (
                "perslm_board_memory_pressure_ratio",
                "gauge",
                "Part of the last ten seconds in which something waited for memory.",
                None if board.memory_pressure_percent is None else board.memory_pressure_percent / 100,
            ),
            ("perslm_board_temperature_celsius", "gauge", "The hottest sensor.", board.temperature_c),
            (
                "perslm_board_throttled",
                "gauge",
                "1 while the board slows itself down.",
                int(bool(board.throttled)),
            ),
            ("perslm_pressure", "gauge", "1 while background work pauses.", int(figures.pressure is not None)),
            ("perslm_engines_stalled", "gauge", "Engines without a sign of life.", len(figures.stalled)),
        ]
        lines = [
            f"# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {value}"
            for name, kind, what, value in rows
            if value is not None
        ]
        lines.append("# HELP perslm_engine_busy 1 while the engine works.\n# TYPE perslm_engine_busy gauge")
        lines += [
            f'perslm_engine_busy{{engine="{lane.name}"}} {int(lane.busy_since is not None)}'
            for lane in self._lanes()
        ]
        return "\n".join(lines) + "\n"

    async def _beats(self, beat: Callable[[], None], every_s: float) -> None:
        """Give the sign of life: that this task runs is the loop's progress, the lanes tell their own."""
        while True:
            silent = frozenset(self.stalled())
            for name in silent - self._silent:
                self._warn(
                    "stalled", f"the {name} engine has given no sign of life for {self._wanted.stall_s:g} s"
                )
            self._silent = silent
            if not silent:
                beat()
            await anyio.sleep(every_s)

    def _judge(self, board: BoardState) -> None:
        hot, short = self._wanted.hot_c, self._wanted.memory_pressure
        for kind, begun in (
            (
                "temperature",
                self.pressure.judge(
                    "temperature",
                    board.temperature_c,
                    hot,
                    hot - _COOLER_C,
                    f"the board is hot ({board.temperature_c} °C, limit {hot:g}): background work pauses",
                ),
            ),
            (
                "memory",
                self.pressure.judge(
                    "memory",
                    board.memory_pressure_percent,
                    short,
                    short * _EASED,
                    f"memory is short ({board.memory_pressure_percent} % of the time something waits for it): "
                    "background work pauses",
                ),
            ),
        ):
            if begun is not None:
                self._warn(kind, begun)

    def _warn(self, what: str, sentence: str) -> None:
        log.warning("warned what=%s", what)
        self._bulletin.tell("warning", what=what, text=sentence)


def _own_cost() -> tuple[int, int]:
    return resident_bytes(), thread_count()
