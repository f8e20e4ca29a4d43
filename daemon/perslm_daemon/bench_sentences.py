"""How many sentences about the home are understood: a table of them against the real skill.

A table's first line is its home, each further one a sentence with what is wanted. The home is learned from
discovery messages as any; nothing is connected, so that what is to be done is only noted. Judged are verb, value
and devices. "!nothing" and "!unclear" want that answer, "!still" only that nothing is done and nothing told. What
is planned for another time is "!nothing", as it does nothing now.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from perslm_daemon.bulletin import Bulletin
from perslm_daemon.clock import clocks
from perslm_daemon.config_sections import Timers
from perslm_daemon.home import Home, Systems
from perslm_daemon.home_command import Grant
from perslm_daemon.home_device import EVERYTHING, Action, Device, Happened, Outcome
from perslm_daemon.home_intents import HomeIntents
from perslm_daemon.home_plans import Plans
from perslm_daemon.schedule import NoSound, Schedule
from perslm_daemon.schedule_file import ScheduleFile
from perslm_daemon.turn import Ask
from perslm_runtime.lane import Lane
from perslm_runtime.understanding import Understanding

Wanted = frozenset[tuple[str, object, str]]
"""What is to be done: (verb, value, device's name) for each device; questions have a "?" before their name."""


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence of a table, where it was said, what was said before, and what is wanted."""

    text: str
    room: str
    after: tuple[str, ...]
    want: tuple[tuple[str, Any, tuple[str, ...]], ...]


@dataclass(slots=True)
class Table:
    """A home and the sentences about it."""

    devices: list[dict[str, Any]]
    floors: dict[str, list[str]]
    said: list[Said] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Table:
        """The table in a file of JSON lines."""
        first, *lines = [
            json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
        table = cls(first["devices"], first["floors"])
        for line in lines:
            want = tuple((verb, value, tuple(names)) for verb, value, names in line["want"])
            table.said.append(Said(line["say"], line.get("room", ""), tuple(line.get("after", ())), want))
        return table

    def messages(self) -> Iterable[tuple[str, bytes]]:
        """What the devices announce and say."""
        for number, one in enumerate(self.devices):
            topic = f"sim/{number}"
            config = {
                "name": one["name"],
                "unique_id": f"sim{number}",
                "stat_t": f"{topic}/state",
                "dev": {"ids": [f"sim{number}"], "sa": one["area"]},
            }
            config |= (
                _config(one["domain"], topic)
                | ({"dev_cla": one["kind"]} if one.get("kind") else {})
                | one.get("more", {})
            )
            yield f"homeassistant/{one['domain']}/sim{number}/config", json.dumps(config).encode()
            for suffix, payload in one.get("states", _states(one["domain"])).items():
                yield f"{topic}/{suffix}", str(payload).encode()


def _config(domain: str, topic: str) -> dict[str, Any]:
    command: dict[str, Any] = {"cmd_t": f"{topic}/set"}
    kinds: dict[str, dict[str, Any]] = {
        "light": {
            **command,
            "bri_cmd_t": f"{topic}/bri/set",
            "bri_stat_t": f"{topic}/bri",
            "bri_scl": 100,
            "clr_temp_cmd_t": f"{topic}/ct/set",
            "clr_temp_stat_t": f"{topic}/ct",
            "hs_cmd_t": f"{topic}/hs/set",
            "hs_stat_t": f"{topic}/hs",
        },
        "cover": {**command, "pos_t": f"{topic}/pos", "set_pos_t": f"{topic}/pos/set"},
        "fan": {**command, "pct_cmd_t": f"{topic}/pct/set", "pct_stat_t": f"{topic}/pct"},
        "climate": {
            "temp_cmd_t": f"{topic}/temp/set",
            "temp_stat_t": f"{topic}/temp",
            "curr_temp_t": f"{topic}/now",
            "mode_cmd_t": f"{topic}/mode/set",
            "mode_stat_t": f"{topic}/mode",
            "modes": ["off", "heat", "cool", "auto"],
        },
        "scene": {**command, "stat_t": None},
        "button": {**command, "stat_t": None},
        "vacuum": {
            "cmd_t": f"{topic}/set",
            "sup_feat": ["start", "pause", "stop", "return_home", "locate", "status", "battery"],
        },
        "sensor": {},
        "binary_sensor": {},
    }
    return kinds.get(domain, command)


def _states(domain: str) -> dict[str, Any]:
    if domain == "climate":
        return {"temp": 20, "now": 19.5, "mode": "heat"}
    if domain == "cover":
        return {"state": "open", "pos": 100}
    return {"state": _state(domain)} | ({"pct": 40} if domain == "fan" else {})


def _state(domain: str) -> str:
    return {
        "cover": "open",
        "lock": "LOCKED",
        "sensor": "20",
        "climate": "heat",
        "vacuum": '{"state": "docked"}',
        "alarm_control_panel": "disarmed",
    }.get(domain, "OFF")


class Noted(Home):
    """A home that notes what it is told to do."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Systems(), Bulletin())
        self.noted: list[tuple[str, Any, str]] = []
        self.offered: list[tuple[str, Any, str]] = []

    async def act(
        self,
        targets: Sequence[str],
        action: Action,
        *,
        grant: Grant = Grant.ASK,
        by: str = "",
        unsure: bool = False,
    ) -> tuple[Outcome, ...]:
        """Note what would be done (a lock cannot be switched off), as a home without a connection does it."""
        outcomes = await super().act(targets, action, grant=grant, by=by, unsure=unsure)
        ids = [one.device for one in outcomes if one.happened is not Happened.UNKNOWN]
        self.note(action, ids, self.offered if unsure else self.noted)
        return outcomes

    def note(self, action: Action, targets: Sequence[str], where: list[tuple[str, Any, str]]) -> None:
        """Keep what is wanted of which devices."""
        for id_ in targets:
            device = self.device(id_)
            where.append((action.verb, _plain(action.value), device.name if device else id_))

    async def confirm(self, yes: bool, pending_id: str | None = None, *, by: str = "") -> tuple[Outcome, ...]:
        """Note the answer."""
        self.noted.append(("confirm", yes, ""))
        return await super().confirm(yes, pending_id, by=by)

    async def undo(self, *, by: str = "") -> tuple[Outcome, ...]:
        """Note that it was wanted."""
        self.noted.append(("undo", None, ""))
        return ()


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(round(part) for part in value)
    return round(float(value), 1) if isinstance(value, int | float) and not isinstance(value, bool) else value


@asynccontextmanager
async def learned(table: Table) -> AsyncIterator[Noted]:
    """The home of a table, known."""
    kept = await anyio.to_thread.run_sync(partial(tempfile.TemporaryDirectory, prefix="perslm-bench-"))
    try:
        async with _known(table, Path(kept.name)) as home:
            yield home
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(kept.cleanup)


@asynccontextmanager
async def _known(table: Table, folder: Path) -> AsyncIterator[Noted]:
    home = Noted(folder)
    for floor, areas in table.floors.items():
        for area in areas:
            await home.give("areas", area, "floor", floor)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(home.run)
        messages = list(table.messages())
        for wanted in (True, False):
            for topic, payload in messages:
                if topic.startswith("homeassistant/") is wanted:
                    home.take(topic, payload, True)
            while not home.idle or len(home.devices()) < len(table.devices):  # noqa: ASYNC110 - only counters tell
                await anyio.sleep(0.02)
        yield home
        tasks.cancel_scope.cancel()


@dataclass(slots=True)
class Judged:
    """What came of one sentence. `wrong` says that something was done that nobody wanted."""

    said: Said
    right: bool
    wrong: bool
    got: Wanted
    want: Wanted
    answer: str
    ms: float


async def judge(table: Table, home: Noted, skill: HomeIntents) -> list[Judged]:
    """Every sentence of a table through the skill, each in a conversation of its own."""
    judged: list[Judged] = []
    for number, one in enumerate(table.said):
        conversation = f"bench-{number}"
        for before in one.after:
            await skill(Ask(before, conversation=conversation, area=one.room))
        home.noted.clear()
        home.offered.clear()
        began = time.perf_counter()
        answered = await skill(Ask(one.text, conversation=conversation, area=one.room))
        ms = (time.perf_counter() - began) * 1000
        acts = set(home.noted)
        asked = set[tuple[str, object, str]]()
        for done in answered.done if answered else ():
            if done.outcome == "answered":
                word = done.intent.slots.get("word")
                asked |= {(f"?{done.intent.name}", word, home_name(home, id_)) for id_ in done.targets} or {
                    (f"?{done.intent.name}", word, "")
                }
            elif done.intent.name == "later" and not acts:  # planned, or asked about, or not: it is nothing now
                asked.add(("!nothing", None, ""))
            elif done.outcome in ("unclear", "nothing") and not acts:
                asked.add((f"!{done.outcome}", None, ""))
            elif done.intent.name in ("name", "move_room", "hide"):
                asked.add(
                    (
                        done.intent.name,
                        done.intent.slots.get("word"),
                        ", ".join(home_name(home, id_) for id_ in done.targets),
                    )
                )
        want = wanted(one, home.devices())
        if home.offered:  # "Shall I ...?": right where a yes would do what is wanted; nothing moves before
            asked |= offered if (offered := set(home.offered)) == want else {("!unclear", None, "")}
        acts -= {("confirm", False, "")} - want  # an open question that is let go of does nothing
        got: Wanted = frozenset(acts | asked)
        wrong = bool({act for act in acts if act not in want})
        right = got <= _STILL if want == {("!still", None, "")} else got == want
        judged.append(Judged(one, right, wrong, got, want, answered.text if answered else "-", ms))
    return judged


_STILL = frozenset({("!nothing", None, ""), ("!unclear", None, "")})
"""What "!still" allows: nothing is done and no state told, whether it is talk or the home says that it cannot."""


def home_name(home: Home, device_id: str) -> str:
    """A device's name by its id."""
    device = home.device(device_id)
    return device.name if device else device_id


def wanted(one: Said, devices: Sequence[Device]) -> Wanted:
    """What a line wants, its selectors ("light@Kitchen", "every@downstairs", "window@*") written out."""
    found: set[tuple[str, object, str]] = set()
    for verb, value, names in one.want:
        plain = tuple(value) if isinstance(value, list) else _plain(value)
        for name in names or ("",):
            chosen = [device.name for device in devices if _selected(device, name)] if "@" in name else [name]
            found |= {(verb, plain, each) for each in chosen}
    return frozenset(found)


def _selected(device: Device, selector: str) -> bool:
    what, _, places = selector.partition("@")
    if device.hidden:
        return False
    fits = (
        device.domain in EVERYTHING and device.risk.value == "safe"
        if what == "every"
        else what in (device.domain, device.kind)
    )
    return (
        fits
        and (what != "every" or "turn_off" in device.capabilities)
        and (places == "*" or any(place in (device.area, device.floor) for place in places.split("|")))
    )


@asynccontextmanager
async def skill_of(home: Home) -> AsyncIterator[HomeIntents]:
    """The real skill over a home; what it plans is kept as long as it lasts."""
    kept = await anyio.to_thread.run_sync(partial(tempfile.TemporaryDirectory, prefix="perslm-bench-"))
    try:
        async with Lane("intents", Understanding) as lane:
            clock, zone = await anyio.to_thread.run_sync(clocks, True)
            file = ScheduleFile(Path(kept.name) / "timers.json")
            schedule = Schedule(Timers(), file, clock, zone, Bulletin(), NoSound())
            yield HomeIntents(lane, home, plans=Plans(lane, home, schedule, Bulletin()))
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(kept.cleanup)
