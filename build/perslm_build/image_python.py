"""The Python side of a board, put together on the host: wheels for arm64 by hash, PersLM itself, and byte code.

No pip runs under emulation. Byte code has to be in the image: the service may write nothing into /opt/perslm, so
without it every start on a board would compile 2,000 files again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from perslm_build import aarch64, image_llama, image_tools, locks, wheels
from perslm_build.environment import Environment, pip_progress
from perslm_build.image_boards import PYTHON
from perslm_build.terminal import SetupError, step, watch

HOME = Path("opt/perslm")
SITE = HOME / "lib" / f"python{PYTHON}" / "site-packages"
FIRST_RELEASE = "card"
FROM_DEBIAN = ("pyaudio", "systemd-python")  # as python3-pyaudio and python3-systemd: no wheels exist
_LAUNCHER = """#!/opt/perslm/bin/python
import sys

from perslm_daemon.cli import main

sys.exit(main())
"""


def packages(env: Environment, cache: Path, machine: str = "aarch64") -> Path:
    """The folder with every wheel of the board's lock for `machine`, with byte code; cached by the lock."""
    kind = "compiled" if machine == "aarch64" else f"compiled-{machine}"
    finished = cache / f"{kind}-{locks.digest('board')[:16]}"
    if finished.is_dir():
        return finished
    fresh = cache / f".{finished.name}"
    shutil.rmtree(fresh, ignore_errors=True)
    pins = aarch64.applicable(locks.read("board"), PYTHON, machine, env.python)
    with step(f"Python packages for {machine}: {len(pins)}"), tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(pin.text() for pin in pins) + "\n", encoding="utf-8")
        argv: list[str | Path] = [env.python, "-m", "pip", "install", "--no-deps", "--no-compile", "--no-input"]
        argv += ["--require-hashes", *aarch64.platform_arguments(PYTHON, machine), "--target", fresh, "-r", wanted]
        watch(argv, env.logs / "image-pip.log", reading=pip_progress(len(pins)))
    without_commands(fresh)
    with step("Their byte code"):
        _compile(fresh, (fresh, Path("/") / SITE), cache, env.logs)
    fresh.rename(finished)
    return finished


def without_commands(site: Path) -> None:
    """Take out the packages' commands, and their lines: each holds the path of the Python that unpacked it."""
    shutil.rmtree(site / "bin", ignore_errors=True)
    for record in site.glob("*.dist-info/RECORD"):
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("../../bin/", "bin/"))]
        record.write_text("".join(kept), encoding="utf-8", newline="")


def own_wheels(env: Environment) -> list[Path]:
    """The wheels of pure Python that exist nowhere and are built here (Vosk's `srt`)."""
    pins = [
        pin
        for pin in locks.read("board-sdists")
        if pin.name not in FROM_DEBIAN and not wheels.RECIPES[pin.name].native
    ]
    return wheels.provide(pins, env.logs)


def own_llama(env: Environment, cache: Path) -> Path:
    """The folder with llama.cpp as it is built for this very machine."""
    pins = [pin for pin in locks.read("board-sdists") if pin.name == "llama-cpp-python"]
    (wheel,) = wheels.provide(pins, env.logs)
    folder = cache / f"llama-here-{wheel.parent.name}"
    if not folder.is_dir():
        fresh = folder.with_name(f".{folder.name}")
        shutil.rmtree(fresh, ignore_errors=True)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(fresh)
        fresh.rename(folder)
    return folder


def install(root: Path, env: Environment, cache: Path, llama: Path, machine: str = "aarch64") -> None:
    """Fill `root`/opt/perslm as a virtual environment of the board's own Python."""
    site = root / SITE
    shutil.copytree(packages(env, cache, machine), site, symlinks=True)
    shutil.copytree(llama, site, dirs_exist_ok=True)
    with step("PersLM itself"), tempfile.TemporaryDirectory() as folder:
        argv: list[str | Path] = [env.python, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        watch([*argv, "--no-index", "-w", folder, locks.ROOT], env.logs / "image-wheel.log")
        for wheel in (*sorted(Path(folder).glob("*.whl")), *own_wheels(env)):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
    _environment_files(root)


def as_release(root: Path) -> None:
    """Make what lies in `root`/opt/perslm the card's first release: the folder `card`, behind a link."""
    releases = root / "opt/perslm-releases"
    releases.mkdir()
    (root / HOME).rename(releases / FIRST_RELEASE)
    (root / HOME).symlink_to(Path(releases.name) / FIRST_RELEASE)


def _environment_files(root: Path) -> None:
    """What makes the folder an environment: its Python, its marker, its command."""
    programs = root / HOME / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "python").symlink_to("/usr/bin/python3")
    marker = f"home = /usr/bin\ninclude-system-site-packages = true\nversion = {PYTHON}\n"
    (root / HOME / "pyvenv.cfg").write_text(marker, encoding="utf-8")
    command = programs / "perslm"
    command.write_text(_LAUNCHER, encoding="utf-8")
    command.chmod(0o755)


_COMPILED = (SITE, Path(f"usr/lib/python{PYTHON}"), Path("usr/lib/python3/dist-packages"))


def compile_bytecode(root: Path, cache: Path, logs: Path, folders: Sequence[Path] = _COMPILED) -> None:
    """Byte code for /opt/perslm and Debian's Python, by the same Python version on this machine.

    It carries no times and is not compared with its sources, so it is the same bytes every time.
    """
    with step("Byte code"):
        for folder in folders:
            _compile(root / folder, (root, Path("/")), cache, logs)


def _compile(folder: Path, moved: tuple[Path, Path], cache: Path, logs: Path) -> None:
    """Byte code for what below `folder` has none yet; `moved` is where the files lie now, and where they will."""
    tag = f"cpython-{PYTHON.replace('.', '')}"
    lacking = [
        str(path)
        for path in sorted(folder.rglob("*.py"))
        if not (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").is_file()
    ]
    argv = [*_python(cache, logs), "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    argv += ["-s", str(moved[0]), "-p", str(moved[1]), "-x", r"lib2to3|/test(s)?/", "-i", "-"]
    found = subprocess.run(
        argv,
        input="\n".join(lacking),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},  # sets among the constants are written in the order of hashes
    )
    # Some packages carry templates and broken examples that no Python reads; nothing imports those.
    if found.returncode != 0 and "SyntaxError" not in found.stdout + found.stderr:
        raise SetupError(f"byte code for {folder} cannot be made: {(found.stdout + found.stderr)[-300:]}")


def _python(cache: Path, logs: Path) -> list[str]:
    """How to start the board's Python version here: byte code does not depend on the processor."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == PYTHON:
        return [sys.executable]
    return image_tools.of_debian(f"bin/python{PYTHON}", cache, logs)


def check(root: Path) -> None:
    """That what was put together is for a board: every native library is arm64's, and both llama.cpps are there.

    Raises SetupError naming the file.
    """
    for path in (root / HOME).rglob("*.so*"):
        header = path.read_bytes()[:20]
        if header[:4] == b"\x7fELF" and header[18:20] != b"\xb7\x00":
            raise SetupError(f"{path} is not for arm64: remove the cache's site folder, then run this again.")
    for variant in (image_llama.BASELINE, image_llama.DOTPROD):
        if not (root / SITE / "llama_cpp" / variant.folder / "libllama.so").is_file():
            raise SetupError(
                f"llama.cpp's {variant.folder} is not in {root}: remove its cache, then run this again."
            )


def versions(root: Path) -> Sequence[tuple[str, str, str]]:
    """Every installed distribution as (name, version, licence), from its own metadata."""
    found = []
    for metadata in sorted((root / SITE).glob("*.dist-info/METADATA")):
        head = metadata.read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0]
        fields = dict(line.split(": ", 1) for line in reversed(head.splitlines()) if ": " in line)
        licence = fields.get("License-Expression") or fields.get("License") or _classified(head)
        found.append((fields["Name"], fields["Version"], licence[:200]))
    return found


def _classified(head: str) -> str:
    marks = [line.rsplit(" :: ", 1)[-1] for line in head.splitlines() if line.startswith("Classifier: License")]
    return ", ".join(marks) or "see its files"
