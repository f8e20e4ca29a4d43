"""Home Assistant's side of Wyoming, in a process of its own with whatever version of the library its path has.

`python wyoming_child.py HOST PORT` reads steps, one JSON object a line, plays each in the exact order of events in
which Home Assistant sends them, and answers with one line: {"events": [...], ...}. Sound comes and goes as files
of raw samples.
"""

from __future__ import annotations

import asyncio
import json
import sys
from inspect import signature
from pathlib import Path
from typing import Any

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.handle import Handled, NotHandled
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeVoice
from wyoming.version import __version__

SAMPLES = 1024


def _read(name: str) -> bytes:
    return Path(name).read_bytes() if name else b""


def _write(name: str, sound: bytes) -> None:
    Path(name).write_bytes(sound)


async def describe(client: AsyncTcpClient, _step: dict[str, Any]) -> dict[str, Any]:
    await client.write_event(Describe().event())
    event = await client.read_event()
    assert event is not None
    info = Info.from_event(event)
    return {"version": __version__, "info": event.data, "asr": info.asr[0].name, "voices": len(info.tts[0].voices)}


async def transcribe(client: AsyncTcpClient, step: dict[str, Any]) -> dict[str, Any]:
    """As `stt.py`: the sound is sent while the answer is waited for, and the first to end ends it."""
    rate, width, channels = step.get("rate", 16_000), step.get("width", 2), step.get("channels", 1)
    sound = _read(step["sound"])
    if step.get("name", True):
        await client.write_event(Transcribe(language="en").event())
    await client.write_event(AudioStart(rate, width, channels).event())
    sent: list[str] = []

    async def upload() -> None:
        size = SAMPLES * width * channels
        for start in range(0, len(sound), size):
            piece = sound[start : start + size]
            await client.write_event(AudioChunk(rate, width, channels, piece).event())
            if step.get("live"):
                await asyncio.sleep(SAMPLES / rate)
        await client.write_event(AudioStop().event())
        sent.append("audio-stop")

    uploading = asyncio.create_task(upload())
    events: list[str] = []
    try:
        while True:
            event = await client.read_event()
            assert event is not None, "Connection lost"
            events.append(event.type)
            if Error.is_type(event.type):
                return {"events": events, "error": event.data}
            if Transcript.is_type(event.type):
                return {"events": events, "text": Transcript.from_event(event).text, "before_stop": not sent}
    finally:
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)


async def _sound(client: AsyncTcpClient, last: str, out: str | None) -> dict[str, Any]:
    events: list[str] = []
    formats: set[tuple[int, int, int]] = set()
    sound = b""
    while True:
        event = await client.read_event()
        assert event is not None, "Connection lost"
        if not events or events[-1] != event.type:
            events.append(event.type)
        if AudioChunk.is_type(event.type):
            chunk = AudioChunk.from_event(event)
            formats.add((chunk.rate, chunk.width, chunk.channels))
            sound += chunk.audio
        if event.type == last:
            break
    if out:
        _write(out, sound)
    return {"events": events, "formats": sorted(formats), "bytes": len(sound)}


async def synthesize(client: AsyncTcpClient, step: dict[str, Any]) -> dict[str, Any]:
    """As `tts.py` where nothing streams: until the first audio-stop."""
    voice = SynthesizeVoice(name=step["voice"]) if step.get("voice") else None
    await client.write_event(Synthesize(text=step["text"], voice=voice).event())
    return await _sound(client, "audio-stop", step.get("out"))


async def stream(client: AsyncTcpClient, step: dict[str, Any]) -> dict[str, Any]:
    """As `tts.py` where the voice streams: pieces, the whole once more, and until synthesize-stopped."""
    from wyoming.tts import SynthesizeChunk, SynthesizeStart, SynthesizeStop

    voice = SynthesizeVoice(name=step["voice"]) if step.get("voice") else None

    async def write() -> None:
        await client.write_event(SynthesizeStart(voice=voice).event())
        for piece in step["pieces"]:
            await client.write_event(SynthesizeChunk(text=piece).event())
        await client.write_event(Synthesize(text="".join(step["pieces"]), voice=voice).event())
        await client.write_event(SynthesizeStop().event())

    writing = asyncio.create_task(write())
    try:
        return await _sound(client, "synthesize-stopped", step.get("out"))
    finally:
        await writing


async def ask(client: AsyncTcpClient, step: dict[str, Any]) -> dict[str, Any]:
    """As `conversation.py`: the first `handled`, `not-handled` or `error` is the answer."""
    context = {"conversation_id": step["conversation"], "device_id": "abc", "satellite_id": "assist_satellite.x"}
    known = signature(Transcript).parameters  # older versions have fewer
    told = {name: value for name, value in {"context": context, "language": "en"}.items() if name in known}
    await client.write_event(Transcript(step["text"], **told).event())
    events: list[str] = []
    while True:
        event = await client.read_event()
        assert event is not None, "Connection lost"
        events.append(event.type)
        if Handled.is_type(event.type):
            return {"events": events, "text": Handled.from_event(event).text, "data": event.data}
        if NotHandled.is_type(event.type) or Error.is_type(event.type):
            return {"events": events, "error": event.data}


async def look_meanwhile(client: AsyncTcpClient, step: dict[str, Any]) -> dict[str, Any]:
    """As a home that looks again while an answer is written: over another connection, with its five seconds."""
    await client.write_event(Transcript(step["text"]).event())
    while (event := await client.read_event()) is not None and event.type != "handled-chunk":
        pass
    async with asyncio.timeout(5), AsyncTcpClient(*sys.argv[1:]) as other:
        about = await describe(other, {})
    try:
        async with asyncio.timeout(0.1):
            while (event := await client.read_event()) is not None and not Handled.is_type(event.type):
                pass
    except TimeoutError:
        return {**about, "still_written": True}
    return {**about, "still_written": False}


async def unknown(client: AsyncTcpClient, _step: dict[str, Any]) -> dict[str, Any]:
    await client.write_event(Event("select-program", {"name": "PersLM"}))
    await client.write_event(Event("of-tomorrow", {"deep": {"er": [1]}}, b"\0" * 5000))
    return await describe(client, {})


VERBS = {
    "describe": describe,
    "transcribe": transcribe,
    "synthesize": synthesize,
    "stream": stream,
    "ask": ask,
    "look_meanwhile": look_meanwhile,
    "unknown": unknown,
}


async def main(host: str, port: str) -> None:
    for line in sys.stdin:
        step = json.loads(line)
        async with AsyncTcpClient(
            host, int(port)
        ) as client:  # one connection per request, as Home Assistant has it
            told = await VERBS[step["do"]](client, step)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
