"""The tools that are lookups in our own house: calculator, clock, notes, lists, timers, memory.

They run in the daemon, because they are our own code over our own data: no file is parsed, nothing is fetched.
Timers and memories go the ways that they always go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from perslm_daemon import schedule_words
from perslm_daemon.notebook import Notebook, list_name
from perslm_daemon.recollection import Recollection
from perslm_daemon.schedule import Schedule
from perslm_daemon.schedule_file import Kind
from perslm_daemon.tools import Caller, Manifest, Risk, Told, Tools
from perslm_runtime import calculator
from perslm_runtime.errors import InputError, ToolRefused
from perslm_runtime.time_words import say_clock, when_of
from perslm_runtime.tool_call import Names, Value, Whole, Words
from perslm_runtime.when import DAYS, PastError, resolve

_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
_MOST_NOTES_TOLD = 12
_RECALLED = 5
_NO_CLOCK = "the clock of this board has not been set, so nobody knows what time it is"

Now = Callable[[], datetime | None]


def add_calculator(tools: Tools) -> None:
    """Arithmetic, percent and units."""

    async def calculate(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        found = calculator.calculate(str(arguments["expression"]))
        return Told(found.said(), data={"exact": found.exact})

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
        ),
        calculate,
    )


def add_clock(tools: Tools, now: Now) -> None:
    """Date and time, here and elsewhere, and how long until a day."""

    def local() -> datetime:
        if (found := now()) is None:
            raise ToolRefused(_NO_CLOCK)
        return found

    async def clock(_arguments: Mapping[str, Value], _caller: Caller) -> Told:
        here = local()
        said = f"{DAYS[here.weekday()]}, {here:%B} {here.day}, {here.year}, {say_clock(here)}"
        return Told(said, data={"iso": here.isoformat(timespec="seconds")})

    async def time_in(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        place = str(arguments["place"])
        there = local().astimezone(ZoneInfo(places()[place]))
        day = "" if there.date() == local().date() else f" on {DAYS[there.weekday()]}"
        return Told(f"In {place.title()} it is {say_clock(there)}{day}.")

    async def days_until(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        here, said = local(), str(arguments["day"])
        when = when_of(said) or when_of(f"on {said}")
        if when is None or not when.names_a_day:
            raise InputError(f"{said[:40]!r} is no day: say tomorrow, Friday, or December 24")
        try:
            days = (resolve(when, here).date() - here.date()).days
        except PastError as error:
            raise InputError(str(error)) from error
        return Told("That is today." if not days else f"It is {days} day{'' if days == 1 else 's'} until then.")

    tools.register(
        Manifest("clock", "Tell the date and time.", reads=("clock",), guests=True, family="clock"), clock
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
        ),
        time_in,
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
        ),
        days_until,
    )


@cache
def places() -> dict[str, str]:
    """Cities that have a time zone of their name, lower case, with that zone."""
    found = {}
    for zone in sorted(available_timezones()):
        continent, _, city = zone.rpartition("/")
        if continent and not continent.startswith(("Etc", "US", "SystemV", "posix", "right")):
            found[city.replace("_", " ").lower()] = zone
    return found


def add_notes(tools: Tools, notebook: Notebook, now: Now) -> None:
    """A person's notes."""

    async def add(arguments: Mapping[str, Value], caller: Caller) -> Told:
        text = str(arguments["text"])
        await notebook.note(text[:1].upper() + text[1:], caller.person, now() or datetime.now().astimezone())
        return Told("It is noted.")

    async def read(arguments: Mapping[str, Value], caller: Caller) -> Told:
        about = str(arguments.get("about", ""))
        found = await notebook.notes(caller.person, "" if about == "everything" else about)
        if not found:
            return Told("There are no notes." if about in ("", "everything") else "No note is about that.")
        more = f" And {len(found) - _MOST_NOTES_TOLD} more." if len(found) > _MOST_NOTES_TOLD else ""
        return Told(
            " ".join(_stop(one.text) for one in found[:_MOST_NOTES_TOLD]) + more, data={"count": len(found)}
        )

    async def drop(arguments: Mapping[str, Value], caller: Caller) -> Told:
        await notebook.drop_note(str(arguments["text"]), caller.person)
        return Told("The note is gone.")

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
        ),
        add,
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
        ),
        read,
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
        ),
        drop,
    )


def add_lists(tools: Tools, notebook: Notebook) -> None:
    """The house's lists."""
    item, name = Words("item", 200, any_start=True), Words("list", 60)

    async def add(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        which = list_name(str(arguments["list"]))
        new = await notebook.add(which, items_of(str(arguments["item"])))
        return Told(
            f"{_and(new)} {'is' if len(new) == 1 else 'are'} on the {which} list."
            if new
            else f"That is on the {which} list already."
        )

    async def show(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        which = list_name(str(arguments["list"]))
        items = await notebook.items(which)
        if not items:
            return Told(f"The {which} list is empty.")
        return Told(f"On the {which} list: {_and(items)}.", which, {"items": list(items)})

    async def remove(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        which = list_name(str(arguments["list"]))
        gone = await notebook.remove(which, str(arguments["item"]))
        return Told(f"{gone} is off the {which} list.")

    async def clear(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        which = list_name(str(arguments["list"]))
        count = await notebook.clear(which)
        return Told(f"The {which} list is empty." if count else f"The {which} list was empty already.")

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
        ),
        add,
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
        ),
        show,
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
        ),
        remove,
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
        ),
        clear,
    )


def add_timers(tools: Tools, schedule: Schedule, now: Now) -> None:
    """Timers, by the schedule."""

    async def start(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        seconds = int(arguments["amount"]) * _SECONDS[str(arguments["unit"])]
        item = await schedule.add(Kind.TIMER, seconds=seconds)
        view = next(view for view in schedule.views() if view.item.id == item.id)
        return Told(schedule_words.set_to(view, now()), data={"id": item.id})

    async def show(_arguments: Mapping[str, Value], _caller: Caller) -> Told:
        return Told(schedule_words.told(schedule.views(), now(), "There is no timer."))

    tools.register(
        Manifest(
            "timer_set",
            "Set a timer.",
            (Whole("amount", 1, 600), Names("unit", tuple(_SECONDS))),
            changes=("timers",),
            risk=Risk.CHANGES,
            question="set a timer for {amount} {unit}",
            family="timers",
            examples=(("The eggs need seven minutes.", 'timer_set(7, "minutes")'),),
        ),
        start,
    )
    tools.register(Manifest("timers_show", "Tell of the timers.", reads=("timers",), family="timers"), show)


def add_memory(tools: Tools, recollection: Recollection) -> None:
    """What is remembered of a person. Whatever is recalled may once have come from strangers."""

    async def recall(arguments: Mapping[str, Value], caller: Caller) -> Told:
        found = await recollection.recall(str(arguments["about"]), _RECALLED, caller.person)
        if not found:
            return Told("Nothing is remembered of that.")
        return Told(" ".join(_stop(one.text) for one in found), data={"ids": [one.id for one in found]})

    async def remember(arguments: Mapping[str, Value], caller: Caller) -> Told:
        fact = str(arguments["fact"])
        read = tools.has_read(caller.turn)
        source = f"tool {', '.join(read)}"[:200] if read else "told"
        await recollection.remember(_stop(fact[:1].upper() + fact[1:]), caller.person, source=source)
        return Told("I will remember that.")

    tools.register(
        Manifest(
            "memory_recall",
            "Look up what is remembered about something.",
            (Words("about", 200, any_start=True),),
            reads=("memory",),
            strangers=True,
            family="memory",
        ),
        recall,
    )
    tools.register(
        Manifest(
            "memory_remember",
            "Remember a fact.",
            (Words("fact", 300, any_start=True),),
            changes=("memory",),
            risk=Risk.CHANGES,
            question="remember {fact}",
            family="memory",
        ),
        remember,
    )


def items_of(said: str) -> tuple[str, ...]:
    """The items in what was said: "milk, eggs and bread" is three, "macaroni and cheese" may be one dish."""
    parts = [part.strip() for part in said.split(",") if part.strip()]
    if len(parts) > 1:
        last = re.sub(r"^and ", "", parts.pop())
        parts += last.split(" and ")
    elif re.fullmatch(r"\w+ and \w+", said.strip()) and said.strip().lower() not in _DISHES:
        parts = said.split(" and ")
    return tuple(re.sub(r"^(?:some|a|an) (?=\w)", "", part.strip(" .")) for part in parts if part.strip(" ."))


_DISHES = frozenset(
    ("macaroni and cheese", "fish and chips", "salt and pepper", "bread and butter", "gin and tonic")
)


def _and(items: tuple[str, ...]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
