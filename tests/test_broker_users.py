"""Users, hashes and rights: what a real mosquitto lets each of them do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mosquitto import WAIT_S, Broker, Client, die_with_a_will, refusal
from perslm_daemon.broker import prepare, tell_running
from perslm_daemon.broker_file import BrokerFile, Place, child_place
from perslm_daemon.broker_users import DAEMON_USER, Role, Users, acl, generated, password_line
from perslm_runtime.errors import ConfigError, InputError

PEOPLE = {
    "ana": Role.PERSON,
    "bob": Role.PERSON,
    "ha": Role.HUB,
    "attic": Role.NODE,
}
EVERYBODY = (DAEMON_USER, *PEOPLE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Users, Broker]]:
    """A broker with our files as written for the node "kitchen"; everybody's password is their name."""
    data_dir = tmp_path_factory.mktemp("broker")
    place = child_place(data_dir)
    users = Users(place.folder, "perslm", "kitchen")
    for name, role in PEOPLE.items():
        users.put(name, name, role, drawn=True)
    (data_dir / "unused").mkdir()
    broker = Broker(data_dir / "unused")
    prepare(place, BrokerFile(place.folder, broker.port, user="root"), users, DAEMON_USER, drawn=True)
    broker.conf = place.conf
    broker.start()
    yield place, users, broker
    broker.stop()


@contextmanager
def listening(broker: Broker, *names: str) -> Iterator[dict[str, Client]]:
    """Connections of some users, each of which listens to everything that it gets."""
    clients = {
        name: Client(broker.port, ("#",), comes_back=False, username=name, password=name)
        for name in names or EVERYBODY
    }
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()


def reaches(clients: dict[str, Client], by: str, topic: str) -> set[str]:
    """Who hears what one of them publishes; a message afterwards, which all may read, marks the end."""
    clients[by].publish(topic, by)
    clients[DAEMON_USER].publish("perslm/attic/mark", "mark")
    heard = set()
    for name, client in clients.items():
        while (message := client.next()).payload != b"mark":
            assert message.payload == by.encode()
            assert message.topic == topic
            heard.add(name)
    return heard


ALL = set(EVERYBODY)
OURS = {DAEMON_USER}
HOME = {DAEMON_USER, "ha", "attic"}  # whoever may use any topic of the house


@pytest.fixture(scope="module")
def heard(place: tuple[Place, Users, Broker]) -> Iterator[dict[str, Client]]:
    with listening(place[2]) as clients:
        yield clients


@pytest.mark.parametrize(
    ("by", "topic", "heard_by"),
    [
        # people ask, as themselves or as nobody
        ("ana", "perslm/kitchen/request/ask", {DAEMON_USER, "ha"}),
        ("ana", "perslm/attic/request/ask", HOME),
        ("ana", "perslm/kitchen/as/ana/request/ask", OURS),
        ("ana", "perslm/attic/as/ana/request/ask", {DAEMON_USER, "attic"}),
        ("ana", "perslm/kitchen/as/bob/request/ask", set()),
        ("ana", "perslm/kitchen/as/perslm/request/ask", set()),
        ("ana", "perslm/kitchen/volume/set", {DAEMON_USER, "ha"}),
        # what PersLM says they hear, and cannot say in its place
        (DAEMON_USER, "perslm/kitchen/response/ask", ALL - {"attic"}),
        (DAEMON_USER, "perslm/kitchen/reply/t1", ALL - {"attic"}),
        (DAEMON_USER, "perslm/kitchen/event", ALL - {"attic"}),
        (DAEMON_USER, "perslm/kitchen/volume", ALL - {"attic"}),
        ("ana", "perslm/kitchen/state", set()),
        ("ana", "perslm/kitchen/info", set()),
        ("ana", "perslm/kitchen/event", set()),
        ("ana", "perslm/kitchen/response/ask", set()),
        ("ana", "perslm/kitchen/response/set", set()),
        ("ana", "perslm/kitchen/reply/set", set()),
        # a place for answers that only its owner reads
        (DAEMON_USER, "perslm/_clients/ana/1", {*HOME, "ana"}),
        (DAEMON_USER, "perslm/_clients/ana", {*HOME, "ana"}),
        ("bob", "perslm/_clients/ana/1", set()),
        ("bob", "perslm/_clients/ana/set", set()),
        # the rest of the house is none of their business
        ("ana", "homeassistant/light/x/config", set()),
        ("ana", "zigbee2mqtt/bridge/request/permit_join", set()),
        ("ana", "other/kitchen/request/ask", set()),
        ("ana", "perslm/_arbitration/w1", set()),
        (DAEMON_USER, "other/kitchen/state", HOME),
        (DAEMON_USER, "perslm/_arbitration/w1", HOME),
        # a hub may use every topic but those under people's names
        ("ha", "homeassistant/status", HOME),
        ("ha", "zigbee2mqtt/lamp/set", HOME),
        ("ha", "perslm/kitchen/request/say", {DAEMON_USER, "ha"}),
        ("ha", "perslm/kitchen/as/ana/request/recall", set()),
        ("ha", "perslm/kitchen/as/ha/request/recall", set()),
        (DAEMON_USER, "homeassistant/device/perslm_kitchen/config", HOME),
        # another node does its own work, works the devices and arbitrates, and is no other node
        ("attic", "perslm/attic/state", ALL),
        ("attic", "perslm/attic/response/ask", ALL),
        ("attic", "homeassistant/device/perslm_attic/config", HOME),
        ("attic", "zigbee2mqtt/lamp/set", HOME),
        ("attic", "perslm/_arbitration/w1", HOME),
        ("attic", "perslm/_clients/ana/1", {*HOME, "ana"}),
        ("attic", "perslm/kitchen/state", set()),
        ("attic", "perslm/kitchen/as/ana/request/recall", set()),
        ("attic", "perslm/kitchen/request/ask", set()),
    ],
)
def test_what_one_publishes_reaches_exactly_whom_it_may(
    heard: dict[str, Client], by: str, topic: str, heard_by: set[str]
) -> None:
    assert reaches(heard, by, topic) == heard_by


def test_the_broker_s_own_figures_are_the_daemon_s_alone(place: tuple[Place, Users, Broker]) -> None:
    clients = {
        name: Client(place[2].port, ("$SYS/broker/version", "perslm/attic/mark"), username=name, password=name)
        for name in EVERYBODY
    }
    assert clients[DAEMON_USER].next().topic == "$SYS/broker/version"
    clients[DAEMON_USER].publish("perslm/attic/mark", "mark")
    assert {client.next().payload for client in clients.values()} == {b"mark"}
    for client in clients.values():
        client.close()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_who_has_no_password_does_not_get_in(place: tuple[Place, Users, Broker], protocol: str) -> None:
    port = place[2].port
    assert refusal(port, "ana", "ana", protocol) == "Success"
    for name, password in (("ana", "bob"), ("ana", ""), ("nobody", "nobody"), (None, "")):
        assert refusal(port, name, password, protocol) == "Not authorized"


def test_a_last_will_cannot_say_what_its_owner_may_not(place: tuple[Place, Users, Broker]) -> None:
    with listening(place[2], DAEMON_USER, "ana") as clients:
        for topic in ("perslm/kitchen/state", "perslm/kitchen/request/status"):
            die_with_a_will(place[2].port, "bob", "bob", topic)
        heard = [clients[DAEMON_USER].next("perslm/kitchen/request/status").topic]
        heard += [message.topic for message in clients[DAEMON_USER].all(0.1)]
        assert "perslm/kitchen/state" not in heard


def test_a_running_broker_takes_changed_users_and_breaks_no_connection(tmp_path: Path) -> None:
    place = child_place(tmp_path)
    users = Users(place.folder, "perslm", "kitchen")
    for name in ("ana", "bob"):
        users.put(name, name, drawn=True)
    (tmp_path / "unused").mkdir()
    broker = Broker(tmp_path / "unused")
    prepare(place, BrokerFile(place.folder, broker.port, user="root"), users, DAEMON_USER, drawn=True)
    assert not tell_running(place)
    broker.conf = place.conf
    broker.start()
    try:
        with listening(broker, DAEMON_USER, "ana", "bob") as clients:
            lost: list[str] = []
            gone = threading.Event()

            def note_loss(name: str) -> None:
                lost.append(name)
                gone.set()

            for name, client in clients.items():
                client.on_lost(lambda name=name: note_loss(name))
            users.put("cleo", "typed by hand")
            users.put("ana", "another password", drawn=True)
            users.remove("bob")
            assert tell_running(place)
            assert gone.wait(WAIT_S)
            cleo = Client(broker.port, username="cleo", password="typed by hand")  # noqa: S106 - the test's
            cleo.publish("perslm/kitchen/request/ask", "hello")
            assert clients[DAEMON_USER].next("perslm/kitchen/request/ask").payload == b"hello"
            assert DAEMON_USER not in lost
            assert {"bob"} <= set(lost) <= {"ana", "bob"}
            assert refusal(broker.port, "ana", "ana") == "Not authorized"
            assert refusal(broker.port, "ana", "another password") == "Success"
            assert refusal(broker.port, "bob", "bob") == "Not authorized"
            cleo.close()
    finally:
        broker.stop()


def test_a_pid_that_is_somebody_elses_gets_no_signal(tmp_path: Path) -> None:
    place = child_place(tmp_path)
    place.folder.mkdir()
    for text in (str(os.getpid()), "1", "999999999", "no number", ""):
        (place.folder / "mosquitto.pid").write_text(text)
        assert not tell_running(place)


@pytest.mark.parametrize(
    "name", ["", "a:b", "a b", "a/b", "+", "#", "a\nb", "$SYS", "x" * 65, "-a", DAEMON_USER, "é"]
)
def test_a_name_that_would_break_a_file_or_a_topic_is_refused(tmp_path: Path, name: str) -> None:
    users = Users(tmp_path, "perslm", "kitchen")
    with pytest.raises(InputError, match=r"cannot be|own name"):
        users.put(name, "secret")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("password", ["", "a\nb", "a\0"])
def test_a_password_that_cannot_be_typed_is_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(InputError, match="password of one line"):
        Users(tmp_path, "perslm", "kitchen").put("ana", password)


def test_the_own_node_is_no_other_node(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="own node"):
        Users(tmp_path, "perslm", "kitchen").put("kitchen", "secret", Role.NODE)


def test_users_are_kept_as_hashes_with_their_roles_and_by_their_owner_alone(tmp_path: Path) -> None:
    users = Users(tmp_path / "broker", "perslm", "kitchen")
    assert users.all() == {}
    assert users.put("ha", "secret 1", Role.HUB) is Role.HUB
    assert users.put("ana", "secret 2") is Role.PERSON
    users.let_daemon_in("secret 3", drawn=True)
    assert users.put("ha", "secret 4") is Role.HUB, "a new password changes no role"
    assert users.put("ana", "secret 5", Role.NODE) is Role.NODE
    assert users.all() == {"ana": Role.NODE, "ha": Role.HUB}
    with pytest.raises(InputError, match="no user 'otto': it has ana, ha"):
        users.remove("otto")
    with pytest.raises(InputError, match="no user"):
        users.remove(DAEMON_USER)
    users.remove("ha")
    passwords = (tmp_path / "broker/passwords").read_text()
    assert sorted(line.split(":")[0] for line in passwords.splitlines()) == ["ana", DAEMON_USER]
    assert "secret" not in passwords
    for path in (tmp_path / "broker").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert (tmp_path / "broker").stat().st_mode & 0o777 == 0o700


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    names = [f"u{number}" for number in range(8)]
    threads = [
        threading.Thread(target=lambda name=name: Users(tmp_path, "p", "n").put(name, name, drawn=True))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(Users(tmp_path, "p", "n").all()) == names


def test_a_link_in_the_place_of_the_password_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("root:$6$salt$hash\n")
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "passwords").symlink_to(tmp_path / "shadow")
    with pytest.raises(ConfigError, match="cannot be read"):
        Users(folder, "perslm", "kitchen").put("ana", "secret")


def test_nodes_are_kept_apart_and_a_base_of_several_levels_is_used_as_it_is() -> None:
    text = acl("home/perslm", "kitchen", {"attic": Role.NODE, "shed": Role.NODE, "ana": Role.PERSON})
    attic = text.partition("user attic\n")[2].partition("\n\n")[0].splitlines()
    assert attic == ["topic readwrite #", "topic deny home/perslm/kitchen/#", "topic deny home/perslm/shed/#"]
    assert "pattern write home/perslm/+/as/%u/request/#" in text
    assert " perslm/" not in text


def test_a_generated_password_can_be_typed_and_is_never_the_same() -> None:
    drawn = {generated() for _ in range(100)}
    assert len(drawn) == 100
    assert all(len(one) == 24 and one.isalnum() and not set(one) & set("0o1il") for one in drawn)


def test_our_hash_is_the_one_that_mosquitto_writes() -> None:
    name, _, rest = password_line("ana", "secret").strip().partition(":")
    kind, rounds, salt, digest = rest.split("$")[1:]
    assert (name, kind, len(salt), len(digest)) == ("ana", "7", 16, 88)
    assert int(rounds) >= 20_000
