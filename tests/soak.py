"""`make soak MINUTES=n`: a real daemon and broker through everything that goes wrong in a house, again and again.

Each cycle mixes requests of all verbs with payloads of any kind, stops the broker, kills the daemon, changes its
configuration, and has clients vanish. After each phase the daemon answers, every keyed request has been answered,
and its memory, threads and files are written down; nothing may be done twice or lost. Ends with a report.
"""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tests/flows", "daemon", "runtime")]

from test_fuzz import ODD, VERBS  # noqa: E402 - found by the line above

import mosquitto  # noqa: E402 - as above
from daemon_child import COMMAND, settings_of  # noqa: E402 - as above
from perslm_daemon.process import resident_bytes  # noqa: E402 - as above

REPORT = ROOT / "benchmarks/results/soak.json"
NODE, ANSWERS = "perslm/kitchen", "perslm/_clients/soak"
WAIT_S = 60.0
# Engines that are built anew leave nothing behind (heap.py); the journal, memories and caches grow a little.
MOST_GROWTH_MB = 130.0
MOST_THREADS = 60  # lanes, and at most 40 of anyio's workers, which come and go
KEYED, ODDS = 120, 150


def say(text: str) -> None:
    """Tell it on the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class SoakError(Exception):
    """Something did not hold; the sentence says what."""


@dataclass(slots=True)
class Figures:
    """What a phase left: MB, threads and open files of the daemon, and seconds that the phase took."""

    phase: str
    cycle: int
    pid: int
    rss_mb: float
    threads: int
    files: int
    took_s: float


@dataclass(slots=True)
class House:
    """The broker, the daemon and whoever asks it."""

    folder: Path
    broker: mosquitto.Broker
    child: subprocess.Popen[str]
    home: mosquitto.Client
    dice: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: list[Figures] = field(default_factory=list)

    def send(self, verb: str, payload: bytes | str, key: str = "", **more: Any) -> str:
        """Ask something; its answer is known by the returned key."""
        self.counts["requests"] += 1
        key = key or f"k{self.counts['requests']}"
        self.home.send(f"{NODE}/request/{verb}", payload, response_topic=ANSWERS, correlation=key.encode(), **more)
        return key

    def answers(self, wanted: set[str]) -> dict[str, dict[str, Any]]:
        """The answers to all of `wanted`."""
        found: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + WAIT_S
        while not wanted <= set(found):
            try:
                message = self.home.arrived.get(timeout=max(0.01, deadline - time.monotonic()))
            except Empty:
                raise SoakError(f"no answer to {sorted(wanted - set(found))[:5]} within {WAIT_S:g} s") from None
            key = getattr(message.properties, "CorrelationData", b"").decode("utf-8", "replace")
            if message.topic == ANSWERS:
                found[key] = json.loads(message.payload)
        self.counts["answers"] += len(wanted)
        return found

    def remember(self, number: int) -> set[str]:
        """Ask to remember so many new facts, half of them twice under one key; returns the keys."""
        keys = set()
        for _ in range(number):
            name = f"f{len(self.facts)}x{self.dice.randrange(10**6)}"
            self.facts[name] = {}
            payload = json.dumps({"text": f"The word of the day is {name}."})
            keys.add(self.send("remember", payload, name))
            if self.dice.random() < 0.5:
                self.counts["sent twice"] += 1
                self.send("remember", payload, name)
        return keys

    def set_timers(self, number: int) -> dict[str, str]:
        """Ask for so many timers, each twice under one key; returns their payloads by key."""
        names = [f"t{self.counts['timers'] + index}" for index in range(number)]
        self.counts["timers"] += number
        payloads = {name: json.dumps({"action": "set", "seconds": 3000, "name": name}) for name in names}
        for name, payload in payloads.items():
            self.send("timer", payload, name)
            self.send("timer", payload, name)
        return payloads

    def count_timers(self, asked: dict[str, str], answered: dict[str, dict[str, Any]]) -> None:
        """Each timer was set once, or not at all where its answer says that nobody knows; then cancel them."""
        listed = self.answers({key := self.send("timer", '{"action": "list"}')})[key]["data"]["timers"]
        there = Counter(one["name"] for one in listed)
        for name in asked:
            done = answered[name]["status"] == "ok"
            if there[name] > 1 or (done and there[name] == 0):
                raise SoakError(f"timer {name} is there {there[name]} times, its answer was {answered[name]}")
        self.answers({self.send("timer", json.dumps({"action": "cancel", "id": one["id"]})) for one in listed})

    def keep(self, answered: dict[str, dict[str, Any]]) -> None:
        """Hold each fact's answer to what was answered before under its key."""
        for name, answer in answered.items():
            if name in self.facts:
                if self.facts[name] and self.facts[name] != answer:
                    raise SoakError(f"{name} was answered {self.facts[name]} and then {answer}")
                self.facts[name] = answer

    def start(self) -> None:
        """Start the daemon and wait until it is online."""
        errors = (self.folder / "errors.log").open("a")
        settings = settings_of(self.broker.url, model__max_reply_tokens="8")
        with errors:
            self.child = subprocess.Popen(
                [
                    *COMMAND,
                    "--config",
                    str(self.folder / "perslm.toml"),
                    "--data-dir",
                    str(self.folder / "data"),
                    *settings,
                ],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.child.stdout is not None
        if json.loads(self.child.stdout.readline() or "{}").get("state") != "online":
            raise SoakError(f"the daemon did not start: see {errors.name}")

    def configure(self, recall_k: int, interval_s: int) -> None:
        """Write the configuration file."""
        text = f"[memory]\nrecall_k = {recall_k}\n[health]\ninterval_s = {interval_s}\n"
        (self.folder / "perslm.toml").write_text(text)

    def listen(self) -> None:
        """A client that hears answers, in place of one whose broker is gone."""
        self.home.close()
        self.home = mosquitto.Client(self.broker.port, (f"{ANSWERS}/#", ANSWERS), identifier="soak")

    def check(self, phase: str, cycle: int, began: float) -> None:
        """The daemon answers; write down what it holds."""
        if self.child.poll() is not None:
            raise SoakError(f"the daemon ended with {self.child.returncode} in {phase}")
        status = self.answers({key := self.send("status", b"")})[key]
        if status["status"] != "ok" or status["data"]["degraded"]:
            raise SoakError(f"after {phase} the status is {status}")
        place = Path(f"/proc/{self.child.pid}")
        threads, files = (len(list((place / name).iterdir())) for name in ("task", "fd"))
        held = resident_bytes(self.child.pid) / 1e6
        took = round(time.monotonic() - began, 1)
        self.figures.append(Figures(phase, cycle, self.child.pid, round(held, 1), threads, files, took))


# Phases


def mixed(house: House) -> None:
    """Requests of all verbs, as a house sends them."""
    keys, timers = house.remember(KEYED), house.set_timers(20)
    for verb, payload in (
        ("ask", "What is the capital of Italy?"),
        ("ask", "what time is it"),
        ("recall", "word of the day"),
        ("model", '{"action": "list"}'),
        ("config", '{"key": "node"}'),
        ("timer", '{"action": "list"}'),
        ("stop", ""),
        ("say", "hello"),
        ("forget", '{"text": "nothing at all of this kind"}'),
    ):
        keys.add(house.send(verb, payload))
    answered = house.answers(keys | set(timers))
    house.keep(answered)
    house.count_timers(timers, answered)


def odd(house: House) -> None:
    """Payloads of any kind to every verb, and to settings."""
    keys = set()
    for _ in range(ODDS):
        verb = house.dice.choice(sorted(set(VERBS) - {"restart"}))
        payload = house.dice.choice([*ODD, house.dice.randbytes(40)])
        keys.add(house.send(verb, payload))
        name = house.dice.choice(["volume", "memory", "nothing", "state"])
        house.home.send(f"{NODE}/{name}/set", b"ON" if name == "memory" else payload[:1000])
    house.answers(keys)


def broker_away(house: House) -> None:
    """The broker stops in the middle of requests and comes back."""
    keys = house.remember(20)
    house.broker.stop()
    time.sleep(0.5)
    house.broker.start()
    house.listen()
    house.counts["broker restarts"] += 1
    for name in keys:  # whoever is not sure asks again, under the same key
        house.send("remember", json.dumps({"text": f"The word of the day is {name}."}), name)
    house.keep(house.answers(keys))


def killed(house: House) -> None:
    """The daemon is killed in the middle of requests; the keys are asked again after its restart."""
    keys, timers = house.remember(40), house.set_timers(20)
    time.sleep(house.dice.random() * 0.05)
    house.child.kill()
    house.child.communicate()
    house.start()
    house.counts["kills"] += 1
    answered = house.answers(keys | set(timers))
    house.keep(answered)
    for name, payload in timers.items():
        house.send("timer", payload, name)
    again = house.answers(set(timers))
    for name in timers:
        if again[name] != answered[name]:
            raise SoakError(f"{name} was answered {answered[name]} and, asked for again, {again[name]}")
    house.count_timers(timers, answered)
    for name in keys:
        house.send("remember", json.dumps({"text": f"The word of the day is {name}."}), name)
    house.keep(house.answers(keys))


def reloaded(house: House) -> None:
    """SIGHUP with a changed file: once only the adapters start anew, once the engines too."""
    for recall_k in (3, 4):
        house.configure(recall_k, house.dice.randrange(10, 60))
        house.child.send_signal(signal.SIGHUP)
        assert house.child.stdout is not None
        house.child.stdout.readline()  # online again
        house.counts["reloads"] += 1
        house.keep(house.answers(house.remember(5)))


def vanished(house: House) -> None:
    """Clients that ask and leave, on the broker and on the control socket."""
    for number in range(10):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(house.folder / "data/control.sock"))
            caller.sendall(
                house.dice.choice([b'{"verb": "turn", "payload": {"text": "hi"}}\n', b'{"verb": ', ODD[3]])
            )
        guest = mosquitto.Client(house.broker.port)
        guest.send(f"{NODE}/request/ask", "Why?", response_topic=f"perslm/_clients/g{number}")
        guest.close()
        house.counts["vanished"] += 2


PHASES: tuple[Callable[[House], None], ...] = (mixed, odd, broker_away, reloaded, vanished, mixed)
KILL_EVERY = 4  # cycles: between two kills one process lives long enough to show what it loses


@contextmanager
def house_of(folder: Path, seed: int) -> Iterator[House]:
    """A broker that keeps what it is told, a daemon on it, and a client."""
    (folder / "broker").mkdir()
    kept = (
        "persistence true",
        f"persistence_location {folder}/broker/",
        "max_queued_messages 100000",
        "max_packet_size 20000000",
    )
    with mosquitto.running(folder / "broker", *kept) as broker:
        home = mosquitto.Client(broker.port, (ANSWERS,), identifier="soak")
        house = House(folder, broker, subprocess.Popen(["true"], text=True), home, random.Random(seed))  # noqa: S311 - no secret
        house.configure(3, 30)
        house.child.wait()
        house.start()
        try:
            yield house
        finally:
            house.home.close()
            house.child.kill()
            house.child.communicate()


def done_once(house: House) -> dict[str, int]:
    """Stop the daemon, read its memory, and count how often each fact was stored."""
    house.child.terminate()
    house.child.communicate(timeout=30)
    if house.child.returncode != 0:
        raise SoakError(f"the daemon ended with {house.child.returncode}")
    lines = house.folder / "memory.jsonl"
    command = [*COMMAND[:3], "--data-dir", str(house.folder / "data"), "--profile", "dev"]
    subprocess.run([*command, "memory", "export", str(lines)], check=True, capture_output=True)
    text = lines.read_text(encoding="utf-8")
    stored = Counter({name: text.count(f"{name}.") for name in house.facts})
    confirmed = [name for name, answer in house.facts.items() if answer.get("status") == "ok"]
    return {
        "facts": len(house.facts),
        "answered ok": len(confirmed),
        "answered lost": sum("not known" in str(answer.get("error")) for answer in house.facts.values()),
        "timers": house.counts["timers"],  # each was counted while it ran
        "lost": sum(stored[name] == 0 for name in confirmed),
    }


def growth(figures: list[Figures]) -> dict[str, float]:
    """How much more each process held after its last cycle than before: the most of all processes.

    A process's first phases fill caches; what it held after them is what the last is compared with.
    """
    most: dict[str, float] = {"rss_mb": 0.0, "threads": 0, "files": 0}
    for pid in {one.pid for one in figures}:
        mine = [one for one in figures if one.pid == pid and one.phase == "mixed"]
        for name, before in most.items():
            most[name] = max(before, getattr(mine[-1], name) - getattr(mine[min(1, len(mine) - 1)], name))
    return {name: round(value, 1) for name, value in most.items()}


def soak(minutes: float, folder: Path, seed: int) -> dict[str, Any]:
    """Run for so long; returns the report. Raises `SoakError` where something did not hold."""
    until, cycle = time.monotonic() + 60 * minutes, 0
    with house_of(folder, seed) as house:
        while time.monotonic() < until or cycle < 1:
            cycle += 1
            for phase in (*PHASES, *((killed,) if cycle % KILL_EVERY == 0 else ())):
                began = time.monotonic()
                phase(house)
                house.check(phase.__name__, cycle, began)
            last = house.figures[-1]
            held = f"{last.rss_mb} MB, {last.threads} threads, {last.files} files"
            say(f"cycle {cycle}: {dict(house.counts)} {held}")
        once = done_once(house)
    grown = growth(house.figures)
    problems = [f"{once[name]} facts {name}" for name in ("lost",) if once[name]]
    problems += [f"{grown['rss_mb']} MB more"] * (grown["rss_mb"] > MOST_GROWTH_MB)
    problems += [f"{grown['files']:.0f} files more"] * (grown["files"] > 2)
    most = max(one.threads for one in house.figures)
    problems += [f"{most} threads"] * (most > MOST_THREADS)
    problems += ["a traceback in the log"] * ("Traceback" in (folder / "errors.log").read_text())
    return {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60 * minutes)),
        "minutes": minutes,
        "seed": seed,
        "cycles": cycle,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "counts": dict(house.counts),
        "once": once,
        "most_growth_of_a_process": grown,
        "problems": problems,
        "phases": table(house.figures),
    }


def table(figures: list[Figures]) -> list[dict[str, Any]]:
    """A row a phase: how often, how long at most, and what the daemon held after the first and the last."""
    rows = []
    for phase in dict.fromkeys(one.phase for one in figures):
        mine = [one for one in figures if one.phase == phase]
        first, last = mine[0], mine[-1]
        rows.append(
            {
                "phase": phase,
                "times": len(mine),
                "longest_s": max(one.took_s for one in mine),
                "rss_mb": [first.rss_mb, last.rss_mb],
                "threads": [first.threads, last.threads],
                "files": [first.files, last.files],
            }
        )
    return rows


def main(arguments: list[str]) -> int:
    """Soak for the minutes given, print the table, keep the report. Returns 1 where something did not hold."""
    minutes = float(arguments[0]) if arguments else 10.0
    seed = int(time.time())
    with tempfile.TemporaryDirectory(prefix="perslm-soak-") as folder:
        try:
            report = soak(minutes, Path(folder), seed)
        except SoakError as error:
            log = (Path(folder) / "errors.log").read_text(encoding="utf-8")[-3000:]
            say(f"soak (seed {seed}): {error}\n{log}")
            return 1
    REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    say(f"{'phase':<12} times longest s   MB first, last   threads   files")
    for row in report["phases"]:
        say(
            f"{row['phase']:<12} {row['times']:>5} {row['longest_s']:>9} {row['rss_mb']!s:>16} "
            f"{row['threads']!s:>9} {row['files']!s:>9}"
        )
    say(f"{report['once']} growth {report['most_growth_of_a_process']} problems {report['problems']}")
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
