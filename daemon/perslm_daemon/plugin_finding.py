"""Which plug-ins are installed: the entry points of this interpreter's distributions. Imports none of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata

from perslm_runtime.plugin import GROUPS, NAME

_OWN = "perslm_daemon.connectors."
_TARGET = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True, slots=True)
class Found:
    """An installed plug-in: its name and group, where it lies ("module:attribute"), and who brings it."""

    name: str
    group: str
    target: str
    package: str
    version: str
    problem: str = ""
    """Why it cannot be used, before anything of it was run; "" where nothing is known of the kind."""

    @property
    def own(self) -> bool:
        """Whether it is part of PersLM."""
        return self.target.startswith(_OWN)


def installed() -> tuple[Found, ...]:
    """Every plug-in there is, by name. Reads the disk; two of one name are both refused."""
    found: dict[str, dict[tuple[str, str], Found]] = {}
    for group in GROUPS:
        for point in metadata.entry_points(group=group):
            one = _found(point, group)
            found.setdefault(one.name, {}).setdefault((group, one.target), one)
    return tuple(_only(list(found[name].values())) for name in sorted(found))


def _found(point: metadata.EntryPoint, group: str) -> Found:
    package, version = "unknown", ""
    if point.dist is not None:
        package, version = point.dist.metadata["Name"] or "unknown", point.dist.version
    problem = ""
    if not NAME.fullmatch(point.name):
        problem = "its name has more than a-z, 0-9 and _"
    elif not _TARGET.fullmatch(point.value):
        problem = "its entry point is not written as module:attribute"
    return Found(point.name, group, point.value, package, version, problem)


def _only(found: list[Found]) -> Found:
    first = found[0]
    if len(found) == 1:
        return first
    packages = ", ".join(sorted({one.package for one in found}))
    problem = f"several are installed under this name (by {packages}): uninstall all but one"
    return Found(first.name, first.group, first.target, packages, first.version, problem)
