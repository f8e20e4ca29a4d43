"""`perslm memory`: what is remembered: adding, searching, listing, forgetting, and taking it along."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_daemon import cli_backup, cli_forget, cli_known, terminal
from perslm_daemon.cli_meaning import embed, make_up_for_vectors, open_embedder
from perslm_daemon.cli_remote import running
from perslm_daemon.cli_session import Session, command_group, session_of
from perslm_daemon.stores import open_memory
from perslm_daemon.terminal import put, put_json, put_table
from perslm_runtime.errors import InputError

if TYPE_CHECKING:
    from perslm_daemon.control_client import Connection
    from perslm_runtime.embed_static import AnyEmbedder
    from perslm_runtime.memory import Memory


class Kind(StrEnum):
    """What a memory can be."""

    TURN = "turn"
    FACT = "fact"
    CHUNK = "chunk"


def register(app: typer.Typer) -> None:
    """Add `memory` to the command line."""
    memory = command_group(
        app, "memory", "Add, search, look at, learn and forget memories; export, back up and restore them."
    )
    memory.command()(add)
    memory.command()(search)
    memory.command("list")(list_memories)
    cli_forget.register(memory)
    cli_known.register(memory)
    memory.command("export")(export_lines)
    memory.command("import")(import_lines)
    cli_backup.register(memory)


def add(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="The fact, as one sentence.")],
    *,
    shared: Annotated[bool, typer.Option("--shared", help="For everybody, not for one person.")] = False,
) -> None:
    """Remember a fact durably."""
    session = session_of(context)
    daemon = running(session)
    added = _add_there(session, daemon, text, shared) if daemon else _add_here(session, text, shared)
    if session.json:
        put_json({"id": added["id"], "text": text, "with_vector": added["with_vector"]})
    else:
        put(f"remembered as {added['id']}")


def _add_there(session: Session, daemon: Connection, text: str, shared: bool) -> dict[str, Any]:
    with daemon:
        return daemon.ask("memory.add", {"text": text, "person": session.config.person, "shared": shared})


def _add_here(session: Session, text: str, shared: bool) -> dict[str, Any]:
    with _opened(session, meaning=True) as (memory, embedder):
        fact = memory.remember_fact(text, person=session.config.person, source="told", shared=shared)
        if embedder is not None:
            make_up_for_vectors(session.config, memory, embedder)
    return {"id": fact, "with_vector": embedder is not None}


def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    *,
    most: Annotated[int, typer.Option("--k", "-k", metavar="N", min=1, max=1000, help="How many at most.")] = 10,
) -> None:
    """Find memories by words and by meaning, the best first, with their scores and why they were found."""
    session = session_of(context)
    daemon = running(session)
    found = _search_there(session, daemon, query, most) if daemon else _search_here(session, query, most)
    if session.json:
        put_json(found)
    elif found:
        rows = [
            (
                str(m["id"]),
                f"{m['score']:.3f}",
                m["kind"],
                _day(datetime.fromisoformat(m["when"])),
                m["text"],
                m["why"],
            )
            for m in found
        ]
        put_table(("ID", "SCORE", "KIND", "WHEN", "TEXT", "WHY"), rows)
    else:
        terminal.note("nothing is remembered of that")


def _search_there(session: Session, daemon: Connection, query: str, most: int) -> list[dict[str, Any]]:
    with daemon:
        answer = daemon.ask("memory.search", {"text": query, "k": most, "person": session.config.person})
    return list(answer["memories"])


def _search_here(session: Session, query: str, most: int) -> list[dict[str, Any]]:
    from perslm_daemon.memory_views import found_data
    from perslm_runtime.recall import blended

    with _opened(session, meaning=True) as (memory, embedder):
        person = session.config.person
        vector = None
        if embedder is not None:
            vector = blended(embed(embedder, [query, *memory.rewordings(query, person)]))
        return found_data(memory.search(query, vector=vector, k=most, person=person))


def list_memories(
    context: typer.Context,
    *,
    kind: Annotated[Kind | None, typer.Option(metavar="KIND", help="Only these: turn, fact or chunk.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="How many at most.")] = 50,
    offset: Annotated[int, typer.Option(metavar="N", min=0, help="How many of the newest to leave out.")] = 0,
) -> None:
    """Show what is remembered, the newest first."""
    from perslm_daemon.memory_views import entry_data

    session = session_of(context)
    with _opened(session) as (memory, _):
        entries = memory.list(kind.value if kind else None, limit, offset)
    if session.json:
        put_json([entry_data(entry) for entry in entries])
    elif entries:
        rows = [(str(e.id), e.kind, e.person, _day(e.when), e.said, e.reply) for e in entries]
        put_table(("ID", "KIND", "PERSON", "WHEN", "SAID", "REPLIED"), rows)
    else:
        terminal.note("nothing is remembered yet")


def export_lines(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="File to write; without it, standard output.")] = None,
    *,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Include the vectors, so that none need be made.")
    ] = False,
) -> None:
    """Write all memories as lines of JSON. The file is readable by its owner only and appears when it is whole."""
    session = session_of(context)
    with _opened(session) as (memory, _):
        lines = memory.export_lines(vectors=vectors)
        if file is None:
            sys.stdout.writelines(f"{line}\n" for line in lines)
            return
        count = _write_whole(file, lines) - 1  # the first line is the header
    if session.json:
        put_json({"file": str(file), "memories": count})
    else:
        put(f"{count} memories are in {file}")


def import_lines(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="File to read; - is standard input.")]
) -> None:
    """Add the memories of an export; those that are here already are left as they are."""
    session = session_of(context)
    with _opened(session) as (memory, _):
        if str(file) == "-":
            result = memory.import_lines(sys.stdin)
        else:
            try:
                with file.open(encoding="utf-8") as lines:
                    result = memory.import_lines(lines)
            except OSError as error:
                raise InputError(f"{file} cannot be read: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise InputError(f"{file} is not UTF-8 text, so it is no export; nothing was imported") from error
    if session.json:
        errors = [{"line": number, "problem": problem} for number, problem in result.errors]
        put_json({"added": result.added, "skipped": result.skipped, "errors": errors})
    else:
        put(f"{result.added} memories added, {result.skipped} were here already")
    if result.errors:
        listing = "\n".join(f"  {problem}" for _, problem in result.errors)
        raise InputError(f"{len(result.errors)} lines of {file} were left out:\n{listing}")


@contextmanager
def _opened(session: Session, *, meaning: bool = False) -> Iterator[tuple[Memory, AnyEmbedder | None]]:
    """Open the memory, and with `meaning` the embedder if it is switched on and its model is here."""
    config = session.config
    embedder = open_embedder(config) if meaning else None
    with closing(open_memory(config, config.embed.id if embedder else None)) as memory:
        try:
            yield memory, embedder
        finally:
            if embedder is not None:
                embedder.close()


def _write_whole(file: Path, lines: Iterator[str]) -> int:
    """Write lines into a file that appears at once when all are on the disk; return how many there were."""
    count = 0
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=file.absolute().parent, prefix=f".{file.name}-", delete=False, encoding="utf-8"
        ) as part:
            try:
                for line in lines:
                    part.write(line + "\n")
                    count += 1
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).replace(file)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}; no part of it was left") from error
    return count


def _day(when: datetime) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M}"
