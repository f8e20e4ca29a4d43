"""What `perslm doctor` says of plug-ins, of what is shared and of what waits for a yes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from perslm_daemon.doctor_running import check_approvals, check_plugins, check_sharing
from perslm_daemon.findings import Finding, Verdict
from perslm_runtime import landlock
from plugin_site import Site, configured
from test_serve import ask, daemon

BAD = """
    raise ImportError("no such library")
"""
GOOD = """
    plugin = Plugin("good", "does nothing", tools=(Tool("one", "one", lambda context: "one"),))
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    (tmp_path / "data").mkdir()
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Site(tmp_path / "site", monkeypatch)
        made.plugin("good", GOOD)
        made.plugin("bad", BAD)
        yield made


def test_without_a_daemon_it_is_told_what_is_installed_and_that_nothing_leaves(site: Site, tmp_path: Path) -> None:
    none = configured(tmp_path / "data")
    assert [one.found for one in check_plugins(none)] == ["none is enabled"]
    assert "nothing leaves this machine" in next(check_sharing(none)).found
    assert [one.verdict for one in check_approvals(none)] == [Verdict.OK]
    some = configured(tmp_path / "data", "plugins.enabled=good,missing", "share.corrections=owner")
    good, missing = check_plugins(some)
    assert (good.verdict, good.found) == (Verdict.OK, "good: not running")
    assert (missing.verdict, missing.advice != "") == (Verdict.FAIL, True)
    assert "does not run" in next(check_sharing(some)).found


@pytest.mark.anyio
@pytest.mark.usefixtures("small_gguf")
@pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run")
async def test_of_a_running_daemon_it_is_told_what_failed_what_is_shared_and_what_waits(
    site: Site, tmp_path: Path
) -> None:
    settings = ("plugins.enabled=good,bad", "share.corrections=owner")
    config = await anyio.to_thread.run_sync(configured, tmp_path / "data", *settings)
    async with daemon(tmp_path / "data", *settings) as running:
        assert running.table.plugins is not None
        with anyio.fail_after(90):
            await running.table.plugins.settled.wait()
        looked = await ask(running, "plugin", {"name": "good"})
        assert [tool["name"] for tool in looked.data["tools"]] == ["good_one"]
        refused = await ask(running, "plugin", {"action": "enable", "name": "bad"})
        assert refused.status == "error"
        assert "on the machine itself" in (await ask(running, "plugin", {"name": "good"}, source="mqtt")).error
        installed = (await ask(running, "plugins", {"action": "installed"})).data["plugins"]
        assert {one["name"]: one["state"] for one in installed}["bad"] == "refused"
        await ask(running, "tools", {"action": "call", "name": "list_clear", "arguments": {"list": "shopping"}})

        def found() -> list[list[Finding]]:
            return [list(check(config)) for check in (check_plugins, check_sharing, check_approvals)]

        plugins, sharing, approvals = await anyio.to_thread.run_sync(found)
    assert [(one.verdict, one.found.partition(":")[0]) for one in plugins] == [
        (Verdict.OK, "good"),
        (Verdict.FAIL, "bad"),
    ]
    assert "owner shares corrections: nothing yet" in sharing[0].found
    assert approvals[0].found == "list_clear waits for a yes"
    assert "perslm tools yes" in approvals[0].advice
