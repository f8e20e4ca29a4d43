"""docs/mqtt.md says what the code does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec

from perslm_daemon import journal, mqtt_requests, topics, verb_table, verbs
from perslm_daemon.arbitration import Arbitration
from perslm_daemon.config_sections import Mqtt, keys
from perslm_daemon.mqtt_requests import response_filters

PAGE = (Path(__file__).parents[1] / "docs/mqtt.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of the table under a heading, by its first cell's code."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_every_topic_is_named() -> None:
    here = topics.Topics("<base>", "home")
    made = {
        here.request("<verb>"),
        here.request("<verb>", "<user>"),
        here.response("<verb>"),
        here.reply("<turn>"),
        here.event,
        here.state,
        here.value("<value>"),
        here.set("<setting>"),
        Arbitration("<base>", "home").topics.replace("+", "<phrase>"),
    }
    assert {name.replace("/home", "/<node>") for name in made} == set(rows("Topics"))


def test_every_verb_is_there_with_all_its_arguments() -> None:
    source = inspect.getsource(verb_table.Table)
    found = dict(re.findall(r'Verb\(\s*"(\w+)",\s*(\w+),', source))
    assert set(rows("Requests")) == set(found)
    for verb, kind in found.items():
        args = getattr(verb_table, kind, None) or getattr(verbs, kind)
        named = {field.name for field in msgspec.structs.fields(args)} - {"transaction", "sent_at"}
        written = re.sub(r"\(.*?\)", "", rows("Requests")[verb][0])
        assert set(re.findall(r"[a-z_]+", written)) - {"or"} == named, verb


def test_the_figures_are_those_of_the_code() -> None:
    assert journal.REMEMBERED_S == 600
    assert "for 10 minutes" in PAGE
    assert f"more than {mqtt_requests.STALE_S:.0f} s ago" in PAGE
    assert f"last {mqtt_requests._READ_ANSWERS} requests" in PAGE
    assert f"{mqtt_requests._OTHERS_AT_ONCE} of any other verb" in PAGE
    assert mqtt_requests._MODEL_AT_ONCE == 3
    assert verbs.MAX_PAYLOAD_BYTES == 256 * 1024
    for pattern in response_filters(Mqtt()):
        assert f"`{pattern.replace('perslm', '<base>')}`" in PAGE


def test_every_key_that_is_named_exists() -> None:
    named = set(re.findall(r"`(mqtt\.\w+)", PAGE))
    assert len(named) >= 6
    assert named <= set(keys())
