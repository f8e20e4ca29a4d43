"""Reads Home Assistant's discovery messages: one component a topic, or a whole device in one message.

Topics are PREFIX/COMPONENT/[NODE/]OBJECT/config. Short keys are expanded, `~` is put in, what a device message
says for all its components is handed down. What a PersLM announces never becomes an entity, nor anything whose
commands would go to PersLM, to the broker's own topics, or into the discovery prefix.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from perslm_daemon.home_abbreviations import DEVICE, ENTITY, ORIGIN
from perslm_daemon.home_build import Builder, MalformedError
from perslm_daemon.home_entity import Entity, Physical, plain_name
from perslm_daemon.home_plain import DOMAINS, PASSED_OVER
from perslm_daemon.home_templates import Templates, Warn

MAX_BYTES = 512 * 1024
"""Longest announcement that is read; a device message with a hundred components has about 60 KB."""

_MOST_COMPONENTS = 500
_SHARED = (
    "availability",
    "availability_mode",
    "availability_template",
    "availability_topic",
    "command_topic",
    "encoding",
    "payload_available",
    "payload_not_available",
    "qos",
    "state_topic",
)
_ID = re.compile(r"[A-Za-z0-9_-]+")
_HOST = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Where no command may go: PersLM's own topics, discovery prefixes, and the bridges of the hubs."""

    base: str
    prefixes: tuple[str, ...]
    hubs: tuple[str, ...] = ()

    def why(self, topic: str) -> str | None:
        """The reason that nothing is sent to `topic`, or None."""
        if topic.startswith("$"):
            return "its commands would go to the broker's own topics"
        if topic == self.base or topic.startswith(f"{self.base}/"):
            return "its commands would go to PersLM itself"
        if any(topic == prefix or topic.startswith(f"{prefix}/") for prefix in self.prefixes):
            return "its commands would go into the discovery prefix"
        if any(topic.startswith(f"{hub}/bridge/") for hub in self.hubs):
            return "its commands would change a hub, not a device"
        return None


class Discovery:
    """The reader of discovery messages below `prefix`; `source` says in the home who announces there."""

    def __init__(
        self,
        prefix: str,
        forbidden: Forbidden,
        templates: Templates,
        warn: Warn,
        source: str = "homeassistant",
    ) -> None:
        self._prefix, self._forbidden, self._templates, self._warn = prefix, forbidden, templates, warn
        self._source = source

    @property
    def filters(self) -> tuple[str, ...]:
        """What has to be listened to."""
        return (f"{self._prefix}/+/+/config", f"{self._prefix}/+/+/+/config")

    def mine(self, topic: str) -> bool:
        """Whether a topic is one of discovery."""
        return topic.startswith(f"{self._prefix}/") and topic.endswith("/config")

    def read(self, topic: str, payload: bytes) -> Iterator[Entity]:
        """The entities of a message, none of an empty one. What cannot be used is warned of, by its topic."""
        parts = topic[len(self._prefix) + 1 :].split("/")
        if len(parts) not in (3, 4) or not all(map(_ID.fullmatch, parts)) or not payload.strip():
            return
        component = parts[0]
        if component != "device" and component not in DOMAINS:
            if component not in PASSED_OVER:
                self._warn(topic, f"{component} is no kind of device that is known")
            return
        try:
            message = _expanded(_decoded(payload))
            if _is_ours(message):
                return
            if component == "device":
                yield from self._components(topic, message)
            elif not message.get("migrate_discovery"):
                yield self._entity(component, topic, "_".join(parts[1:-1]), message)
        except MalformedError as error:
            self._warn(topic, f"this announcement cannot be used: {error}")

    def _components(self, topic: str, message: Mapping[str, Any]) -> Iterator[Entity]:
        components = message.get("components")
        if not isinstance(components, dict):
            raise MalformedError("components is missing")
        shared = {key: message[key] for key in (*_SHARED, "device", "~") if key in message}
        for id_, component in list(components.items())[:_MOST_COMPONENTS]:
            try:
                yield from self._component(topic, str(id_), shared, component)
            except MalformedError as error:
                self._warn(f"{topic}#{str(id_)[:60]}", f"this announcement cannot be used: {error}")

    def _component(self, topic: str, id_: str, shared: Mapping[str, Any], component: object) -> Iterator[Entity]:
        if not isinstance(component, dict):
            raise MalformedError("a component has to be an object")
        config = _expanded(component)
        platform = config.get("platform")
        if not isinstance(platform, str):
            raise MalformedError("platform is missing")
        if set(config) <= {"platform"} or platform in PASSED_OVER:
            return  # a component that has been taken back, or one of no use here
        if platform not in DOMAINS:
            raise MalformedError(f"{platform[:40]} is no kind of device that is known")
        if "availability" in config or "availability_topic" in config:
            shared = {key: value for key, value in shared.items() if not key.startswith("availability")}
        yield self._entity(platform, topic, id_, {**shared, **config})

    def _entity(self, component: str, topic: str, id_: str, config: Mapping[str, Any]) -> Entity:
        config = _with_base(config)
        device = config.get("device")
        device = _renamed(device, DEVICE) if isinstance(device, dict) else {}
        physical = _physical(device)
        name = _name(config, physical, component, id_)
        builder = Builder(config, self._templates, name)
        DOMAINS[component](builder)
        for claimed in builder.claims:
            why = self._forbidden.why(claimed)
            if why is not None:
                raise MalformedError(why)
        unique = config.get("unique_id")
        if unique in (None, ""):
            unique = topic.removeprefix(f"{self._prefix}/").removesuffix("/config") + id_
        key = f"{component}.{slug(str(unique))}"
        return builder.entity(key, self._source, name, physical)


def _decoded(payload: bytes) -> Any:
    if len(payload) > MAX_BYTES:
        raise MalformedError(f"it has {len(payload)} bytes, and at most {MAX_BYTES} are read")
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise MalformedError("it is no JSON") from error
    if not isinstance(found, dict):
        raise MalformedError("it is no JSON object")
    return found


def _is_ours(message: Mapping[str, Any]) -> bool:
    origin = message.get("origin")
    named = _renamed(origin, ORIGIN).get("name") if isinstance(origin, dict) else None
    return isinstance(named, str) and named.strip().lower() == "perslm"


def _renamed(found: Mapping[str, Any], table: Mapping[str, str]) -> dict[str, Any]:
    return {table.get(key, key): value for key, value in found.items()}


def _expanded(found: Mapping[str, Any]) -> dict[str, Any]:
    """The message with its short keys written out, in the availability list too."""
    config = _renamed(found, ENTITY)
    listed = config.get("availability")
    if isinstance(listed, list):
        config["availability"] = [_renamed(one, ENTITY) if isinstance(one, dict) else one for one in listed]
    elif isinstance(listed, dict):
        config["availability"] = [_renamed(listed, ENTITY)]
    return config


def _with_base(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with `~`, at the beginning or the end of a topic, put in."""
    base = config.get("~")
    if not isinstance(base, str):
        return {key: value for key, value in config.items() if key != "~"}

    def put(value: Any) -> Any:
        if not isinstance(value, str) or not value:
            return value
        value = f"{base}{value[1:]}" if value.startswith("~") else value
        return f"{value[:-1]}{base}" if value.endswith("~") else value

    made = {key: put(value) if key.endswith("topic") else value for key, value in config.items() if key != "~"}
    listed = made.get("availability")
    if isinstance(listed, list):
        made["availability"] = [
            {**one, "topic": put(one.get("topic"))} if isinstance(one, dict) else one for one in listed
        ]
    return made


def _physical(device: Mapping[str, Any]) -> Physical:
    ids: set[str] = set()
    identifiers = device.get("identifiers")
    for one in identifiers if isinstance(identifiers, list) else [identifiers]:
        if isinstance(one, str | int):
            ids |= normalised(str(one))
    connections = device.get("connections")
    for pair in connections if isinstance(connections, list) else []:
        if isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[1], str):
            ids |= normalised(pair[1])
    area = plain_name(device.get("suggested_area")) or None
    return Physical(plain_name(device.get("name")), frozenset(ids), area)


def normalised(identifier: str) -> set[str]:
    """The forms under which an identifier is recognized: itself, and an ieee or MAC address inside it."""
    word = identifier.strip().lower()
    found = {word} if word else set()
    found |= set(re.findall(r"0x[0-9a-f]{16}", word))
    bare = word.replace(":", "").replace("-", "")
    if re.fullmatch(r"[0-9a-f]{12}", bare):
        found.add(bare)
    return found


def _name(config: Mapping[str, Any], physical: Physical, component: str, id_: str) -> str:
    """The name people use: the device's, then the entity's where it says more."""
    own = plain_name(config.get("name"))
    if not physical.name:
        return own or spoken(id_) or component
    if not own:
        kind = plain_name(str(config.get("device_class") or "")).replace("_", " ")
        said = component in ("sensor", "binary_sensor") and "name" not in config and kind
        return f"{physical.name} {kind}" if said else physical.name
    if own.lower().startswith(physical.name.lower()):
        return own
    if _HOST.fullmatch(physical.name) and " " in own:
        return own  # "kitchen-node-2 Kitchen Light" is what nobody says
    return plain_name(f"{physical.name} {own}")


def spoken(name: str) -> str:
    """A technical name as people say it: "kitchen/ceiling_light" is the kitchen ceiling light."""
    text = re.sub(r"[_/]+", " ", name)
    return plain_name(text if " " in text.strip() else text.replace("-", " "))


def slug(text: str) -> str:
    """An identifier in small letters; where that loses anything, with a few letters that tell it apart."""
    word = text.lower()
    made = re.sub(r"[^a-z0-9_]+", "_", word).strip("_")[:100]
    if made == word:
        return made
    return f"{made}_{hashlib.blake2s(word.encode(), digest_size=3).hexdigest()}".lstrip("_")
