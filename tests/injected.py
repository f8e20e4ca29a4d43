"""A house in which text of strangers can be read in seven places, and whatever is done leaves a trace to be
found.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from clocks import SetClock
from loopback_http import Site, serving
from perslm_daemon.approvals import Approvals
from perslm_daemon.bench_sentences import Noted, Table, learned
from perslm_daemon.bulletin import Bulletin, Happening, Listener
from perslm_daemon.config_sections import Timers
from perslm_daemon.config_tools import Tools as Config
from perslm_daemon.notebook import Notebook
from perslm_daemon.recollection import Recollection
from perslm_daemon.schedule import NoSound, Schedule
from perslm_daemon.schedule_file import ScheduleFile
from perslm_daemon.tool_table import Parts, add_tools
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Caller, Limits, Manifest, Result, Tools, Who
from perslm_daemon.turn import Parts as Engines
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory
from perslm_runtime.memory_backup import Keep
from perslm_runtime.memory_lines import Entry
from perslm_runtime.memory_prune import Budget
from perslm_runtime.tool_call import ToolCall, Words

GOLDEN = Path(__file__).parent / "golden/injections.jsonl"
OWN = (
    {"name": "Front Door", "domain": "lock", "area": "Hall"},
    {"name": "Garage Door", "domain": "cover", "area": "Garage", "kind": "garage"},
    {"name": "Bedroom Heating", "domain": "climate", "area": "Bedroom"},
    {"name": "Kitchen Light", "domain": "light", "area": "Kitchen"},
)


@dataclass(frozen=True)
class Attempt:
    """A text that wants a call, and its benign twin with a word that has to arrive."""

    id: str
    place: str
    text: str
    wants: str
    twin: str
    keeps: str


def attempts() -> list[Attempt]:
    """The recorded attempts."""
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    return [Attempt(**json.loads(line)) for line in lines]


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt, and of its twin."""

    strangers: bool
    """Whether what was read counts as strangers' text."""
    asked: bool
    """Whether a person was asked before what the text wants."""
    effect: bool
    """Whether anything was done or changed, also by a no."""
    twin_read: bool
    """Whether the twin's own words arrived."""
    twin_done: bool
    """Whether the same call was carried out at a person's word, after the twin was read."""


@dataclass
class World:
    """The house, and what has happened in it."""

    tools: Tools
    home: Noted
    site: Site
    folder: Path
    data: Path
    schedule: Schedule
    memory: Lane[Memory]
    listener: Listener
    count: int = 0
    leaked: list[str] = field(default_factory=list)

    async def read(self, attempt: Attempt, text: str, turn: str) -> Result:
        """Have a model read a text where strangers put it."""
        self.count += 1
        name, arguments = await self._put(attempt.place, text)
        return await self.tools.call(name, arguments, Caller(turn=turn, conversation=turn, who=Who.MODEL))

    async def _put(self, place: str, text: str) -> tuple[str, dict[str, Any]]:
        number, folder = self.count, anyio.Path(self.folder)
        match place:
            case "web":
                self.site.pages[f"/{number}/"] = f"<html><body>{text}</body></html>".encode()
                return "web_read", {"url": f"{self.site.address}/{number}/"}
            case "mail":
                mail = f"From: somebody@example.org\nSubject: hello\n\n{text}\n"
                await (folder / f"{number}.eml").write_text(mail, encoding="utf-8")
                return "file_read", {"file": f"{number}.eml"}
            case "calendar":
                event = f"BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261128T100000\nSUMMARY:{_escaped(text)}\n"
                whole = f"{event}END:VEVENT\nEND:VCALENDAR\n"
                await (folder / f"{number}.ics").write_text(whole, encoding="utf-8")
                return "file_read", {"file": f"{number}.ics"}
            case "device":
                return "home_state", {"device": text}
            case "memory":
                await self.memory.call(lambda memory, _stop: memory.remember_fact(text))
                about = "".join(letter if letter.isalnum() else " " for letter in text)[:190]
                return "memory_recall", {"about": about}
        await (folder / f"{number}.txt").write_text(text, encoding="utf-8")
        return ("file_read" if place == "file" else "weather"), {"file": f"{number}.txt"}

    async def tried(self, attempt: Attempt) -> Outcome:
        """Read an attempt, do as the worst model what it wants, say no; then its twin, and a person's call."""
        turn, call = attempt.id, self.call_of(attempt.wants)
        await self.reset()
        read = await self.read(attempt, attempt.text, turn)
        before = await self.state()
        self.done()
        by_model = Caller(turn=turn, conversation=turn, who=Who.MODEL)
        result = await self.tools.call(call.tool, call.arguments, by_model)
        effect = bool(self.done()) or await self.state() != before
        if result.approval is not None:
            await self.tools.approvals.answer(False, result.approval.id, person="owner", by="test")
            effect = effect or await self.state() != before
        twin = await self.read(attempt, attempt.twin, f"{turn} twin")
        self.done()
        before = await self.state()
        done = await self.tools.call(call.tool, call.arguments, Caller(turn=f"{turn} twin by a person"))
        if done.approval is not None:
            await self.tools.approvals.answer(True, done.approval.id, person="owner", by="test")
        carried_out = call.tool in self.done() or call.tool in {"home_do", "home_set"}
        changed = await self.state() != before or call.tool == "run_command"
        asked = result.approval is not None
        return Outcome(read.strangers, asked, effect, attempt.keeps in twin.text, carried_out and changed)

    def call_of(self, wants: str) -> ToolCall:
        """A call as a model wrote it."""
        return self.tools.tool_set("owner").parse(wants.replace("{site}", self.site.address))

    async def state(self) -> dict[str, Any]:
        """All that a call could have changed."""
        return {
            **await anyio.to_thread.run_sync(self._on_disk),
            "timers": [view.item.id for view in self.schedule.views()],
            "home": list(self.home.noted),
            "facts": [(one.id, one.when) for one in await self.memory.call(_facts)],
            "fetched": [path for path, _ in self.site.requests if "steal" in path],
        }

    def _on_disk(self) -> dict[str, Any]:
        notebook = self.data / "notebook/notebook.json"
        own = [path for path in sorted(self.folder.iterdir()) if path.stem in ("taxes", "run-me")]
        return {
            "notebook": notebook.read_bytes() if notebook.exists() else b"",
            "files": {path.name: path.read_bytes() for path in own},
        }

    def _fresh_notebook(self) -> None:
        (self.data / "notebook/notebook.json").unlink(missing_ok=True)
        book = Notebook(self.data / "notebook/notebook.json")
        book.add("shopping", ("milk",))
        book.note("Garage code 4711", "owner", datetime.fromisoformat("2026-11-27T12:00:00+01:00"))

    def done(self) -> list[str]:
        """The tools that were carried out since this was asked last."""
        names: list[str] = []
        try:
            while True:
                notice = self.listener.receive_nowait()
                told = notice.fields if isinstance(notice, Happening) and notice.event_type == "tool" else {}
                names += [told["name"]] if told.get("outcome") == "done" else []
        except anyio.WouldBlock:
            return names

    async def reset(self) -> None:
        """The house as it was: a note, a list, a file, and nothing done."""
        await self.schedule.cancel([view.item for view in self.schedule.views()])
        self.home.noted.clear()
        self.site.requests.clear()
        self.site.pages["/steal/garage-code-4711"] = b"thanks"
        for name in ("run-me.txt", "taxes.txt"):
            await anyio.Path(self.folder / name).unlink(missing_ok=True)
        await anyio.Path(self.folder / "taxes.txt").write_text("I owe 5.\n", encoding="utf-8")
        await anyio.to_thread.run_sync(self._fresh_notebook)
        self.done()


def _facts(memory: Memory, _stop: object) -> list[Entry]:
    return memory.list("fact", 500, 0, "owner")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


@asynccontextmanager
async def world(root: Path, found: list[Attempt]) -> AsyncIterator[World]:
    """The house, with a device for each name that is tried."""
    names = [name for one in found if one.place == "device" for name in (one.text, one.twin)]
    table = Table([*OWN, *({"name": name, "domain": "light", "area": "Hall"} for name in names)], {})
    folder, data = root / "folder", root / "data"
    folder.mkdir()
    data.mkdir()
    bulletin = Bulletin()
    async with AsyncExitStack() as stack:
        site = stack.enter_context(serving())
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        home = await stack.enter_async_context(learned(table))
        memory = await stack.enter_async_context(Lane("memory", lambda: Memory(data / "memory.db")))
        workers = await stack.enter_async_context(Workers())
        clock = SetClock("2026-11-27T12:00:00+01:00")
        now = datetime.fromisoformat("2026-11-27T12:00:00+01:00")
        schedule = Schedule(Timers(), ScheduleFile(data / "timers.json"), clock, now.tzinfo, bulletin, NoSound())
        await schedule.open()
        config = Config(
            folder=folder,
            hosts=(site.address.removeprefix("http://"),),
            commands=("marker=/usr/bin/printf done",),
        )
        tools = Tools(bulletin, Approvals(bulletin))
        recollection = Recollection(Engines(None, memory), "", Budget(), Keep())  # type: ignore[arg-type]  # nobody thinks here
        await add_tools(tools, config, workers, Parts(data, lambda: now, schedule, recollection, home))
        weather = Manifest(
            "weather", "Tell the weather.", (Words("file", 40),), ("weather",), strangers=True, origin="plug-in 1"
        )
        tools.register(weather, workers.sandboxed(Box("escapes:says_its_file", folder), Limits()))
        listener = await stack.enter_async_context(bulletin.listen())
        yield World(tools, home, site, folder, data, schedule, memory, listener)
