"""The verb `sync`: what may be asked of the updates over MQTT, the control socket and HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import anyio.to_thread

from perslm_daemon.updates import Updates
from perslm_daemon.verbs import Args
from perslm_runtime.errors import InputError


class SyncArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`check` looks at the training host, `install` takes what it offers, `rollback` goes back to what was before.

    `pin` keeps the model of a `kind` (llm, adapter, stt, tts, embed, wake, intents) as it is, `unpin` lets it
    follow again.
    `chunk` brings a piece of a file of the host's repository where nothing else reaches this board: `data`, in
    base64, which stands `at` this byte of the file `path` of `size` bytes whose sha256 is `digest`.
    """

    action: Literal["status", "check", "install", "rollback", "pin", "unpin", "chunk"] = "status"
    kind: str = "llm"
    path: str = ""
    digest: str = ""
    size: int = 0
    at: int = 0
    data: str = ""


async def sync(updates: Updates, args: SyncArgs) -> Mapping[str, Any]:
    """Do it, and tell how things are by then."""
    match args.action:
        case "check":
            return await updates.check(take=False)
        case "install":
            return await updates.check(take=True)
        case "rollback":
            return {"back_to": await updates.roll_back(args.kind), **updates.status()}
        case "chunk":
            if not updates.takes_chunks:
                raise InputError("nothing is taken over MQTT here: set sync.over_mqtt_mb")
            put = partial(updates.mailbox.put, args.path, args.digest, args.size, args.at, args.data)
            return await anyio.to_thread.run_sync(put)
        case "pin" | "unpin":
            await updates.pin(args.kind, on=args.action == "pin")
    return updates.status()
