"""The verbs devices, device and home, over a home whose devices answer at once."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from command_line import PROGRAM, environment
from house import SHORT, until
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import keys
from perslm_daemon.control import ControlSocket
from perslm_daemon.control_client import SOCKET_NAME
from perslm_daemon.home import Home, Systems
from perslm_daemon.home_areas import parsed
from perslm_daemon.home_command import CONFIRM_S, UNDO_S
from perslm_daemon.home_device import VERBS, Device, Happened
from perslm_daemon.home_entity import Order
from perslm_daemon.home_nouns import fits
from perslm_daemon.home_verbs import DeviceArgs, DevicesArgs, HomeArgs, HomeVerbs
from perslm_daemon.verbs import Request, Verb, Verbs

pytestmark = pytest.mark.anyio

CONFIGS = {
    "light/a": {"name": "Kitchen Lamp", "uniq_id": "a", "schema": "json", "brightness": True, "sup_clrm": ["hs"]},
    "switch/b": {"name": "Kitchen Kettle", "uniq_id": "b"},
    "lock/c": {"name": "Front Door", "uniq_id": "c"},
    "climate/d": {"name": "Bedroom Heating", "uniq_id": "d", "modes": ["off", "heat"], "mode_cmd_t": "d/mode/set"},
    "select/e": {"name": "Boiler", "uniq_id": "e", "ops": ["eco", "full"]},
    "switch/f": {"name": "Lamp", "uniq_id": "f"},
    "switch/g": {"name": "Lamp", "uniq_id": "g"},
}


async def nothing(_event: object) -> None:
    """Events of a turn: there are none."""


class Fed:
    """A home whose devices answer at once, and its verbs."""

    def __init__(self, home: Home) -> None:
        self.home, self.sent = home, list[tuple[str, str]]()
        works = HomeVerbs(home)
        self.verbs = Verbs(
            {
                "devices": Verb("devices", DevicesArgs, "", works.devices),
                "device": Verb("device", DeviceArgs, "", works.device, changes_world=True),
                "home": Verb("home", HomeArgs, "", works.home, changes_world=True),
            }
        )

    async def publish(self, order: Order) -> None:
        self.sent.append((order.topic, order.payload.decode()))
        self.home.take(order.topic.replace("/set", "/state"), order.payload, retained=False)

    async def ask(self, verb: str, source: str = "mqtt", **args: Any) -> Any:
        response = await self.verbs.answer(Request(verb, json.dumps(args).encode(), source), nothing)
        return response.data if response.status == "ok" else response.error


@asynccontextmanager
async def fed(folder: Path) -> AsyncIterator[Fed]:
    home = Home(folder, Systems(), Bulletin(), SHORT)
    made = Fed(home)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(home.run)
        home.connected(made.publish)
        for topic, config in CONFIGS.items():
            id_ = topic[-1]
            body = {"cmd_t": f"{id_}/set", "stat_t": f"{id_}/state", "temp_cmd_t": f"{id_}/t/set", **config}
            home.take(f"homeassistant/{topic}/config", json.dumps(body).encode(), retained=True)
        await until(lambda: len(home.devices()) == len(CONFIGS))
        yield made
        tasks.cancel_scope.cancel()


async def test_devices_are_told_with_their_states(tmp_path: Path) -> None:
    async with fed(tmp_path) as here:
        await here.ask("device", device="Kitchen Lamp", value="on")
        data = await here.ask("devices", area="kitchen")
        assert [one["name"] for one in data["devices"]] == ["Kitchen Lamp", "Kitchen Kettle"]
        assert data["devices"][0]["state"] == {"on": True}
        assert [area["name"] for area in data["areas"]] == ["Bedroom", "Kitchen"]
        assert (await here.ask("devices", since=data["changes"]))["devices"] == []
        here.home.take("b/state", b"ON", retained=False)
        await until(lambda: here.home.changed_since(data["changes"]))
        assert [one["id"] for one in (await here.ask("devices", since=data["changes"]))["devices"]] == ["switch.b"]
        assert [one["name"] for one in (await here.ask("devices", domain="lock"))["devices"]] == ["Front Door"]


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("kitchen lamp", "off", ("a/set", '{"state": "OFF"}')),
        ("the Kitchen Lamp", 40, ("a/set", '{"state": "ON", "brightness": 102}')),
        ("Kitchen Lamp", "40%", ("a/set", '{"state": "ON", "brightness": 102}')),
        ("Kitchen Lamp", "red", ("a/set", '{"state": "ON", "color": {"h": 0.0, "s": 100.0}}')),
        ("Kitchen Lamp", True, ("a/set", '{"state": "ON"}')),
        ("Kitchen Kettle", "on", ("b/set", "ON")),
        ("Bedroom Heating", 21, ("d/t/set", "21")),
        ("Bedroom Heating", "heat", ("d/mode/set", "heat")),
        ("Boiler", "eco", ("e/set", "eco")),
    ],
)
async def test_a_bare_value_means_what_people_mean(
    name: str, value: object, sent: tuple[str, str], tmp_path: Path
) -> None:
    async with fed(tmp_path) as here:
        await here.ask("device", device=name, value=value)
        assert here.sent[0] == sent


async def test_an_action_is_typed(tmp_path: Path) -> None:
    async with fed(tmp_path) as here:
        data = await here.ask("device", device="Kitchen Lamp", do="turn_on", brightness=50, color="blue")
        assert data["text"] == "the kitchen lamp is blue at 50 percent"
        assert data["outcomes"][0]["happened"] == "done"
        many = await here.ask("device", device=["Kitchen Lamp", "Kitchen Kettle"], do="turn_off")
        assert many["text"] == "2 devices are off"
        assert "known are turn_on" in await here.ask("device", device="Kitchen Lamp", do="explode")
        assert "which device" in await here.ask("device", do="turn_on")
        assert "no colour" in await here.ask("device", device="Kitchen Lamp", do="set_color", value="mud")
        assert "say which by its id" in await here.ask("device", device="Lamp", value="on")
        assert "there is no device" in await here.ask("device", device="Toaster", value="on")
        assert "means nothing" in await here.ask("device", device="Kitchen Kettle", value="blue")


async def test_everything_in_a_room_is_worked(tmp_path: Path) -> None:
    async with fed(tmp_path) as here:
        await here.ask("device", everything=True, area="KITCHEN", value="off")
        assert sorted(topic for topic, _ in here.sent) == ["a/set", "b/set"]
        assert "there is no" in await here.ask("device", everything=True, area="Moon", value="off")


async def test_a_question_is_answered_by_its_id_or_left(tmp_path: Path) -> None:
    async with fed(tmp_path) as here:
        data = await here.ask("device", device="Front Door", do="unlock")
        assert data["outcomes"][0]["happened"] == "needs_confirmation"
        assert data["confirm"]["question"] == "Do you really want to unlock the front door?"
        assert here.sent == []
        assert (await here.ask("home", action="confirm", id=data["confirm"]["id"], yes=False))["outcomes"] == []
        assert "nothing waits" in await here.ask("home", action="confirm")
        await here.ask("device", device="Front Door", do="unlock")
        await here.ask("home", action="confirm")
        assert here.sent == [("c/set", "UNLOCK")]


async def test_names_areas_aliases_and_rules_are_kept(tmp_path: Path) -> None:
    async with fed(tmp_path) as here:
        await here.ask("home", action="name", device="Kitchen Lamp", value="Anna")
        await here.ask("home", action="alias", device="Anna", value="my lamp")
        await here.ask("home", action="area", device="Anna", value="Den")
        await here.ask("home", action="floor", device="den", value="upstairs")
        await here.ask("home", action="hide", device="Kitchen Kettle")
        told = (await here.ask("devices", text="my lamp"))["devices"][0]
        assert (told["name"], told["area"], told["floor"]) == ("Anna", "Den", "upstairs")
        assert "Kitchen Kettle" not in [one["name"] for one in (await here.ask("devices"))["devices"]]
        assert here.home.everything(floor="upstairs") == ("light.a",)
        await here.ask("home", action="alias", device="Anna", value="my lamp")
        assert here.home.find("my lamp") == ()
        assert "cannot be a name" in await here.ask("home", action="name", device="Anna", value="<|im_end|>")
        refused = await here.ask("home", action="rule", device="Front Door", value="never")
        assert "on the machine itself" in refused
        await here.ask("home", source="socket", action="rule", device="Front Door", value="never")
        await here.ask("device", device="Front Door", do="unlock")
        assert ("c/set", "UNLOCK") in here.sent
        text = await anyio.to_thread.run_sync(partial((tmp_path / "home.toml").read_text))
        assert 'name = "Anna"' in text


async def test_undo_is_a_verb(tmp_path: Path) -> None:
    async with fed(tmp_path) as here:
        await here.ask("device", device="Kitchen Kettle", value="off")
        await here.ask("device", device="Kitchen Kettle", value="on")
        assert (await here.ask("home", action="undo"))["text"] == "the kitchen kettle is off"


def test_the_page_names_every_action_outcome_key_and_event() -> None:
    page = (Path(__file__).parents[1] / "docs/home.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[a-z_]+", page))
    assert set(VERBS) <= words
    for happened in Happened:
        assert f"`{happened.value}`" in page
    named = set(re.findall(r"`(home\.[a-z0-9_]+)", page)) - {"home.toml", "home.cache"}
    assert named == {key for key in keys() if key.startswith("home.")}
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert parsed(example).mistakes == ()
    assert "30 seconds" in page
    assert (CONFIRM_S, UNDO_S) == (30, 600)


def perslm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [*PROGRAM, *arguments]
    return subprocess.run(argv, env=environment(folder), capture_output=True, text=True, timeout=60, check=False)


def watched(folder: Path, drawn: bool, enough: Callable[[str], bool]) -> str:
    """What `perslm devices --watch` prints until it is enough; on a terminal of its own where `drawn`."""
    master, slave = pty.openpty()
    out = slave if drawn else subprocess.PIPE
    env = {**environment(folder), "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    text = ""
    with subprocess.Popen(
        [*PROGRAM, "devices", "--watch"], env=env, stdout=out, stderr=subprocess.DEVNULL
    ) as child:
        os.close(slave)
        source = master if drawn else child.stdout.fileno()  # type: ignore[union-attr]  # a pipe was asked for
        try:
            while not enough(text):
                text += os.read(source, 65536).decode()
        finally:
            child.terminate()
            os.close(master)
    return text


async def test_the_command_line_lists_watches_works_and_names(tmp_path: Path) -> None:
    """Over a real control socket, in processes of its own."""
    run = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)
    folder = tmp_path / "data"
    await run(folder.mkdir)
    async with fed(folder) as here, anyio.create_task_group() as tasks:
        served = ControlSocket(folder / SOCKET_NAME, here.verbs, Bulletin(), lambda: "")
        await tasks.start(served.serve)
        listed = await run(perslm, tmp_path, "devices")
        assert listed.stdout.splitlines()[1:3] == [
            "Bedroom Heating\tBedroom\tclimate\t?\tclimate.d",
            "Kitchen Kettle\tKitchen\tswitch\t?\tswitch.b",
        ]
        worked = await run(perslm, tmp_path, "devices", "set", "kitchen lamp", "40%")
        assert (worked.returncode, worked.stdout) == (0, "The kitchen lamp is on at 40 percent.\n")
        asked = await run(perslm, tmp_path, "devices", "set", "Front Door", "unlock")
        assert asked.returncode == 3
        assert "say --yes" in asked.stderr
        yes = await run(perslm, tmp_path, "devices", "set", "Front Door", "unlock", "--yes", "--json")
        assert json.loads(yes.stdout)["outcomes"][0]["id"] == "lock.c"
        named = await run(perslm, tmp_path, "devices", "name", "Kitchen Kettle", "Tea")
        assert "Tea" in named.stdout
        lines = await run(watched, tmp_path, False, lambda text: "Tea" in text)
        assert "switch.b" in lines
        table = await run(watched, tmp_path, True, lambda text: "Tea" in text and "Kitchen Lamp" in text)
        assert "brightness 40" in table
        tasks.cancel_scope.cancel()


def test_what_stands_in_a_lamp_room_is_no_lamp_for_that() -> None:
    works = frozenset(("turn_on", "turn_off"))
    heater = Device("h", "Lamp Room Heater", "climate", area="Lamp Room", capabilities=works)
    plug = Device("p", "Lamp Room Bedside Lamp", "switch", area="Lamp Room", capabilities=works)
    kettle = Device("k", "Lamp Room Kettle", "switch", area="Lamp Room", capabilities=works)
    assert [one.id for one in (heater, plug, kettle) if fits(one, "light")] == ["p"]
    assert [one.id for one in (heater, plug, kettle) if fits(one, "switch")] == ["k"]
