"""Lights of Home Assistant discovery: the default, the JSON and the template schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from perslm_daemon.home_build import Builder, json_payload
from perslm_daemon.home_colors import Color, color_named, from_rgb, from_xy, kelvin, to_rgb, to_xy
from perslm_daemon.home_device import Action, Value, Values
from perslm_daemon.home_entity import (
    CannotError,
    Order,
    Payload,
    Plan,
    UntoldError,
    Wanted,
    Work,
    number_of,
    one_of,
    percent,
    text_of,
)

BRIGHTNESS_WITHIN = 2.0  # percent: devices round to their own scale and back
KELVIN_WITHIN = 0.06  # of the value: mireds are whole numbers and lamps have few steps


def describe(builder: Builder) -> None:
    """A light by its schema."""
    builder.domain = "light"
    match builder.text("schema", "basic").lower():
        case "json":
            _json(builder)
        case "template":
            _template(builder)
        case _:
            _basic(builder)


def extras(action: Action, values: Values) -> Action:
    """The action as a `turn_on` with everything it wants of a light. Raises `CannotError`."""
    match action.verb:
        case "set_brightness":
            return Action("turn_on", brightness=percent(action))
        case "change_brightness":
            by, now = number_of(action.value), number_of(values.get("brightness"))
            if by is None or now is None:
                raise UntoldError("does not say how bright it is")
            return Action("turn_on", brightness=max(1.0, min(100.0, (now if values.get("on") else 0.0) + by)))
        case "set_color":
            return Action("turn_on", color=as_color(action.value))
        case "set_color_temp":
            found = number_of(action.value)
            if found is None or not 1_000 <= found <= 20_000:
                raise CannotError("takes colour temperatures from 1000 to 20000 kelvin")
            return Action("turn_on", kelvin=found)
        case "set_effect":
            return Action("turn_on", effect=str(action.value))
    return action


def as_color(value: Value | None) -> Color:
    """A colour out of an action's value: (hue, saturation), or its name. Raises `CannotError`."""
    if isinstance(value, tuple) and len(value) == 2:
        return float(value[0]), float(value[1])
    found = color_named(value) if isinstance(value, str) else None
    if found is None:
        raise CannotError(f"knows no colour {str(value)[:40]!r}")
    return found


def light_verbs(*, brightness: bool, color: bool, temperature: bool, effect: bool) -> list[str]:
    """The verbs of a light that can do so much."""
    verbs = ["turn_on", "turn_off"]
    verbs += ["set_brightness", "change_brightness"] if brightness else []
    verbs += ["set_color"] if color else []
    verbs += ["set_color_temp"] if temperature else []
    return verbs + (["set_effect"] if effect else [])


def wanted_of(action: Action, reported: Callable[[str], bool]) -> tuple[Wanted, ...]:
    """What the state of a light says once a `turn_on` with extras has been done."""
    pairs: list[tuple[str, Value | None, float]] = [("on", True, 0.0)]
    pairs.append(("brightness", action.brightness, BRIGHTNESS_WITHIN))
    pairs.append(("color", action.color, 10.0))
    pairs.append(("color_temp", action.kelvin, (action.kelvin or 0) * KELVIN_WITHIN))
    pairs.append(("effect", action.effect, 0.0))
    return tuple(
        Wanted(prop, (value,), within) for prop, value, within in pairs if value is not None and reported(prop)
    )


def wished(action: Action, values: Values, works: Mapping[str, Work], effects: tuple[str, ...] = ()) -> Action:
    """The action as a `turn_on` that this light can do, its effect spelled as it is. Raises `CannotError`."""
    wish = extras(action, values)
    for given, verb, what in (
        (wish.brightness, "set_brightness", "be dimmed"),
        (wish.color, "set_color", "change its colour"),
        (wish.kelvin, "set_color_temp", "change its colour temperature"),
        (wish.effect, "set_effect", "show effects"),
    ):
        if given is not None and verb not in works:
            raise CannotError(f"cannot {what}")
    return (
        wish if wish.effect is None else replace(wish, effect=one_of(Action("set_effect", wish.effect), effects))
    )


def scaled(scale: float) -> Callable[[str], Value | None]:
    """Percent out of a number on a device's scale."""

    def decode(text: str) -> Value | None:
        found = number_of(text)
        return None if found is None or scale <= 0 else round(max(0.0, min(100.0, found * 100 / scale)), 1)

    return decode


# The JSON schema


def _json(builder: Builder) -> None:
    builder.needs("command_topic")
    topic = builder.topic("command_topic") or ""
    scale = builder.number("brightness_scale", 255)
    modes = {mode.lower() for mode in builder.words("supported_color_modes")}
    flags = {mode for mode in ("rgb", "hs", "xy", "color_temp") if builder.flag(mode)}
    modes |= flags | ({builder.text("color_mode", "")} & {"rgb", "hs", "xy", "rgbw", "rgbww"})
    in_kelvin = builder.flag("color_temp_kelvin")
    color = bool(modes & {"rgb", "rgbw", "rgbww", "hs", "xy"})
    bright = builder.flag("brightness") or bool(modes - {"onoff"})
    effects = builder.words("effect_list")
    _read_json(builder, scale, in_kelvin=in_kelvin)
    if effects:
        builder.options["effect"] = effects

    def body(action: Action) -> dict[str, Any]:
        made: dict[str, Any] = {"state": builder.text("payload_on", "ON")}
        if action.brightness is not None:
            made["brightness"] = max(1, round(action.brightness * scale / 100))
        if action.color is not None:
            made["color"] = _json_color(action.color, modes)
        if action.kelvin is not None:
            made["color_temp"] = round(action.kelvin if in_kelvin else kelvin(action.kelvin))
        if action.effect is not None:
            made["effect"] = action.effect
        return made

    def turn_on(action: Action, values: Values) -> Plan:
        wish = wished(action, values, builder.works, effects)
        order = builder.order(topic, json_payload(body(wish)))
        return Plan((order,), wanted_of(wish, builder.reported), action.verb != "change_brightness")

    def turn_off(_action: Action, _values: Values) -> Plan:
        order = builder.order(topic, json_payload({"state": builder.text("payload_off", "OFF")}))
        return Plan((order,), builder.wanted("on", False))

    has_effects = builder.flag("effect") or bool(effects)
    for verb in light_verbs(brightness=bright, color=color, temperature="color_temp" in modes, effect=has_effects):
        builder.works[verb] = turn_off if verb == "turn_off" else turn_on


def _json_color(color: Color, modes: set[str]) -> dict[str, float]:
    if "hs" in modes:
        return {"h": round(color[0], 1), "s": round(color[1], 1)}
    if "xy" in modes:
        return dict(zip("xy", to_xy(color), strict=True))
    body: dict[str, float] = dict(zip("rgb", to_rgb(color), strict=True))
    if "rgbww" in modes:
        return body | {"c": 0, "w": 0}
    return body | ({"w": 0} if "rgbw" in modes else {})


def _read_json(builder: Builder, scale: float, *, in_kelvin: bool) -> None:
    topic = builder.filter("state_topic")
    if topic is None:
        return
    bright = scaled(scale)

    def on(payload: Payload) -> Value | None:
        said = text_of(payload.field("state"))
        return None if said is None else {"ON": True, "OFF": False}.get(said.upper())

    def brightness(payload: Payload) -> Value | None:
        return bright(str(payload.field("brightness")))

    def color_temp(payload: Payload) -> Value | None:
        found = number_of(payload.field("color_temp"))
        return None if not found else found if in_kelvin else kelvin(found)

    builder.read_by("on", topic, on)
    builder.read_by("brightness", topic, brightness)
    builder.read_by("color_temp", topic, color_temp)
    builder.read_by("color", topic, lambda payload: color_of(payload.field("color")))
    builder.read_by("effect", topic, lambda payload: text_of(payload.field("effect")))
    builder.read_by("color_mode", topic, lambda payload: text_of(payload.field("color_mode")))


def color_of(said: Any) -> Color | None:
    """A colour out of the object that JSON lights report: by r, g, b, by x, y, or by h, s or hue, saturation."""
    if not isinstance(said, dict):
        return None

    def numbers(*keys: str) -> list[float] | None:
        found = [number_of(said.get(key)) for key in keys]
        return None if None in found else [one for one in found if one is not None]

    if (pair := numbers("h", "s") or numbers("hue", "saturation")) is not None:
        return pair[0] % 360, max(0.0, min(100.0, pair[1]))
    if (pair := numbers("x", "y")) is not None:
        return from_xy(*pair)
    if (three := numbers("r", "g", "b")) is not None:
        return from_rgb(*three)
    return None


# The default schema


def _basic(builder: Builder) -> None:
    builder.needs("command_topic")
    builder.reads_on(
        "state_topic", "state_value_template" if builder.has("state_value_template") else "value_template"
    )
    scale = builder.number("brightness_scale", 255)
    builder.reads("brightness", "brightness_state_topic", "brightness_value_template", scaled(scale))
    in_kelvin = builder.flag("color_temp_kelvin")

    def temperature(text: str) -> Value | None:
        found = number_of(text)
        return None if not found else found if in_kelvin else kelvin(found)

    builder.reads("color_temp", "color_temp_state_topic", "color_temp_value_template", temperature)
    builder.reads("effect", "effect_state_topic", "effect_value_template")
    for kind in ("rgb", "rgbw", "rgbww", "hs", "xy"):
        builder.reads("color", f"{kind}_state_topic", f"{kind}_value_template", _color_decoder(kind))
    topic, first = builder.topic("command_topic") or "", builder.text("on_command_type", "last")
    effects = builder.words("effect_list")
    if effects:
        builder.options["effect"] = effects
    senders = _basic_senders(builder, scale, in_kelvin=in_kelvin)
    has = {name: name in senders for name in ("brightness", "color", "color_temp", "effect")}

    def turn_on(action: Action, values: Values) -> Plan:
        wish = wished(action, values, builder.works, effects)
        given = {
            "brightness": wish.brightness,
            "color": wish.color,
            "color_temp": wish.kelvin,
            "effect": wish.effect,
        }
        if first == "brightness" and has["brightness"] and wish.brightness is None:
            given["brightness"] = number_of(values.get("brightness")) or 100.0
        sent = [order for name, value in given.items() if value is not None for order in senders[name](value)]
        power = builder.order(topic, builder.text("payload_on", "ON"))
        if first == "first":
            sent.insert(0, power)
        elif first != "brightness" or not has["brightness"]:
            sent.append(power)
        return Plan(tuple(sent), wanted_of(wish, builder.reported), action.verb != "change_brightness")

    off = builder.text("payload_off", "OFF")
    builder.sends_word("turn_off", "command_topic", "", off, *builder.wanted("on", False))
    for verb in light_verbs(
        brightness=has["brightness"], color=has["color"], temperature=has["color_temp"], effect=has["effect"]
    ):
        if verb != "turn_off":
            builder.works[verb] = turn_on


def _color_decoder(kind: str) -> Callable[[str], Value | None]:
    def decode(text: str) -> Value | None:
        numbers = [number_of(part) for part in text.split(",")]
        found = [one for one in numbers if one is not None]
        if len(found) != len(numbers) or len(found) < (2 if kind in ("hs", "xy") else 3):
            return None
        if kind == "hs":
            return found[0] % 360, max(0.0, min(100.0, found[1]))
        return from_xy(*found[:2]) if kind == "xy" else from_rgb(*found[:3])

    return decode


_Sender = Callable[[Any], list[Order]]


def _basic_senders(builder: Builder, scale: float, *, in_kelvin: bool) -> dict[str, _Sender]:
    """For each thing that can be set: from its value in the home's terms to messages."""
    found: dict[str, _Sender] = {}

    def add(name: str, kind: str, values: Callable[[Any], tuple[str, dict[str, Any]]]) -> None:
        topic = builder.topic(f"{kind}_command_topic")
        if topic is None or name in found:
            return
        write = builder.templates.writer(builder.template(f"{kind}_command_template"), builder.who)

        def send(value: Any) -> list[Order]:
            plain, variables = values(value)
            payload = write(plain, **variables)
            return [] if payload is None else [builder.order(topic, payload)]

        found[name] = send

    add("brightness", "brightness", lambda value: (str(max(1, round(value * scale / 100))), {}))
    add("color_temp", "color_temp", lambda value: (str(round(value if in_kelvin else kelvin(value))), {}))
    add("effect", "effect", lambda value: (str(value), {}))
    add("color", "rgb", lambda value: _parts(("red", "green", "blue"), to_rgb(value)))
    add("color", "rgbw", lambda value: _parts(("red", "green", "blue", "white"), (*to_rgb(value), 0)))
    whites = ("cold_white", "warm_white")
    add("color", "rgbww", lambda value: _parts(("red", "green", "blue", *whites), (*to_rgb(value), 0, 0)))
    add("color", "hs", lambda value: _parts(("hue", "sat"), (round(value[0], 1), round(value[1], 1))))
    add("color", "xy", lambda value: _parts(("x", "y"), to_xy(value)))
    return found


def _parts(names: tuple[str, ...], numbers: tuple[float, ...]) -> tuple[str, dict[str, Any]]:
    return ",".join(map(str, numbers)), dict(zip(names, numbers, strict=True))


# The template schema


def _template(builder: Builder) -> None:
    builder.needs("command_topic", "command_on_template", "command_off_template")
    topic = builder.topic("command_topic") or ""
    builder.reads("on", "state_topic", "state_template", lambda text: {"on": True, "off": False}.get(text.lower()))
    if builder.has("brightness_template"):
        builder.reads("brightness", "state_topic", "brightness_template", scaled(255))
    if builder.has("color_temp_template"):
        builder.reads("color_temp", "state_topic", "color_temp_template", _mired_decoder)
    if builder.has("effect_template"):
        builder.reads("effect", "state_topic", "effect_template")
    color = all(builder.has(f"{part}_template") for part in ("red", "green", "blue"))
    if color and (state := builder.filter("state_topic")) is not None:
        builder.read_by("color", state, _template_color(builder))
    effects = builder.words("effect_list")
    if effects:
        builder.options["effect"] = effects
    write_on = builder.templates.writer(builder.template("command_on_template"), builder.who)
    write_off = builder.templates.writer(builder.template("command_off_template"), builder.who)

    def turn_on(action: Action, values: Values) -> Plan:
        wish = wished(action, values, builder.works, effects)
        variables: dict[str, Any] = {"state": "on"}
        if wish.brightness is not None:
            variables["brightness"] = max(1, round(wish.brightness * 255 / 100))
        if wish.kelvin is not None:
            variables["color_temp"] = round(kelvin(wish.kelvin))
        if wish.color is not None:
            variables |= dict(zip(("red", "green", "blue"), to_rgb(wish.color), strict=True))
            variables |= dict(zip(("hue", "sat"), wish.color, strict=True))
        if wish.effect is not None:
            variables["effect"] = wish.effect
        order = builder.order(topic, _written(write_on("on", **variables)))
        return Plan((order,), wanted_of(wish, builder.reported), action.verb != "change_brightness")

    def turn_off(_action: Action, _values: Values) -> Plan:
        order = builder.order(topic, _written(write_off("off", state="off")))
        return Plan((order,), builder.wanted("on", False))

    has = {name: builder.has(f"{name}_template") for name in ("brightness", "color_temp")}
    for verb in light_verbs(
        brightness=has["brightness"], color=color, temperature=has["color_temp"], effect=bool(effects)
    ):
        builder.works[verb] = turn_off if verb == "turn_off" else turn_on


def _written(payload: str | None) -> str:
    if payload is None:
        raise CannotError("cannot be told, its template fails")
    return payload


def _mired_decoder(text: str) -> Value | None:
    found = number_of(text)
    return kelvin(found) if found else None


def _template_color(builder: Builder) -> Callable[[Payload], Value | None]:
    renders = [
        builder.templates.reader(builder.template(f"{part}_template"), builder.who)
        for part in ("red", "green", "blue")
    ]

    def read(payload: Payload) -> Value | None:
        numbers = [number_of(render(payload)) for render in renders]
        return None if None in numbers else from_rgb(*(one for one in numbers if one is not None))

    return read
