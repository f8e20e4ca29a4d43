"""The gate of new releases on a folder that stands for a board; systemd's word and the clock are played."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from test_firstboot import program

gate = program("release_gate")
OLD, NEW = "card", "perslm-arm64-py3.13-v7"


class Played:
    """systemd as the gate sees it: `story(seconds)` gives the state and how often it was started again."""

    def __init__(self) -> None:
        self.now = 0.0
        self.story: Callable[[float], tuple[str, int]] = lambda _at: ("active", 0)
        self.told: list[tuple[str, ...]] = []

    def systemctl(self, *words: str) -> str:
        if words[0] != "show":
            self.told.append(words)
            return ""
        state, restarts = self.story(self.now)
        return f"ActiveState={state}\nNRestarts={restarts}\nResult=exit-code\n"

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def machine(tmp_path: Path, played: Played) -> Any:
    for name in (OLD, NEW, "older"):
        program_file = tmp_path / "opt/perslm-releases" / name / "bin/perslm"
        program_file.parent.mkdir(parents=True)
        program_file.write_text(name)
    (tmp_path / "opt/perslm").symlink_to(Path("perslm-releases") / OLD)
    (tmp_path / "var/lib/perslm").mkdir(parents=True)
    memory(tmp_path, "before", form=3)
    return gate.Machine(tmp_path, played.systemctl, played.sleep, lambda: played.now)


def memory(root: Path, text: str, form: int) -> None:
    """A memory's file with one line, in a form of a number."""
    with closing(sqlite3.connect(root / "var/lib/perslm/memory.db")) as db:
        db.execute("CREATE TABLE IF NOT EXISTS said (text TEXT)")
        db.execute("INSERT INTO said VALUES (?)", (text,))
        db.execute(f"PRAGMA user_version = {form}")
        db.commit()


def remembered(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "var/lib/perslm/memory.db")) as db:
        return [row[0] for row in db.execute("SELECT text FROM said")]


def started(machine: Any) -> str:
    return str((machine.link / "bin/perslm").read_text())


def steps(machine: Any) -> list[str]:
    return [one["step"] for one in gate.read(machine)["history"]]


def test_a_release_that_is_well_stays_and_the_one_before_is_kept(machine: Any) -> None:
    gate.change_over(machine, NEW)
    assert started(machine) == NEW
    assert gate.watch(machine) == "kept"
    assert started(machine) == NEW
    assert sorted(path.name for path in machine.releases.iterdir()) == [OLD, NEW]
    assert gate.read(machine)["former"] == OLD
    assert steps(machine) == ["on trial", "kept"]
    assert gate.watch(machine) == "", "nothing is on trial any more"


@pytest.mark.parametrize(
    ("story", "why"),
    [
        (lambda _at: ("failed", 0), "it failed"),
        (lambda at: ("activating", int(at // 30)), "it ended 3 times"),  # waiting for its next start
        (lambda at: ("active", int(at // 60)), "it ended 3 times"),
        (lambda _at: ("activating", 0), "not ready within 30 minutes"),
    ],
)
def test_a_release_that_is_not_well_goes_back(
    machine: Any, played: Played, story: Callable[[float], tuple[str, int]], why: str
) -> None:
    played.story = story
    gate.change_over(machine, NEW)
    assert why in gate.watch(machine)
    assert started(machine) == OLD
    assert why in gate.read(machine)["refused"][NEW]
    assert played.told[-1] == ("restart", "--no-block", gate.SERVICE)
    assert steps(machine)[-1] == "went back"


def test_a_board_that_is_started_again_and_again_goes_back(machine: Any, played: Played) -> None:
    class PowerCut(BaseException):
        pass

    def cut(_at: float) -> tuple[str, int]:
        raise PowerCut

    gate.change_over(machine, NEW)
    played.story = cut
    for _ in range(3):
        with pytest.raises(PowerCut):
            gate.watch(machine)
        assert started(machine) == NEW
    assert "started 3 times" in gate.watch(machine)
    assert started(machine) == OLD


class Plug(BaseException):
    """The power is gone."""


@pytest.mark.parametrize("moment", range(12))
def test_a_plug_pulled_at_any_moment_ends_in_one_of_the_two(machine: Any, played: Played, moment: int) -> None:
    """Every write of the book and every change of the link is a moment."""
    left = moment
    kept = (gate.write, gate.point)

    def before(step: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Plug
            step(*arguments)

        return wrapped

    played.story = lambda _at: ("failed", 0)
    gate.write, gate.point = map(before, kept)
    try:
        gate.change_over(machine, NEW)
        gate.watch(machine)
    except Plug:
        pass
    finally:
        gate.write, gate.point = kept
    assert started(machine) in (OLD, NEW)
    gate.watch(machine)
    assert started(machine) == OLD
    assert gate.read(machine)["trial"] is None


def test_a_memory_that_the_new_release_gave_another_form_is_given_back(machine: Any, played: Played) -> None:
    gate.change_over(machine, NEW)
    memory(machine.root, "in the new form", form=4)
    played.story = lambda _at: ("failed", 0)
    gate.watch(machine)
    assert remembered(machine.root) == ["before"]
    assert steps(machine) == ["on trial", "memory", "went back"]


def test_a_memory_in_its_old_form_keeps_what_was_said_on_trial(machine: Any, played: Played) -> None:
    gate.change_over(machine, NEW)
    memory(machine.root, "on trial", form=3)
    played.story = lambda _at: ("failed", 0)
    gate.watch(machine)
    assert remembered(machine.root) == ["before", "on trial"]


def test_a_book_that_cannot_be_read_is_a_new_one(machine: Any) -> None:
    machine.state.mkdir(parents=True)
    (machine.state / "book.json").write_text("{half")
    assert gate.watch(machine) == ""
    gate.change_over(machine, NEW)
    assert gate.watch(machine) == "kept"
