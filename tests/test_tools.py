"""The registry's gate, approvals, sentences for tools, notes and lists, and what the web tool refuses."""

from __future__ import annotations

import ast
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from loopback_http import Site, serving
from perslm_daemon.approvals import Approvals
from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.config_keys import Hosts, Programs
from perslm_daemon.config_tools import FAMILIES
from perslm_daemon.config_tools import Tools as Config
from perslm_daemon.dialling import allowed_address, is_public, may_reach
from perslm_daemon.notebook import Notebook, NotebookDamaged, list_name
from perslm_daemon.tool_notes import items_of
from perslm_daemon.tool_table import Parts, add_tools
from perslm_daemon.tool_talk import ToolTalk
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Caller, Limits, Manifest, Risk, Told, Tools, Who
from perslm_daemon.turn import GUEST, Answered, Ask
from perslm_runtime import landlock
from perslm_runtime.errors import InputError, ToolRefused
from perslm_runtime.tool_call import ToolCall, Value, Words
from perslm_runtime.tool_sentences import call_of

pytestmark = pytest.mark.anyio
SANDBOX = pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock")
NOW = datetime.fromisoformat("2026-11-27T12:00:00+01:00")
DOOR = Manifest(
    "door",
    "Open the door.",
    (Words("which", 40),),
    changes=("home",),
    risk=Risk.ASKS,
    question="open the door {which}",
)
NOT_PUBLIC = (
    "127.0.0.1 10.1.2.3 192.168.1.1 172.16.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255 ::1 "
    ":: fe80::1%eth0 fd00::1 ff02::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 64:ff9b::a00:1 2002:a00:1::1 2001:0:1::1"
)
PAGE = b"<html><head><title>Fair</title><script>bad()</script></head><body><h1>Fair</h1><p>Opens at nine.</p>"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving({"/fair/": PAGE, "/long/": b"<p>" + b"word " * 600_000, "/none/": b"<p></p>"}) as served:
        yield served


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def registry(stands_s: float = 600) -> tuple[Tools, Bulletin]:
    bulletin = Bulletin()
    return Tools(bulletin, Approvals(bulletin, stands_s)), bulletin


def opener(opened: list[str], slow_s: float = 0.0) -> object:
    async def run(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        await anyio.sleep(slow_s)
        opened.append(str(arguments["which"]))
        return Told("It is open.")

    return run


async def test_what_asks_is_done_once_after_a_yes_and_never_by_a_guest() -> None:
    tools, bulletin = registry()
    opened: list[str] = []
    tools.register(DOOR, opener(opened))  # type: ignore[arg-type]  # it is one
    async with bulletin.listen() as listener:
        asked = await tools.call("door", {"which": "front"}, Caller(conversation="one"))
        assert asked.approval is not None
        assert asked.text == 'Shall I open the door "front"?'
        with pytest.raises(InputError, match="lives here"):
            await tools.approvals.answer(True, asked.approval.id, person=GUEST, by="test")
        assert opened == []
        _, said = await tools.approvals.answer(True, None, person="owner", by="test")
        assert (said, opened) == ("It is open.", ["front"])
        with pytest.raises(InputError, match="no question stands"):
            await tools.approvals.answer(True, asked.approval.id, person="owner", by="test")
        outcomes = [
            notice.fields["outcome"]
            for notice in [await listener.receive() for _ in range(3)]
            if isinstance(notice, Happening)
        ]
    assert outcomes == ["asked", "yes", "done"]
    with pytest.raises(ToolRefused, match="live here"):
        await tools.call("door", {"which": "front"}, Caller(person=GUEST))


async def test_a_question_expires_and_then_a_yes_comes_too_late() -> None:
    tools, bulletin = registry(0.3)
    opened: list[str] = []
    tools.register(DOOR, opener(opened))  # type: ignore[arg-type]  # it is one
    async with anyio.create_task_group() as tasks, bulletin.listen() as listener:
        tasks.start_soon(tools.approvals.run)
        asked = await tools.call("door", {"which": "front"}, Caller())
        told = [await listener.receive() for _ in range(2)]
        assert isinstance(told[1], Happening)
        assert told[1].fields["outcome"] == "expired"
        assert asked.approval is not None
        with pytest.raises(InputError, match="no question stands"):
            await tools.approvals.answer(True, asked.approval.id, person="owner", by="test")
        tasks.cancel_scope.cancel()
    assert opened == []


async def test_of_many_questions_the_oldest_gives_way_and_two_need_an_id() -> None:
    tools, _ = registry()
    opened: list[str] = []
    tools.register(DOOR, opener(opened))  # type: ignore[arg-type]  # it is one
    asked = [await tools.call("door", {"which": f"door {number}"}, Caller()) for number in range(20)]
    assert len(tools.approvals.waiting) == 16
    with pytest.raises(InputError, match="16 questions stand"):
        await tools.approvals.answer(True, None, person="owner", by="test")
    assert asked[0].approval is not None
    with pytest.raises(InputError, match="no question stands"):
        await tools.approvals.answer(True, asked[0].approval.id, person="owner", by="test")


async def test_the_log_has_ids_and_no_words(caplog: pytest.LogCaptureFixture) -> None:
    tools, _ = registry()
    tools.register(DOOR, opener([]))  # type: ignore[arg-type]  # it is one
    with caplog.at_level(logging.DEBUG):
        await tools.call("door", {"which": "marmalade"}, Caller())
        await tools.approvals.answer(True, None, person="owner", by="test")
    assert "approval=" in caplog.text
    assert "marmalade" not in caplog.text


async def test_a_tool_that_takes_too_long_is_ended_and_a_model_calls_a_few_times_only() -> None:
    tools, _ = registry()
    opened: list[str] = []
    slow = replace(DOOR, limits=Limits(seconds=0.2))
    tools.register(slow, opener(opened, slow_s=60))  # type: ignore[arg-type]  # it is one
    with pytest.raises(ToolRefused, match="longer than"):
        await tools.call("door", {"which": "front"}, Caller(yes=True))
    assert opened == []
    model = Caller(turn="one", who=Who.MODEL)
    for _ in range(8):
        await tools.call("door", {"which": "front"}, model)
    with pytest.raises(ToolRefused, match="enough"):
        await tools.call("door", {"which": "front"}, model)


async def test_wrong_arguments_and_absent_tools_say_what_is_wrong() -> None:
    tools, _ = registry()
    tools.register(DOOR, opener([]))  # type: ignore[arg-type]  # it is one
    tools.withdraw("web_read", "set tools.hosts")
    for name, arguments, why in (
        ("door", {}, "needs which"),
        ("door", {"which": "front", "how": "wide"}, "takes which"),
        ("door", {"which": 'a "quote"'}, "quote"),
        ("web_read", {}, "tools.hosts"),
        ("nothing", {}, "tools list"),
    ):
        with pytest.raises((InputError, ToolRefused), match=why):
            await tools.call(name, arguments, Caller())
    with pytest.raises(InputError, match="two tools"):
        tools.register(DOOR, opener([]))  # type: ignore[arg-type]  # it is one
    with pytest.raises(InputError, match="question"):
        Manifest("bad", "x", changes=("x",), risk=Risk.CHANGES)
    with pytest.raises(InputError, match="at which risk"):
        Manifest("bad", "x", changes=("x",))


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("what is 15 % of 80?", ToolCall("calculate", {"expression": "15 % of 80"})),
        ("note: the plumber comes", ToolCall("note_add", {"text": "the plumber comes"})),
        ("Add a note that the key is under the mat.", ToolCall("note_add", {"text": "the key is under the mat"})),
        ("what are my notes", ToolCall("notes_read", {"about": "everything"})),
        ("what did I note about the garden", ToolCall("notes_read", {"about": "the garden"})),
        ("please add milk to the shopping list", ToolCall("list_add", {"item": "milk", "list": "shopping"})),
        (
            "put oat milk and eggs on my list",
            ToolCall("list_add", {"item": "oat milk and eggs", "list": "shopping"}),
        ),
        ("what's on my shopping list?", ToolCall("list_show", {"list": "shopping"})),
        ("what is on the list", ToolCall("list_show", {"list": "shopping"})),
        ("take milk off the shopping list", ToolCall("list_remove", {"item": "milk", "list": "shopping"})),
        ("clear the packing list", ToolCall("list_clear", {"list": "packing"})),
        ("read the file packing.txt", ToolCall("file_read", {"file": "packing.txt"})),
        ("read the page example.org/news", ToolCall("web_read", {"url": "example.org/news"})),
        ("run the command uptime", ToolCall("run_command", {"command": "uptime"})),
        ("what time is it in Tokyo?", ToolCall("time_in", {"place": "tokyo"})),
        ("how many days until December 24", ToolCall("days_until", {"day": "December 24"})),
        ("read me a story", None),
        ("open the window", None),
        ("what is on television", None),
        ("add some light", None),
        ("remember that my sister is Ana", None),
        ("turn on the kitchen light", None),
        ("read the news", None),
        ("get 2.5", None),
    ],
)
def test_a_sentence_for_a_tool(said: str, call: ToolCall | None) -> None:
    assert call_of(said) == call


def test_no_question_and_no_command_of_the_golden_sets_is_taken_for_a_tool() -> None:
    golden = Path(__file__).parent / "golden"
    taken = [
        line
        for name in ("intents.txt", "not_intents.txt")
        for line in (golden / name).read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#") and call_of(line.partition("|")[0].strip()) is not None
    ]
    assert taken == ["what time is it in tokyo", "what is ten minus two", "add water to the list"]


def test_several_items_are_told_apart() -> None:
    assert items_of("milk, eggs and some bread") == ("milk", "eggs", "bread")
    assert items_of("milk and eggs") == ("milk", "eggs")
    assert items_of("macaroni and cheese") == ("macaroni and cheese",)
    assert list_name("my Shopping List") == list_name("shopping") == "shopping"


def test_notes_and_lists_outlive_a_restart_and_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "notebook.json"
    book = Notebook(file)
    book.note("the key is under the mat", "ana", NOW)
    assert book.add("shopping", ("milk", "eggs")) == ("milk", "eggs")
    assert book.add("Shopping list", ("Milk",)) == ()
    again = Notebook(file)
    assert [one.text for one in again.notes("ana", "key")] == ["the key is under the mat"]
    assert again.notes("owner") == []
    assert again.items("shopping") == ("milk", "eggs")
    assert again.remove("shopping", "MILK") == "milk"
    with pytest.raises(InputError, match="no items"):
        again.remove("shopping", "milk")
    file.write_bytes(b"{")
    with pytest.raises(NotebookDamaged, match="keeps them"):
        book.lists()
    assert book.add("shopping", ("salt",)) == ("salt",)
    assert (book.put_aside, book.items("shopping")) == ("notebook.json.damaged", ("salt",))
    assert Path(f"{file}.damaged").read_bytes() == b"{"


@pytest.fixture(scope="module")
async def workers() -> AsyncIterator[Workers]:
    async with Workers() as open_ones:
        yield open_ones


async def _told(tools: Tools, name: str, caller: Caller = Caller(yes=True), /, **arguments: Value) -> str:  # noqa: B008 - frozen
    return (await tools.call(name, arguments, caller)).text


@SANDBOX
async def test_lookups_answer_from_the_sandbox_and_a_notebook_of_before_is_found(
    tmp_path: Path, workers: Workers
) -> None:
    await anyio.to_thread.run_sync(Notebook(tmp_path / "notebook.json").note, "old one", "owner", NOW)
    tools, _ = registry()
    await add_tools(tools, Config(), workers, Parts(tmp_path, lambda: NOW))
    assert await _told(tools, "calculate", expression="12 % of 45") == "5.4"
    with pytest.raises(InputError, match="that large"):
        await _told(tools, "calculate", expression="9^9^9")
    assert await _told(tools, "clock") == "Friday, November 27, 2026, noon"
    assert await _told(tools, "time_in", place="tokyo") == "In Tokyo it is 8:00 PM."
    assert await _told(tools, "days_until", day="December 24") == "It is 27 days until then."
    assert await _told(tools, "note_add", text="new one") == "It is noted."
    assert await _told(tools, "notes_read", about="everything") == "New one. old one."
    assert await _told(tools, "notes_read", Caller("ana"), about="everything") == "There are no notes."
    assert await _told(tools, "note_drop", text="old") == "The note is gone."
    assert await anyio.Path(tmp_path / "notebook/notebook.json").is_file()
    for _ in range(3):
        async with anyio.create_task_group() as tasks:
            for item in ("bread", "milk", "eggs", "salt"):
                tasks.start_soon(partial(_told, tools, "list_add", item=item, list="shopping"))
    shown = (await tools.call("list_show", {"list": "shopping"}, Caller())).data["items"]
    assert sorted(shown) == ["bread", "eggs", "milk", "salt"], "no change was lost to another"
    unset, _ = registry()
    await add_tools(unset, Config(), workers, Parts(tmp_path, lambda: None))
    with pytest.raises(ToolRefused, match="has not been set"):
        await _told(unset, "clock")


async def test_whatever_takes_words_runs_in_no_other_place_than_the_sandbox(tmp_path: Path) -> None:
    """Where no child can be had nothing of them is computed; what answers all the same ran in the daemon."""
    tools, _ = registry()
    config = Config(folder=tmp_path, hosts=("example.org",), commands=("hello=/usr/bin/printf x",))
    await add_tools(tools, config, Workers(), Parts(tmp_path, lambda: NOW))
    plain = {"expression": "2 + 2", "place": "tokyo", "day": "tomorrow", "url": "example.org", "command": "hello"}
    for manifest in tools.manifests:
        arguments = {one.name: plain.get(one.name, "milk") for one in manifest.arguments}
        with pytest.raises(ToolRefused, match=r"cannot run here|no Landlock"):
            await tools.call(manifest.name, arguments, Caller(yes=True))
    families = {one.family for one in tools.manifests}
    assert families == set(FAMILIES) - {"timers", "memory", "home"}, "those work parts of the daemon, as each verb"


@SANDBOX
async def test_a_sum_does_not_wait_for_pages_and_files(workers: Workers) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(partial(workers.run, Box("escapes:sleep"), {}, Limits(seconds=30)))
        await anyio.wait_all_tasks_blocked()
        sums = Box("perslm_daemon.tool_sums:compute", preload=True, quick=True)
        assert (await workers.run(sums, {"expression": "2 + 2"}, Limits())).text == "4"
        tasks.cancel_scope.cancel()


@SANDBOX
async def test_a_yes_has_to_be_the_next_word_of_the_same_conversation(tmp_path: Path, workers: Workers) -> None:
    tools, _ = registry()
    await add_tools(tools, Config(), workers, Parts(tmp_path, lambda: NOW))
    talk = ToolTalk(tools)

    async def say(text: str, conversation: str = "kitchen") -> str:
        answered = await talk(Ask(text, conversation=conversation))
        return "-" if answered is None else answered.text if isinstance(answered, Answered) else "gathered"

    assert await say("add milk to the shopping list") == "Milk is on the shopping list."
    assert await say("clear the shopping list") == 'Shall I empty the "shopping" list?'
    assert await say("yes", "cellar") == "-"
    assert await say("yes please") == "The shopping list is empty."
    assert await say("add milk to the shopping list") == "Milk is on the shopping list."
    assert await say("clear the shopping list") == 'Shall I empty the "shopping" list?'
    assert await say("what is 2 + 2") == "That is 4."
    assert await say("yes") == "-"
    assert await say("clear the shopping list") == 'Shall I empty the "shopping" list?'
    assert await say("no, leave it") == "I leave it."
    assert await say("what is on my shopping list") == "On the shopping list: milk."
    by_hand = await tools.call("list_clear", {"list": "shopping"}, Caller())
    assert await say("yes", "") == "-"
    assert [one.id for one in tools.approvals.waiting] == [by_hand.approval.id if by_hand.approval else ""]
    guest = await talk(Ask("what is on my shopping list", person=GUEST))
    assert isinstance(guest, Answered)
    assert "live here" in guest.text
    assert await talk.preview("what is 3 * 4") == "That is 12."
    assert await talk.preview("clear the shopping list") == "", "something would be done for it"
    assert await talk.preview("who wrote hamlet") is None


async def test_families_that_lack_something_say_what(tmp_path: Path) -> None:
    tools, _ = registry()
    script = tmp_path / "script.sh"
    await anyio.Path(script).write_text("#!/bin/sh\n", encoding="utf-8")
    config = Config(enabled=tuple(one for one in FAMILIES if one != "notes"), commands=(f"mine={script}",))
    await add_tools(tools, config, Workers(), Parts(tmp_path, lambda: NOW))
    assert tools.absent["web_read"] == "set tools.hosts"
    assert tools.absent["file_read"] == "set tools.folder"
    assert "switched off" in tools.absent["notes"]
    assert "no program" in tools.absent["run_command"]
    assert tools.get("calculate") is not None
    assert tools.get("note_add") is None


@pytest.mark.parametrize(
    ("host", "port", "may"),
    [
        ("example.org", 443, True),
        ("example.org", 8443, False),
        ("EXAMPLE.org.", 80, True),
        ("www.example.org", 443, False),
        ("a.example.net", 443, True),
        ("example.net", 443, False),
        ("evilexample.net", 443, False),
        ("example.net.evil.com", 443, False),
        ("127.0.0.1", 8080, True),
        ("127.0.0.1", 80, False),
        ("::1", 9000, True),
        ("2130706433", 80, False),
    ],
)
def test_a_host_is_reached_as_it_was_named_and_not_otherwise(host: str, port: int, may: bool) -> None:
    assert may_reach(host, port, ("example.org", "*.example.net", "127.0.0.1:8080", "[::1]:9000")) is may


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_no_address_of_a_house_or_a_machine_counts_as_public(address: str) -> None:
    assert not is_public(address)
    assert not allowed_address(address, "example.org", ())


def test_a_private_address_is_allowed_by_its_network_or_by_being_named() -> None:
    assert is_public("93.184.215.14")
    assert is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    assert allowed_address("192.168.1.9", "nas.example.org", ("192.168.1.0/24",))
    assert allowed_address("::ffff:192.168.1.9", "nas.example.org", ("192.168.1.0/24",))
    assert not allowed_address("192.168.2.9", "nas.example.org", ("192.168.1.0/24",))
    assert allowed_address("192.168.2.9", "192.168.2.9", ())


@SANDBOX
async def test_a_page_is_read_and_every_redirect_is_judged_anew(tmp_path: Path, site: Site) -> None:
    port = site.address.rpartition(":")[2]
    site.redirects |= {
        "/moved/": "/fair/",
        "/out/": "http://169.254.169.254/latest/meta-data/",
        "/home/": f"http://localhost:{port}/fair/",
        "/file/": "file:///etc/passwd",
        "/round/": "/round/",
    }
    tools, _ = registry()
    config = Config(hosts=(f"127.0.0.1:{port}", f"localhost:{port}"))
    async with Workers() as workers:
        await add_tools(tools, config, workers, Parts(tmp_path, lambda: NOW))

        async def read(path: str) -> str:
            url = path if "://" in path else f"{site.address}{path}"
            try:
                return (await tools.call("web_read", {"url": url}, Caller(turn="x"))).text
            except ToolRefused as error:
                return str(error)

        fair = await read("/fair/")
        assert "Opens at nine." in fair
        assert "bad()" not in fair
        assert await read("/moved/") == fair
        assert "not among the hosts" in await read("/out/")
        assert "private address" in await read("/home/")
        assert "http and https" in await read("/file/")
        assert "without end" in await read("/round/")
        assert "larger than" in await read("/long/")
        assert "nothing to read" in await read("/none/")
        assert "404" in await read("/missing/")
        assert "password" in await read(f"http://me:secret@127.0.0.1:{port}/fair/")
        assert tools.has_read("x") == ("127.0.0.1",)


@pytest.mark.parametrize("text", ["example.org", "*.example.org, 192.168.1.5:5232", "[fd00::1]:443", ""])
def test_hosts_are_read(text: str) -> None:
    assert len(Hosts().parse(text, Path())) == len([one for one in text.split(",") if one.strip()])


@pytest.mark.parametrize("text", ["a b", "http://example.org", "*.*", "*"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - kinds of values raise it bare
        Hosts().parse(text, Path())


@pytest.mark.parametrize("text", ["uptime", "x=uptime", "X=/bin/a", "a=/bin/a; a=/bin/b"])
def test_what_names_no_program_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - kinds of values raise it bare
        Programs().parse(text, Path())


def test_the_process_that_forks_imports_little_and_starts_no_thread() -> None:
    """A thread in it would make each fork a gamble, and what it imports it keeps for ever."""
    source = (Path(__file__).parents[1] / "daemon/perslm_daemon/tool_server.py").read_text(encoding="utf-8")
    imported = {
        name.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert not imported & {"anyio", "asyncio", "threading", "numpy", "msgspec"}
