"""What has to be on the system before pip can work: found by looking for what it gives, not for a package's name.

On Debian and its relatives what is missing is installed when the rights are there; otherwise the error is the one
line to type. Knows nothing of Python packages: a recipe names the needs it has.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from perslm_build.terminal import SetupError, say, step, watch

_APT_OPTIONS = ("-y", "-o", "DPkg::Lock::Timeout=120")  # a first boot often updates itself: wait for it


@dataclass(frozen=True, slots=True)
class Need:
    """Something the system has to give: said in words, as a Debian package, and as a look whether it is there."""

    what: str
    package: str
    present: Callable[[], bool]


def _compiler_works() -> bool:
    """A C and a C++ compiler that also find their own headers: Debian's bare `gcc` comes without libc's."""
    for name, header in (("cc", "stdlib.h"), ("c++", "cstdlib")):
        path = shutil.which(name)
        if path is None:
            return False
        seen = subprocess.run(
            [path, "-E", "-x", "c" if name == "cc" else "c++", "-"],
            input=f"#include <{header}>\n",
            capture_output=True,
            text=True,
            check=False,
        )
        if seen.returncode != 0:
            return False
    return True


def _ensurepip_works() -> bool:
    return importlib.util.find_spec("ensurepip") is not None


def _has_library(name: str) -> bool:
    """Whether pkg-config finds the headers of library `name`."""
    if shutil.which("pkg-config") is None:
        return False
    return subprocess.run(["pkg-config", "--exists", name], capture_output=True, check=False).returncode == 0


COMPILER = Need("a C and C++ compiler (cc, c++)", "g++", _compiler_works)
PKG_CONFIG = Need("pkg-config", "pkg-config", lambda: shutil.which("pkg-config") is not None)
SYSTEMD_HEADERS = Need("the headers of libsystemd", "libsystemd-dev", lambda: _has_library("libsystemd"))
PYTHON_HEADERS = Need(
    "the headers of Python",
    f"python{sys.version_info[0]}.{sys.version_info[1]}-dev",
    (Path(sysconfig.get_path("include")) / "Python.h").is_file,
)
PORTAUDIO_HEADERS = Need("the headers of PortAudio", "portaudio19-dev", lambda: _has_library("portaudio-2.0"))
PULSEAUDIO = Need(
    "PulseAudio, for the tests' microphone", "pulseaudio", lambda: shutil.which("pulseaudio") is not None
)
PACTL = Need("pactl, for the tests' microphone", "pulseaudio-utils", lambda: shutil.which("pactl") is not None)
ALSA_PULSE = Need(
    "ALSA's way to PulseAudio",
    "libasound2-plugins",
    lambda: any(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")),
)
RECORDINGS = Need(
    "recorded speech, for the tests",
    "pocketsphinx-testdata",
    Path("/usr/share/pocketsphinx/test/data/librivox").is_dir,
)
MOSQUITTO = Need(
    "mosquitto, the MQTT broker",
    "mosquitto",
    lambda: shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is not None,
)
OPENSSL = Need("openssl, for the tests' certificates", "openssl", lambda: shutil.which("openssl") is not None)
VENV = Need("Python's venv with pip", f"python{sys.version_info[0]}.{sys.version_info[1]}-venv", _ensurepip_works)


def missing(needs: Iterable[Need]) -> list[Need]:
    """Those of `needs` that the system does not give."""
    return [need for need in dict.fromkeys(needs) if not need.present()]


def is_debian(os_release: Path = Path("/etc/os-release")) -> bool:
    """Whether apt-get brings packages here: Debian, Raspberry Pi OS and their relatives."""
    facts = os_release.read_text(encoding="utf-8") if os_release.is_file() else ""
    fields = dict(line.split("=", 1) for line in facts.splitlines() if "=" in line)
    family = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return bool({"debian", "raspbian", "ubuntu"} & set(family)) and shutil.which("apt-get") is not None


def _prefix() -> list[str] | None:
    """What gives the right to install: nothing for root, `sudo -n env` where that asks no password, else None."""
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    if os.geteuid() == 0:
        return environment
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    return ["sudo", "-n", *environment] if allowed else None


def line_to_type(packages: Iterable[str]) -> str:
    """The one command that installs `packages` for somebody who has to ask for the rights."""
    names = " ".join(packages)
    if shutil.which("sudo") is not None:
        return f"sudo apt-get update && sudo apt-get install -y --no-install-recommends {names}"
    return f"su -c 'apt-get update && apt-get install -y --no-install-recommends {names}'"


def provide(needs: Iterable[Need], logs: Path) -> None:
    """Install what is missing of `needs`, or raise SetupError with the one line to type."""
    lacking = missing(needs)
    if not lacking:
        return
    names = ", ".join(need.what for need in lacking)
    packages = sorted({need.package for need in lacking})
    if not is_debian():
        raise SetupError(
            f"this machine lacks: {names}. Install it with the system's package tool, then run this again."
        )
    prefix = _prefix()
    if prefix is None:
        raise SetupError(
            f"this machine lacks: {names}. Type this line, then run the same command again:\n\n"
            f"  {line_to_type(packages)}\n"
        )
    with step(f"System packages: {' '.join(packages)}"):
        watch(
            [*prefix, "apt-get", "update"],
            logs / "apt-update.log",
            next_step="check the network, then run this again",
        )
        watch(
            [*prefix, "apt-get", "install", *_APT_OPTIONS, "--no-install-recommends", *packages],
            logs / "apt-install.log",
            next_step=f"type `{line_to_type(packages)}` and read what it says",
        )
    still = missing(lacking)
    if still:
        raise SetupError(
            f"{' '.join(packages)} are installed, yet {', '.join(need.what for need in still)} is not found."
        )


def check_machine() -> None:
    """Refuse early what can never work: another system, a 32-bit one, another processor family."""
    machine = os.uname()
    if machine.sysname != "Linux" or machine.machine not in ("x86_64", "aarch64"):
        raise SetupError(
            f"PersLM runs on 64-bit Linux on x86-64 or arm64; this is {machine.sysname} on {machine.machine}."
        )
    if sys.maxsize < 2**32:
        raise SetupError(
            "this system is 32-bit (a 64-bit kernel alone is not enough): install the 64-bit Raspberry Pi OS."
        )
    say(f"PersLM set-up · Python {sys.version.split()[0]} · {machine.machine} · {os.cpu_count()} cores")
