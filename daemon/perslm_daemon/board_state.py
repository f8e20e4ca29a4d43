"""How the board is right now: load, memory, heat, throttling. Reads /proc and /sys, nothing else.

What a kernel does not tell is None or empty, never an error: sensors and pressure files differ between boards.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.machine import memory_line_mb

# Bits of the Raspberry Pi firmware's word that hold now (those from 16 on say "since the start").
_THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "temperature limit"}


@dataclass(frozen=True, slots=True)
class BoardState:
    """One look at the board. 1 MB is 10^6 bytes; pressure is the mean of ten seconds (`some avg10`)."""

    load: float
    memory_available_mb: int
    memory_pressure_percent: float | None
    temperature_c: float | None
    throttled: tuple[str, ...]


def board_state(root: Path = Path("/")) -> BoardState:
    """Look at the board; `root` is where its /proc and /sys are found (a copy of them, in tests)."""
    return BoardState(
        load=os.getloadavg()[0],
        memory_available_mb=memory_line_mb("MemAvailable", root),
        memory_pressure_percent=memory_pressure_percent(root),
        temperature_c=temperature_c(root),
        throttled=throttled(root),
    )


def temperature_c(root: Path = Path("/")) -> float | None:
    """The hottest thermal zone in degrees Celsius; None where there is none that can be read."""
    found: list[float] = []
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*/temp")):
        text = _text(zone)
        if re.fullmatch(r"-?\d+", text):
            found.append(int(text) / 1000)
    return max(found, default=None)


def memory_pressure_percent(root: Path = Path("/")) -> float | None:
    """Percent of the last ten seconds in which some task waited for memory; None without pressure information.

    Raspberry Pi OS needs `psi=1` on the kernel's command line for it.
    """
    found = re.search(r"^some avg10=([0-9.]+)", _text(root / "proc/pressure/memory"), re.MULTILINE)
    return float(found[1]) if found else None


def throttled(root: Path = Path("/")) -> tuple[str, ...]:
    """How the firmware of a Raspberry Pi slows the board down now; empty when it does not, or does not say."""
    for file in (root / "sys/devices/platform/soc").glob("soc:firmware/get_throttled"):
        text = _text(file)
        if re.fullmatch(r"(0x)?[0-9a-fA-F]+", text):
            word = int(text, 16)
            return tuple(name for bit, name in _THROTTLED.items() if word >> bit & 1)
    return ()


def on_battery(root: Path = Path("/")) -> str:
    """What the board's battery says of itself while nothing else feeds the board ("64 %"); "" on mains.

    A board without a battery is on mains. Batteries of mice and keyboards (`scope` Device) feed no board.
    """
    charge = ""
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        kind = _text(supply / "type")
        if kind in ("Mains", "USB", "Wireless") and _text(supply / "online") == "1":
            return ""
        ours = kind in ("Battery", "UPS") and _text(supply / "scope") != "Device"
        if ours and _text(supply / "status") == "Discharging":
            charge = f"{_text(supply / 'capacity') or '?'} %"
    return charge


def _text(file: Path) -> str:
    """A small file's text; "" where it cannot be read (a sensor that is asleep answers with an error)."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
