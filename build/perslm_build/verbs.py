"""What each `make` target does, one function a verb. Reads as the list of everything one can ask of the house."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

from perslm_build import deb, flash_config, flash_test, image_full, locks, release, stress, suite, training
from perslm_build import flash as card
from perslm_build import image as card_image
from perslm_build import install as service
from perslm_build.environment import RUN, TEST, TRAIN, Environment, set_up
from perslm_build.terminal import SetupError, say, watch

_DEFAULT_ROUNDS = "10"
_STRESS_ROUNDS = "100"
_CLEANED = (
    ".venv",
    ".venv-train",
    ".cache",
    ".mypy_cache",
    ".ruff_cache",
    ".import_linter_cache",
    ".hypothesis",
    "dist",
)


def _become(env: Environment, program: str, *arguments: str) -> int:
    """Hand this process over to a command of the environment: terminal, Ctrl-C and exit status become its own."""
    sys.stdout.flush()
    path = str(env.program(program))
    os.execv(path, [path, *arguments])


def _call(env: Environment, program: str, *arguments: str) -> int:
    sys.stdout.flush()
    return subprocess.run([env.program(program), *arguments], cwd=locks.ROOT, check=False).returncode


def _pull_models(env: Environment, which: str = "--needed") -> None:
    if _call(env, "perslm", "models", "pull", which) != 0:
        raise SetupError(
            "not all models are here: see above, then type the same command again; it goes on where it stopped."
        )


def run(_: Sequence[str]) -> int:
    """Set up, pull the small models, speak one turn, then run the daemon in the foreground.

    Without a terminal it ends after the turn: a build job has nobody to talk to.
    """
    set_up(RUN)
    _pull_models(RUN)
    if not sys.stdin.isatty():
        return _become(RUN, "perslm", "demo", "--no-chat")
    if (status := _call(RUN, "perslm", "demo", "--no-chat")) != 0:
        return status
    say("Now the daemon:")
    return _become(RUN, "perslm", "run", "--own-broker")


def setup(_: Sequence[str]) -> int:
    """Set up what `make run` needs and stop there."""
    set_up(RUN)
    say(f"Ready: {RUN.program('perslm')}")
    return 0


def models(_: Sequence[str]) -> int:
    """Pull the small models that the defaults and the tests use, and list all."""
    set_up(RUN)
    _pull_models(RUN)
    return _become(RUN, "perslm", "models", "list")


def test(arguments: Sequence[str]) -> int:
    """Set up, pull the small models, run the default tests (ARGS=... goes to pytest)."""
    set_up(TEST)
    _pull_models(TEST, "--tests")
    _set_up_training()
    os.environ.setdefault("PERSLM_STRESS_ROUNDS", _DEFAULT_ROUNDS)
    os.chdir(locks.ROOT)
    if arguments:
        return _become(TEST, "pytest", *arguments)
    return suite.run(TEST)


def long_tests(_: Sequence[str]) -> int:
    """Run the tests that take long: whole daemons, kills, rounds. CI runs them after the default tests."""
    set_up(TEST)
    _pull_models(TEST, "--tests")
    os.environ.setdefault("PERSLM_STRESS_ROUNDS", _DEFAULT_ROUNDS)
    os.chdir(locks.ROOT)
    return suite.run(TEST, suite.LONG)


def _set_up_training() -> None:
    """The training host's tests need torch; a machine that cannot have it skips them and says why."""
    set_up(TRAIN)
    try:
        training.install_torch(TRAIN)
    except SetupError as error:
        say(f"tests/training will be skipped: {error}")


def stress_tests(arguments: Sequence[str]) -> int:
    """Run the tests that repeat (100 rounds) and keep their report."""
    set_up(TEST)
    _pull_models(TEST, "--tests")
    os.environ["PERSLM_STRESS_ROUNDS"] = os.environ.get("PERSLM_STRESS_ROUNDS", _STRESS_ROUNDS)
    return stress.run(TEST, arguments)


def soak(arguments: Sequence[str]) -> int:
    """Run a daemon for MINUTES (10) through all that goes wrong in a house, and keep the report."""
    set_up(TEST)
    _pull_models(TEST, "--tests")
    return _become(TEST, "python", str(locks.ROOT / "tests" / "soak.py"), *arguments)


def check(_: Sequence[str]) -> int:
    """Formatting, lint, types and layers; every failure is shown, not only the first."""
    set_up(TEST)
    failed = [
        name
        for name, argv in {
            "format": ("ruff", "format", "--check", "."),
            "lint": ("ruff", "check", "."),
            "types": ("mypy",),
            "layers": ("lint-imports",),
        }.items()
        if _announced(name, argv) != 0
    ]
    say(f"check: {', '.join(failed)} failed" if failed else "check: all good")
    return 1 if failed else 0


def _announced(name: str, argv: Sequence[str]) -> int:
    say(f"── {name}")
    return _call(TEST, *argv)


def format_code(_: Sequence[str]) -> int:
    """Format the code and mend what the linter can mend."""
    set_up(TEST)
    _call(TEST, "ruff", "check", "--fix", ".")
    return _call(TEST, "ruff", "format", ".")


def bench(arguments: Sequence[str]) -> int:
    """Measure against the raw engines (ARGS="NAME --json" for one)."""
    set_up(RUN)
    _pull_models(RUN)
    return _become(RUN, "perslm", "bench", *arguments)


def lock(arguments: Sequence[str]) -> int:
    """Write the lock files anew from pyproject.toml (ARGS=--upgrade for newer versions)."""
    set_up(TEST)
    if not TEST.program("uv").exists():
        pip: list[str | Path] = [
            TEST.python,
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--require-hashes",
            "-r",
            locks.path("uv"),
        ]
        watch(pip, TEST.logs / "pip-uv.log")
    locks.make(TEST.program("uv"), upgrade="--upgrade" in arguments)
    say("Now `make check-lock`, then `make test`.")
    return 0


def check_lock(_: Sequence[str]) -> int:
    """Resolve the board's lock for arm64 on Python 3.11 and 3.13, without installing."""
    set_up(TEST)
    return _become(TEST, "python", str(locks.ROOT / "build" / "check_lock_aarch64.py"))


def train_setup(_: Sequence[str]) -> int:
    """Set up the training host in .venv-train and bring torch (CUDA=1 allows the CUDA build anywhere)."""
    set_up(TRAIN)
    training.install_torch(TRAIN)
    return 0


def install(_: Sequence[str]) -> int:
    """Install PersLM as a systemd service of this machine (root; DESTDIR= lays the files elsewhere)."""
    service.install()
    return 0


def uninstall(_: Sequence[str]) -> int:
    """Remove the service again; configuration, models and memories stay (root)."""
    service.uninstall()
    return 0


def image(_: Sequence[str]) -> int:
    """Build an SD-card image into dist/ (BOARD=generic-arm64 PROFILE=the board's own, or REPLAY=its list)."""
    set_up(RUN)
    card_image.build()
    return 0


def debian_package(_: Sequence[str]) -> int:
    """Make a Debian package into dist/, for a board that runs Debian 13 already (ARCH=arm64)."""
    set_up(RUN)
    deb.build()
    return 0


def make_release(_: Sequence[str]) -> int:
    """Make a release for cards that are out already, to be signed by the training host (ARCH=arm64)."""
    set_up(RUN)
    release.build()
    return 0


def flash(_: Sequence[str]) -> int:
    """Write the newest image onto DEVICE=/dev/sdX or a file, with the settings of CONFIG=my-home.toml."""
    card.flash()
    return 0


def configure_flash(_: Sequence[str]) -> int:
    """Ask what a card's board should know, and write CONFIG=my-home.toml."""
    flash_config.write()
    return 0


def try_flash(arguments: Sequence[str]) -> int:
    """Flash the newest image to a file, boot it in QEMU, try it, keep the report (--without-voice: faster)."""
    set_up(RUN)
    flash_test.run(voice="--without-voice" not in arguments)
    return 0


def prove_image(arguments: Sequence[str]) -> int:
    """Build an image from nothing, again by its record, compare, boot it (root; --from flash-test: boot alone)."""
    set_up(RUN)
    again = ("--from", "flash-test") in pairwise(arguments)
    (image_full.board_again if again else image_full.run)(voice="--without-voice" not in arguments)
    return 0


def clean(_: Sequence[str]) -> int:
    """Remove the environments and tool caches; models, memories and built wheels stay."""
    for name in _CLEANED:
        shutil.rmtree(locks.ROOT / name, ignore_errors=True)
    for folder in ("runtime", "daemon", "training_host", "tests", "build", "benchmarks"):
        for cache in (locks.ROOT / folder).rglob("__pycache__"):
            shutil.rmtree(cache, ignore_errors=True)
    return 0


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": run,
    "test": test,
    "check": check,
    "format": format_code,
    "long": long_tests,
    "stress": stress_tests,
    "soak": soak,
    "bench": bench,
    "models": models,
    "setup": setup,
    "train-setup": train_setup,
    "lock": lock,
    "check-lock": check_lock,
    "install": install,
    "uninstall": uninstall,
    "image": image,
    "deb": debian_package,
    "release": make_release,
    "flash": flash,
    "flash-config": configure_flash,
    "flash-test": try_flash,
    "image-full": prove_image,
    "clean": clean,
}


def help_text() -> str:
    """Every verb with the first sentence of what it does."""
    lines = [f"  {name:<12} {(verb.__doc__ or '').strip()}" for name, verb in VERBS.items()]
    return "\n".join(["python3 build/setup_perslm.py VERB [ARGUMENTS]", "", *lines])


def _on_terminate(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(143)  # unwinds through `watch`, which ends its child


def main(arguments: Sequence[str]) -> int:
    """Do what the first argument says. Returns the exit status: 2 for a wrong verb, 130 after Ctrl-C."""
    if not arguments or arguments[0] not in VERBS:
        print(help_text())
        return 0 if list(arguments) in ([], ["help"], ["--help"]) else 2
    for word in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(word, _on_terminate)
    os.chdir(Path(locks.ROOT))
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # nothing started from here is a sub-make
        os.environ.pop(name, None)
    try:
        return VERBS[arguments[0]](arguments[1:])
    except SetupError as error:
        print(f"\n✗ {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print(
            "\nStopped. What is done stays done: the same command goes on from here.", file=sys.stderr, flush=True
        )
        return 130
