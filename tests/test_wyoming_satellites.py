"""Wyoming satellites, each a process that speaks the protocol, driven by a daemon with real engines."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import numpy as np
import pytest
from anyio.abc import Process, SocketAttribute
from anyio.streams.text import TextReceiveStream

from perslm_daemon import engine_calls
from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.discovery import Found
from perslm_daemon.turn import Answered, Ask
from perslm_daemon.ways import Running
from perslm_daemon.wyoming_run import Engines
from perslm_daemon.wyoming_satellite import timer_event
from perslm_daemon.wyoming_satellites import Satellites, reachable
from perslm_daemon.wyoming_voice import voice_rate
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample
from recordings import SPHINX
from wyoming_house import ROOT, free_port, held, house, interrupted_turns, require_models

pytestmark = pytest.mark.anyio

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def words() -> np.ndarray[Any, np.dtype[np.int16]]:
    """Two seconds of a person saying "go forward ten meters", and silence."""
    require_models()
    if not SPHINX.is_dir():
        pytest.skip("the recordings are missing: run `apt-get install pocketsphinx-testdata`")
    said = np.frombuffer((SPHINX / "goforward.raw").read_bytes(), "<i2")
    return np.concatenate([said, np.zeros(SPEECH_RATE_HZ * 15, np.int16)]).astype(np.int16)


@pytest.fixture(scope="module")
async def shared(
    words: object, ports: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    places = ",".join(f"127.0.0.1:{port}" for port in ports)
    rooms = f"wyoming.rooms=127.0.0.1:{ports[1]}=Kitchen"
    async with house(tmp_path_factory.mktemp("house"), f"wyoming.satellites={places}", rooms) as running:
        yield running


@dataclass
class Side:
    """A satellite's process: what it was told, and what it does."""

    process: Process
    told: list[dict[str, Any]] = field(default_factory=list)
    news: anyio.Event = field(default_factory=anyio.Event)
    read: int = 0

    async def listen(self) -> None:
        rest = ""
        assert self.process.stdout is not None
        async for text in TextReceiveStream(self.process.stdout):
            *lines, rest = (rest + text).split("\n")
            self.told += [json.loads(line) for line in lines]
            self.news.set()
            self.news = anyio.Event()

    async def hear(self, what: str) -> dict[str, Any]:
        """The next event of that type; those before it are passed over."""
        with anyio.fail_after(PATIENCE_S):
            while True:
                while self.read < len(self.told):
                    self.read += 1
                    if self.told[self.read - 1]["what"] == what:
                        return self.told[self.read - 1]
                await self.news.wait()

    async def do(self, **command: object) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send(json.dumps(command).encode() + b"\n")

    async def run_pipeline(self, first: str, last: str, **more: object) -> None:
        data = {"start_stage": first, "end_stage": last, "restart_on_end": False, **more}
        await self.do(send="run-pipeline", data=data)

    def kinds(self, since: int = 0) -> list[str]:
        """The types of what it was told, without pings."""
        return [one["what"] for one in self.told[since:] if one["what"] not in {"ping", "pong"}]


@asynccontextmanager
async def satellite(port: int) -> AsyncIterator[Side]:
    argv = [sys.executable, str(ROOT / "tests/wyoming_satellite_child.py"), str(port)]
    async with await anyio.open_process(argv, stderr=None) as process, anyio.create_task_group() as tasks:
        side = Side(process)
        tasks.start_soon(side.listen)
        try:
            yield side
        finally:
            process.terminate()
            tasks.cancel_scope.cancel()


async def spoken(running: Running, text: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    voice = running.assistant.parts.tts
    assert voice is not None
    async with voice.stream(engine_calls.speak, text) as sounds:
        pieces = [sound async for sound in sounds]
    whole = Pcm(np.concatenate([piece.samples for piece in pieces]), pieces[0].rate_hz)
    return resample(whole, SPEECH_RATE_HZ).samples


def states(running: Running) -> list[str]:
    return sorted(running.bulletin.current().get("satellites", {}).values())


async def test_satellites_are_driven_as_home_assistant_drives_them(
    shared: Running, ports: tuple[int, int], words: Any, tmp_path: Path
) -> None:
    """One that hears its wake word itself, and at the same time one whose wake word is heard here."""
    await anyio.Path(tmp_path / "words.raw").write_bytes(words.tobytes())
    nabu = np.concatenate([np.zeros(8000, np.int16), await spoken(shared, "Okay Nabu."), np.zeros(4000, np.int16)])
    await anyio.Path(tmp_path / "wake.raw").write_bytes(np.concatenate([nabu, words]).astype(np.int16).tobytes())
    rooms, answering = list[str](), shared.assistant.pipeline.skills
    assert answering is not None

    async def noting(ask: Ask) -> Answered | None:
        rooms.append(ask.area)
        return await answering(ask)

    shared.assistant.pipeline.skills = noting
    async with satellite(ports[0]) as own, satellite(ports[1]) as ours:
        for side in (own, ours):
            await side.hear("run-satellite")
            assert side.kinds() == ["connected", "describe", "run-satellite"]
        await own.do(send="detection", data={"name": "hey_jarvis"})
        await own.run_pipeline("asr", "tts")
        await own.do(stream=str(tmp_path / "words.raw"))
        await ours.run_pipeline("wake", "tts")
        await ours.do(stream=str(tmp_path / "wake.raw"))
        for side in (own, ours):
            heard = await side.hear("transcript")
            assert "meters" in heard["data"]["text"].lower()
            stopped = await side.hear("audio-stop")
            assert stopped["bytes"] > 22_050, "more than half a second of answer"
        begun = ["connected", "describe", "run-satellite"]
        asked = ["transcribe", "voice-started", "voice-stopped", "transcript", "synthesize", "audio-start"]
        assert own.kinds()[:9] == [*begun, *asked]
        assert ours.kinds()[:11] == [*begun, "detect", "detection", *asked]
        detected = next(one for one in ours.told if one["what"] == "detection")
        assert detected["data"]["name"] == "okay_nabu"
        started = next(one for one in own.told if one["what"] == "audio-start")
        assert (started["data"]["rate"], started["data"]["width"], started["data"]["channels"]) == (22_050, 2, 1)
        with anyio.fail_after(PATIENCE_S):
            while states(shared) != ["idle", "idle"]:  # noqa: ASYNC110 - values tell nobody
                await anyio.sleep(0.02)
    shared.assistant.pipeline.skills = answering
    assert sorted(rooms) == ["Bedroom", "Kitchen"], "as it tells itself, and as it is configured"
    memory = shared.assistant.parts.memory
    assert memory is not None
    turns = await memory.call(lambda store, _stop: store.list("turn"))
    finished = [turn.person for turn in turns if not turn.interrupted]
    assert finished == [shared.config.person] * 2, "a configured satellite is the owner's"


async def test_an_announcement_a_timer_and_a_reconnection(shared: Running, ports: tuple[int, int]) -> None:
    async with satellite(ports[0]) as side:
        await side.hear("run-satellite")
        await side.run_pipeline("tts", "tts", announce_text="Dinner.")
        assert (await side.hear("synthesize"))["data"]["text"] == "Dinner."
        assert (await side.hear("audio-stop"))["bytes"] > 8_000
        shared.bulletin.tell("timer_started", id="7", kind="timer", name="tea", seconds=180)
        started = await side.hear("timer-started")
        assert started["data"] == {"id": "7", "total_seconds": 180, "name": "tea"}
        shared.bulletin.tell("timer_ringing", id="7", kind="timer", name="tea", seconds=180)
        assert (await side.hear("timer-finished"))["data"] == {"id": "7"}
        await side.do(send="ping", data={"text": "x"})
        assert (await side.hear("pong"))["data"]["text"] == "x"
        await side.run_pipeline("handle", "tts")
        assert (await side.hear("error"))["data"]["code"] == "invalid"
        await side.do(hang_up=True)
        await side.hear("gone")
        await side.hear("run-satellite")


async def engines_of(running: Running) -> Engines:
    assistant = running.assistant
    parts = assistant.parts
    assert assistant.vad is not None
    assert parts.stt is not None
    assert parts.tts is not None
    rate_hz = await parts.tts.call(voice_rate)
    return Engines(assistant.vad, parts.stt, parts.tts, None, (), rate_hz, "en", held(running.table.turn))


def found_at(port: int) -> Found:
    return Found("attic", "attic.local", ("127.0.0.1",), port, MappingProxyType({}))


async def test_a_found_one_asks_as_a_guest_and_takes_its_turn_with_it_when_it_goes(
    shared: Running, words: Any, tmp_path: Path
) -> None:
    port = free_port()
    await anyio.Path(tmp_path / "words.raw").write_bytes(words.tobytes())

    async def find() -> list[Found]:
        return [found_at(port)]

    engines = await engines_of(shared)
    satellites = Satellites(engines, Bulletin(), [], person="owner", find=find, look_every_s=0.1)
    async with satellite(port) as side, anyio.create_task_group() as tasks:
        tasks.start_soon(satellites.run)
        await side.hear("run-satellite")
        await side.run_pipeline("asr", "tts")
        await side.do(stream=str(tmp_path / "words.raw"))
        await side.hear("synthesize")
        await side.do(hang_up=True)
        await side.hear("gone")
        await side.hear("run-satellite")  # found again, it is connected to again
        assert await interrupted_turns(shared) == [], "a guest leaves nothing on the disk"
        guests = shared.assistant.pipeline.recollection.guests
        assert len(guests.conversations) == 1
        assert shared.bulletin.current()["activity"] == "idle"
        tasks.cancel_scope.cancel()


async def test_a_service_that_is_no_satellite_is_left_alone(shared: Running) -> None:
    asked = 0

    async def serve(stream: Any) -> None:
        nonlocal asked
        asked += 1
        async with stream:
            await stream.receive()
            await stream.send(b'{"type": "info"}\n')
            await anyio.sleep(0.05)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no database here
        looked = anyio.Event()
        rounds = 0

        async def find() -> list[Found]:
            nonlocal rounds
            rounds += 1
            if rounds == 8:
                looked.set()
            return [found_at(port)]

        satellites = Satellites(
            await engines_of(shared), Bulletin(), [], person="owner", find=find, look_every_s=0.05
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            tasks.start_soon(satellites.run)
            with anyio.fail_after(PATIENCE_S):
                await looked.wait()
            tasks.cancel_scope.cancel()
    assert asked == 1


def test_a_timer_is_told_in_wyomings_words() -> None:
    def told(event_type: str, **fields: object) -> tuple[str, dict[str, Any]] | None:
        event = timer_event(Happening(event_type, {"id": "3", "kind": "timer", "seconds": 60, **fields}))
        return None if event is None else (event.event().type, event.event().data)

    assert told("timer_started", name="") == ("timer-started", {"id": "3", "total_seconds": 60})
    paused = {"id": "3", "is_active": False, "total_seconds": 40}
    assert told("timer_updated", state="paused", seconds_left=40) == ("timer-updated", paused)
    assert told("timer_cancelled") == ("timer-cancelled", {"id": "3"})
    assert told("timer_ringing") == ("timer-finished", {"id": "3"})
    assert told("timer_finished") is None, "somebody has ended the ringing"
    assert told("timer_started", kind="alarm") is None
    assert told("heard") is None


def test_what_is_found_without_an_address_is_not_connected_to() -> None:
    nothing: MappingProxyType[str, str] = MappingProxyType({})
    assert reachable(Found("a", "a.local", (), 10_700, nothing)) is None
    assert reachable(Found("a", "a.local", ("192.0.2.7", "fd00::1"), 10_700, nothing)) == ("192.0.2.7", 10_700)
