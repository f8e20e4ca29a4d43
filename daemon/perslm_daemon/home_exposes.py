"""What zigbee2mqtt's "exposes" of a device or group mean: entities, with what they say and how they are set.

Every capability has the property that it has in the state, and bits that say whether it is published (1), can be
set (2), can be asked for (4).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from perslm_daemon.home_colors import kelvin
from perslm_daemon.home_cover import CLOSING, MOVES, OPENING, POSITION_WITHIN
from perslm_daemon.home_device import Action, Value, Values
from perslm_daemon.home_discovery import spoken
from perslm_daemon.home_entity import (
    Availability,
    Entity,
    Order,
    Payload,
    Physical,
    Plan,
    Reading,
    UntoldError,
    Wanted,
    Work,
    bounded,
    fixed,
    is_on,
    number_of,
    one_of,
    percent,
    plain_name,
    text_of,
)
from perslm_daemon.home_light import color_of, light_verbs, scaled, wanted_of, wished

SOURCE = "zigbee2mqtt"

_PUBLISHED, _SETTABLE, _GETTABLE = 1, 2, 4
_SPECIFIC = ("light", "switch", "cover", "lock", "climate", "fan")
_UNINTERESTING = frozenset({"linkquality", "action", "identify", "update", "last_seen", "effect"})
_CLASSES = {"contact": "door", "occupancy": "occupancy", "presence": "occupancy", "water_leak": "moisture"}
_SETPOINTS = ("occupied_heating_setpoint", "current_heating_setpoint")

Json = Mapping[str, Any]


class Exposed:
    """One device or group of a hub: its topics, and how its exposes become entities."""

    def __init__(
        self, base: str, name: str, id_: str, shown: str, ids: Iterable[str], *, group: bool = False
    ) -> None:
        self._topic, self._id, self._shown = f"{base}/{name}", id_, shown
        self._physical = Physical(shown, frozenset(ids))
        self._group = group
        topics = [(f"{base}/bridge/state", _online)]
        if not group:
            topics.append((f"{self._topic}/availability", _online))
        self._availability = (Availability(tuple(topics), "all"),)

    def entities(self, exposes: Sequence[Json]) -> Iterator[Entity]:
        """Every entity of the exposes."""
        specific = [expose for expose in exposes if expose.get("type") in _SPECIFIC]
        effects = next((_words(one.get("values")) for one in exposes if one.get("name") == "effect"), ())
        for expose in specific:
            features = {str(one.get("name")): one for one in expose.get("features") or () if isinstance(one, dict)}
            yield self._specific(expose, features, effects if len(specific) == 1 else ())
        for expose in exposes:
            if (
                expose.get("type") in ("binary", "numeric", "enum", "text")
                and expose.get("name") not in _UNINTERESTING
            ):
                entity = self._generic(expose)
                if entity is not None:
                    yield entity

    def scenes(self, listed: object) -> Iterator[Entity]:
        """The scenes that the hub keeps in a device or group."""
        for scene in listed if isinstance(listed, list) else ():
            number, name = int(scene["id"]), plain_name(scene.get("name")) or f"scene {scene['id']}"
            order = self._order({"scene_recall": number})
            works: dict[str, Work] = {"activate": fixed(Plan((order,), repeatable=False))}
            yield self._made("scene", f"scene_{number}", name, (), works)

    def _specific(self, expose: Json, features: Mapping[str, Json], effects: tuple[str, ...]) -> Entity:
        kind, endpoint = str(expose["type"]), text_of(expose.get("endpoint")) or ""
        maker = {
            "light": self._light,
            "switch": self._switch,
            "cover": self._cover,
            "lock": self._lock,
            "climate": self._climate,
            "fan": self._fan,
        }[kind]
        made = _Made()
        maker(made, features)
        if kind == "light" and effects:
            made.options["effect"] = effects
            made.works["set_effect"] = made.works["turn_on"]
        name = f"{self._shown} {spoken(endpoint)}" if endpoint else self._shown
        return self._made(
            kind, f"{kind}_{endpoint}" if endpoint else kind, name, made.readings, made.works, made, features
        )

    def _made(
        self,
        domain: str,
        part: str,
        name: str,
        readings: Iterable[Reading],
        works: Mapping[str, Work],
        made: _Made | None = None,
        features: Mapping[str, Json] | None = None,
        **more: Any,
    ) -> Entity:
        made = made or _Made()
        asked = [str(one["property"]) for one in (features or {}).values() if _can(one, _GETTABLE)]
        asks = (Order(f"{self._topic}/get", json.dumps({asked[0]: ""}).encode()),) if asked else ()
        kind = more.pop("kind", "")
        return Entity(
            key=f"z2m.{self._id}.{part}",
            source=SOURCE,
            domain=domain,
            name=plain_name(name),
            physical=self._physical,
            readings=tuple(readings),
            availability=self._availability,
            works=works,
            kind="group" if self._group and domain != "scene" else kind,
            options=made.options,
            least=made.least,
            most=made.most,
            claims=frozenset({f"{self._topic}/set"}),
            asks=asks,
            unit=made.unit,
            **more,
        )

    def _order(self, body: Mapping[str, object]) -> Order:
        return Order(f"{self._topic}/set", json.dumps(body, ensure_ascii=False).encode())

    def _reading(self, prop: str, expose: Json, decode: Callable[[Any], Value | None]) -> Reading:
        property_ = str(expose["property"])
        return Reading(prop, self._topic, lambda payload: decode(payload.field(property_)))

    # What each kind can do

    def _switch(self, made: _Made, features: Mapping[str, Json]) -> None:
        state = features["state"]
        on, off = state.get("value_on", "ON"), state.get("value_off", "OFF")
        made.readings.append(self._reading("on", state, lambda value: _on(value, on, off)))
        if _can(state, _SETTABLE):
            for verb, value, result in (("turn_on", on, True), ("turn_off", off, False)):
                made.works[verb] = self._fixed(state, value, *_wanted(state, "on", result))

    def _fixed(
        self, expose: Json, value: object, *wanted: Wanted, on_its_way: frozenset[str] = frozenset()
    ) -> Work:
        plan = Plan((self._order({str(expose["property"]): value}),), wanted, True, on_its_way)
        return fixed(plan)

    def _light(self, made: _Made, features: Mapping[str, Json]) -> None:
        self._switch(made, features)
        brightness, temperature = features.get("brightness"), features.get("color_temp")
        color = features.get("color_hs") or features.get("color_xy")
        most = number_of((brightness or {}).get("value_max")) or 254.0
        if brightness:
            decode = scaled(most)
            made.readings.append(self._reading("brightness", brightness, lambda value: decode(str(value))))
        if temperature:
            made.readings.append(
                self._reading("color_temp", temperature, lambda v: kelvin(number_of(v) or 0) or None)
            )
        if color:
            made.readings.append(self._reading("color", color, color_of))
            mode = Reading("color_mode", self._topic, lambda payload: text_of(payload.field("color_mode")))
            made.readings.append(mode)
        named = {"brightness": brightness, "color_temp": temperature, "color": color, "on": features["state"]}
        reported = {prop for prop, feature in named.items() if feature and (prop == "color" or _can(feature, 1))}
        state, on = str(features["state"]["property"]), features["state"].get("value_on", "ON")

        def turn_on(action: Action, values: Values) -> Plan:
            wish = wished(action, values, made.works, made.options.get("effect", ()))
            body: dict[str, object] = {state: on}
            if wish.brightness is not None and brightness:
                body[str(brightness["property"])] = max(1, round(wish.brightness * most / 100))
            if wish.kelvin is not None and temperature:
                body[str(temperature["property"])] = _clamped(kelvin(wish.kelvin), temperature)
            if wish.color is not None and color:
                body[str(color["property"])] = {"hue": round(wish.color[0]), "saturation": round(wish.color[1])}
            if wish.effect is not None:
                body = {"effect": wish.effect}
                return Plan((self._order(body),), ())
            wanted = wanted_of(wish, reported.__contains__)
            return Plan((self._order(body),), wanted, action.verb != "change_brightness")

        verbs = light_verbs(
            brightness=bool(brightness), color=bool(color), temperature=bool(temperature), effect=False
        )
        made.works |= {verb: turn_on for verb in verbs if verb != "turn_off"}

    def _cover(self, made: _Made, features: Mapping[str, Json]) -> None:
        state, position, tilt = features.get("state"), features.get("position"), features.get("tilt")
        if position:
            made.readings.append(self._reading("position", position, number_of))
        elif state:
            words = {"OPEN": "open", "CLOSE": "closed", "STOP": "stopped"}
            made.readings.append(self._reading("state", state, lambda value: words.get(str(value))))
        if state:
            for verb, value, states in (
                ("open", "OPEN", OPENING),
                ("close", "CLOSE", CLOSING),
                ("stop", "STOP", ()),
            ):
                wanted = _wanted(position or state, "state", *states) if states else ()
                made.works[verb] = self._fixed(state, value, *wanted, on_its_way=MOVES)
        for verb, prop, feature in (("set_position", "position", position), ("set_tilt", "tilt", tilt)):
            if feature is None:
                continue
            if prop == "tilt":
                made.readings.append(self._reading("tilt", feature, number_of))
            made.works[verb] = self._number(prop, feature, (0, 100), POSITION_WITHIN, MOVES)

    def _number(
        self,
        prop: str,
        expose: Json,
        span: tuple[float | None, float | None],
        within: float,
        on_its_way: frozenset[str] = frozenset(),
    ) -> Work:
        def work(action: Action, _values: Values) -> Plan:
            wish = bounded(action, *span)
            told = int(wish) if float(wish).is_integer() else wish
            wanted = _wanted(expose, prop, wish, within=within)
            return Plan((self._order({str(expose["property"]): told}),), wanted, True, on_its_way)

        return work

    def _option(self, prop: str, expose: Json, made: _Made) -> Work:
        options = _words(expose.get("values"))
        made.options[prop] = options

        def work(action: Action, _values: Values) -> Plan:
            option = one_of(action, options)
            return Plan((self._order({str(expose["property"]): option}),), _wanted(expose, prop, option))

        return work

    def _lock(self, made: _Made, features: Mapping[str, Json]) -> None:
        state, detail = features["state"], features.get("lock_state")
        on, off = state.get("value_on", "LOCK"), state.get("value_off", "UNLOCK")
        if detail:
            made.readings.append(self._reading("state", detail, text_of))
        else:
            words = {str(on): "locked", str(off): "unlocked"}
            made.readings.append(self._reading("state", state, lambda value: words.get(str(value))))
        for verb, value, result in (("lock", on, "locked"), ("unlock", off, "unlocked")):
            made.works[verb] = self._fixed(state, value, *_wanted(detail or state, "state", result))

    def _climate(self, made: _Made, features: Mapping[str, Json]) -> None:
        setpoint = next((features[name] for name in _SETPOINTS if name in features), None)
        if setpoint:
            made.least, made.most = number_of(setpoint.get("value_min")), number_of(setpoint.get("value_max"))
            made.unit = "F" if "F" in str(setpoint.get("unit")) else "C"
            made.readings.append(self._reading("temperature", setpoint, number_of))
            made.works["set_temperature"] = self._number("temperature", setpoint, (made.least, made.most), 0.5)
            made.works["change_temperature"] = _changing(made)
        for prop, name, decode in (
            ("current_temperature", "local_temperature", number_of),
            ("action", "running_state", text_of),
        ):
            if name in features:
                made.readings.append(self._reading(prop, features[name], decode))
        for prop, name in (
            ("mode", "system_mode"),
            ("preset", "preset"),
            ("fan_mode", "fan_mode"),
            ("swing_mode", "swing_mode"),
        ):
            if name in features:
                made.readings.append(self._reading(prop, features[name], text_of))
                made.works[f"set_{prop}"] = self._option(prop, features[name], made)
        modes = made.options.get("mode", ())
        running = [mode for mode in ("auto", "heat", "cool") if mode in modes]
        if "off" in modes and running:
            work = made.works["set_mode"]
            made.works["turn_off"] = lambda _, values: work(Action("set_mode", "off"), values)
            made.works["turn_on"] = lambda _, values: work(Action("set_mode", running[0]), values)

    def _fan(self, made: _Made, features: Mapping[str, Json]) -> None:
        if "state" in features:
            self._switch(made, features)
        mode, speed = features.get("mode"), features.get("speed")
        if speed:
            most = number_of(speed.get("value_max")) or 254.0
            decode = scaled(most)
            made.readings.append(self._reading("percentage", speed, lambda value: decode(str(value))))

            def set_speed(action: Action, _values: Values) -> Plan:
                wish = percent(action)
                body = {str(speed["property"]): round(wish * most / 100)}
                return Plan((self._order(body),), _wanted(speed, "percentage", wish, within=100 / most + 1))

            made.works["set_percentage"] = set_speed
        if mode:
            made.readings.append(self._reading("preset", mode, text_of))
            made.works["set_preset"] = self._option("preset", mode, made)

    def _generic(self, expose: Json) -> Entity | None:
        """A sensor, or a setting: a number, a choice, a switch."""
        kind, name, made = str(expose["type"]), str(expose["name"]), _Made()
        settable, published = _can(expose, _SETTABLE), _can(expose, _PUBLISHED)
        part = str(expose["property"])
        made.unit = plain_name(expose.get("unit"))[:16]
        category = text_of(expose.get("category")) or ("config" if settable and name != "state" else "")
        if kind == "binary":
            on, off = expose.get("value_on", True), expose.get("value_off", False)
            if settable:
                self._switch(made, {"state": expose})
            else:
                made.readings.append(self._reading("on", expose, lambda value: _on(value, on, off)))
        elif kind == "numeric" and (settable or published):
            made.readings.append(self._reading("value", expose, number_of))
            if settable:
                made.least, made.most = number_of(expose.get("value_min")), number_of(expose.get("value_max"))
                step = number_of(expose.get("value_step")) or 1
                made.works["set_value"] = self._number("value", expose, (made.least, made.most), step / 2)
        elif kind in ("enum", "text"):
            made.readings.append(self._reading("value", expose, text_of))
            if settable and kind == "enum":
                made.works["select"] = self._option("value", expose, made)
        domain = {
            ("binary", True): "switch",
            ("binary", False): "binary_sensor",
            ("numeric", True): "number",
            ("enum", True): "select",
        }.get((kind, settable), "sensor")
        label = plain_name(str(expose.get("label") or name).replace("_", " ")).lower()
        endpoint = text_of(expose.get("endpoint")) or ""
        shown = f"{self._shown} {label}" if name != "state" else f"{self._shown} {endpoint}".strip()
        more = {
            "kind": _CLASSES.get(name, plain_name(name)),
            "category": category if category in ("config", "diagnostic") else "",
        }
        readings = made.readings if published else []
        return self._made(domain, part, shown, readings, made.works, made, {name: expose}, **more)


class _Made:
    """What is collected for one entity."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.works: dict[str, Work] = {}
        self.options: dict[str, tuple[str, ...]] = {}
        self.least: float | None = None
        self.most: float | None = None
        self.unit = ""


def _changing(made: _Made) -> Work:
    def work(action: Action, values: Values) -> Plan:
        by, now = number_of(action.value), number_of(values.get("temperature"))
        if by is None or now is None:
            raise UntoldError("does not say what its temperature is")
        wish = now + by
        wish = wish if made.least is None else max(made.least, wish)
        wish = wish if made.most is None else min(made.most, wish)
        return made.works["set_temperature"](Action("set_temperature", wish), values)

    return work


def _words(listed: object) -> tuple[str, ...]:
    """The words of a choice; one that could not be said or shown as it is cannot be chosen."""
    words = (text_of(one) or "" for one in (listed if isinstance(listed, list) else ())[:200])
    return tuple(word for word in words if word and plain_name(word) == word)


def _can(expose: Json, bit: int) -> bool:
    access = expose.get("access")
    return isinstance(access, int) and bool(access & bit)


def _wanted(expose: Json, prop: str, *values: Value, within: float = 0.0) -> tuple[Wanted, ...]:
    return (Wanted(prop, values, within),) if _can(expose, _PUBLISHED) else ()


def _clamped(mireds: float, expose: Json) -> int:
    least, most = number_of(expose.get("value_min")) or 150.0, number_of(expose.get("value_max")) or 500.0
    return round(max(least, min(most, mireds)))


def _on(value: object, on: object, off: object) -> bool | None:
    if value is None:
        return None
    return is_on(str(value), str(on), str(off))


def _online(payload: Payload) -> bool | None:
    said = payload.field("state") if payload.text.lstrip().startswith("{") else payload.text
    return is_on(str(said), "online", "offline")
