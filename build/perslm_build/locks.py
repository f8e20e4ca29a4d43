"""The hashed lock files: reading them, and writing them anew from pyproject.toml (`make lock`).

One resolution with everything in it decides every version; the smaller locks are cut from it, so the board runs
what the tests ran. torch is in none of them (`make train-setup` brings it), and no file names a download address.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perslm_build.terminal import SetupError, say, step

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "lock"
PYPROJECT = ROOT / "pyproject.toml"

BUILT_HERE = (
    "llama-cpp-python",
    "systemd-python",
    "pyaudio",
    "srt",
    "docopt",
    "forbiddenfruit",
)  # no wheels exist: built from the hashed sdist, once, into the wheel cache
LOWEST_PYTHON = "3.11"

_BOARD_EXTRAS = ("board", "voice", "http", "connectors")
_TESTED_EXTRAS = ("mcp",)  # not on a board by itself: for those who have an MCP server
_TOOLS = {
    "tools": ("pip", "hatchling", "editables"),  # what the environment itself is set up with
    "compile": (
        "scikit-build-core>=0.9.2",
        "cmake>=3.21",
        "ninja",
        "setuptools",
        "wheel",
    ),  # what builds the sdists
    "uv": ("uv",),  # what makes these files
}
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+?))?(?: \\)?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of a lock: a project in one version, when it applies, and the sha256 of every file it may be."""

    name: str
    version: str
    marker: str | None
    hashes: tuple[str, ...]

    def text(self) -> str:
        """The pin as pip reads it, without its marker."""
        return " \\\n".join(
            [f"{self.name}=={self.version}", *(f"    --hash=sha256:{digest}" for digest in self.hashes)]
        )


def path(name: str) -> Path:
    """The lock file called `name`."""
    return FOLDER / f"{name}.txt"


def parse(text: str) -> list[Pin]:
    """The pins of a lock file's text. Raises SetupError at a line that is neither pin, hash nor comment."""
    pins: list[Pin] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        found = _REQUIREMENT.match(line)
        if found is not None:
            pins.append(Pin(found["name"], found["version"], found["marker"], ()))
        elif (digest := _HASH.search(line)) is not None and pins:
            last = pins[-1]
            pins[-1] = Pin(last.name, last.version, last.marker, (*last.hashes, digest[1]))
        else:
            raise SetupError(
                f"a lock file holds a line that is no pin: {line!r}. Write the locks anew with `make lock`."
            )
    return pins


def read(name: str) -> list[Pin]:
    """The pins of lock `name`. Raises SetupError when there is no such file."""
    if not path(name).is_file():
        raise SetupError(
            f"{path(name)} is missing: get it back with git, or write the locks anew with `make lock`."
        )
    return parse(path(name).read_text(encoding="utf-8"))


def digest(name: str) -> str:
    """The sha256 of a lock's pins, its comments left out: what a stamp or a recorded check was made for."""
    lines = path(name).read_text(encoding="utf-8").splitlines(keepends=True)
    return hashlib.sha256("".join(line for line in lines if not line.startswith("#")).encode()).hexdigest()


def inputs_digest() -> str:
    """The sha256 of what the locks are made from: the dependency tables of pyproject.toml and the build tools."""
    tables = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    project = tables["project"]
    kept = [
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        tables["dependency-groups"],
        _TOOLS,
        BUILT_HERE,
    ]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _header(name: str) -> str:
    return (
        f"# Lock `{name}`, written by `make lock`: never edit it by hand. For Python >= {LOWEST_PYTHON}.\n"
        f"# made from: {inputs_digest()}\n"
    )


def made_from(name: str) -> str | None:
    """The inputs_digest() a lock file was made from, or None where it does not say."""
    found = re.search(r"^# made from: ([0-9a-f]{64})$", path(name).read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else None


@dataclass(frozen=True, slots=True)
class _Resolver:
    """uv, and a folder for the files it works on."""

    uv: Path
    folder: Path
    upgrade: bool

    def __call__(self, name: str, arguments: Sequence[str], requirements: Iterable[str] = ()) -> list[Pin]:
        """Resolve for lock `name`; versions in its file now stay while they fit, unless an upgrade is asked."""
        output = self.folder / f"{name}.txt"  # an output file that exists is uv's list of preferences
        if path(name).is_file() and not self.upgrade:
            output.write_bytes(path(name).read_bytes())
        argv = [str(self.uv), "pip", "compile", "--universal", "--python-version", LOWEST_PYTHON]
        argv += [
            "--fork-strategy",
            "fewest",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
        ]
        # Only versions that have wheels, and a clear failure where a project has none and no recipe either.
        argv += ["--only-binary", ":all:", *(word for name in BUILT_HERE for word in ("--no-binary", name))]
        argv += ["--quiet", "-o", str(output), *arguments]
        found = subprocess.run(
            argv, input="\n".join(requirements), capture_output=True, text=True, check=False, cwd=ROOT
        )
        if found.returncode != 0:
            raise SetupError(
                f"lock `{name}` does not resolve:\n{found.stderr}\nChange pyproject.toml, then `make lock`."
            )
        return parse(output.read_text(encoding="utf-8"))


def _write(name: str, pins: Iterable[Pin]) -> None:
    blocks = []
    for pin in pins:
        first, *rest = pin.text().split("\n")
        if pin.marker is not None:
            first = first.replace(f"=={pin.version}", f"=={pin.version} ; {pin.marker}")
        blocks.append("\n".join([first, *rest]))
    fresh = path(name).with_suffix(".new")
    fresh.write_text(_header(name) + "\n".join(blocks) + "\n", encoding="utf-8")
    fresh.replace(path(name))
    say(f"   {path(name).relative_to(ROOT)}: {len(blocks)} packages")


def make(uv: Path, *, upgrade: bool) -> None:
    """Write every lock anew; without `upgrade` a version that still fits stays."""
    FOLDER.mkdir(exist_ok=True)
    with step("Locks from pyproject.toml"), tempfile.TemporaryDirectory() as folder:
        resolve = _Resolver(uv, Path(folder), upgrade)
        extras = [argument for extra in _BOARD_EXTRAS for argument in ("--extra", extra)]
        more = [argument for extra in _TESTED_EXTRAS for argument in ("--extra", extra)]
        everything = resolve("dev", [str(PYPROJECT), *extras, *more, "--group", "dev"])
        versions = Path(folder) / "versions.txt"
        versions.write_text("\n".join(f"{pin.name}=={pin.version}" for pin in everything), encoding="utf-8")
        same_versions = [str(PYPROJECT), "--constraints", str(versions)]
        board = resolve("board", [*same_versions, *extras])
        _write("dev", (pin for pin in everything if pin.name not in BUILT_HERE))
        _write("board", (pin for pin in board if pin.name not in BUILT_HERE))
        _write("board-sdists", (pin for pin in board if pin.name in BUILT_HERE))
        _write("dev-sdists", (pin for pin in everything if pin.name in BUILT_HERE))
        train_parts = ["--extra", "train", "--group", "train-tests", "--no-emit-package", "torch"]
        train = resolve("train", [*same_versions, *train_parts])
        _write("train", (pin for pin in train if pin.name not in BUILT_HERE))
        _write("train-sdists", (pin for pin in train if pin.name in BUILT_HERE))
        for name, requirements in _TOOLS.items():
            _write(name, resolve(name, ["-"], requirements))
