"""`perslm config`: what is in force and where it came from, changes that are kept, and whether a file is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perslm_daemon import config as configuration
from perslm_daemon.cli_keeping import keep
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.config import ConfigMistakesError, Shown
from perslm_daemon.terminal import put, put_json, put_table


def register(app: typer.Typer) -> None:
    """Add `config` to the command line."""
    app.command("config")(config)


def config(
    context: typer.Context,
    key: Annotated[
        str | None, typer.Argument(help="One key, such as model.threads; or `set`, `unset`, `check`.")
    ] = None,
    what: Annotated[str | None, typer.Argument(help="The key to set or unset; with `check`, the file.")] = None,
    value: Annotated[str | None, typer.Argument(help="With `set`: the value.")] = None,
) -> None:
    """Print what is in force and where each value came from: all keys, or KEY.

    `set KEY VALUE` keeps a value above the files and puts it into force where PersLM runs; `unset KEY` takes it
    back; `check FILE` checks a file.
    """
    session = session_of(context)
    if key == "check":
        _check(None if what is None else Path(what), as_json=session.json)
    elif key in ("set", "unset"):
        _change(session, key, what, value)
    elif what is not None:
        raise typer.BadParameter(f"got two keys, {key} and {what}: ask for one, or for all")
    else:
        _show(session, key)


def _show(session: Session, key: str | None) -> None:
    rows = configuration.shown(session.config)
    if key is not None:
        configuration.value_of(session.config, key)
        rows = [row for row in rows if row.name == key]
    if session.json:
        put_json({row.name: {"value": row.value, "source": row.source} for row in rows})
    elif key is not None:
        put(_as_text(rows[0]))
    else:
        put_table(("KEY", "VALUE", "FROM"), [(row.name, _as_text(row), row.source) for row in rows])


def _change(session: Session, action: str, key: str | None, value: str | None) -> None:
    if key is None or (action == "set") != (value is not None):
        raise typer.BadParameter("`perslm config set KEY VALUE`, or `perslm config unset KEY`")
    done = keep(session, action, key, value)
    if session.json:
        put_json(done)
    elif action == "set":
        put(f"{key} = {done['value']}" + (", in force" if done.get("reloading") else ", from the next start on"))
    else:
        put(f"{key}: what the files say counts again")


def _check(file: Path | None, *, as_json: bool) -> None:
    if file is None:
        raise typer.BadParameter("check needs the file to check: `perslm config check FILE`")
    mistakes = configuration.check_file(file)
    if mistakes:
        raise ConfigMistakesError(mistakes)
    if as_json:
        put_json({"file": str(file), "mistakes": []})
    else:
        put(f"{file} is right")


def _as_text(row: Shown) -> str:
    if isinstance(row.value, bool):
        return "true" if row.value else "false"
    if isinstance(row.value, list):
        return ", ".join(row.value)
    return "" if row.value is None else str(row.value)
