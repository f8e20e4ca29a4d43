"""Plug-ins in the whole daemon: sentences reach them, a yes is taken in the conversation, notices are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from perslm_daemon.doctor_running import check_approvals, check_plugins, check_sharing
from perslm_daemon.findings import Finding, Verdict
from perslm_daemon.ways import Running
from perslm_runtime import landlock
from plugin_site import Site, configured, needs
from test_serve import ask, daemon

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("small_gguf"),
    needs("icalendar", "recurring_ical_events"),
    pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run"),
]

PARCEL = """
    def send(context, to):
        (context.folder / "sent").write_text(to)
        return f"It is on its way to {to}."
    plugin = Plugin("parcel", "sends parcels", tools=(
        Tool("send", "send a parcel", send, (Argument("to"),), changes=("parcels",), asks=True,
             question="send a parcel to {to}", sentences=(Sentence(("send a parcel to {to}",)),)),
        Tool("where", "where it is", lambda context: "It is in the town of Ulm.",
             sentences=(Sentence(("where is my parcel",)),)),
    ), watch=lambda context: [Notice("p", "A parcel has come")], watch_s=1)
"""
DAILY = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART;VALUE=DATE:20260101\r\nDTEND;VALUE=DATE:20260102\r\nRRULE:FREQ=DAILY\r\nSUMMARY:Feed the cat\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
)


SETTINGS = ("plugins.enabled=calendar,parcel,bad", "memory.guests=true", "share.corrections=owner")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cat.ics").write_text(DAILY)
    (tmp_path / "data" / "plugins.toml").write_text('[calendar]\nfiles = ["cat.ics"]\n')
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = Site(tmp_path / "site", monkeypatch)
        made.plugin("parcel", PARCEL, "perslm.connectors")
        made.plugin("bad", 'raise ImportError("no such library")')
        yield made


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[Running]:
    async with daemon(folder, *SETTINGS) as running:
        assert running.table.plugins is not None
        with anyio.fail_after(90):
            await running.table.plugins.settled.wait()
        yield running


async def said(running: Running, text: str, conversation: str = "c") -> Any:
    response = await ask(running, "ask", {"text": text, "conversation": conversation})
    assert response.status == "ok", response.error
    return response.data


async def doctor_and_dashboard_see_them(running: Running, folder: Path) -> None:
    """What failed, what is shared and what waits is told, and one is looked at before it is let run."""
    looked = await ask(running, "plugin", {"name": "parcel"})
    assert "parcel_send" in {tool["name"] for tool in looked.data["tools"]}
    assert (await ask(running, "plugin", {"action": "enable", "name": "bad"})).status == "error"
    over_mqtt = await ask(running, "plugin", {"name": "parcel"}, source="mqtt")
    assert "on the machine itself" in (over_mqtt.error or "")
    installed = (await ask(running, "plugins", {"action": "installed"})).data["plugins"]
    assert {one["name"]: one["state"] for one in installed}["news"] == "off"
    await ask(running, "tools", {"action": "call", "name": "list_clear", "arguments": {"list": "shopping"}})

    def found() -> list[list[Finding]]:
        config = configured(folder, *SETTINGS, tables=(folder / "plugins.toml").read_text())
        return [list(check(config)) for check in (check_plugins, check_sharing, check_approvals)]

    plugins, sharing, approvals = await anyio.to_thread.run_sync(found)
    assert [one.verdict for one in plugins] == [Verdict.OK, Verdict.OK, Verdict.FAIL]
    assert "owner shares corrections: nothing yet" in sharing[0].found
    assert approvals[0].found == "list_clear waits for a yes"
    assert (await ask(running, "approve", {"yes": False})).data["text"] == "I leave it."


async def test_sentences_reach_plug_ins_a_yes_is_the_next_word_and_guests_are_told_nothing(
    site: Site, tmp_path: Path
) -> None:
    async with house(tmp_path / "data") as running:
        plugins = (await ask(running, "plugins")).data["plugins"]
        assert [(one["name"], one["state"]) for one in plugins] == [
            ("calendar", "ready"),
            ("parcel", "ready"),
            ("bad", "refused"),
        ]
        await doctor_and_dashboard_see_them(running, tmp_path / "data")
        told = await said(running, "What's on tomorrow?")
        assert told["text"] == "Tomorrow you have one thing: Feed the cat, all day."
        assert told["intent"] == {"name": "calendar_events", "slots": {"day": "tomorrow"}}
        assert told["model"] == ""
        where = await said(running, "Where is my parcel?")
        assert where["text"] == "It is in the town of Ulm."
        sent = tmp_path / "data" / "plugins" / "parcel" / "sent"
        asked = await said(running, "Send a parcel to Ana.")
        assert asked["text"] == 'Shall I send a parcel to "Ana"?'
        assert not await anyio.Path(sent).exists()
        done = await said(running, "Yes, please.")
        assert done["text"] == "It is on its way to Ana."
        assert await anyio.Path(sent).read_text() == "Ana"
        await said(running, "Send a parcel to Bob.")
        assert (await said(running, "No."))["text"] == "I leave it."
        assert await anyio.Path(sent).read_text() == "Ana"
        known = (await ask(running, "tools")).data["tools"]
        assert {"calendar_events", "calendar_add", "parcel_send"} <= {one["name"] for one in known}
        with anyio.fail_after(60):
            while not (told := (await ask(running, "notify", {"action": "list"})).data["unseen"]):  # noqa: ASYNC110 - as programs do
                await anyio.sleep(0.05)
        assert told[0]["text"] == "A parcel has come"
        forgotten = await ask(running, "forget", {"text": "parcel"})
        assert forgotten.data["count"] > 0
        assert any("what the plug-in parcel has kept" in one for one in forgotten.data["receipt"]["beyond"])
        guest = await ask(running, "ask", {"text": "what is on today"}, source="mqtt")  # nobody vouches for it
        assert guest.data["text"] == "That is for people who live here: ask as somebody who is known."
