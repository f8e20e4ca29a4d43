"""The dashboard over a house: devices worked by room on a real broker, health drawn as it is measured, and axe.

axe is a program of rules about what people with a screen reader, a keyboard or weak eyes need of a page.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mosquitto
from browser import DESKTOP, PHONE, Browser, asked, browser
from daemon_child import daemon
from house import House
from perslm_daemon import control_client
from perslm_daemon.bench_devices import SimHouse, add_node, add_tasmota

pytest.importorskip("uvicorn", reason="needs the extra http")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_gguf")]
PARTS = ("talk", "memories", "home", "timers", "models", "plugins", "sharing", "health", "settings")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two lamps, a shutter, a plug and a lock, in rooms that people gave them."""
    sim = SimHouse()
    parts = [("light", "Kitchen Lamp"), ("cover", "Kitchen Shade"), ("light", "Hall Lamp"), ("lock", "Front Door")]
    add_node(sim, "node-1", "AABBCCDDEE01", parts)
    add_tasmota(sim, "Kitchen kettle", [1], "AABBCCDDEE02")
    with mosquitto.running(tmp_path_factory.mktemp("broker")) as broker:
        made = House(broker.port, sim)
        made.announce()
        yield made
        made.close()


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory, house: House) -> Iterator[str]:
    """The URL of a daemon that works this house and measures itself five times a second."""
    folder = tmp_path_factory.mktemp("dashboard")
    with daemon(folder, house.url, http__enabled="true", http__port="0", health__interval_s="0.2"):
        told = control_client.connect(folder)
        assert told is not None
        with told:
            url: str = told.ask("status")["http"]
        until(lambda: len(asked(url, "devices")["devices"]) >= 5)
        for name, area in ROOMS.items():
            asked(url, "home", {"action": "area", "device": name, "value": area})
        asked(url, "remember", {"text": "My sister's name is Ana."})
        asked(url, "timer", {"action": "set", "seconds": 3000, "name": "roast"})
        yield url


ROOMS = {
    "Kitchen Lamp": "Kitchen",
    "Kitchen Shade": "Kitchen",
    "Kitchen kettle": "Kitchen",
    "Hall Lamp": "Hall",
    "Front Door": "Hall",
}


@pytest.fixture
def page(online: str) -> Iterator[Browser]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, browser(Path(folder)) as opened:
        opened.size(*DESKTOP)
        opened.go(f"{online}/")
        opened.until("document.getElementById('state').dataset.state === 'idle'")
        yield opened
        assert opened.problems() == []


def until(done: Any) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def state(online: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in asked(online, "devices")["devices"] if one["name"].lower() == name.lower()]
    state: dict[str, Any] = found["state"]
    return state


def room(name: str) -> str:
    return f"document.querySelector('#devices section[aria-label=\"{name}\"]')"


def opened_home(page: Browser) -> None:
    page.run("location.hash = '#home'")
    page.until(f"{room('Kitchen')} && {room('Hall')}")


def test_devices_stand_in_their_rooms_and_a_lamp_is_pressed_on(page: Browser, online: str, house: House) -> None:
    opened_home(page)
    kitchen = page.run(f"{room('Kitchen')}.innerText.toLowerCase()")
    assert "kitchen lamp" in kitchen
    assert "hall lamp" not in kitchen
    house.commands.clear()
    page.run("document.querySelector('[aria-label=\"Hall Lamp: On\" i]').click()")
    until(lambda: state(online, "hall lamp").get("on") is True)
    assert len(house.commands) == 1
    page.until(f"{room('Hall')}.innerText.includes('on')")
    assert state(online, "kitchen lamp").get("on") is not True


def test_a_lamp_is_dimmed_and_a_switch_pressed_by_keys_alone(page: Browser, online: str, house: House) -> None:
    opened_home(page)
    page.run("document.querySelector('[aria-label=\"Kitchen kettle: On\" i]').focus()")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", text="\r", windowsVirtualKeyCode=13)
    until(lambda: state(online, "kitchen kettle").get("on") is True)
    page.run("document.querySelector('[type=range][aria-label^=\"Kitchen Lamp\" i]').focus()")
    page.press("End", 35)
    until(lambda: state(online, "kitchen lamp").get("brightness") == 100)


def test_a_lock_is_opened_after_a_yes_and_stays_after_a_no(page: Browser, online: str, house: House) -> None:
    opened_home(page)
    assert state(online, "front door")["state"] == "locked"
    for answer, then in (("no", "locked"), ("yes", "unlocked")):
        house.commands.clear()
        page.until(
            "!document.querySelector('[aria-label=\"Front Door: Unlock\" i]').disabled"
        )  # the last answer is told
        page.run("document.querySelector('[aria-label=\"Front Door: Unlock\" i]').click()")
        page.until("document.getElementById('sure').open")
        assert "front door" in page.run("document.getElementById('sure-text').textContent.toLowerCase()")
        page.run(f"document.querySelector('#sure [value={answer}]').click()")
        page.until("!document.getElementById('sure').open")
        until(lambda then=then: state(online, "front door").get("state") == then)
        assert len(house.commands) == (answer == "yes")


def test_a_device_that_does_not_answer_is_said(page: Browser, house: House) -> None:
    opened_home(page)
    house.faults["Hall Lamp"] = "never"
    try:
        page.run("document.querySelector('[aria-label=\"Hall Lamp: Off\" i]').click()")
        page.until("document.getElementById('problem').textContent.includes('did not answer')")
        page.until("!document.querySelector('[aria-label=\"Hall Lamp: Off\" i]').disabled")
        assert "did not answer" in page.run("document.getElementById('problem').textContent"), "and it stays said"
    finally:
        house.faults.clear()


def test_health_is_drawn_from_what_was_measured(page: Browser, online: str) -> None:
    page.run("location.hash = '#health'")
    count = "document.querySelector('#plots polyline')?.getAttribute('points').split(' ').length"
    page.until(f"{count} >= 5")
    drawn = page.run(
        "Object.fromEntries([...document.querySelectorAll('#plots > div')].map((one) =>"
        " [one.querySelector('strong').textContent, {"
        " now: Number.parseFloat(one.querySelector('.head span').textContent),"
        " heights: one.querySelector('polyline').getAttribute('points').split(' ').map((at) => +at.split(',')[1]),"
        " told: one.querySelector('svg').getAttribute('aria-label') }]))"
    )
    assert {"Processor", "Memory of PersLM", "Memory that is free", "Load"} <= set(drawn)
    measured = asked(online, "health")
    assert abs(drawn["Memory of PersLM"]["now"] - measured["rss_mb"]) < 0.2 * measured["rss_mb"]
    for name, one in drawn.items():
        assert all(0 <= height <= 1 for height in one["heights"]), name
        assert one["told"].startswith(f"{name}: between ")
    free = drawn["Memory that is free"]
    assert len(set(free["heights"])) > 1, "what changes is no flat line"


def axe() -> str:
    """The rules, out of the package that carries them; skips where it is not installed."""
    for package in ("axe_playwright_python", "axe_core_python"):
        found = importlib.util.find_spec(package)
        if found is not None and found.submodule_search_locations:
            return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    pytest.skip("axe-core is not installed: `make setup` brings what tests need")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_axe_finds_nothing_in_any_part(size: tuple[int, int], dark: bool, page: Browser, tmp_path: Path) -> None:
    page.size(*size, dark=dark)
    page.call("Runtime.evaluate", expression=axe())
    wrong = {}
    for part in PARTS:
        page.run(f"location.hash = '#{part}'")
        page.until(f"!document.getElementById('{part}').hidden && document.getElementById('problem').hidden")
        if part == "home":
            opened_home(page)
        if part == "health":
            page.until("document.querySelector('#plots polyline')")
        told = page.run("axe.run(document, { resultTypes: ['violations'] }).then((told) => told)")
        found = [(one["id"], one["help"], one["nodes"][0]["html"][:120]) for one in told["violations"]]
        if found:
            wrong[part] = found
        assert len(told["passes"]) > 10, "it looked"
        page.shot(tmp_path / f"{part}-{size[0]}-{'dark' if dark else 'light'}.png")
    assert wrong == {}
