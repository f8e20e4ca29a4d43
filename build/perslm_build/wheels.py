"""Wheels that exist nowhere and are built on this machine: once, from the hashed source, into a cache.

A wheel is kept under a key of everything that shapes it: version, hash of the source, platform, compiler, options,
processor features. So an SD card that moves to another board gets its own build, not an illegal instruction.
A build that is interrupted goes on where it was; nothing half-built is ever found by another process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perslm_build import locks
from perslm_build.system import COMPILER, PKG_CONFIG, PORTAUDIO_HEADERS, PYTHON_HEADERS, SYSTEMD_HEADERS, Need
from perslm_build.terminal import Reading, SetupError, say, seconds, step, watch

_JOB_BYTES = 1_000_000_000  # the largest files of llama.cpp take about this much of a compiler
# The flags of /proc/cpuinfo that name instructions a compiler may emit; the rest is mitigations and virtualization
# and changes with a kernel or a hypervisor while the same wheel goes on working.
_X86_INSTRUCTIONS = re.compile(
    r"mmx|3dnow\w*|sse\w*|ssse3|pni|avx\w*|fma4?|f16c|bmi[12]|abm|lzcnt|movbe|popcnt|v?aes|v?pclmulqdq|gfni|sha\w*|sm[34]"
    r"|adx|amx_\w+|xop|tbm|cx16|rdrand|rdseed|serialize|movdir\w+|clwb|clflushopt|lahf_lm|fsgsbase|xsave\w*|rdpid|waitpkg"
)
_ARM_FIELDS = ("Features", "CPU implementer", "CPU part")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one project is built: what the system has to give, and what the build is told."""

    native: bool
    needs: tuple[Need, ...] = ()
    cmake_args: tuple[str, ...] = ()
    cmake_include: tuple[str, Path] | None = None  # (CMake project, file read right after its `project()`)
    settings: tuple[str, ...] = ()
    cmake: bool = True  # what a native build is made with; else it is setuptools, which takes no build folder


RECIPES = {
    "llama-cpp-python": Recipe(
        native=True,
        needs=(COMPILER,),
        # GGML_NATIVE: exactly this processor, no more; upstream's wheels for arm64 lack dotprod and repacking.
        cmake_args=("-DGGML_NATIVE=ON", "-DLLAVA_BUILD=OFF"),
        cmake_include=("llama.cpp", locks.ROOT / "build" / "llama_cpp.cmake"),
        # Upstream installs every library and header a second time outside its package.
        settings=("wheel.exclude=/lib/**;/include/**;/bin/**",),
    ),
    # Headers only: it builds, installs and imports where systemd does not run.
    "systemd-python": Recipe(
        native=True, needs=(COMPILER, PYTHON_HEADERS, PKG_CONFIG, SYSTEMD_HEADERS), cmake=False
    ),
    "pyaudio": Recipe(native=True, needs=(COMPILER, PYTHON_HEADERS, PORTAUDIO_HEADERS), cmake=False),
    "srt": Recipe(native=False),  # Vosk's
    "docopt": Recipe(native=False),  # num2words', for the tests
    "forbiddenfruit": Recipe(native=False),  # blockbuster's, for the tests
}


def cache() -> Path:
    """The folder of finished wheels: `$XDG_CACHE_HOME/perslm/wheels`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perslm" / "wheels"


def cpu_features(cpuinfo: str) -> tuple[str, ...]:
    """The instructions that the processors in /proc/cpuinfo's text have, sorted; those of all kinds of cores."""
    fields = [line.partition(":") for line in cpuinfo.splitlines()]
    x86 = {flag for name, _, value in fields if name.strip() == "flags" for flag in value.split()}
    arm = {f"{name.strip()}={value.strip()}" for name, _, value in fields if name.strip() in _ARM_FIELDS}
    return tuple(sorted({flag for flag in x86 if _X86_INSTRUCTIONS.fullmatch(flag)} | arm))


def _compiler() -> str:
    path = shutil.which("c++")
    if path is None:
        return "none"
    asked = [path, "-dumpmachine", "-dumpfullversion", "-dumpversion"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def fit(pin: locks.Pin) -> dict[str, object]:
    """What an installed wheel of `pin` must be made for to run here; a new compiler alone makes none stale."""
    recipe = RECIPES[pin.name]
    facts: dict[str, object] = {"project": pin.name, "version": pin.version, "sdist": sorted(pin.hashes)}
    if recipe.native:
        facts["platform"] = sysconfig.get_platform()
        facts["cpu"] = cpu_features(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        facts["options"] = [*recipe.cmake_args, *recipe.settings]
        if not recipe.cmake:  # an extension of one Python; llama.cpp's wheel fits them all
            facts["python"] = sysconfig.get_config_var("SOABI")
        if recipe.cmake_include is not None:
            facts["cmake_include"] = hashlib.sha256(recipe.cmake_include[1].read_bytes()).hexdigest()
    return facts


def key(pin: locks.Pin) -> str:
    """The name of the cache folder that holds the wheel of `pin` for this machine and its compiler."""
    facts = fit(pin)
    if RECIPES[pin.name].native:
        facts["compiler"] = _compiler()
    platform = facts.get("platform", "any")
    return f"{pin.name}-{pin.version}-{platform}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"


def cached(pin: locks.Pin) -> Path | None:
    """The finished wheel of `pin` for this machine, or None. A damaged one is removed and counts as none."""
    folder = cache() / key(pin)
    record = folder / "build.json"
    if not record.is_file():
        return None
    facts: dict[str, str] = json.loads(record.read_text(encoding="utf-8"))
    wheel = folder / facts["wheel"]
    if wheel.is_file() and hashlib.sha256(wheel.read_bytes()).hexdigest() == facts["sha256"]:
        return wheel
    say(f"   {wheel} is damaged: it is built again")
    shutil.rmtree(folder)
    return None


def jobs(cores: int, available_bytes: int) -> int:
    """How many compilers may run at once: a core each, and a gigabyte each."""
    return max(1, min(cores, available_bytes // _JOB_BYTES))


def available_bytes() -> int:
    """The memory that a compiler may take now."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"))
    return int(found[1]) * 1024 if found else _JOB_BYTES


def compile_progress() -> Reading:
    """A reading of ninja's `[n/total]` lines with the time that remains, as an estimate from the pace so far."""
    begin = time.monotonic()
    compiling = False

    def read(line: str) -> str | None:
        nonlocal compiling
        found = re.match(r"\s*\[(\d+)/(\d+)\]", line)
        if found is None:
            return None if compiling else "looking at compiler and processor"
        compiling = True
        done, total = int(found[1]), int(found[2])
        left = (time.monotonic() - begin) / done * (total - done)
        return f"compiling [{done}/{total}], about {seconds(left)} left"

    return read


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the cache for building: two compilations at once would be slower than one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("   another set-up is building wheels: waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def provide(pins: list[locks.Pin], logs: Path) -> list[Path]:
    """The wheels of `pins`, from the cache or built now. Raises SetupError with the log's end if a build fails."""
    if any(cached(pin) is None for pin in pins):
        with _alone(cache()):
            work = cache() / ".building"
            for pin in pins:
                if cached(pin) is None:
                    _build(pin, work, logs)
            shutil.rmtree(work, ignore_errors=True)
    wheels = [cached(pin) for pin in pins]
    if None in wheels:
        raise SetupError(f"a wheel vanished from {cache()} while it was needed: run the same command again.")
    return [wheel for wheel in wheels if wheel is not None]


def _build(pin: locks.Pin, work: Path, logs: Path) -> None:
    recipe = RECIPES[pin.name]
    place = work / key(pin)
    workers = jobs(os.cpu_count() or 1, available_bytes())
    by_cmake = recipe.native and recipe.cmake
    how = f"once for this processor, {workers} at a time" if recipe.native else "pure Python"
    with step(f"Building {pin.name} {pin.version} ({how})"):
        python = build_tools(work, logs)
        env = build_environment(recipe, place, python, workers)
        source = unpacked(pin, place, python, logs, env)
        say(f"   log: {logs / f'build-{pin.name}.log'}")
        shutil.rmtree(place / "out", ignore_errors=True)
        argv: list[str | Path] = [
            python,
            "-m",
            "pip",
            "wheel",
            "-v",
            "--no-deps",
            "--no-build-isolation",
            "--no-cache-dir",
        ]
        settings = [*recipe.settings, *([f"build-dir={place / 'cmake'}"] if by_cmake else [])]
        watch(
            [*argv, *(f"--config-settings={setting}" for setting in settings), "-w", place / "out", source],
            logs / f"build-{pin.name}.log",
            reading=compile_progress() if by_cmake else lambda _: pin.name,
            env=env,
        )
        _publish(pin, place)


def build_environment(recipe: Recipe, place: Path, python: Path, workers: int) -> dict[str, str]:
    """The build's environment: our cmake and ninja first, and no /tmp, which is memory on newer Debians."""
    temporary = place / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    cmake_args = list(recipe.cmake_args)
    if recipe.cmake_include is not None:
        project, file = recipe.cmake_include
        cmake_args.append(f"-DCMAKE_PROJECT_{project}_INCLUDE={file}")
    return {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TMPDIR": str(temporary),
        "CMAKE_ARGS": shlex.join(cmake_args),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(workers),
    }


def build_tools(work: Path, logs: Path) -> Path:
    """The Python of a small environment with the pinned build tools; made once for all wheels of this run."""
    folder = work / f"tools-{locks.digest('compile')[:16]}"
    python = folder / "bin" / "python"
    stamp = folder / "complete"
    if not stamp.is_file():
        venv.create(folder, clear=True, with_pip=True)
        argv: list[str | Path] = [python, "-m", "pip", "install", "--require-hashes", "--no-deps"]
        watch([*argv, "--only-binary", ":all:", "-r", locks.path("compile")], logs / "build-tools.log")
        stamp.touch()
    return python


def unpacked(pin: locks.Pin, place: Path, python: Path, logs: Path, env: dict[str, str]) -> Path:
    """The unpacked source of `pin`, checked against its hash by pip before anything in it runs."""
    source = place / "source"
    if source.is_dir():
        say("   going on where the last build stopped")
        return source
    fetched = place / "sdist"
    wanted = place / "requirement.txt"
    wanted.write_text(pin.text() + "\n", encoding="utf-8")
    argv: list[str | Path] = [
        python,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-build-isolation",
        "--no-binary",
        ":all:",
    ]
    watch([*argv, "--require-hashes", "-d", fetched, "-r", wanted], logs / f"fetch-{pin.name}.log", env=env)
    archives = list(fetched.glob("*.tar.gz"))
    if len(archives) != 1:
        raise SetupError(
            f"pip brought {len(archives)} archives of {pin.name} instead of one: remove {place} and try again."
        )
    unpacked = place / "unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archives[0]) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(unpacked, filter="data")
        else:  # Debian 12's first Python 3.11 has no filters; the hash above has already vouched for the archive
            archive.extractall(unpacked)  # noqa: S202 - as said above
    next(unpacked.iterdir()).rename(source)
    return source


def _publish(pin: locks.Pin, place: Path) -> None:
    """Move the finished wheel to where others look, in one rename."""
    (wheel,) = (place / "out").glob("*.whl")
    record = {
        "wheel": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "built_with": _compiler(),
        "python": sys.version.split()[0],
        **fit(pin),
    }
    (place / "out" / "build.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    finished = cache() / key(pin)
    shutil.rmtree(finished, ignore_errors=True)
    (place / "out").rename(finished)
    shutil.rmtree(place, ignore_errors=True)
