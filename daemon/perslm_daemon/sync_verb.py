"""The verb `sync`: what may be asked of the updates over MQTT, the control socket and HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from perslm_daemon.updates import Updates
from perslm_daemon.verbs import Args


class SyncArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`check` looks at the training host, `install` takes what it offers, `rollback` goes back to what was before.

    `pin` keeps the model of a `kind` (llm, stt, tts, embed) as it is, `unpin` lets it follow again.
    """

    action: Literal["status", "check", "install", "rollback", "pin", "unpin"] = "status"
    kind: str = "llm"


async def sync(updates: Updates, args: SyncArgs) -> Mapping[str, Any]:
    """Do it, and tell how things are by then."""
    match args.action:
        case "check":
            return await updates.check(take=False)
        case "install":
            return await updates.check(take=True)
        case "rollback":
            return {"back_to": await updates.roll_back(args.kind), **updates.status()}
        case "pin" | "unpin":
            await updates.pin(args.kind, on=args.action == "pin")
    return updates.status()
