"""Benchmark of the MQTT way in: the running daemon beside a bare echo client of paho, on one mosquitto.

Each side is a process of its own, as in a house; the client that asks is the same for both and asks in alternating
rounds. Leaves nothing behind: broker, daemon and memory live in a temporary folder.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from perslm_daemon import bench_echo
from perslm_daemon.bench_row import Row
from perslm_daemon.broker import Own, own_broker
from perslm_daemon.cli_session import Session
from perslm_daemon.config_sections import Config
from perslm_daemon.process import cpu_seconds, resident_bytes
from perslm_runtime.errors import EngineError

_ANSWERS = "perslm/_clients/bench"
_STATUS = "perslm/bench/request/status"
_WAIT_S = 30.0
_ROUNDS, _PER_ROUND = 20, 100
_RATE, _RATE_S = 1000, 30
_FEW, _MANY = 1_000, 100_000
_AT_ONCE = 64
_IDLE_S = 20.0
_QUESTIONS = (
    "What is the capital of Italy?",
    "Why is the sky blue?",
    "What do bees make?",
    "How many legs has a spider?",
    "What is the largest animal in the ocean?",
)


def mqtt(session: Session) -> list[Row]:
    """Request to response, a thousand a second, memory, idle processor time, and what MQTT adds to an ask."""
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder:
        return anyio.run(_mqtt, session.config, Path(folder))


async def _mqtt(config: Config, folder: Path) -> list[Row]:
    async with own_broker(folder) as own:
        return await anyio.to_thread.run_sync(_measure, config, folder, own)


def _measure(config: Config, folder: Path, own: Own) -> list[Row]:
    host, port, url = own.host, own.port, f"mqtt://{own.host}:{own.port}"
    with _daemon(config, folder, url) as pid, _echo(host, str(port)), _asking(host, port) as client:
        for topic in (_STATUS, bench_echo.TOPIC):
            client.one_by_one(topic, _PER_ROUND)
        rows = _one_by_one(client)
        rows += _under_load(client)
        rows.append(_added_to_an_ask(client))
        rows.append(_growth(client, pid))
        rows.append(_idle(pid))
    return rows


def _one_by_one(client: _Asking) -> list[Row]:
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        ours += client.one_by_one(_STATUS, _PER_ROUND)
        theirs += client.one_by_one(bench_echo.TOPIC, _PER_ROUND)
    return [
        Row(
            f"status, request to response, p{p}",
            "ms",
            _percentile(ours, p),
            _percentile(theirs, p),
            f"a bare paho echo ({len(theirs)} requests each, in alternating rounds)",
        )
        for p in (50, 99)
    ]


def _under_load(client: _Asking) -> list[Row]:
    ours = client.steadily(_STATUS, _RATE, _RATE_S)
    theirs = client.steadily(bench_echo.TOPIC, _RATE, _RATE_S)
    asked = _RATE * _RATE_S
    return [
        Row(f"answered once of {asked} at {_RATE}/s, QoS 1", "", ours.once, theirs.once, "the echo"),
        Row("lost or doubled of them", "", asked - ours.once, asked - theirs.once, "the echo"),
        Row(f"p99 at {_RATE}/s", "ms", ours.p99_ms, theirs.p99_ms, "the echo"),
    ]


def _added_to_an_ask(client: _Asking) -> Row:
    added = [client.added_ms("perslm/bench/request/ask", text) for text in _QUESTIONS]
    return Row("MQTT adds from ask to first sentence", "ms", statistics.median(added), 5.0, "the most it may add")


def _growth(client: _Asking, pid: int) -> Row:
    client.at_once(_STATUS, _FEW)
    before = resident_bytes(pid)
    client.at_once(_STATUS, _MANY - _FEW)
    grown = (resident_bytes(pid) - before) / 1e6
    return Row(f"memory grown from {_FEW} to {_MANY} requests", "MB", grown, 3.0, "the most it may grow")


def _idle(pid: int) -> Row:
    before = cpu_seconds(pid)
    time.sleep(_IDLE_S)
    percent = 100 * (cpu_seconds(pid) - before) / _IDLE_S
    return Row("idle, without voice", "% of a core", percent, 1.0, "the most it may use")


def _percentile(times_ms: list[float], percent: int) -> float:
    ordered = sorted(times_ms)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


@contextlib.contextmanager
def _daemon(config: Config, folder: Path, url: str) -> Iterator[int]:
    """The real daemon as a process, without voice; gives its pid once it is online."""
    settings = {
        "mqtt.broker": url,
        "node": "bench",
        "voice.enabled": "false",
        "discovery.enabled": "false",
        "models_dir": str(config.models_dir),
        "model.id": config.model.id,
        "model.threads": str(config.model.threads),
    }
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    program = [sys.executable, "-c", "from perslm_daemon.cli import main; main()", "--json", "run"]
    with subprocess.Popen(
        [*program, "--profile", config.profile, "--data-dir", str(folder / "data"), *sets],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        try:
            if child.stdout is None or '"online"' not in child.stdout.readline():
                raise EngineError("the daemon to be measured did not start: run `perslm doctor`")
            yield child.pid
        finally:
            child.terminate()


@contextlib.contextmanager
def _echo(host: str, port: str) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-m", bench_echo.__name__, host, port], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            if child.stdout is None or "ready" not in child.stdout.readline():
                raise EngineError("the echo client did not start")
            yield
        finally:
            child.terminate()


@dataclass(frozen=True, slots=True)
class _Load:
    """What came of steady requests: how many were answered exactly once, and how late the slowest were."""

    once: int
    p99_ms: float


@contextlib.contextmanager
def _asking(host: str, port: int) -> Iterator[_Asking]:
    client = _Asking(host, port)
    try:
        yield client
    finally:
        client.close()


class _Asking:
    """The client that asks: answers are told apart by their Correlation Data."""

    def __init__(self, host: str, port: int) -> None:
        self._next = 0
        self._sent: dict[bytes, float] = {}
        self._taken: Counter[bytes] = Counter()
        self._times_ms: list[float] = []
        self._sentences: list[float] = []
        self._last_payload = b""
        self._arrived = threading.Semaphore(0)
        self._listens = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(2000)
        self._client.on_message = self._take
        self._client.on_subscribe = lambda *_: self._listens.set()
        self._client.on_socket_open = bench_echo.without_delay
        self._client.connect(host, port)
        self._client.loop_start()
        self._client.subscribe([(_ANSWERS, 1), ("perslm/bench/reply/+", 1)])
        self._waited(self._listens.wait(_WAIT_S))

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def one_by_one(self, topic: str, count: int) -> list[float]:
        """Milliseconds from each request to its answer, the next sent when the last is there."""
        self._forget()
        for _ in range(count):
            self._ask(topic)
            self._waited(self._arrived.acquire(timeout=_WAIT_S))
        return list(self._times_ms)

    def at_once(self, topic: str, count: int) -> None:
        """Send `count` requests with at most so many under way."""
        self._forget()
        for number in range(count):
            self._ask(topic)
            if number >= _AT_ONCE:
                self._waited(self._arrived.acquire(timeout=_WAIT_S))
        for _ in range(min(count, _AT_ONCE)):
            self._waited(self._arrived.acquire(timeout=_WAIT_S))

    def steadily(self, topic: str, per_s: int, seconds: int) -> _Load:
        """Send at a fixed rate whether or not answers come; then wait for the last, and a moment for doubles."""
        self._forget()
        began = time.monotonic()
        for number in range(per_s * seconds):
            wait = began + number / per_s - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self._ask(topic)
        deadline = time.monotonic() + _WAIT_S
        while len(self._taken) < per_s * seconds and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        return _Load(sum(times == 1 for times in self._taken.values()), _percentile(self._times_ms, 99))

    def added_ms(self, topic: str, text: str) -> float:
        """Milliseconds from an ask to its first sentence here, less those that the daemon's own turn took."""
        self._forget()
        self._sentences.clear()
        asked = time.perf_counter()
        self._ask(topic, text.encode())
        self._waited(self._arrived.acquire(timeout=_WAIT_S))
        answer = json.loads(self._last_payload)
        own = answer.get("data", {}).get("timings_ms", {}).get("first_sentence")
        if not self._sentences or own is None:
            raise EngineError(f"the daemon did not answer in sentences: {answer.get('error', '')}")
        return (self._sentences[0] - asked) * 1000 - float(own)

    def _ask(self, topic: str, payload: bytes = b"") -> None:
        self._next += 1
        correlation = self._next.to_bytes(8, "big")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho gives it no types
        properties.ResponseTopic = _ANSWERS
        properties.CorrelationData = correlation
        self._sent[correlation] = time.perf_counter()
        self._client.publish(topic, payload, 1, False, properties)

    def _take(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        now = time.perf_counter()
        if message.topic != _ANSWERS:
            self._sentences.append(now)
            return
        correlation = getattr(message.properties, "CorrelationData", b"")
        if correlation not in self._sent:
            return  # of a round before
        self._times_ms.append((now - self._sent[correlation]) * 1000)
        self._taken[correlation] += 1
        self._last_payload = bytes(message.payload)
        self._arrived.release()

    def _forget(self) -> None:
        self._sent, self._times_ms = {}, []
        self._taken.clear()
        self._arrived = threading.Semaphore(0)

    @staticmethod
    def _waited(there: bool) -> None:
        if not there:
            raise EngineError(f"no answer came over MQTT for {_WAIT_S:g} s: run `perslm doctor`")
