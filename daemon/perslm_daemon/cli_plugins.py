"""`perslm plugins`: what is installed, what each brings and may reach, which are enabled; a new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_daemon.cli_keeping import keep
from perslm_daemon.cli_session import Session, command_group, session_of
from perslm_daemon.terminal import note, put, put_json, put_table
from perslm_runtime.errors import InputError, PersLMError, PluginRefused

if TYPE_CHECKING:
    from perslm_daemon.plugin_specs import Shelf

Name = Annotated[str, typer.Argument(help="Its name, as `perslm plugins list` has it; an MCP server is mcp.NAME.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = command_group(app, "plugins", "Plug-ins, connectors and MCP servers.")
    group.command("list")(show)
    for command in (info, enable, disable, new):
        group.command(command.__name__)(command)
    group.command("try")(try_)


def show(context: typer.Context) -> None:
    """List everything that is installed or declared, and how it is."""
    from perslm_daemon.plugins import all_of

    session = session_of(context)
    shelf, enabled, states = _shelf(session), session.config.plugins.enabled, _states(session)
    rows = all_of(shelf, enabled, states)
    if session.json:
        put_json({"plugins": rows})
        return
    put_table(
        ("NAME", "STATE", "GROUP", "PACKAGE", "PROBLEM"),
        [(one["name"], one["state"], one["group"], one["package"], one["problem"] or "") for one in rows],
    )


def info(context: typer.Context, name: Name) -> None:
    """Start a plug-in in its sandbox, and tell what it brings, what it may reach, and its settings."""
    session = session_of(context)
    data = _inspected(_shelf(session), name)
    if session.json:
        put_json(data)
        return
    put(f"{' '.join(filter(None, (data['name'], data['version'])))}: {data['about']}")
    put(f"reaches: {', '.join(data['reaches']) or 'no other machine'}")
    for tool in data["tools"]:
        changes = f"; changes {', '.join(tool['changes'])}" if tool["changes"] else ""
        asks = ", asks first" if tool["asks"] else ""
        put(f"  {tool['name']}: {tool['about']} (reads {', '.join(tool['reads']) or 'nothing'}{changes}{asks})")
    for one in data["settings"]:
        default = "" if one["default"] in (None, "", [], ()) else f" (default {one['default']})"
        put(f"  [{one['kind']}] {one['name']}: {one['about']}{default}")
    if data["problem"]:
        note(f"perslm: {data['problem']}")


def enable(context: typer.Context, name: Name) -> None:
    """Let a plug-in run, after looking at it: it has to be usable, with all its settings."""
    session = session_of(context)
    data = _inspected(_shelf(session), name)
    if data["problem"]:
        raise PluginRefused(f"{name} is not enabled: {data['problem']}")
    enabled = [*(one for one in session.config.plugins.enabled if one != name), name]
    keep(session, "set", "plugins.enabled", ",".join(enabled))
    if session.json:
        put_json({"enabled": enabled})
        return
    put(f"{name} is enabled")
    note(f"It may reach {', '.join(data['reaches']) or 'no other machine'}.")


def disable(context: typer.Context, name: Name) -> None:
    """Let a plug-in run no more."""
    session = session_of(context)
    before = session.config.plugins.enabled
    if name not in before:
        raise InputError(f"{name} is not enabled: `perslm plugins list` shows what is")
    enabled = [one for one in before if one != name]
    keep(session, "set", "plugins.enabled", ",".join(enabled))
    if session.json:
        put_json({"enabled": enabled})
        return
    put(f"{name} is disabled")


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is called: a-z, 0-9 and _.")],
    *,
    folder: Annotated[Path | None, typer.Option(help="Where to put it; none: perslm-NAME in this folder.")] = None,
    engine: Annotated[
        bool, typer.Option("--engine", help="One that replies in the language model's place.")
    ] = False,
) -> None:
    """Write a new plug-in to begin with: a package that can be installed, one tool or engine, its tests."""
    from perslm_daemon.plugin_new import write_template

    session = session_of(context)
    target = folder or Path(f"perslm-{name.replace('_', '-')}")
    files = write_template(name, target, engine=engine)
    if session.json:
        put_json({"folder": str(target), "files": [str(file) for file in files]})
        return
    put(str(target))
    used = f"`perslm plugins try {name} hello`, `perslm plugins enable {name}`"
    used = f"`perslm plugins info {name}`, `perslm config set plugins.replies {name}`" if engine else used
    note(f"Next: `pip install -e {target}`, {used}.")


def try_(
    context: typer.Context,
    name: Name,
    tool: Annotated[str, typer.Argument(help="The tool to call, as the plug-in calls it.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Its arguments; JSON where it is no text.")
    ] = None,
) -> None:
    """Call a tool of a plug-in in its sandbox, without a daemon; an error comes with its trace. For authors.

    What it changes is changed. Nothing is asked.
    """
    from perslm_daemon.plugin_trial import Trial

    session = session_of(context)
    with Trial(_shelf(session, traces=True), name, seconds=session.config.plugins.call_s) as trial:
        answer = trial.call(tool, **_arguments(arguments or []))
    if session.json:
        put_json(answer.as_data())
        return
    put(answer.text)
    if answer.then is not None:
        note(f"It waits for a yes, and would then call {answer.then.tool}.")


def _arguments(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"{word!r} is no KEY=VALUE")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _shelf(session: Session, *, traces: bool = False) -> Shelf:
    from perslm_daemon.plugin_specs import shelf_of

    return shelf_of(session.config, traces=traces)


def _states(session: Session) -> dict[str, dict[str, Any]]:
    """How the plug-ins of a running PersLM are; nothing where none runs."""
    from perslm_daemon import control_client

    try:
        connection = control_client.connect(session.config.data_dir)
        if connection is None:
            return {}
        with connection:
            return {one["name"]: one for one in connection.ask("plugins", {"action": "list"})["plugins"]}
    except PersLMError:  # an older PersLM runs, which has no such verb
        return {}


def _inspected(shelf: Shelf, name: str) -> dict[str, Any]:
    from perslm_daemon.plugin_trial import inspected

    return inspected(shelf, name)
