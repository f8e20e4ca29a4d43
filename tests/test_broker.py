from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from mosquitto import Broker, Client
from perslm_daemon.broker import DAEMON_USER, BrokerFile, free_port, own_broker, password_lines, write_files
from perslm_daemon.mqtt_connection import Address
from perslm_runtime.errors import ConfigError


def test_a_broker_for_the_network_needs_passwords(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="passwords"):
        BrokerFile(tmp_path, 1883, host="0.0.0.0")  # noqa: S104 - refused
    text = BrokerFile(tmp_path, 1883, host="0.0.0.0", passwords=True).text()  # noqa: S104 - with passwords
    assert "allow_anonymous false" in text


@pytest.mark.parametrize("passwords", [{"a:b": "x"}, {"": "x"}, {"a": ""}, {"a\nb": "x"}])
def test_a_user_that_would_break_the_password_file_is_refused(passwords: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="user"):
        password_lines(passwords)


def test_the_files_are_their_owner_s_alone_and_can_be_written_again(tmp_path: Path) -> None:
    file = BrokerFile(tmp_path / "broker", 1883, passwords=True)
    for _ in range(2):
        write_files(file, {DAEMON_USER: "secret"})
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "broker").iterdir()}
    assert modes == {"mosquitto.conf": 0o600, "passwords": 0o600, "acl": 0o600}
    assert "secret" not in (tmp_path / "broker" / "passwords").read_text()


@pytest.mark.anyio
async def test_our_broker_answers_on_loopback_keeps_what_is_retained_and_ends_when_left(tmp_path: Path) -> None:
    async with own_broker(tmp_path / "broker") as url:
        port = Address.of(url).port
        client = await anyio.to_thread.run_sync(Client, port)
        await anyio.to_thread.run_sync(lambda: client.publish("perslm/a/state", b"kept", retain=True))
        await anyio.to_thread.run_sync(client.close)
    with pytest.raises(OSError, match="connection attempts failed"):
        await anyio.connect_tcp("127.0.0.1", port)
    async with own_broker(tmp_path / "broker") as url:
        client = await anyio.to_thread.run_sync(Client, Address.of(url).port, ("perslm/a/state",))
        assert (await anyio.to_thread.run_sync(client.next)).payload == b"kept"
        await anyio.to_thread.run_sync(client.close)


def test_our_acl_binds_names_and_hides_no_answer_from_the_daemon(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    file = BrokerFile(folder, free_port(), passwords=True, user="root")
    write_files(file, {DAEMON_USER: "d", "anna": "a", "otto": "o"})
    broker = Broker(tmp_path)
    broker.port = file.port
    (tmp_path / "mosquitto.conf").write_text(file.text())
    broker.start()
    try:
        daemon = Client(file.port, ("perslm/#",), username=DAEMON_USER, password="d")  # noqa: S106 - the test's
        anna = Client(file.port, username="anna", password="a")  # noqa: S106 - the test's
        otto = Client(file.port, username="otto", password="o")  # noqa: S106 - the test's
        otto.publish("perslm/kitchen/as/anna/request/ask", b"forged")
        otto.publish("zigbee/permit", b"forged")
        otto.publish("perslm/kitchen/state", b"forged")
        anna.publish("perslm/kitchen/as/anna/request/ask", b"mine")
        assert daemon.next().payload == b"mine"
        otto.publish("perslm/kitchen/request/ask", b"anybody's")
        assert daemon.next().payload == b"anybody's"
        assert daemon.arrived.empty()
        for client in (daemon, anna, otto):
            client.close()
    finally:
        broker.stop()


def test_ctrl_c_in_the_terminal_leaves_the_broker_to_the_daemon(tmp_path: Path) -> None:
    """The whole group gets SIGINT; the daemon answers it with one more look at its broker."""
    program = (
        "import signal, sys, anyio; from pathlib import Path\n"
        "from perslm_daemon.broker import own_broker; from perslm_daemon.mqtt_connection import Address\n"
        "async def main():\n"
        "    async with own_broker(Path(sys.argv[1])) as url:\n"
        "        with anyio.open_signal_receiver(signal.SIGINT) as signals:\n"
        "            print('up', flush=True)\n"
        "            await anext(signals)\n"
        "        await anyio.sleep(0.2)\n"
        "        await (await anyio.connect_tcp('127.0.0.1', Address.of(url).port)).aclose()\n"
        "        print('still there', flush=True)\n"
        "anyio.run(main)\n"
    )
    root = Path(__file__).parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "broker")],
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
