"""Answers of the everyday skills in another language than English: Home Assistant's words for what was done.

Timers, the clock and the volume, as far as Home Assistant has an answer in that language; everything else (what
timers there are, alarms, reminders, what went wrong) stays English. Does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from perslm_daemon import engine_calls
from perslm_runtime.errors import PersLMError
from perslm_runtime.intent import Intent
from perslm_runtime.lane import Lane

_THEIRS = {
    "set_timer": "HassStartTimer",
    "pause_timer": "HassPauseTimer",
    "resume_timer": "HassUnpauseTimer",
    "cancel_timer": "HassCancelTimer",
    "add_time": "HassIncreaseTimer",
    "remove_time": "HassDecreaseTimer",
    "get_time": "HassGetCurrentTime",
    "get_date": "HassGetCurrentDate",
    "set_volume": "HassSetVolume",
    "volume_up": "HassSetVolumeRelative",
    "volume_down": "HassSetVolumeRelative",
}


async def said_in(recognizer: Lane[Any], intent: Intent, now: datetime | None, said: str) -> str:
    """What is said after an intent was done; `said`, the English, where there are no other words."""
    if intent.name not in _THEIRS or (now is None and intent.name in ("get_time", "get_date")):
        return said
    try:
        text: str = await recognizer.call(
            engine_calls.stock_said, _THEIRS[intent.name], "", _slots(intent, now), {"domain": ""}
        )
    except PersLMError:
        return said
    return text if not text or text.endswith((".", "!", "?", "。")) else f"{text}."


def _slots(intent: Intent, now: datetime | None) -> Mapping[str, Any]:
    """What Home Assistant's templates read: the parts of a duration as text, the name, the time and the date."""
    slots: dict[str, Any] = {"time": now, "date": now}
    if name := intent.text("name"):
        slots["name"] = name  # there or not: "" would be a timer called nothing
    seconds = intent.seconds() or 0
    parts = {"hours": seconds // 3600, "minutes": seconds // 60 % 60, "seconds": seconds % 60}
    return slots | {unit: str(count) for unit, count in parts.items() if count}
