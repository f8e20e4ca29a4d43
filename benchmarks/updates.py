"""How long an update takes, and what a turn feels of it: `python benchmarks/updates.py` on an idle machine.

A host's repository on the loopback, served by Python's own http.server, and a daemon that follows it: a bundle
of the small model (98 MB) is published, brought, verified, tried and used while somebody asks, then rolled back:
ten times, each with turns before and after it, because a turn's time drifts more on a shared machine than an
update changes it. A turn counts as "meanwhile" when it began before the new model was in use. The turns are
alike in all that is not the update: each begins a conversation of its own (in one that goes on a turn grows from
100 to 150 ms within twenty, and an update comes at its end), and each has somebody beside it who asks every 50
ms how things are, as whoever waits for the new model does (that alone took a turn from 129 to 142 ms). The
change-over is looked at in three more: somebody knocks every 20 ms, and the longest time without an answer is
what it costs. A last update comes beside eight processes that compute, which is what a busy board is.
Beside it what the machine can do at all: the same bytes hashed, and fetched by urllib.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perslm_daemon.broker import free_port
from perslm_daemon.control_client import Connection, connect
from perslm_runtime.bundle import MANIFEST, BundleFile, Manifest, write_manifest
from perslm_runtime.bundle_trial import Question, Trial
from perslm_runtime.trust import Trust
from perslm_training_host.repository import Repository
from perslm_training_host.signing_keys import SigningKeys

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/updates.json"
MODELS = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
BASE = "smollm2-135m-q4_1"
ROUNDS = 10
KNOCKED = 3
BUSY = 8
_LOOK_S = 0.05  # how often whoever waits for the new model asks how things are
_PAUSE_S = 0.3  # between two turns, beside an update as well: one at once behind another finds its caches warm
_CONVERSATIONS = itertools.count(1)


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = measured(folder)
    print(json.dumps(found, indent=1))
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measured(folder: Path) -> dict[str, Any]:
    """Everything, once."""
    models = folder / "models"
    (models / BASE).mkdir(parents=True)
    for path in (MODELS / BASE).iterdir():
        (models / BASE / path.name).symlink_to(path)
    content = (models / BASE / "model.gguf").read_bytes()
    repository = Repository.create(folder / "host", SigningKeys([folder / "keys"]))
    with served(folder / "host") as url, daemon(folder, models, url, repository.anchor) as data:
        turns(data, 12)  # the first are slower: pages and caches are cold
        rounds = [one_round(data, repository, folder, content, number) for number in range(1, ROUNDS + 1)]
        numbers = range(ROUNDS + 1, ROUNDS + 1 + KNOCKED)
        knocked = [one_round(data, repository, folder, content, number, knocked=True) for number in numbers]
        with computing(BUSY):
            beside_load = one_round(data, repository, folder, content, ROUNDS + 1 + KNOCKED, knocked=True)
        besides = [took for one in rounds for took in one.besides]
        meanwhile = [took for one in rounds for took in one.meanwhile]
        ratios = [statistics.median(one.meanwhile) / statistics.median(one.besides) for one in rounds]
        return {
            "what": f"{ROUNDS} updates of 98 MB on the loopback, times in seconds, turns in milliseconds",
            "sign_and_publish_s": round(max(one.published_s for one in rounds), 2),
            "published_to_in_use_s": {
                "ours": round(statistics.median(one.in_use_s for one in rounds), 2),
                "worst": round(max(one.in_use_s for one in rounds), 2),
                "goal": 20,
            },
            "change_over_s": {
                "ours": round(statistics.median(one.away_s for one in knocked), 2),
                "worst": round(max(one.away_s for one in knocked), 2),
                "goal": 1,
                "what": "the longest time without an answer to somebody who knocks every 20 ms",
            },
            "beside_computing_processes": {
                "processes": BUSY,
                "published_to_in_use_s": round(beside_load.in_use_s, 2),
                "change_over_s": round(beside_load.away_s, 2),
                "rollback_to_first_answer_s": round(beside_load.back_s, 2),
            },
            "turn_ms": {
                "before_and_after": round(statistics.median(besides)),
                "meanwhile": round(statistics.median(meanwhile)),
                "meanwhile_worst": round(max(meanwhile)),
                "turns_meanwhile": len(meanwhile),
                "refused_meanwhile": sum(one.refused for one in rounds),
                "ratio_of_each_update": [round(one, 2) for one in ratios],
                "ratio": round(statistics.median(ratios), 2),
                "goal": "1.1; the worst holds the change-over",
            },
            "rollback_to_first_answer_s": {"ours": round(max(one.back_s for one in rounds), 2), "goal": 5},
            **of_the_machine(folder, url, repository),
        }


@dataclass(frozen=True, slots=True)
class Round:
    """An update and its way back: seconds, and milliseconds of turns beside it and while it was under way.

    `away_s` is the longest time in which nobody answered, where somebody knocked instead of asking.
    """

    published_s: float
    in_use_s: float
    back_s: float
    away_s: float
    besides: list[float]
    meanwhile: list[float]
    refused: int


def one_round(
    data: Path, repository: Repository, folder: Path, content: bytes, number: int, *, knocked: bool = False
) -> Round:
    """Publish a version, take it while somebody asks (with `knocked`: knocks), and go back."""
    source = bundle(folder / f"bundle-{number}", content + bytes(number), number)
    before = [] if knocked else turns_looked_at(data, 8)
    began = time.monotonic()
    repository.publish(source)
    repository.promote("home", number, "stable")
    published_s = time.monotonic() - began
    asking = Knocking(data) if knocked else Asking(data)
    began = time.monotonic()
    wish = threading.Thread(target=quietly, args=(data, "sync", {"action": "install"}))
    wish.start()
    in_use_s = until(data, f"home-v{number}", began)
    asking.stop()
    wish.join()
    began = time.monotonic()
    quietly(data, "sync", {"action": "rollback"})
    until(data, BASE, began)
    while asked(data) is None:
        pass
    back_s = time.monotonic() - began
    if isinstance(asking, Knocking):
        return Round(published_s, in_use_s, back_s, asking.longest_s, [], [], 0)
    besides = [*before, *turns_looked_at(data, 8)]
    return Round(published_s, in_use_s, back_s, 0.0, besides, asking.took_ms, asking.refused)


def of_the_machine(folder: Path, url: str, repository: Repository) -> dict[str, Any]:
    """Verification by the trusted metadata beside bare hashing, and bare fetching."""
    trust = Trust(folder / "trust", repository.anchor.read_bytes(), [url], now=time.time)
    trust.refresh()
    file = folder / "bundle-1/model.gguf"
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    began = time.monotonic()
    trust.verify(f"files/{sha256}", file)
    verify_s = time.monotonic() - began
    began = time.monotonic()
    with file.open("rb") as opened:
        hashlib.file_digest(opened, "sha256")
    hash_s = time.monotonic() - began
    began = time.monotonic()
    with urllib.request.urlopen(f"{url}/targets/files/{sha256}") as response:  # noqa: S310 - our own server
        while response.read(1 << 16):
            pass
    fetch_s = time.monotonic() - began
    return {
        "verify_100_mb_s": {"ours": round(verify_s, 3), "hashlib_alone": round(hash_s, 3), "goal": 1},
        "fetch_alone_s": round(fetch_s, 2),
    }


class Meanwhile:
    """Somebody who does something again and again, `pause_s` apart, while something else goes on."""

    pause_s: float

    def __init__(self, data: Path) -> None:
        self._data, self._over = data, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """End it after what is under way."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self.pause_s):
            self._do()

    def _do(self) -> None:
        raise NotImplementedError


class Asking(Meanwhile):
    """Somebody who asks a question."""

    pause_s = _PAUSE_S

    def __init__(self, data: Path) -> None:
        self.took_ms: list[float] = []
        self.refused = 0
        super().__init__(data)

    def _do(self) -> None:
        began = time.monotonic()
        if asked(self._data) is None:
            self.refused += 1
        else:
            self.took_ms.append((time.monotonic() - began) * 1000)


class Looking(Meanwhile):
    """Somebody who asks how things are, as often as `until` does."""

    pause_s = _LOOK_S

    def _do(self) -> None:
        quietly(self._data, "sync", {"action": "status"})


class Knocking(Meanwhile):
    """Somebody who asks how things are, and notes the longest time without an answer."""

    pause_s = 0.02

    def __init__(self, data: Path) -> None:
        self.longest_s = 0.0
        self._last = time.monotonic()
        super().__init__(data)

    def _do(self) -> None:
        if quietly(self._data, "sync", {"action": "status"}) is not None:
            now = time.monotonic()
            self.longest_s, self._last = max(self.longest_s, now - self._last), now


@contextmanager
def computing(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    argv = [sys.executable, "-c", "while True: pass"]
    children = [subprocess.Popen(argv) for _ in range(count)]
    try:
        time.sleep(60)  # until the load average says so
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


def turns(data: Path, count: int) -> list[float]:
    """Milliseconds of turns, one after the other."""
    took: list[float] = []
    while len(took) < count:
        time.sleep(_PAUSE_S)
        began = time.monotonic()
        if asked(data) is not None:
            took.append((time.monotonic() - began) * 1000)
    return took


def turns_looked_at(data: Path, count: int) -> list[float]:
    """Milliseconds of turns beside somebody who asks how things are, as there is beside those of an update."""
    looking = Looking(data)
    try:
        return turns(data, count)
    finally:
        looking.stop()


def until(data: Path, model: str, began: float) -> float:
    """Seconds since `began` until a model is in use."""
    while True:
        status = quietly(data, "sync", {"action": "status"})
        if status is not None and status["in_use"]["llm"] == model:
            return time.monotonic() - began
        if status is not None and model in status["refused"]:
            raise SystemExit(f"refused: {status['refused']}")
        time.sleep(_LOOK_S)


def asked(data: Path) -> dict[str, Any] | None:
    """The answer to one question, the first of its conversation."""
    conversation = f"updates-{next(_CONVERSATIONS)}"
    return quietly(data, "ask", {"text": "What is the capital of Italy?", "conversation": conversation})


def quietly(data: Path, verb: str, payload: dict[str, Any]) -> dict[str, Any] | None:
    """An answer, or None where there is none: the ways in are opened anew at a change-over."""
    try:
        connection: Connection | None = connect(data)
        if connection is None:
            return None
        try:
            return dict(connection.ask(verb, payload))
        finally:
            connection.close()
    except Exception:  # noqa: BLE001 - whatever it is, this try counts as unanswered
        return None


def bundle(folder: Path, content: bytes, version: int) -> Path:
    """A bundle of one file that succeeds the small model."""
    folder.mkdir()
    (folder / "model.gguf").write_bytes(content)
    file = BundleFile("model.gguf", len(content), hashlib.sha256(content).hexdigest())
    trial = Trial((Question("What is the capital of France?", ("Paris",)),), right=1)
    manifest = Manifest(
        "home", version, "llm", "the small model", "Apache-2.0", (file,), 260, base=BASE, trial=trial
    )
    (folder / MANIFEST).write_bytes(write_manifest(manifest))
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The repository over http on the loopback, by a process of its own."""
    port = free_port()
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            time.sleep(1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


@contextmanager
def daemon(folder: Path, models: Path, url: str, anchor: Path) -> Iterator[Path]:
    """A daemon that follows the host; its data folder."""
    data = folder / "data"
    settings = {
        "models_dir": models,
        "voice.enabled": "false",
        "embed.enabled": "false",
        "discovery.enabled": "false",
        "memory.remember": "false",
        "sync.mirrors": url,
        "sync.root_file": anchor,
        "sync.rate_kb_s": 0,
        "sync.quiet_s": 0,
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    code = "from perslm_daemon.cli import main; main()"
    argv = [sys.executable, "-c", code, "run", "--profile", "dev", "--data-dir", str(data), *words]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            while quietly(data, "status", {}) is None:
                if child.poll() is not None:
                    raise SystemExit("the daemon did not start")
                time.sleep(0.1)
            yield data
        finally:
            child.terminate()


if __name__ == "__main__":
    main()
