"""The plainer domains of Home Assistant discovery: switches, locks, alarms, buttons, numbers, sensors and others.

And the table of all domains.
"""

from __future__ import annotations

from collections.abc import Callable

from perslm_daemon.home_build import Builder, always, json_payload
from perslm_daemon.home_climate import (
    describe_climate,
    describe_fan,
    describe_humidifier,
    describe_water_heater,
)
from perslm_daemon.home_cover import describe_cover, describe_valve
from perslm_daemon.home_device import Action, Value
from perslm_daemon.home_entity import Payload, Wanted, is_on, number_of, percent, text_of
from perslm_daemon.home_light import describe as describe_light

_MOST_TEXT = 255


def describe_switch(builder: Builder) -> None:
    """A switch or socket."""
    builder.domain = "switch"
    builder.needs("command_topic")
    builder.reads_on()
    builder.switches()


def describe_siren(builder: Builder) -> None:
    """A siren; where it has no command template it is told in JSON, and it may answer in JSON."""
    builder.domain = "siren"
    builder.needs("command_topic")
    on, off = builder.text("payload_on", "ON"), builder.text("payload_off", "OFF")
    state_on, state_off = builder.text("state_on", on), builder.text("state_off", off)
    topic = builder.filter("state_topic")
    if topic is not None:
        template = "state_value_template" if builder.has("state_value_template") else "value_template"
        render = builder.templates.reader(builder.template(template), builder.who)

        def read(payload: Payload) -> Value | None:
            text = render(payload) or ""
            said = Payload(text.encode()).field("state") if text.startswith("{") else text
            return is_on(str(said), state_on, state_off)

        builder.read_by("on", topic, read)
    plain = builder.has("command_template")
    for verb, payload, value in (("turn_on", on, True), ("turn_off", off, False)):
        told = payload if plain else json_payload({"state": payload})
        builder.sends_word(verb, "command_topic", "command_template", told, *builder.wanted("on", value))


def describe_lock(builder: Builder) -> None:
    """A lock. `open` unlatches the door, where it can."""
    builder.domain = "lock"
    builder.needs("command_topic")
    known = ("locked", "unlocked", "locking", "unlocking", "jammed", "open", "opening")
    defaults = {"locked": "LOCKED", "unlocked": "UNLOCKED", "locking": "LOCKING", "unlocking": "UNLOCKING"}
    words = {builder.text(f"state_{one}", defaults.get(one, one.upper())): one for one in known}
    builder.reads("state", "state_topic", "value_template", words.get)
    for verb, payload, state in (("lock", "LOCK", "locked"), ("unlock", "UNLOCK", "unlocked")):
        told = builder.text(f"payload_{verb}", payload)
        builder.sends_word(verb, "command_topic", "command_template", told, *builder.wanted("state", state))
    if builder.has("payload_open"):
        told = builder.text("payload_open", "OPEN")
        wanted = builder.wanted("state", "open", "opening", "unlocked")
        builder.sends_word("open", "command_topic", "command_template", told, *wanted)


def describe_alarm(builder: Builder) -> None:
    """An alarm panel. One that asks for a code at its own keypad only can be armed, where it asks for none."""
    builder.domain = "alarm_control_panel"
    builder.needs("command_topic", "state_topic")
    builder.reads("state", "state_topic", "value_template")
    needs_code = builder.has("code")
    modes = builder.words("supported_features", ("arm_home", "arm_away", "arm_night"))
    for verb, state in (
        ("arm_home", ("armed_home", "arming", "pending")),
        ("arm_away", ("armed_away", "arming", "pending")),
        ("arm_night", ("armed_night", "arming", "pending")),
        ("disarm", ("disarmed",)),
    ):
        asked = builder.flag("code_disarm_required" if verb == "disarm" else "code_arm_required", True)
        if (needs_code and asked) or (verb != "disarm" and verb not in modes):
            continue
        told = builder.text(f"payload_{verb}", verb.upper())
        builder.sends(
            verb,
            "command_topic",
            "command_template",
            always(told, builder.wanted("state", *state)),
        )


def describe_button(builder: Builder) -> None:
    """A button; a script that is announced as one, too. Never pressed twice."""
    builder.domain = "button"
    builder.needs("command_topic")
    told = builder.text("payload_press", "PRESS")
    builder.sends("press", "command_topic", "command_template", always(told), repeatable=False)


def describe_scene(builder: Builder) -> None:
    """A scene."""
    builder.domain = "scene"
    builder.needs("command_topic")
    told = builder.text("payload_on", "ON")
    builder.sends("activate", "command_topic", "", always(told), repeatable=False)


def describe_number(builder: Builder) -> None:
    """A number that can be set."""
    builder.domain = "number"
    builder.needs("command_topic")
    builder.least, builder.most = builder.number("min", 1), builder.number("max", 100)
    step = builder.number("step", 1)
    builder.reads("value", "state_topic", "value_template", number_of)
    span = (builder.least, builder.most)
    builder.sends_number("set_value", "value", "command_topic", "command_template", span, max(step / 2, 1e-6))


def describe_select(builder: Builder) -> None:
    """A choice."""
    builder.domain = "select"
    builder.needs("command_topic", "options")
    builder.reads("value", "state_topic", "value_template")
    options = builder.words("options")
    builder.sends_option("select", "value", "command_topic", "command_template", options)


def describe_text(builder: Builder) -> None:
    """A text that can be set."""
    builder.domain = "text"
    builder.needs("command_topic")
    builder.reads("value", "state_topic", "value_template")

    def encode(action: Action) -> tuple[str, tuple[Wanted, ...]]:
        told = str(action.value or "")[:_MOST_TEXT]
        return told, builder.wanted("value", told)

    builder.sends("set_text", "command_topic", "command_template", encode)


def describe_sensor(builder: Builder) -> None:
    """A sensor: a number where it is one, else a word."""
    builder.domain = "sensor"
    builder.needs("state_topic")
    numeric = bool(builder.unit) or builder.has("state_class")

    def decode(text: str) -> Value | None:
        found = number_of(text)
        return found if found is not None else None if numeric else text_of(text)

    builder.reads("value", "state_topic", "value_template", decode)


def describe_binary_sensor(builder: Builder) -> None:
    """A sensor that is on or off: a door, a movement, a leak."""
    builder.domain = "binary_sensor"
    builder.needs("state_topic")
    builder.reads_on()


def describe_vacuum(builder: Builder) -> None:
    """A vacuum cleaner (what other schemas there were is gone from Home Assistant)."""
    builder.domain = "vacuum"
    topic = builder.filter("state_topic")
    if topic is not None:
        builder.read_by("state", topic, lambda payload: text_of(payload.field("state")))
        builder.read_by("battery", topic, lambda payload: number_of(payload.field("battery_level")))
        builder.read_by("fan_speed", topic, lambda payload: text_of(payload.field("fan_speed")))
    features = builder.words(
        "supported_features", ("start", "stop", "return_home", "status", "battery", "clean_spot")
    )
    for verb, feature, states in (
        ("start", "start", ("cleaning",)),
        ("pause", "pause", ("paused", "idle")),
        ("stop", "stop", ("idle", "paused", "docked")),
        ("return_to_base", "return_home", ("returning", "docked")),
        ("clean_spot", "clean_spot", ("cleaning",)),
        ("locate", "locate", ()),
    ):
        if feature in features and builder.has("command_topic"):
            told = builder.text(f"payload_{verb}", verb)
            wanted = builder.wanted("state", *states) if states else ()
            builder.sends_word(verb, "command_topic", "", told, *wanted)
    if builder.has("set_fan_speed_topic"):
        speeds = builder.words("fan_speed_list")
        builder.sends_option("set_fan_speed", "fan_speed", "set_fan_speed_topic", "", speeds)


def describe_mower(builder: Builder) -> None:
    """A lawn mower."""
    builder.domain = "lawn_mower"
    builder.reads("state", "activity_state_topic", "activity_value_template")
    for verb, key, states in (
        ("start", "start_mowing", ("mowing",)),
        ("pause", "pause", ("paused",)),
        ("return_to_base", "dock", ("docked", "returning")),
    ):
        told = builder.text(f"payload_{verb}", key)
        topics = (f"{key}_command_topic", f"{key}_command_template")
        builder.sends_word(verb, *topics, told, *builder.wanted("state", *states))


def describe_media_player(builder: Builder) -> None:
    """A media player, as the common extension describes it; Home Assistant itself has none over MQTT."""
    builder.domain = "media_player"
    builder.reads("state", "state_state_topic" if builder.has("state_state_topic") else "state_topic")
    builder.reads("title", "state_title_topic")
    builder.reads("volume", "state_volume_topic", "", _volume)
    for verb, key, default, states in (
        ("play", "play", "Play", ("playing",)),
        ("pause", "pause", "Pause", ("paused",)),
        ("stop", "stop", "Stop", ("idle", "stopped", "off")),
        ("next", "next", "Next", ()),
        ("previous", "previous", "Previous", ()),
    ):
        told = builder.text(f"command_{key}_payload", default)
        wanted = builder.wanted("state", *states) if states else ()
        repeatable = bool(states)
        builder.sends(verb, f"command_{key}_topic", "", always(told, wanted), repeatable=repeatable)
    builder.sends("set_volume", "command_volume_topic", "", lambda action: _volume_order(builder, action))
    if "stop" in builder.works or "pause" in builder.works:
        builder.works["turn_off"] = builder.works.get("stop") or builder.works["pause"]
    if "play" in builder.works:
        builder.works["turn_on"] = builder.works["play"]


def _volume(text: str) -> Value | None:
    found = number_of(text)
    return None if found is None else round(max(0.0, min(1.0, found)) * 100, 1)


def _volume_order(builder: Builder, action: Action) -> tuple[str, tuple[Wanted, ...]]:
    wish = percent(action)
    return str(round(wish / 100, 2)), builder.wanted("volume", wish, within=1.0)


Describe = Callable[[Builder], None]

DOMAINS: dict[str, Describe] = {
    "light": describe_light,
    "switch": describe_switch,
    "cover": describe_cover,
    "valve": describe_valve,
    "fan": describe_fan,
    "climate": describe_climate,
    "water_heater": describe_water_heater,
    "humidifier": describe_humidifier,
    "lock": describe_lock,
    "alarm_control_panel": describe_alarm,
    "button": describe_button,
    "scene": describe_scene,
    "number": describe_number,
    "select": describe_select,
    "text": describe_text,
    "siren": describe_siren,
    "vacuum": describe_vacuum,
    "lawn_mower": describe_mower,
    "media_player": describe_media_player,
    "sensor": describe_sensor,
    "binary_sensor": describe_binary_sensor,
}
"""How each domain's configuration is read."""

PASSED_OVER = frozenset(
    {"camera", "device_automation", "device_tracker", "event", "image", "notify", "tag", "update", "date", "time"}
)
"""Platforms of Home Assistant that nothing here is done with."""
