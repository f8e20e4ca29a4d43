"""The machine this runs on: cores, memory, processor features, and which board profile fits it.

Reads /proc and /sys only; runs nothing and imports nothing heavy, because configuration needs it at every start.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

# More threads than this make a small model slower, not faster: decoding is bound by memory, not by cores.
_MOST_USEFUL_CORES = 4


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides the board profile. `board` is the device tree's own name for the board, or None."""

    board: str | None
    architecture: str
    ram_mb: int


def this_machine(root: Path = Path("/")) -> Machine:
    """Look at the machine; `root` is where its /proc is found (a copy of one, in tests)."""
    try:
        board = (root / "proc/device-tree/model").read_text(errors="replace").rstrip("\0\n ") or None
    except OSError:
        board = None
    return Machine(board, platform.machine(), ram_mb(root))


def ram_mb(root: Path = Path("/")) -> int:
    """Return the memory the kernel manages, in MB of 1,000,000 bytes; 0 when it does not say."""
    return memory_line_mb("MemTotal", root)


def memory_line_mb(name: str, root: Path = Path("/")) -> int:
    """Return one line of /proc/meminfo (`MemTotal`, `MemAvailable`) in MB of 1,000,000 bytes, or 0."""
    try:
        text = (root / "proc/meminfo").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 // 1_000_000 if found else 0


def memory_room_mb(root: Path = Path("/")) -> int:
    """Return the memory in MB that this process may still take, 0 where the kernel does not say.

    That is what the machine has left (`MemAvailable`), or less where a service's limit (MemoryHigh, MemoryMax) is
    nearer: pages of files that nobody used lately count as room, those of a model in use do not.
    """
    rooms = [memory_line_mb("MemAvailable", root)]
    group = root / "sys/fs/cgroup" / _cgroup(root)
    used = _number(group / "memory.current")
    if used is not None:
        found = re.search(r"^inactive_file (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
        idle = int(found[1]) if found else 0
        limits = (_number(group / "memory.high"), _number(group / "memory.max"))
        rooms += [max(0, limit - used + idle) // 1_000_000 for limit in limits if limit is not None]
    return min(rooms)


def _cgroup(root: Path) -> str:
    """The control group of this process below /sys/fs/cgroup; "" where it is the root's, or there is none."""
    found = re.search(r"^0::/(.*)$", _text(root / "proc/self/cgroup"), re.MULTILINE)
    return found[1] if found else ""


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """Return the threads an engine gets where no profile says otherwise: the usable cores, at most four."""
    return min(usable_cores(), _MOST_USEFUL_CORES)


def profile_of(machine: Machine) -> str:
    """Name the board profile that fits: the board's own where it is known, by memory, otherwise a general one.

    Boards with little memory get the profile whose budget they can carry, whatever their processor.
    """
    board = machine.board or ""
    if machine.architecture not in {"aarch64", "arm64"}:
        return "dev"
    if "Raspberry Pi" not in board:
        return "generic-arm64"
    if machine.ram_mb < 1_500:  # Zero 2 W and Pi 3: 512 MB and 1 GB
        return "zero2w"
    if machine.ram_mb < 3_000:  # the 2 GB versions of Pi 4, Compute Module 4 and Pi 5
        return "pi4-2gb"
    if re.search(r"Raspberry Pi (5|500)\b|Compute Module 5", board):
        return "pi5"
    return "pi4"


def sound_outputs(root: Path = Path("/")) -> list[str]:
    """Name what can be played on: the sound server that runs, and the sound cards."""
    runtime = root / (os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}").lstrip("/")
    found = [name for name, socket in (("PipeWire", "pipewire-0"), ("PulseAudio", "pulse/native"))
             if (runtime / socket).exists()]  # fmt: skip
    server = os.environ.get("PULSE_SERVER", "")
    if server.startswith("unix:") and (root / server[5:].lstrip("/")).exists() and "PulseAudio" not in found:
        found.append("PulseAudio")
    try:
        cards = (root / "proc/asound/cards").read_text()
    except OSError:
        return found
    return [*found, *re.findall(r"^\s*\d+ \[.*?\]: (.+)$", cards, re.MULTILINE)]


def sound_traces() -> tuple[object, ...]:
    """What changes when a sound card or a sound server comes or goes; cheap enough to look at every second."""
    server = os.environ.get("PULSE_SERVER", "").removeprefix("unix:")
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    found: list[object] = []
    for path in (Path(server or "/"), runtime / "pulse/native", runtime / "pipewire-0", Path("/dev/snd")):
        try:
            status = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_mtime_ns))
    return tuple(found)


def cpu_features(root: Path = Path("/")) -> frozenset[str]:
    """Return the processor's features by the kernel's names (`avx2`, `asimddp`); empty where it does not say."""
    try:
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def cpu_model(root: Path = Path("/")) -> str:
    """Return the processor's name as the kernel gives it, or the architecture."""
    try:
        text = (root / "proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def busy_cores() -> float:
    """Return how many cores other work has kept busy over the last minute (the load average)."""
    return os.getloadavg()[0]


def processor_times(root: Path = Path("/")) -> tuple[int, int]:
    """(idle, all) time of all cores since the start, in ticks; zeros where the kernel does not say."""
    try:
        line = (root / "proc/stat").read_text().partition("\n")[0].split()[1:9]
    except OSError:
        return 0, 0
    ticks = [int(one) for one in line]
    return sum(ticks[3:5]), sum(ticks)
