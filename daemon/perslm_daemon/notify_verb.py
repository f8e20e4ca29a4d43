"""The verb `notify`: tell something, see what was told, say that it was seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from perslm_daemon.notify import Notifications
from perslm_daemon.verbs import TextArgs
from perslm_runtime.errors import InputError


class NotifyArgs(TextArgs, frozen=True, forbid_unknown_fields=True):
    """`send` tells `text`; `list` tells what nobody has seen and what waits; `seen` takes out `id`, or all."""

    action: Literal["send", "list", "seen"] = "send"
    title: str = ""
    urgency: Literal["low", "normal", "high", "urgent"] = "normal"
    id: str | None = None


async def notify(notifications: Notifications | None, args: NotifyArgs) -> Mapping[str, Any]:
    """Do it. Raises `InputError`."""
    if notifications is None:
        raise InputError("notifications are off: set notify.enabled=true")
    match args.action:
        case "list":
            return {
                "unseen": [msgspec.to_builtins(one) for one in notifications.unseen],
                "waiting": [{"id": one.notice.id, "for": list(one.left)} for one in notifications.undelivered],
            }
        case "seen":
            return {"seen": await notifications.seen(args.id)}
    return {"id": (await notifications.put(args.text, title=args.title, urgency=args.urgency)).id}
