"""`perslm memory forget`: what goes is shown before, and the receipt says what is out of reach."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_daemon import terminal
from perslm_daemon.cli_remote import running
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.stores import memory_file, open_memory
from perslm_daemon.terminal import put, put_json
from perslm_runtime.errors import InputError

if TYPE_CHECKING:
    from perslm_runtime.memory_erase import Wanted

_SHOWN = 20  # ids in a receipt for people


def register(memory: typer.Typer) -> None:
    """Add the verb to `perslm memory`."""
    memory.command()(forget)


def forget(
    context: typer.Context,
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[WHAT]...", help="Ids, or words that the memories all contain.")
    ] = None,
    *,
    person: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what is this person's, or was told by them.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From then on: 2026-01-31, 2026-01-31T18:00+01:00, or 2h.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before then, likewise.")] = None,
    last: Annotated[
        str | None, typer.Option(metavar="TIME", help='"1h", "the last hour", "today", "yesterday", "last week".')
    ] = None,
    everything: Annotated[bool, typer.Option("--everything", help="All memories.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Erase memories so that no byte is left here, in backups neither; several only after a confirmation."""
    from perslm_runtime.memory_files import copies_of
    from perslm_runtime.memory_forget import forget_everywhere

    session = session_of(context)
    wanted = _wanted(what or [], person, since, until, last, everything=everything)
    with closing(open_memory(session.config)) as memory:
        found = memory.matching(wanted)
        if len(found) > 1 and not yes and not terminal.confirm(f"Forget {len(found)} memories for good?"):
            raise InputError("nothing was forgotten")
        daemon = running(session)
        if daemon is None:
            from perslm_daemon.control_verbs import forgotten_data

            told = None if session.json else lambda name: terminal.note(f"erasing in {name} ...")
            done = forgotten_data(forget_everywhere(memory, wanted, told))
            if done["forgotten"]:
                done["beyond"].append("what a broker that PersLM was connected to still retains")
        elif found and not session.json and (copies := len(copies_of(memory_file(session.config)))):
            terminal.note(f"erasing in {copies} copies, then in the memory ...")
    if daemon is not None:  # its running conversation, its broker and its journal have to forget, too
        with daemon:
            done = daemon.ask("memory.forget", _asked(wanted))
    _put_receipt(session, done)


def _wanted(
    words: list[str],
    person: str | None,
    since: str | None,
    until: str | None,
    last: str | None,
    *,
    everything: bool,
) -> Wanted:
    from perslm_runtime.memory_erase import Wanted
    from perslm_runtime.spans import span_of

    now = datetime.now().astimezone()
    named = [int(word) for word in words if word.isascii() and word.isdigit()]
    ids = tuple(named) if len(named) == len(words) else ()
    start, end = (None if text is None else span_of(text, now).since for text in (since, until))
    if last is not None:
        span = span_of(last, now)
        start = span.since if start is None else max(start, span.since)
        end = span.until if end is None else end
    text = None if ids or not words else " ".join(words)
    wanted = Wanted(ids, text, person, start, end, everything)
    wanted.check()
    return wanted


def _asked(wanted: Wanted) -> dict[str, Any]:
    return {
        "ids": wanted.ids,
        "text": wanted.text,
        "person": wanted.person,
        "since": wanted.since and wanted.since.isoformat(),
        "until": wanted.until and wanted.until.isoformat(),
        "everything": wanted.everything,
    }


def _put_receipt(session: Session, done: dict[str, Any]) -> None:
    if session.json:
        put_json(done)
        return
    copies = [*done["erased_in"], *done["deleted"]]
    if not done["forgotten"] and not copies:
        terminal.note("nothing matched, so nothing was forgotten")
        return
    ids = ", ".join(map(str, done["ids"][:_SHOWN])) + (" …" if done["forgotten"] > _SHOWN else "")
    at = datetime.fromisoformat(done["at"]).astimezone()
    put(f"forgotten for good: {done['forgotten']} (id {ids or 'none'}) at {at:%Y-%m-%d %H:%M:%S}")
    if done["claims"] or done["summaries"]:
        put(f"with it went {done['claims']} things known from it, and {done['summaries']} summaries")
    if done["erased_in"]:
        put(f"erased too in {', '.join(done['erased_in'])}")
    if done["deleted"]:
        put(f"deleted, because it could not be read or was left by a crash: {', '.join(done['deleted'])}")
    for file in done["files"]:
        terminal.note(f"{file} was learned and still says it")
    for phrase in done["beyond"]:
        terminal.note(f"out of reach: {phrase}")
