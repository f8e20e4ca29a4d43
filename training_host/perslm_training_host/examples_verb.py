"""`perslm-host examples`: what boards have shared, looked at and dropped by hand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from perslm_runtime.errors import InputError
from perslm_training_host.console import command_group, note, put, put_json, put_table, session_of
from perslm_training_host.shared import Kept, Shared

Folder = Annotated[
    Path, typer.Option("--repository", envvar="PERSLM_HOST_REPOSITORY", help="The repository's folder.")
]
_HERE = Path("repository")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = command_group(app, "examples", "What boards have shared: counted, read, dropped.")
    group.command("count")(counts)
    group.command("list")(show)
    group.command()(drop)


def counts(context: typer.Context, folder: Folder = _HERE) -> None:
    """Count what each board has shared, and how much was taken back."""
    with shared_of(folder).opened() as shared:
        found, gone = shared.counts(), len(shared.withdrawn())
    if session_of(context).json:
        rows = [{"board": board, "kind": kind, "count": count, "last": last} for board, kind, count, last in found]
        put_json({"examples": rows, "withdrawn": gone})
        return
    put_table(
        ("board", "kind", "examples", "last"),
        [(board, kind, str(count), _day(last)) for board, kind, count, last in found],
    )
    note(f"{gone} were taken back")


def show(
    context: typer.Context,
    board: Annotated[str, typer.Option(help="Only those of this board.")] = "",
    folder: Folder = _HERE,
) -> None:
    """Print every example as it came."""
    with shared_of(folder).opened() as shared:
        for kept in shared.all(board):
            if session_of(context).json:
                put_json(_data(kept))
            else:
                put(f"{kept.example.id}  {kept.board}  {kept.example.kind}  {_day(kept.came_s)}  {kept.receipt}")
                for message in kept.example.messages:
                    put(f"    {message.role}: {message.content}")
                if kept.example.meant:
                    put(f"    meant: {kept.example.meant}")


def drop(
    context: typer.Context,
    which: Annotated[list[str], typer.Argument(help="Ids of examples, or the name of a board: all of its.")],
    folder: Folder = _HERE,
) -> None:
    """Delete examples for good; the next data set is made without them, and they are taken no more."""
    with shared_of(folder).opened() as shared:
        boards = {board for board, *_ in shared.counts()}
        gone = sum(shared.drop_board(one) for one in which if one in boards)
        known = {kept.example.id for kept in shared.all()}
        gone += shared.withdraw([one for one in which if one in known])
    if not gone:
        raise InputError("there is no such example and no such board: `perslm-host examples list` tells them")
    if session_of(context).json:
        put_json({"dropped": gone})
        return
    put(f"{gone} dropped; make the data set anew (`perslm-host collect`)")


def shared_of(repository: Path) -> Shared:
    """The examples of the boards of a repository."""
    return Shared(repository.with_name(f"{repository.name}-boards"))


def _data(kept: Kept) -> dict[str, object]:
    told = msgspec.to_builtins(kept.example)
    return {"board": kept.board, "came_at": kept.came_s, "receipt": kept.receipt, **told}


def _day(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_s))
