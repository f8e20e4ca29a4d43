"""The Debian package as somebody with a running board uses it, and releases on a card: under a real systemd.

On a Debian 13 of its own, with programs for this machine's processor.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perslm_build import deb, install
from perslm_build.environment import RUN
from perslm_build.locks import ROOT
from systemd_machine import Machine, bare, booted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# What the package depends on, so that apt finds all of it without a network, as on a board without one.
PACKAGES = (
    "systemd,systemd-sysv,dbus,mosquitto,mosquitto-clients,iproute2,procps,passwd,"
    "python3,python3-systemd,python3-pyaudio,libgomp1,libstdc++6,libportaudio2"
)
# Ears and mouth have no models here.
SETTINGS = '[mqtt]\nbroker = "own"\n[voice]\nenabled = false\n[model]\nmax_reply_tokens = 8\n'
KEPT = ("etc/perslm/perslm.toml", "var/lib/perslm/memory.db", "var/lib/perslm/models")
OURS = (
    "opt/perslm",
    "usr/lib/systemd/system/perslm.service",
    "etc/systemd/system/perslm.service.d",
    "usr/bin/perslm",
)


@pytest.fixture(scope="module")
def package() -> Path:
    if not RUN.python.exists():
        pytest.skip("this environment was not made by `make`")
    found = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=False)
    os.environ["ARCH"] = found.stdout.strip()
    try:
        return deb.build()
    finally:
        del os.environ["ARCH"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian with what the package depends on, and models."""
    root = bare(tmp_path_factory.mktemp("debian"), PACKAGES)
    (root / "etc/perslm").mkdir()
    (root / "etc/perslm/perslm.toml").write_text(SETTINGS)
    return root


def copy_of(base: Path, folder: Path) -> Path:
    subprocess.run(["cp", "-a", base, folder / "root"], check=True)
    return folder / "root"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, base: Path, package: Path) -> Iterator[Machine]:
    root = copy_of(base, tmp_path_factory.mktemp("package"))
    shutil.copyfile(package, root / package.name)
    with booted(root) as one:
        yield one


def apt(machine: Machine, *words: str) -> str:
    return machine.run("apt-get", "-y", "-o", "Dpkg::Use-Pty=0", *words, timeout_s=600)


def there(machine: Machine, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if os.path.lexists(machine.root / name)]


def test_it_is_installed_starts_and_answers(machine: Machine, package: Path) -> None:
    said = apt(machine, "install", f"/{package.name}")
    assert "models pull" not in said, "its models are there, so it starts"
    machine.until("perslm", "ActiveState", "active")
    assert machine.show("perslm", "UnitFileState") == "enabled"
    assert "MemoryMax=" in (machine.root / "etc/systemd/system/perslm.service.d/10-board.conf").read_text()
    uid = machine.run("id", "-u", "perslm").strip()
    assert (
        f"/run/user/{uid}/pulse"
        in (machine.root / "etc/systemd/system/perslm.service.d/30-sound.conf").read_text()
    )
    answer = json.loads(machine.run("perslm", "--json", "ask", "What is the capital of Italy?"))
    assert answer["reply"], answer
    machine.run("perslm", "ask", "Remember that the keeper is called Ingeborg.")
    assert machine.run("dpkg", "--verify", "perslm") == ""


def test_an_upgrade_restarts_it(machine: Machine, package: Path) -> None:
    before = machine.show("perslm", "MainPID")
    apt(machine, "reinstall", f"/{package.name}")
    machine.until("perslm", "ActiveState", "active")
    assert machine.show("perslm", "MainPID") not in (before, "0")
    assert "Ingeborg" in machine.run("perslm", "memory", "search", "keeper")


def test_removed_it_leaves_what_is_somebodys_and_no_program(machine: Machine) -> None:
    apt(machine, "remove", "perslm")
    assert there(machine, OURS) == []
    assert there(machine, KEPT) == list(KEPT)
    assert machine.run("systemctl", "--failed", "--plain", "--no-legend").split()[:1] not in (["perslm.service"],)
    assert (
        machine.run("systemctl", "is-active", "perslm", "perslm-broker", check=False).split() == ["inactive"] * 2
    )


def test_without_its_models_it_says_how_to_get_them(machine: Machine, package: Path) -> None:
    (machine.root / "var/lib/perslm/models/smollm2-135m-q4_1").rename(machine.root / "aside")
    said = apt(machine, "install", f"/{package.name}")
    assert "models pull --needed" in said
    assert machine.show("perslm", "ActiveState") == "inactive"


def test_purged_it_leaves_nothing_of_itself(machine: Machine) -> None:
    apt(machine, "purge", "perslm")
    assert there(machine, (*OURS, "etc/perslm", "var/lib/perslm", "var/lib/perslm-broker")) == []
    assert "perslm" not in (machine.root / "etc/passwd").read_text()
    left = machine.run("find", "/etc", "/var/lib", "/usr", "-iname", "*perslm*")
    assert [line for line in left.split() if "deb-systemd" not in line] == []


def test_beside_make_install_it_is_refused(machine: Machine, package: Path) -> None:
    unit = machine.root / "usr/local/lib/systemd/system/perslm.service"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.touch()
    said = machine.run("apt-get", "-y", "install", f"/{package.name}", check=False, timeout_s=300)
    assert "sudo make uninstall" in said
    assert there(machine, OURS) == []


GATE = ("/usr/bin/python3", "/usr/local/lib/perslm/release_gate.py")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory, base: Path, package: Path) -> Iterator[Machine]:
    """A card's layout: the package's programs as the release `card`, as v7 broken, as v8 sound."""
    root = copy_of(base, tmp_path_factory.mktemp("card"))
    subprocess.run(["dpkg-deb", "-x", package, root / "unpacked"], check=True)
    releases = root / "opt/perslm-releases"
    releases.mkdir(parents=True)
    (root / "unpacked/opt/perslm").rename(releases / "card")
    for name in ("v7", "v8"):
        subprocess.run(["cp", "-al", releases / "card", releases / name], check=True)
    (releases / "v7/bin/perslm").unlink()
    (releases / "v7/bin/perslm").write_text("#!/opt/perslm/bin/python\nimport nothing_of_the_kind\n")
    (releases / "v7/bin/perslm").chmod(0o755)
    (root / "opt/perslm").symlink_to("perslm-releases/card")
    install.lay_down(root, "[Service]\nMemoryMax=2G\n", 257, 417)
    ours = root / "usr/local/lib/perslm"
    ours.mkdir(parents=True)
    shutil.copy(ROOT / "build/image/release_gate.py", ours)
    shutil.copy(ROOT / "build/image/perslm-release.service", root / install.UNITS)
    with booted(root) as one:
        one.run("systemd-sysusers")
        one.run("systemd-tmpfiles", "--create")
        one.run("chown", "-R", "perslm:perslm", "/var/lib/perslm")
        one.run("/opt/perslm/bin/perslm", "broker", "listen", "127.0.0.1:1883", "--service", "--files-only")
        one.run("systemctl", "enable", "perslm-release", "perslm", "perslm-broker")
        one.run("systemctl", "start", "perslm-broker", "perslm", timeout_s=300)
        yield one


def settled(machine: Machine) -> dict[str, object]:
    """The gate's book once nothing is on trial any more."""
    book = machine.root / "var/lib/perslm-release/book.json"
    deadline = time.monotonic() + 600
    while (found := json.loads(book.read_text()))["trial"] is not None:
        assert time.monotonic() < deadline, found
        time.sleep(1)
    return dict(found)


def test_a_release_that_does_not_start_goes_back_by_itself(card: Machine) -> None:
    card.run(*GATE, "change-over", "v7")
    assert os.readlink(card.root / "opt/perslm") == "perslm-releases/v7"  # noqa: PTH115 - of a link
    card.run("systemctl", "restart", "--no-block", "perslm-release")
    assert "v7" in str(settled(card)["refused"])
    assert os.readlink(card.root / "opt/perslm") == "perslm-releases/card"  # noqa: PTH115 - of a link
    card.until("perslm", "ActiveState", "active")


def test_a_release_that_is_well_stays(card: Machine) -> None:
    card.run(*GATE, "change-over", "v8")
    card.run("systemctl", "restart", "--no-block", "perslm-release")
    assert settled(card)["former"] == "card"
    assert os.readlink(card.root / "opt/perslm") == "perslm-releases/v8"  # noqa: PTH115 - of a link
    assert card.show("perslm", "ActiveState") == "active"
    deadline = time.monotonic() + 120  # what is neither the new nor the former one goes after the book is written
    while (card.root / "opt/perslm-releases/v7").exists():
        assert time.monotonic() < deadline
        time.sleep(0.5)
