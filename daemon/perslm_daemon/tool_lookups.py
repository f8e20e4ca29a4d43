"""The lookups in our own house that run in the sandbox: calculator, clock, notes, lists.

Each takes words that somebody or a model wrote, so no word of theirs is read in the daemon: what is here is what
each is, and what the daemon says besides (the moment, who asks).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import anyio

from perslm_daemon.tool_clock import places
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Caller, Limits, Manifest, Risk, Run, Told, Tools
from perslm_runtime import calculator
from perslm_runtime.errors import ToolRefused
from perslm_runtime.tool_call import Names, Value, Words

_NO_CLOCK = "the clock of this board has not been set, so nobody knows what time it is"

Now = Callable[[], datetime | None]


def add_calculator(tools: Tools, workers: Workers, limits: Limits) -> None:
    """Arithmetic, percent and units."""
    tools.register(
        Manifest(
            "calculate",
            "Compute an expression exactly, with fractions, percent and units.",
            (Words("expression", calculator.MOST_CHARACTERS, any_start=True),),
            guests=True,
            family="calculator",
            examples=(
                ("How much is a tip of 12 % on 45?", 'calculate("12 % of 45")'),
                ("Six hundred grams, what is that in ounces?", 'calculate("600 grams in ounces")'),
            ),
            limits=limits,
        ),
        workers.sandboxed(Box("perslm_daemon.tool_sums:compute", preload=True, quick=True), limits),
    )


def add_clock(tools: Tools, workers: Workers, limits: Limits, now: Now) -> None:
    """Date and time, here and elsewhere, and how long until a day."""

    def run(function: str) -> Run:
        box = Box(f"perslm_daemon.tool_clock:{function}", preload=True, quick=True)

        async def ask(arguments: Mapping[str, Value], _caller: Caller) -> Told:
            if (here := now()) is None:
                raise ToolRefused(_NO_CLOCK)
            zone = {"zone": places()[str(arguments["place"])]} if "place" in arguments else {}
            return await workers.run(box, {**arguments, **zone, "now": here.isoformat()}, limits)

        return ask

    tools.register(
        Manifest("clock", "Tell the date and time.", reads=("clock",), guests=True, family="clock", limits=limits),
        run("tell"),
    )
    tools.register(
        Manifest(
            "time_in",
            "Tell the time in another city.",
            (Names("place", tuple(places())),),
            reads=("clock",),
            guests=True,
            for_model=False,  # 450 names would be most of a small model's context
            family="clock",
            limits=limits,
        ),
        run("elsewhere"),
    )
    tools.register(
        Manifest(
            "days_until",
            "Tell how many days there are until a day.",
            (Words("day", 40),),
            reads=("clock",),
            guests=True,
            family="clock",
            examples=(("How long is it still to the first of May?", 'days_until("May 1")'),),
            limits=limits,
        ),
        run("until"),
    )


class Notes:
    """How the tools for notes and lists run: in the folder of the notebook, changes one after another."""

    def __init__(self, folder: Path, workers: Workers, limits: Limits, now: Now) -> None:
        self._folder, self._workers, self.limits, self._now = folder, workers, limits, now
        self._turn = anyio.Lock()

    def open(self) -> None:
        """Make the folder, and bring a notebook of the data folder there. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        former = self._folder.with_suffix(".json")
        if former.is_file() and not (self._folder / former.name).exists():
            former.replace(self._folder / former.name)

    def run(self, function: str, *, changes: bool = True) -> Run:
        """A tool's function."""
        entry = f"perslm_daemon.tool_notes:{function}"
        box = Box(entry, self._folder, writes=changes, preload=True, quick=True)

        async def ask(arguments: Mapping[str, Value], caller: Caller) -> Told:
            now = self._now() or datetime.now().astimezone()
            whole = {**arguments, "person": caller.person, "now": now.isoformat()}
            if not changes:
                return await self._workers.run(box, whole, self.limits)
            async with self._turn:
                return await self._workers.run(box, whole, self.limits)

        return ask


def add_notes(tools: Tools, notes: Notes) -> None:
    """A person's notes."""
    tools.register(
        Manifest(
            "note_add",
            "Keep a note.",
            (Words("text", 400, any_start=True),),
            changes=("notes",),
            risk=Risk.CHANGES,
            question="note {text}",
            examples=(("Write down that the meter says 4711.", 'note_add("the meter says 4711")'),),
            family="notes",
            limits=notes.limits,
        ),
        notes.run("note_add"),
    )
    tools.register(
        Manifest(
            "notes_read",
            "Read the notes about something, or about everything.",
            (Words("about", 80),),
            reads=("notes",),
            strangers=True,
            examples=(("What have I noted about the garden?", 'notes_read("garden")'),),
            family="notes",
            limits=notes.limits,
        ),
        notes.run("notes_read", changes=False),
    )
    tools.register(
        Manifest(
            "note_drop",
            "Take out one note.",
            (Words("text", 200, any_start=True),),
            changes=("notes",),
            risk=Risk.ASKS,
            question="take out the note about {text}",
            family="notes",
            limits=notes.limits,
        ),
        notes.run("note_drop"),
    )


def add_lists(tools: Tools, notes: Notes) -> None:
    """The house's lists."""
    item, name = Words("item", 200, any_start=True), Words("list", 60)
    tools.register(
        Manifest(
            "list_add",
            "Put something on a list.",
            (item, name),
            changes=("lists",),
            risk=Risk.CHANGES,
            question="put {item} on the {list} list",
            examples=(("We are out of flour.", 'list_add("flour", "shopping")'),),
            family="lists",
            limits=notes.limits,
        ),
        notes.run("list_add"),
    )
    tools.register(
        Manifest(
            "list_show",
            "Tell what is on a list.",
            (name,),
            reads=("lists",),
            strangers=True,
            examples=(("What do I have to buy?", 'list_show("shopping")'),),
            family="lists",
            limits=notes.limits,
        ),
        notes.run("list_show", changes=False),
    )
    tools.register(
        Manifest(
            "list_remove",
            "Take something off a list.",
            (item, name),
            changes=("lists",),
            risk=Risk.CHANGES,
            question="take {item} off the {list} list",
            examples=(("I have bought the bread.", 'list_remove("bread", "shopping")'),),
            family="lists",
            limits=notes.limits,
        ),
        notes.run("list_remove"),
    )
    tools.register(
        Manifest(
            "list_clear",
            "Empty a list.",
            (name,),
            changes=("lists",),
            risk=Risk.ASKS,
            question="empty the {list} list",
            family="lists",
            limits=notes.limits,
        ),
        notes.run("list_clear"),
    )
