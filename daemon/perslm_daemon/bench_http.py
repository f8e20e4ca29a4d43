"""Benchmark of HTTP: what it adds to the first token, fifty chats at once, memory; beside llama-cpp-python.

Each side is a process of its own, asked by the same client in alternating rounds. llama-cpp-python's own server
takes part where what it needs is installed (`pip install 'llama-cpp-python[server]'`).
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perslm_daemon.bench_row import Row
from perslm_daemon.bench_tools import sandboxed_calls
from perslm_daemon.cli_session import Session
from perslm_daemon.config_sections import Config
from perslm_daemon.process import private_bytes
from perslm_daemon.stores import open_models
from perslm_runtime.errors import EngineError

_ROUNDS, _TOKENS = 15, 32
_CHATS, _CHAT_TOKENS = 50, 8
_WAIT_S = 120.0
_SETTLE_S = 3.0
_SYSTEM = "You are a helpful assistant. Your answers are short."
_NEEDED = ("uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")


def http_port(session: Session) -> list[Row]:
    """First token, whole reply, chats that wait, memory, and calls of tools."""
    config = session.config
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder, ExitStack() as stack:
        memory = _memory(config, Path(folder))
        ours = stack.enter_context(_daemon(config, Path(folder) / "measured", is_open=True))
        theirs = stack.enter_context(_peer(config)) if all(map(importlib.util.find_spec, _NEEDED)) else None
        return [*_streams(ours, theirs), *_queued(ours), memory, *sandboxed_calls()]


@dataclass(frozen=True, slots=True)
class _Side:
    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class _Streamed:
    """One streamed reply: ms to its first token and its end as the client saw it, and the daemon's own first."""

    first_ms: float
    total_ms: float
    own_first_ms: float


def _streams(ours: _Side, theirs: _Side | None) -> list[Row]:
    mine, peer = [], []
    for number in range(_ROUNDS + 1):
        question = f"What do you know about the number {number + 10}?"
        mine.append(_stream(ours, question))
        if theirs is not None:
            peer.append(_stream(theirs, question))
    mine, peer = mine[1:], peer[1:]  # the first of each read the system text
    added = statistics.median(one.first_ms - one.own_first_ms for one in mine)
    what = "llama-cpp-python's own server" if peer else "llama-cpp-python[server] is not installed"
    rows = [Row("http first token, added by HTTP", "ms", added, 10.0, "the most it may be")]
    for name, figure in (("first token", "first_ms"), (f"reply of {_TOKENS} tokens", "total_ms")):
        other = statistics.median(getattr(one, figure) for one in peer) if peer else None
        rows.append(
            Row(f"http {name}", "ms", statistics.median(getattr(one, figure) for one in mine), other, what)
        )
    return rows


def _queued(side: _Side) -> list[Row]:
    """Fifty chats at once, each asked again when it is told busy."""
    busy = [0]

    def one(number: int) -> bool:
        until = time.monotonic() + _WAIT_S
        while time.monotonic() < until:
            status, _ = _ask(side, f"Say the number {number}.", _CHAT_TOKENS)
            if status == 200:
                return True
            if status != 429:
                return False
            busy[0] += 1
            time.sleep(0.1)
        return False

    with ThreadPoolExecutor(_CHATS) as pool:
        answered = sum(pool.map(one, range(_CHATS)))
    return [
        Row(f"http chats answered of {_CHATS} at once", "chats", float(answered), float(_CHATS), "all of them"),
        Row("http told busy meanwhile", "times", float(busy[0]), None, "each with Retry-After"),
    ]


def _memory(config: Config, folder: Path) -> Row:
    """What the open port holds beside a daemon without it, each after one question."""
    held = []
    for name, is_open in (("without", False), ("with", True)):
        with _daemon(config, folder / name, is_open=is_open) as side:
            if is_open:
                _ask(side, "What is the capital of Italy?", _CHAT_TOKENS)
            time.sleep(_SETTLE_S)
            held.append(private_bytes(side.pid) / 1e6)
    return Row("http memory added", "MB", held[1] - held[0], 45.0, "the most it may be")


def _ask(side: _Side, question: str, tokens: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=_WAIT_S)
    try:
        connection.request("POST", "/v1/chat/completions", _body(question, tokens, stream=False), _HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


_HEADERS = {"Content-Type": "application/json"}


def _stream(side: _Side, question: str) -> _Streamed:
    connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=_WAIT_S)
    try:
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", _body(question, _TOKENS, stream=True), _HEADERS)
        answer = connection.getresponse()
        if answer.status != 200:
            raise EngineError(f"a chat was answered {answer.status}: {answer.read()[:200]!r}")
        first, own = 0.0, 0.0
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            told = json.loads(line[6:])
            own = told.get("timings", {}).get("first_token_ms") or own
            if not first and told["choices"] and told["choices"][0]["delta"].get("content"):
                first = (time.perf_counter() - began) * 1000
        return _Streamed(first, (time.perf_counter() - began) * 1000, own)
    finally:
        connection.close()


def _body(question: str, tokens: int, *, stream: bool) -> bytes:
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": question}]
    asked: dict[str, Any] = {"model": "perslm", "messages": messages, "max_tokens": tokens, "temperature": 0}
    return json.dumps({**asked, "stream": stream, "stream_options": {"include_usage": True}}).encode()


@contextmanager
def _daemon(config: Config, folder: Path, *, is_open: bool) -> Iterator[_Side]:
    settings = {
        "voice.enabled": "false",
        "embed.enabled": "false",
        "home.enabled": "false",
        "discovery.enabled": "false",
        "models_dir": str(config.models_dir),
        "model.id": config.model.id,
        "http.enabled": str(is_open).lower(),
        "http.port": "0",
        "http.per_minute": "100000",
    }
    flags = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    program = [sys.executable, "-c", "from perslm_daemon.cli import main; main()"]
    argv = [*program, "--json", "run", "--profile", config.profile, "--data-dir", str(folder), *flags]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            line = child.stdout.readline() if child.stdout is not None else ""
            if not line:
                raise EngineError("the daemon did not start: `perslm run` says why")
            url = json.loads(line)["http"]
            yield _Side(int(url.rpartition(":")[2]) if url else 0, child.pid)
        finally:
            child.terminate()
            child.wait(_WAIT_S)


@contextmanager
def _peer(config: Config) -> Iterator[_Side]:
    """llama-cpp-python's server on the same file, with as many threads and as long a context."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    model = config.model
    options = {
        "model": open_models(config).file(model.id),
        "port": port,
        "n_ctx": model.context_tokens,
        "n_threads": model.threads,
        "n_threads_batch": model.batch_threads,
        "n_batch": model.batch_tokens,
        "flash_attn": model.flash_attention,
    }
    argv = [sys.executable, "-m", "llama_cpp.server"]
    argv += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            side = _Side(port, child.pid)
            _wait_for(child, port)
            yield side
        finally:
            child.terminate()
            child.wait(_WAIT_S)


def _wait_for(child: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until and child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise EngineError("llama-cpp-python's server did not start: run `python -m llama_cpp.server --help`")
