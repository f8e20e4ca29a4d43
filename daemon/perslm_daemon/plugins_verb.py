"""The verbs `plugins`, which tells of plug-ins, and `plugin`, which looks at one and lets it run or no more.

What is enabled is a change of the configuration, kept as any other; nothing is installed from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import anyio.to_thread

from perslm_daemon.changes import Changes
from perslm_daemon.config_sections import Config
from perslm_daemon.plugin_specs import shelf_of
from perslm_daemon.plugin_trial import inspected
from perslm_daemon.plugins import Plugins, all_of
from perslm_daemon.verbs import Args, Request
from perslm_runtime.errors import InputError, PluginRefused


class PluginsArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`list` tells every enabled plug-in, `installed` those that are not enabled as well, `info` the one called
    `name`.
    """

    action: Literal["list", "installed", "info"] = "list"
    name: str = ""


class PluginArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`look` starts the plug-in `name` in its sandbox and tells what it brings; `enable` lets it run where
    nothing is wrong with it; `disable` ends it.
    """

    action: Literal["look", "enable", "disable"] = "look"
    name: str = ""


async def plugins(config: Config, running: Plugins | None, args: PluginsArgs) -> Mapping[str, Any]:
    """Tell of the plug-ins; no setting's value is in it. Raises `InputError` for one that is not enabled."""
    listed = [] if running is None else running.listed()
    if args.action == "list":
        return {"plugins": listed}
    if args.action == "installed":
        shelf = await anyio.to_thread.run_sync(shelf_of, config)
        return {"plugins": all_of(shelf, config.plugins.enabled, {one["name"]: one for one in listed})}
    found = next((one for one in listed if one["name"] == args.name), None)
    if found is None:
        raise InputError(f"no plug-in {args.name!r} is enabled: `perslm plugins enable NAME`, or plugins.enabled")
    return found


async def plugin(config: Config, changes: Changes, args: PluginArgs, request: Request) -> Mapping[str, Any]:
    """Look at one, or change whether it runs. Raises `PluginRefused` with what is wrong with it."""
    if request.source not in {"socket", "http"}:  # HTTP lets nobody here without the scope admin
        raise InputError(
            "plug-ins are enabled on the machine itself (`perslm plugins enable NAME`) or in the dashboard"
        )
    if not args.name:
        raise InputError(f"{args.action} needs the `name` of a plug-in")
    before = config.plugins.enabled
    if args.action == "disable":
        if args.name not in before:
            raise InputError(f"{args.name} is not enabled: the verb plugins tells what is")
        return await _enabled(changes, [one for one in before if one != args.name])
    shelf = await anyio.to_thread.run_sync(shelf_of, config)
    looked = await anyio.to_thread.run_sync(inspected, shelf, args.name)
    if args.action == "look":
        settings = [{name: one[name] for name in one if name != "value"} for one in looked["settings"]]
        return {**looked, "settings": settings}
    if looked["problem"]:
        raise PluginRefused(f"{args.name} is not enabled: {looked['problem']}")
    return await _enabled(changes, [*(one for one in before if one != args.name), args.name])


async def _enabled(changes: Changes, names: list[str]) -> Mapping[str, Any]:
    await changes.set("plugins.enabled", ",".join(names))
    return {"enabled": names}
