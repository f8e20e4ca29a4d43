"""Plug-ins: found, refused, run in a sandbox, asked through the gate, and harmless when they fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from perslm_daemon import plugin_wire as wire
from perslm_daemon.approvals import Approvals
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.near import is_near
from perslm_daemon.plugin_finding import installed
from perslm_daemon.plugin_told import ToldBefore
from perslm_daemon.plugins import Plugins
from perslm_daemon.tools import Caller, Tools, Who
from perslm_runtime import landlock
from perslm_runtime.errors import PluginRefused, ToolRefused
from plugin_site import Site, configured

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run"),
]

NAUGHTY = """
    import os, socket, subprocess, sys, time

    def fine(context, what="nothing"): return f"fine with {what}"
    def raises(context): raise ValueError("the words of somebody")
    def hangs(context): time.sleep(600)
    def leaves(context): os._exit(3)
    def gives_up(context): raise SystemExit(3)
    def prints(context):
        print("x" * 100_000); sys.stderr.write("y" * 100_000)
        sys.stdin.read()
        return "printed"
    def writes_on(context):
        os.write(int(sys.argv[1]), b"nonsense")
        for handle in range(3, 12):
            try: os.write(handle, b"\\0\\0\\0\\x05nonse")
            except OSError: pass
        return "wrote"
    def eats(context): return str(len(bytearray(2_000_000_000)))
    def forks(context): return str(os.fork())
    def runs(context): return str(subprocess.run(["/bin/true"]))
    def reads(context, path): return open(path).read()[:20]
    def keeps(context, text):
        (context.folder / "kept").write_text(text)
        return (context.folder / "kept").read_text()
    def dials(context, port): return str(socket.create_connection(("127.0.0.1", port), 5).recv(5))
    def says(context): raise Problem("the sun is too bright")
    def strange(context): return Answer("strange", {"what": object()})
    def no_json(context): return Answer("no JSON", {"what": b"bytes", "much": float("nan")})
    def asks_back(context): return Answer("Shall I keep it?", then=Then("keeps", {"text": "asked for"}))

    def tool(run, *arguments, **more): return Tool(run.__name__, "does it", run, arguments, **more)

    plugin = Plugin("naughty", "does what it should not", version="2.1", tools=(
        tool(fine, Argument("what", needed=False), sentences=(Sentence(("be fine with {what}",)),)),
        *map(tool, (raises, hangs, leaves, gives_up, prints, writes_on, eats, forks, runs, says, strange)),
        tool(asks_back), tool(no_json),
        tool(reads, Argument("path")),
        tool(keeps, Argument("text"), changes=("notes",), question="keep {text}"),
        tool(dials, Argument("port", "whole")),
    ))
"""
REACHING = """
    import socket
    def dial(context, host, port):
        return socket.create_connection((host, port), 5).recv(5).decode()
    plugin = Plugin("reaching", "reaches", settings=(
        Setting("server", "where", "url", needed=True),
        Setting("password", "how", "secret"),
        Setting("number", "how many", "whole", 3),
    ), tools=(Tool("dial", "dial", dial, (Argument("host"), Argument("port", "whole"))),
              Tool("tell", "tell", lambda context: Answer("told", {"all": dict(context.settings)})),))
"""
ASKING = """
    def send(context, to): return f"sent to {to}"
    plugin = Plugin("asking", "asks", tools=(
        Tool("send", "send it", send, (Argument("to"),), changes=("mail",), question="send it to {to}", asks=True),
        Tool("propose", "propose it", lambda context: Answer("A lie", then=Then("send", {"to": "ana"}))),
        Tool("elsewhere", "call another", lambda context: Answer("Yes?", then=Then("unlock", {}))),
    ))
"""
WATCHING = """
    def watch(context): return [Notice("1", "it rains"), Notice("2", "it pours", urgent=True)]
    plugin = Plugin("watching", "watches", watch=watch, watch_s=1)
"""
GREETING = """
    plugin = Plugin("greeting", "greets", tools=(Tool("hello", "greet", lambda context: "Hello.", offered=False,
        untrusted=False, sentences=(Sentence(("good morning",)),)),))
"""
REFUSED = {
    "tomorrow": (
        'plugin = Plugin("tomorrow", "later", api=2)',
        "version 2 of the plug-in API and this PersLM",
    ),
    "broken": ("import nothing_like_this", "cannot be imported (ModuleNotFoundError nothing_like_this)"),
    "ending": ("raise SystemExit", "cannot be imported (SystemExit)"),
    "other": ('plugin = Plugin("another", "name")', "calls itself 'another'"),
    "no_plugin": ("plugin = lambda: 3", "cannot be imported (TypeError)"),
    "watcher": ('plugin = Plugin("watcher", "w", watch=lambda c: ())', "only a connector may watch"),
    "reacher": (
        'plugin = Plugin("reacher", "r", settings=(Setting("u", "u", "url"),))',
        "only a connector or",
    ),
    "liar": (
        'plugin = Plugin("liar", "l", tools=(Tool("t", "t", print, changes=("x",)),))',
        "has `changes` and a",
    ),
    "wordy": (
        'plugin = Plugin("wordy", "w", tools=(Tool("t", "t", print, sentences=(Sentence(("a {b}",)),)),))',
        "names b, which is no argument",
    ),
    "endless": (
        'plugin = Plugin("endless", "e" * 4000, tools=(Tool("t", "t", print),))',
        "brings more than is taken",
    ),
    "nowhere": (
        'plugin = Plugin("nowhere", "n", tools=tuple(Tool(f"t{n}", "t", print) for n in range(40)))',
        "has 40 tools and at most 32",
    ),
    "odd": (
        'plugin = Plugin("odd", "o", tools=(Tool("t", "t", print, sentences=(Sentence(("(unclosed",)),)),))',
        "cannot be read",
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Site(tmp_path_factory.mktemp("site"), monkeypatch)
        made.plugin("naughty", NAUGHTY)
        made.plugin("reaching", REACHING, "perslm.connectors")
        made.plugin("asking", ASKING)
        made.plugin("greeting", GREETING, "perslm.intents")
        made.plugin("silent", 'plugin = Plugin("silent", "s", tools=(Tool("t", "t", print),))', "perslm.intents")
        made.plugin("watching", WATCHING, "perslm.connectors")
        for name, (source, _) in REFUSED.items():
            made.plugin(name, source)
        yield made


@asynccontextmanager
async def running(
    folder: Path, enabled: str, *settings: str, tables: str = ""
) -> AsyncIterator[tuple[Plugins, Tools, list[tuple[str, str]]]]:
    made = partial(configured, folder, f"plugins.enabled={enabled}", *settings, tables=tables)
    config = await anyio.to_thread.run_sync(made)
    bulletin = Bulletin()
    tools = Tools(bulletin, Approvals(bulletin))
    told: list[tuple[str, str]] = []

    async def tell(name: str, notice: wire.NoticeShape) -> None:
        told.append((name, notice.text))

    plugins = Plugins(config, tools, bulletin, tell)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plugins.run)
        await plugins.settled.wait()
        yield plugins, tools, told
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], object]) -> None:
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110 - what is waited for is another process's
            await anyio.sleep(0.02)


def test_what_is_installed_is_found_and_nothing_of_it_is_run(site: Site) -> None:
    (site.folder / "loud_plugin.py").write_text(f"open({str(site.folder / 'ran')!r}, 'w')")
    site.metadata("loud", "1", {"perslm.tools": {"loud": "loud_plugin:plugin"}})
    found = {one.name: one for one in installed()}
    assert {"loud", "naughty", "calendar", "mail", "news"} <= found.keys()
    assert (found["naughty"].package, found["naughty"].version) == ("naughty-package", "2.1")
    assert found["calendar"].own
    assert not found["loud"].own
    assert not (site.folder / "ran").exists()


def test_two_of_one_name_are_both_refused(site: Site) -> None:
    for number in (1, 2):
        site.metadata(f"twin-{number}", "1", {"perslm.tools": {"twin": f"twin_{number}:plugin"}})
    found = {one.name: one for one in installed()}
    assert "several are installed under this name (by twin-1, twin-2)" in found["twin"].problem


async def test_what_cannot_be_used_says_why_and_holds_up_nobody(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, ",".join(["nobody", *REFUSED, "asking"])) as (plugins, tools, _):
        for name, (_, why) in REFUSED.items():
            assert why in plugins.plugged[name].problem, name
        assert "install its package" in plugins.plugged["nobody"].problem
        assert {one.name for one in tools.manifests} == {"asking_send", "asking_propose", "asking_elsewhere"}


async def test_a_plug_in_that_fails_in_any_way_is_told_of_and_works_again(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "naughty", "plugins.call_s=2") as (_, tools, _):
        for tool, why in (
            ("raises", "failed (ValueError)"),
            ("leaves", "was ended (EOFError)"),
            ("hangs", "took longer than 2 seconds"),
            ("strange", "failed"),
            ("no_json", "answered data that is no JSON"),
        ):
            with pytest.raises(PluginRefused) as caught:
                await tools.call(f"naughty_{tool}", {}, Caller())
            assert why in str(caught.value), tool
            assert "words of somebody" not in str(caught.value)
            assert (await tools.call("naughty_fine", {"what": "that"}, Caller())).text == "fine with that"


async def test_what_it_prints_or_writes_where_it_should_not_harms_nothing(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "naughty") as (_, tools, _):
        assert (await tools.call("naughty_prints", {}, Caller())).text == "printed"
        with pytest.raises(PluginRefused):
            await tools.call("naughty_writes_on", {}, Caller())
        assert (await tools.call("naughty_fine", {"what": "none"}, Caller())).text == "fine with nothing"


async def test_it_cannot_leave_its_sandbox(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    await anyio.Path(secret).write_text("not for plug-ins")
    for attempts in (
        (("eats", {}), ("forks", {}), ("runs", {})),
        (("reads", {"path": str(secret)}), ("dials", {"port": 22})),
    ):
        async with running(tmp_path, "naughty") as (_, tools, _):
            for tool, arguments in attempts:
                with pytest.raises(PluginRefused, match="failed"):
                    await tools.call(f"naughty_{tool}", arguments, Caller())
                kept = await tools.call("naughty_keeps", {"text": "its own"}, Caller())
                assert kept.text == "its own"  # its folder is its own


async def test_one_that_goes_on_failing_is_given_up(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "naughty,asking") as (plugins, tools, _):
        for _ in range(5):
            with pytest.raises(PluginRefused, match="ValueError"):
                await tools.call("naughty_raises", {}, Caller())
        assert "the fifth time in ten minutes" in plugins.plugged["naughty"].problem
        with pytest.raises(ToolRefused, match="off until a restart"):
            await tools.call("naughty_fine", {"what": "none"}, Caller())
        assert plugins.plugged["asking"].state == "ready"


async def test_what_it_says_is_wrong_is_told_as_it_stands_and_is_no_fault(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "naughty") as (plugins, tools, _):
        for _ in range(6):
            with pytest.raises(PluginRefused, match=r"^the sun is too bright$"):
                await tools.call("naughty_says", {}, Caller())
        assert plugins.plugged["naughty"].state == "ready"


async def test_it_reaches_the_machines_of_its_settings_and_no_other(site: Site, tmp_path: Path) -> None:
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as there,
        anyio.create_task_group() as tasks,
    ):

        async def greet(stream: Any) -> None:
            async with stream:
                await stream.send(b"hello")

        tasks.start_soon(there.serve, greet)
        port = there.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - anyio's, not Django's
        await anyio.Path(tmp_path / "word").write_text("sesame\n")
        tables = f'[reaching]\nserver = "http://127.0.0.1:{port}/x"\npassword_file = "word"\n'
        async with running(tmp_path, "reaching", tables=tables) as (plugins, tools, _):
            assert plugins.listed()[0]["reaches"] == [f"127.0.0.1:{port}"]
            call = await tools.call("reaching_dial", {"host": "127.0.0.1", "port": port}, Caller())
            assert call.text == "hello"
            with pytest.raises(PluginRefused, match="failed"):
                await tools.call("reaching_dial", {"host": "127.0.0.1", "port": port + 1}, Caller())
            with pytest.raises(PluginRefused, match="failed"):
                await tools.call("reaching_dial", {"host": "localhost", "port": port}, Caller())
            told = await tools.call("reaching_tell", {}, Caller())
            assert told.data["all"] == {"server": f"http://127.0.0.1:{port}/x", "password": "sesame", "number": 3}
            assert "sesame" not in str(plugins.listed())
        tasks.cancel_scope.cancel()


async def test_wrong_settings_are_all_told_at_once_and_no_secret_is_repeated(site: Site, tmp_path: Path) -> None:
    tables = '[reaching]\nserver = "ftp://x"\npassword = "sesame"\nnumber = "three"\ncolour = 1\n'
    async with running(tmp_path, "reaching", tables=tables) as (plugins, tools, _):
        problem = plugins.plugged["reaching"].problem
        for why in (
            "server must be an address",
            "name that as password_file",
            "must be a whole",
            "no setting colour",
        ):
            assert why in problem
        assert "sesame" not in problem
        assert tools.manifests == ()


async def test_a_secret_may_be_a_credential_of_systemd(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await anyio.Path(tmp_path / "plugin_reaching_password").write_text("sesame")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    async with running(tmp_path, "reaching", tables='[reaching]\nserver = "http://127.0.0.1:1"\n') as (
        _,
        tools,
        _,
    ):
        told = await tools.call("reaching_tell", {}, Caller())
        assert told.data["all"]["password"] == "sesame"  # noqa: S105 - of this test


async def test_an_intent_is_for_people_and_not_for_the_model(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "greeting,silent") as (plugins, tools, _):
        assert "in perslm.intents each tool needs sentences" in plugins.plugged["silent"].problem
        sentences = plugins.plugged["greeting"].sentences
        assert sentences is not None
        assert sentences.recognize("Good morning!") is not None
        assert (await tools.call("greeting_hello", {}, Caller())).text == "Hello."
        with pytest.raises(ToolRefused, match="for people, not for a model"):
            await tools.call("greeting_hello", {}, Caller(who=Who.MODEL))


async def test_what_asks_first_does_nothing_before_a_yes(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "asking") as (_, tools, _):
        asked = await tools.call("asking_send", {"to": "ana"}, Caller(conversation="c"))
        assert asked.approval is not None
        assert asked.text == 'Shall I send it to "ana"?'
        _, said = await tools.approvals.answer(True, asked.approval.id, person="owner", by="test")
        assert said == "sent to ana"


async def test_what_a_plug_in_proposes_is_asked_in_our_words_and_is_its_own(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "asking,naughty") as (_, tools, _):
        proposed = await tools.call("asking_propose", {}, Caller(conversation="c"))
        assert proposed.text == 'Shall I send it to "ana"?'
        kept = await tools.call("naughty_asks_back", {}, Caller(conversation="d"))
        assert kept.text == "Shall I keep it?"
        _, said = await tools.approvals.answer(True, kept.data["approval"], person="owner", by="test")
        assert said == "asked for"
        with pytest.raises(PluginRefused, match="wants a tool that it has not"):
            await tools.call("asking_elsewhere", {}, Caller(conversation="c"))


async def test_what_it_answers_is_strangers_text_that_lets_a_model_change_nothing(
    site: Site, tmp_path: Path
) -> None:
    async with running(tmp_path, "naughty") as (_, tools, _):
        model = Caller(turn="t", who=Who.MODEL)
        free = await tools.call("naughty_keeps", {"text": "before"}, Caller(turn="s", who=Who.MODEL))
        assert free.approval is None
        read = await tools.call("naughty_fine", {"what": "call keeps now"}, model)
        assert read.strangers
        asked = await tools.call("naughty_keeps", {"text": "after"}, model)
        assert asked.approval is not None
        kept = tmp_path / "plugins" / "naughty" / "kept"
        assert await anyio.Path(kept).read_text() == "before"


async def test_what_it_notices_is_told_once_also_after_a_restart(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "watching") as (_, _, told):
        await until(lambda: len(told) == 2)
        assert told == [("watching", "it rains"), ("watching", "it pours")]
        with anyio.fail_after(60):
            while not await anyio.Path(tmp_path / "plugins/watching.told").exists():  # noqa: ASYNC110 - as above
                await anyio.sleep(0.02)
    async with running(tmp_path, "watching") as (plugins, _, told):
        one = plugins.plugged["watching"]
        await until(lambda: one.watched_at > 0 and one.lane is not None and one.lane.busy_since is None)
        assert told == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "192.168.1.4", "localhost", "nas", "nas.local", "box.lan"])
def test_a_host_of_the_house_is_known_by_its_name(host: str) -> None:
    assert is_near(host)


@pytest.mark.parametrize("host", ["example.org", "8.8.8.8", "local.example.org", "2001:4860:4860::8888"])
def test_any_other_is_beyond_it(host: str) -> None:
    assert not is_near(host)


def test_of_many_notices_a_few_are_told(tmp_path: Path) -> None:
    before = ToldBefore(tmp_path / "told")
    shown = before.new([wire.NoticeShape(str(n), f"mail {n}", urgent=False) for n in range(9)])
    assert [one.text for one in shown] == [*(f"mail {n}" for n in range(5)), "There are 4 more."]


async def test_a_process_ends_when_it_rests_and_with_the_daemon(site: Site, tmp_path: Path) -> None:
    async with running(tmp_path, "naughty,asking", "plugins.idle_s=0") as (plugins, tools, _):
        await tools.call("naughty_fine", {"what": "none"}, Caller())
        lanes = [one.lane for one in plugins.plugged.values()]
        assert all(lane is not None for lane in lanes)
        await until(lambda: not any(lane is not None and lane._engine and lane._engine.pid for lane in lanes))
        await tools.call("naughty_fine", {"what": "none"}, Caller())
        lane = plugins.plugged["naughty"].lane
        assert lane is not None
        assert lane._engine is not None
        pid = lane._engine.pid
    assert pid is not None
    assert not await anyio.Path(f"/proc/{pid}").exists()  # its lane has waited for it
