"""How `make test` runs the tests: what fails for want of a core is tried once more, what is broken stays so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import conftest
from perslm_build import locks, suite
from perslm_build.environment import Environment

ROOT = Path(__file__).resolve().parents[1]

PYPROJECT = f"""
[tool.pytest.ini_options]
pythonpath = ["{ROOT / "build"}"]
addopts = "-q -p no:cacheprovider -p xdist.plugin"
markers = ["slow: x", "board: x", "soak: x", "alone: x", "long: x"]
"""
CONFTEST = "from perslm_build.suite import pytest_runtest_logreport\n"
TESTS = """
from pathlib import Path
import pytest

def ran(name):
    runs = Path(__file__).with_name(name)
    with runs.open("a") as file:
        file.write("x")
    return len(runs.read_text())

@pytest.mark.parametrize("word", ["a word", "ein Wört [2]"])
def test_busy_once(word):
    assert ran(str(len(word))) > 1

@pytest.mark.alone
def test_sound():
    ran("sound")
"""
BROKEN = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_broken(n):
    with open("broken", "a") as file:
        file.write("x")
    raise AssertionError
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with tests that fail the first time they run."""
    monkeypatch.setattr(locks, "ROOT", tmp_path)
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:  # this run's own
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading them all takes longer than these tests
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    return tmp_path


def run(which: str = suite.DEFAULT) -> int:
    return suite.run(Environment(Path(sys.prefix), "test"), which, processes=0)


def test_what_fails_once_is_tried_alone_and_named(house: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert len((house / "6").read_text()) == 2
    assert len((house / "sound").read_text()) == 1, "what passed is not run again"
    said = capfd.readouterr().out
    assert "tried once more with the machine to themselves: test_some.py::test_busy_once[a word]" in said


def test_what_fails_twice_has_failed(house: Path) -> None:
    (house / "test_broken.py").write_text(BROKEN.format(count=1), encoding="utf-8")
    assert run() == 1
    assert len((house / "broken").read_text()) == 2


def test_long_tests_run_by_themselves(house: Path) -> None:
    (house / "test_some.py").write_text(f"{TESTS}\n@pytest.mark.long\ndef test_day():\n    ran('day')\n")
    assert run(suite.LONG) == 0
    assert (house / "day").read_text() == "x"
    assert not (house / "6").exists()


def test_each_test_that_is_called_long_is_there() -> None:
    for place in conftest.LONG:
        file, _, name = place.partition("::")
        assert f"def {name}" in (conftest.TESTS / file).read_text(encoding="utf-8"), place


@pytest.mark.slow
def test_many_failures_are_not_load(house: Path) -> None:
    (house / "test_broken.py").write_text(BROKEN.format(count=20), encoding="utf-8")
    assert run() == 1
    assert len((house / "broken").read_text()) == 20
