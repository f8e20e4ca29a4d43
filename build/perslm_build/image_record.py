"""The file beside an image that says what it was made of, `NAME.packages`, and the making of it again by it.

`make image REPLAY=dist/NAME.packages` takes the recorded packages out of the cache and refuses other sources;
at the end the bytes have to be the recorded ones.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perslm_build import image_packages, locks
from perslm_build.image_packages import Package
from perslm_build.terminal import SetupError

_MARK = "# What this image is made of: `make image REPLAY=` this file makes it again, from its commit's sources."
_FACTS = ("board", "flavour", "profile", "commit", "sources", "tools", "image")
_SOURCES = ("runtime", "daemon", "training_host", "systemd", "build", "edge_configs", "models")
_FILES = ("pyproject.toml", "README.md", "LICENSE")
# What writes bytes of the image without being in it.
_TOOLS = {
    "aarch64-linux-gnu-g++": "-dumpfullversion",
    "genimage": "--version",
    "mcopy": "-V",
    "mkfs.fat": "--help",
    "zstd": "--version",
    "mmdebstrap": "--version",
}


@dataclass(frozen=True, slots=True)
class Record:
    """What was built, from which sources by which tools, the sha256 of the image, and its Debian packages."""

    board: str
    flavour: str
    profile: str
    commit: str
    sources: str
    tools: str
    image: str
    packages: tuple[Package, ...]

    def text(self) -> str:
        """The file."""
        facts = [f"{name} {getattr(self, name)}" for name in _FACTS]
        return "\n".join([_MARK, *facts, *(one.line for one in self.packages)]) + "\n"


def parse(text: str) -> Record:
    """The record of a file's text. Raises SetupError where it is none."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    facts = dict(line.split(" ", 1) for line in lines if not line.startswith("deb ") and " " in line)
    if lacking := [name for name in _FACTS if name not in facts]:
        raise SetupError(f"REPLAY: the file has no `{lacking[0]}`: take the one that lies beside the image.")
    packages = image_packages.parse([line for line in lines if line.startswith("deb ")])
    board, flavour, profile, made, built_from, by, image = (facts[name] for name in _FACTS)
    return Record(board, flavour, profile, made, built_from, by, image, packages)


def wanted() -> Record | None:
    """The record in `REPLAY`, or None. Raises SetupError where it cannot be followed: other sources or board."""
    name = os.environ.get("REPLAY")
    if not name:
        return None
    try:
        record = parse(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"REPLAY={name} cannot be read: {error}") from None
    for variable in ("BOARD", "FLAVOUR", "PROFILE"):
        recorded = getattr(record, variable.lower())
        if (asked := os.environ.get(variable)) and asked != recorded:
            raise SetupError(f"REPLAY={name} is of {variable}={recorded}, not {asked}: leave {variable} out.")
    if record.sources != sources():
        raise SetupError(
            f"REPLAY={name} was made of other sources than these: `git checkout {record.commit}`, then this again."
        )
    return record


def sources(root: Path = locks.ROOT) -> str:
    """The sha256 over every file of ours that an image could hold a byte of."""
    total = hashlib.sha256()
    folders = [path for name in _SOURCES for path in (root / name).rglob("*")]
    for path in sorted([*folders, *(root / name for name in _FILES)]):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(f"{path.relative_to(root)}\0{image_packages.sha256(path)}\n".encode())
    return total.hexdigest()


def tools() -> str:
    """The versions of this machine's programs that write bytes of an image."""
    found = []
    for name, word in _TOOLS.items():
        try:
            said = subprocess.run([name, word], capture_output=True, text=True, check=False)
        except OSError:
            continue
        version = re.search(r"\d+(\.\d+)+|\d+", said.stdout.replace(name, "") + said.stderr.replace(name, ""))
        found.append(f"{name}={version[0] if version else '?'}")
    return ",".join(found)


def differs(record: Record, made: str) -> str:
    """Why a replay is not the recorded image, in words; "" where it is."""
    if made == record.image:
        return ""
    there, here = (dict(word.split("=", 1) for word in text.split(",")) for text in (record.tools, tools()))
    others = [
        f"{name} {here.get(name)} (recorded: {there[name]})" for name in there if there[name] != here.get(name)
    ]
    reason = f"other tools here: {', '.join(others)}" if others else "the tools are the recorded ones"
    return f"the replayed image has sha256 {made}, recorded was {record.image}; {reason}."


def commit() -> str:
    """Which commit this is; "none" outside a clone."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(asked, cwd=locks.ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "none"


def write(target: Path, board: tuple[str, str, str], image: str, packages: Sequence[Package]) -> Record:
    """Write the record of `board` (name, flavour, profile) with the image's sha256 to `target`."""
    record = Record(*board, commit(), sources(), tools(), image, tuple(sorted(packages)))
    target.write_text(record.text(), encoding="utf-8")
    return record
