"""Notifications: the one place where what happens without being asked goes, and from where people are told.

Targets are the event and the value of the bulletin (MQTT, dashboard), the voice, and a webhook. What a target
cannot take yet is kept on the disk and tried again; in quiet hours only what is high is spoken or sent. Knows
who tells (notify_subjects.py makes notices of events) as little as how a target works.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from perslm_daemon import notify_file
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_notify import URGENCIES, Notify
from perslm_daemon.notify_file import Notice, Waiting
from perslm_daemon.webhook import WebhookFailed
from perslm_runtime.errors import BusyError, InputError, PersLMError

log = logging.getLogger("perslm.notify")

MOST_KEPT = 200
_MOST_SHOWN = 20  # as a value: retained on the broker
_MOST_CHARACTERS = 1000
_FIRST_RETRY_S, _MOST_RETRY_S = 15.0, 1800.0
_LOOK_S = 30.0  # at the clock, for the end of quiet hours

Speak = Callable[[str], Awaitable[object]]
Post = Callable[[Notice], Awaitable[None]]
Now = Callable[[], datetime | None]


class Notifications:
    """Takes notices and delivers them. `run` has to run for anything to be spoken or posted.

    Without `speak` nothing is spoken, without `post` nothing posted. `now` is local time, None where the clock has
    not been set: then it is never quiet.
    """

    def __init__(
        self,
        config: Notify,
        file: Path,
        bulletin: Bulletin,
        now: Now,
        speak: Speak | None = None,
        post: Post | None = None,
    ) -> None:
        self._config, self._file, self._bulletin, self._now = config, file, bulletin, now
        self._deliver: dict[str, Callable[[Notice], Awaitable[object]]] = {}
        if speak is not None and config.voice != "off":
            self._deliver["voice"] = lambda notice: speak(notice.spoken)
        if post is not None and config.webhook:
            self._deliver["webhook"] = post
        self._kept: list[Waiting] = []
        self._writing = anyio.Lock()
        self._news = anyio.Event()
        self._retry: dict[str, tuple[float, float]] = {}

    async def open(self) -> None:
        """Take up what was kept. Raises `NoticesNotKept`."""
        self._kept = await anyio.to_thread.run_sync(notify_file.load, self._file)
        self._show()

    async def put(
        self,
        text: str,
        *,
        title: str = "",
        urgency: str = "normal",
        subject: str = "messages",
        silent: bool = False,
    ) -> Notice:
        """Tell something; it is on the disk when this returns. `silent` leaves the voice out.

        Raises `InputError` for an empty text or an unknown urgency.
        """
        if not text.strip():
            raise InputError("there is nothing to tell: send a text")
        if urgency not in URGENCIES:
            raise InputError(f"urgency is one of {', '.join(URGENCIES)}")
        at = datetime.now(UTC).isoformat(timespec="seconds")
        notice = Notice(secrets.token_hex(4), text.strip()[:_MOST_CHARACTERS], title[:120], urgency, subject, at)
        left = [target for target in self._deliver if self._goes_to(target, notice, silent=silent)]
        self._kept = [*self._kept, Waiting(notice, tuple(left))][-MOST_KEPT:]
        await self._keep()
        self._bulletin.tell("notification", **msgspec.to_builtins(notice))
        log.info("notice=%s subject=%s urgency=%s targets=%s", notice.id, subject, urgency, ",".join(left) or None)
        self._show()
        self._news.set()
        return notice

    @property
    def unseen(self) -> tuple[Notice, ...]:
        """What nobody has said to have seen, oldest first."""
        return tuple(one.notice for one in self._kept if not one.seen)

    @property
    def undelivered(self) -> tuple[Waiting, ...]:
        """What a target has not taken yet."""
        return tuple(one for one in self._kept if one.left)

    async def seen(self, id_: str | None = None) -> int:
        """Somebody has seen one, or all; how many. What still waits for a target waits on."""
        count = 0
        for number, one in enumerate(self._kept):
            if not one.seen and id_ in (None, one.notice.id):
                self._kept[number] = msgspec.structs.replace(one, seen=True)
                count += 1
        if count:
            await self._keep()
            self._show()
        return count

    async def forget(self) -> Sequence[str]:
        """Drop all that was delivered: something was forgotten, and its words may be here. Nothing is left
        behind.
        """
        self._kept = [msgspec.structs.replace(one, seen=True) for one in self._kept]
        await self._keep()
        self._show()
        return ()

    async def run(self) -> None:
        """Deliver, and try again what could not be. Runs until it is cancelled."""
        while True:
            self._news = anyio.Event()
            wait_s = await self._round()
            with anyio.move_on_after(wait_s):
                await self._news.wait()

    async def _round(self) -> float:
        """Try what is due; seconds until something is again."""
        now_s, soonest = anyio.current_time(), _LOOK_S
        for one in list(self.undelivered):
            for target in one.left:
                key = f"{one.notice.id} {target}"
                due, pause = self._retry.get(key, (0.0, _FIRST_RETRY_S))
                if due > now_s:
                    soonest = min(soonest, due - now_s)
                elif self._is_old(one.notice):
                    await self._done(one.notice, target, "gave_up")
                elif not self._is_quiet_for(one.notice):
                    if await self._try(one.notice, target):
                        self._retry.pop(key, None)
                    else:
                        self._retry[key] = (now_s + pause, min(pause * 2, _MOST_RETRY_S))
                        soonest = min(soonest, pause)
        return soonest

    async def _try(self, notice: Notice, target: str) -> bool:
        """Deliver to one target; False where it may be able to later."""
        deliver = self._deliver.get(target)
        if deliver is None:  # it was switched off since
            await self._done(notice, target, "no_target")
            return True
        try:
            await deliver(notice)
        except WebhookFailed as error:
            if not error.again:
                self._bulletin.tell("warning", message=f"a notification was refused: {error}", what="notify")
                await self._done(notice, target, "refused")
                return True
            log.info("notice=%s target=%s waits error=%s", notice.id, target, type(error).__name__)
            return False
        except (BusyError, PersLMError, OSError) as error:
            log.info("notice=%s target=%s waits error=%s", notice.id, target, type(error).__name__)
            return False
        await self._done(notice, target, "delivered")
        return True

    async def _done(self, notice: Notice, target: str, outcome: str) -> None:
        log.info("notice=%s target=%s outcome=%s", notice.id, target, outcome)
        self._kept = [
            msgspec.structs.replace(one, left=tuple(left for left in one.left if left != target))
            if one.notice.id == notice.id
            else one
            for one in self._kept
        ]
        # Delivered and not written would be told twice.
        with anyio.CancelScope(shield=True):
            await self._keep()

    def _goes_to(self, target: str, notice: Notice, *, silent: bool) -> bool:
        least = self._config.voice if target == "voice" else self._config.webhook_from
        loud_enough = URGENCIES.index(notice.urgency) >= URGENCIES.index(least)
        return loud_enough and not (silent and target == "voice")

    def _is_quiet_for(self, notice: Notice) -> bool:
        now = self._now()
        if not self._config.quiet or now is None or notice.urgency in ("high", "urgent"):
            return False
        return is_quiet(self._config.quiet, now.time())

    def _is_old(self, notice: Notice) -> bool:
        return datetime.now(UTC) - datetime.fromisoformat(notice.at) > timedelta(hours=self._config.keep_h)

    def _show(self) -> None:
        shown = [msgspec.to_builtins(notice) for notice in self.unseen[-_MOST_SHOWN:]]
        self._bulletin.post("notifications", shown)

    async def _keep(self) -> None:
        async with self._writing:
            # What was seen and delivered is done with.
            self._kept = [one for one in self._kept if one.left or not one.seen]
            try:
                await anyio.to_thread.run_sync(notify_file.save, self._file, list(self._kept))
            except PersLMError as error:  # told all the same, only not kept
                log.warning("notices_not_kept error=%s", error)


def is_quiet(hours: str, now: time) -> bool:
    """Whether a time of day lies in "22:00-07:00"; the end is no longer in it."""
    begin, end = (time.fromisoformat(part) for part in hours.split("-"))
    if begin <= end:
        return begin <= now < end
    return now >= begin or now < end
