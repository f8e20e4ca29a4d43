"""Which build of llama.cpp this processor takes: a card carries several, each in a folder of its own.

A variant names the processor features that it needs in `needs.txt`; the folder `lib` needs none. Knows files and
/proc/cpuinfo, not llama.cpp: the choice has to stand before its library is loaded.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import MutableMapping
from pathlib import Path

from perslm_runtime.errors import EngineError

_PLACE = "LLAMA_CPP_LIB_PATH"  # where llama_cpp looks instead of in its own folder `lib`
_NEEDS = "needs.txt"
_CPUINFO = Path("/proc/cpuinfo")


def features(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """The features that every core of this machine has; none where the kernel does not say."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    cores = [
        frozenset(value.split())
        for name, _, value in (line.partition(":") for line in lines)
        if name.strip() in ("Features", "flags")
    ]
    return frozenset.intersection(*cores) if cores else frozenset()


def needs(folder: Path) -> frozenset[str]:
    """The features that the library in `folder` uses; none where it does not say."""
    file = folder / _NEEDS
    return frozenset(file.read_text(encoding="utf-8").split()) if file.is_file() else frozenset()


def best_variant(package: Path, have: frozenset[str]) -> Path | None:
    """The most demanding variant beside `package`/lib that this processor satisfies; None where lib is the one."""
    fitting = [folder for folder in package.glob("lib-*") if needs(folder) and needs(folder) <= have]
    return max(fitting, key=lambda folder: (len(needs(folder)), folder.name), default=None)


def use_best_variant(
    environ: MutableMapping[str, str] | None = None, package: Path | None = None, cpuinfo: Path = _CPUINFO
) -> None:
    """Point llama_cpp, before it is imported, to the variant for this processor; a place that was set stays.

    Raises EngineError where the place that was set needs what the processor lacks: the library would end the
    process with SIGILL at its first product.
    """
    environ = os.environ if environ is None else environ
    if place := environ.get(_PLACE):
        lacking = needs(Path(place)) - features(cpuinfo)
        if lacking:
            raise EngineError(
                f"llama.cpp in {place} needs {', '.join(sorted(lacking))}, which this processor lacks: "
                f"unset {_PLACE}, and the right one is chosen"
            )
        return
    package = package or _installed()
    if package is not None and (folder := best_variant(package, features(cpuinfo))) is not None:
        environ[_PLACE] = str(folder)


def _installed() -> Path | None:
    found = importlib.util.find_spec("llama_cpp")
    return Path(found.origin).parent if found is not None and found.origin is not None else None
