"""The rules of the house that no linter knows: doors, sizes, reasons, locks, and what the README promises."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

from perslm_build import aarch64, locks, verbs, wheels

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("runtime/perslm_runtime", "daemon/perslm_daemon", "training_host/perslm_training_host")
LOCKS = ("board", "dev", "train", "board-sdists", "dev-sdists", "train-sdists", "tools", "compile", "uv")
# Not engines but the language the code is written in; typer is how the command line's files say what they take.
EVERYWHERE = {"numpy", "anyio", "msgspec", "typer"}
OURS = {"perslm_runtime", "perslm_daemon", "perslm_training_host", "perslm_build"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def comments(path: Path) -> list[tuple[int, str]]:
    with path.open("rb") as file:
        return [
            (token.start[0], token.string)
            for token in tokenize.tokenize(file.readline)
            if token.type == tokenize.COMMENT
        ]


def test_every_module_opens_by_saying_what_it_owns() -> None:
    modules = sources(*PRODUCT, "build", "benchmarks")
    silent = [
        path.relative_to(ROOT)
        for path in modules
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_no_file_outgrows_one_reading() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources(*PRODUCT, "build")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert long == {}


def test_every_exception_from_a_rule_names_the_rule_and_gives_its_reason() -> None:
    noqa = re.compile(r"# noqa: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)* - \S+")
    ignore = re.compile(r"# type: ignore\[[a-z-]+(, [a-z-]+)*\]\s+# \S+")
    bare = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources(*PRODUCT, "build", "tests", "benchmarks")
        for line, text in comments(path)
        if ("noqa" in text and not noqa.search(text))
        or (text.startswith("# type:") and not ignore.search(text + "  "))
    ]
    assert bare == []


def test_every_make_target_has_its_line_of_help_and_does_a_verb_of_the_house() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]  # it is there
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets == phony == {"help", *verbs.VERBS}
    assert {line.split()[1] for line in shown.splitlines()} == targets


def test_no_tracked_file_names_a_package_registry() -> None:
    hosts = re.compile(
        "|".join(("pypi" + r"\.org", "python" + "hosted", "pi" + r"wheels\.org", r"download\." + "pytorch"))
    )
    named = [
        path.relative_to(ROOT) for path in tracked() if hosts.search(path.read_bytes().decode(errors="replace"))
    ]
    assert named == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_a_hash_for_everything_and_is_made_from_the_present_requirements(name: str) -> None:
    pins = locks.read(name)
    assert pins
    assert [pin.name for pin in pins if not pin.hashes] == []
    assert locks.made_from(name) == locks.inputs_digest(), "pyproject.toml asks for something else: `make lock`"
    assert "://" not in locks.path(name).read_text(encoding="utf-8")


def test_the_recipes_need_nothing_but_python() -> None:
    """Who types `make image` has the system's Python and no library: the recipes make the environment."""
    for path in sources("build/perslm_build"):
        if path.name == "suite.py":  # pytest's own plug-in
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names.append(node.module or "")
            for name in {name.partition(".")[0] for name in names}:
                assert name in sys.stdlib_module_names or name in OURS, f"{path.name} imports {name}"


def test_torch_is_in_no_lock() -> None:
    heavy = [
        pin.name
        for name in LOCKS
        for pin in locks.read(name)
        if pin.name == "torch" or pin.name.startswith("nvidia")
    ]
    assert heavy == []


def test_the_board_runs_the_versions_that_the_tests_run() -> None:
    tested = {(pin.name, pin.version) for pin in locks.read("dev")}
    assert {(pin.name, pin.version) for pin in locks.read("board")} <= tested


def test_what_is_built_here_has_a_recipe_and_is_in_no_other_lock() -> None:
    built = {pin.name for pin in locks.read("dev-sdists")}
    assert built == set(wheels.RECIPES) == set(locks.BUILT_HERE)
    assert {pin.name for pin in locks.read("board-sdists")} <= built & aarch64.SOURCES_ALLOWED
    assert [pin.name for name in ("board", "dev", "train") for pin in locks.read(name) if pin.name in built] == []


def test_the_present_board_lock_was_resolved_for_arm64() -> None:
    record = json.loads(aarch64.RECORD.read_text(encoding="utf-8"))
    assert record["board_lock"] == locks.digest("board"), "the lock has changed: `make check-lock`"
    for python in aarch64.PYTHONS:
        assert len(record["wheels"][python]) == len(aarch64.applicable(locks.read("board"), python))
        assert all(wheel.endswith(("-any.whl", "_aarch64.whl")) for wheel in record["wheels"][python])


@pytest.mark.slow
def test_the_board_lock_resolves_for_arm64_from_wheels_alone() -> None:
    outcome = aarch64.check()
    assert set(outcome.wheels) == {"3.11", "3.13"}
    assert all(len(wheels_of) > 40 for wheels_of in outcome.wheels.values())


def test_every_third_party_library_has_exactly_one_door() -> None:
    doors: dict[str, set[str]] = defaultdict(set)
    for path in sources("runtime/perslm_runtime", "daemon/perslm_daemon"):
        if path.name.startswith("bench_"):
            continue  # a benchmark uses a library as a stranger would, beside what is ours
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in {name.split(".")[0] for name in names}:
                if name not in sys.stdlib_module_names and name not in OURS | EVERYWHERE:
                    doors[name].add(path.name)
    assert len(doors) > 10
    assert {name: sorted(files) for name, files in doors.items() if len(files) != 1} == {}


def test_every_door_is_banned_to_all_others() -> None:
    pyproject = locks.tomllib.loads(locks.PYPROJECT.read_text(encoding="utf-8"))
    banned = pyproject["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    opened = {
        name
        for path in sources("runtime/perslm_runtime", "daemon/perslm_daemon")
        for name in re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if name not in sys.stdlib_module_names and name not in OURS | EVERYWHERE | {"__future__"}
    }
    documented = {name for name in opened if name in banned}
    assert opened - documented == set()


def test_the_readme_names_both_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make run" in readme
    assert "make test" in readme
