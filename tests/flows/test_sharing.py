"""From a board's turn to its host and back out of it: nothing goes by itself, and forgetting reaches the host."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from perslm_daemon.cli import run as perslm
from perslm_daemon.config import Flags
from perslm_daemon.config_sections import Config
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.turn import Event
from perslm_daemon.verbs import Request, Response
from perslm_daemon.ways import Running
from perslm_runtime.host_account import enroll
from perslm_training_host.boards import Boards
from perslm_training_host.service import Service
from perslm_training_host.shared import Kept, Shared
from real_models import load_with_heads, models_dir

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("small_gguf")]


class House:
    """A board that is enrolled with a host on the loopback."""

    def __init__(self, folder: Path, boards: Boards) -> None:
        self.data = folder / "board"
        self.boards = boards
        self._host, self._port = ExitStack(), 0
        self.wishes = Wishes()
        self._seen: list[Running] = []
        self._online = anyio.Event()

    def host_comes(self) -> int:
        """The host serves, always on the same port; returns it."""
        named = ["127.0.0.1", "localhost"]
        service = Service(self.data.parent / "repository", self.boards, "127.0.0.1", self._port, named)
        self._port = self._host.enter_context(service.running())
        return self._port

    def host_goes(self) -> None:
        self._host.close()

    def load(self) -> Config:
        quiet = (
            "voice.enabled=false",
            "embed.enabled=false",
            "discovery.enabled=false",
            "model.max_reply_tokens=8",
        )
        flags = Flags(data_dir=self.data, profile="dev", settings=(*quiet, f"models_dir={models_dir()}"))
        return load_with_heads(flags, {}, with_kept=True)

    async def run(self) -> None:
        await serve(self.load, self.wishes, on_ready=self._came)

    def _came(self, running: Running) -> None:
        self._seen.append(running)
        self._online.set()

    async def online(self) -> None:
        """Wait until it is (again)."""
        await self._online.wait()
        self._online = anyio.Event()

    async def verb(self, verb: str, by: str | None = None, source: str = "socket", **args: object) -> Response:
        async def ignore(_event: Event) -> None:
            pass

        request = Request(verb, json.dumps(args).encode(), source, by)
        return await self._seen[-1].verbs.answer(request, ignore)

    async def share(self, action: str, **args: object) -> dict[str, Any]:
        response = await self.verb("share", action=action, **args)
        assert response.error is None, response.error
        return dict(response.data)

    async def waiting(self, count: int) -> list[dict[str, Any]]:
        """What waits, once it is so many."""
        with anyio.fail_after(60):
            while True:
                found = [one for one in (await self.share("list"))["examples"] if one["state"] == "waiting"]
                if len(found) >= count:
                    return found
                await anyio.sleep(0.05)

    async def at_the_host(self, count: int) -> list[Kept]:
        """What the host has, once it is so many."""
        with anyio.fail_after(60):
            while True:
                found = await anyio.to_thread.run_sync(self._kept)
                if len(found) == count:
                    return found
                await anyio.sleep(0.05)

    def _kept(self) -> list[Kept]:
        with Shared(self.boards.folder).opened() as shared:
            return list(shared.all())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    (tmp_path / "repository/metadata").mkdir(parents=True)
    (tmp_path / "repository/metadata/1.root.json").write_text("{}")
    boards = Boards(tmp_path / "repository-boards")
    found = House(tmp_path, boards)
    found.data.mkdir()
    enroll(found.data / "host", f"https://127.0.0.1:{found.host_comes()}", boards.open_window(), "kitchen")
    yield found
    found.host_goes()


@asynccontextmanager
async def running(house: House) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(house.run)
        await house.online()
        yield
        house.wishes.ask(Wish.STOP)


async def test_nothing_goes_until_somebody_lets_it_and_forgetting_reaches_the_host(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = partial(house.verb, "ask")
    async with running(house):
        await ask(text="Please have a countdown of five minutes for my eggs, zanthopol.")
        await ask(text="Set a countdown of five minutes, zanthopol")
        assert (await house.share("status"))["allowed"] == []
        assert (await house.share("list"))["examples"] == []
        refused = await house.verb("share", action="rate", good=True)
        assert "does not let corrections go" in str(refused.error)

        await house.share("on")
        await house.online()
        assert (await house.share("status"))["allowed"] == ["corrections", "failed", "conversations"]
        first = await ask(text="Timer zanthopol for five minutes, 020 7946 0958")
        assert first.data["intent"] is None
        assert (await ask(text="Set a timer for five minutes")).data["intent"]["name"] == "set_timer"
        (failed,) = await house.waiting(1)
        assert (failed["kind"], failed["sends"]["meant"]) == ("failed", "Set a timer for five minutes")
        assert failed["sends"]["intents"][0]["name"] == "set_timer"
        assert "[phone]" in failed["sends"]["messages"][0]["content"]
        await ask(text="No, I meant ten minutes")
        assert {one["kind"] for one in await house.waiting(2)} == {"failed", "corrections"}
        with monkeypatch.context() as typed:  # the first is kept, the second gets other words
            typed.setattr("sys.stdin", io.StringIO("k\ne\nSet it for zanthopol\n\n\n\n\n"))
            command = ["--data-dir", str(house.data), "share", "review"]
            assert await anyio.to_thread.run_sync(perslm, command) == 0
        assert "Set it for zanthopol" in json.dumps([one["sends"] for one in await house.waiting(2)])

        assert await house.at_the_host(0) == [], "it waits to be looked at"
        await anyio.to_thread.run_sync(house.host_goes)
        away = await house.verb("share", action="send")
        assert "cannot be reached" in str(away.error)
        await anyio.to_thread.run_sync(house.host_comes)
        sent = await house.share("send")
        assert sent["sent"] == 2
        kept = await house.at_the_host(2)
        assert all("person" not in one.example.messages[0].content for one in kept)
        shown = (await house.share("list"))["examples"]
        assert {one["receipt"] for one in shown} == {one.receipt for one in kept}

        gone = await house.verb("forget", text="zanthopol 7946")
        assert gone.data["count"] == 1
        (left,) = await house.at_the_host(1)
        assert left.example.kind == "corrections"
        await house.share("withdraw")
        await house.at_the_host(0)


async def test_a_person_changes_and_drops_what_is_theirs_and_nobody_elses(house: House) -> None:
    async with running(house):
        await house.share("on", kinds=["corrections", "conversations"])
        await house.online()
        turn = await house.verb("ask", text="What is the capital of Italy?")
        rated = await house.verb("share", action="rate", good=False, text="Rome.", turn=turn.data["turn"])
        (listed,) = [one for one in (await house.share("list"))["examples"] if one["id"] == rated.data["id"]]
        assert (listed["sends"]["good"], listed["sends"]["meant"]) == (False, "Rome.")
        assert listed["sends"]["judged"] == "thumb"  # by it the host knows that "Rome." is a better answer
        chosen = (await house.share("add", id=1))["id"]
        messages = [{"role": "user", "content": "What is it? Call 020 7946 0958."}]
        await house.share("edit", id=chosen, messages=messages)
        assert (await house.waiting(2))[0]["sends"]["messages"][0]["content"] == "What is it? Call [phone]."
        assert (await house.share("drop", id=chosen))["outcome"] == "dropped"
        assert turn.data["text"]
        off = await house.share("off")
        assert off["dropped"] == 1
        await house.online()
        assert (await house.share("list"))["examples"] == []
        nobody = await house.verb("share", None, "mqtt", action="list")
        assert "only who is known for sure" in str(nobody.error)
        other = await house.verb("share", "ana", "http", action="on", person="owner")
        assert "only owner may ask" in str(other.error)
        await house.verb("share", "ana", "mqtt", action="on", kinds=["failed"])
        await house.online()
        assert (await house.share("status", person="ana"))["allowed"] == ["failed"]
