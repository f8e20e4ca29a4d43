"""Releases of PersLM itself, from a real signed repository over loopback onto a folder that stands for a card."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopback_http import Site
from perslm_build import release
from perslm_build.locks import ROOT
from perslm_daemon.config import Config, Flags, load
from perslm_daemon.releases import (
    Card,
    change_over,
    follow,
    look,
    offered_anchor,
    release_id,
    take,
    trust,
    unpack,
    version_of,
)
from perslm_runtime.bundle import fingerprint_of, release_channel
from perslm_runtime.errors import BundleRefused, InputError
from perslm_runtime.fetch import FetchError, Progress
from perslm_runtime.lane import Stop
from perslm_training_host.repository import Repository
from updates import pages, repository, served

BOARD = "0123456789abcdef"


def published(folder: Path, repo: Repository, version: int) -> None:
    """A small release with this number, packed, signed and offered as a real one is."""
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not on this machine: `make release` asks for it")
    home = folder / f"home-{version}"
    (home / "bin").mkdir(parents=True)
    (home / "bin/perslm").write_text(f"#!/bin/sh\necho {version}\n")
    (home / "bin/perslm").chmod(0o755)
    (home / "bin/python").symlink_to("/usr/bin/python3")
    target = folder / f"release-{version}"
    release.pack(home, target)
    manifest = release.bundle(target / release.ARCHIVE, release_id(), version)
    (target / "bundle.json").write_text(json.dumps(manifest))
    repo.publish(target)
    repo.promote(release_id(), version, "stable")


def unseen(_progress: Progress) -> None:
    """Nobody watches."""


@pytest.fixture
def card(tmp_path: Path) -> Card:
    root = tmp_path / "card"
    for name in ("opt/perslm-releases/card/bin", "usr/local/lib/perslm", "var/lib/perslm"):
        (root / name).mkdir(parents=True)
    (root / "opt/perslm-releases/card/bin/perslm").touch()
    (root / "opt/perslm").symlink_to("perslm-releases/card")
    shutil.copy(ROOT / "build/image/release_gate.py", root / "usr/local/lib/perslm")
    return Card(root)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    return repository(tmp_path)


@pytest.fixture
def site(repo: Repository, tmp_path: Path) -> Iterator[Site]:
    """The repository with release 7, served."""
    published(tmp_path, repo, 7)
    with served(repo) as found:
        yield found


@pytest.fixture
def config(card: Card, repo: Repository, site: Site) -> Config:
    file = card.root / "perslm.toml"
    file.write_text(f'[sync]\nmirrors = "{site.address}"\nroot_file = "{repo.anchor}"\n')
    return load(Flags(config_file=file), environ={})


NAME = f"{release_id()}-v7"


def test_a_signed_release_is_taken_and_put_on_trial(card: Card, config: Config) -> None:
    anchor, _ = offered_anchor(config, card)
    trust(card, anchor)
    source = follow(config, card, Stop())
    found = look(config, card, source, BOARD)
    assert found is not None
    home = take(found, card, source, unseen, Stop())
    assert home == card.releases / NAME
    assert (card.current(), version_of(card.current())) == ("card", 0), "nothing is in force yet"
    change_over(card, found.name)
    assert card.current() == NAME
    assert subprocess.run([card.root / "opt/perslm/bin/perslm"], capture_output=True, check=True).stdout == b"7\n"
    assert card.book()["trial"] == {"name": NAME, "former": "card", "starts": 0}
    assert look(config, card, source, BOARD) is None, "it is the newest"
    if os.geteuid() == 0:
        assert {path.lstat().st_uid for path in home.rglob("*")} == {0}


def test_the_models_channel_says_nothing_of_releases(repo: Repository, site: Site) -> None:
    assert repo.channel("stable").offers == ()
    assert [one.version for one in repo.channel(release_channel("stable")).offers] == [7]
    assert repo.channel(release_channel("stable")).for_board(BOARD) == (), "a daemon that looks takes none"


def test_what_another_key_signed_is_refused(card: Card, config: Config, tmp_path: Path) -> None:
    other = repository(tmp_path / "other").anchor.read_bytes()
    trust(card, other)
    with pytest.raises(BundleRefused, match="not signed"):
        look(config, card, follow(config, card, Stop()), BOARD)
    assert fingerprint_of(other) != fingerprint_of(offered_anchor(config, card)[0])


def test_an_archive_that_was_changed_on_its_way_is_refused(card: Card, config: Config, site: Site) -> None:
    site.pages = {
        path: data[:-1] + b"x" if path.startswith("/targets/files/") else data for path, data in site.pages.items()
    }
    trust(card, offered_anchor(config, card)[0])
    source = follow(config, card, Stop())
    found = look(config, card, source, BOARD)
    assert found is not None
    with pytest.raises((BundleRefused, FetchError)):
        take(found, card, source, unseen, Stop())
    assert [path.name for path in card.releases.iterdir()] == ["card"]


def test_a_release_that_went_back_is_not_taken_again_and_the_next_one_is(
    card: Card, config: Config, repo: Repository, site: Site, tmp_path: Path
) -> None:
    trust(card, offered_anchor(config, card)[0])
    (card.state / "book.json").write_text(json.dumps({"refused": {NAME: "it failed"}}))
    with pytest.raises(BundleRefused, match="it failed"):
        look(config, card, follow(config, card, Stop()), BOARD)
    published(tmp_path, repo, 8)
    site.pages = pages(repo.folder)
    found = look(config, card, follow(config, card, Stop()), BOARD)
    assert found is not None
    assert found.version == 8


def test_nothing_is_taken_before_somebody_said_whose(card: Card, config: Config) -> None:
    with pytest.raises(InputError, match="perslm update trust"):
        follow(config, card, Stop())


def test_elsewhere_than_on_a_card_another_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "opt/perslm").mkdir(parents=True)
    with pytest.raises(InputError, match="apt upgrade"):
        Card(tmp_path).current()


@pytest.mark.parametrize(
    "member",
    [
        ("../outside", None),
        ("/../../outside", None),
        ("bin/python", "/etc/shadow"),
        ("lib/out", "../../etc/shadow"),
    ],
)
def test_a_member_that_reaches_out_is_refused(tmp_path: Path, member: tuple[str, str | None]) -> None:
    name, link = member
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo(name)
        if link is not None:
            info.type, info.linkname = tarfile.SYMTYPE, link
        tar.addfile(info, io.BytesIO(b""))
    file = tmp_path / "release.tar.zst"
    subprocess.run(["zstd", "-q", "-o", file], input=archive.getvalue(), check=True)
    with pytest.raises(BundleRefused, match="not a release"):
        unpack(file, tmp_path / "inner/folder", Stop())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inner", "release.tar.zst"]


def test_the_command_takes_a_release_tells_how_it_stands_and_goes_back(card: Card, config: Config) -> None:
    def perslm(*words: str) -> dict[str, object]:
        argv = [sys.executable, "-c", "from perslm_daemon.cli import main; main()", "--json", "--config"]
        argv += [str(card.root / "perslm.toml"), "update", *words, "--root", str(card.root)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    assert perslm("trust", "--yes")["fingerprint"] == fingerprint_of(offered_anchor(config, card)[0])
    assert perslm()["offered"] == NAME
    assert perslm("status")["current"] == NAME
    assert perslm("back")["current"] == "card"
    assert perslm("status")["refused"] == {NAME: "somebody asked for the former one"}
