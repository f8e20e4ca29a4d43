"""What time it is, as far as this machine knows: running time, wall time, and whether the wall time can be
believed.

A board without a battery starts with the time it saved when it went off, so a plausible date proves nothing there.
A clock before 2025 is never believed. On a board (it has a device tree) a later one is believed once the kernel
says that it is synchronized (adjtimex; timesyncd and chrony tell it), where a battery-backed clock agreed at the
start, or when somebody set it while we ran. Elsewhere firmware or the hypervisor gives the time, and it is
believed.
"""

from __future__ import annotations

import ctypes
import os
import time
from datetime import tzinfo
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_PLAUSIBLE_S = 1_735_689_600  # 2025-01-01, as in the memory: an unset board boots in 1970 or at its image's date
_TIME_ERROR = 5  # adjtimex: the clock is not synchronized
_TIMEX_BYTES = 512  # of struct timex, 208 on 64 bits: room for the future
_JUMP_S = 60.0
_BOARD = Path("/proc/device-tree/model")
_BATTERY_CLOCK = Path("/sys/class/rtc/rtc0/since_epoch")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """The clocks of a machine."""

    boot_id: str
    """Another one after every start of the machine."""

    def boot_s(self) -> float:
        """Seconds since the machine started, sleep included; never set back or forward."""

    def wall_s(self) -> float:
        """Unix time; anything at all where it is not `known`."""

    def known(self) -> bool:
        """Whether `wall_s` can be believed."""


class SystemClock:
    """This machine's clocks. Making one reads a few small files; its methods read none.

    `trusted`: believe any plausible wall time, for a board without network that somebody sets by hand.
    """

    def __init__(self, *, trusted: bool = False, board: Path = _BOARD, battery: Path = _BATTERY_CLOCK) -> None:
        self.boot_id = _boot_id()
        self._believed = trusted or not board.exists() or _agrees(battery, time.time())
        self._offset_s = self.wall_s() - self.boot_s()
        self._libc = ctypes.CDLL(None)

    def boot_s(self) -> float:
        """CLOCK_BOOTTIME."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Unix time."""
        return time.time()

    def known(self) -> bool:
        """As the module says; once believed on proof, it stays so."""
        if self.wall_s() < _PLAUSIBLE_S:
            return False
        if not self._believed:
            set_by_someone = self.wall_s() - self.boot_s() - self._offset_s > _JUMP_S
            self._believed = set_by_someone or self._synchronized()
        return self._believed

    def _synchronized(self) -> bool:
        timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: only read
        state = int(self._libc.adjtimex(timex))
        return 0 <= state < _TIME_ERROR


def clocks(trusted: bool) -> tuple[SystemClock, tzinfo]:
    """This machine's clocks and time zone. Reads files."""
    return SystemClock(trusted=trusted), local_zone()


def _agrees(battery: Path, wall_s: float) -> bool:
    """Whether there is a battery-backed clock that has kept the time: a Pi 5 without a battery shows 1970."""
    try:
        kept = float(battery.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return False
    return kept >= _PLAUSIBLE_S and abs(kept - wall_s) < _JUMP_S


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:  # no Linux: every start of the process counts as a start of the machine
        return f"process-{os.getpid()}-{time.time():.0f}"


def local_zone() -> tzinfo:
    """The time zone of this machine, with its rules for summer time. Reads a file; UTC where there is none."""
    name = os.environ.get("TZ", "").lstrip(":")
    if name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            pass  # "EST5EDT,M3.2.0,…" and the like: what the system has in its file then
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    except (OSError, ValueError):
        return ZoneInfo("UTC")
