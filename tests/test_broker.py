"""Our own broker at work: its file, the child, the service it may be instead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mosquitto import Broker, Client, refusal
from perslm_daemon.broker import (
    Own,
    free_port,
    let_service_listen,
    own_broker,
    running_pid,
    service_broker,
    session_name,
    tell_running,
)
from perslm_daemon.broker_file import BrokerFile, child_place, parse_listen, service_place
from perslm_daemon.broker_users import DAEMON_USER, Owner, Users
from perslm_runtime.errors import ConfigError, EngineError, InputError

IN_THREAD = anyio.to_thread.run_sync


@pytest.mark.parametrize(
    ("host", "asks", "reach", "listeners"),
    [
        ("127.0.0.1", False, "127.0.0.1", ["listener 1883 127.0.0.1"]),
        ("127.0.0.7", False, "127.0.0.7", ["listener 1883 127.0.0.7"]),
        ("::1", False, "::1", ["listener 1883 ::1"]),
        ("0.0.0.0", True, "127.0.0.1", ["listener 1883 0.0.0.0"]),  # noqa: S104 - a text
        ("::", True, "::1", ["listener 1883"]),
        ("192.0.2.7", True, "127.0.0.1", ["listener 1883 192.0.2.7", "listener 1883 127.0.0.1"]),
        ("2001:db8::7", True, "::1", ["listener 1883 2001:db8::7", "listener 1883 ::1"]),
    ],
)
def test_beyond_loopback_passwords_are_asked_and_this_machine_finds_it_on_loopback(
    tmp_path: Path, host: str, asks: bool, reach: str, listeners: list[str]
) -> None:
    file = BrokerFile(tmp_path, 1883, host)
    lines = file.text().splitlines()
    assert [line for line in lines if line.startswith("listener")] == listeners
    assert f"allow_anonymous {'false' if asks else 'true'}" in lines
    assert (f"acl_file {tmp_path}/acl" in lines) is asks
    assert file.reach == reach
    (tmp_path / "conf").write_text(file.text())
    read = BrokerFile.read(tmp_path / "conf", tmp_path)
    assert read is not None
    assert (read.host, read.port, read.asks_passwords) == (host, 1883, asks)


@pytest.mark.parametrize("text", ["", "listener 1883\n", "# Written by PersLM.\nlistener x\n", "\xff"])
def test_a_file_that_is_not_ours_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "conf").write_text(text, encoding="latin-1")
    assert BrokerFile.read(tmp_path / "conf", tmp_path) is None
    assert BrokerFile.read(tmp_path / "missing", tmp_path) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0", ("0.0.0.0", 1883)),  # noqa: S104 - a text
        ("0.0.0.0:1884", ("0.0.0.0", 1884)),  # noqa: S104 - a text
        ("::", ("::", 1883)),
        ("[::]:1884", ("::", 1884)),
        ("[::1]", ("::1", 1883)),
    ],
)
def test_an_address_to_listen_on_is_read(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["", "kitchen", "0.0.0.0:0", "0.0.0.0:70000", "1.2.3", "[::1", "fe80::1%eth0", ":1"]
)
def test_what_is_no_address_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(InputError, match=r"0\.0\.0\.0 is every IPv4 address"):
        parse_listen(text)


@pytest.mark.anyio
async def test_our_broker_answers_on_loopback_keeps_what_is_retained_and_ends_when_left(tmp_path: Path) -> None:
    async with own_broker(tmp_path) as own:
        assert not own.asks_passwords
        client = await IN_THREAD(Client, own.port)
        await IN_THREAD(lambda: client.publish("perslm/a/state", b"kept", retain=True))
        await IN_THREAD(client.close)
    with pytest.raises(OSError, match="connection attempts failed"):
        await anyio.connect_tcp("127.0.0.1", own.port)
    async with own_broker(tmp_path) as own:
        client = await IN_THREAD(Client, own.port, ("perslm/a/state",))
        assert (await IN_THREAD(client.next)).payload == b"kept"
        await IN_THREAD(client.close)


@pytest.mark.anyio
async def test_a_child_with_users_asks_them_who_they_are_and_lets_the_daemon_in(tmp_path: Path) -> None:
    place = child_place(tmp_path)
    users = Users(place.folder, "perslm", "home")
    await IN_THREAD(lambda: users.put("ana", "anas", drawn=True))
    secrets: list[Own] = []
    for _ in range(2):
        async with own_broker(tmp_path) as own:
            assert own.asks_passwords
            assert own.password is not None
            assert own.password not in repr(own)
            written = await IN_THREAD(lambda: b"".join(path.read_bytes() for path in place.folder.iterdir()))
            assert own.password.encode() not in written
            assert await IN_THREAD(refusal, own.port, None) == "Not authorized"
            assert await IN_THREAD(refusal, own.port, "ana", "anas") == "Success"
            assert await IN_THREAD(refusal, own.port, DAEMON_USER, own.password) == "Success"
            assert await IN_THREAD(running_pid, place) is not None
            assert await IN_THREAD(tell_running, place)
            secrets.append(own)
    assert secrets[0].password != secrets[1].password
    assert session_name("home", secrets[0].secret) == session_name("home", secrets[1].secret) != "perslm-home"
    assert await IN_THREAD(running_pid, place) is None


@pytest.mark.anyio
async def test_ipv6_loopback_serves_as_well(tmp_path: Path) -> None:
    try:
        await IN_THREAD(free_port, "::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    async with own_broker(tmp_path, host="::1") as own:
        assert own.host == "::1"
        await (await anyio.connect_tcp("::1", own.port)).aclose()


@pytest.mark.anyio
async def test_a_port_that_is_taken_is_named_even_where_a_broker_would_answer_there(tmp_path: Path) -> None:
    async with own_broker(tmp_path / "first") as first:
        with pytest.raises(EngineError, match=rf"port {first.port} of 127\.0\.0\.1 is taken.*mqtt\.own_port"):
            async with own_broker(tmp_path / "second", port=first.port):
                pytest.fail("it answers, but it is another one")


@pytest.mark.anyio
async def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    port = await IN_THREAD(free_port)
    with pytest.raises(EngineError, match=r"203\.0\.113\.7 is no address of this machine"):
        async with own_broker(tmp_path, host="203.0.113.7", port=port):
            pytest.fail("nobody has that address")


def test_the_service_is_found_where_its_file_says(tmp_path: Path) -> None:
    conf = tmp_path / "broker.conf"
    assert service_broker("127.0.0.1", 0, conf) == Own("127.0.0.1", 1883)
    assert service_broker("0.0.0.0", 0, conf) == Own("127.0.0.1", 1883, asks_passwords=True)  # noqa: S104 - a text
    conf.write_text(BrokerFile(tmp_path, 1884, "::").text())
    assert service_broker("127.0.0.1", 0, conf) == Own("::1", 1884, asks_passwords=True)
    assert service_broker("127.0.0.1", 1885, conf) == Own("127.0.0.1", 1885)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root folder of a machine on which our users exist: this process's own ids."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"perslm-broker:x:{os.geteuid()}:{os.getegid()}::/:/usr/sbin/nologin\n")
    return tmp_path


def test_a_machine_without_our_user_says_how_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make install"):
        service_place(tmp_path)


def test_the_service_s_files_have_their_owners_and_modes_and_its_password_stays(image: Path) -> None:
    place = service_place(image)
    assert place.owner == Owner(os.geteuid(), os.getegid())
    assert place.credential is not None
    users = Users(place.folder, "perslm", "home", place.owner)
    let_service_listen(place, users, "127.0.0.1", 1883)
    assert not place.credential.exists(), "on this machine alone nobody needs a password"
    for _ in range(2):
        file = let_service_listen(place, users, "0.0.0.0", 1883)  # noqa: S104 - a text
        assert file.asks_passwords
    kept = place.credential.read_text()
    users.put("ha", "secret", drawn=True)
    let_service_listen(place, users, "::", 1884)
    assert place.credential.read_text() == kept
    modes = {
        str(path.relative_to(image)): path.stat().st_mode & 0o777
        for path in (place.conf, place.folder, *users.files, place.credential, place.credential.parent)
    }
    assert modes == {
        "etc/perslm/broker.conf": 0o644,
        "var/lib/perslm-broker": 0o700,
        "var/lib/perslm-broker/passwords": 0o600,
        "var/lib/perslm-broker/acl": 0o600,
        "etc/credstore/perslm.mqtt_password": 0o600,
        "etc/credstore": 0o700,
    }
    assert "acl_file /var/lib/perslm-broker/acl" in place.conf.read_text()


def test_a_password_that_was_a_credential_before_is_used(image: Path, tmp_path: Path) -> None:
    place = service_place(image)
    assert place.credential is not None
    place.credential.parent.mkdir()
    place.credential.write_text("chosen by hand\n")
    users = Users(place.folder, "perslm", "home", place.owner)
    let_service_listen(place, users, "0.0.0.0", 1883)  # noqa: S104 - a text
    assert place.credential.read_text() == "chosen by hand\n"
    (tmp_path / "unused").mkdir()
    broker = Broker(tmp_path / "unused")
    file = BrokerFile(place.folder, broker.port, passwords=True, user="root")
    broker.conf.write_text(file.text())
    broker.start()
    try:
        assert refusal(broker.port, DAEMON_USER, "chosen by hand") == "Success"
        assert refusal(broker.port, DAEMON_USER, "something else") == "Not authorized"
    finally:
        broker.stop()


def test_ctrl_c_in_the_terminal_leaves_the_broker_to_the_daemon(tmp_path: Path) -> None:
    """The whole group gets SIGINT; the daemon answers it with one more look at its broker."""
    program = (
        "import signal, sys, anyio; from pathlib import Path\n"
        "from perslm_daemon.broker import own_broker\n"
        "async def main():\n"
        "    async with own_broker(Path(sys.argv[1])) as own:\n"
        "        with anyio.open_signal_receiver(signal.SIGINT) as signals:\n"
        "            print('up', flush=True)\n"
        "            await anext(signals)\n"
        "        await anyio.sleep(0.2)\n"
        "        await (await anyio.connect_tcp('127.0.0.1', own.port)).aclose()\n"
        "        print('still there', flush=True)\n"
        "anyio.run(main)\n"
    )
    root = Path(__file__).parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": f"{root}/daemon:{root}/runtime"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    os.killpg(child.pid, signal.SIGINT)
    assert child.communicate(timeout=10)[0] == "still there\n"
    assert child.returncode == 0
