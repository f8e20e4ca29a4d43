"""A machine's clocks as a test sets them: clocks are hardware."""

from __future__ import annotations

from datetime import datetime


class SetClock:
    """Runs only when it is told to; `known` says whether the wall time is believed."""

    def __init__(self, wall: str = "2026-11-27T20:00:00+00:00", *, known: bool = True) -> None:
        self.boot_id = "start-1"
        self._boot_s = 1000.0
        self._wall_s = datetime.fromisoformat(wall).timestamp()
        self._known = known

    def boot_s(self) -> float:
        return self._boot_s

    def wall_s(self) -> float:
        return self._wall_s

    def known(self) -> bool:
        return self._known

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._boot_s += seconds
        self._wall_s += seconds

    def set_to(self, wall: str) -> None:
        """Somebody, or a time server, sets the wall clock."""
        self._wall_s = datetime.fromisoformat(wall).timestamp()
        self._known = True

    def power_cut(self, off_s: float, *, known: bool = True) -> None:
        """Off for a while; without `known` the clock stands where it stood, as on a board without a battery."""
        self.boot_id = f"{self.boot_id}+"
        self._boot_s = 20.0
        self._wall_s += off_s if known else 5.0
        self._known = known
