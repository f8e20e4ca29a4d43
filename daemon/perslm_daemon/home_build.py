"""Builds an entity out of an expanded Home Assistant configuration: its readings, commands and availability.

The domains (`home_light`, `home_cover`, `home_climate`, `home_plain`) say which keys mean what; this knows how a
key with a topic, a template and payloads becomes a reading or a command. Whatever is wrong with a configuration
is a `MalformedError` that says which key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from perslm_daemon.home_device import Action, Value, Values
from perslm_daemon.home_entity import (
    Availability,
    CannotError,
    Entity,
    Order,
    Payload,
    Physical,
    Plan,
    Read,
    Reading,
    Wanted,
    Work,
    as_text,
    bounded,
    is_on,
    number_of,
    one_of,
    plain_name,
    text_of,
)
from perslm_daemon.home_templates import Templates
from perslm_daemon.topics import is_topic
from perslm_runtime.errors import InputError

Config = Mapping[str, Any]
Decode = Callable[[str], Value | None]

_MOST_OPTIONS = 200
_NOTHING = ("", "None", "null")  # payloads that say "unknown"


class MalformedError(InputError):
    """An announcement that cannot be used; the message says what is wrong with it."""


class Builder:
    """One entity being built from `config`; `who` names it in warnings."""

    def __init__(self, config: Config, templates: Templates, who: str) -> None:
        self.config, self.templates, self.who = config, templates, who
        self.readings: list[Reading] = []
        self.works: dict[str, Work] = {}
        self.options: dict[str, tuple[str, ...]] = {}
        self.claims: set[str] = set()
        self.least: float | None = None
        self.most: float | None = None
        self.domain = ""
        self.kind = plain_name(self.text("device_class", ""))
        self.unit = plain_name(self.text("unit_of_measurement", ""))[:16]

    def has(self, key: str) -> bool:
        """Whether the configuration says anything of `key`."""
        return self.config.get(key) not in (None, "")

    def text(self, key: str, default: str) -> str:
        """A text; numbers and booleans are taken as their text, as devices write them."""
        value = self.config.get(key)
        if value is None:
            return default
        if isinstance(value, dict | list):
            raise MalformedError(f"{key} has to be a text")
        return value if isinstance(value, str) else str(value)

    def number(self, key: str, default: float) -> float:
        """A number."""
        found = number_of(self.config.get(key, default))
        if found is None:
            raise MalformedError(f"{key} has to be a number")
        return found

    def flag(self, key: str, default: bool = False) -> bool:
        """A yes or no."""
        value = self.config.get(key, default)
        return value.lower() in ("true", "1", "yes", "on") if isinstance(value, str) else bool(value)

    def words(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of words."""
        value = self.config.get(key, default)
        if not isinstance(value, list | tuple):
            raise MalformedError(f"{key} has to be a list")
        words = (plain_name(text_of(one) or "") for one in value[:_MOST_OPTIONS])
        return tuple(word for word in words if word)

    def topic(self, key: str) -> str | None:
        """A topic to publish to. A wrong one is a `MalformedError`."""
        if not self.has(key):
            return None
        topic = self.config[key]
        if not isinstance(topic, str) or not is_topic(topic):
            raise MalformedError(f"{key} is no topic that can be published to")
        self.claims.add(topic)
        return topic

    def filter(self, key: str) -> str | None:
        """A topic to listen to; + may stand for a level of it."""
        if not self.has(key):
            return None
        topic = self.config[key]
        if not isinstance(topic, str) or not is_topic("/".join("x" if p == "+" else p for p in topic.split("/"))):
            raise MalformedError(f"{key} is no topic that can be listened to")
        return topic

    def template(self, key: str) -> str | None:
        """A template's source."""
        source = self.config.get(key)
        if source is not None and not isinstance(source, str):
            raise MalformedError(f"{key} has to be a text")
        return source

    # Reading

    def reads(self, prop: str, topic_key: str, template_key: str = "", decode: Decode = text_of) -> bool:
        """Read `prop` from a topic through a template; whether there is such a topic."""
        topic = self.filter(topic_key)
        if topic is None:
            return False
        render = self.templates.reader(self.template(template_key) if template_key else None, self.who)

        def read(payload: Payload) -> Value | None:
            text = render(payload)
            return None if text is None or text in _NOTHING else decode(text)

        self.readings.append(Reading(prop, topic, read))
        return True

    def read_by(self, prop: str, topic: str, read: Read) -> None:
        """Read `prop` in another way."""
        self.readings.append(Reading(prop, topic, read))

    def reported(self, prop: str) -> bool:
        """Whether the state says anything of `prop`."""
        return not self.flag("optimistic") and any(reading.prop == prop for reading in self.readings)

    # Commanding

    def order(self, topic: str, payload: str) -> Order:
        """A message as the configuration wants it sent."""
        return Order(topic, payload.encode(), min(1, int(self.number("qos", 0))), self.flag("retain"))

    def wanted(self, prop: str, *values: Value, within: float = 0.0) -> tuple[Wanted, ...]:
        """What the state will say; nothing where it does not report that."""
        return (Wanted(prop, values, within),) if self.reported(prop) else ()

    def sends(
        self,
        verb: str,
        topic_key: str,
        template_key: str,
        encode: Callable[[Action], tuple[str, tuple[Wanted, ...]]],
        *,
        repeatable: bool = True,
    ) -> bool:
        """Do `verb` by one message on a topic; `encode` gives its value and what the state then says."""
        topic = self.topic(topic_key)
        if topic is None:
            return False
        write = self.templates.writer(self.template(template_key) if template_key else None, self.who)

        def work(action: Action, _values: Values) -> Plan:
            value, wanted = encode(action)
            payload = write(value, action=value)  # alarm panels' templates call it action
            if payload is None:
                raise CannotError("cannot be told, its template fails")
            return Plan((self.order(topic, payload),), wanted, repeatable)

        self.works[verb] = work
        return True

    def sends_word(self, verb: str, topic_key: str, template_key: str, payload: str, *wanted: Wanted) -> bool:
        """Do `verb` by one fixed payload."""
        return self.sends(verb, topic_key, template_key, always(payload, wanted))

    def sends_number(
        self,
        verb: str,
        prop: str,
        topic_key: str,
        template_key: str,
        bounds: tuple[float | None, float | None],
        within: float = 0.51,
    ) -> bool:
        """Do `verb` by a number within bounds."""

        def encode(action: Action) -> tuple[str, tuple[Wanted, ...]]:
            number = bounded(action, *bounds)
            return as_text(number), self.wanted(prop, number, within=within)

        return self.sends(verb, topic_key, template_key, encode)

    def sends_option(
        self, verb: str, prop: str, topic_key: str, template_key: str, options: tuple[str, ...]
    ) -> bool:
        """Do `verb` by one of a few words."""

        def encode(action: Action) -> tuple[str, tuple[Wanted, ...]]:
            option = one_of(action, options)
            return option, self.wanted(prop, option)

        if options:
            self.options[prop] = options
        return self.sends(verb, topic_key, template_key, encode)

    def switches(
        self, topic_key: str = "command_topic", template_key: str = "command_template", prop: str = "on"
    ) -> bool:
        """turn_on and turn_off by two payloads."""
        on, off = self.text("payload_on", "ON"), self.text("payload_off", "OFF")
        made = self.sends("turn_on", topic_key, template_key, always(on, self.wanted(prop, True)))
        return made and self.sends("turn_off", topic_key, template_key, always(off, self.wanted(prop, False)))

    def reads_on(self, topic_key: str = "state_topic", template_key: str = "value_template") -> bool:
        """`on` by two payloads."""
        on = self.text("state_on", self.text("payload_on", "ON"))
        off = self.text("state_off", self.text("payload_off", "OFF"))
        return self.reads("on", topic_key, template_key, lambda text: is_on(text, on, off))

    def needs(self, *keys: str) -> None:
        """A `MalformedError` where a key is missing without which nothing works."""
        missing = [key for key in keys if not self.has(key)]
        if missing:
            raise MalformedError(f"{' and '.join(missing)} is missing")

    # The whole

    def entity(self, key: str, source: str, name: str, physical: Physical) -> Entity:
        """The entity, once its domain has been described."""
        return Entity(
            key=key,
            source=source,
            domain=self.domain,
            name=name,
            physical=physical,
            readings=tuple(self.readings),
            availability=self._availability(),
            works=self.works,
            kind=self.kind,
            unit=self.unit,
            options=self.options,
            least=self.least,
            most=self.most,
            category=self.text("entity_category", ""),
            enabled=self.flag("enabled_by_default", True),
            claims=frozenset(self.claims),
            expires_s=max(0.0, self.number("expire_after", 0)),
        )

    def _availability(self) -> tuple[Availability, ...]:
        listed = self.config.get("availability")
        listed = listed if isinstance(listed, list) else [listed] if isinstance(listed, dict) else []
        single = self.config.get("availability_topic")
        if single:
            listed = [*listed, {"topic": single, "value_template": self.config.get("availability_template")}]
        if not listed:
            return ()
        mode = self.text("availability_mode", "latest")
        return (Availability(tuple(self._one_availability(one) for one in listed[:20]), mode),)

    def _one_availability(self, one: object) -> tuple[str, Callable[[Payload], bool | None]]:
        if not isinstance(one, dict):
            raise MalformedError("availability has to be a list of objects with a topic")
        inner = Builder({**self.config, **one}, self.templates, self.who)
        inner.needs("topic")
        topic = inner.filter("topic") or ""
        here, gone = inner.text("payload_available", "online"), inner.text("payload_not_available", "offline")
        template = one.get("value_template")
        render = self.templates.reader(template if isinstance(template, str) else None, self.who)

        def read(payload: Payload) -> bool | None:
            text = render(payload)
            return None if text is None else is_on(text, here, gone)

        return topic, read


def always(payload: str, wanted: tuple[Wanted, ...] = ()) -> Callable[[Action], tuple[str, tuple[Wanted, ...]]]:
    """For `sends`: the same payload whatever the action's value."""
    return lambda _action: (payload, wanted)


def json_payload(body: Mapping[str, object]) -> str:
    """A command as JSON."""
    return json.dumps(body, ensure_ascii=False)
