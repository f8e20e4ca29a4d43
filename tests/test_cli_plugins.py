"""`perslm plugins` as its users run it, and a template that is built, installed, found and called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command_line import Ended, environment, in_this_process
from loopback_http import serving
from perslm_daemon.plugin_trial import trial_of
from perslm_runtime import landlock
from perslm_runtime.errors import PluginRefused
from plugin_site import Site

pytestmark = pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run")

DICE = """
    def roll(context, sides=6):
        return Answer(f"You rolled {sides}.", {"sides": sides})
    def break_(context): raise ValueError("broken")
    plugin = Plugin("dice", "rolls dice", version="2.1", tools=(
        Tool("roll", "roll a die", roll, (Argument("sides", "whole", needed=False, least=2),), untrusted=False,
             sentences=(Sentence(("roll a die", "roll a die with {sides} sides")),)),
        Tool("break", "break", break_),
    ))
"""
WEATHER = """
    plugin = Plugin("weather", "the weather", settings=(
        Setting("url", "where it comes from", "url", needed=True), Setting("key", "the key", "secret")))
"""

Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    (tmp_path / "site").mkdir()
    with in_this_process(tmp_path, monkeypatch, capfd) as run:
        site = Site(tmp_path / "site", monkeypatch)
        site.plugin("dice", DICE)
        site.plugin("weather", WEATHER, "perslm.connectors")
        yield run


def test_what_is_installed_is_listed_and_is_off(run: Run) -> None:
    listed = {one["name"]: one for one in run("plugins", "list", "--json").data["plugins"]}
    assert listed["dice"] == {
        "name": "dice",
        "state": "off",
        "group": "perslm.tools",
        "package": "dice-package 2.1",
        "problem": None,
    }
    assert {"calendar", "mail", "news"} <= listed.keys()


def test_one_is_enabled_by_name_after_a_look_at_it_and_disabled_again(run: Run, tmp_path: Path) -> None:
    enabled = run("plugins", "enable", "dice")
    assert enabled.out == "dice is enabled\n"
    assert "no other machine" in enabled.err
    assert run("config", "plugins.enabled", "--json").data["plugins.enabled"]["value"] == ["dice"]
    states = {one["name"]: one["state"] for one in run("plugins", "list", "--json").data["plugins"]}
    assert states["dice"] == "enabled"
    assert run("plugins", "disable", "dice").code == 0
    assert run("config", "plugins.enabled", "--json").data["plugins.enabled"]["value"] == []
    assert run("plugins", "disable", "dice").code == 3


def test_one_without_its_settings_is_not_enabled_and_the_next_step_is_said(run: Run, tmp_path: Path) -> None:
    refused = run("plugins", "enable", "weather")
    assert refused.code == 10
    assert "[weather] of the plug-in settings: url is missing (where it comes from)" in refused.err
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "plugins.toml").write_text('[weather]\nurl = "https://weather.example.org/now"\n')
    assert "may reach weather.example.org:443" in run("plugins", "enable", "weather").err
    assert run("plugins", "enable", "nobody").code == 10


def test_what_one_brings_is_told(run: Run) -> None:
    told = run("plugins", "info", "dice").out
    assert told.startswith("dice 2.1: rolls dice\nreaches: no other machine\n")
    assert "dice_roll: roll a die (reads nothing)" in told
    weather = run("plugins", "info", "weather")
    assert "[url] url: where it comes from" in weather.out
    assert "url is missing" in weather.err
    calendar = run("plugins", "info", "calendar", "--json").data
    assert {tool["name"] for tool in calendar["tools"] if tool["changes"]} == {
        "calendar_add",
        "calendar_remove_found",
    }


def test_a_tool_is_tried_without_a_daemon_and_an_error_shows_where_it_is(run: Run) -> None:
    assert run("plugins", "try", "dice", "roll", "sides=20").out == "You rolled 20.\n"
    assert run("plugins", "try", "dice", "roll", "--json").data["data"] == {"sides": 6}
    broken = run("plugins", "try", "dice", "break")
    assert broken.code == 10
    assert 'raise ValueError("broken")' in broken.err
    assert run("plugins", "try", "dice", "fly").code == 3
    assert run("plugins", "try", "dice", "roll", "sides").code == 3


def test_a_folder_with_something_in_it_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work").touch()
    assert "has something in it" in run("plugins", "new", "greeter", "--folder", str(tmp_path / "mine")).err
    assert "is no name for a plug-in" in run("plugins", "new", "Big Name").err


def test_the_template_works_as_it_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it takes to build, install and test it is tried among the slow ones."""
    project = tmp_path / "night"
    run("plugins", "new", "night_greeter", "--folder", str(project))
    (module,) = [file.parent for file in project.rglob("__init__.py")]
    (tmp_path / "own").mkdir()
    with pytest.MonkeyPatch.context() as paths:
        Site(tmp_path / "own", paths)
        paths.syspath_prepend(module.parent)
        with trial_of(f"{module.name}:plugin", "perslm.tools", "night_greeter", tmp_path / "own") as trial:
            assert trial.call("hello", who="Ana").text.startswith("Hello Ana, it is ")


def test_the_template_of_an_engine_replies_as_another_machine_does_and_says_when_it_is_off(
    run: Run, tmp_path: Path
) -> None:
    assert (
        "config set plugins.replies far"
        in run("plugins", "new", "far", "--engine", "--folder", str(tmp_path / "far")).err
    )
    (module,) = [file.parent for file in tmp_path.joinpath("far").rglob("__init__.py")]
    (tmp_path / "own").mkdir()
    pieces = [json.dumps({"choices": [{"delta": {"content": text}}]}) for text in ("I am ", "far away.")]
    body = "".join(f"data: {piece}\n\n" for piece in (*pieces, "[DONE]")).encode()
    with pytest.MonkeyPatch.context() as paths, serving({"/v1/chat/completions": body}) as site:
        Site(tmp_path / "own", paths)
        paths.syspath_prepend(module.parent)
        target = (f"{module.name}:plugin", "perslm.engines", "far", tmp_path / "own")
        with trial_of(*target, settings={"url": f"{site.address}/v1"}) as trial:
            assert trial.reply("Where are you?") == "I am far away."
        with (
            trial_of(*target, settings={"url": "http://127.0.0.1:9/v1"}) as trial,
            pytest.raises(PluginRefused, match="does not answer"),
        ):
            trial.reply("Where are you?")


@pytest.mark.slow
@pytest.mark.parametrize("engine", [False, True])
def test_the_template_is_built_installed_from_an_empty_folder_found_tested_and_called(
    engine: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    made = run("plugins", "new", "night_greeter", *(["--engine"] if engine else []))
    assert made.out == "perslm-night-greeter\n"
    project = empty / "perslm-night-greeter"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "-q"]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheels")]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    (built,) = (tmp_path / "wheels").iterdir()
    target = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(built)], check=True)
    monkeypatch.syspath_prepend(target)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(target), os.environ["PYTHONPATH"]]))
    listed = {one["name"]: one for one in run("plugins", "list", "--json").data["plugins"]}
    assert listed["night_greeter"]["package"] == "perslm-night-greeter 0.1"
    if engine:
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / "plugins.toml").write_text('[night_greeter]\nurl = "http://127.0.0.1:9/v1"\n')
        told = run("plugins", "info", "night_greeter", "--json").data
        assert (told["replies"], told["reaches"]) == (True, ["127.0.0.1:9"])
    else:
        assert run("plugins", "try", "night_greeter", "hello", "who=Ana").out.startswith("Hello Ana, it is ")
        assert run("plugins", "enable", "night_greeter").code == 0
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(project)],
        env=environment(tmp_path, PYTHONPATH=os.environ["PYTHONPATH"], PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout
    assert ("2 passed" if engine else "3 passed") in tests.stdout
