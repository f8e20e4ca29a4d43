"""What warms, cools, blows and moistens, of Home Assistant discovery: climate, water heater, humidifier, fan."""

from __future__ import annotations

from perslm_daemon.home_build import Builder, MalformedError
from perslm_daemon.home_device import Action, Value, Values
from perslm_daemon.home_entity import Plan, UntoldError, Wanted, is_on, number_of, one_of, percent

_MODES = ("auto", "off", "cool", "heat", "dry", "fan_only")
_WATER_MODES = ("off", "eco", "electric", "gas", "heat_pump", "high_demand", "performance")
_TEMPERATURE_WITHIN = 0.5


def describe_climate(builder: Builder) -> None:
    """A thermostat or an air conditioner."""
    builder.domain = "climate"
    builder.unit = builder.text("temperature_unit", "C")[:1]
    modes = builder.words("modes", _MODES)
    _temperatures(builder, modes)
    for prop, verb, key, listed, default in (
        ("fan_mode", "set_fan_mode", "fan_mode", "fan_modes", ("auto", "low", "medium", "high")),
        ("swing_mode", "set_swing_mode", "swing_mode", "swing_modes", ("on", "off")),
    ):
        builder.reads(prop, f"{key}_state_topic", f"{key}_state_template")
        topic = f"{key}_command_topic"
        if builder.has(topic):
            builder.sends_option(verb, prop, topic, f"{key}_command_template", builder.words(listed, default))
    _preset(builder)
    builder.reads("action", "action_topic", "action_template")
    builder.reads("humidity", "target_humidity_state_topic", "target_humidity_state_template", number_of)
    builder.reads("current_humidity", "current_humidity_topic", "current_humidity_template", number_of)
    span = (builder.number("min_humidity", 30), builder.number("max_humidity", 99))
    humidity = ("target_humidity_command_topic", "target_humidity_command_template")
    builder.sends_number("set_humidity", "humidity", *humidity, span, 1.0)
    if not builder.works and not builder.readings:
        raise MalformedError("it has neither a topic to read nor one to command")


def describe_water_heater(builder: Builder) -> None:
    """A water heater."""
    builder.domain = "water_heater"
    builder.unit = builder.text("temperature_unit", "C")[:1]
    _temperatures(builder, builder.words("modes", _WATER_MODES))


def _temperatures(builder: Builder, modes: tuple[str, ...]) -> None:
    """Mode, set-points and what is measured; on and off by the mode, or by a power topic."""
    water = builder.domain == "water_heater"
    builder.least = builder.number("min_temp", 43 if water else 7)
    builder.most = builder.number("max_temp", 60 if water else 35)
    builder.reads("current_temperature", "current_temperature_topic", "current_temperature_template", number_of)
    builder.reads("mode", "mode_state_topic", "mode_state_template")
    if builder.has("mode_command_topic"):
        builder.sends_option("set_mode", "mode", "mode_command_topic", "mode_command_template", modes)
    for suffix in ("", "_low", "_high"):
        prop, key = f"temperature{suffix}", f"temperature{suffix}"
        builder.reads(prop, f"{key}_state_topic", f"{key}_state_template", number_of)
        span = (builder.least, builder.most)
        topics = (f"{key}_command_topic", f"{key}_command_template")
        builder.sends_number(f"set_{prop}", prop, *topics, span, _TEMPERATURE_WITHIN)
    if "set_temperature" in builder.works:
        builder.works["change_temperature"] = changes(builder, "temperature")
    if builder.has("power_command_topic"):
        # Power is seldom reported by itself: the mode says it.
        wanted = (Wanted("mode", ("off",)),) if builder.reported("mode") else ()
        on, off = builder.text("payload_on", "ON"), builder.text("payload_off", "OFF")
        others = tuple(mode for mode in modes if mode != "off")
        running = (Wanted("mode", others),) if builder.reported("mode") and others else ()
        builder.sends_word("turn_on", "power_command_topic", "power_command_template", on, *running)
        builder.sends_word("turn_off", "power_command_topic", "power_command_template", off, *wanted)
    elif "set_mode" in builder.works and "off" in modes:
        by_mode(builder, modes)


def by_mode(builder: Builder, modes: tuple[str, ...]) -> None:
    """turn_on and turn_off of what has no power topic: the mode off, and the first that is none."""
    work = builder.works["set_mode"]
    running: list[str] = [mode for mode in ("auto", "heat_cool", "heat", "cool") if mode in modes]
    running += [mode for mode in modes if mode != "off"]
    builder.works["turn_off"] = lambda _, values: work(Action("set_mode", "off"), values)
    if running:
        builder.works["turn_on"] = lambda _, values: work(Action("set_mode", running[0]), values)


def changes(builder: Builder, prop: str) -> Changer:
    """A verb that changes a number by so much."""
    return Changer(builder, prop)


class Changer:
    """change_temperature: the set-point as it is now, and so much more or less, within the range."""

    def __init__(self, builder: Builder, prop: str) -> None:
        self._builder, self._prop = builder, prop

    def __call__(self, action: Action, values: Values) -> Plan:
        """The plan. Raises `CannotError` where the present value is not known."""
        by, now = number_of(action.value), number_of(values.get(self._prop))
        if by is None or now is None:
            raise UntoldError(f"does not say what its {self._prop} is")
        least, most = self._builder.least, self._builder.most
        wish = max(least if least is not None else now + by, min(most if most is not None else now + by, now + by))
        plan = self._builder.works[f"set_{self._prop}"](Action(f"set_{self._prop}", wish), values)
        return Plan(plan.orders, plan.wanted, repeatable=True)  # absolute: sent twice it is the same


def _preset(builder: Builder) -> None:
    template = (
        "preset_mode_value_template" if builder.has("preset_mode_value_template") else "preset_mode_state_template"
    )
    builder.reads("preset", "preset_mode_state_topic", template)
    if builder.has("preset_mode_command_topic"):
        presets = builder.words("preset_modes")
        topics = ("preset_mode_command_topic", "preset_mode_command_template")
        builder.sends_option("set_preset", "preset", *topics, presets)


def describe_humidifier(builder: Builder) -> None:
    """A humidifier or dehumidifier."""
    builder.domain = "humidifier"
    builder.needs("command_topic", "target_humidity_command_topic")
    builder.reads_on("state_topic", "state_value_template")
    builder.switches()
    builder.reads("humidity", "target_humidity_state_topic", "target_humidity_state_template", number_of)
    builder.reads("current_humidity", "current_humidity_topic", "current_humidity_template", number_of)
    builder.reads("action", "action_topic", "action_template")
    builder.reads("mode", "mode_state_topic", "mode_state_template")
    span = (builder.number("min_humidity", 0), builder.number("max_humidity", 100))
    topics = ("target_humidity_command_topic", "target_humidity_command_template")
    builder.sends_number("set_humidity", "humidity", *topics, span, 1.0)
    if builder.has("mode_command_topic"):
        modes = builder.words("modes")
        builder.sends_option("set_mode", "mode", "mode_command_topic", "mode_command_template", modes)


def describe_fan(builder: Builder) -> None:
    """A fan: on and off, speed as a percentage, direction, oscillation, presets."""
    builder.domain = "fan"
    builder.needs("command_topic")
    builder.reads_on("state_topic", "state_value_template")
    builder.switches()
    low, high = builder.number("speed_range_min", 1), builder.number("speed_range_max", 100)
    steps = max(1.0, high - low + 1)

    def speed(text: str) -> Value | None:
        found = number_of(text)
        return None if found is None else round(max(0.0, min(100.0, (found - low + 1) * 100 / steps)), 1)

    def set_speed(action: Action) -> tuple[str, tuple[Wanted, ...]]:
        wish = percent(action)
        step = 0 if wish == 0 else max(1, round(wish * steps / 100))
        reached = step * 100 / steps
        return str(int(step + low - 1) if step else 0), builder.wanted(
            "percentage", reached, within=100 / steps / 2
        )

    builder.reads("percentage", "percentage_state_topic", "percentage_value_template", speed)
    builder.sends("set_percentage", "percentage_command_topic", "percentage_command_template", set_speed)
    builder.reads("direction", "direction_state_topic", "direction_value_template")
    if builder.has("direction_command_topic"):
        topics = ("direction_command_topic", "direction_command_template")
        builder.sends_option("set_direction", "direction", *topics, ("forward", "reverse"))
    _oscillation(builder)
    _preset(builder)


def _oscillation(builder: Builder) -> None:
    on = builder.text("payload_oscillation_on", "oscillate_on")
    off = builder.text("payload_oscillation_off", "oscillate_off")
    topics = ("oscillation_state_topic", "oscillation_value_template")
    builder.reads("oscillating", *topics, lambda text: is_on(text, on, off))

    def oscillate(action: Action) -> tuple[str, tuple[Wanted, ...]]:
        wish = one_of(action, ("on", "off")) == "on"
        return on if wish else off, builder.wanted("oscillating", wish)

    if builder.has("oscillation_command_topic"):
        builder.options["oscillating"] = ("on", "off")
        builder.sends("set_oscillating", "oscillation_command_topic", "oscillation_command_template", oscillate)
