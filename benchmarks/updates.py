"""How long an update takes, and what a turn feels of it: `python benchmarks/updates.py` on an idle machine.

A host's repository on the loopback, served by Python's own http.server, and a daemon that follows it: a bundle of
the small model (98 MB) is published, brought, verified, tried and used while somebody asks, then rolled back.
Beside it what the machine can do at all: the same bytes hashed, and fetched by urllib.
"""

from __future__ import annotations

import hashlib
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
from pathlib import Path
from typing import Any

from perslm_daemon.broker import free_port
from perslm_daemon.control_client import Connection, connect
from perslm_runtime.bundle import MANIFEST, BundleFile, Manifest, Question, Trial, write_manifest
from perslm_runtime.trust import Trust
from perslm_training_host.repository import Repository
from perslm_training_host.signing_keys import SigningKeys

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/updates.json"
MODELS = Path(os.environ.get("PERSLM_MODELS_DIR", Path.home() / ".local/share/perslm/models"))
BASE = "smollm2-135m-q4_1"
ASK = {"text": "What is the capital of Italy?"}


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
    source = bundle(folder / "bundle", (models / BASE / "model.gguf").read_bytes() + b"\0")
    repository = Repository.create(folder / "host", SigningKeys([folder / "keys"]))
    with served(folder / "host") as url, daemon(folder, models, url, repository.anchor) as data:
        before = turns(data, 12)
        asking = Asking(data)
        began = time.monotonic()
        repository.publish(source)
        repository.promote("home", 1, "stable")
        published_s = time.monotonic() - began
        began = time.monotonic()
        wish = threading.Thread(target=quietly, args=(data, "sync", {"action": "install"}))
        wish.start()
        in_use_s = until(data, "home-v1", began)
        asking.stop()
        wish.join()
        after = turns(data, 12)
        began = time.monotonic()
        quietly(data, "sync", {"action": "rollback"})
        until(data, BASE, began)
        turns(data, 1)
        back_s = time.monotonic() - began
        return {
            "what": "an update of 98 MB on the loopback, times in seconds, turns in milliseconds",
            "sign_and_publish_s": round(published_s, 2),
            "published_to_in_use_s": {"ours": round(in_use_s, 2), "goal": 20},
            "turn_ms": {
                "before": round(statistics.median(before)),
                "meanwhile": round(statistics.median(asking.took_ms)),
                "meanwhile_worst": round(max(asking.took_ms)),
                "after": round(statistics.median(after)),
                "turns_meanwhile": len(asking.took_ms),
                "refused_meanwhile": asking.refused,
                "goal": "a median of at most 1.1 times before; the worst holds the change-over",
            },
            "rollback_to_first_answer_s": {"ours": round(back_s, 2), "goal": 5},
            **of_the_machine(folder, url, repository),
        }


def of_the_machine(folder: Path, url: str, repository: Repository) -> dict[str, Any]:
    """Verification by the trusted metadata beside bare hashing, and bare fetching."""
    trust = Trust(folder / "trust", repository.anchor.read_bytes(), [url], now=time.time)
    trust.refresh()
    file = folder / "bundle/model.gguf"
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


class Asking:
    """Somebody who asks again and again while something else goes on."""

    def __init__(self, data: Path) -> None:
        self.took_ms: list[float] = []
        self.refused = 0
        self._data, self._over = data, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """End it after the turn under way."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.3):
            began = time.monotonic()
            if quietly(self._data, "ask", ASK) is None:
                self.refused += 1
            else:
                self.took_ms.append((time.monotonic() - began) * 1000)


def turns(data: Path, count: int) -> list[float]:
    """Milliseconds of turns, one after the other."""
    took: list[float] = []
    while len(took) < count:
        began = time.monotonic()
        if quietly(data, "ask", ASK) is not None:
            took.append((time.monotonic() - began) * 1000)
    return took


def until(data: Path, model: str, began: float) -> float:
    """Seconds since `began` until a model is in use."""
    while True:
        status = quietly(data, "sync", {"action": "status"})
        if status is not None and status["in_use"]["llm"] == model:
            return time.monotonic() - began
        if status is not None and status["refused"]:
            raise SystemExit(f"refused: {status['refused']}")
        time.sleep(0.05)


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


def bundle(folder: Path, content: bytes) -> Path:
    """A bundle of one file that succeeds the small model."""
    folder.mkdir()
    (folder / "model.gguf").write_bytes(content)
    file = BundleFile("model.gguf", len(content), hashlib.sha256(content).hexdigest())
    trial = Trial((Question("What is the capital of France?", ("Paris",)),), right=1)
    manifest = Manifest("home", 1, "llm", "the small model", "Apache-2.0", (file,), 260, base=BASE, trial=trial)
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
