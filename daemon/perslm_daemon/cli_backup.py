"""`perslm memory backup` and `perslm memory restore`: copies of the memory, and putting one back."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from perslm_daemon import terminal
from perslm_daemon.cli_session import session_of
from perslm_daemon.stores import change_memory_key, make_data_dir, memory_file, memory_key, open_memory
from perslm_daemon.terminal import put, put_json
from perslm_runtime.errors import InputError


def register(memory: typer.Typer) -> None:
    """Add both verbs to `perslm memory`."""
    memory.command("backup")(backup)
    memory.command("restore")(restore)
    memory.command("rekey")(rekey)


def backup(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="File to write, which must not exist; without it, one of the daily backups."),
    ] = None,
) -> None:
    """Check the memory and write a whole copy of it, under the same key; memory.backups of them are kept."""
    from perslm_runtime.memory_backup import Keep, back_up
    from perslm_runtime.memory_files import folder_of

    session = session_of(context)
    with closing(open_memory(session.config)) as memory:
        if file is None:
            keep = Keep(session.config.memory.backups, session.config.memory.backup_days)
            file = back_up(memory, folder_of(memory_file(session.config)), keep)
        else:
            memory.check()
            memory.backup(file)
        count = memory.count()
    if session.json:
        put_json({"file": str(file), "memories": count})
    else:
        put(f"{count} memories are backed up in {file}")


def restore(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="The backup; without it, the newest of the daily backups.")
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Put a backup in the memory's place. It is checked first; the file that is there now is kept beside it."""
    from perslm_runtime import memory_backup, memory_files

    session = session_of(context)
    path = memory_file(session.config)
    folder = memory_files.folder_of(path)
    chosen = file if file is not None else next(iter(memory_files.backups(folder)), None)
    if chosen is None:
        raise InputError(f"there is no backup in {folder}: name the file to restore")
    if not chosen.is_file():
        raise InputError(f"{chosen} is not there: the daily backups are in {folder}")
    made = datetime.fromtimestamp(chosen.stat().st_mtime).astimezone()
    question = (
        f"Put {chosen} of {made:%Y-%m-%d %H:%M} in the place of {path}? What was said since is then missing."
    )
    if not yes and not terminal.confirm(question):
        raise InputError("nothing was restored")
    make_data_dir(session.config)
    aside = memory_backup.restore(path, chosen, key=memory_key(session.config, path))
    with closing(open_memory(session.config)) as memory:
        count = memory.count()
    if session.json:
        put_json({"restored": str(chosen), "memories": count, "kept": None if aside is None else str(aside)})
        return
    put(f"{count} memories are back, from {chosen}")
    if aside is not None:
        terminal.note(f"the file that was there is kept as {aside}; delete it when you are sure")


def rekey(
    context: typer.Context,
    *,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the new key; without it, one is drawn.")
    ] = None,
) -> None:
    """Give the memory and its backups a new key, or the first, or none, as memory.encrypt says."""
    session = session_of(context)
    changed = change_memory_key(session.config, to)
    if session.json:
        put_json({"changed": [str(path) for path in changed], "encrypted": session.config.memory.encrypt})
        return
    state = "encrypted with a new key" if session.config.memory.encrypt else "not encrypted any more"
    put(f"{len(changed)} files are {state}" if changed else "nothing had to be changed")
