"""Wyoming's services as Home Assistant uses them, over real engines; and what hostile clients cannot do."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perslm_daemon import outbox, wyoming, wyoming_wire
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config import Flags, load
from perslm_daemon.config_sections import Wyoming, keys
from perslm_daemon.turn import GUEST, Ask, Tell, Turn
from perslm_daemon.ways import Running
from perslm_daemon.wyoming_access import Access
from perslm_daemon.wyoming_handle import AskTurn
from perslm_daemon.wyoming_hearing import (
    SENSITIVITY,
    Ending,
    Hearing,
    Patience,
    Raw,
    roughly_resampled,
)
from perslm_daemon.wyoming_voice import require_voice
from perslm_daemon.wyoming_wire import Error, Event, Wire
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, resample
from perslm_runtime.errors import ConfigError, InputError
from perslm_runtime.vad import FRAME_S
from recordings import SPHINX
from wyoming_house import ROOT, free_port, held, house, old_library, play, require_models

pytestmark = pytest.mark.anyio

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def models() -> None:
    require_models()


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module", autouse=True)
def clips(clip: Path) -> None:
    """Read before the loop runs: in it, reading blocks."""


@pytest.fixture(scope="module")
async def shared(models: None, port: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("wyoming")
    async with house(folder, "wyoming.allow=127.0.0.1", f"wyoming.port={port}") as running:
        yield running


@cache
def go_forward() -> Pcm:
    """Two seconds of a person saying "go forward ten meters", with some silence around."""
    if not SPHINX.is_dir():
        pytest.skip("the recordings are missing: run `apt-get install pocketsphinx-testdata`")
    return Pcm(np.frombuffer((SPHINX / "goforward.raw").read_bytes(), "<i2").astype(np.int16), SPEECH_RATE_HZ)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("clips") / "goforward.raw"
    file.write_bytes(go_forward().samples.tobytes())
    return file


# As Home Assistant


@pytest.mark.parametrize("version", ["installed", "old"])
async def test_home_assistant_can_use_ears_mouth_and_mind(
    shared: Running, port: int, clip: Path, tmp_path: Path, version: str
) -> None:
    library = await anyio.to_thread.run_sync(old_library) if version == "old" else None
    sound = tmp_path / "spoken.raw"
    steps: list[dict[str, Any]] = [
        {"do": "describe"},
        {"do": "transcribe", "sound": str(clip)},
        {"do": "synthesize", "text": "The window is **open**.", "voice": "joe", "out": str(sound)},
        {"do": "ask", "text": "What is the capital of France?", "conversation": f"c-{version}"},
        {"do": "unknown"},
    ]
    about, heard, said, answer, after_unknown = await play(port, steps, library)
    assert about["asr"] == f"PersLM {shared.config.node}"
    assert about["voices"] == 1
    assert (library is None) != (about["version"] == "1.5.2")
    assert "meters" in heard["text"].lower()
    assert said["events"] == ["audio-start", "audio-chunk", "audio-stop"]
    assert said["formats"] == [[22_050, 2, 1]]
    assert "Paris" in answer["text"]
    assert answer["events"][:2] == ["handled-start", "handled-chunk"]
    if library is None:  # the old version cannot name a conversation
        assert answer["data"]["context"] == {"conversation_id": "c-installed"}
    assert after_unknown["info"] == about["info"]
    (again,) = await play(port, [{"do": "transcribe", "sound": str(sound), "rate": 22_050}], library)
    assert "window" in again["text"].lower()


async def test_the_info_is_complete_and_has_no_satellite(shared: Running, port: int) -> None:
    (about,) = await play(port, [{"do": "describe"}])
    info = about["info"]
    assert "satellite" not in info
    assert {kind for kind in info if info[kind]} == {"asr", "tts", "handle"}
    programs = [info[kind][0] for kind in ("asr", "tts", "handle")]
    models = [info["asr"][0]["models"][0], info["tts"][0]["voices"][0], info["handle"][0]["models"][0]]
    for one in (*programs, *models):
        assert one["name"]
        assert one["installed"] is True
        assert set(one["attribution"]) == {"name", "url"}
        assert {"description", "version"} <= set(one)
    assert [one["languages"] for one in models] == [["en"], ["en_US"], ["en"]]
    assert info["asr"][0]["requires_external_vad"] is False, "the end of speech is heard here"
    assert info["tts"][0]["supports_synthesize_streaming"] is True
    assert info["handle"][0]["supports_home_control"] is False


async def test_a_text_in_pieces_is_spoken_sentence_by_sentence_and_ends_with_stopped(
    shared: Running, port: int, tmp_path: Path
) -> None:
    out = tmp_path / "sound.raw"
    pieces = ["The kettle ", "is on. The", " window is ", "open"]
    told, nothing, wrong = await play(
        port,
        [
            {"do": "stream", "pieces": pieces, "out": str(out)},
            {"do": "stream", "pieces": ["**", "…"]},
            {"do": "stream", "pieces": pieces, "voice": "marvin"},
        ],
    )
    run = ["audio-start", "audio-chunk", "audio-stop"]
    assert told["events"] == [*run, *run, "synthesize-stopped"], "the legacy synthesize was not spoken too"
    assert told["formats"] == [[22_050, 2, 1]]
    assert nothing["events"] == ["synthesize-stopped"]
    assert wrong["events"] == ["error", "synthesize-stopped"]


async def test_silence_is_answered_with_an_empty_transcript(shared: Running, port: int, tmp_path: Path) -> None:
    silence = tmp_path / "silence.raw"
    await anyio.Path(silence).write_bytes(bytes(32_000))
    noise = tmp_path / "noise.raw"
    await anyio.Path(noise).write_bytes((np.random.default_rng(7).normal(0, 300, 32_000)).astype("<i2").tobytes())
    answers = await play(
        port,
        [
            {"do": "transcribe", "sound": str(silence)},
            {"do": "transcribe", "sound": str(noise)},
            {"do": "transcribe", "sound": ""},
        ],
    )
    assert [answer["text"] for answer in answers] == ["", "", ""]


@pytest.mark.parametrize(
    ("rate", "width", "channels"), [(48_000, 2, 2), (44_100, 4, 1), (8_000, 1, 1), (22_050, 3, 2)]
)
async def test_sound_of_any_form_is_understood(
    shared: Running, port: int, tmp_path: Path, rate: int, width: int, channels: int
) -> None:
    file = tmp_path / "sound.raw"
    await anyio.Path(file).write_bytes(as_bytes(resample(go_forward(), rate), width, channels))
    step = {"do": "transcribe", "sound": str(file), "rate": rate, "width": width, "channels": channels}
    (heard,) = await play(port, [step])
    assert "meters" in heard["text"].lower()


def as_bytes(pcm: Pcm, width: int, channels: int) -> bytes:
    wide = np.repeat(pcm.samples.astype("<i4") << 16, channels)
    if width == 1:
        return ((wide >> 24) + 128).astype(np.uint8).tobytes()
    return wide.view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()


async def test_the_end_of_live_speech_is_heard_before_audio_stop(
    shared: Running, port: int, tmp_path: Path
) -> None:
    file = tmp_path / "live.raw"
    speech = go_forward().samples
    await anyio.Path(file).write_bytes(np.concatenate([speech, np.zeros(SPEECH_RATE_HZ * 20, np.int16)]).tobytes())
    (heard,) = await play(port, [{"do": "transcribe", "sound": str(file), "live": True}])
    assert heard["before_stop"] is True
    assert "meters" in heard["text"].lower()


async def test_a_file_with_a_pause_is_heard_to_its_end(shared: Running, port: int, tmp_path: Path) -> None:
    file = tmp_path / "two.raw"
    speech = go_forward().samples
    await anyio.Path(file).write_bytes(
        np.concatenate([speech, np.zeros(SPEECH_RATE_HZ * 2, np.int16), speech]).tobytes()
    )
    (heard,) = await play(port, [{"do": "transcribe", "sound": str(file)}])
    assert heard["text"].lower().count("meters") == 2


# Guests


async def test_what_the_owner_told_is_never_recalled_for_a_guest(shared: Running) -> None:
    question = "What is the code of the alarm?"
    turns: list[Turn] = []

    async def turn(ask: Ask, tell: Tell) -> Turn:
        turns.append(await shared.table.turn(ask, tell))
        return turns[-1]

    await shared.assistant.pipeline.recollection.remember(
        "The code of the alarm is four nine seven one.", shared.config.person
    )
    owner = await shared.table.turn(Ask(question, person=shared.config.person), ignore)
    assert "four nine seven one" in " ".join(memory.text for memory in owner.recalled)
    async with served(turn) as (number, _):
        for conversation in ("spy", owner.id, ""):
            async with connected(number) as client:
                client.send("transcript", text=question, context={"conversation_id": conversation})
                answer = await client.until("handled")
            assert "four nine" not in answer.data["text"].lower()
            assert "4971" not in answer.data["text"]
    assert len(turns) == 3
    assert all("four nine" not in memory.text for turn in turns for memory in turn.recalled)


async def ignore(_event: object) -> None:
    pass


@asynccontextmanager
async def served(
    turn: AskTurn, allow: str = "127.0.0.1", info: Event | None = None
) -> AsyncIterator[tuple[int, Bulletin]]:
    """A port of its own with that mind alone."""
    bulletin = Bulletin()
    offered = wyoming.Services(info or Event("info"), turn, None, None)
    async with anyio.create_task_group() as tasks:
        port = wyoming.WyomingPort("127.0.0.1", 0, Access((allow,)), offered, bulletin)
        number: int = await tasks.start(port.serve)
        yield number, bulletin
        tasks.cancel_scope.cancel()


async def test_a_conversation_goes_on_under_its_id_and_under_no_other(shared: Running, port: int) -> None:
    async def said(conversation: str, text: str) -> None:
        async with connected(port) as client:
            client.send("transcript", text=text, context={"conversation_id": conversation})
            await client.until("handled")

    await said("first", "My favourite colour is green.")
    await said("second", "Hello.")
    await said("first", "What did I say?")
    turns = shared.assistant.pipeline.recollection.guests.recent("first")
    assert [said for said, _ in turns] == ["My favourite colour is green.", "What did I say?"]
    memory = shared.assistant.parts.memory
    assert memory is not None
    people = await memory.call(lambda store, _stop: [one.name for one in store.people()])
    assert GUEST not in people, "a guest leaves nothing on the disk"


# Many clients, slow clients, clients that vanish, hostile clients


class Client:
    """A client that is not polite: it sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, kind: str, payload: bytes = b"", **data: object) -> None:
        self.writer.write(wyoming_wire.encoded(Event(kind, dict(data), payload or None)))

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    async def event(self) -> Event | None:
        with anyio.fail_after(PATIENCE_S):
            line = await self.reader.readline()
            if not line:
                return None
            header = json.loads(line)
            data = json.loads(await self.reader.readexactly(header.get("data_length", 0)) or b"{}")
            payload = await self.reader.readexactly(header.get("payload_length", 0))
            return Event(header["type"], data, payload or None)

    async def until(self, kind: str) -> Event:
        while (event := await self.event()) is not None:
            if event.type == kind:
                return event
        raise AssertionError(f"the connection was closed before {kind}")


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with anyio.move_on_after(5):
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def holds(what: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not what():  # noqa: ASYNC110 - what is waited for tells nobody
            await anyio.sleep(0.02)


async def test_describe_is_answered_at_once_while_the_model_runs(shared: Running, port: int) -> None:
    async with connected(port) as asking:
        asking.send("transcript", text="Tell me about the moon.")
        asking.send("describe")
        first = await asking.event()
        assert first is not None
        assert first.type == "info", "the model has begun, and describe did not wait for it"
        await asking.until("handled")


async def test_describe_is_answered_on_another_connection_while_a_turn_goes_on(shared: Running) -> None:
    async with served(held(shared.table.turn)) as (number, _), connected(number) as asking:
        asking.send("transcript", text="Tell me about the moon.")
        await asking.until("handled-chunk")
        async with connected(number) as other:
            other.send("describe")
            await other.until("info")
        asking.send("describe")
        assert (await asking.until("info")).type == "info"


@pytest.mark.parametrize("version", ["installed", "old"])
async def test_home_assistant_finds_everything_in_its_time_while_the_model_is_not_done(
    shared: Running, port: int, version: str
) -> None:
    library = await anyio.to_thread.run_sync(old_library) if version == "old" else None
    (about,) = await play(port, [{"do": "describe"}])
    async with served(held(shared.table.turn), info=Event("info", about["info"])) as (number, _):
        (found,) = await play(number, [{"do": "look_meanwhile", "text": "Tell me about the moon."}], library)
    assert found["still_written"]
    assert found["info"] == about["info"]


async def test_a_job_that_never_began_gives_its_place_back(shared: Running, port: int) -> None:
    """Speech that waits behind a question, from a client that goes: more often than there are places."""
    for _ in range(6):
        async with connected(port) as client:
            client.send("synthesize-start")
            client.send("audio-start", rate=16_000, width=2, channels=1)
            client.send("ping")
            await client.until("pong")
    await holds(lambda: shared.bulletin.current()["wyoming"]["clients"] == 0)
    async with connected(port) as client:
        client.send("transcribe")
        client.send("audio-start", rate=16_000, width=2, channels=1)
        client.send("audio-stop")
        event = await client.event()
        assert event is not None
        assert (event.type, event.data["text"]) == ("transcript", "")


async def test_too_many_speakers_are_told_busy(shared: Running, port: int) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(port)) for _ in range(5)]
        for client in clients:
            client.send("audio-start", rate=16_000, width=2, channels=1)
            client.send("ping")
        answers = [await client.event() for client in clients]
        kinds = sorted(answer.type for answer in answers if answer is not None)
        assert kinds == ["error", "pong", "pong", "pong", "pong"]
        assert [answer.data["code"] for answer in answers if answer is not None and answer.type == "error"] == [
            "busy"
        ]


async def test_several_clients_are_served_at_once_and_one_too_many_is_told_busy(
    shared: Running, port: int
) -> None:
    clients = []
    async with anyio.create_task_group() as tasks:
        for number in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            clients.append(client := Client(reader, writer))
            client.send("transcript", text="Tell me about the sea.", context={"conversation_id": f"n{number}"})
        ends: list[str] = []

        async def end(client: Client) -> None:
            while (event := await client.event()) is not None:
                if event.type in {"handled", "error"}:
                    ends.append(event.data.get("code", event.type))
                    break
            client.writer.close()

        for client in clients:
            tasks.start_soon(end, client)
    assert sorted(ends) == ["busy", "busy", "handled", "handled", "handled"]


async def test_a_client_that_vanishes_takes_its_turn_with_it(shared: Running) -> None:
    async with served(held(shared.table.turn)) as (number, bulletin):
        async with connected(number) as client:
            client.send("transcript", text="What is the capital of Spain?", context={"conversation_id": "gone"})
            await client.until("handled-chunk")
        await holds(lambda: bulletin.current()["wyoming"]["clients"] == 0)
    said = shared.assistant.pipeline.recollection.guests.recent("gone")
    assert [question for question, _ in said] == ["What is the capital of Spain?"], "it was said, and is over"
    assert shared.bulletin.current()["activity"] == "idle"


@pytest.mark.parametrize("begun", ["audio", "text", "header", "payload"])
async def test_a_client_that_vanishes_in_mid_anything_leaves_no_task(
    shared: Running, port: int, begun: str
) -> None:
    values = shared.bulletin.current
    await holds(lambda: values()["wyoming"]["clients"] == 0)
    before = len(asyncio.all_tasks())
    async with connected(port) as client:
        match begun:
            case "audio":
                client.send("transcribe")
                client.send("audio-start", rate=16_000, width=2, channels=1)
                client.send("audio-chunk", bytes(3200), rate=16_000, width=2, channels=1)
            case "text":
                client.send("synthesize-start")
                client.send("synthesize-chunk", text="One sentence. And half of ano")
            case "header":
                client.raw(b'{"type": "descr')
            case "payload":
                client.raw(b'{"type": "audio-chunk", "payload_length": 9000}\nabc')
        await client.writer.drain()
        await holds(lambda: values()["wyoming"]["clients"] == 1)
    await holds(lambda: values()["wyoming"]["clients"] == 0)
    await holds(lambda: len(asyncio.all_tasks()) <= before)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b'{"type": "audio-chunk", "payload_length": 4294967296}\n', "payload_length"),
        (b'{"type": "describe", "data_length": 4294967296}\n', "data_length"),
        (b'{"type": "describe", "payload_length": -5}\n', "payload_length"),
        (b'{"type": "describe", "payload_length": true}\n', "payload_length"),
        (b'{"type": "describe", "payload_length": 1e3}\n', "payload_length"),
        (b"GET / HTTP/1.1\r\n", "no JSON"),
        (b"[1, 2]\n", "no JSON object"),
        (b'{"type": 5}\n', "no type"),
        (b'{"type": "describe", "data_length": 2}\n[]', "the data is no JSON object"),
        (b"[" * 200_000 + b"\n", "no JSON"),
        (b"x" * (wyoming_wire.MAX_HEADER_BYTES + 2), "more than"),
    ],
)
async def test_what_cannot_be_told_apart_is_told_and_closed(
    shared: Running, port: int, sent: bytes, told: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with connected(port) as client:
        client.raw(sent)
        error = await client.until("error")
        assert told in error.data["text"]
        assert error.data["code"] == "invalid"
        assert await client.event() is None, "the connection is closed"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000, "nothing was allocated for it"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("audio-start", {"rate": 0, "width": 2, "channels": 1}),
        ("audio-start", {"rate": "16000", "width": 2, "channels": 1}),
        ("audio-start", {"rate": 16_000, "width": 9, "channels": 1}),
        ("audio-start", {}),
        ("synthesize", {}),
        ("synthesize", {"text": 5}),
        ("transcript", {"text": None}),
        ("transcript", {"text": "x" * 70_000}),
    ],
)
async def test_what_is_wrong_with_an_event_is_told_and_the_connection_stays(
    shared: Running, port: int, kind: str, data: dict[str, object]
) -> None:
    async with connected(port) as client:
        client.send(kind, **data)
        assert (await client.until("error")).data["code"] == "invalid"
        client.send("ping", text="still here")
        assert (await client.until("pong")).data["text"] == "still here"


async def test_an_empty_question_is_not_handled(shared: Running, port: int) -> None:
    async with connected(port) as client:
        client.send("transcript", text="  ")
        assert (await client.until("not-handled")).data["text"]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection; the second is never read."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        left = socket.create_connection(server.getsockname())
        right, _ = server.accept()
    left.setblocking(False)
    with left, right:
        yield left, right


async def test_a_slow_reader_is_cut_off_and_nobody_waited_for_it(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    async with anyio.create_task_group() as tasks:
        wire = Wire(pair[0], tasks.cancel_scope, behind_bytes=1_000_000)
        tasks.start_soon(wire.out.write)
        with anyio.fail_after(PATIENCE_S):
            while not tasks.cancel_scope.cancel_called:
                wire.put(Error("x" * 10_000))
                await anyio.lowlevel.cancel_shielded_checkpoint()
    assert tasks.cancel_scope.cancel_called


async def test_a_reader_that_has_stopped_is_cut_off_after_its_time(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    async with anyio.create_task_group() as tasks:
        wire = Wire(pair[0], tasks.cancel_scope, send_s=0.1)
        tasks.start_soon(wire.out.write)
        for _ in range(1000):  # 10 MB: more than both buffers of the kernel, less than it may be behind
            wire.put(Error("x" * 10_000))
        with anyio.fail_after(PATIENCE_S):
            await anyio.sleep_forever()
    assert tasks.cancel_scope.cancel_called


# Who may connect


@pytest.mark.parametrize(
    ("allow", "peer", "admitted"),
    [
        (("127.0.0.1",), "127.0.0.1", True),
        (("127.0.0.1",), "127.0.0.2", False),
        (("192.168.1.0/24",), "192.168.1.77", True),
        (("192.168.1.0/24",), "192.168.2.1", False),
        (("192.168.1.0/24",), "::ffff:192.168.1.77", True),
        (("192.168.1.0/24",), "::ffff:10.0.0.1", False),
        (("::ffff:192.168.1.7",), "192.168.1.7", True),
        (("fd00::/8",), "fd12::5", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("fd00::/8",), "2001:db8::1", False),
        (("0.0.0.0/0",), "2001:db8::1", False),
        ((), "127.0.0.1", False),
        (("127.0.0.1",), "not an address", False),
    ],
)
def test_an_address_is_admitted_only_where_it_is_listed(allow: tuple[str, ...], peer: str, admitted: bool) -> None:
    assert Access(allow).admits(peer) is admitted


def test_refusals_are_counted_each_and_told_once_a_minute() -> None:
    access = Access(("10.0.0.1",))
    assert [access.refuse("10.0.0.2"), access.refuse("10.0.0.2"), access.refuse("10.0.0.3")] == [True, False, True]
    assert access.refused == 3


@pytest.mark.parametrize(
    ("allow", "host", "listened"),
    [
        (("127.0.0.1",), "", ["127.0.0.1"]),
        (("127.0.0.1", "::1"), "", ["127.0.0.1", "::1"]),
        (("192.168.1.0/24",), "", ["0.0.0.0"]),  # noqa: S104 - what is asked for
        (("192.168.1.0/24", "fd00::/8"), "", ["::"]),
        (("192.168.1.0/24",), "127.0.0.3", ["127.0.0.3"]),
    ],
)
def test_it_listens_only_where_somebody_may_come_from(
    allow: tuple[str, ...], host: str, listened: list[str]
) -> None:
    if any(":" in address for address in listened) and not has_v6():
        pytest.skip("this machine has no IPv6")
    found = wyoming._listening(host, 0, Access(allow))
    addresses = [one.getsockname()[0] for one in found]
    for one in found:
        one.close()
    assert addresses == listened


def has_v6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_whoever_is_not_listed_is_closed_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async def never(_ask: Ask, _tell: Tell) -> Turn:
        raise AssertionError

    async with served(never, allow="10.9.8.7") as (number, bulletin):
        for _ in range(3):
            async with connected(number) as client:
                client.send("describe")
                with pytest.raises((AssertionError, ConnectionError)):
                    await client.until("info")
        await holds(lambda: bulletin.current()["wyoming"]["refused"] == 3)
    assert caplog.text.count("wyoming_refused") == 1


async def test_a_port_that_is_taken_is_a_warning_and_the_daemon_lives(models: None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = ("voice.enabled=false", "wyoming.allow=127.0.0.1", f"wyoming.port={port}")
        async with house(tmp_path, *wanted) as running:
            assert "wyoming" not in running.bulletin.current()
            assert running.verbs.get("ask") is not None


def test_the_page_names_the_keys_and_the_limits() -> None:
    page = (ROOT / "docs/wyoming.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(wyoming\.\w+)` \|", page, re.MULTILINE))
    assert named == {name for name in keys() if name.startswith("wyoming.")}
    limits = page.partition("## Limits")[2].partition("\n## ")[0]
    for figure in (
        str(wyoming.MAX_CLIENTS),
        f"at once: {wyoming._HEARING_AT_ONCE}",
        f"{wyoming_wire.MAX_HEADER_BYTES:,} bytes",
        f"{wyoming_wire.MAX_PAYLOAD_BYTES:,} bytes, within {wyoming_wire.FRAME_S:.0f} s",
        f"{wyoming_wire.MAX_TEXT_CHARS:,} characters",
        f"{wyoming.IDLE_S:.0f} s",
        f"{outbox.SEND_S:.0f} s, or {outbox.BEHIND_BYTES // 2**20} MB",
    ):
        assert figure in limits, figure
    heard = Patience()
    for figure in (heard.silence_s, *SENSITIVITY.values(), heard.nothing_s, heard.live_s):
        assert f"{figure:g} s" in page, figure
    assert f"port {Wyoming().port}" in page


@pytest.mark.parametrize(
    ("key", "raw", "read"),
    [
        ("allow", "127.0.0.1, 192.168.1.0/24", ("127.0.0.1", "192.168.1.0/24")),
        ("allow", "fd00::/8", ("fd00::/8",)),
        ("allow", "192.168.1.7/24", ("192.168.1.7/24",)),
        ("allow", "", ()),
        ("allow", "kitchen.local", None),
        ("allow", "192.168.1.300", None),
        ("satellites", "kitchen.local:10700, [fd00::1]:10700", ("kitchen.local:10700", "[fd00::1]:10700")),
        ("satellites", "kitchen.local", None),
        ("satellites", "kitchen:70000", None),
        ("satellites", "fd00::1:10700", None),
        ("host", "kitchen.local", None),
    ],
)
def test_addresses_and_places_are_checked(
    tmp_path: Path, key: str, raw: str, read: tuple[str, ...] | None
) -> None:
    flags = Flags(data_dir=tmp_path, profile="dev", settings=(f"wyoming.{key}={raw}",))
    if read is None:
        with pytest.raises(ConfigError, match=f"wyoming.{key}"):
            load(flags)
    else:
        assert getattr(load(flags).wyoming, key) == read


def test_a_file_may_list_them_too(tmp_path: Path) -> None:
    file = tmp_path / "perslm.toml"
    file.write_text('[wyoming]\nallow = ["127.0.0.1", "::1"]\nsatellites = "hall:10700"\n')
    wyoming = load(Flags(config_file=file, profile="dev"), environ={}).wyoming
    assert (wyoming.allow, wyoming.satellites) == (("127.0.0.1", "::1"), ("hall:10700",))
    file.write_text("[wyoming]\nallow = [5]\n")
    with pytest.raises(ConfigError, match=r"wyoming\.allow"):
        load(Flags(config_file=file, profile="dev"), environ={})


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        (None, False),
        ({}, False),
        ({"name": "piper-en_US-joe-medium"}, False),
        ({"name": "en_US-joe-medium"}, False),
        ({"name": "Joe"}, False),
        ({"name": "marvin"}, True),
        ({"language": "en-GB"}, False),
        ({"language": "de"}, True),
        ({"name": 5}, False),
        ("joe", False),
    ],
)
def test_a_voice_is_asked_for_by_any_of_its_names(asked: object, refused: bool) -> None:
    with pytest.raises(InputError) if refused else nullcontext():
        require_voice(asked, "piper-en_US-joe-medium", "en_US")


# When an utterance is over


def ending(patience: Patience, *stretches: tuple[float, float]) -> float | None:
    """The second at which it is over, after stretches of (likely speech, seconds); None while it is not."""
    followed = Ending(patience)
    for likely, seconds in stretches:
        for _ in range(round(seconds / FRAME_S)):
            followed.step(likely)
            if followed.over:
                return round(followed.heard_s, 2)
    return None


def test_speech_is_over_after_its_silence_and_not_at_a_shorter_one() -> None:
    patience = Patience(silence_s=0.6)
    assert ending(patience, (0.0, 1.0), (0.9, 1.0), (0.0, 0.4), (0.9, 1.0), (0.0, 0.5)) is None
    over = ending(patience, (0.0, 1.0), (0.9, 1.0), (0.0, 2.0))
    assert over is not None
    assert 2.55 <= over <= 2.7


def test_a_click_is_no_speech_and_nothing_at_all_ends_too() -> None:
    assert ending(Patience(), (0.0, 1.0), (0.95, 0.1), (0.0, 6.0)) is None, "nobody has begun to speak"
    assert ending(Patience(), (0.0, 1.0), (0.95, 0.1), (0.0, 9.0)) == pytest.approx(8.0, abs=0.04)


def test_a_television_does_not_keep_it_listening() -> None:
    assert ending(Patience(), (0.9, 60.0)) == pytest.approx(15.0, abs=0.04)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.03, 5)), max_size=20))
def test_whatever_is_heard_it_ends_within_its_limit(stretches: list[tuple[float, float]]) -> None:
    assert ending(Patience(), *stretches, (0.0, 8.1), (0.9, 15.0)) is not None


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_what_is_judged_lasts_as_long_as_what_came(rate_hz: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * 300 * np.arange(rate_hz) / rate_hz)).astype(np.int16)
    rough = roughly_resampled(Pcm(tone, rate_hz))
    exact = resample(Pcm(tone, rate_hz), SPEECH_RATE_HZ).samples
    assert abs(len(rough) - SPEECH_RATE_HZ) <= 1
    middle = slice(4000, 12_000)
    assert np.corrcoef(rough[middle], exact[middle])[0, 1] > 0.98


async def test_without_end_pointing_home_assistant_is_asked_to_hear_the_end(
    shared: Running, tmp_path: Path
) -> None:
    flags = Flags(data_dir=tmp_path, profile="dev", settings=("wyoming.end_pointing=false",))
    config = await anyio.to_thread.run_sync(lambda: load(flags))
    assistant = shared.assistant
    offered = await wyoming.services(config, assistant.parts, assistant.vad, shared.table.turn)
    assert offered.info.data["asr"][0]["requires_external_vad"] is True
    assert offered.asr is not None
    hearing = Hearing(assistant.vad, offered.asr.stt, Patience(), ends=offered.asr.ends)
    hearing.take(Raw(bytes(2 * SPEECH_RATE_HZ * 20), SPEECH_RATE_HZ, 2, 1))
    assert hearing.over is False
    hearing.close()
    assert await hearing.words() == ""


async def test_an_utterance_takes_no_more_than_its_limits(shared: Running) -> None:
    stt = shared.assistant.parts.stt
    assert stt is not None
    hearing = Hearing(None, stt, Patience(longest_s=2.0), ends=False)
    for _ in range(5):
        hearing.take(Raw(bytes(2 * SPEECH_RATE_HZ), SPEECH_RATE_HZ, 2, 1))
    assert hearing.over is True
    assert len(hearing._pieces) == 2
