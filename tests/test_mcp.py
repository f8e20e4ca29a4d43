"""MCP servers as tools: a real one, as a program in its sandbox and over HTTP, under what was declared of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from perslm_daemon import plugin_wire as wire
from perslm_daemon.approvals import Approvals
from perslm_daemon.broker import free_port
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.plugin_mcp import mcp_settings
from perslm_daemon.plugins import Plugins
from perslm_daemon.tools import Caller, Tools, Who
from perslm_runtime import landlock
from perslm_runtime.errors import ConfigError, PluginRefused
from plugin_site import configured, needs

pytestmark = [
    pytest.mark.anyio,
    needs("mcp"),
    pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run"),
]

SERVER = Path(__file__).with_name("mcp_server.py")
DECLARED = """reads = ["list_notes", "add_numbers", "look_outside", "fail", "end"]
changes = ["addNote"]
[mcp.{name}.questions]
addNote = "note {{text}}"
[mcp.{name}.sentences]
addNote = ["note down {{text}}"]
"""


@contextmanager
def over_http(port: int, folder: Path) -> Iterator[None]:
    """The server at a port of the loopback, from when it answers."""
    environment = {**os.environ, "NOTES": str(folder / "notes.txt")}
    command = [sys.executable, str(SERVER), str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        yield
        child.terminate()


def as_program() -> str:
    paths = [path for path in sys.path if path]
    readable = [str(Path(path).resolve()) for path in [*paths, sys.prefix, sys.base_prefix] if Path(path).is_dir()]
    lines = [
        "[mcp.notes]",
        f"command = {[sys.executable, str(SERVER)]!r}".replace("'", '"'),
        f"readable = {readable!r}".replace("'", '"'),
        f'env = {{PYTHONPATH = "{os.pathsep.join(paths)}"}}',
    ]
    return "\n".join([*lines, DECLARED.format(name="notes")])


@asynccontextmanager
async def running(folder: Path, name: str, tables: str) -> AsyncIterator[tuple[Plugins, Tools]]:
    config = await anyio.to_thread.run_sync(
        lambda: configured(folder, f"plugins.enabled={name}", "plugins.call_s=60", tables=tables)
    )
    bulletin = Bulletin()
    tools = Tools(bulletin, Approvals(bulletin))

    async def tell(_name: str, _notice: wire.NoticeShape) -> None:
        pass

    plugins = Plugins(config, tools, bulletin, tell, again_s=2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(plugins.run)
        await plugins.settled.wait()
        yield plugins, tools
        tasks.cancel_scope.cancel()


async def test_a_server_that_is_a_program_works_in_its_sandbox_and_starts_again(tmp_path: Path) -> None:
    async with running(tmp_path, "mcp.notes", await anyio.to_thread.run_sync(as_program)) as (plugins, tools):
        assert plugins.plugged["mcp.notes"].problem == ""
        noted = await tools.call("notes_add_note", {"text": "buy milk", "how_often": 2}, Caller())
        assert noted.text == "noted: buy milk"
        listed = await tools.call("notes_list_notes", {"contains": "none"}, Caller())
        assert listed.text == "buy milk\nbuy milk"
        assert listed.strangers
        both = await tools.call("notes_add_numbers", {"first": "1.5", "second": "2"}, Caller())
        assert both.data == {"sum": 3.5}
        for tool, arguments in (("fail", {}), ("look_outside", {"path": "/etc/passwd"})):
            with pytest.raises(PluginRefused, match="the MCP server notes says: Error executing tool"):
                await tools.call(f"notes_{tool}", arguments, Caller())
        with pytest.raises(PluginRefused, match="failed"):
            await tools.call("notes_end", {}, Caller())
        assert (await tools.call("notes_list_notes", {"contains": "milk"}, Caller())).text == listed.text
        kept = tmp_path / "plugins" / "mcp.notes" / "notes.txt"
        assert await anyio.Path(kept).read_text() == "buy milk\nbuy milk\n"


async def test_a_server_over_http_that_comes_later_is_under_the_same_policy(tmp_path: Path) -> None:
    port = free_port()
    tables = f'[mcp.web]\nurl = "http://127.0.0.1:{port}/mcp"\n' + DECLARED.format(name="web")
    async with running(tmp_path, "mcp.web", tables) as (plugins, tools), AsyncExitStack() as stack:
        assert "the MCP server web: no connection" in plugins.plugged["mcp.web"].problem
        await anyio.to_thread.run_sync(stack.enter_context, over_http(port, tmp_path))
        with anyio.fail_after(90):
            while plugins.plugged["mcp.web"].state != "ready":  # noqa: ASYNC110 - another process comes up
                await anyio.sleep(0.05)
        assert plugins.listed()[0]["reaches"] == [f"127.0.0.1:{port}"]
        assert {one.name for one in tools.manifests} == {
            "web_list_notes",
            "web_add_note",
            "web_add_numbers",
            "web_look_outside",
            "web_fail",
            "web_end",
        }
        led = Caller(turn="t", who=Who.MODEL)
        first = await tools.call("web_list_notes", {"contains": "none"}, led)
        assert first.text == "there are none"
        asked = await tools.call("web_add_note", {"text": "led on", "how_often": 1}, led)
        assert asked.text == 'After reading "mcp.web": Shall I note "led on"?'
        again = await tools.call("web_list_notes", {"contains": "none"}, Caller())
        assert again.text == "there are none"
        assert asked.approval is not None
        await tools.approvals.answer(True, asked.approval.id, person="owner", by="test")
        assert (await tools.call("web_list_notes", {"contains": "led"}, Caller())).text == "led on"


async def test_a_server_that_nobody_declared_is_refused_with_the_next_step(tmp_path: Path) -> None:
    async with running(tmp_path, "mcp.none", "") as (plugins, _):
        assert "declare it as [mcp.none]" in plugins.plugged["mcp.none"].problem


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"reads": ["x"]}, "give either `command`"),
        ({"command": ["node", "x"], "reads": ["x"]}, "a whole path"),
        ({"url": "ftp://x", "reads": ["x"]}, "no address"),
        ({"url": "http://x/mcp"}, "name the tools that are wanted"),
        ({"url": "http://x/mcp", "reads": ["x"], "grants": ["x"]}, "unknown field `grants`"),
        ({"url": "http://x/mcp", "reads": ["x"], "secrets": {"Key": "nowhere"}}, "the secret Key cannot be read"),
    ],
)
def test_a_wrong_declaration_is_refused(table: dict[str, object], why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        mcp_settings("x", table, tmp_path)


def test_only_what_was_declared_is_taken_and_its_secrets_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame\n")
    table = {"url": "http://x/mcp", "asks": ["doIt"], "secrets": {"Authorization": "key"}}
    server = mcp_settings("x", table, tmp_path)
    assert server.for_child()["headers"] == {"Authorization": "sesame"}
    assert "sesame" not in repr(server)
    brought = wire.Shape(
        "x", "", "1", (wire.ToolShape("do_it", "a"), wire.ToolShape("other", "b")), (), False, 0, False, False
    )
    (tool,) = server.governed(brought).tools
    assert (tool.name, tool.asks, tool.untrusted, tool.sends) == ("do_it", True, True, True)
    assert tool.changes
    with pytest.raises(ConfigError, match="has no tool do_it"):
        server.governed(wire.Shape("x", "", "1", (), (), False, 0, False, False))
