"""Covers and valves of Home Assistant discovery: open, close, stop, position, tilt."""

from __future__ import annotations

from dataclasses import replace

from perslm_daemon.home_build import Builder, MalformedError, always
from perslm_daemon.home_device import Action, Value, Values
from perslm_daemon.home_entity import (
    CannotError,
    Payload,
    Plan,
    Wanted,
    Work,
    as_text,
    number_of,
    percent,
    text_of,
)

POSITION_WITHIN = 3.0  # percent: motors stop near, not at
OPENING, CLOSING = ("open", "opening"), ("closed", "closing")
MOVES = frozenset({"opening", "closing"})


def describe_cover(builder: Builder) -> None:
    """A cover."""
    builder.domain = "cover"
    if not any(builder.has(key) for key in ("command_topic", "set_position_topic", "tilt_command_topic")):
        raise MalformedError("command_topic is missing")
    words = {
        builder.text(f"state_{state}", state): state
        for state in ("open", "opening", "closed", "closing", "stopped")
    }
    builder.reads("state", "state_topic", "value_template", words.get)
    low, high = builder.number("position_closed", 0), builder.number("position_open", 100)
    template = "position_template" if builder.has("position_template") else "value_template"
    builder.reads("position", "position_topic", template, lambda text: _percent(text, low, high))
    _commands(builder)
    _sets_position(builder, "set_position_topic", "set_position_template", low, high)
    tilt_low = builder.number("tilt_closed_value", builder.number("tilt_min", 0))
    tilt_high = builder.number("tilt_opened_value", builder.number("tilt_max", 100))
    builder.reads(
        "tilt", "tilt_status_topic", "tilt_status_template", lambda text: _percent(text, tilt_low, tilt_high)
    )

    def tilt(action: Action) -> tuple[str, tuple[Wanted, ...]]:
        wish = percent(action)
        return _from_percent(wish, tilt_low, tilt_high), builder.wanted("tilt", wish, within=POSITION_WITHIN)

    builder.sends("set_tilt", "tilt_command_topic", "tilt_command_template", tilt)


def describe_valve(builder: Builder) -> None:
    """A valve. One that reports its position is told positions on its command topic."""
    builder.domain = "valve"
    builder.needs("command_topic")
    low, high = builder.number("position_closed", 0), builder.number("position_open", 100)
    words = {builder.text(f"state_{state}", state): state for state in ("open", "opening", "closed", "closing")}
    topic = builder.filter("state_topic")
    reports = builder.flag("reports_position")
    if topic is not None:
        render = builder.templates.reader(builder.template("value_template"), builder.who)

        def said(payload: Payload) -> object:
            return (Payload((render(payload) or "").encode())).json

        def state(payload: Payload) -> Value | None:
            found = said(payload)
            return (
                words.get(text_of(found.get("state")) or "")
                if isinstance(found, dict)
                else words.get(render(payload) or "")
            )

        def position(payload: Payload) -> Value | None:
            found = said(payload)
            return _percent(str(found.get("position") if isinstance(found, dict) else found), low, high)

        builder.read_by("state", topic, state)
        if reports:
            builder.read_by("position", topic, position)
    if reports:
        _sets_position(builder, "command_topic", "command_template", low, high)
        builder.works["open"] = lambda _, values: builder.works["set_position"](
            Action("set_position", 100.0), values
        )
        builder.works["close"] = lambda _, values: builder.works["set_position"](
            Action("set_position", 0.0), values
        )
        if builder.has("payload_stop"):
            builder.sends_word("stop", "command_topic", "", builder.text("payload_stop", "STOP"))
    else:
        _commands(builder)
    for alias, verb in (
        ("turn_on", "open"),
        ("turn_off", "close"),
    ):  # water is turned on and off as often as opened
        if verb in builder.works:
            builder.works[alias] = builder.works[verb]


def _commands(builder: Builder) -> None:
    """open, close and stop by payloads; one that is null in the configuration is not there."""
    for verb, words, default in (("open", OPENING, "OPEN"), ("close", CLOSING, "CLOSE"), ("stop", (), "STOP")):
        key = f"payload_{verb}"
        if key in builder.config and builder.config[key] is None:
            continue
        made = builder.sends(verb, "command_topic", "command_template", always(builder.text(key, default)))
        if made:
            builder.works[verb] = _moving(builder.works[verb], moved(builder, verb, words))


def _moving(work: Work, wanted: tuple[Wanted, ...]) -> Work:
    """The work, done when the state says that it moves or has arrived."""
    return lambda action, values: replace(work(action, values), wanted=wanted, on_its_way=MOVES)


def moved(builder: Builder, verb: str, words: tuple[str, ...]) -> tuple[Wanted, ...]:
    """What the state says when a cover opens, closes or has stopped; a position alone says it too."""
    if verb == "stop":
        return (Wanted("state", ("open", "closed", "stopped")),) if builder.reported("state") else ()
    if builder.reported("state") or builder.reported("position"):
        return (Wanted("state", words),)  # the registry derives the state of those that report a position alone
    return ()


def _sets_position(builder: Builder, topic_key: str, template_key: str, low: float, high: float) -> None:
    if not builder.has(topic_key) or not (builder.reported("position") or builder.has("set_position_topic")):
        return
    topic = builder.topic(topic_key) or ""
    write = builder.templates.writer(builder.template(template_key), builder.who)

    def work(action: Action, values: Values) -> Plan:
        wish = percent(action)
        payload = write(
            _from_percent(wish, low, high), position=round(wish), position_open=high, position_closed=low
        )
        if payload is None:
            raise CannotError("cannot be told, its template fails")
        wanted = builder.wanted("position", wish, within=POSITION_WITHIN)
        return Plan((builder.order(topic, payload),), wanted, True, MOVES)

    builder.works["set_position"] = work
    for verb, wish in (("open", 100.0), ("close", 0.0)):
        if verb not in builder.works:
            builder.works[verb] = _always_to(work, wish)


def _always_to(work: Work, wish: float) -> Work:
    return lambda _action, values: work(Action("set_position", wish), values)


def _percent(text: str, low: float, high: float) -> Value | None:
    found = number_of(text)
    if found is None or low == high:
        return None
    return round(max(0.0, min(100.0, (found - low) * 100 / (high - low))), 1)


def _from_percent(wish: float, low: float, high: float) -> str:
    return as_text(round(low + (high - low) * wish / 100))
