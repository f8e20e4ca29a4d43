"""The broker link against a real mosquitto; the verbs are real ones that need no model."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest

from mosquitto import Broker, Client, running
from perslm_daemon.broker import free_port
from perslm_daemon.broker_address import address_of, found_again
from perslm_daemon.broker_users import password_line
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.config_sections import Mqtt
from perslm_daemon.journal import Accepted, Journal
from perslm_daemon.mqtt import BrokerLink
from perslm_daemon.mqtt_requests import STALE_S
from perslm_daemon.settings import Setting, Settings, SettingValue
from perslm_daemon.turn import Sentence, Tell
from perslm_daemon.verbs import Args, Request, TextArgs, Verb, Verbs

pytestmark = pytest.mark.anyio
T = TypeVar("T")
ROOT = "perslm/kitchen"


class Home:
    """Real verbs: `echo` reads, `count` changes the world, `tale` answers in sentences, `hold` waits."""

    def __init__(self, path: Path) -> None:
        self.bulletin = Bulletin()
        self.bulletin.post("state", {"state": "online"})
        self.counted = 0
        self.volume: SettingValue = 1.0
        self.release = anyio.Event()
        self.held = anyio.Event()
        self.holding = 0
        number = Setting("volume", "number", "loudness", self._turn_up)
        self.settings = Settings(self.bulletin, {"volume": (number, 1.0)})
        self.path = path
        self.verbs = Verbs(
            {
                "echo": Verb("echo", TextArgs, "the same text", self._echo),
                "count": Verb("count", TextArgs, "one more", self._count, changes_world=True),
                "tale": Verb("tale", TextArgs, "two sentences", self._tale, needs_model=True),
                "hold": Verb("hold", Args, "wait", self._hold, needs_model=True, changes_world=True),
            },
            {"timer": "this part of PersLM is not built yet"},
        )

    async def _turn_up(self, value: SettingValue) -> None:
        self.volume = value

    async def _echo(self, args: TextArgs, request: Request, _tell: Tell) -> Mapping[str, Any]:
        return {"text": args.text, "person": request.person}

    async def _count(self, _args: TextArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        self.counted += 1
        return {"count": self.counted}

    async def _tale(self, _args: TextArgs, _request: Request, tell: Tell) -> Mapping[str, Any]:
        await tell(Sentence(0, "Once. "))
        await tell(Sentence(1, "The end."))
        return {"turn": "t", "text": "Once. The end.", "timings_ms": {"total": 1.0}}

    async def _hold(self, _args: Args, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        self.holding += 1
        self.held.set()
        await self.release.wait()
        return {}

    @asynccontextmanager
    async def linked(self, url: str, link: Mqtt | None = None) -> AsyncIterator[BrokerLink]:
        link = link or Mqtt()
        journal = await thread(Journal, self.path)
        made = BrokerLink(
            link,
            address=await thread(address_of, replace(link, broker=url)),
            node="kitchen",
            verbs=self.verbs,
            bulletin=self.bulletin,
            settings=self.settings,
            journal=journal,
            find_again=partial(found_again, replace(link, broker=url), None),
        )
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(lambda *, task_status: made.run(task_status=task_status))
                yield made
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await thread(journal.close)


async def thread(function: Callable[..., T], *args: Any, **named: Any) -> T:
    return await anyio.to_thread.run_sync(partial(function, *args, **named))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("broker")) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "journal")


@pytest.fixture
def client(broker: Broker) -> Iterator[Client]:
    made = Client(broker.port, (f"{ROOT}/response/#", f"{ROOT}/reply/#", "perslm/_clients/#"))
    yield made
    made.close()


async def asked(client: Client, verb: str, payload: bytes | str = b"", **more: Any) -> dict[str, Any]:
    await thread(client.publish, f"{ROOT}/request/{verb}", payload, **more)
    return await thread(client.next_json, f"{ROOT}/response/{verb}")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_request_is_answered_on_its_topic(
    broker: Broker, home: Home, client: Client, protocol: str
) -> None:
    async with home.linked(broker.url, Mqtt(protocol=protocol)):
        assert await asked(client, "echo", "5") == {"status": "ok", "data": {"text": "5", "person": None}}
        answer = await asked(client, "echo", '{"text": "a", "transaction": "x1"}')
        assert answer["transaction"] == "x1"


async def test_the_response_topic_gets_the_answer_with_its_correlation_data(
    broker: Broker, home: Home, client: Client
) -> None:
    async with home.linked(broker.url):
        await thread(
            client.publish,
            f"{ROOT}/request/echo",
            "hi",
            response_topic="perslm/_clients/me",
            correlation=b"\x00\xfe",
        )
        message = await thread(client.next, "perslm/_clients/me")
        assert json.loads(message.payload)["data"]["text"] == "hi"
        assert getattr(message.properties, "CorrelationData", None) == b"\x00\xfe"


@pytest.mark.parametrize("topic", ["zigbee2mqtt/bridge/request/permit_join", f"{ROOT}/request/echo"])
async def test_no_answer_goes_to_a_topic_outside_the_prefixes(
    broker: Broker, home: Home, client: Client, topic: str
) -> None:
    async with home.linked(broker.url):
        answer = await asked(client, "count", "x", response_topic=topic, correlation=b"1")
        assert answer["status"] == "error"
        assert "Response Topic" in answer["error"]
        assert home.counted == 0


@pytest.mark.parametrize(
    ("verb", "payload", "said"),
    [
        ("nothing", b"", "there is no verb"),
        ("timer", b"", "not built yet"),
        ("echo", b'{"text": ', "no valid JSON"),
        ("echo", b'{"text": 5}', "wrong arguments"),
        ("echo", b"\xff\xfe\x00", "not UTF-8"),
        ("echo", b"x" * 10_000_000, "at most"),
        ("echo", b"{" * 100_000, "no valid JSON"),
        ("set", b"", "there is no verb"),
    ],
)
async def test_garbage_is_answered_with_what_is_wrong(
    broker: Broker, home: Home, client: Client, verb: str, payload: bytes, said: str
) -> None:
    async with home.linked(broker.url):
        answer = await asked(client, verb, payload)
        assert answer["status"] == "error"
        assert answer["data"] == {}
        assert said in answer["error"]


async def test_a_duplicate_is_carried_out_once_and_answered_again(
    broker: Broker, home: Home, client: Client
) -> None:
    async with home.linked(broker.url):
        first = await asked(client, "count", '{"transaction": "t1"}')
        again = await asked(client, "count", '{"transaction": "t1"}')
        assert again == first
        assert home.counted == 1
        await asked(client, "count", '{"transaction": "t2"}')
        assert home.counted == 2
    async with home.linked(broker.url):
        assert await asked(client, "count", '{"transaction": "t1"}') == first
        assert home.counted == 2


async def test_a_request_that_a_crash_cut_short_is_answered_at_the_next_start(
    broker: Broker, home: Home, client: Client
) -> None:
    journal = await thread(Journal, home.path)
    await thread(journal.accept, [Accepted("k", "count", "perslm/_clients/me", b"c", "t9")])
    await thread(journal.close)
    async with home.linked(broker.url):
        message = await thread(client.next, "perslm/_clients/me")
        answer = json.loads(message.payload)
        assert answer["transaction"] == "t9"
        assert "not known whether it was carried out" in answer["error"]
    assert home.counted == 0


async def test_an_answer_that_a_crash_kept_from_the_broker_is_sent_at_the_next_start_and_once(
    broker: Broker, home: Home, client: Client
) -> None:
    journal = await thread(Journal, home.path)
    await thread(journal.accept, [Accepted("k", "count", "perslm/_clients/me", b"c", "t9")])
    await thread(journal.finish, [("k", b'{"status": "ok", "data": {"count": 1}}')])
    await thread(journal.close)
    answers = []
    for _ in range(2):
        async with home.linked(broker.url):
            answers += [one for one in await thread(client.all) if one.topic == "perslm/_clients/me"]
    assert [json.loads(message.payload)["data"] for message in answers] == [{"count": 1}]
    assert home.counted == 0


async def test_a_stop_right_after_an_answer_does_not_send_it_again(
    broker: Broker, home: Home, client: Client
) -> None:
    for number in range(20):
        async with home.linked(broker.url):
            answer = await asked(client, "count", f'{{"transaction": "n{number}"}}')
            assert answer["data"] == {"count": number + 1}
    assert not [message for message in await thread(client.all) if message.topic == f"{ROOT}/response/count"]


async def test_a_request_without_a_key_is_answered_too_when_a_crash_cut_it_short(
    broker: Broker, home: Home, client: Client
) -> None:
    async with home.linked(broker.url):
        await thread(client.publish, f"{ROOT}/request/hold", "{}")
        await home.held.wait()
        kept = await thread(home.path.read_bytes)
    await thread(home.path.write_bytes, kept)  # as if the power had gone while it was under way
    await thread(client.all)
    async with home.linked(broker.url):
        answer = await thread(client.next_json, f"{ROOT}/response/hold")
        assert "not known whether it was carried out" in answer["error"]
    assert home.holding == 1


async def test_an_old_request_changes_nothing(broker: Broker, home: Home, client: Client) -> None:
    async with home.linked(broker.url):
        answer = await asked(client, "count", '{"sent_at": 1000000000}')
        assert "old" in answer["error"]
        assert home.counted == 0
        assert (await asked(client, "echo", '{"sent_at": 1000000000, "text": "a"}'))["status"] == "ok"


async def test_a_request_that_was_done_is_never_too_old_to_be_answered_again(
    broker: Broker, home: Home, client: Client
) -> None:
    late = json.dumps({"sent_at": time.time() - STALE_S + 0.5, "transaction": "late"})
    async with home.linked(broker.url):
        first = await asked(client, "count", late)
        await anyio.sleep(0.6)
        assert await asked(client, "count", late) == first
        assert "old" in (await asked(client, "count", late.replace('"late"', '"other"')))["error"]
        assert home.counted == 1


async def test_a_retained_request_is_refused(broker: Broker, home: Home, client: Client) -> None:
    async with home.linked(broker.url):
        answer = await asked(client, "count", "x", retain=True)
        assert "retained" in answer["error"]
    await thread(client.publish, f"{ROOT}/request/count", b"", retain=True)
    assert home.counted == 0


async def test_a_reply_streams_by_sentence_and_closes(broker: Broker, home: Home, client: Client) -> None:
    async with home.linked(broker.url):
        await thread(client.publish, f"{ROOT}/request/tale", '{"transaction": "tx"}')
        parts = [await thread(client.next_json, f"{ROOT}/reply/tx") for _ in range(3)]
        assert [(part["seq"], part["text"], part["final"]) for part in parts] == [
            (0, "Once. ", False),
            (1, "The end.", False),
            (2, "Once. The end.", True),
        ]
        assert parts[2]["timings_ms"] == {"total": 1.0}


async def test_the_fourth_request_for_the_model_is_told_busy(broker: Broker, home: Home, client: Client) -> None:
    async with home.linked(broker.url):
        for _ in range(3):
            await thread(client.publish, f"{ROOT}/request/hold")
        answer = await asked(client, "hold")
        assert "busy" in answer["error"]
        assert home.holding == 3
        home.release.set()
        answers = [await thread(client.next_json, f"{ROOT}/response/hold") for _ in range(3)]
        assert [one["status"] for one in answers] == ["ok"] * 3


async def test_a_request_that_met_a_busy_model_may_be_repeated_under_its_key(
    broker: Broker, home: Home, client: Client
) -> None:
    async with home.linked(broker.url):
        for name in "abc":
            await thread(client.publish, f"{ROOT}/request/hold", json.dumps({"transaction": name}))
        await thread(client.publish, f"{ROOT}/request/hold", '{"transaction": "d"}')
        assert "busy" in (await thread(client.next_json, f"{ROOT}/response/hold"))["error"]
        home.release.set()
        for _ in "abc":
            await thread(client.next_json, f"{ROOT}/response/hold")
        await thread(client.publish, f"{ROOT}/request/hold", '{"transaction": "d"}')
        answer = await thread(client.next_json, f"{ROOT}/response/hold")
        assert (answer["status"], answer["transaction"]) == ("ok", "d")


async def test_identity_is_believed_only_where_the_broker_binds_it(
    broker: Broker, home: Home, client: Client
) -> None:
    topic = f"{ROOT}/as/anna/request/echo"
    async with home.linked(broker.url):
        await thread(client.publish, topic, "a")
        assert "does not bind" in (await thread(client.next_json, f"{ROOT}/response/echo"))["error"]
    async with home.linked(broker.url, Mqtt(identities=True)):
        await thread(client.publish, topic, "a")
        assert (await thread(client.next_json, f"{ROOT}/response/echo"))["data"]["person"] == "anna"


async def test_a_setting_changes_over_mqtt_and_says_so(broker: Broker, home: Home, client: Client) -> None:
    watcher = await thread(Client, broker.port, (f"{ROOT}/volume",))
    async with home.linked(broker.url):
        await thread(client.publish, f"{ROOT}/volume/set", "0.5")
        await thread(watcher.until, f"{ROOT}/volume", b"0.5")
        assert home.volume == 0.5
        assert (await thread(client.next_json, f"{ROOT}/response/set"))["data"]["value"] == 0.5
        await thread(client.publish, f"{ROOT}/volume/set", "9")
        assert "from 0 to 1" in (await thread(client.next_json, f"{ROOT}/response/set"))["error"]
        await thread(client.publish, f"{ROOT}/mute/set", "ON")
        assert "no setting" in (await thread(client.next_json, f"{ROOT}/response/set"))["error"]
    await thread(watcher.close)


async def test_state_is_retained_events_are_not_and_offline_is_said_on_leaving(broker: Broker, home: Home) -> None:
    watcher = await thread(Client, broker.port, (f"{ROOT}/state", f"{ROOT}/event"))
    async with home.linked(broker.url):
        await thread(watcher.until, f"{ROOT}/state", b'{"state": "online"}')
        home.bulletin.tell("reply", turn="a")
        event = await thread(watcher.next, f"{ROOT}/event")
        assert json.loads(event.payload) == {"event_type": "reply", "turn": "a"}
        began = anyio.current_time()
    assert anyio.current_time() - began < 1.0
    await thread(watcher.until, f"{ROOT}/state", b'{"state": "offline"}')
    late = await thread(Client, broker.port, (f"{ROOT}/state", f"{ROOT}/event"))
    kept = await thread(late.next)
    assert (kept.topic, kept.payload, kept.retain) == (f"{ROOT}/state", b'{"state": "offline"}', True)
    assert late.arrived.empty()
    await thread(watcher.close)
    await thread(late.close)


async def test_stopping_answers_what_is_under_way(broker: Broker, home: Home, client: Client) -> None:
    async with home.linked(broker.url):
        await thread(client.publish, f"{ROOT}/request/hold", '{"transaction": "h"}')
        await home.held.wait()
    answer = await thread(client.next_json, f"{ROOT}/response/hold")
    assert answer["transaction"] == "h"
    assert "stopped" in answer["error"]


async def test_requests_sent_while_the_daemon_is_away_are_answered_when_it_is_back(
    broker: Broker, home: Home, client: Client
) -> None:
    async with home.linked(broker.url):
        pass
    for number in range(20):
        await thread(client.publish, f"{ROOT}/request/echo", f"n{number}")
    async with home.linked(broker.url):
        texts = [(await thread(client.next_json))["data"]["text"] for _ in range(20)]
        assert sorted(texts) == sorted(f"n{number}" for number in range(20))


async def test_a_broker_that_comes_back_empty_is_found_again(tmp_path: Path, home: Home) -> None:
    broker = await thread(Broker, tmp_path)
    await thread(broker.start)
    try:
        async with home.linked(broker.url) as link:
            async with home.bulletin.listen() as notices:
                await thread(broker.stop)
                while "broker" not in str(notice := await notices.receive()):
                    pass
                assert "warning" in str(notice)
            await thread(broker.start)
            with anyio.fail_after(8):
                while not link.connected:  # noqa: ASYNC110 - seen from outside, as a person would
                    await anyio.sleep(0.02)
            client = await thread(Client, broker.port, (f"{ROOT}/state", f"{ROOT}/response/#"))
            assert (await thread(client.next)).payload == b'{"state": "online"}'
            assert (await asked(client, "echo", "a"))["status"] == "ok"
            await thread(client.close)
    finally:
        await thread(broker.stop)


async def first_warning(home: Home, url: str, link: Mqtt) -> str:
    async with home.bulletin.listen() as notices, home.linked(url, link):
        with anyio.fail_after(8):
            while "warning" not in str(notice := await notices.receive()):
                pass
    return str(notice)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, a server for localhost, and a client, made by openssl."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        argv = [shutil.which("openssl") or "openssl", *arguments]
        subprocess.run(argv, cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    for name in ("localhost", "kitchen"):
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{name}")
        openssl(*new, *signed, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl(*new, "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=another authority")
    return folder


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Broker]:
    """TLS with client certificates, and passwords."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "passwords").write_text(password_line("perslm", "secret"))
    with running(
        folder,
        f"cafile {certificates}/ca.pem",
        f"certfile {certificates}/localhost.pem",
        f"keyfile {certificates}/localhost.key",
        "require_certificate true",
        "allow_anonymous false",
        f"password_file {folder}/passwords",
    ) as broker:
        yield broker


def tls(certificates: Path) -> Mqtt:
    return Mqtt(
        password="secret",  # noqa: S106 - the test broker's
        ca_file=certificates / "ca.pem",
        cert_file=certificates / "kitchen.pem",
        key_file=certificates / "kitchen.key",
    )


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_tls_with_a_client_certificate_and_a_password(
    guarded: Broker, certificates: Path, home: Home, protocol: str
) -> None:
    link = replace(tls(certificates), protocol=protocol)
    async with home.linked(f"mqtts://localhost:{guarded.port}", link) as made:
        assert made.connected


async def test_a_wrong_password_is_named(guarded: Broker, certificates: Path, home: Home) -> None:
    link = replace(tls(certificates), password="wrong")  # noqa: S106 - wrong on purpose
    said = await first_warning(home, f"mqtts://localhost:{guarded.port}", link)
    assert "mqtt.password_file" in said
    assert "wrong" not in said


async def test_a_password_that_is_put_right_is_taken_up_without_a_restart(
    guarded: Broker, certificates: Path, home: Home, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    await thread(file.write_text, "wrong\n")
    link = replace(tls(certificates), password="", password_file=file)
    async with home.bulletin.listen() as notices, home.linked(f"mqtts://localhost:{guarded.port}", link) as made:
        while "mqtt.password_file" not in str(await notices.receive()):
            pass
        assert not made.connected
        await thread(file.write_text, "secret\n")
        with anyio.fail_after(20):
            while not made.connected:  # noqa: ASYNC110 - seen from outside, as a person would
                await anyio.sleep(0.02)


def dated(folder: Path, name: str, begins: str, ends: str) -> None:
    """A certificate of the test authority for localhost that holds from `begins` to `ends` (YYYYMMDDHHMMSSZ)."""
    here = folder / name
    here.mkdir()
    (here / "index").touch()
    (here / "ca.conf").write_text(
        "[ca]\ndefault_ca = here\n[here]\ndatabase = index\nrand_serial = yes\nnew_certs_dir = .\n"
        "default_md = sha256\npolicy = any\nx509_extensions = names\nunique_subject = no\n"
        "[any]\ncommonName = supplied\n[names]\nsubjectAltName = DNS:localhost\n"
    )
    openssl = shutil.which("openssl") or "openssl"
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost")
    for arguments in (
        ("req", *ec, "-keyout", "key.pem", "-out", "request.pem"),
        (
            *("ca", "-batch", "-notext", "-config", "ca.conf", "-cert", "../ca.pem", "-keyfile", "../ca.key"),
            *("-in", "request.pem", "-out", "certificate.pem", "-startdate", begins, "-enddate", ends),
        ),
    ):
        subprocess.run([openssl, *arguments], cwd=here, check=True, capture_output=True)


# As below: paho leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        ("20200101000000Z", "20210101000000Z", "certificate has expired"),
        ("20990101000000Z", "21000101000000Z", "certificate is not yet valid"),
    ],
)
async def test_a_certificate_out_of_its_time_is_named_and_so_is_this_machines_clock(
    certificates: Path, home: Home, tmp_path: Path, begins: str, ends: str, said: str
) -> None:
    name = begins[:4]
    await thread(dated, certificates, name, begins, ends)
    files = (f"certfile {certificates}/{name}/certificate.pem", f"keyfile {certificates}/{name}/key.pem")
    broker = await thread(Broker, tmp_path, files)
    await thread(broker.start)
    try:
        link = Mqtt(ca_file=certificates / "ca.pem")
        told = await first_warning(home, f"mqtts://localhost:{broker.port}", link)
    finally:
        await thread(broker.stop)
    assert said in told
    assert "dates, and this machine's clock" in told


async def test_a_broker_on_ipv6_is_reached_by_its_address(home: Home, tmp_path: Path) -> None:
    port = await thread(free_port)
    broker = await thread(Broker, tmp_path, (f"listener {port} ::1",))
    await thread(broker.start)
    client = await thread(Client, broker.port, (f"{ROOT}/response/#",))
    try:
        async with home.linked(f"mqtt://[::1]:{port}"):
            assert (await asked(client, "echo", "six"))["data"]["text"] == "six"
    finally:
        await thread(client.close)
        await thread(broker.stop)


# paho leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_certificate_of_another_authority_is_named(
    guarded: Broker, certificates: Path, home: Home
) -> None:
    link = replace(tls(certificates), ca_file=certificates / "other.pem")
    assert "mqtt.ca_file" in await first_warning(home, f"mqtts://localhost:{guarded.port}", link)


async def test_a_name_without_address_is_named(home: Home) -> None:
    assert "DNS" in await first_warning(home, "mqtt://nowhere.invalid", Mqtt())


async def test_a_broker_that_is_not_there_is_named(home: Home) -> None:
    assert "cannot be reached" in await first_warning(home, "mqtt://127.0.0.1:1", Mqtt())


async def test_a_missing_certificate_file_is_named(home: Home, broker: Broker, tmp_path: Path) -> None:
    link = Mqtt(ca_file=tmp_path / "missing.pem")
    said = await first_warning(home, f"mqtts://127.0.0.1:{broker.port}", link)
    assert "cannot be read" in said or "cannot be reached" in said


@pytest.fixture
def old_broker(broker: Broker) -> Iterator[str]:
    """What an older broker is to us: MQTT 5 is refused in the words of 3.1.1, the rest goes through."""
    door = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            target.close()

    def serve() -> None:
        while True:
            try:
                caller, _ = door.accept()
            except OSError:
                return
            first = caller.recv(65536)
            if first[first.index(b"MQTT") + 4] == 5:
                caller.sendall(b"\x20\x02\x00\x01")
                caller.close()
                continue
            onward = socket.create_connection(("127.0.0.1", broker.port))
            onward.sendall(first)
            threading.Thread(target=pump, args=(caller, onward), daemon=True).start()
            threading.Thread(target=pump, args=(onward, caller), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"mqtt://127.0.0.1:{door.getsockname()[1]}"
    door.shutdown(socket.SHUT_RDWR)
    door.close()


async def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(old_broker: str, home: Home, client: Client) -> None:
    async with home.linked(old_broker):
        assert (await asked(client, "echo", "old"))["data"]["text"] == "old"
