"""The verb `config`: what is in force and whence; changed only by who may read this machine's files anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from perslm_daemon import config as configuration
from perslm_daemon.changes import Changes
from perslm_daemon.config_sections import Config
from perslm_daemon.turn import Tell
from perslm_daemon.verbs import Args, Request
from perslm_runtime.errors import InputError


class ConfigArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`get` tells one key or, without one, all; secrets are masked. The others only through the control socket."""

    action: Literal["get", "set", "unset", "reload"] = "get"
    key: str | None = None
    value: bool | int | float | str | list[str] | None = None


class ConfigVerb:
    """Over the configuration in force; `changes` keeps what is set."""

    def __init__(self, config: Config, changes: Changes) -> None:
        self._config, self._changes = config, changes

    async def config(self, args: ConfigArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        """Keys in force and where each came from; or a change, by who may read this machine's files anyway."""
        if args.action != "get":
            return await self._change(args, request)
        rows = configuration.shown(self._config)
        wanted = [row for row in rows if args.key is None or row.name == args.key]
        if not wanted:
            raise InputError(f"there is no key {args.key!r}: `perslm config` lists them")
        return {"keys": {row.name: {"value": _plain(row.value), "source": row.source} for row in wanted}}

    async def _change(self, args: ConfigArgs, request: Request) -> Mapping[str, Any]:
        if request.source not in {"socket", "http"}:  # HTTP lets nobody here without the scope admin
            raise InputError(
                "the configuration is changed on the machine itself (`perslm config set KEY VALUE`); from here "
                "settings can be changed: publish to …/<setting>/set"
            )
        if args.action == "reload":
            self._changes.reload()
            return {"reloading": True}
        if not args.key or (args.action == "set" and args.value is None):
            raise InputError(f"{args.action} needs a key" + (" and a value" if args.action == "set" else ""))
        if args.action == "unset":
            await self._changes.unset(args.key)
            return {"key": args.key, "reloading": True}
        return {"key": args.key, "value": await self._changes.set(args.key, args.value), "reloading": True}


def _plain(value: object) -> object:
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return list(value) if isinstance(value, tuple) else str(value)
