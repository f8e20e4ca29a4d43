"""`perslm config`: what is in force, where each value came from, and whether a file is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perslm_daemon import config as configuration
from perslm_daemon.cli_session import session_of
from perslm_daemon.config import ConfigMistakesError, Shown
from perslm_daemon.terminal import put, put_json, put_table


def register(app: typer.Typer) -> None:
    """Add `config` to the command line."""
    app.command("config")(config)


def config(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="One key, such as model.threads; or `check`.")] = None,
    file: Annotated[Path | None, typer.Argument(help="With `check`: the file to check.")] = None,
) -> None:
    """Print what is in force and where each value came from: all keys, or KEY; `check FILE` checks a file."""
    session = session_of(context)
    if key == "check":
        _check(file, as_json=session.json)
        return
    if file is not None:
        raise typer.BadParameter(f"got two keys, {key} and {file}: ask for one, or for all")
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
