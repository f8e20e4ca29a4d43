"""llama.cpp for 64-bit ARM, compiled on this machine: once for every such board, once for those with dot products.

A Pi 4 (Cortex-A72) ends with SIGILL at the first dot product, and a Pi 5 without them is about half as fast: so
the image carries both, each in its folder with the processor features it needs, and the runtime chooses.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from perslm_build import locks, wheels
from perslm_build.terminal import SetupError, say, step, watch

_PROJECT = "llama-cpp-python"
_TOOLCHAIN = locks.ROOT / "build" / "llama_aarch64.cmake"
_CROSS = "aarch64-linux-gnu-g++"
LIBRARIES = ("libllama.so", "libggml.so", "libggml-base.so", "libggml-cpu.so")
NEEDS = "needs.txt"  # read by perslm_runtime/llama_variant.py


@dataclass(frozen=True, slots=True)
class Variant:
    """One build: its folder inside `llama_cpp`, what the compiler may emit, and the features a processor needs."""

    folder: str
    architecture: str
    features: tuple[str, ...] = ()


_CALLED = "/llama"  # the folder of the sources, in what a library says

BASELINE = Variant("lib", "armv8-a")
DOTPROD = Variant("lib-dotprod", "armv8.2-a+dotprod+fp16", ("asimddp", "asimdhp", "fphp"))


def recipe(variant: Variant) -> wheels.Recipe:
    """How llama-cpp-python is built for a board: as for this machine, but for another one."""
    here = wheels.RECIPES[_PROJECT]
    arguments = (
        f"-DCMAKE_TOOLCHAIN_FILE={_TOOLCHAIN}",
        "-DGGML_NATIVE=OFF",
        f"-DGGML_CPU_ARM_ARCH={variant.architecture}",
        "-DLLAVA_BUILD=OFF",
    )
    return replace(here, cmake_args=arguments)


def key(pin: locks.Pin) -> str:
    """The name of the cached build: by version, source, options and compiler."""
    asked = [_CROSS, "-dumpfullversion"]
    facts = [
        sorted(pin.hashes),
        subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip(),
        _TOOLCHAIN.read_text(encoding="utf-8"),
        (locks.ROOT / "build" / "llama_cpp.cmake").read_text(encoding="utf-8"),
        [[variant.folder, variant.architecture, variant.features] for variant in (BASELINE, DOTPROD)],
        _CALLED,
    ]
    return f"{pin.name}-{pin.version}-aarch64-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"


def provide(cache: Path, logs: Path) -> Path:
    """The folder with `llama_cpp` and its metadata for a board, built now or earlier.

    Raises SetupError with the compiler's last words, or when a library came out for the wrong processor.
    """
    (pin,) = (pin for pin in locks.read("board-sdists") if pin.name == _PROJECT)
    finished = cache / key(pin)
    if finished.is_dir():
        return finished
    work = cache / ".building" / key(pin)
    with step(f"Compiling {pin.name} {pin.version} for arm64 (once, about 10 minutes of one core)"):
        folder = _build(pin, work, logs)
        for variant in (BASELINE, DOTPROD):
            check(folder / "llama_cpp" / variant.folder, variant)
            tells_nothing(folder / "llama_cpp" / variant.folder, work)
        folder.rename(finished)
    shutil.rmtree(work, ignore_errors=True)
    return finished


def _build(pin: locks.Pin, work: Path, logs: Path) -> Path:
    """Both variants in one folder, laid out as they are installed."""
    python = wheels.build_tools(work.parent, logs)
    workers = wheels.jobs(os.cpu_count() or 1, wheels.available_bytes())
    env = wheels.build_environment(recipe(BASELINE), work, python, workers)
    env["_PYTHON_HOST_PLATFORM"] = "linux-aarch64"  # the wheel's name: it is not for this machine
    # Messages name source files: another folder would be other bytes, and a card would tell whose machine it was.
    env |= dict.fromkeys(("CFLAGS", "CXXFLAGS"), f"-ffile-prefix-map={work}={_CALLED}")
    source = wheels.unpacked(pin, work, python, logs, env)
    shutil.rmtree(work / "out", ignore_errors=True)
    say(f"   log: {logs / 'llama-arm64.log'}")
    argv: list[str | Path] = [python, "-m", "pip", "wheel", "-v", "--no-deps", "--no-build-isolation"]
    settings = [*recipe(BASELINE).settings, f"build-dir={work / 'cmake'}"]
    watch(
        [*argv, "--no-cache-dir", *(f"--config-settings={word}" for word in settings), "-w", work / "out", source],
        logs / "llama-arm64.log",
        reading=wheels.compile_progress(),
        env=env,
    )
    (wheel,) = (work / "out").glob("*.whl")
    folder = work / "installed"
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    _dotprod(work / "cmake", folder / "llama_cpp", logs, env)
    return folder


def _dotprod(cmake: Path, package: Path, logs: Path, env: dict[str, str]) -> None:
    """The second variant: only ggml is compiled anew (60 instead of 500 s of one core); the rest is copied."""
    target = package / DOTPROD.folder
    shutil.copytree(package / BASELINE.folder, target)
    again: list[str | Path] = ["cmake", f"-DGGML_CPU_ARM_ARCH={DOTPROD.architecture}", cmake]
    watch(again, logs / "llama-arm64-dotprod.log", env=env)
    compiled: list[str | Path] = ["cmake", "--build", cmake, "--target", "ggml-cpu", "ggml-base"]
    watch(compiled, logs / "llama-arm64-dotprod.log", reading=wheels.compile_progress(), env=env)
    for name in ("libggml-base.so", "libggml-cpu.so"):
        (built,) = (path for path in cmake.rglob(name) if path.is_file())
        shutil.copy2(built, target / name)
        subprocess.run(["aarch64-linux-gnu-strip", "--strip-unneeded", target / name], check=True)
    (target / NEEDS).write_text(" ".join(DOTPROD.features) + "\n", encoding="utf-8")


def check(folder: Path, variant: Variant) -> None:
    """That every library of a variant is there, for arm64, and has dot products exactly where it should.

    Raises SetupError: a library of the wrong variant would run here and die on a board.
    """
    for name in LIBRARIES:
        header = (folder / name).read_bytes()[:20] if (folder / name).is_file() else b""
        if header[:4] != b"\x7fELF" or header[18:20] != b"\xb7\x00":  # EM_AARCH64
            raise SetupError(f"{folder / name} is no arm64 library: remove {folder} and build it again.")
    found = dot_products(folder / "libggml-cpu.so")
    if (found > 0) != bool(variant.features):
        raise SetupError(
            f"{folder / 'libggml-cpu.so'} has {found} dot products and was built for {variant.architecture}: "
            "remove its folder and build it again."
        )


def tells_nothing(folder: Path, work: Path) -> None:
    """That no library names the folder it was compiled in. Raises SetupError: its bytes would be one machine's."""
    for name in LIBRARIES:
        if bytes(work) in (folder / name).read_bytes():
            raise SetupError(f"{name} names {work}: the compiler takes no -ffile-prefix-map, gcc 8 and newer do.")


def dot_products(library: Path) -> int:
    """How many dot product instructions (`sdot`, `udot`) an arm64 library contains."""
    tool = "aarch64-linux-gnu-objdump"
    found = subprocess.run([tool, "-d", library], capture_output=True, text=True, check=True).stdout
    return sum(line.split("\t")[2:3] in (["sdot"], ["udot"]) for line in found.splitlines())
