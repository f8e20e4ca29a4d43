"""The verb `plugins`: which plug-ins run and how they are. Enabling one is a change of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from perslm_daemon.plugins import Plugins
from perslm_daemon.verbs import Args
from perslm_runtime.errors import InputError


class PluginsArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`list` tells every enabled plug-in, `info` the one called `name`."""

    action: Literal["list", "info"] = "list"
    name: str = ""


def plugins(running: Plugins | None, args: PluginsArgs) -> Mapping[str, Any]:
    """Tell of the plug-ins; no setting's value is in it. Raises `InputError` for one that is not enabled."""
    listed = [] if running is None else running.listed()
    if args.action == "list":
        return {"plugins": listed}
    found = next((one for one in listed if one["name"] == args.name), None)
    if found is None:
        raise InputError(f"no plug-in {args.name!r} is enabled: `perslm plugins enable NAME`, or plugins.enabled")
    return found
