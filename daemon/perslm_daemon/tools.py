"""The tools of this board: what each takes, reads and changes, and the one gate through which all are called.

A tool brings a manifest and a function; what may be done with it is decided here: arguments are checked, guests
and absent tools refused, and whatever changes the world waits for a person's yes where the manifest or the turn
asks for one. Knows no sentence, no model and no sandbox (tool_workers.py); approvals.py holds the questions.
"""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import anyio

from perslm_daemon.approvals import Act, Approval, Approvals
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.turn import GUEST
from perslm_runtime.errors import InputError, PersLMError, ToolRefused
from perslm_runtime.tool_call import Argument, Tool, Value
from perslm_runtime.tool_grammar import ToolSet

log = logging.getLogger("perslm.tools")

_MOST_TURNS = 256  # whose reading is kept in mind: a turn lasts seconds
_MOST_CALLS = 8  # that a model may make in one turn
_GRACE_S = 1.0  # a worker ends its tool by itself; this is for one that does not


class Risk(Enum):
    """What a tool may do without being asked about."""

    READS = "reads"
    """It changes nothing."""
    CHANGES = "changes"
    """It changes what can be changed back: done at a person's word, or a model's that has read no stranger's
    text.
    """
    ASKS = "asks"
    """Never without a person's yes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a call may take, how much memory its child may have, how much of its answer is kept."""

    seconds: float = 10.0
    memory_mb: int = 256
    answer_characters: int = 4000


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a tool is.

    `reads` and `changes` name what it touches ("web", "files", "home", ...). `strangers` says that its answer is
    text that others wrote; `sends` that its arguments leave this machine. `question` goes after "Shall I", with
    arguments in braces: "add {item} to the {list} list". `guests` may call it. `speaks` says that its answer is a
    sentence for people; any other is put before the model. `examples` are (what was said, the call) for the model,
    `family` the word that switches it on; `origin` is "perslm", or the plug-in with its version.
    """

    name: str
    about: str
    arguments: tuple[Argument, ...] = ()
    reads: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    risk: Risk = Risk.READS
    strangers: bool = False
    sends: bool = False
    question: str = ""
    limits: Limits = Limits()
    guests: bool = False
    speaks: bool = True
    for_model: bool = True
    examples: tuple[tuple[str, str], ...] = ()
    family: str = ""
    origin: str = "perslm"

    def __post_init__(self) -> None:
        if bool(self.changes) != (self.risk is not Risk.READS):
            raise InputError(f"the tool {self.name} has to say what it changes, and at which risk")
        if (self.changes or self.sends) and not self.question:
            raise InputError(f"the tool {self.name} needs a question that a person can answer")
        _ = self.tool  # its name and arguments are checked

    @property
    def tool(self) -> Tool:
        """It as the grammar takes it."""
        return Tool(self.name, self.arguments)

    def asked(self, arguments: Mapping[str, Value]) -> str:
        """The question for a yes, in plain words, arguments in quotes and at most 120 characters of each."""
        filled = re.sub(r"\{(\w+)\}", lambda one: _quoted(arguments.get(one[1], "")), self.question)
        return f"Shall I {filled}?"


class Who(Enum):
    """Whose decision a call is."""

    PERSON = "person"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: for whom, over which way in, in which turn and conversation; and whether a person said yes.

    A model is `sure` where the sentence was clearly a command; otherwise whatever changes something is asked
    about.
    """

    person: str = "owner"
    source: str = "socket"
    turn: str = ""
    conversation: str = ""
    who: Who = Who.PERSON
    sure: bool = True
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What a tool answers: a text, where it is from ("example.org", "list.txt"), and figures for programs."""

    text: str
    source: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call. With an `approval` nothing was done yet and `text` is its question.

    `source` is the tool, and what it read from; `strangers` says that others wrote the text; `speaks` that it is a
    sentence for people.
    """

    tool: str
    text: str
    source: str = ""
    strangers: bool = False
    speaks: bool = True
    data: Mapping[str, Any] = field(default_factory=dict)
    approval: Approval | None = None


Run = Callable[[Mapping[str, Value], Caller], Awaitable[Told]]
"""What a tool does, in the event loop: its checked arguments, and who calls. Raises `PersLMError`, or
`NeedsYes`.
"""


class NeedsYes(Exception):
    """Raised by a tool that finds only while it runs that a person has to be asked; nothing was done yet."""

    def __init__(self, question: str, act: Act) -> None:
        super().__init__("a person has to be asked")
        self.question, self.act = question, act


@dataclass(slots=True)
class _Turn:
    read: list[str] = field(default_factory=list)
    calls: int = 0


class Tools:
    """The registry. Used in the event loop only."""

    def __init__(self, bulletin: Bulletin, approvals: Approvals) -> None:
        self._bulletin, self.approvals = bulletin, approvals
        self._tools: dict[str, tuple[Manifest, Run]] = {}
        self._absent: dict[str, str] = {}
        self._turns: OrderedDict[str, _Turn] = OrderedDict()
        self.changed = 0
        """Grows whenever a tool comes or goes: what was made of the table is made anew then."""

    def register(self, manifest: Manifest, run: Run) -> None:
        """Add a tool. Raises `InputError` where there is one of that name."""
        if manifest.name in self._tools:
            raise InputError(
                f"there are two tools {manifest.name}: {manifest.origin} has to name its own otherwise"
            )
        self._tools[manifest.name] = (manifest, run)
        self._absent.pop(manifest.name, None)
        self.changed += 1

    def withdraw(self, name: str, reason: str) -> None:
        """Take a tool out, or say of one that never came why; `reason` is its error from now on."""
        self._tools.pop(name, None)
        self._absent[name] = reason
        self.changed += 1

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """Of every tool that is there."""
        return tuple(manifest for manifest, _ in self._tools.values())

    @property
    def absent(self) -> Mapping[str, str]:
        """What is not there, and why."""
        return dict(self._absent)

    def get(self, name: str) -> Manifest | None:
        """The manifest of a tool, or None."""
        found = self._tools.get(name)
        return None if found is None else found[0]

    def offered(self, person: str) -> tuple[Manifest, ...]:
        """What a model may be offered for a person."""
        return tuple(one for one in self.manifests if one.for_model and (one.guests or person != GUEST))

    def tool_set(self, person: str) -> ToolSet:
        """The same as a grammar and a parser."""
        return ToolSet([one.tool for one in self.offered(person)])

    # What was read

    def read(self, turn: str, source: str) -> None:
        """Text that strangers wrote was read in a turn: from now on its model decides nothing alone."""
        read = self._turn(turn).read
        if source not in read:
            read.append(source)

    def has_read(self, turn: str) -> tuple[str, ...]:
        """Whose text was read in a turn."""
        known = self._turns.get(turn)
        return tuple(known.read) if known is not None else ()

    def _turn(self, turn: str) -> _Turn:
        known = self._turns.pop(turn, None) or _Turn()
        self._turns[turn] = known
        while len(self._turns) > _MOST_TURNS:
            self._turns.popitem(last=False)
        return known

    # What is done

    async def call(self, name: str, arguments: Mapping[str, Value], caller: Caller) -> Result:
        """Call a tool, or ask first. Raises `InputError` for wrong arguments and `ToolRefused` for the rest."""
        manifest, run = self._wanted(name, caller)
        values = checked(manifest, arguments)
        if caller.who is Who.MODEL:
            turn = self._turn(caller.turn)
            turn.calls += 1
            if turn.calls > _MOST_CALLS:
                raise ToolRefused(f"{_MOST_CALLS} calls in one turn are enough: ask again")
        if self.needs_yes(manifest, caller):
            return self._ask(manifest, run, values, caller)
        try:
            return await self._run(manifest, run, values, caller)
        except NeedsYes as asks:
            return self._put(manifest, asks.question, asks.act, caller)

    async def preview(self, name: str, arguments: Mapping[str, Value], caller: Caller) -> str | None:
        """What a tool would answer that only looks at what is our own; nothing is told or noted of it.

        None for any other tool, and where it would fail.
        """
        found = self._tools.get(name)
        if found is None or found[0].risk is not Risk.READS or found[0].strangers or found[0].sends:
            return None
        try:
            with anyio.fail_after(found[0].limits.seconds + _GRACE_S):
                return (await found[1](checked(found[0], arguments), caller)).text
        except (PersLMError, TimeoutError):
            return None

    def needs_yes(self, manifest: Manifest, caller: Caller) -> bool:
        """Whether a person is asked before this call."""
        if caller.yes:
            return False
        if manifest.risk is Risk.ASKS:
            return True
        # What a model decides after it has read what strangers wrote may be their decision.
        # Of a turn without a name nobody knows what it has read.
        read = not caller.turn or bool(self.has_read(caller.turn))
        led = caller.who is Who.MODEL and (not caller.sure or read)
        return led and (manifest.risk is Risk.CHANGES or manifest.sends)

    def _wanted(self, name: str, caller: Caller) -> tuple[Manifest, Run]:
        found = self._tools.get(name)
        if found is None:
            why = self._absent.get(name, "there is none of this name: `perslm tools list` shows them")
            raise ToolRefused(f"the tool {name[:41]!r} is not available: {why}")
        manifest = found[0]
        if caller.person == GUEST and not manifest.guests:
            raise ToolRefused("that is for people who live here: ask as somebody who is known")
        if caller.who is Who.MODEL and not manifest.for_model:
            raise ToolRefused(f"the tool {name} is for people, not for a model")
        return found

    def _ask(self, manifest: Manifest, run: Run, values: Mapping[str, Value], caller: Caller) -> Result:
        async def act() -> str:
            done = await self._run(manifest, run, values, replace(caller, yes=True))
            return done.text

        return self._put(manifest, manifest.asked(values), act, caller)

    def _put(self, manifest: Manifest, question: str, act: Act, caller: Caller) -> Result:
        read = self.has_read(caller.turn)
        if read and caller.who is Who.MODEL:
            question = f"After reading {_listed(read)}: {question}"
        approval = self.approvals.ask(
            question, act, tool=manifest.name, person=caller.person, conversation=caller.conversation
        )
        return Result(manifest.name, question, approval=approval)

    async def _run(self, manifest: Manifest, run: Run, values: Mapping[str, Value], caller: Caller) -> Result:
        began, outcome = time.perf_counter(), "failed"
        try:
            with anyio.fail_after(manifest.limits.seconds + _GRACE_S):
                told = await run(values, caller)
            outcome = "done"
        except NeedsYes:
            outcome = "asked"
            raise
        except TimeoutError:
            outcome = "timeout"
            raise ToolRefused(
                f"{manifest.name} took longer than {manifest.limits.seconds:g} seconds and was ended"
            ) from None
        finally:
            log.info(
                "tool=%s turn=%s who=%s by=%s outcome=%s ms=%d",
                manifest.name,
                caller.turn or None,
                caller.who.value,
                caller.source,
                outcome,
                (time.perf_counter() - began) * 1000,
            )
            self._bulletin.tell("tool", name=manifest.name, outcome=outcome, turn=caller.turn or None)
        if manifest.strangers and caller.turn:
            self.read(caller.turn, told.source or manifest.name)
        source = f"{manifest.name} {told.source}".strip()
        text = clipped(told.text, manifest.limits.answer_characters)
        return Result(manifest.name, text, source, manifest.strangers, manifest.speaks, told.data)


def checked(manifest: Manifest, arguments: Mapping[str, Any]) -> dict[str, Value]:
    """The arguments in the manifest's order; a number written as text becomes one. Raises `InputError`."""
    wanted = {argument.name: argument for argument in manifest.arguments}
    if unknown := set(arguments) - set(wanted):
        takes = ", ".join(wanted) or "no arguments"
        raise InputError(f"{manifest.name} takes {takes}, not {', '.join(sorted(unknown))[:80]}")
    values: dict[str, Value] = {}
    for name, argument in wanted.items():
        if name not in arguments:
            raise InputError(f"{manifest.name} needs {name}")
        value = arguments[name]
        if isinstance(value, str) and argument.problem(value) and re.fullmatch(r"-?\d{1,12}", value):
            value = int(value)
        if problem := argument.problem(value):
            raise InputError(f"{name} of {manifest.name} {problem}")
        values[name] = value
    return values


def clipped(text: str, most: int) -> str:
    """The text, its end cut off where it is too long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def sources_said(results: Sequence[Result]) -> str:
    """Where results are from, for a prompt and for the memory."""
    return ", ".join(dict.fromkeys(one.source for one in results if one.source))


def _listed(sources: Sequence[str]) -> str:
    """Whose text was read, for a question: at most three, and nothing that could pass for the question itself."""
    shown = [_quoted(source) for source in sources[:3]]
    return ", ".join([*shown, *(["more"] if len(sources) > 3 else [])])


def _quoted(value: Value) -> str:
    if isinstance(value, int):
        return str(value)
    plain = "".join(letter if letter.isprintable() else " " for letter in value.replace('"', "'"))
    shown = " ".join(plain.split())
    return f'"{clipped(shown, 120)}"'
