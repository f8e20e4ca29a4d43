"""What first boot encrypts, opened for the service by a real systemd on a Debian 13 of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from perslm_build.locks import ROOT
from systemd_machine import Machine, bare, booted
from test_firstboot import firstboot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHOW = "for name in $(ls $CREDENTIALS_DIRECTORY); do echo $name=$(cat $CREDENTIALS_DIRECTORY/$name); done; true"


def unit() -> str:
    """The service's own lines about secrets, around a program that shows what it is given."""
    lines = (ROOT / "systemd/perslm.service").read_text().splitlines()
    ours = [line for line in lines if line.startswith(("LoadCredential", "Private", "Protect"))]
    return (
        "\n".join(
            [
                "[Service]",
                "Type=oneshot",
                "StandardOutput=truncate:/run/shown",
                *ours,
                f"ExecStart=/bin/sh -c '{SHOW}'",
            ]
        )
        + "\n"
    )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root = bare(tmp_path_factory.mktemp("debian"), "systemd,systemd-sysv,dbus")
    (root / "etc/systemd/system/shown.service").write_text(unit())
    with booted(root) as one:
        yield one


def given(machine: Machine) -> set[str]:
    """What the service is given now, as `name=secret`."""
    machine.run("systemctl", "restart", "shown")
    return set(machine.run("cat", "/run/shown").split())


def encrypted_by_first_boot(machine: Machine) -> str:
    """First boot's own step, with the programs of the machine."""

    def run(*command: str, words: str | None = None) -> str:
        inside = ["nsenter", "-t", str(machine.pid), "-a", "-r", "-w", *command]
        done = subprocess.run(inside, input=words, capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0:
            raise firstboot.StepError(done.stderr)
        return done.stdout

    said: str = firstboot.seal(firstboot.Board(machine.root, run))
    return said


def test_without_any_secret_the_service_starts(machine: Machine) -> None:
    assert given(machine) == set()


def test_the_service_gets_what_first_boot_encrypted_and_a_plain_file_beside_it(machine: Machine) -> None:
    store = machine.root / "etc/credstore"
    store.mkdir(exist_ok=True)
    (store / "perslm.mqtt_password").write_text("battery")
    assert given(machine) == {"mqtt_password=battery"}
    assert "1 encrypted, with a key on this card" in encrypted_by_first_boot(machine)
    assert list(store.iterdir()) == []
    sealed: Path = machine.root / "etc/credstore.encrypted/perslm.mqtt_password.sealed"
    assert b"battery" not in sealed.read_bytes()
    assert given(machine) == {"mqtt_password.sealed=battery"}
    (store / "perslm.mqtt_password").write_text("newer")
    assert given(machine) == {"mqtt_password=newer", "mqtt_password.sealed=battery"}


def test_a_card_without_its_key_gives_nothing_away(machine: Machine) -> None:
    for path in (machine.root / "etc/credstore").iterdir():
        path.unlink()
    (machine.root / "var/lib/systemd/credential.secret").unlink()
    machine.run("systemctl", "restart", "shown", check=False)
    assert machine.show("shown", "Result") != "success"
