"""What sandboxed tools may have the daemon do: what their manifest and their call say, once, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from injected import World, world
from perslm_daemon.approvals import Approvals
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_tools import Tools as Config
from perslm_daemon.recollection import Recollection
from perslm_daemon.tool_desk import Desk
from perslm_daemon.tool_table import Parts, add_tools
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Caller, Limits, Manifest, NeedsYes, Tools, Who
from perslm_daemon.turn import Parts as Engines
from perslm_runtime import landlock
from perslm_runtime.errors import ToolRefused
from perslm_runtime.memory_backup import Keep
from perslm_runtime.memory_prune import Budget
from perslm_runtime.tool_call import Names, Whole

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock"),
]
NOW = datetime.fromisoformat("2026-11-27T12:00:00+01:00")
LAMP = {"action": "turn_on", "device": "kitchen light"}


@dataclass
class House:
    """The house of the injections, and a desk over its parts whose tools are what a test says."""

    world: World
    desk: Desk
    lamp: str
    door: str

    async def sends(
        self, tool: str, arguments: dict[str, Any], errands: Any, function: str = "asks", **caller: Any
    ) -> str:
        """A call of a real tool's manifest, whose child sends these errands instead of its own."""
        manifest = self.desk.tools.get(tool)
        assert manifest is not None
        run = self.desk.run_of(manifest, f"escapes:{function}")
        return (await run({**arguments, "errands": json.dumps(errands)}, Caller(**caller))).text

    def work(self, verb: str = "turn_on", device: str = "", value: int | None = None) -> dict[str, Any]:
        return {"type": "Work", "device": device or self.lamp, "verb": verb, "value": value}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with world(tmp_path_factory.mktemp("desk"), []) as here, Workers() as workers:
        recollection = Recollection(Engines(None, here.memory), "", Budget(), Keep())  # type: ignore[arg-type]  # nobody thinks here
        desk = Desk(here.tools, workers, lambda: NOW, here.home, here.schedule, recollection)
        lamp, door = here.home.find("kitchen light")[0], here.home.find("front door")[0]
        yield House(here, desk, lamp.id, door.id)


@pytest.fixture
async def house(whole: House) -> House:
    await whole.world.reset()
    return whole


async def test_no_tool_of_ours_runs_where_there_is_no_sandbox_to_run_it_in(house: House, tmp_path: Path) -> None:
    bulletin, here = Bulletin(), house.world
    tools = Tools(bulletin, Approvals(bulletin))
    config = Config(folder=here.folder, hosts=("127.0.0.1:1",), commands=("marker=/usr/bin/printf done",))
    parts = Parts(tmp_path, lambda: NOW, here.schedule, house.desk.recollection, here.home)
    await add_tools(tools, config, Workers(), parts)  # whose process was never started
    assert {one.family for one in tools.manifests} == set(Config().enabled)
    before = await here.state()
    for manifest in tools.manifests:
        with pytest.raises(ToolRefused, match="tools cannot run here"):
            await tools.call(manifest.name, any_arguments(manifest), Caller(yes=True))
    assert await here.state() == before


def any_arguments(manifest: Manifest) -> dict[str, str | int]:
    """Arguments that a tool takes."""
    return {
        one.name: one.options[0] if isinstance(one, Names) else one.least if isinstance(one, Whole) else "a word"
        for one in manifest.arguments
    }


@pytest.mark.parametrize(
    ("tool", "arguments", "errand", "why"),
    [
        ("home_state", {"device": "kitchen light"}, "work", "change home, which its manifest does not declare"),
        ("timers_show", {}, {"type": "SetTimer", "seconds": 60}, "change timers, which its manifest"),
        ("timers_show", {}, {"type": "Recall", "about": "the garage"}, "read memory, which its manifest"),
        ("memory_recall", {"about": "x"}, {"type": "Keep", "fact": "The door is open."}, "change memory, which"),
        ("timer_set", {"amount": 5, "unit": "minutes"}, {"type": "Devices", "most": 9}, "read home, which its"),
        ("timer_set", {"amount": 5, "unit": "minutes"}, {"type": "SetTimer", "seconds": 5}, "otherwise than its"),
        ("memory_remember", {"fact": "tea"}, {"type": "Keep", "fact": "Coffee."}, "otherwise than its call says"),
        ("home_do", LAMP, {"type": "Unlock", "device": "front door"}, "sent an errand that there is not"),
        ("home_do", LAMP, {"type": "Devices", "most": 9, "yes": True}, "sent an errand that there is not"),
        ("home_do", LAMP, {"type": "Devices", "most": "9"}, "sent an errand that there is not"),
        ("home_do", LAMP, ["Work"], "sent an errand that there is not"),
    ],
)
async def test_what_a_manifest_or_a_call_does_not_say_is_refused_by_name_and_nothing_is_done(
    tool: str, arguments: dict[str, Any], errand: Any, why: str, house: House
) -> None:
    before = await house.world.state()
    with pytest.raises(ToolRefused, match=f"the tool {tool} .*{why}"):
        await house.sends(tool, arguments, [house.work() if errand == "work" else errand])
    assert await house.world.state() == before


async def test_a_child_works_the_device_of_its_call_in_the_way_of_its_call_and_once(house: House) -> None:
    before = await house.world.state()
    for errand in (
        house.work("turn_off"),
        house.work(value=3),
        house.work(device=house.door),
        house.work("unlock", house.door),
        house.work(device="no such device"),
    ):
        with pytest.raises(ToolRefused, match="otherwise than its call says"):
            await house.sends("home_do", LAMP, [errand])
    assert await house.world.state() == before
    with pytest.raises(ToolRefused, match="twice in one call"):
        await house.sends("home_do", LAMP, [house.work(), house.work()])
    assert len(house.world.home.noted) == 1


async def test_a_yes_is_for_the_device_that_was_asked_about(house: House) -> None:
    unlock = {"action": "unlock", "device": "front door"}
    errands = [house.work("unlock", house.door)]
    with pytest.raises(NeedsYes) as asked:
        await house.sends("home_do", unlock, errands)
    assert "front door" in asked.value.question
    house.world.home.noted.clear()
    await asked.value.act()
    assert house.world.home.noted == [("unlock", None, "Front Door")]
    manifest = house.desk.tools.get("home_do")
    assert manifest is not None
    run = house.desk.run_of(manifest, "escapes:asks")
    another = {**unlock, "errands": json.dumps(errands)}
    with pytest.raises(ToolRefused, match="otherwise than its call says"):  # the name has become another device's
        await run(another, Caller(yes=True), "lock.sim9")  # type: ignore[call-arg]  # as after the question


async def test_what_is_read_while_a_call_runs_makes_its_change_wait_for_a_yes(house: House) -> None:
    led = {"turn": "one", "who": Who.MODEL}
    house.desk.tools.read("one", "example.org")
    before = await house.world.state()
    with pytest.raises(NeedsYes) as asked:
        await house.sends("home_do", LAMP, [house.work()], **led)
    assert asked.value.question == 'Shall I do this with "kitchen light": "turn_on"?'
    assert await house.world.state() == before


async def test_a_child_that_floods_dies_or_listens_to_nothing_costs_one_answer(house: House) -> None:
    devices = {"type": "Devices", "most": 60}
    assert (await house.sends("home_devices", {}, [devices] * 8)).count("Kitchen Light") == 8
    with pytest.raises(ToolRefused, match="more than 8 errands"):
        await house.sends("home_devices", {}, [devices] * 9)
    with pytest.raises(ToolRefused, match="more than 8 errands"):
        await house.sends("home_devices", {}, {"errand": devices}, "asks_and_listens_to_nothing")
    with pytest.raises(ToolRefused, match=r"asked for what it may not, or for too much|takes no answer"):
        await house.sends("home_devices", {}, {"dial": ["example.org", 443]}, "asks_and_listens_to_nothing")
    with pytest.raises(ToolRefused, match=r"ended without an answer|takes no answer"):
        await house.sends("home_devices", {}, [devices], "asks_and_dies")
    sent = {"errands": json.dumps([devices])}
    with pytest.raises(ToolRefused, match="asked for what it may not"):  # a tool that has no errands at all
        await house.desk.workers.run(Box("escapes:asks"), sent, Limits())
    result = await house.world.tools.call("home_do", LAMP, Caller())
    assert "the kitchen light" in result.text  # nobody has switched it: this house has no broker
    assert [verb for verb, _, _ in house.world.home.noted] == ["turn_on"]
