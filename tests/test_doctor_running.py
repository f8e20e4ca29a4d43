"""What `perslm doctor` says of plug-ins, of what is shared and of what waits for a yes, where no daemon runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perslm_daemon.doctor_running import check_approvals, check_plugins, check_sharing
from perslm_daemon.findings import Verdict
from plugin_site import Site, configured

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
