"""`perslm memory profile`, `timeline`, `graph`, `why` and others: looking at the memory, and tending it."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_daemon import terminal
from perslm_daemon.cli_meaning import make_up_for_vectors, open_embedder
from perslm_daemon.cli_remote import running
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.stores import open_memory
from perslm_daemon.terminal import put, put_json, put_table
from perslm_runtime.errors import InputError

if TYPE_CHECKING:
    from perslm_runtime.memory import Memory

_PERSON = typer.Option(metavar="NAME", help="Whose; without it, the owner's.")
_Person = Annotated[str | None, _PERSON]
_MOST_VECTORS = 2_000  # after learning: 15 s on a PC; a daemon makes the rest when it idles
_MOST_AT_ONCE = 500  # memories that are read for what they tell, between two signs of life


class Span(StrEnum):
    """What a timeline goes by."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def register(memory: typer.Typer) -> None:
    """Add the verbs to `perslm memory`."""
    for verb in (profile, related, timeline, graph, why, stats, learn, prune, share, keep):
        memory.command()(verb)


def profile(context: typer.Context, *, person: _Person = None) -> None:
    """Show who a person is by what was told: name, circumstances, people, preferences, routines."""
    from perslm_daemon import memory_views

    session = session_of(context)
    shown = _looked(session, memory_views.profile, person)
    _put_lines(session, shown, shown["lines"], "nothing is known yet")


def related(
    context: typer.Context,
    whose: Annotated[str, typer.Argument(help='"my sister", "my sister\'s children".')],
    *,
    person: _Person = None,
) -> None:
    """Show who stands in a relation to a person, over any number of steps."""
    from perslm_daemon import memory_views

    session = session_of(context)
    shown = _looked(session, lambda memory, who: memory_views.related(memory, who, whose), person)
    _put_lines(session, shown, [one["name"] for one in shown["people"]], "nobody is known there")


def timeline(
    context: typer.Context,
    *,
    by: Annotated[Span | None, typer.Option(metavar="SPAN", help="Summaries by day, week or month.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="How many at most.")] = 50,
    person: _Person = None,
) -> None:
    """Show what was told and became known in the order of time, or what days, weeks and months held."""
    from perslm_daemon import memory_views

    session = session_of(context)
    span = None if by is None else by.value
    shown = _looked(session, lambda memory, who: memory_views.timeline(memory, who, limit, span=span), person)
    if session.json:
        put_json(shown)
    elif shown["timeline"]:
        rows = [(memory_views.day(row["when"]), row["what"], row["text"]) for row in shown["timeline"]]
        put_table(("WHEN", "WHAT", "TEXT"), rows)
    else:
        terminal.note("there is nothing in it yet")


def graph(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="File to write, .svg or .png; without it, memory.svg here.")
    ] = None,
    *,
    person: _Person = None,
) -> None:
    """Draw the people and things that are known, and how they stand to each other."""
    from perslm_daemon import memory_views

    session = session_of(context)
    shown = _looked(session, memory_views.graph, person)
    if session.json and file is None:
        put_json(shown)
        return
    target = file or Path("memory.svg")
    picture = _picture(shown["svg"], target)
    try:
        target.write_bytes(picture)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from error
    if session.json:
        put_json({"file": str(target), "nodes": shown["nodes"], "links": shown["links"]})
    else:
        put(f"{len(shown['nodes'])} people and things with {len(shown['links'])} links are drawn in {target}")


def _picture(svg: str, target: Path) -> bytes:
    """The picture in the form that the file's name asks for."""
    from perslm_runtime.graph_png import png_of

    match target.suffix.lower():
        case ".svg":
            return svg.encode()
        case ".png":
            return png_of(svg)
    raise InputError(f"{target} says neither .svg nor .png: name the file for the picture that is wanted")


def why(context: typer.Context, number: Annotated[int, typer.Argument(metavar="ID", help="A memory.")]) -> None:
    """Show where a memory comes from, what is known from it, and how often it helped with a question."""
    from perslm_daemon import memory_views

    session = session_of(context)
    shown = _looked(session, lambda memory, _who: memory_views.why(memory, number), None)
    told = f", told by {shown['told_by']}" if shown["told_by"] else ""
    lines = [
        shown["said"],
        f"a {shown['kind']} of {shown['person']}{told}, {memory_views.day(shown['when'])}"
        + (f", from {shown['source']}" if shown["source"] else ""),
        f"it helped with {shown['helped']} questions" + (", and is kept" if shown["kept"] else ""),
        *(f"from it is known: {one['text']} ({one['confidence']:.0%} sure)" for one in shown["known"]),
    ]
    _put_lines(session, shown, lines, "")


def stats(context: typer.Context) -> None:
    """Show how much is remembered, of whom, from which documents, and how large the file is."""
    from perslm_daemon import memory_views

    session = session_of(context)
    shown = _looked(session, lambda memory, _who: memory_views.stats(memory), None)
    lines = [
        f"{shown['turns']} turns, {shown['facts']} facts, {shown['pieces']} pieces of documents,"
        f" {shown['known']} things known; {shown['bytes'] / 1e6:.1f} MB",
        *(f"{one['name']}: {one['memories']} memories" for one in shown["people"]),
        *(f"{one['source']}: {one['pieces']} pieces" for one in shown["documents"]),
    ]
    _put_lines(session, shown, lines, "")


def learn(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", help="Files, or folders of them.")],
    *,
    shared: Annotated[bool, typer.Option("--shared", help="For everybody, not for one person.")] = False,
) -> None:
    """Learn documents: text, Markdown, HTML, PDF, calendars (.ics), vCards; what changed is learned anew."""
    from perslm_runtime.memory_documents import files_in

    session = session_of(context)
    files = [file for path in paths for file in files_in(path)]
    done: list[dict[str, Any]] = []
    problems: list[str] = []
    with closing(open_memory(session.config)) as memory:
        for file in files:
            try:
                learned = memory.learn_file(file, person=session.config.person, shared=shared)
            except InputError as error:
                problems.append(str(error))
                continue
            done.append({"source": learned.source, "what": learned.what, "pieces": learned.pieces})
            if not session.json:
                put(f"{learned.what}: {file} ({learned.pieces} pieces)")
        if running(session) is None:  # else the daemon gives them their vectors when it idles
            _give_vectors(session, memory)
    if session.json:
        put_json({"documents": done, "problems": problems})
    if problems:
        raise InputError("not learned:\n" + "\n".join(f"  {problem}" for problem in problems))


def prune(
    context: typer.Context,
    *,
    rows: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many memories.")] = None,
    megabytes: Annotated[int | None, typer.Option("--mb", metavar="N", min=1, help="At most so large.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without it, only show what would go.")] = False,
) -> None:
    """Show, or erase, what is repeated or least worth beyond the board's budget; never what was to be kept."""
    from perslm_runtime.memory_prune import Budget

    session = session_of(context)
    wanted = session.config.memory
    budget = Budget(rows or wanted.most_rows, megabytes or wanted.most_mb)
    with closing(open_memory(session.config)) as memory:
        plan = memory.plan_pruning(budget)
        gone = [entry for number in plan.ids[:50] if (entry := memory.get(number)) is not None]
        if yes and plan.ids:
            memory.erase(plan.ids)
    repeated = dict(plan.repeated)
    shown = {
        "rows": plan.rows,
        "bytes": plan.bytes,
        "repeated": len(repeated),
        "faded": len(plan.faded),
        "erased": bool(yes and plan.ids),
        "ids": plan.ids,
    }
    if session.json:
        put_json(shown)
        return
    for entry in gone:
        why_it = f"repeated by {repeated[entry.id]}" if entry.id in repeated else "faded"
        put(f"{entry.id}: {entry.said[:80]} ({why_it})")
    verb = "erased" if yes else "would go (say --yes)"
    put(f"{len(plan.ids)} of {plan.rows} memories {verb}: {len(repeated)} repeated, {len(plan.faded)} faded")


def share(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="A memory.")],
    *,
    off: Annotated[bool, typer.Option("--off", help="Give it back to who told it.")] = False,
) -> None:
    """Make a memory everybody's."""
    session = session_of(context)
    with closing(open_memory(session.config)) as memory:
        if not memory.share(number, shared=not off):
            raise InputError(f"there is nothing to change at {number}: `perslm memory why {number}` shows it")
    _put_lines(
        session, {"id": number, "shared": not off}, [f"{number} is {'its teller' if off else 'everybody'}'s"], ""
    )


def keep(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="A memory.")],
    *,
    off: Annotated[bool, typer.Option("--off", help="It may be pruned again.")] = False,
) -> None:
    """Ask that a memory is never pruned."""
    session = session_of(context)
    with closing(open_memory(session.config)) as memory:
        if not memory.keep(number, kept=not off):
            raise InputError(f"there is no memory {number}: `perslm memory list` has them")
    _put_lines(session, {"id": number, "kept": not off}, [f"{number} {'may go' if off else 'is kept'}"], "")


def _give_vectors(session: Session, memory: Memory) -> None:
    embedder = open_embedder(session.config)
    if embedder is not None:
        try:
            make_up_for_vectors(session.config, memory, embedder, _MOST_VECTORS)
        finally:
            embedder.close()


def _looked(session: Session, look: Any, person: str | None) -> dict[str, Any]:
    """Open the memory, read what was told since, and look."""
    with closing(open_memory(session.config)) as memory:
        while memory.claims.look(_MOST_AT_ONCE) == _MOST_AT_ONCE:
            pass
        memory.summarise()
        shown: dict[str, Any] = look(memory, person or session.config.person)
    return shown


def _put_lines(session: Session, data: dict[str, Any], lines: list[str], otherwise: str) -> None:
    if session.json:
        put_json(data)
    elif lines:
        put("\n".join(lines))
    else:
        terminal.note(otherwise)
