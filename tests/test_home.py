"""The home on a real mosquitto, with simulated devices that answer at once, late, never, wrongly, or go."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread
import pytest

from house import SHORT, House, Learned, built, learned, until
from mosquitto import Broker, Client, running
from perslm_daemon import home_cache
from perslm_daemon.bench_devices import Sent, SimDevice, SimHouse, add_node, add_tasmota, gateway
from perslm_daemon.bench_house import add_lock_and_fan, make_house
from perslm_daemon.bulletin import Happening
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.home_command import Grant, Waits
from perslm_daemon.home_device import VERBS, Action, Device, Happened, Outcome
from perslm_daemon.homeassistant import HomeAssistant
from perslm_daemon.topics import Topics
from perslm_daemon.turn import Tell
from perslm_daemon.verbs import Args, Request, Verb, Verbs
from perslm_runtime.errors import InputError

pytestmark = pytest.mark.anyio
ESP = "aabbccddee01"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    (tmp_path / "broker").mkdir()
    with running(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


def single(topic: str, **config: Any) -> Sent:
    return Sent(f"homeassistant/{topic}/config", json.dumps(config), True)


EVERY_KIND = (
    ("light", "Kitchen Lamp"),
    ("switch", "Kitchen Kettle"),
    ("cover", "Kitchen Shade"),
    ("fan", "Kitchen Fan"),
    ("lock", "Front Door"),
    ("button", "Doorbell Chime"),
    ("number", "Oven Timer"),
    ("select", "Boiler Mode"),
    ("text", "Kitchen Display"),
    ("valve", "Garden Valve"),
    ("siren", "Attic Siren"),
    ("sensor", "Kitchen Brightness"),
    ("binary_sensor", "Kitchen Motion"),
)


def every_kind() -> SimHouse:
    """One of every kind of thing, in all four systems."""
    house = make_house(seed=3, areas=2, entities=40)
    hub_devices = json.loads(
        next(one.payload for one in house.announcements if one.topic == "zigbee2mqtt/bridge/devices")
    )
    add_lock_and_fan(house, hub_devices)
    house.announcements = [one for one in house.announcements if one.topic != "zigbee2mqtt/bridge/devices"]
    house.announcements.append(Sent("zigbee2mqtt/bridge/devices", json.dumps(hub_devices), True))
    add_node(house, "node-1", ESP, list(EVERY_KIND))
    add_tasmota(house, "Two relays", [1, 1], "AABBCCDDEE02")
    add_tasmota(house, "Colour strip", [2], "AABBCCDDEE03", subtype=5)
    add_tasmota(house, "Shutter box", [3, 3], "AABBCCDDEE04")
    return house


def only(found: tuple[Device, ...]) -> Device:
    (device,) = found
    return device


async def act(here: Learned, name: str, action: Action, grant: Grant = Grant.CONFIRMED) -> Outcome:
    (outcome,) = await here.home.act([only(here.home.find(name)).id], action, grant=grant)
    return outcome


async def thread(function: Callable[..., Any], *args: Any) -> Any:
    return await anyio.to_thread.run_sync(function, *args)


WORKED = [
    (
        "Kitchen Lamp",
        Action("turn_on", brightness=50, color=(120, 100)),
        "the kitchen lamp is green at 50 percent",
    ),
    ("Kitchen Lamp", Action("set_brightness", 20), "the kitchen lamp is on at 20 percent"),
    ("Kitchen Lamp", Action("set_effect", "rainbow"), None),
    ("Kitchen Lamp", Action("toggle"), "the kitchen lamp is off"),
    ("Kitchen Kettle", Action("turn_on"), "the kitchen kettle is on"),
    ("Kitchen Shade", Action("open"), "the kitchen shade is (opening|open)"),
    ("Kitchen Shade", Action("set_position", 40), "the kitchen shade is 40 percent open"),
    ("kitchen blind", Action("set_position", 30), "the kitchen blind is 30 percent open"),
    ("Kitchen Shade", Action("stop"), "the kitchen shade is (open|40 percent open)"),
    ("Kitchen Fan", Action("turn_on"), "the kitchen fan is on"),
    ("Kitchen Fan", Action("set_percentage", 50), "the kitchen fan is set to 50 percent"),
    ("Front Door", Action("unlock"), "the front door is unlocked"),
    ("Front Door", Action("lock"), "the front door is locked"),
    ("Oven Timer", Action("set_value", 12.5), "the oven timer is set to 12.5"),
    ("Boiler Mode", Action("select", "Comfort"), "the boiler mode is set to comfort"),
    ("Kitchen Display", Action("set_text", "soup"), "the kitchen display is set to soup"),
    ("Garden Valve", Action("open"), "the garden valve is (opening|open)"),
    ("Doorbell Chime", Action("press"), "I pressed the doorbell chime, which does not report back"),
    ("front door lock", Action("unlock"), "the front door lock is unlocked"),
    ("ceiling fan", Action("turn_on"), "the ceiling fan is on"),
    ("ceiling fan", Action("set_preset", "medium"), "the ceiling fan is set to medium"),
    ("desk sockets left", Action("turn_on"), "the desk sockets left is on"),
    ("desk sockets right", Action("turn_off"), "the desk sockets right is off"),
    ("kitchen ceiling light", Action("turn_on", kelvin=2700), "the kitchen ceiling light is at 2703 kelvin"),
    ("kitchen ceiling light", Action("set_color", (0, 100)), "the kitchen ceiling light is red"),
    ("kitchen radiator", Action("set_temperature", 21.5), "the kitchen radiator is set to 21.5 degrees"),
    ("kitchen radiator", Action("change_temperature", -2), "the kitchen radiator is set to 19.5 degrees"),
    ("kitchen radiator", Action("set_mode", "Auto"), "the kitchen radiator is set to auto"),
    ("kitchen radiator", Action("turn_off"), "the kitchen radiator is set to off"),
    ("kitchen plug", Action("turn_on"), "the kitchen plug is on"),
    ("kitchen blind", Action("close"), "the kitchen blind is closed"),
    ("Two relays 2", Action("turn_on"), "the two relays 2 is on"),
    ("Colour strip", Action("turn_on", brightness=70), "the colour strip is on at 70 percent"),
    ("Colour strip", Action("set_color", (240, 90)), "the colour strip is blue"),
    ("Colour strip", Action("set_color_temp", 2700), "the colour strip is at 2703 kelvin"),
    ("Shutter box shutter 1", Action("open"), "the shutter box shutter 1 is (opening|open)"),
    (
        "Shutter box shutter 1",
        Action("set_position", 30),
        ".* is (closing|30 percent open)",
    ),
    ("Kitchen gateway Heater", Action("turn_on"), "the kitchen gateway heater is on"),
    ("Kitchen gateway Level", Action("set_value", 12), "the kitchen gateway level is set to 12"),
]


async def test_every_kind_of_device_is_worked_and_confirmed(broker: Broker, folder: Path) -> None:
    sim = every_kind()
    async with built(broker.port, sim) as house, learned(broker.url, folder) as here:
        await thread(house.send, list(sim.reports()))
        await until(lambda: here.home.state(only(here.home.find("kitchen radiator")).id).values)
        seen = []
        for name, action, said in WORKED:
            outcome = await act(here, name, action)
            seen.append(outcome)
            good = Happened.TOLD if action.verb == "press" else None
            assert outcome.happened is good or outcome.happened.good, outcome
            assert said is None or re.fullmatch(said, outcome.sentence), outcome
        assert here.home.pending is None
        assert len({one.device for one in seen}) >= 18


def repeated(topic: str, words: dict[str, str], payload: str) -> list[Sent]:
    return [Sent(topic, words.get(payload, payload), True)]


def add_rarer_kinds(house: SimHouse) -> None:
    """What ESPHome and the hubs have not, with topics and words of Home Assistant's documentation."""

    def add(domain: str, name: str, says: dict[str, tuple[str, dict[str, str]]], **config: Any) -> None:
        """`says`: by command topic where it reports, and in which words it repeats what it was told."""
        answers = {told: partial(repeated, at, words) for told, (at, words) in says.items()}
        house.announcements.append(single(f"{domain}/{name.lower()}", name=name, uniq_id=name, **config))
        house.devices.append(SimDevice(name, domain, "rare", answers))
        house.entities += 1

    add("cover", "Slats", {"sl/t/set": ("sl/t", {})}, tilt_command_topic="sl/t/set", tilt_status_topic="sl/t")
    directions = {"direction_command_topic": "f/d/set", "direction_state_topic": "f/d"}
    add("fan", "Turner", {"f/set": ("f", {}), "f/d/set": ("f/d", {})}, cmd_t="f/set", stat_t="f", **directions)
    presets = {
        "preset_mode_command_topic": "c/p/set",
        "preset_mode_state_topic": "c/p",
        "preset_modes": ["eco", "away"],
    }
    add("climate", "Stove", {"c/p/set": ("c/p", {})}, **presets)
    add("scene", "Supper", {"sc/set": ("sc", {})}, cmd_t="sc/set")
    told = {'{"state":"ON"}': "ON", '{"state":"OFF"}': "OFF"}
    add("siren", "Howler", {"si/set": ("si", told)}, cmd_t="si/set", stat_t="si")
    states = {"start": '{"state":"cleaning"}', "return_to_base": '{"state":"returning"}'}
    add("vacuum", "Sweeper", {"v/set": ("v", states)}, cmd_t="v/set", stat_t="v")
    target = {"target_humidity_command_topic": "h/t/set", "target_humidity_state_topic": "h/t"}
    says = {"h/set": ("h", {}), "h/t/set": ("h/t", {})}
    add("humidifier", "Mister", says, cmd_t="h/set", stat_t="h", **target)
    player = {
        "state_state_topic": "m/s",
        "state_volume_topic": "m/v",
        "command_volume_topic": "m/v/set",
        "command_play_topic": "m/set",
        "command_pause_topic": "m/set",
    }
    says = {"m/set": ("m/s", {"Play": "playing", "Pause": "paused"}), "m/v/set": ("m/v", {})}
    add("media_player", "Jukebox", says, **player)
    mower = {"activity_state_topic": "l", "start_mowing_command_topic": "l/set", "dock_command_topic": "l/dock"}
    mows = {"l/set": ("l", {"start_mowing": "mowing"}), "l/dock": ("l", {"dock": "returning"})}
    add("lawn_mower", "Grazer", mows, **mower)
    armed = {"a/set": ("a", {"ARM_AWAY": "armed_away", "DISARM": "disarmed"})}
    codeless = {"code_arm_required": False, "code_disarm_required": False}
    add("alarm_control_panel", "Guard", armed, cmd_t="a/set", stat_t="a", **codeless)


RARELY_WORKED = [
    ("Slats", Action("set_tilt", 30), "Slats is .*30 percent.*"),
    ("Turner", Action("set_direction", "reverse"), "Turner is set to reverse"),
    ("Stove", Action("set_preset", "eco"), "Stove is set to eco"),
    ("Supper", Action("activate"), "I started Supper, which does not report back"),
    ("Howler", Action("turn_on"), "Howler is on"),
    ("Howler", Action("turn_off"), "Howler is off"),
    ("Sweeper", Action("start"), "Sweeper is cleaning"),
    ("Sweeper", Action("return_to_base"), "Sweeper is returning"),
    ("Mister", Action("turn_on"), "Mister is on"),
    ("Mister", Action("set_humidity", 45), "Mister is set to 45 percent"),
    ("Jukebox", Action("play"), "Jukebox is playing"),
    ("Jukebox", Action("set_volume", 40), "Jukebox is set to 40 percent"),
    ("Jukebox", Action("pause"), "Jukebox is paused"),
    ("Grazer", Action("start"), "Grazer is mowing"),
    ("Grazer", Action("return_to_base"), "Grazer is returning"),
    ("Guard", Action("arm_away"), "Guard is armed away"),
    ("Guard", Action("disarm"), "Guard is disarmed"),
]


async def test_the_rarer_kinds_are_worked_and_confirmed_as_well(broker: Broker, folder: Path) -> None:
    sim = SimHouse()
    add_rarer_kinds(sim)
    async with built(broker.port, sim), learned(broker.url, folder) as here:
        for name, action, said in RARELY_WORKED:
            outcome = await act(here, name, action)
            wanted = Happened.TOLD if action.verb == "activate" else None
            assert outcome.happened is wanted or outcome.happened in {Happened.DONE, Happened.STARTED}, outcome
            assert re.fullmatch(said, outcome.sentence), outcome


async def test_devices_that_answer_late_never_or_wrongly_or_vanish_are_told_apart(
    broker: Broker, folder: Path
) -> None:
    sim = every_kind()
    faults = {
        "kitchen plug": "late",
        "living room plug": "never",
        "Kitchen Kettle": "wrong",
        "Two relays": "vanish",
        "desk sockets": "once",
    }
    said = {
        "kitchen plug": (Happened.DONE, "the kitchen plug is on"),
        "living room plug": (Happened.SILENT, "the living room plug did not answer"),
        "Kitchen Kettle": (Happened.REFUSED, "the kitchen kettle is still off"),
        "Two relays": (Happened.UNAVAILABLE, "the two relays is unavailable"),
        "desk sockets left": (Happened.DONE, "the desk sockets left is on"),
    }
    async with built(broker.port, sim) as house, learned(broker.url, folder, waits=Waits(light=1.6)) as here:
        house.faults |= faults
        ids = [only(here.home.find(name)).id for name in said]
        outcomes = await here.home.act(ids, Action("turn_on"))
        assert [(one.happened, one.sentence) for one in outcomes] == list(said.values())
        assert house.counted["zigbee2mqtt/living_room_plug/set"] == 2  # told again once
        assert house.counted["zigbee2mqtt/desk_sockets/set"] == 2  # and here that helped
        assert here.home.summary(outcomes[:3]) == (
            "1 of 3 switches is on; the living room plug did not answer; the kitchen kettle is still off"
        )
        sent = house.counted["cmnd/two_relays/POWER1"]
        again = await act(here, "Two relays", Action("turn_on"))
        assert (again.happened, house.counted["cmnd/two_relays/POWER1"]) == (Happened.UNAVAILABLE, sent)


async def test_what_must_not_happen_twice_is_told_once(broker: Broker, folder: Path) -> None:
    names = {"Doorbell Chime": "press", "Front Door": "unlock", "Kitchen Shade": "open"}
    sim = every_kind()
    async with built(broker.port, sim) as house, learned(broker.url, folder, waits=SHORT) as here:
        house.faults |= dict.fromkeys(names, "never")
        async with anyio.create_task_group() as tasks:
            for name, verb in names.items():
                tasks.start_soon(act, here, name, Action(verb))
        for name in names:
            (topic,) = [topic for topic in house.device(name).answers if topic.count("/") == 3][:1]
            await until(lambda topic=topic: house.counted[topic])
            assert house.counted[topic] == 1, topic


async def test_what_reports_nothing_is_never_claimed(broker: Broker, folder: Path) -> None:
    sim = SimHouse([single("switch/blind", name="Old Heater", uniq_id="o1", cmd_t="old/set")])
    async with built(broker.port, sim), learned(broker.url, folder) as here:
        outcome = await act(here, "Old Heater", Action("turn_on"))
        assert outcome.happened is Happened.TOLD
        assert outcome.sentence == "I told the old heater to turn on, but it does not report back"


async def test_a_device_that_is_so_already_and_reports_only_changes_is_said_to_be(
    broker: Broker, folder: Path
) -> None:
    config = single("switch/a", name="Plug", uniq_id="a", cmd_t="a/set", stat_t="a/state")
    async with (
        built(broker.port, SimHouse([config, Sent("a/state", "ON", True)])),
        learned(broker.url, folder) as here,
    ):
        outcome = await act(here, "Plug", Action("turn_on"))
        assert (outcome.happened, outcome.sentence) == (Happened.ALREADY, "the plug is already on")


async def test_locks_doors_garages_and_alarms_ask_first(broker: Broker, folder: Path) -> None:
    sim = SimHouse(
        [
            single("cover/g", name="Garage Door", uniq_id="g", cmd_t="g/set", stat_t="g/state", dev_cla="garage"),
            single("button/o", name="Open the gate", uniq_id="o", cmd_t="o/set"),
            single("alarm_control_panel/p", name="House Alarm", uniq_id="p", cmd_t="p/set", stat_t="p/state"),
            single("lock/l", name="Back Door", uniq_id="l", cmd_t="l/set", stat_t="l/state"),
        ]
    )
    async with built(broker.port, sim) as house:
        house._client.subscribe([(f"{one}/set", 1) for one in "gopl"])
        async with learned(broker.url, folder, waits=SHORT) as here:
            for name, verb in (
                ("Garage Door", "open"),
                ("Open the gate", "press"),
                ("House Alarm", "disarm"),
                ("Back Door", "unlock"),
            ):
                outcome = await act(here, name, Action(verb), Grant.ASK)
                assert outcome.happened is Happened.NEEDS_CONFIRMATION
                assert outcome.sentence.startswith("Do you really want to")
                refused = await act(here, name, Action(verb), Grant.SAFE_ONLY)
                assert refused.happened is Happened.FORBIDDEN
            assert house.commands == []
            assert here.home.everything() == ()
            await here.home.confirm(False)
            await here.home.confirm(True)
            await until(lambda: house.commands)
            assert house.commands[0] == ("p/set", "DISARM")


async def test_a_rule_of_the_house_does_without_the_question(broker: Broker, folder: Path) -> None:
    await thread(
        (folder / "home.toml").write_text, '[confirm]\nlock = "opening"\n[devices."lock.l2"]\nconfirm = "never"\n'
    )
    sim = SimHouse(
        [
            single("lock/l", name="Back Door", uniq_id="l", cmd_t="l/set"),
            single("lock/l2", name="Shed Door", uniq_id="l2", cmd_t="l2/set"),
        ]
    )
    async with built(broker.port, sim), learned(broker.url, folder) as here:
        assert (await act(here, "Back Door", Action("lock"), Grant.ASK)).happened is Happened.TOLD
        unlock = await act(here, "Back Door", Action("unlock"), Grant.ASK)
        assert unlock.happened is Happened.NEEDS_CONFIRMATION
        assert (await act(here, "Shed Door", Action("unlock"), Grant.ASK)).happened is Happened.TOLD


async def test_everything_is_lights_switches_fans_players_and_covers(broker: Broker, folder: Path) -> None:
    sim = every_kind()
    async with built(broker.port, sim), learned(broker.url, folder) as here:
        found = [here.home.device(id_) for id_ in here.home.everything()]
        domains = {device.domain for device in found if device is not None}
        assert domains == {"light", "switch", "fan", "cover"}
        assert not [one for one in found if one is not None and (one.hidden or "door" in one.name.lower())]
        kitchen = here.home.everything(area="Kitchen")
        assert 0 < len(kitchen) < len(found)


async def test_the_last_action_is_taken_back(broker: Broker, folder: Path) -> None:
    sim = every_kind()
    async with built(broker.port, sim) as house, learned(broker.url, folder) as here:
        await thread(house.send, list(sim.reports()))
        names = ["kitchen plug", "Kitchen Lamp", "kitchen radiator"]
        await act(here, "Kitchen Lamp", Action("turn_on", brightness=80))
        ids = [only(here.home.find(name)).id for name in names[:2]]
        await here.home.act(ids, Action("turn_off"))
        outcomes = await here.home.undo()
        assert [one.happened.good for one in outcomes] == [True, True]
        lamp = here.home.state(ids[1]).values
        assert (lamp["on"], round(float(lamp["brightness"]))) == (True, 80)  # type: ignore[arg-type]  # a number
        await act(here, names[2], Action("set_temperature", 25))
        await here.home.undo()
        assert here.home.state(only(here.home.find(names[2])).id).values["temperature"] == 20
        with pytest.raises(InputError, match="nothing that could be taken back"):
            await here.home.undo()


async def test_a_removed_device_is_gone_at_once_and_one_removed_while_we_were_away_too(
    broker: Broker, folder: Path
) -> None:
    sim = SimHouse(
        [single(f"switch/{one}", name=f"Plug {one}", uniq_id=one, cmd_t=f"{one}/set") for one in ("a", "b")]
    )
    async with built(broker.port, sim) as house:
        async with learned(broker.url, folder) as here:
            assert len(here.home.devices()) == 2
            await thread(house.send, [Sent("homeassistant/switch/a/config", "", True)])
            await until(lambda: len(here.home.devices()) == 1)
        kept = await thread(home_cache.HomeCache(folder).read)
        assert [one.topic for one in kept.announcements] == ["homeassistant/switch/b/config"]
        await thread(house.send, [Sent("homeassistant/switch/b/config", "", True)])
        async with learned(broker.url, folder) as here:
            assert here.home.devices() == ()


async def test_after_a_restart_the_home_is_known_before_the_broker_is_there(broker: Broker, folder: Path) -> None:
    sim = every_kind()
    async with built(broker.port, sim) as house, learned(broker.url, folder) as here:
        await thread(house.send, list(sim.reports()))
        await act(here, "kitchen plug", Action("turn_on"))
        before = {device.id for device in here.home.devices()}
    await thread(broker.stop)
    from perslm_daemon.bulletin import Bulletin
    from perslm_daemon.home import Home, Systems

    again = Home(folder, Systems(), Bulletin())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(again.run)
        await until(lambda: len(again.devices()) == len(before))
        assert {device.id for device in again.devices()} == before
        plug = only(again.find("kitchen plug"))
        await until(lambda: again.state(plug.id).values)
        assert again.state(plug.id).values["on"] is True
        (outcome,) = await again.act([plug.id], Action("turn_off"))
        assert outcome.happened is Happened.OFFLINE
        tasks.cancel_scope.cancel()


async def test_the_broker_comes_back_and_the_home_goes_on(broker: Broker, folder: Path) -> None:
    sim = every_kind()
    async with built(broker.port, sim) as house, learned(broker.url, folder) as here:
        known = len(here.home.devices())
        await thread(broker.stop)
        await until(lambda: not here.link.connected)
        plug = only(here.home.find("kitchen plug")).id
        (outcome,) = await here.home.act([plug], Action("turn_on"))
        assert outcome.happened is Happened.OFFLINE
        await thread(broker.start)  # it has forgotten everything that was retained
        await until(lambda: here.link.connected, 30)
        await until(house._client.is_connected, 30)
        await thread(house.announce)
        await until(lambda: len(here.home.devices()) == known)
        await anyio.sleep(1)  # the devices' own client has to listen again, too
        topics = sim.command_topics()
        await thread(lambda: house._client.subscribe([(topic, 1) for topic in topics]))
        await until(lambda: here.home._commands.publish is not None)
        assert (await act(here, "kitchen plug", Action("turn_on"))).happened is Happened.DONE


async def test_the_home_is_learned_over_mqtt_3_1_1(broker: Broker, folder: Path) -> None:
    async with (
        built(broker.port, every_kind()),
        learned(broker.url, folder, link=Mqtt(protocol="3.1.1")) as here,
    ):
        assert (await act(here, "kitchen plug", Action("turn_on"))).happened is Happened.DONE
        assert (await act(here, "Kitchen Lamp", Action("turn_on"))).happened is Happened.DONE


async def test_a_device_that_two_systems_announce_is_one_device(broker: Broker, folder: Path) -> None:
    sim = make_house(seed=3, areas=1, entities=12)
    listed = json.loads(
        next(one.payload for one in sim.announcements if one.topic == "zigbee2mqtt/bridge/devices")
    )
    bulb = next(one for one in listed if one["friendly_name"] == "kitchen_ceiling_light")
    sim.announcements += [
        single(  # as zigbee2mqtt's own Home Assistant extension announces it
            f"light/{bulb['ieee_address']}/light",
            name=None,
            unique_id=f"{bulb['ieee_address']}_light_zigbee2mqtt",
            schema="json",
            brightness=True,
            command_topic="zigbee2mqtt/kitchen_ceiling_light/set",
            state_topic="zigbee2mqtt/kitchen_ceiling_light",
            device={"identifiers": [f"zigbee2mqtt_{bulb['ieee_address']}"], "name": "kitchen_ceiling_light"},
        ),
        single(
            "sensor/x", name="Socket energy", uniq_id="e", stat_t="x", dev={"cns": [["mac", "AA:BB:CC:DD:EE:05"]]}
        ),
    ]
    add_tasmota(sim, "Kitchen heater", [1], "AABBCCDDEE05")
    async with built(broker.port, sim) as house, learned(broker.url, folder) as here:
        lights = [one for one in here.home.devices() if one.domain == "light" and "ceiling" in one.name]
        assert [one.source for one in lights] == ["zigbee2mqtt"]
        assert here.home.find("Socket energy") == ()
        everything = here.home.everything()
        await here.home.act(everything, Action("turn_off"))
        assert max(house.counted[topic] for topic in house.counted if topic.endswith("/set")) == 1


async def test_what_perslm_announces_never_enters_and_requests_come_once(broker: Broker, folder: Path) -> None:
    counted: list[str] = []

    async def count(_args: Args, _request: Request, _tell: Tell) -> dict[str, Any]:
        counted.append("once")
        return {}

    own = {
        "dev": {"ids": ["perslm_x"], "name": "PersLM"},
        "o": {"name": "PersLM"},
        "cmps": {"mute": {"p": "switch", "uniq_id": "m", "name": "Mute", "cmd_t": "perslm/kitchen/mute/set"}},
    }
    sim = SimHouse(
        [
            Sent("homeassistant/device/perslm_kitchen/config", json.dumps(own), True),
            single("switch/own", name="Own", uniq_id="own", o={"name": "PersLM"}, cmd_t="elsewhere/set"),
            single("switch/loop", name="Loop", uniq_id="l", cmd_t="perslm/kitchen/request/count"),
            single("switch/sys", name="Sys", uniq_id="s", cmd_t="$SYS/broker"),
            single("switch/disc", name="Disc", uniq_id="d", cmd_t="homeassistant/switch/x/config"),
            single("switch/join", name="Join", uniq_id="j", cmd_t="zigbee2mqtt/bridge/request/permit_join"),
            single("sensor/tap", name="Tap", uniq_id="t", stat_t="perslm/kitchen/request/count"),
            single("sensor/wild", name="Wild", uniq_id="w", stat_t="+/+/request/+"),
        ]
    )
    verbs = Verbs({"count": Verb("count", Args, "count", count, changes_world=True)})
    async with built(broker.port, sim):
        client = await thread(Client, broker.port, ("perslm/kitchen/response/#",))
        async with learned(broker.url, folder, verbs=verbs) as here:
            assert [device.name for device in here.home.devices()] == []
            await thread(client.publish, "perslm/kitchen/request/count")
            assert (await thread(client.next_json))["status"] == "ok"
            await anyio.sleep(0.2)
            assert counted == ["once"]
        await thread(client.close)


@pytest.mark.parametrize("style", ["device", "single"])
async def test_our_own_announcements_are_no_devices(
    style: Literal["device", "single"], broker: Broker, folder: Path
) -> None:
    own = HomeAssistant(
        Topics("perslm", "attic"), version="1", verbs=["ask", "say", "stop"], settings={}, values=dict, style=style
    )
    messages = [Sent(one.topic, one.payload.decode(), True) for one in own.announcements() if one.payload]
    assert messages
    async with built(broker.port, SimHouse(messages)), learned(broker.url, folder) as here:
        assert here.home.devices() == ()


async def test_a_state_topic_may_leave_a_level_open(broker: Broker, folder: Path) -> None:
    """As OpenMQTTGateway announces sensors that any of its gateways may hear."""
    config = single(
        "sensor/t",
        name="Hall",
        uniq_id="t",
        stat_t="+/+/BTtoMQTT/A4C138",
        val_tpl="{{ value_json.tempc | is_defined }}",
    )
    async with built(broker.port, SimHouse([config])) as house, learned(broker.url, folder) as here:
        await thread(house.send, [Sent("home/gw2/BTtoMQTT/A4C138", '{"tempc": 21.5}')])
        await until(lambda: here.home.state("sensor.t").values == {"value": 21.5})


async def test_requests_are_answered_while_states_flood_in(broker: Broker, folder: Path) -> None:
    async def echo(_args: Args, _request: Request, _tell: Tell) -> dict[str, Any]:
        return {"here": True}

    sim = make_house(seed=5, areas=10, entities=100)
    verbs = Verbs({"echo": Verb("echo", Args, "echo", echo)})
    rng = random.Random(1)  # noqa: S311 - no secret
    topics = [sent.topic for sent in sim.reports() if sent.topic.startswith("zigbee2mqtt/")]
    flood = [Sent(rng.choice(topics), json.dumps({"state": rng.choice(["ON", "OFF"])})) for _ in range(2_000)]
    async with built(broker.port, sim) as house:
        client = await thread(Client, broker.port, ("perslm/kitchen/response/#",))
        async with learned(broker.url, folder, verbs=verbs) as here, anyio.create_task_group() as tasks:
            before = here.home.changes
            tasks.start_soon(thread, house.send, flood)
            for _ in range(20):
                await thread(client.publish, "perslm/kitchen/request/echo")
                assert (await thread(client.next_json))["data"] == {"here": True}
            await until(lambda: here.home.changes >= before + len(flood), 30)
        await thread(client.close)


async def test_two_thousand_entities_are_known(broker: Broker, folder: Path) -> None:
    sim = make_house(seed=2, areas=20, entities=2_000)
    async with (
        built(broker.port, sim),
        learned(broker.url, folder) as here,
    ):
        assert len(here.home.devices()) == sim.entities
        assert len(here.home.areas()) >= 20
        room = here.home.everything(area="Kitchen 2")
        assert len(room) >= 3
        outcomes = await here.home.act(room, Action("turn_off"))
        assert all(one.happened.good for one in outcomes if here.home.device(one.device).domain != "cover")  # type: ignore[union-attr]  # it is there


async def test_states_that_no_longer_interest_are_left(broker: Broker, folder: Path) -> None:
    config = single("switch/a", name="Plug", uniq_id="a", cmd_t="a/set", stat_t="a/state")
    async with built(broker.port, SimHouse([config])) as house:
        async with learned(broker.url, folder):
            pass
        await thread(house.send, [Sent("homeassistant/switch/a/config", "", True)])
        await thread((folder / home_cache.NAME).unlink)  # else what was left is known by it, and left at once
        async with learned(broker.url, folder) as here:
            # The session still listens to a/state: the first message ends that.
            await thread(
                house.send, [Sent("a/state", "ON"), single("switch/b", name="B", uniq_id="b", cmd_t="b/set")]
            )
            await until(lambda: here.link._house is not None and "a/state" in here.link._house._left)


async def test_a_broker_that_forbids_topics_costs_only_those(tmp_path: Path, folder: Path) -> None:
    acl = tmp_path / "acl"
    await thread(
        acl.write_text, "topic readwrite perslm/#\ntopic readwrite homeassistant/#\ntopic readwrite a/#\n"
    )
    closed = await thread(Broker, tmp_path, (f"acl_file {acl}",))
    await thread(closed.start)
    sim = SimHouse(
        [
            single("switch/a", name="Open", uniq_id="a", cmd_t="a/set", stat_t="a/state"),
            single("switch/b", name="Closed", uniq_id="b", cmd_t="b/set", stat_t="b/state"),
            Sent("a/state", "ON", True),
        ]
    )
    try:
        async with built(closed.port, sim), learned(closed.url, folder, waits=SHORT) as here:
            assert {device.name for device in here.home.devices()} == {"Open", "Closed"}
            await until(lambda: here.home.state("switch.a").values)
            assert not (await act(here, "Closed", Action("turn_on"))).happened.good
    finally:
        await thread(closed.stop)


async def test_events_tell_of_every_action(broker: Broker, folder: Path) -> None:
    async with (
        built(broker.port, every_kind()),
        learned(broker.url, folder) as here,
        here.bulletin.listen() as listener,
    ):
        plug = only(here.home.find("kitchen plug")).id
        await here.home.act([plug], Action("turn_on"), by="voice")
        while True:
            with anyio.fail_after(5):
                notice = await listener.receive()
            if isinstance(notice, Happening) and notice.event_type == "home_action":
                break
        assert dict(notice.fields) == {
            "verb": "turn_on",
            "value": None,
            "targets": [{"id": plug, "name": "kitchen plug", "happened": "done"}],
            "text": "the kitchen plug is on",
            "by": "voice",
        }


async def test_an_unknown_action_or_device_is_said(broker: Broker, folder: Path) -> None:
    async with built(broker.port, every_kind()), learned(broker.url, folder) as here:
        (outcome,) = await here.home.act(["light.none"], Action("turn_on"))
        assert outcome.sentence == "there is no device light.none"
        with pytest.raises(InputError, match="known are turn_on"):
            await here.home.act([], Action("explode"))
        with pytest.raises(InputError, match="needs a value"):
            await here.home.act([], Action("set_brightness"))
        cannot = await act(here, "Kitchen Kettle", Action("set_brightness", 3))
        assert cannot.sentence == "the kitchen kettle cannot be dimmed"
        for device in here.home.devices():
            assert device.capabilities <= set(VERBS)


def test_the_gateway_speaks_as_device_messages_do() -> None:
    house = SimHouse()
    gateway(house, None, "Kitchen", random.Random(1))  # noqa: S311 - no secret
    assert json.loads(house.announcements[0].payload)["cmps"]["heater"]["p"] == "switch"
    assert isinstance(House, type)
