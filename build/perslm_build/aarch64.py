"""Whether the board's lock really installs on a 64-bit ARM board, found out without one and without installing.

pip chooses files for another machine when it is told its platform tags, but evaluates the markers of a lock for
the machine it runs on. So the markers are evaluated here, for the board, and pip gets only the lines that apply.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from perslm_build import locks
from perslm_build.terminal import SetupError, step

RECORD = locks.FOLDER / "aarch64.json"
PYTHONS = ("3.11", "3.13")  # Debian 12 and Debian 13, and Raspberry Pi OS made from them
# Projects without wheels, built on the board; PyAudio and systemd-python come with the sound card and the unit.
SOURCES_ALLOWED = frozenset({"llama-cpp-python", "pyaudio", "systemd-python", "srt"})
_NEWEST_GLIBC_MINOR = 36  # Debian 12; Debian 13 has 2.41, so what fits here fits there
_PLATFORMS = (
    *(f"manylinux_2_{minor}" for minor in range(_NEWEST_GLIBC_MINOR, 16, -1)),
    "manylinux2014",
    "linux",
)


def marker_environment(python: str, machine: str = "aarch64") -> dict[str, str]:
    """What a board of today says to a marker, under Python `python` ("3.13")."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "6.12",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }


_JUDGE = """
import json, sys
from packaging.markers import Marker
markers, where = json.load(sys.stdin)
print(json.dumps([Marker(marker).evaluate(where) for marker in markers]))
"""


def applicable(
    pins: Sequence[locks.Pin], python: str, machine: str = "aarch64", judge: str | Path = sys.executable
) -> list[locks.Pin]:
    """The pins whose marker holds on the board; `judge` is a Python with `packaging`, which a bare one has not.

    Raises SetupError where it has none.
    """
    marked = [pin for pin in pins if pin.marker is not None]
    asked = json.dumps([[pin.marker for pin in marked], marker_environment(python, machine)])
    found = subprocess.run([judge, "-c", _JUDGE], input=asked, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SetupError(f"{judge} cannot read the lock's markers: {found.stderr.strip()[-200:]}")
    holds = dict(zip((id(pin) for pin in marked), json.loads(found.stdout), strict=True))
    return [pin for pin in pins if holds.get(id(pin), True)]


def platform_arguments(python: str, machine: str = "aarch64") -> list[str]:
    """What makes pip take wheels for a board with Python `python`, whatever machine it runs on."""
    argv = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
        argv += ["--abi", abi]
    for platform in _PLATFORMS:
        argv += ["--platform", f"{platform}_{machine}"]
    return argv


def resolve(pins: Sequence[locks.Pin], python: str, pip: Sequence[str | Path]) -> dict[str, str]:
    """The file name of the wheel that pip would take for each pin, by project name.

    Raises SetupError with pip's words when one of them has no wheel for the board.
    """
    argv = [
        *pip,
        "install",
        "--dry-run",
        "--quiet",
        "--report",
        "-",
        "--ignore-installed",
        "--no-deps",
        "--require-hashes",
    ]
    argv += platform_arguments(python)
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(pin.text() for pin in pins) + "\n", encoding="utf-8")
        found = subprocess.run(
            [*argv, "--target", folder, "-r", wanted], capture_output=True, text=True, check=False
        )
    if found.returncode != 0:
        raise SetupError(f"the board's lock does not resolve for arm64 on Python {python}:\n{found.stderr}")
    installs = json.loads(found.stdout)["install"]
    return {item["metadata"]["name"]: item["download_info"]["url"].rsplit("/", 1)[-1] for item in installs}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found for the lock with this digest: the projects to build, and the wheels by Python version."""

    board_lock: str
    built_from_source: list[str]
    wheels: dict[str, list[str]]


def check() -> Outcome:
    """Resolve for every Python. Raises SetupError at a project that has no wheel for the board and needs one."""
    sources = {pin.name.lower() for pin in locks.read("board-sdists")}
    if sources - SOURCES_ALLOWED:
        raise SetupError(
            f"{sorted(sources - SOURCES_ALLOWED)} would be compiled on the board: find a version with wheels."
        )
    found: dict[str, list[str]] = {}
    for python in PYTHONS:
        pins = applicable(locks.read("board"), python)
        with step(f"arm64, Python {python}: {len(pins)} packages"):
            wheels = resolve(pins, python, [sys.executable, "-m", "pip"])
        if len(wheels) != len(pins):
            raise SetupError(f"pip answered for {len(wheels)} of {len(pins)} packages on Python {python}.")
        found[python] = sorted(wheels.values())
    return Outcome(locks.digest("board"), sorted(sources), found)


def record(facts: Outcome) -> None:
    """Keep the outcome beside the lock it was found for."""
    RECORD.write_text(json.dumps(asdict(facts), indent=1) + "\n", encoding="utf-8")
