"""docs/plugins.md and docs/connectors.md say what the code does, and their example works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest

from perslm_daemon import plugin_mcp
from perslm_daemon import plugin_wire as wire
from perslm_daemon.config_plugins import Plugins
from perslm_daemon.plugin_trial import Trial, trial_of
from perslm_runtime import landlock
from perslm_runtime.errors import PluginRefused
from perslm_runtime.lane import Stop
from perslm_runtime.plugin import API, GROUPS, ArgumentKind, SettingKind
from plugin_site import Site, needs

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "plugins.md").read_text(encoding="utf-8")
FRIDAY_S = datetime(2026, 11, 27, 19, 0).astimezone().timestamp()


def test_every_group_kind_and_key_is_explained() -> None:
    for group in GROUPS:
        assert f"| `{group}` |" in PAGE
    for kind in (*get_args(ArgumentKind), *get_args(SettingKind)):
        assert re.search(rf"^\| [^|]*`{kind}`", PAGE, re.MULTILINE), kind
    for name in Plugins.__dataclass_fields__:
        assert f"plugins.{name}" in PAGE, name
    for field in plugin_mcp._Table.__struct_fields__:
        assert re.search(rf"\b{field}\b", PAGE), field
    assert f"`perslm_runtime.plugin.API` is {API}." in PAGE


@pytest.fixture
def bins(tmp_path: Path) -> Iterator[Trial]:
    """The page's example."""
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "bins_of_the_page.py").write_text(source)
    with pytest.MonkeyPatch.context() as monkeypatch:
        Site(tmp_path / "site", monkeypatch)
        settings = {"from_hour": 19}
        with trial_of(
            "bins_of_the_page:plugin", "perslm.connectors", "bins", tmp_path, settings=settings, now_s=FRIDAY_S
        ) as made:
            yield made


@pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run")
def test_the_example_does_what_the_page_says(bins: Trial) -> None:
    with pytest.raises(PluginRefused, match="I do not know when the paper bin goes out"):
        bins.say("when does the paper bin go out?")
    assert bins.say("the paper bin goes out on Monday").text == "The paper bin goes out on Monday."
    asked = bins.say("the paper bin goes out on Saturday")
    assert asked.text == "It is Monday now. Shall I make it Saturday?"
    assert bins.say("when is the paper bin").text == "The paper bin goes out on Monday."
    assert asked.then is not None
    bins.call(asked.then.tool, **asked.then.arguments)
    assert bins.say("when is the paper bin").text == "The paper bin goes out on Saturday."
    noticed = bins._process.ask(Stop(), wire.Watch(FRIDAY_S), wire.Noticed, 30)
    assert [one.text for one in noticed.notices] == ["The paper bin goes out tomorrow."]


@needs("icalendar", "feedparser", "imap_tools")
def test_every_sentence_that_the_page_of_connectors_shows_is_understood() -> None:
    from perslm_daemon.connectors import calendar, mail, news
    from perslm_daemon.plugin_child import shape_of
    from perslm_daemon.plugin_tools import said_of
    from perslm_runtime.plugin_sentences import PluginSentences, recognize_all

    page = (DOCS / "connectors.md").read_text(encoding="utf-8").partition("## Settings")[0]
    shapes = [shape_of(one.plugin) for one in (calendar, mail, news)]
    tables = [PluginSentences(shape.name, [said_of(tool) for tool in shape.tools]) for shape in shapes]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith('| "')]
    (last,) = re.findall(r'^("What\'s in the news".*?):', page, re.MULTILINE)
    said = [one for cell in (*cells, last) for one in re.findall(r'"([^"]+)"', cell)]
    assert len(said) > 20
    assert [one for one in said if recognize_all(tables, one) is None] == []
