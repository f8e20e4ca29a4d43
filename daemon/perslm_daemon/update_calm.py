"""Whether a board can spare the power and the heat that an update takes: on mains, and cool. Reads /sys.

A look at the host costs next to nothing and is never held up; bringing 100 MB and loading a second model is.
"""

from __future__ import annotations

from pathlib import Path

from perslm_daemon.board_state import on_battery, temperature_c, throttled
from perslm_daemon.config_sync import Sync

_COOLER_C = 5.0  # below the limit by this much it goes on: no flutter around one degree


class Calm:
    """What speaks against an update now. `root` is where the board's /sys is found."""

    def __init__(self, wanted: Sync, root: Path = Path("/")) -> None:
        self._wanted, self._root = wanted, root
        self._was_hot = False

    def reason(self) -> str:
        """Why updates wait, as a sentence; "" where nothing speaks against one. Blocks on a few small files."""
        found = []
        if self._wanted.mains_only and (battery := on_battery(self._root)):
            found.append(f"the board runs on its battery ({battery})")
        slowed = throttled(self._root)
        if "under-voltage" in slowed:
            found.append("the board's supply is too weak (under-voltage)")
        limit = self._wanted.hot_c - (_COOLER_C if self._was_hot else 0.0)
        heat = temperature_c(self._root)
        self._was_hot = heat is not None and heat >= limit
        if self._was_hot or "temperature limit" in slowed:
            found.append(f"the board is hot ({heat} °C, limit {self._wanted.hot_c:g})")
        return " and ".join(found)
