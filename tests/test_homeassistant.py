from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from pathlib import Path
from typing import Any, Literal

import jinja2.sandbox  # noqa: TID251 - Home Assistant renders our templates with it
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config import Flags, load
from perslm_daemon.homeassistant import (
    ACTIVITIES,
    EVENTS,
    LONGEST_ATTRIBUTE_BYTES,
    LONGEST_STATE,
    HomeAssistant,
    Message,
    clipped,
    discovery_filters,
)
from perslm_daemon.settings import Setting, SettingValue
from perslm_daemon.topics import RequestTopic, SetTopic, Topics, event_payload, matches, payload_of
from perslm_daemon.verb_table import AskArgs, SayArgs
from perslm_daemon.verbs import Args, Verb, decode

PAGE = Path(__file__).parents[1] / "docs/home-assistant.md"
NODES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)
FEW = settings(max_examples=25, deadline=None, database=None)

AVAILABILITY = {"availability", "availability_mode", "availability_template", "availability_topic"}
AVAILABILITY |= {"payload_available", "payload_not_available"}
ROOT_KEYS = AVAILABILITY | {"device", "origin", "components", "state_topic", "command_topic", "qos", "encoding"}
DEVICE_KEYS = {"identifiers", "connections", "manufacturer", "model", "name", "hw_version", "serial_number"}
DEVICE_KEYS |= {"sw_version", "via_device", "suggested_area", "configuration_url"}
ENTITY_KEYS = AVAILABILITY | {"platform", "unique_id", "name", "object_id", "default_entity_id", "icon", "qos"}
ENTITY_KEYS |= {"entity_category", "json_attributes_topic", "json_attributes_template", "message_expiry_interval"}
READ, WRITE = {"state_topic", "value_template"}, {"command_topic", "command_template", "retain"}
PLATFORM_KEYS: dict[str, tuple[set[str], set[str]]] = {  # required, and allowed besides
    "text": ({"command_topic"}, READ | WRITE | {"min", "max", "mode", "pattern"}),
    "notify": ({"command_topic"}, WRITE),
    "button": ({"command_topic"}, WRITE | {"payload_press", "device_class"}),
    "event": ({"state_topic", "event_types"}, READ | {"device_class"}),
    "sensor": (
        {"state_topic"},
        READ | {"device_class", "unit_of_measurement", "state_class", "options", "suggested_display_precision"},
    ),
    "switch": ({"command_topic"}, READ | WRITE | {"payload_on", "payload_off", "state_on", "state_off"}),
    "select": ({"command_topic", "options"}, READ | WRITE),
    "number": ({"command_topic"}, READ | WRITE | {"min", "max", "step", "mode", "unit_of_measurement"}),
    "update": (set(), READ | {"command_topic", "payload_install", "device_class", "title"}),
}
UNITS = {"duration": {"ms", "s", "min", "h", "d"}, "data_size": {"B", "kB", "MB", "GB"}, "temperature": {"°C"}}


async def nothing(_value: SettingValue) -> None: ...


SETTINGS = {
    "memory": Setting("memory", "switch", "remember", nothing),
    "guests": Setting("guests", "switch", "guests only", nothing),
    "volume": Setting("volume", "number", "loudness", nothing),
    "mute": Setting("mute", "switch", "close the microphone", nothing),
    "model": Setting("model", "select", "model", nothing, options=("small", "large")),
    "gain": Setting("gain", "number", "gain", nothing, least=-10, most=20, step=1, unit="dB"),
}
HEALTH = {"rss_mb": 512.5, "temperature_c": 51.2}
VERBS = ("status", "ask", "say", "listen", "stop", "timer")


def home(node: str = "kitchen", **changed: Any) -> HomeAssistant:
    given: dict[str, Any] = {"version": "1.2", "verbs": VERBS, "settings": SETTINGS}
    given |= {"values": lambda: {"health": HEALTH, "update": {}}} | changed
    return HomeAssistant(Topics("perslm", node), **given)


def body(message: Message) -> Any:
    return json.loads(message.payload)


def entities(one: HomeAssistant) -> dict[str, Any]:
    return dict(body(one.announcements()[-1])["components"])


def check_shared(payload: dict[str, Any]) -> None:
    assert payload["device"]["identifiers"]
    assert payload["device"].keys() <= DEVICE_KEYS
    assert payload["origin"]["name"]
    assert payload["origin"].keys() <= {"name", "sw_version", "support_url"}
    assert not {"availability", "availability_topic"} <= payload.keys()
    for source in payload["availability"]:
        check_topic(source["topic"])
        assert source.keys() <= {"topic", "value_template", "payload_available", "payload_not_available"}


def check_topic(topic: str) -> None:
    assert topic
    assert not re.search(r"[+#\0]", topic)


def check_entity(payload: dict[str, Any]) -> None:
    platform = payload["platform"]
    required, allowed = PLATFORM_KEYS[platform]
    assert required <= payload.keys()
    assert payload.keys() <= ENTITY_KEYS | required | allowed
    assert payload["unique_id"]
    assert payload["name"]
    assert re.fullmatch(rf"{platform}\.(?!_)(?!.*__)[a-z0-9_]+(?<!_)", payload["default_entity_id"])
    assert payload["default_entity_id"] == f"{platform}.{payload['object_id']}"
    assert payload.get("entity_category") in {None, "config", "diagnostic"}
    assert not (platform == "sensor" and payload.get("entity_category") == "config")
    assert re.fullmatch(r"mdi:[a-z0-9-]+", payload.get("icon", "mdi:x"))
    for key, value in payload.items():
        if key.endswith("_topic"):
            check_topic(value)
        elif key.endswith("_template"):
            jinja2.sandbox.SandboxedEnvironment().parse(value)
    kind = payload.get("device_class")
    assert (kind == "enum") == (platform == "sensor" and "options" in payload)
    if "unit_of_measurement" in payload and platform == "sensor":
        assert payload["unit_of_measurement"] in UNITS[str(kind)]
    if platform == "number":
        assert payload["min"] < payload["max"]
        assert payload["step"] >= 0.001
    if platform == "text":
        assert payload.get("min", 0) < payload["max"] <= 255


def check_device(message: Message) -> None:
    payload = body(message)
    assert {"device", "origin", "components"} <= payload.keys() <= ROOT_KEYS
    check_shared(payload)
    ids = [one["unique_id"] for one in payload["components"].values() if "unique_id" in one]
    assert len(ids) == len(set(ids))
    for id_, one in payload["components"].items():
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", id_)
        if one.keys() != {"platform"}:
            check_entity(one)


def rendered(template: str, value: Any) -> str:
    """As Home Assistant renders MQTT templates: `value_json` where the payload is JSON, the result stripped."""
    environment = jinja2.sandbox.SandboxedEnvironment()
    environment.filters["to_json"] = lambda thing: json.dumps(thing, ensure_ascii=False)
    variables = {"value": value}
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            variables["value_json"] = json.loads(value)
    return environment.from_string(template).render(variables).strip()


@FEW
@given(node=NODES, verbs=st.sets(st.sampled_from(VERBS)), names=st.sets(st.sampled_from(sorted(SETTINGS))))
def test_whatever_is_there_is_announced_as_home_assistant_demands(
    node: str, verbs: set[str], names: set[str]
) -> None:
    one = home(node, verbs=verbs, settings={name: SETTINGS[name] for name in names})
    for message in one.announcements():
        assert message.topic == f"homeassistant/device/perslm_{node}/config"
        assert message.retain
        assert len(message.payload) < 16_384
        check_device(message)


@FEW
@given(node=NODES)
def test_single_announcements_carry_the_device_each(node: str) -> None:
    messages = home(node, style="single").announcements()
    assert len({message.topic for message in messages}) == len(messages) > 10
    for message in messages:
        found = re.fullmatch(r"homeassistant/(\w+)/([a-zA-Z0-9_-]+)/([a-zA-Z0-9_-]+)/config", message.topic)
        assert found
        payload = body(message)
        check_shared(payload)
        check_entity({"platform": found[1]} | {k: v for k, v in payload.items() if k not in ("device", "origin")})


def test_the_checks_catch_what_home_assistant_refuses() -> None:
    message = home().announcements()[-1]
    good = body(message)
    for path, value in (
        (("surprise",), 1),
        (("device", "model_id"), "x"),
        (("device", "identifiers"), []),
        (("components", "two words"), good["components"]["stop"]),
        (("components", "stop", "unknown_key"), 1),
        (("components", "latency_ms", "entity_category"), "config"),
        (("components", "latency_ms", "unit_of_measurement"), "parsec"),
        (("components", "ask", "max"), 300),
        (("components", "stop", "default_entity_id"), "button.Über"),
        (("components", "stop", "command_topic"), "perslm/+/request/stop"),
    ):
        wrong = json.loads(message.payload)
        place = wrong
        for level in path[:-1]:
            place = place[level]
        place[path[-1]] = value
        with pytest.raises(AssertionError):
            check_device(Message(message.topic, json.dumps(wrong).encode()))


def test_only_what_is_there_is_announced_and_the_rest_is_taken_away_first() -> None:
    bare = home(verbs=("status", "stop"), settings={}, values=dict)
    first, last = bare.announcements()
    assert set(body(last)["components"]) == {"stop", "event", "activity"}
    assert body(first)["components"]["ask"] == {"platform": "text"}
    assert len(home().announcements()) == 1, "nothing is absent"


def test_single_entities_that_are_not_there_are_cleared() -> None:
    messages = home(style="single", verbs=("stop",)).announcements()
    assert Message("homeassistant/text/perslm_kitchen/ask/config", b"") in messages


def test_a_figure_that_appears_is_announced_before_its_state() -> None:
    bulletin = Bulletin()
    one = home(values=bulletin.current)
    one.announcements()
    assert one.states("activity", "idle") == []
    bulletin.post("health", {"rss_mb": 400.0, "temperature_c": None})
    found = body(one.states("health", bulletin.current()["health"])[-1])["components"]
    assert "memory_mb" in found
    assert "temperature" not in found
    assert one.states("health", {}) == []


def test_ids_of_two_nodes_never_meet_and_outlive_a_rename() -> None:
    unique = {
        one["unique_id"] for node in ("a", "a_memory", "a-b", "a_b") for one in entities(home(node)).values()
    }
    assert len(unique) == 4 * len(entities(home()))
    old, new = (entities(home(node, device_id="f00d")) for node in ("kitchen", "parlour"))
    assert {id_: one["unique_id"] for id_, one in old.items()} == {
        id_: one["unique_id"] for id_, one in new.items()
    }


@pytest.mark.parametrize(("state", "available"), [("starting", None), ("online", True), ("offline", False)])
def test_availability_follows_the_last_will(state: str, available: bool | None) -> None:
    (source,) = body(home().announcements()[0])["availability"]
    assert source["topic"] == "perslm/kitchen/state"
    told = rendered(source["value_template"], json.dumps({"state": state}))
    assert {"online": True, "offline": False}.get(told) is available


def test_every_command_goes_where_the_daemon_listens() -> None:
    topics, verbs, changed = Topics("perslm", "kitchen"), set(), set()
    for one in entities(home()).values():
        match topics.read(one.get("command_topic", "")):
            case RequestTopic(verb):
                verbs.add(verb)
            case SetTopic(setting):
                changed.add(setting)
    assert verbs == {"ask", "say", "listen", "stop", "sync"}
    assert changed == set(SETTINGS)


async def unused(*_: object) -> dict[str, object]:
    return {}


@FEW
@given(text=st.text(st.characters(codec="utf-8"), min_size=1, max_size=255))
@pytest.mark.parametrize(("id_", "args"), [("ask", AskArgs), ("announce", SayArgs)])
def test_any_text_arrives_as_the_text_it_is(id_: str, args: type[AskArgs | SayArgs], text: str) -> None:
    verb = Verb(id_, args, "", unused)
    payload = rendered(entities(home())[id_]["command_template"], text)
    assert decode(verb, payload.encode()).text == text  # type: ignore[attr-defined]  # both take a text


def test_a_press_is_understood_by_verbs_that_take_no_text() -> None:
    for id_ in ("stop", "listen"):
        assert decode(Verb(id_, Args, "", unused), entities(home())[id_]["payload_press"].encode()) == Args()


def test_volume_is_shown_in_percent_and_set_as_a_part() -> None:
    volume = entities(home())["volume"]
    assert (volume["min"], volume["max"], volume["step"], volume["unit_of_measurement"]) == (0, 100, 5, "%")
    for percent in range(0, 101, 5):
        value = SETTINGS["volume"].parse(rendered(volume["command_template"], percent))
        assert float(rendered(volume["value_template"], payload_of(value).decode())) == percent


def test_settings_read_what_home_assistant_sends_and_it_reads_what_they_publish() -> None:
    found = entities(home())
    assert (SETTINGS["memory"].parse("ON"), payload_of(True), payload_of(False)) == (True, b"ON", b"OFF")
    assert found["model"]["options"] == ["small", "large"]
    assert (found["gain"]["min"], found["gain"]["unit_of_measurement"]) == (-10, "dB")


def test_events_that_home_assistant_does_not_know_are_kept_from_it() -> None:
    event = entities(home())["event"]
    assert event["event_types"] == list(EVENTS)
    for kind in EVENTS:
        payload = event_payload(kind, {"turn": "t", "text": 'a "b" <c>'}).decode()
        assert rendered(event["value_template"], payload) == payload
    assert rendered(event["value_template"], event_payload("wake", {}).decode()) == ""


def test_figures_are_read_out_of_health() -> None:
    found, health = entities(home()), json.dumps(HEALTH)
    assert rendered(found["memory_mb"]["value_template"], health) == "512.5"
    assert rendered(found["temperature"]["value_template"], health) == "51.2"
    assert found["activity"]["options"] == list(ACTIVITIES)


@FEW
@given(text=st.text(max_size=60), times=st.integers(1, 120))
def test_a_long_reply_is_clipped_as_state_and_whole_in_the_attributes(text: str, times: int) -> None:
    text *= times
    (message,) = home().states("last_reply", text)
    sensor = entities(home())["last_reply"]
    assert message.topic == sensor["state_topic"] == sensor["json_attributes_topic"]
    payload = message.payload.decode()
    assert len(rendered(sensor["value_template"], payload)) <= LONGEST_STATE
    attributes = json.loads(rendered(sensor["json_attributes_template"], payload))
    assert len(json.dumps(attributes, ensure_ascii=False).encode()) < 16_384
    if not attributes["truncated"]:
        assert attributes["text"] == text.encode("utf-8", "replace").decode()


def test_a_text_without_end_makes_no_message_without_end() -> None:
    (message,) = home().states("last_heard", "naïve 😀 \ud83d" * 40_000)
    assert len(message.payload) < LONGEST_ATTRIBUTE_BYTES + 2_000
    assert body(message)["attributes"]["truncated"]


@pytest.mark.parametrize("whole", ["e\u0301", "👩‍👩‍👧", "👍🏽", "🇩🇪", "\r\n", "각", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️"])
def test_what_is_seen_as_one_is_not_cut_in_two(whole: str) -> None:
    for shift in range(len(whole)):
        text = "a" * shift + whole * 300
        kept = clipped(text, LONGEST_STATE).removesuffix("…")
        assert len(kept) < LONGEST_STATE
        if not whole.isspace():
            assert (len(kept) - shift) % len(whole) == 0
            assert len(kept) + len(whole) >= LONGEST_STATE


@FEW
@given(text=st.text(max_size=400), longest=st.integers(1, 300))
def test_clipping_keeps_the_beginning_and_what_fits(text: str, longest: int) -> None:
    kept = clipped(text, longest)
    assert len(kept) <= longest
    assert kept == text if len(text) <= longest else text.startswith(kept.removesuffix("…"))
    if kept not in (text, "…"):
        assert not unicodedata.combining(text[len(kept) - 1])


def test_home_assistants_birth_brings_everything_again_configurations_first() -> None:
    one = home(values=lambda: {"health": HEALTH, "update": {}, "last_reply": "Yes.", "activity": "idle"})
    assert one.birth_topic == "homeassistant/status"
    messages = one.birth("homeassistant/status", b"online")
    assert [message.topic for message in messages] == [
        "homeassistant/device/perslm_kitchen/config",
        "perslm/kitchen/homeassistant/last_reply",
    ]
    assert one.birth("homeassistant/status", b"offline") == one.birth("other/status", b"online") == []


@pytest.mark.parametrize("style", ["device", "single"])
def test_removal_clears_every_topic_that_was_retained(style: Literal["device", "single"]) -> None:
    one = home(style=style)
    retained = {
        m.topic for m in [*one.announcements(), *one.states("last_reply", "a"), *one.states("last_heard", "b")]
    }
    assert {message.topic for message in one.removal()} >= retained
    assert all(message.retain and message.payload == b"" for message in one.removal())


@pytest.mark.parametrize(("new", "old"), [("device", "single"), ("single", "device")])
def test_a_change_of_style_asks_for_migration_then_announces_then_clears(
    new: Literal["device", "single"], old: Literal["device", "single"]
) -> None:
    one, before = home(style=new), {message.topic for message in home(style=old).announcements()}
    filters = discovery_filters("homeassistant", "kitchen", old)
    assert all(any(matches(topic, wanted) for wanted in filters) for topic in before)
    assert one.migration([]) == one.announcements()
    in_use = [message.topic for message in one.announcements()]
    steps = one.migration([*before, *in_use])
    asked = [m for m in steps if not m.retain]
    cleared = [m for m in steps if m.retain and not m.payload]
    assert {m.topic for m in asked} == {m.topic for m in cleared} == before
    assert {m.payload for m in asked} == {b'{"migrate_discovery": true}'}
    assert steps == [*asked, *one.announcements(), *cleared]


def test_switched_off_it_clears_and_says_nothing() -> None:
    one, old = home(enabled=False), {message.topic for message in home(style="single").announcements()}
    assert {message.topic for message in one.migration(old)} > old
    assert all(message.payload == b"" for message in [*one.announcements(), *one.migration(old)])
    assert one.states("last_reply", "secret") == one.birth("homeassistant/status", b"online") == []


def test_the_configuration_decides_prefix_style_and_node() -> None:
    flags = Flags(settings=("node=attic", "homeassistant.discovery_prefix=ha", "homeassistant.style=single"))
    config = load(flags, environ={"PERSLM_CONFIG": "/dev/null"})
    one = HomeAssistant.from_config(config, version="1", verbs=VERBS, settings=SETTINGS, values=dict)
    assert one.birth_topic == "ha/status"
    assert one.announcements()[-1].topic.startswith("ha/")
    assert "/perslm_attic/" in one.announcements()[-1].topic


def test_the_page_lists_every_entity_and_key() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| `(\w+)` \| `([^`]+)` \|", page, re.MULTILINE)
    known = {(one["name"], one["platform"], id_) for id_, one in entities(home()).items() if id_ != "gain"}
    assert {row for row in rows if row[1] in PLATFORM_KEYS} == known
    for said in (
        *EVENTS,
        *ACTIVITIES,
        "homeassistant.enabled",
        "homeassistant.discovery_prefix",
        "homeassistant.style",
    ):
        assert f"`{said}`" in page
    for topic in re.findall(r"`(homeassistant/device/\S+)`", page):
        assert topic == home("NODE".lower()).announcements()[-1].topic.replace("node", "NODE")
