"""How PersLM appears in Home Assistant: its device, its entities, and the states that need another form there.

Pure: returns the messages to publish and imports no MQTT client. Commands of entities go straight to the topics of
docs/mqtt.md (`…/request/<verb>`, `…/<setting>/set`), so nothing has to be translated back. Knows no verb's work.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perslm_daemon.config_sections import Config
from perslm_daemon.settings import Setting
from perslm_daemon.topics import Topics, as_json

LONGEST_STATE = 255
"""Characters of a state; Home Assistant refuses a longer one."""

LONGEST_ATTRIBUTE_BYTES = 12_000
"""Bytes of a text in attributes: the recorder drops the attributes of a state from 16,384 bytes of JSON on."""

BIRTH_DELAY_S = (1.0, 5.0)
"""Wait a random time between these before answering a birth: every device on the broker answers it."""

EVENTS = (
    "wake_word_detected",
    "left_to_another",
    "listening",
    "heard",
    "heard_stop",
    "intent",
    "thinking",
    "tts_speaking",
    "tts_finished",
    "idle",
    "reply",
    "interrupted",
    "error",
    "warning",
    "timer_started",
    "timer_updated",
    "timer_cancelled",
    "timer_ringing",
    "timer_finished",
    "timer_missed",
    "home_action",
    "home_confirmation",
    "tool",
    "approval",
    "notification",
    "update",
)
ACTIVITIES = ("idle", "listening", "processing", "responding")

_COMMANDS_EXPIRE_S = 60  # newer Home Assistants tell the broker so: no announcement an hour late
_TEXTS = ("last_heard", "last_reply")
_JSON_TEXT = "{{ {'text': value} | to_json }}"  # a text that begins with { stays a text

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish at QoS 1. An empty retained payload clears its topic."""

    topic: str
    payload: bytes
    retain: bool = True


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity: its platform ("sensor"), its id in the device, and what Home Assistant is told of it."""

    platform: str
    id: str
    fields: Payload


class HomeAssistant:
    """What to publish so that Home Assistant knows this node.

    `values` gives the bulletin's present values: an entity is there when its verb, setting or figure is.
    `device_id` marks the device for ever: entities keep their history when the node is renamed. It is
    `perslm_<node>` where none is given. When not `enabled`, announcing means clearing what was announced.
    """

    def __init__(
        self,
        topics: Topics,
        *,
        version: str,
        verbs: Iterable[str],
        settings: Mapping[str, Setting],
        values: Callable[[], Mapping[str, Any]],
        device_id: str | None = None,
        model: str = "voice assistant",
        prefix: str = "homeassistant",
        style: Literal["device", "single"] = "device",
        enabled: bool = True,
    ) -> None:
        self._topics, self._version, self._model = topics, version, model
        self._verbs, self._settings, self._values = frozenset(verbs), dict(settings), values
        self._device_id = device_id or f"perslm_{topics.node}"
        self._prefix, self._style, self._enabled = prefix, style, enabled
        self._announced: frozenset[str] | None = None

    @classmethod
    def from_config(
        cls,
        config: Config,
        *,
        version: str,
        verbs: Iterable[str],
        settings: Mapping[str, Setting],
        values: Callable[[], Mapping[str, Any]],
        device_id: str | None = None,
    ) -> HomeAssistant:
        """The node that `config` describes; the rest is what runs."""
        wanted = config.homeassistant
        return cls(
            Topics(config.mqtt.base, config.node),
            version=version,
            verbs=verbs,
            settings=settings,
            values=values,
            device_id=device_id,
            model=config.board.name,
            prefix=wanted.discovery_prefix,
            style="single" if wanted.style == "single" else "device",
            enabled=wanted.enabled,
        )

    @property
    def birth_topic(self) -> str:
        """Where Home Assistant says `online`; subscribe to it beside the daemon's own topics."""
        return f"{self._prefix}/status"

    def announcements(self) -> list[Message]:
        """The configuration of every entity; publish before states. Entities that are not there are removed.

        A device message only removes what it names, so that absent ones are named once and then left out.
        """
        if not self._enabled:
            return self.removal()
        present = self._present()
        self._announced = frozenset(present)
        absent = {id_: entity for id_, entity in self._known().items() if id_ not in present}
        if self._style == "single":
            return [
                *(Message(self._single_topic(entity), b"") for entity in absent.values()),
                *(
                    Message(self._single_topic(one), as_json(self._shared() | one.fields))
                    for one in present.values()
                ),
            ]
        components = {one.id: {"platform": one.platform, **one.fields} for one in present.values()}
        gone = {one.id: {"platform": one.platform} for one in absent.values()}
        bodies = [components | gone, components] if gone else [components]
        return [Message(self._device_topic(), as_json(self._shared() | {"components": body})) for body in bodies]

    def states(self, name: str, value: object) -> list[Message]:
        """What to publish besides `…/<name>` when a value of the bulletin changes; mostly nothing.

        Long texts get a topic of their own, clipped, with the whole text as attribute. A figure that is new or
        gone (a temperature, say) brings a new announcement.
        """
        if not self._enabled:
            return []
        changed = self._announced is not None and self._announced != frozenset(self._present())
        messages = self.announcements() if changed else []
        if name in _TEXTS and "ask" in self._verbs:
            messages.append(Message(self._text_topic(name), as_json(_text_state(str(value)))))
        return messages

    @property
    def text_topics(self) -> tuple[str, ...]:
        """Where what was said and replied is retained for it."""
        return tuple(self._text_topic(name) for name in _TEXTS)

    def birth(self, topic: str, payload: bytes) -> list[Message]:
        """What to publish after a message on `birth_topic`: everything, when Home Assistant has come online."""
        if topic != self.birth_topic or payload.strip() != b"online" or not self._enabled:
            return []
        return self.announcements() + [
            message for name, value in self._values().items() for message in self.states(name, value)
        ]

    def removal(self) -> list[Message]:
        """Take the device out of Home Assistant, and our texts off the broker."""
        return [
            *(Message(topic, b"") for topic in self._config_topics()),
            *(Message(self._text_topic(name), b"") for name in _TEXTS),
        ]

    def migration(self, old: Iterable[str]) -> list[Message]:
        """As `announcements`, but first taking over, with history and names, what is retained on the topics `old`.

        Those are configurations of this device under another name or style. Topics that are in use now are left
        out: Home Assistant logs a warning for each message on the wrong one of two topics of an entity.
        """
        old = sorted(set(old) - set(self._config_topics()))
        ask = as_json({"migrate_discovery": True})
        return [
            *(Message(topic, ask, retain=False) for topic in old if self._enabled),
            *self.announcements(),
            *(Message(topic, b"") for topic in old),
        ]

    def _device_topic(self) -> str:
        return f"{self._prefix}/device/perslm_{self._topics.node}/config"

    def _single_topic(self, entity: Entity) -> str:
        return f"{self._prefix}/{entity.platform}/perslm_{self._topics.node}/{entity.id}/config"

    def _config_topics(self) -> list[str]:
        if self._style == "device":
            return [self._device_topic()]
        return [self._single_topic(entity) for entity in self._known().values()]

    def _text_topic(self, name: str) -> str:
        return f"{self._topics.root}/homeassistant/{name}"

    def _shared(self) -> Payload:
        """What all entities have in common. Here an unknown key makes old versions refuse the whole message."""
        device = {
            "identifiers": [self._device_id],
            "name": f"PersLM {self._topics.node}",
            "manufacturer": "PersLM",
            "model": self._model,
            "sw_version": self._version,
        }
        return {
            "device": device,
            "origin": {"name": "PersLM", "sw_version": self._version},
            "availability": [{"topic": self._topics.state, "value_template": "{{ value_json.state }}"}],
            "qos": 1,
        }

    def _present(self) -> dict[str, Entity]:
        """The entities whose part is there now."""
        values = self._values()
        health = values.get("health")
        figures = health if isinstance(health, Mapping) else {}
        there = {
            "ask": "ask" in self._verbs,
            "announce": "say" in self._verbs,
            "listen": "listen" in self._verbs,
            "stop": "stop" in self._verbs,
            "memory_mb": figures.get("rss_mb") is not None,
            "temperature": figures.get("temperature_c") is not None,
            "update": "update" in values,
            **dict.fromkeys(("next_timer", "next_alarm"), "timer" in self._verbs),
            **dict.fromkeys((*_TEXTS, "latency_ms"), "ask" in self._verbs),
        }
        return {id_: entity for id_, entity in self._known().items() if there.get(id_, True)}

    def _known(self) -> dict[str, Entity]:
        """Every entity that this version may have, by id. A setting of the name of another entity gives way."""
        fixed = {entity.id: entity for entity in self._fixed()}
        chosen = {name: self._of_setting(one) for name, one in self._settings.items() if name not in fixed}
        return fixed | chosen

    def _fixed(self) -> Iterable[Entity]:
        t = self._topics
        expiring = {"message_expiry_interval": _COMMANDS_EXPIRE_S}
        spoken = {"command_template": _JSON_TEXT, **expiring}
        pressed = {"payload_press": "{}", **expiring}
        yield self._entity(
            "text", "ask", "Ask", "mdi:chat-question", command_topic=t.request("ask"), max=LONGEST_STATE, **spoken
        )
        yield self._entity(
            "notify", "announce", "Announce", "mdi:bullhorn", command_topic=t.request("say"), **spoken
        )
        yield self._entity(
            "button", "listen", "Listen", "mdi:microphone", command_topic=t.request("listen"), **pressed
        )
        yield self._entity("button", "stop", "Stop", "mdi:stop", command_topic=t.request("stop"), **pressed)
        # an event it does not know makes Home Assistant log a warning each time
        known = f"{{{{ value if value_json.event_type in {list(EVENTS)} else '' }}}}"
        told = {"state_topic": t.event, "event_types": list(EVENTS), "value_template": known}
        yield self._entity("event", "event", "Event", "mdi:bell-ring", **told)
        does = {"state_topic": t.value("activity"), "device_class": "enum", "options": list(ACTIVITIES)}
        yield self._entity("sensor", "activity", "Activity", "mdi:account-voice", **does)
        yield self._text_sensor("last_heard", "Last heard", "mdi:ear-hearing")
        yield self._text_sensor("last_reply", "Last reply", "mdi:message-reply-text")
        yield self._time_sensor("next_timer", "Next timer", "mdi:timer-sand")
        yield self._time_sensor("next_alarm", "Next alarm", "mdi:alarm")
        yield self._figure("latency_ms", "Latency", "mdi:timer-outline", "duration", "ms", t.value("latency_ms"))
        health = t.value("health")
        yield self._figure("memory_mb", "Memory used", "mdi:memory", "data_size", "MB", health, "rss_mb")
        yield self._figure(
            "temperature", "Temperature", "mdi:thermometer", "temperature", "°C", health, "temperature_c"
        )
        yield self._entity(
            "update",
            "update",
            "Model update",
            None,
            state_topic=t.value("update"),
            command_topic=t.request("sync"),
            payload_install='{"action": "install"}',
            entity_category="diagnostic",
        )

    def _text_sensor(self, id_: str, name: str, icon: str) -> Entity:
        topic = self._text_topic(id_)
        fields = {
            "state_topic": topic,
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": topic,
            "json_attributes_template": "{{ value_json.attributes | to_json }}",
        }
        return self._entity("sensor", id_, name, icon, **fields)

    def _time_sensor(self, id_: str, name: str, icon: str) -> Entity:
        """A moment; the text None makes Home Assistant show that there is none."""
        topic = self._topics.value(id_)
        fields = {
            "state_topic": topic,
            "device_class": "timestamp",
            "value_template": "{{ value_json.at }}",
            "json_attributes_topic": topic,
        }
        return self._entity("sensor", id_, name, icon, **fields)

    def _figure(
        self, id_: str, name: str, icon: str, kind: str, unit: str, topic: str, member: str | None = None
    ) -> Entity:
        template = {} if member is None else {"value_template": f"{{{{ value_json.{member} }}}}"}
        fields = {
            "state_topic": topic,
            "device_class": kind,
            "unit_of_measurement": unit,
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "suggested_display_precision": 1 if kind == "temperature" else 0,
        }
        return self._entity("sensor", id_, name, icon, **fields, **template)

    def _of_setting(self, setting: Setting) -> Entity:
        """A setting as a switch, number or select; numbers from 0 to 1 without a unit are shown in percent."""
        named: dict[str, tuple[str, str]] = {
            "memory": ("Memory", "mdi:brain"),
            "guests": ("Guests only", "mdi:account-question"),
            "mute": ("Mute microphone", "mdi:microphone-off"),
            "volume": ("Volume", "mdi:volume-high"),
            "model": ("Model", "mdi:head-cog"),
            "wake_word": ("Wake word", "mdi:account-voice"),
        }
        plain = setting.name.replace("_", " ").capitalize()
        name, icon = named.get(setting.name, (plain, "mdi:tune"))
        fields: Payload = {
            "state_topic": self._topics.value(setting.name),
            "command_topic": self._topics.set(setting.name),
        }
        if setting.name not in ("mute", "volume"):  # these two belong among the controls
            fields["entity_category"] = "config"
        if setting.kind == "select":
            fields["options"] = list(setting.options)
        elif setting.kind == "number":
            fields |= _range(setting)
        return self._entity(setting.kind, setting.name, name, icon, **fields)

    def _entity(self, platform: str, id_: str, name: str, icon: str | None, **fields: Any) -> Entity:
        """An entity with the keys all have. Old versions read `object_id`, new ones `default_entity_id`."""
        slug = re.sub(r"[^a-z0-9]+", "_", f"perslm_{self._topics.node}_{id_}".lower()).strip("_")
        common = {
            "name": name,
            "unique_id": f"{self._device_id}.{id_}",
            "object_id": slug,
            "default_entity_id": f"{platform}.{slug}",
        }
        return Entity(platform, id_, common | ({} if icon is None else {"icon": icon}) | fields)


def discovery_filters(prefix: str, node: str, style: str) -> tuple[str, ...]:
    """Where a node's configurations are retained in a style."""
    if style == "single":
        return (f"{prefix}/+/perslm_{node}/+/config",)
    return (f"{prefix}/device/perslm_{node}/config",)


def _range(setting: Setting) -> Payload:
    if (setting.least, setting.most, setting.unit) == (0.0, 1.0, ""):
        return {
            "min": 0,
            "max": 100,
            "step": round(setting.step * 100, 3),
            "unit_of_measurement": "%",
            "mode": "slider",
            "value_template": "{{ (value | float(0) * 100) | round(1) }}",
            "command_template": "{{ value / 100 }}",
        }
    unit = {"unit_of_measurement": setting.unit} if setting.unit else {}
    return {"min": setting.least, "max": setting.most, "step": setting.step, "mode": "slider", **unit}


def _text_state(text: str) -> Payload:
    """A text as state and attributes; `truncated` tells that even the attribute is not the whole."""
    whole = clipped(text, LONGEST_ATTRIBUTE_BYTES, size=lambda part: len(as_json(part)))
    return {
        "state": clipped(text, LONGEST_STATE),
        "attributes": {"text": whole, "characters": len(text), "truncated": whole != text},
    }


def clipped(text: str, longest: int, size: Callable[[str], int] = len) -> str:
    """`text`, or its beginning and an ellipsis, of `longest` by `size` at most; no letter or emoji is cut in two.

    `size` has to grow with the text. Where not even the first letter fits, only the ellipsis is left.
    """
    if size(text) <= longest:
        return text
    low, high = 0, min(len(text), longest)
    while low < high:  # the most characters that fit together with the ellipsis
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(text[:middle] + "…") <= longest else (low, middle - 1)
    while low > 0 and _inside_grapheme(text, low):
        low -= 1
    return text[:low].rstrip() + "…"


def _inside_grapheme(text: str, at: int) -> bool:
    """Whether a cut before `text[at]` would part what is seen as one; a little wider than Unicode's annex 29."""
    before, after = text[at - 1], text[at]
    if unicodedata.category(after) in {"Mn", "Mc", "Me", "Cf"} or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True  # marks, joiners, emoji tags, skin tones
    if before == "\u200d" or (before, after) == ("\r", "\n"):
        return True
    if _is_flag(before) and _is_flag(after):  # flags are pairs: count from the run's beginning
        start = at
        while start > 0 and _is_flag(text[start - 1]):
            start -= 1
        return (at - start) % 2 == 1
    # Hangul: a vowel or final belongs to what is before it, where that is Hangul too
    return "\u1160" <= after <= "\u11ff" and ("\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3")


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
