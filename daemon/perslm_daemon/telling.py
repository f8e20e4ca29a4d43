"""Notifications in the running daemon: their file, their targets, and who is listened to for them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from perslm_daemon import webhook
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_notify import URGENCIES, Notify
from perslm_daemon.home import Home
from perslm_daemon.mouth import Mouth
from perslm_daemon.notify import Notifications, Post, Speak
from perslm_daemon.notify_file import Notice
from perslm_daemon.notify_subjects import watch, watch_devices
from perslm_daemon.utterance import Priority
from perslm_runtime.errors import InputError


def notifications_of(
    config: Notify, data_dir: Path, bulletin: Bulletin, now: Callable[[], datetime | None], mouth: Mouth | None
) -> Notifications | None:
    """The notifications as the configuration describes them; None where they are switched off."""
    if not config.enabled:
        return None
    speak: Speak | None = None
    if mouth is not None:
        speak = partial(mouth.say, priority=Priority.REMINDER)
    return Notifications(config, data_dir / "notifications.json", bulletin, now, speak, _post(config))


async def run(notifications: Notifications, config: Notify, bulletin: Bulletin, home: Home | None) -> None:
    """Deliver, and make notices of what happens. Runs until it is cancelled."""
    about = frozenset(config.about)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notifications.run)
        tasks.start_soon(watch, bulletin, notifications, about)
        if home is not None and "devices" in about:
            tasks.start_soon(watch_devices, home, notifications, about)


def _post(config: Notify) -> Post:
    async def post(notice: Notice) -> None:
        headers = {
            "Title": notice.title or f"PersLM: {notice.subject}",
            "Priority": str(URGENCIES.index(notice.urgency) + 2),  # ntfy's go from 1 to 5, 3 is the usual
            "Tags": notice.subject,
        }
        if config.token_file is not None:
            headers["Authorization"] = f"Bearer {await anyio.to_thread.run_sync(_token, config.token_file)}"
        await webhook.post(config.webhook, notice.text, headers)

    return post


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(f"notify.token_file {file} cannot be read ({error.strerror})") from error
