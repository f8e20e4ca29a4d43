"""One virtual environment brought to what a lock says: made, filled, stamped, and left alone while the stamp fits.

The stamp is written after every part, so an interrupted set-up goes on with the first part that is not done, and a
set-up that is complete costs a few file reads.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

from perslm_build import image_tools, locks, system, wheels
from perslm_build.terminal import Reading, SetupError, step, watch

_STAMP = "perslm-setup.json"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment: its folder, the lock it holds, and whether the wheels built here belong into it."""

    folder: Path
    lock: str
    with_built_wheels: bool = True
    editable: bool = True  # whether it runs this folder's sources, or a copy made when it was set up
    covers: tuple[str, ...] = ()  # locks whose every package is in this one, in the same version
    needs: tuple[system.Need, ...] = ()  # programs that what is installed here starts

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self.folder / "bin" / "python"

    def program(self, name: str) -> Path:
        """A command that was installed into the environment."""
        return self.folder / "bin" / name

    @property
    def logs(self) -> Path:
        """Where the logs of its set-up lie."""
        return self.folder / "setup-logs"


TEST_NEEDS = (
    system.MOSQUITTO,
    system.OPENSSL,
    system.PULSEAUDIO,
    system.PACTL,
    system.ALSA_PULSE,
    system.RECORDINGS,
    *image_tools.TESTED,
)

RUN = Environment(locks.ROOT / ".venv", "board", needs=(system.MOSQUITTO,))
TEST = Environment(locks.ROOT / ".venv", "dev", covers=("board",), needs=TEST_NEEDS)
TRAIN = Environment(locks.ROOT / ".venv-train", "train")


def _hash(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _built_pins(env: Environment) -> list[locks.Pin]:
    return locks.read(f"{env.lock}-sdists") if env.with_built_wheels else []


def _project_digest(env: Environment) -> str:
    """What the installed project depends on: metadata and commands, no linter's setting; a copy's files too."""
    tables = tomllib.loads(locks.PYPROJECT.read_text(encoding="utf-8"))
    files = [] if env.editable else [hashlib.sha256(path.read_bytes()).hexdigest() for path in _sources()]
    return _hash(str(locks.ROOT), tables["project"], tables["tool"]["hatch"], *files)


def _sources() -> list[Path]:
    folders = ("runtime", "daemon", "training_host", "models", "edge_configs")
    files = (path for folder in folders for path in (locks.ROOT / folder).rglob("*"))
    return sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts)


def wanted(env: Environment) -> dict[str, str]:
    """The parts of a complete environment in the order they are made, each with a digest of what goes into it."""
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "tools": locks.digest("tools"),
        f"packages-{env.lock}": locks.digest(env.lock),
        **{f"wheel-{pin.name}": _hash(wheels.fit(pin)) for pin in _built_pins(env)},
        "project": _project_digest(env),
    }


def stamped(env: Environment) -> dict[str, str]:
    """The parts that are done, from the environment's stamp; nothing where it has none or its Python is gone."""
    stamp = env.folder / _STAMP
    if not stamp.is_file() or not env.python.exists():
        return {}
    done: dict[str, str] = json.loads(stamp.read_text(encoding="utf-8"))
    return done


def _stamp(env: Environment, done: dict[str, str]) -> None:
    fresh = env.folder / f"{_STAMP}.new"
    fresh.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    fresh.replace(env.folder / _STAMP)


def complete(env: Environment) -> bool:
    """Whether every part that `env` needs is there and made from what is wanted now."""
    done = stamped(env)
    return all(done.get(part) == digest for part, digest in wanted(env).items())


def set_up(env: Environment) -> None:
    """Bring `env` to what is wanted. Raises SetupError with the next step; what is done stays done."""
    logs = locks.ROOT / ".cache" / "setup-logs"
    if complete(env):
        system.provide(env.needs, logs)
        return
    system.check_machine()
    pins = _built_pins(env)
    to_build = [pin for pin in pins if wheels.cached(pin) is None]
    needs = [need for pin in to_build for need in wheels.RECIPES[pin.name].needs]
    system.provide([system.VENV, *env.needs, *needs], logs)
    goal, done = wanted(env), stamped(env)
    if done.get("python") != goal["python"]:
        with step(f"Virtual environment {env.folder.name}"):
            _make(env)
        done = {"python": goal["python"]}
        _stamp(env, done)
    for part, digest in goal.items():
        if done.get(part) == digest:
            continue
        _part(env, part, pins)
        done[part] = digest
        if part == f"packages-{env.lock}":
            done |= {f"packages-{covered}": locks.digest(covered) for covered in env.covers}
        _stamp(env, done)


def _make(env: Environment) -> None:
    """A fresh environment, or the one that is there when it has this Python and pip already."""
    if env.python.exists():
        asked: list[str | Path] = [
            env.python,
            "-c",
            "import pip, sys; print(f'{sys.version_info[0]}.{sys.version_info[1]}')",
        ]
        found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if found == f"{sys.version_info.major}.{sys.version_info.minor}":
            return
    venv.create(env.folder, clear=True, with_pip=True, symlinks=True, prompt="perslm")


def _part(env: Environment, part: str, pins: list[locks.Pin]) -> None:
    if part == "tools":
        with step("Package installer"):
            _install_lock(env, "tools")
    elif part.startswith("packages-"):
        with step(f"Python packages of lock `{env.lock}`"):
            _install_lock(env, env.lock)
    elif part.startswith("wheel-"):
        built = dict(zip((pin.name for pin in pins), wheels.provide(pins, env.logs), strict=True))
        name = part.removeprefix("wheel-")
        with step(f"Installing {built[name].name}"):
            _pip(env, name, ["--no-index", "--force-reinstall", str(built[name])])
    elif part == "project":
        with step("PersLM itself"):
            how = ["--editable"] if env.editable else ["--force-reinstall"]
            _pip(env, "perslm", ["--no-index", "--no-build-isolation", *how, str(locks.ROOT)])
            watch([env.python, "-m", "pip", "check"], env.logs / "pip-check.log")


def _pip(env: Environment, what: str, arguments: list[str], reading: Reading | None = None) -> None:
    argv: list[str | Path] = [env.python, "-m", "pip", "install", "--no-deps", "--no-input", *arguments]
    watch(argv, env.logs / f"pip-{what}.log", reading=reading or (lambda _: what))


def _install_lock(env: Environment, name: str) -> None:
    """Exactly what the lock says: by hash, no dependency beside it, no source that would have to be compiled."""
    arguments = ["--require-hashes", "--only-binary", ":all:", "-r", str(locks.path(name))]
    try:
        _pip(env, name, arguments, pip_progress(len(locks.read(name))))
    except SetupError as error:
        raise SetupError(f"{error}\n(No network? Then connect it first.)") from error


def pip_progress(total: int) -> Reading:
    """A reading of pip's output: which of `total` packages it is at, with the size while one is downloaded."""
    seen = 0

    def read(line: str) -> str | None:
        nonlocal seen, total
        if line.startswith("Ignoring "):
            total -= 1
        if (found := re.match(r"(?:Collecting|Requirement already satisfied:) ([^=; ]+)", line)) is not None:
            seen += 1
            return f"{seen}/{total} {found[1]}"
        if (found := re.match(r"\s+Downloading ([^/\s]+?)-\d\S* (\([^)]*\))", line)) is not None:
            return f"{seen}/{total} {found[1]} {found[2]}"
        return f"unpacking {total} packages" if line.startswith("Installing collected packages") else None

    return read
