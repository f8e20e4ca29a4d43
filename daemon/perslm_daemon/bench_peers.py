"""The peers of the voice benchmark: wyoming-faster-whisper and -piper, driven as Home Assistant drives them.

They are installed by pip, at fixed versions, into an environment of their own in the cache folder: nothing of them
comes into ours. Spoken to in Wyoming's own lines of JSON; the same model files as ours, copied where they look.
"""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from perslm_daemon.broker import free_port
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import InputError

log = logging.getLogger("perslm.bench")

PINNED = ("wyoming-faster-whisper==3.8.1", "wyoming-piper==2.5.2")
_START_S = 90.0
_CHUNK_S = 0.03  # Home Assistant hands on 30 ms at a time
_HEARD = 32768 * 10 ** (-50.0 / 20)


@dataclass(frozen=True, slots=True)
class Peers:
    """Both services: where they listen on loopback."""

    stt_port: int
    tts_port: int

    def transcribe(self, clip: Pcm, silence_s: float) -> tuple[str, float]:
        """Stream a clip in real time, then silence; the text, and seconds from the clip's end to it."""
        with _connected(self.stt_port) as (connected, stream):
            form = {"rate": SPEECH_RATE_HZ, "width": 2, "channels": 1}
            _send(connected, "transcribe", {"language": "en"})
            _send(connected, "audio-start", form)
            quiet = np.zeros(round(silence_s * SPEECH_RATE_HZ), np.int16)
            whole = np.concatenate([clip.samples, quiet])
            step = round(_CHUNK_S * SPEECH_RATE_HZ)
            began = time.perf_counter()
            for start in range(0, len(whole), step):
                part = whole[start : start + step]
                due = began + (start + len(part)) / SPEECH_RATE_HZ
                time.sleep(max(0.0, due - time.perf_counter()))  # a microphone gives it when it was spoken
                _send(connected, "audio-chunk", form, part.astype("<i2").tobytes())
            _send(connected, "audio-stop", {})
            while True:
                kind, data, _ = _receive(stream)
                if kind == "transcript":
                    return str(data.get("text", "")), time.perf_counter() - began - clip.seconds

    def first_sound_s(self, text: str) -> float:
        """Seconds from the text to the first sample above -50 dBFS that arrives."""
        with _connected(self.tts_port) as (connected, stream):
            began = time.perf_counter()
            _send(connected, "synthesize", {"text": text})
            while True:
                kind, data, payload = _receive(stream)
                if kind == "audio-stop":
                    raise InputError("wyoming-piper said nothing")
                if kind != "audio-chunk":
                    continue
                arrived = time.perf_counter()
                samples = np.frombuffer(payload, "<i2")
                loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _HEARD)
                if len(loud):
                    return arrived - began + float(loud[0]) / int(data["rate"])


def described_s(port: int) -> float:
    """Seconds until a service on loopback says what it has, over a connection of its own as Home Assistant's."""
    began = time.perf_counter()
    with _connected(port) as (connected, stream):
        _send(connected, "describe", {})
        if _receive(stream)[0] != "info":
            raise InputError("the service does not say what it has")
    return time.perf_counter() - began


@contextmanager
def peers(cache: Path, whisper: Path, voice: Path, threads: int) -> Iterator[Peers]:
    """Both services on the same model files. Raises `InputError` when they cannot be had or do not start."""
    python = _environment(cache / "peers")
    voices = cache / "peers-voices"
    voices.mkdir(parents=True, exist_ok=True)
    name = voice.parent.name.removeprefix("piper-")
    for ending in (".onnx", ".onnx.json"):
        shutil.copyfile(voice.with_name(f"voice{ending}"), voices / f"{name}{ending}")
    stt_port, tts_port = free_port(), free_port()
    hears = ["wyoming_faster_whisper", "--model", str(whisper), "--language", "en", "--data-dir", str(cache)]
    hears += ["--beam-size", "1", "--compute-type", "int8", "--stt-library", "faster-whisper"]
    hears += ["--cpu-threads", str(threads), "--local-files-only"]
    speaks = ["wyoming_piper", "--voice", name, "--data-dir", str(voices), "--local-files-only"]
    commands = [
        [str(python), "-m", *service, "--uri", f"tcp://127.0.0.1:{port}"]
        for service, port in ((hears, stt_port), (speaks, tts_port))
    ]
    running = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for argv in commands]
    try:
        for process, port in zip(running, (stt_port, tts_port), strict=True):
            _wait_for(process, port)
        yield Peers(stt_port, tts_port)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def _environment(folder: Path) -> Path:
    """The interpreter of an environment that has the peers; made at the first time."""
    python = folder / "bin/python"
    done = folder / "installed.json"
    if done.is_file() and json.loads(done.read_text()) == list(PINNED):
        return python
    venv.create(folder, with_pip=True, clear=True)
    argv = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"the peers {', '.join(PINNED)} could not be installed by pip ({last})")
    done.write_text(json.dumps(PINNED))
    return python


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with _connected(port) as (connected, stream):
                _send(connected, "describe", {})
                if _receive(stream)[0] == "info":
                    return
        except (OSError, ValueError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise InputError(f"{process.args!r} does not start") from None
            time.sleep(0.1)


@contextmanager
def _connected(port: int) -> Iterator[tuple[socket.socket, BinaryIO]]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as connected,
        connected.makefile("rb") as stream,
    ):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connected, stream


def _send(connected: socket.socket, kind: str, data: Mapping[str, Any], payload: bytes = b"") -> None:
    head: dict[str, Any] = {"type": kind, "data": data}
    if payload:
        head["payload_length"] = len(payload)
    connected.sendall(json.dumps(head).encode() + b"\n" + payload)


def _receive(stream: BinaryIO) -> tuple[str, dict[str, Any], bytes]:
    head = json.loads(stream.readline())
    data = dict(head.get("data") or {})
    if head.get("data_length"):
        data |= json.loads(stream.read(head["data_length"]))
    payload = stream.read(head["payload_length"]) if head.get("payload_length") else b""
    return str(head["type"]), data, payload
