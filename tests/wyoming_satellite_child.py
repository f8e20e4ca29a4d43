"""A Wyoming satellite, in a process of its own: `python wyoming_satellite_child.py PORT`.

Reads commands, one JSON object a line: {"send": TYPE, "data": {...}}, {"stream": FILE} (raw 16 kHz sound, until a
transcript or an error comes), {"hang_up": true}. Tells every event it gets as a line, with the bytes of sound so
far, and "connected" and "gone". It says `played` after each audio-stop and answers pings.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from wyoming.audio import AudioChunk
from wyoming.event import Event, async_read_event, async_write_event
from wyoming.info import Attribution, Info, Satellite
from wyoming.ping import Pong
from wyoming.snd import Played

SAMPLES = 1024
ABOUT = Satellite(
    name="bench",
    attribution=Attribution("a test", "none"),
    installed=True,
    description="plays a satellite",
    version="1",
    area="Bedroom",
)


def tell(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Side:
    """The satellite's side; one server at a time."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.streaming: asyncio.Task[None] | None = None
        self.sounds = 0

    async def send(self, kind: str, data: dict[str, Any] | None = None, payload: bytes | None = None) -> None:
        if self.writer is not None:
            await async_write_event(Event(kind, data or {}, payload), self.writer)

    async def stream(self, sound: bytes) -> None:
        for start in range(0, len(sound), SAMPLES * 2):
            chunk = AudioChunk(16_000, 2, 1, sound[start : start + SAMPLES * 2]).event()
            await self.send(chunk.type, chunk.data, chunk.payload)
            await asyncio.sleep(SAMPLES / 16_000 / 1.5)  # twice as fast would be taken for a file

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        tell(what="connected")
        try:
            while (event := await async_read_event(reader)) is not None:
                await self.take(event)
        except ConnectionError:
            pass
        if self.streaming is not None:
            self.streaming.cancel()
        self.writer = None
        writer.close()
        tell(what="gone")

    async def take(self, event: Event) -> None:
        if event.type == "audio-chunk":
            self.sounds += len(event.payload or b"")
            return
        tell(what=event.type, data=event.data or {}, bytes=self.sounds)
        if event.type == "describe":
            about = Info(satellite=ABOUT).event()
            await self.send(about.type, about.data)
        elif event.type == "ping":
            await self.send("pong", Pong().event().data)
        elif event.type in {"transcript", "error"} and self.streaming is not None:
            self.streaming.cancel()
        elif event.type == "audio-stop":
            await self.send(Played().event().type)


def read(file: str) -> bytes:
    return Path(file).read_bytes()


async def main(port: str) -> None:
    side = Side()
    async with await asyncio.start_server(side.serve, "127.0.0.1", int(port)):
        while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
            command = json.loads(line)
            if "send" in command:
                await side.send(command["send"], command.get("data"))
            elif "stream" in command:
                side.streaming = asyncio.create_task(side.stream(read(command["stream"])))
            elif side.writer is not None:
                side.writer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
