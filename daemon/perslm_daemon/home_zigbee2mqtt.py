"""Reads what zigbee2mqtt says of its devices and groups, retained on <base>/bridge/devices and /bridge/groups.

Needs no setting there. What the exposes of a device mean is in `home_exposes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from perslm_daemon.home_discovery import normalised, spoken
from perslm_daemon.home_entity import Entity, plain_name, text_of
from perslm_daemon.home_exposes import Exposed
from perslm_daemon.home_templates import Warn
from perslm_daemon.topics import is_topic

MAX_BYTES = 8 * 1024 * 1024
"""Longest list of devices that is read; two hundred devices have about 1 MB."""

Json = Mapping[str, Any]


class Zigbee2mqtt:
    """The reader of one hub with its base topic."""

    def __init__(self, base: str, warn: Warn) -> None:
        self.base, self._warn = base, warn
        self.devices_topic, self.groups_topic = f"{base}/bridge/devices", f"{base}/bridge/groups"
        self._exposes: dict[str, list[Json]] = {}

    @property
    def filters(self) -> tuple[str, ...]:
        """What has to be listened to."""
        return (self.devices_topic, self.groups_topic)

    def mine(self, topic: str) -> bool:
        """Whether a topic is one of the hub's lists."""
        return topic in (self.devices_topic, self.groups_topic)

    def read(self, topic: str, payload: bytes) -> Iterator[Entity]:
        """The entities of a list; what cannot be used is warned of by its name."""
        listed = self._list(topic, payload)
        if topic == self.devices_topic:
            self._exposes = {}
        for one in listed:
            name = text_of(one.get("friendly_name")) if isinstance(one, dict) else None
            try:
                if not isinstance(one, dict) or not name or not is_topic(f"{self.base}/{name}"):
                    raise ValueError("it has no friendly_name that can be a topic")
                yield from self._device(one, name) if topic == self.devices_topic else self._group(one, name)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                self._warn(f"{topic}#{plain_name(name) or '?'}", f"this device cannot be used: {error}")

    def _list(self, topic: str, payload: bytes) -> list[Any]:
        if not payload.strip():
            return []
        try:
            found = msgspec.json.decode(payload) if len(payload) <= MAX_BYTES else None
        except (msgspec.DecodeError, RecursionError, ValueError):
            found = None
        if isinstance(found, list):
            return found
        self._warn(topic, "this list of devices cannot be used: it is no JSON list of a sensible length")
        return []

    def _device(self, one: Json, name: str) -> Iterator[Entity]:
        definition = one.get("definition")
        if one.get("type") == "Coordinator" or one.get("disabled") or not isinstance(definition, dict):
            return
        ieee = str(one["ieee_address"]).lower()
        exposes: list[Json] = [expose for expose in definition.get("exposes") or () if isinstance(expose, dict)]
        self._exposes[ieee] = exposes
        shown = name if not name.lower().startswith("0x") else str(one.get("description") or name)
        hub = Exposed(self.base, name, ieee, spoken(shown), normalised(ieee))
        yield from hub.entities(exposes)
        yield from hub.scenes(one.get("scenes"))

    def _group(self, one: Json, name: str) -> Iterator[Entity]:
        number = int(one["id"])
        members = [str(member.get("ieee_address")).lower() for member in one.get("members") or ()]
        specific = [
            expose
            for ieee in members
            for expose in self._exposes.get(ieee, ())
            if expose.get("type") in ("light", "switch", "cover")
        ]
        hub = Exposed(
            self.base, name, f"group_{number}", spoken(name), {f"{self.base}_group_{number}"}, group=True
        )
        if specific:
            # The richest member says what the group can do: hubs pass over what a member cannot.
            yield from hub.entities([max(specific, key=lambda expose: len(expose.get("features") or ()))])
        yield from hub.scenes(one.get("scenes"))
