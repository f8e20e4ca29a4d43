"""An image's list of packages, and the making of it again by that list: small packages, real apt and dpkg."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from perslm_build import image_packages, image_record, image_root
from perslm_build.image_boards import BOARDS
from perslm_build.image_packages import Package
from perslm_build.terminal import SetupError


def packed(folder: Path, name: str, version: str, depends: str = "") -> Package:
    """A real package with nothing in it, in the cache."""
    tree = folder / "tree" / name
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n"
    (tree / "DEBIAN/control").write_text(control + (f"Depends: {depends}\n" if depends else ""))
    one = Package(name, version, "all", "")
    file = image_packages.files(folder) / one.file
    file.parent.mkdir(exist_ok=True)
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, file], check=True, capture_output=True)
    return Package(name, version, "all", image_packages.sha256(file))


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Package, ...]:
    if shutil.which("dpkg-deb") is None or shutil.which("apt-get") is None:
        pytest.skip("dpkg and apt are not on this machine: it is no Debian")
    return packed(tmp_path, "kettle", "1:2.0-1", "spout (= 3)"), packed(tmp_path, "spout", "3")


def test_an_archive_of_the_listed_packages_is_one_that_apt_installs_from(
    tmp_path: Path, packages: tuple[Package, ...]
) -> None:
    line = image_packages.archive(packages, tmp_path, tmp_path / "archive")
    (tmp_path / "lists/partial").mkdir(parents=True)
    for name, text in (("sources.list", line + "\n"), ("status", "")):
        (tmp_path / name).write_text(text)
    options = {
        "Dir::Etc::sourcelist": tmp_path / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": tmp_path / "lists",
        "Dir::State::status": tmp_path / "status",
        "Dir::Cache": tmp_path / "apt",
        "APT::Sandbox::User": "",
    }
    argv = ["apt-get", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*argv, "update"], check=True, capture_output=True)
    said = subprocess.run([*argv, "-s", "install", "kettle"], check=True, capture_output=True, text=True).stdout
    assert "Inst kettle (1:2.0-1" in said
    assert "Inst spout (3" in said


def test_a_package_with_another_hash_is_refused_by_name(tmp_path: Path, packages: tuple[Package, ...]) -> None:
    image_packages.check(packages, tmp_path)
    file = image_packages.files(tmp_path) / packages[0].file
    assert file.name == "kettle_1%3a2.0-1_all.deb"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(SetupError, match=r"kettle_1%3a2\.0-1_all\.deb .* is another file than the list's"):
        image_packages.archive(packages, tmp_path, tmp_path / "archive")
    file.unlink()
    with pytest.raises(SetupError, match=rf"kettle_1%3a2\.0-1_all\.deb is not in .*{packages[0].sha256}"):
        image_packages.archive(packages, tmp_path, tmp_path / "archive")


def record(packages: tuple[Package, ...] = ()) -> image_record.Record:
    return image_record.Record(
        "pi4", "debian", "pi4-2gb", "abc1234", image_record.sources(), image_record.tools(), "ab" * 32, packages
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    packages = (Package("a", "1:1", "all", "c" * 64), Package("b", "2", "arm64", "d" * 64))
    file = tmp_path / "card.packages"
    image_record.write(file, ("pi4", "debian", "pi4"), "ab" * 32, packages[::-1])
    read = image_record.parse(file.read_text())
    assert (read.packages, read.image, read.sources) == (packages, "ab" * 32, image_record.sources())
    assert image_packages.digest(packages) == image_packages.digest(packages[::-1])


def test_a_replay_takes_board_and_profile_from_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOARD", "FLAVOUR", "PROFILE", "REPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert image_record.wanted() is None
    file = tmp_path / "card.packages"
    file.write_text(record().text())
    monkeypatch.setenv("REPLAY", str(file))
    assert image_record.wanted() == record()
    monkeypatch.setenv("BOARD", "pi5")
    with pytest.raises(SetupError, match="BOARD=pi4, not pi5"):
        image_record.wanted()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("board pi4\n", "no `flavour`"),
        (record().text() + "deb kettle 1 all\n", "is no line of a package list"),
        (record().text().replace(image_record.sources(), "0" * 64), "git checkout abc1234"),
    ],
)
def test_a_record_that_cannot_be_followed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    for name in ("BOARD", "FLAVOUR", "PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "card.packages").write_text(text)
    monkeypatch.setenv("REPLAY", str(tmp_path / "card.packages"))
    with pytest.raises(SetupError, match=said):
        image_record.wanted()


def test_other_bytes_than_the_recorded_are_told_with_the_tools_that_differ() -> None:
    assert image_record.differs(record(), "ab" * 32) == ""
    assert "the tools are the recorded ones" in image_record.differs(record(), "cd" * 32)
    other = image_record.parse(record().text().replace("tools ", "tools clock=1.0,"))
    assert "other tools here: clock None (recorded: 1.0)" in image_record.differs(other, "cd" * 32)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_root_made_again_by_its_list_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small one for this machine's own processor, so that nothing is emulated."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("needs root and mmdebstrap")
    here = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout
    monkeypatch.setattr(image_packages, "ARCHITECTURE", here.strip())
    board = replace(BOARDS["generic-arm64"], packages=("initramfs-tools", "dbus", "openssh-server"))
    asked = image_root.packages_of(board, tmp_path, tmp_path)
    first = image_root.provide(board, asked, tmp_path, tmp_path).rename(tmp_path / "first.tar")
    listed = image_packages.parse([one.line for one in asked])
    (tmp_path / f"{image_root.recipe(board)}.packages").unlink()
    again = image_root.provide(board, listed, tmp_path, tmp_path)
    assert image_packages.sha256(first) == image_packages.sha256(again)
