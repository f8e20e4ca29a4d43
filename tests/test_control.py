"""The control socket with real sockets: its protocol, its limits, and who is told what when something is wrong."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perslm_daemon import control, control_client
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.control import ControlSocket
from perslm_daemon.control_claim import LONGEST_PATH_BYTES, require_free
from perslm_daemon.control_client import SOCKET_NAME, NotRunningError
from perslm_daemon.control_verbs import SocketRequest, SocketVerbs
from perslm_daemon.pipeline import Pipeline
from perslm_daemon.turn import Parts, Sentence, Spoken, Tell
from perslm_daemon.verbs import Request, TextArgs, Verb, Verbs
from perslm_runtime.audio import Pcm
from perslm_runtime.errors import BusyError, ConfigError, InputError
from perslm_runtime.lane import Lane
from perslm_runtime.memory import Memory
from real_models import build_model

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]


class Table:
    """Verbs that show what reaches a verb."""

    def __init__(self) -> None:
        self.cancelled = anyio.Event()
        self.begun = anyio.Event()

    def verbs(self) -> Verbs:
        runs = {"echo": self.echo, "wait": self.wait, "sing": self.sing, "busy": self.busy, "flood": self.flood}
        return Verbs({name: Verb(name, TextArgs, name, run) for name, run in runs.items()})

    async def echo(self, args: TextArgs, request: Request, tell: Tell) -> Mapping[str, Any]:
        await tell(Sentence(0, args.text))
        sound = request.sound if isinstance(request, SocketRequest) else None
        return {"text": args.text, "samples": None if sound is None else sound.samples.tolist()}

    async def wait(self, _args: TextArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.cancelled.set()
        return {}

    async def sing(self, _args: TextArgs, _request: Request, tell: Tell) -> Mapping[str, Any]:
        await tell(Spoken(0, Pcm(np.arange(5, dtype=np.int16), 22_050)))
        return {}

    async def busy(self, _args: TextArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        raise BusyError("ask again in a moment")

    async def flood(self, _args: TextArgs, _request: Request, tell: Tell) -> Mapping[str, Any]:
        self.begun.set()
        try:
            while True:
                await tell(Spoken(0, Pcm(np.zeros(500_000, np.int16), 22_050)))
                await anyio.lowlevel.checkpoint()
        finally:
            self.cancelled.set()


@asynccontextmanager
async def serving(
    folder: Path, table: Table | None = None, *, own: SocketVerbs | None = None, bulletin: Bulletin | None = None
) -> AsyncIterator[Path]:
    """The path of a socket that answers while the block runs; stopping it takes less than a second."""
    path = folder / SOCKET_NAME
    served = ControlSocket(
        path, (table or Table()).verbs(), bulletin or Bulletin(), lambda: "perslm_up 1\n", own=own, node="test"
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(served.serve)
        yield path
        began = time.monotonic()
        tasks.cancel_scope.cancel()
    assert time.monotonic() - began < 1
    assert not await anyio.Path(path).exists()


async def in_thread(call: Callable[..., Any], *args: Any, **more: Any) -> Any:
    return await anyio.to_thread.run_sync(lambda: call(*args, **more), abandon_on_cancel=True)


def asked(folder: Path, verb: str, payload: object = None, **more: Any) -> dict[str, Any]:
    """One request as the command line makes it."""
    connection = control_client.connect(folder)
    assert connection is not None
    with connection:
        return connection.ask(verb, payload, **more)


def raw(path: Path, sent: bytes, *, waits: bool = True) -> list[Any]:
    """Send bytes, say that there are no more, and read lines of JSON until the other side ends; or just leave."""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(10)
        connected.connect(str(path))
        try:
            connected.sendall(sent)
            if not waits:
                return []
            connected.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while chunk := connected.recv(65_536):
                received += chunk
        except ConnectionResetError:
            pass
    return [json.loads(line) for line in received.splitlines()]


async def test_a_verb_is_answered_with_its_events_in_order(tmp_path: Path) -> None:
    events: list[Mapping[str, Any]] = []
    async with serving(tmp_path):
        data = await in_thread(
            asked, tmp_path, "echo", {"text": "hullo ✓"}, on_event=lambda event, _: events.append(event)
        )
    assert data == {"text": "hullo ✓", "samples": None}
    assert events == [{"event": "sentence", "seq": 0, "text": "hullo ✓"}]


async def test_bare_text_is_the_text_and_sound_comes_and_goes_as_it_is(tmp_path: Path) -> None:
    frames: list[bytes] = []
    async with serving(tmp_path):
        sound = np.array([1, -2, 32767], "<i2").tobytes()
        assert await in_thread(asked, tmp_path, "echo", "5", sound=sound) == {
            "text": "5",
            "samples": [1, -2, 32767],
        }
        await in_thread(asked, tmp_path, "sing", on_event=lambda _, frame: frames.append(frame))
    assert np.frombuffer(frames[0], "<i2").tolist() == [0, 1, 2, 3, 4]


async def test_an_error_keeps_its_class_and_so_its_exit_code(tmp_path: Path) -> None:
    async with serving(tmp_path):
        with pytest.raises(BusyError, match="ask again"):
            await in_thread(asked, tmp_path, "busy")
        with pytest.raises(InputError, match="wrong arguments"):
            await in_thread(asked, tmp_path, "echo", {"text": 5})


async def test_metrics_and_values_can_be_read(tmp_path: Path) -> None:
    bulletin = Bulletin()
    bulletin.post("volume", 0.5)

    def first_value() -> Mapping[str, Any]:
        connection = control_client.connect(tmp_path)
        assert connection is not None
        with connection:
            event, _ = next(iter(connection.events("watch")))
        return event

    async with serving(tmp_path, bulletin=bulletin):
        assert await in_thread(asked, tmp_path, "metrics") == {"text": "perslm_up 1\n"}
        assert await in_thread(first_value) == {"event": "value", "name": "volume", "value": 0.5}


async def test_only_the_owner_can_reach_the_socket(tmp_path: Path) -> None:
    async with serving(tmp_path / "new") as path:
        assert stat.S_IMODE((await anyio.Path(path).stat()).st_mode) == 0o600
        assert stat.S_IMODE((await anyio.Path(path.parent).stat()).st_mode) == 0o700
    assert control.trusted(os.geteuid())
    assert control.trusted(0)
    assert not control.trusted(65_533)


async def test_hanging_up_cancels_what_was_asked(tmp_path: Path) -> None:
    table = Table()
    async with serving(tmp_path, table):
        connection = await in_thread(control_client.connect, tmp_path)
        with anyio.fail_after(3):
            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    with pytest.raises(NotRunningError):
                        await in_thread(connection.ask, "wait")

                tasks.start_soon(ask)
                await table.begun.wait()
                await in_thread(connection.close)
                await table.cancelled.wait()


async def test_a_pipe_that_has_sent_all_still_gets_its_answers(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        lines = (
            b'{"verb": "echo", "payload": "a"}\nnonsense\n{"verb": "nothing"}\n{"verb": "echo", "payload": "b"}'
        )
        greeting, *answers = await in_thread(raw, path, lines)
    assert greeting["pid"] == os.getpid()
    assert greeting["node"] == "test"
    answers = [answer for answer in answers if "status" in answer]
    assert [answer["status"] for answer in answers] == ["ok", "error", "error", "ok"]
    assert "no JSON" in answers[1]["error"]
    assert "there is no verb 'nothing'" in answers[2]["error"]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"x" * 10_000_000, "more than"),
        (b'{"verb": "echo", "bytes": 99999999999}\n', "bytes has to be"),
        (b'{"verb": "echo", "bytes": true}\n', "bytes has to be"),
        (b'{"verb": "echo", "bytes": 10}\nabc', "frame of 10 bytes"),
        (b'{"verb": "echo", "payload": 5}\n', "payload has to be"),
        (b'{"verb": 5}\n', "names no verb"),
        (b"[]\n", "no JSON object"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (b'{"verb": "echo", "text": "a"}\n', "use payload"),
        (b"\xff\xfe\n", "no JSON"),
        (b'{"verb": "echo", "payload": "\\ud800"}\n', "not UTF-8"),
    ],
)
async def test_what_is_wrong_with_a_request_is_told(tmp_path: Path, sent: bytes, told: str) -> None:
    async with serving(tmp_path) as path:
        answers = await in_thread(raw, path, sent)
        assert told in answers[-1]["error"]
        assert (await in_thread(asked, tmp_path, "echo", "still there"))["text"] == "still there"


async def test_a_reader_that_never_reads_is_cut_off_and_holds_up_nobody(tmp_path: Path) -> None:
    table = Table()
    async with serving(tmp_path, table):
        connection = await in_thread(control_client.connect, tmp_path)
        events = connection.events("flood")
        assert (await in_thread(next, events))[0]["event"] == "spoken"  # and no more is read
        with anyio.fail_after(3):
            await table.cancelled.wait()
        assert (await in_thread(asked, tmp_path, "echo", "hi"))["text"] == "hi"
        await in_thread(connection.close)


async def test_the_client_too_many_is_told_so_and_finds_room_later(tmp_path: Path) -> None:
    async with serving(tmp_path):
        kept = [await in_thread(control_client.connect, tmp_path) for _ in range(control.MAX_CLIENTS)]
        with pytest.raises(BusyError, match="connected already"):
            await in_thread(control_client.connect, tmp_path)
        await in_thread(kept.pop().close)
        await anyio.sleep(0.1)
        assert (await in_thread(asked, tmp_path, "echo", "hi"))["text"] == "hi"
        for connection in kept:
            await in_thread(connection.close)


async def test_one_that_runs_is_told_apart_from_one_that_died(tmp_path: Path) -> None:
    path = tmp_path / SOCKET_NAME

    def died() -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))

    await in_thread(died)
    assert await in_thread(control_client.connect, tmp_path) is None
    async with serving(tmp_path):
        second = ControlSocket(path, Verbs({}), Bulletin())
        with pytest.raises(ConfigError, match=rf"already runs with this data folder \(pid {os.getpid()}\)"):
            await second.serve()
        with pytest.raises(ConfigError, match="already runs"):
            await in_thread(require_free, path)
        assert (await in_thread(asked, tmp_path, "echo", "first"))["text"] == "first"
    await in_thread(require_free, path)
    async with serving(tmp_path):
        assert (await in_thread(asked, tmp_path, "echo", "again"))["text"] == "again"


async def test_a_killed_process_leaves_the_folder_free(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from perslm_daemon.control_claim import Claim\n"
        "Claim(Path(sys.argv[1])); print('up', flush=True); time.sleep(60)"
    )

    def run_and_kill() -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT / 'daemon'}"}
        argv = [sys.executable, "-c", program, str(tmp_path / SOCKET_NAME)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            with pytest.raises(ConfigError, match=f"pid {child.pid}"):
                anyio.run(ControlSocket(tmp_path / SOCKET_NAME, Verbs({}), Bulletin()).serve)
            child.kill()

    await in_thread(run_and_kill)
    async with serving(tmp_path):
        assert (await in_thread(asked, tmp_path, "echo", "hi"))["text"] == "hi"


async def test_a_place_where_no_socket_can_be_says_what_to_do(tmp_path: Path) -> None:
    long = tmp_path / ("x" * LONGEST_PATH_BYTES) / SOCKET_NAME
    with pytest.raises(ConfigError, match="--data-dir"):
        await ControlSocket(long, Verbs({}), Bulletin()).serve()
    assert await in_thread(control_client.connect, long.parent) is None
    await anyio.Path(tmp_path / SOCKET_NAME).write_text("mine")
    with pytest.raises(ConfigError, match="in the way"):
        await ControlSocket(tmp_path / SOCKET_NAME, Verbs({}), Bulletin()).serve()
    assert await anyio.Path(tmp_path / SOCKET_NAME).read_text() == "mine"


@settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sent=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([b"\n", b'{"verb":"echo"}\n', b'{"verb":"echo","bytes":4}\n', b'{"verb":', b"{}\n"]),
        ),
        max_size=6,
    ),
    waits=st.booleans(),
)
def test_garbage_leaves_it_answering(
    tmp_path_factory: pytest.TempPathFactory, sent: list[bytes], waits: bool
) -> None:
    folder = tmp_path_factory.mktemp("garbage")

    async def run() -> None:
        async with serving(folder) as path:
            for told in await in_thread(raw, path, b"".join(sent), waits=waits):
                assert isinstance(told, dict)
            assert (await in_thread(asked, folder, "echo", "hi"))["text"] == "hi"

    anyio.run(run)


async def test_a_turn_over_the_socket_is_the_turn_of_the_pipeline(small_gguf: Path, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        parts = Parts(
            await stack.enter_async_context(Lane("model", lambda: build_model(small_gguf, max_reply_tokens=400)))
        )
        parts.memory = await stack.enter_async_context(Lane("memory", lambda: Memory(tmp_path / "memory.db")))
        pipeline = await stack.enter_async_context(Pipeline(parts, model_id="smollm2-135m-q4_1"))
        own = SocketVerbs(pipeline, pipeline.ask)
        await stack.enter_async_context(serving(tmp_path, own=own))
        fact = await in_thread(asked, tmp_path, "memory.add", {"text": "My sister's name is Ana."})
        assert fact["with_vector"] is False
        events: list[Mapping[str, Any]] = []
        question = {"text": "What is the name of my sister?", "conversation": "one"}
        turn = await in_thread(asked, tmp_path, "turn", question, on_event=lambda event, _: events.append(event))
        assert "Ana" in turn["reply"]
        assert events[0]["event"] == "recalled"
        sentences = [event["text"] for event in events if event["event"] == "sentence"]
        assert "".join(sentences).strip() == turn["reply"]
        found = await in_thread(asked, tmp_path, "memory.search", {"text": "sister"})
        assert fact["id"] in [one["id"] for one in found["memories"]]
        gone = await in_thread(asked, tmp_path, "memory.forget", {"ids": [fact["id"]]})
        assert gone["ids"] == [fact["id"]]
        with pytest.raises(InputError, match="empty"):
            await in_thread(asked, tmp_path, "turn", {"text": " "})
        await interrupted_turn(tmp_path)
        with anyio.fail_after(5):
            while not (  # noqa: ASYNC110 - polls a file
                kept := await parts.memory.call(lambda store, _stop: store.recent_turns("sky", 5))
            ):
                await anyio.sleep(0.05)
        assert kept[0].interrupted
        assert kept[0].reply


async def interrupted_turn(folder: Path) -> None:
    """Hang up after the first sentence of a long answer."""

    def ask() -> None:
        connection = control_client.connect(folder)
        assert connection is not None
        with connection:
            question = {"text": "Why is the sky blue? Explain it in detail.", "conversation": "sky"}
            for event, _ in connection.events("turn", question):
                if event["event"] == "sentence":
                    return

    await in_thread(ask)


async def test_a_stop_ends_what_is_asked_and_leaves_no_thread(tmp_path: Path) -> None:
    table = Table()
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(NotRunningError, match="perslm run"):
                await in_thread(asked, tmp_path, "wait")

        async with serving(tmp_path, table):
            tasks.start_soon(ask)
            await table.begun.wait()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]


def test_the_client_imports_nothing_heavy() -> None:
    program = "import sys; import perslm_daemon.control_client; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT / 'daemon'}"}
    argv = [sys.executable, "-c", program]
    loaded = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "anyio", "asyncio", "llama_cpp", "msgspec", "typer"} & set(loaded)
