"""`perslm broker` as it is typed; the service's files lie in an image's folder."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command_line import Ended, in_this_process
from mosquitto import WAIT_S, Broker, refusal
from perslm_daemon.broker import prepare
from perslm_daemon.broker_file import BrokerFile, child_place
from perslm_daemon.broker_users import DAEMON_USER, Users

Perslm = Callable[..., Ended]


@pytest.fixture
def perslm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Perslm]:
    with in_this_process(tmp_path, monkeypatch, capfd) as run:
        yield run


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Broker]:
    """The broker of `perslm run` with one user, at work."""
    place = child_place(tmp_path / "data")
    users = Users(place.folder, "perslm", "home")
    users.put("otto", "ottos", drawn=True)
    broker = Broker(tmp_path)
    prepare(place, BrokerFile(place.folder, broker.port, user="root"), users, "the daemon's", drawn=True)
    broker.conf = place.conf
    broker.start()
    yield broker
    broker.stop()


def test_a_user_is_added_changed_and_removed_while_the_broker_runs(
    perslm: Perslm, tmp_path: Path, child: Broker
) -> None:
    (tmp_path / "password").write_text("anas\n")
    added = perslm("broker", "user", "ana", "--password-file", str(tmp_path / "password"))
    assert added.code == 0, added.err
    assert "ana may connect, as a person" in added.out
    assert f"mqtt://127.0.0.1:{child.port}" in added.out
    assert "the running broker knows it" in added.err
    eventually(child.port, "ana", "anas", "Success")
    hub = perslm("--json", "broker", "user", "ana", "--hub", "--generate").data
    assert (hub["user"], hub["role"]) == ("ana", "hub")
    eventually(child.port, "ana", hub["password"], "Success")
    shown = perslm("--json", "broker", "show").data
    assert shown["listens"] == {"host": "127.0.0.1", "port": child.port, "passwords": True}
    assert shown["users"] == {"ana": "hub", "otto": "person"}
    assert shown["pid"] is not None
    assert hub["password"] not in "".join(map(str, shown.values()))
    assert perslm("broker", "remove", "ana").code == 0
    eventually(child.port, "ana", hub["password"], "Not authorized")
    assert refusal(child.port, "otto", "ottos") == "Success"


def eventually(port: int, name: str, password: str, wanted: str) -> None:
    """Wait for the broker's loop to come by and read its files."""
    deadline = time.monotonic() + WAIT_S
    while (said := refusal(port, name, password)) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    assert said == wanted


def test_wrong_words_are_told_what_would_be_right(perslm: Perslm, tmp_path: Path) -> None:
    for words, told in (
        (("user", "a/b", "--generate"), "cannot be a broker's user"),
        (("user", DAEMON_USER, "--generate"), "the daemon's own name"),
        (("user", "ana"), "--generate"),
        (("user", "ana", "--hub", "--node", "--generate"), "one of --hub and --node"),
        (("user", "home", "--node", "--generate"), "own node"),
        (("remove", "ana"), "it has none"),
        (("listen", "0.0.0.0"), "mqtt.own_host=0.0.0.0"),  # noqa: S104 - refused
        (("listen", "kitchen", "--service", "--root", str(tmp_path)), "0.0.0.0 is every IPv4 address"),
        (("show", "--service", "--root", str(tmp_path)), "make install"),
        (("show", "--root", str(tmp_path)), "--root is for --service"),
    ):
        ended = perslm("broker", *words)
        assert ended.code in (2, 3), words
        assert told in ended.err, words
    assert not (tmp_path / "data/broker/passwords").exists()


def test_a_child_without_passwords_asks_for_them_from_its_next_start_on(perslm: Perslm, tmp_path: Path) -> None:
    place = child_place(tmp_path / "data")
    prepare(place, BrokerFile(place.folder, 1883), Users(place.folder, "perslm", "home"), "")
    added = perslm("broker", "user", "ana", "--generate")
    assert "from the next start" in added.err


def test_two_commands_open_the_service_to_the_house(perslm: Perslm, tmp_path: Path) -> None:
    (tmp_path / "etc/perslm").mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text(f"perslm-broker:x:{os.geteuid()}:{os.getegid()}::/:/bin/false\n")
    (tmp_path / "etc/perslm/perslm.toml").write_text('node = "kitchen"\n[mqtt]\nbase = "voice"\n')
    image = ("--service", "--root", str(tmp_path))
    first = perslm("broker", "listen", "0.0.0.0", *image)  # noqa: S104 - written into a file
    assert first.code == 0, first.err
    assert "0.0.0.0 port 1883, with passwords" in first.out
    assert "perslm broker user NAME --service" in first.err
    second = perslm("broker", "user", "homeassistant", "--hub", "--generate", *image)
    (password,) = re.findall(r"^password +(\w{24})$", second.out, re.MULTILINE)
    acl = (tmp_path / "var/lib/perslm-broker/acl").read_text()
    assert "# homeassistant: hub\nuser homeassistant\ntopic readwrite #\ntopic deny voice/+/as/#\n" in acl
    shown = perslm("broker", "show", *image)
    assert "hub        homeassistant" in shown.out
    assert password not in shown.out
    (credential,) = [line.split()[1] for line in shown.out.splitlines() if line.endswith("perslm.mqtt_password")]
    assert Path(credential).stat().st_mode & 0o777 == 0o600
