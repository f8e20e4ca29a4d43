"""The configuration of notifications: what is told, where to, and when it is quiet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perslm_daemon.config_keys import Choice, Choices, OptionalLocation, Real, Switch, Text, key

SUBJECTS = (
    "reminders",
    "alarms",
    "timers",
    "devices",
    "updates",
    "approvals",
    "warnings",
    "connectors",
    "messages",
)
URGENCIES = ("low", "normal", "high", "urgent")
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"


@dataclass(frozen=True, slots=True)
class Notify:
    """What PersLM tells by itself (docs/notifications.md)."""

    enabled: bool = key(True, Switch(), "tell of what happens without being asked")
    about: tuple[str, ...] = key(
        tuple(one for one in SUBJECTS if one != "warnings"),
        Choices(SUBJECTS),
        "what is told of; warnings are those of PersLM itself",
    )
    voice: str = key(
        "high", Choice((*URGENCIES, "off")), "spoken from this urgency on; what rings by itself is not said twice"
    )
    quiet: str = key(
        "",
        Text(rf"({_TIME}-{_TIME})?", 'a time of day as "22:00-07:00", or "" for never'),
        "when nothing is spoken or sent that is less than high: it waits until the end",
    )
    webhook: str = key(
        "",
        Text(r"(https?://[^\s/@]+(/\S*)?)?", "an address of http or https"),
        "address that notifications are posted to, as ntfy takes them; none: they stay in the house",
    )
    webhook_from: str = key("normal", Choice(URGENCIES), "posted from this urgency on")
    token_file: Path | None = key(None, OptionalLocation(), "file with the token that the address asks for")
    keep_h: float = key(24.0, Real(0.1, 720), "hours that one is kept for a target that cannot be reached")
