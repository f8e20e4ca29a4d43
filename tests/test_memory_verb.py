"""The verb `memory` and the commands beside it: each person sees what is theirs, and limits hold."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest

from command_line import Ended, environment
from perslm_daemon import cli
from perslm_daemon.config import Flags
from perslm_daemon.recollection import TELLS
from perslm_daemon.serve import Wish, Wishes, serve
from perslm_daemon.turn import Event
from perslm_daemon.verbs import Request, Response
from perslm_daemon.ways import Running
from perslm_runtime.memory import EVERYBODY, Memory
from real_models import load_with_heads, models_dir


async def ask(running: Running, verb: str, person: str | None = None, **arguments: object) -> Response:
    async def ignore(_event: Event) -> None:
        pass

    payload = json.dumps(arguments).encode()
    return await running.verbs.answer(Request(verb, payload, "mqtt", person), ignore)


async def known_by(running: Running, person: str, word: str) -> list[str]:
    """The profile's sentences, once the idle daemon has read what was told and says `word`."""
    with anyio.fail_after(60):
        while word not in str(lines := (await ask(running, "memory", person)).data["lines"]):  # noqa: ASYNC110 - no event
            await anyio.sleep(0.05)
    return list(lines)


@pytest.mark.anyio
@pytest.mark.usefixtures("small_gguf")
async def test_each_person_sees_and_tends_what_is_theirs(tmp_path: Path) -> None:
    quiet = ("voice.enabled=false", "embed.enabled=false", "discovery.enabled=false", "model.max_reply_tokens=8")
    flags = Flags(data_dir=tmp_path, profile="dev", settings=(*quiet, f"models_dir={models_dir()}"))
    wishes, online, seen = Wishes(), anyio.Event(), list[Running]()

    def on_ready(running: Running) -> None:
        seen.append(running)
        online.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(serve, lambda: load_with_heads(flags), wishes, on_ready=on_ready))
        await online.wait()
        running = seen[0]
        gate = (await ask(running, "remember", "ana", text="The gate code is 4711.", shared=True)).data["id"]
        mine = (await ask(running, "remember", "ana", text="My sister is called Zoe.")).data["id"]
        await known_by(running, "ana", "Zoe")  # though nobody has asked anything
        await ask(running, "ask", "ana", text="My dog is called Rex.")  # its end is when the daemon idles
        assert set(await known_by(running, "ana", "Rex")) == {"Your sister is Zoe.", "Your dog is Rex."}
        assert (await ask(running, "memory", "ben")).data["lines"] == []
        found = (await ask(running, "memory", "ben", action="search", text="gate code")).data["memories"]
        assert [one["id"] for one in found] == [gate]
        hidden = await ask(running, "memory", "ben", action="why", id=mine)
        assert (hidden.status, "no memory" in str(hidden.error)) == ("error", True)
        assert (await ask(running, "memory", "ben", action="share", id=mine)).status == "error"
        assert (await ask(running, "forget", "ben", id=mine)).data["count"] == 0
        why = (await ask(running, "memory", "ana", action="why", id=mine)).data
        assert [one["text"] for one in why["known"]][:1] == ["your sister is Zoe"]
        related = await ask(running, "memory", "ana", action="related", text="my sister")
        assert related.data["people"][0]["name"] == "Zoe"
        assert (await ask(running, "memory", "ana", action="related", text="my car")).status == "error"
        times = (await ask(running, "memory", "ana", action="timeline", k=3)).data["timeline"]
        assert len(times) == 3
        assert "<svg" in (await ask(running, "memory", "ana", action="graph")).data["svg"]
        learned = await ask(
            running, "memory", "ana", action="learn", title="wifi", text="The password is hunter2."
        )
        assert (learned.data["what"], learned.data["pieces"]) == ("new", 1)
        assert (await ask(running, "memory", "ana", action="learn", text="no title")).status == "error"
        for action in ("prune", "backup", "backups", "restore", "stats"):
            assert (await ask(running, "memory", "ana", action=action)).status == "error", "everybody's"
        assert (await ask(running, "memory", action="stats")).data["pieces"] == 1
        assert (await ask(running, "memory", action="backup")).data["backup"].startswith("memory-")
        assert (await ask(running, "memory", action="prune")).data["ids"] == []
        assert (await ask(running, "memory", "ana", action="keep", id=mine)).data["changed"]
        assert (await ask(running, "memory", action="timeline", k=1_000)).status == "error", "at most 200"
        gone = (await ask(running, "forget", "ana", last="the last hour")).data
        assert gone["count"] == 4
        assert gone["receipt"]["claims"] > 0
        assert (await ask(running, "memory", "ana")).data["lines"] == []
        assert (await ask(running, "forget", last="some day")).status == "error"
        running.assistant.pipeline.recollection.only_guests = True
        assert "guest" in str((await ask(running, "memory")).error)
        assert (await ask(running, "remember", text="A guest was here.")).status == "error"
        assert (await ask(running, "memory", "ana")).status == "ok"
        wishes.ask(Wish.STOP)


@pytest.mark.anyio
@pytest.mark.usefixtures("small_gguf")
async def test_a_backup_is_restored_while_the_daemon_runs_and_the_way_back_is_told(tmp_path: Path) -> None:
    quiet = ("voice.enabled=false", "embed.enabled=false", "discovery.enabled=false", "model.max_reply_tokens=8")
    flags = Flags(data_dir=tmp_path, profile="dev", settings=(*quiet, f"models_dir={models_dir()}"))
    wishes, online, seen = Wishes(), anyio.Event(), list[Running]()

    def on_ready(running: Running) -> None:
        seen.append(running)
        online.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(serve, lambda: load_with_heads(flags), wishes, on_ready=on_ready))
        await online.wait()
        running = seen[0]
        pipeline = running.assistant.pipeline
        await ask(running, "remember", text="My sister is called Zoe.")
        await ask(running, "remember", text="The gate code is Zanthopolis.")
        saved = (await ask(running, "memory", action="backup")).data["backup"]
        later = (await ask(running, "remember", text="The bicycle is green.")).data["id"]
        assert (await ask(running, "forget", text="Zanthopolis")).data["count"] == 1
        await ask(running, "ask", text="Where is my bicycle?")
        assert pipeline._conversation is not None
        listed = (await ask(running, "memory", action="backups")).data["backups"]
        assert [(one["name"], one["rows"]) for one in listed] == [(saved, 1)], "forgotten there too"
        assert listed[0]["bytes"] == (await anyio.Path(tmp_path, "backups", saved).stat()).st_size

        await anyio.Path(tmp_path, "backups/memory-000009.db").write_bytes(b"no memory at all" * 512)
        for name in (f"backups/{saved}", str(tmp_path / "backups" / saved), "../memory.db", "memory.db", ""):
            refused = await ask(running, "memory", action="restore", name=name)
            assert (refused.status, "needs the name" in str(refused.error)) == ("error", True), name
        refused = await ask(running, "memory", action="restore", name="memory-000009.db")
        assert "nothing was restored" in str(refused.error)
        assert (await ask(running, "memory", "ana", action="restore", name=saved)).status == "error"
        found = await ask(running, "memory", action="search", text="bicycle")
        assert later in [one["id"] for one in found.data["memories"]], "refusals change nothing"

        done = (await ask(running, "memory", action="restore", name=saved)).data
        assert (done["rows"], done["kept"]) == (1, "memory.db.damaged-1")
        assert done["kept"] in done["back"]
        assert pipeline._conversation is None, "the conversation was of the memory before"
        assert running.assistant.parts.memory is not None
        assert running.assistant.parts.memory.rebuilt == 2, "once for the one that was no good"
        assert (await ask(running, "memory", action="search", text="bicycle")).data["memories"] == []
        assert (await ask(running, "memory", action="search", text="Zanthopolis")).data["memories"] == []
        assert await known_by(running, "owner", "Zoe") == ["Your sister is Zoe."]
        await ask(running, "remember", text="The kettle is blue.")  # it can be written

        rows = {
            one["name"]: one["rows"] for one in (await ask(running, "memory", action="backups")).data["backups"]
        }
        assert (rows["memory-000009.db"], rows["memory.db.damaged-1"]) == (None, 3)
        back = (await ask(running, "memory", action="restore", name="memory.db.damaged-1")).data
        assert (back["rows"], back["kept"]) == (3, "memory.db.damaged-2")
        found = await ask(running, "memory", action="search", text="bicycle")
        assert later in [one["id"] for one in found.data["memories"]]
        wishes.ask(Wish.STOP)
    async for file in anyio.Path(tmp_path).rglob("*.db*"):
        assert b"anthopolis" not in await file.read_bytes(), file


@pytest.mark.parametrize(
    ("said", "fact", "shared"),
    [
        ("Please remember that my sister's name is Ana.", "my sister's name is Ana.", False),
        ("Remember for everybody that the bins go out on Monday", "the bins go out on Monday", True),
        ("remember, for all of us, the alarm is 4711", "the alarm is 4711", True),
        ("Remember: buy milk", "buy milk", False),
    ],
)
def test_what_is_to_be_remembered_may_be_for_everybody(said: str, fact: str, shared: bool) -> None:
    match = TELLS.match(said)
    assert match is not None
    assert (match["fact"], match["all"] is not None) == (fact, shared)


Perslm = Callable[..., Ended]


@pytest.fixture
def perslm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Perslm]:
    for name, value in environment(tmp_path, PERSLM_EMBED__ENABLED="false").items():
        monkeypatch.setenv(name, value)
    log = logging.getLogger("perslm")
    before = (log.handlers[:], log.level, log.propagate)
    yield lambda *arguments: Ended(cli.run(arguments, None), *capfd.readouterr())
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


def test_the_commands_show_and_tend_the_memory(perslm: Perslm, tmp_path: Path) -> None:
    for fact in (
        "My name is Felix.",
        "My sister Ana has two kids, Tom and Lea.",
        "I live in Rome.",
        "I moved to Bern.",
    ):
        assert perslm("memory", "add", fact).code == 0
    assert perslm("memory", "add", "--shared", "The gate code is 4711.").code == 0
    assert "You live in Bern." in perslm("memory", "profile").out
    assert perslm("memory", "related", "my sister's children").out.split() == ["Tom", "Lea"]
    assert perslm("memory", "related", "my car").code == 3
    assert "you live in Rome (until" in perslm("memory", "timeline").out
    assert perslm("memory", "timeline", "--by", "week", "--json").data == {"timeline": []}
    picture = tmp_path / "graph.svg"
    assert perslm("memory", "graph", str(picture)).code == 0
    assert "Ana" in picture.read_text()
    assert "from it is known: you live in Rome" in perslm("memory", "why", "3").out
    assert perslm("memory", "why", "99").code == 3
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/garden.md").write_text("# Garden\n\nThe spade hangs in the shed.\n")
    (tmp_path / "docs/bad.txt").write_bytes(b"a\0b")
    told = perslm("memory", "learn", str(tmp_path / "docs"))
    assert (told.code, "new: " in told.out, "bad.txt" in told.err) == (3, True, True)
    assert "unchanged" in perslm("memory", "learn", str(tmp_path / "docs/garden.md")).out
    stats = perslm("memory", "stats", "--json").data
    assert (stats["facts"], stats["pieces"], stats["people"][0]["name"]) == (5, 1, EVERYBODY)
    assert "0 of 6 memories would go" in perslm("memory", "prune", "--rows", "1").out
    assert perslm("memory", "share", "4").code == 0
    assert perslm("memory", "share", "4", "--off").code == 0
    assert perslm("memory", "keep", "4", "--off").code == 0
    gone = perslm("memory", "forget", "--last", "1h", "--person", "owner", "--yes")
    assert gone.code == 0, gone.err
    assert "things known from it" in gone.out
    assert "out of reach" in gone.err
    with closing(Memory(tmp_path / "data/memory.db")) as memory:
        assert memory.count() == 0
