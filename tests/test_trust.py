"""What is signed: the attacks that TUF names, each refused by name, and the clock and mirrors that are ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner  # noqa: TID251 - a thief has the library, too
from tuf.api.metadata import Metadata, TargetFile, Targets  # noqa: TID251 - as above

from loopback_http import Site, serving
from perslm_runtime.bundle import channel_path, manifest_path, read_channel, read_manifest
from perslm_runtime.errors import BundleRefused, ConfigError, InputError
from perslm_runtime.fetch import FetchError, Patience
from perslm_training_host.repository import Repository
from perslm_training_host.signing_keys import SigningKeys
from updates import board, bundle, pages, repository, served

PATIENCE = Patience(timeout_s=5, tries=2, backoff_s=0.01)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    made = repository(tmp_path / "host")
    made.publish(bundle(tmp_path, 1))
    made.promote("home", 1, "stable")
    return made


def test_a_board_reads_what_was_published_and_nothing_else(repo: Repository, tmp_path: Path) -> None:
    with served(repo) as site:
        trust = board(tmp_path / "board", repo, site)
        trust.refresh()
        channel = read_channel(trust.read(channel_path("stable")))
        manifest = read_manifest(trust.read(manifest_path("home", 1)))
        assert channel.for_board("any") == (("home", 1),)
        (file,) = manifest.files
        trust.fetch(f"files/{file.sha256}", tmp_path / "model.gguf", lambda _n: None, PATIENCE)
        assert (tmp_path / "model.gguf").read_bytes() == b"GGUF"
        assert trust.target("bundles/home/2.json") is None
        with pytest.raises(BundleRefused, match="nothing is signed under"):
            trust.read("bundles/home/2.json")


def changed(site: Site, ending: str, change: Callable[[bytes], bytes]) -> None:
    found = [path for path in site.pages if path.endswith(ending)]
    assert found
    for path in found:
        site.pages[path] = change(site.pages[path])


def test_a_target_that_was_changed_is_refused(repo: Repository, tmp_path: Path) -> None:
    with served(repo) as site:
        trust = board(tmp_path / "board", repo, site)
        trust.refresh()
        (file,) = read_manifest(trust.read(manifest_path("home", 1))).files
        changed(site, file.sha256, lambda _old: b"gguf")
        with pytest.raises(BundleRefused, match="not the file that was signed"):
            trust.fetch(f"files/{file.sha256}", tmp_path / "model.gguf", lambda _n: None, PATIENCE)
        assert not (tmp_path / "model.gguf").exists()
        changed(site, "stable.json", lambda old: old.replace(b"100", b"001"))
        with pytest.raises(BundleRefused, match="not the file that was signed"):
            trust.read(channel_path("stable"))


def test_a_target_without_end_is_cut_off_at_its_signed_size(repo: Repository, tmp_path: Path) -> None:
    with served(repo) as site:
        trust = board(tmp_path / "board", repo, site)
        trust.refresh()
        changed(site, "stable.json", lambda old: old + bytes(200_000))
        with pytest.raises(BundleRefused, match="longer than what was signed"):
            trust.read(channel_path("stable"))
        assert site.sent_bytes < 200_000 + 50_000


def test_metadata_without_end_is_cut_off(repo: Repository, tmp_path: Path) -> None:
    with served(repo) as site:
        changed(site, "timestamp.json", lambda old: old + b" " * 100_000)
        with pytest.raises(BundleRefused, match="more metadata than was announced"):
            board(tmp_path / "board", repo, site).refresh()


def test_an_older_state_is_refused_as_a_roll_back(repo: Repository, tmp_path: Path) -> None:
    with served(repo) as site:
        before = dict(site.pages)
        repo.publish(bundle(tmp_path, 2, b"GGUF2"))
        site.pages = pages(repo.folder)
        board(tmp_path / "board", repo, site).refresh()
        site.pages = before
        with pytest.raises(BundleRefused, match="a roll-back is refused"):
            board(tmp_path / "board", repo, site).refresh()


def test_a_frozen_state_is_refused_once_it_has_expired(repo: Repository, tmp_path: Path) -> None:
    later = repo._now() + timedelta(days=15)
    with served(repo) as site:
        board(tmp_path / "board", repo, site).refresh()
        with pytest.raises(BundleRefused, match=r"has expired.*frozen"):
            board(tmp_path / "board", repo, site, now_s=later.timestamp()).refresh()


def test_a_clock_that_was_set_back_does_not_bring_expired_things_to_life(repo: Repository, tmp_path: Path) -> None:
    """Fails when an upgrade of python-tuf no longer judges expiry by the time we hand it."""
    old = Repository(repo.folder, repo._keys, now=lambda: datetime.now(UTC) + timedelta(days=60))
    old.sign(fresh=True)  # valid from here to sixty days and a fortnight on
    last = (datetime.now(UTC) + timedelta(days=70)).timestamp()
    with served(repo) as site:
        assert board(tmp_path / "board", repo, site, now_s=last).refresh()
        repo.sign(fresh=True)  # by a host whose clock is right: a higher version that expires before `last`
        site.pages = pages(repo.folder)
        with pytest.raises(BundleRefused, match="has expired"):
            board(tmp_path / "board", repo, site, now_s=1_000_000.0).refresh()


def newest(served: dict[str, bytes]) -> str:
    """The path of the highest version of the targets metadata."""
    found = [path for path in served if path.endswith(".targets.json")]
    return max(found, key=lambda path: int(path.rpartition("/")[2].partition(".")[0]))


def test_parts_of_different_states_are_refused(repo: Repository, tmp_path: Path) -> None:
    with served(repo) as site:
        before = dict(site.pages)
        repo.publish(bundle(tmp_path, 2, b"GGUF2"))
        site.pages = pages(repo.folder)
        site.pages[newest(site.pages)] = before[newest(before)]
        with pytest.raises(BundleRefused):
            board(tmp_path / "board", repo, site).refresh()


def test_what_other_keys_signed_is_refused(repo: Repository, tmp_path: Path) -> None:
    foreign = repository(tmp_path / "foreign")
    foreign.publish(bundle(tmp_path, 1, b"EVIL"))
    with served(foreign) as site, pytest.raises(BundleRefused, match="not signed by enough"):
        board(tmp_path / "board", repo, site).refresh()


def forged(repo: Repository, folder: Path, *keys: CryptoSigner) -> dict[str, bytes]:
    """What a thief of the online keys can serve: one more target that `keys` sign, all else in order."""
    shutil.copytree(repo.folder, folder)
    metadata = Metadata[Targets].from_bytes(pages(folder)[newest(pages(folder))])
    added = TargetFile.from_data("bundles/home/9.json", b"EVIL", ["sha256"])
    metadata.signed.targets[added.path] = added
    metadata.signed.version += 1
    metadata.signatures.clear()
    for key in keys:
        metadata.sign(key, append=True)
    metadata.to_file(str(folder / f"metadata/{metadata.signed.version}.targets.json"))
    Repository(folder, repo._keys).sign(fresh=True)
    return pages(folder)


def test_a_stolen_timestamp_key_publishes_nothing(repo: Repository, tmp_path: Path) -> None:
    """Whoever has the online keys alone can hold boards back, and cannot give them a file."""
    (thief := tmp_path / "thief").mkdir()
    for path in (tmp_path / "host/keys").glob("[st][ni]*.pem"):  # snapshot and timestamp
        (thief / path.name).write_bytes(path.read_bytes())
    stolen = Repository(repo.folder, SigningKeys([thief]))
    with pytest.raises(ConfigError, match="targets needs 1 of its keys and 0 are here"):
        stolen.publish(bundle(tmp_path, 2, b"EVIL"))
    stolen.sign(fresh=True)
    own = SigningKeys([tmp_path / "own"]).make("targets")
    evil = forged(repo, tmp_path / "forged", own)
    with serving(evil) as site, pytest.raises(BundleRefused, match="not signed by enough"):
        board(tmp_path / "board", repo, site).refresh()


def test_a_rotated_root_and_targets_key_are_followed_and_the_old_key_is_worth_nothing(
    repo: Repository, tmp_path: Path
) -> None:
    with served(repo) as site:
        board(tmp_path / "board", repo, site).refresh()
        old = SigningKeys([tmp_path / "old"])
        (tmp_path / "old").mkdir()
        for path in (tmp_path / "host/keys").iterdir():
            (tmp_path / "old" / path.name).write_bytes(path.read_bytes())
        repo.rotate("root")
        repo.rotate("targets")
        repo.publish(bundle(tmp_path, 2, b"GGUF2"))
        site.pages = pages(repo.folder)
        trust = board(tmp_path / "board", repo, site)
        trust.refresh()
        assert trust.target(manifest_path("home", 2)) is not None
        with pytest.raises(ConfigError, match="targets needs 1 of its keys and 0 are here"):
            Repository(repo.folder, old).publish(bundle(tmp_path, 3, b"GGUF3"))
        site.pages = forged(repo, tmp_path / "forged", *old.of("targets"))
        with pytest.raises(BundleRefused, match="not signed by enough"):
            board(tmp_path / "board", repo, site).refresh()


def test_two_of_two_keys_have_to_sign_where_that_was_asked(tmp_path: Path) -> None:
    keys = SigningKeys([tmp_path / "one", tmp_path / "two"], "a passphrase")
    made = Repository.create(tmp_path / "repository", keys, thresholds={"targets": 2})
    (tmp_path / "two").mkdir()
    (tmp_path / "one/targets-2.pem").rename(tmp_path / "two/targets-2.pem")
    with pytest.raises(ConfigError, match="needs 2 of its keys and 1 are here"):
        Repository(made.folder, SigningKeys([tmp_path / "one"], "a passphrase")).publish(bundle(tmp_path, 1))
    Repository(made.folder, keys).publish(bundle(tmp_path, 1))
    one, other = keys.of("targets")
    with serving(forged(made, tmp_path / "half", one)) as site:
        with pytest.raises(BundleRefused, match="not signed by enough"):
            board(tmp_path / "board", made, site).refresh()
        site.pages = forged(made, tmp_path / "both", one, other)
        board(tmp_path / "another", made, site).refresh()
    assert len(made.rotate("targets")) == 2, "two have to sign after it as before"
    with pytest.raises(ConfigError, match="needs 2 of its keys and 0 are here"):
        Repository(made.folder, SigningKeys([tmp_path / "two"], "a passphrase")).promote("home", 1, "stable")
    with pytest.raises(ConfigError, match="is the passphrase right"):
        SigningKeys([tmp_path / "one"], "another").of("root")
    with pytest.raises(ConfigError, match="is encrypted"):
        SigningKeys([tmp_path / "one"]).of("root")


def test_a_mirror_that_is_down_old_or_foreign_costs_nothing_while_another_is_right(
    repo: Repository, tmp_path: Path
) -> None:
    foreign = repository(tmp_path / "foreign")
    with served(repo) as stale, served(foreign) as wrong, serving() as empty, served(repo) as right:
        repo.publish(bundle(tmp_path, 2, b"GGUF2"))
        right.pages = pages(repo.folder)
        trust = board(tmp_path / "board", repo, stale, wrong, empty, right)
        trust.refresh()
        assert trust.target(manifest_path("home", 2)) is not None, "the newest state counts, wherever it is"
        assert read_manifest(trust.read(manifest_path("home", 2))).version == 2


def test_a_file_that_one_mirror_has_begun_is_ended_by_the_next_and_a_wrong_part_costs_its_bytes_alone(
    repo: Repository, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 8192  # 2 MB
    manifest = repo.publish(bundle(tmp_path, 2, content))
    path = f"files/{manifest.files[0].sha256}"

    def fetched(first: Site, second: Site, target: str) -> bytes:
        first.version, second.version = '"of the first"', '"of the second"'
        second.requests = []
        trust = board(tmp_path / "board", repo, first, second)
        trust.refresh()
        first.cuts = [500_000, 0, 0]  # it goes in the middle, and is not back
        trust.fetch(path, tmp_path / target, lambda _n: None, PATIENCE)
        return (tmp_path / target).read_bytes()

    with served(repo) as first, served(repo) as second:
        assert fetched(first, second, "one") == content
        assert [asked for name, asked in second.requests if path in name] == ["bytes=500000-"]
        changed(first, path.partition("/")[2], lambda old: bytes(len(old)))
        assert fetched(first, second, "two") == content
        assert [asked for name, asked in second.requests if path in name] == ["bytes=500000-", None]
        changed(second, path.partition("/")[2], lambda old: bytes(len(old)))
        with pytest.raises(BundleRefused, match="not the file that was signed"):
            fetched(first, second, "three")
        assert not (tmp_path / "three").exists()


def test_a_board_that_was_away_for_weeks_follows_what_was_signed_meanwhile(
    repo: Repository, tmp_path: Path
) -> None:
    with served(repo) as site:
        board(tmp_path / "board", repo, site).refresh()
        later = Repository(repo.folder, repo._keys, now=lambda: datetime.now(UTC) + timedelta(days=60))
        later.rotate("snapshot")
        later.publish(bundle(tmp_path, 2, b"GGUF2"))
        site.pages = pages(repo.folder)
        trust = board(tmp_path / "board", repo, site, now_s=later._now().timestamp())
        trust.refresh()
        assert trust.target(manifest_path("home", 2)) is not None


def test_no_mirror_that_can_be_reached_is_told_as_such(repo: Repository, tmp_path: Path) -> None:
    with serving() as gone:
        pass
    with pytest.raises(FetchError) as told:
        board(tmp_path / "board", repo, gone).refresh()
    assert told.value.offline


def test_an_idle_poll_takes_less_than_5_kb(repo: Repository, tmp_path: Path) -> None:
    with served(repo) as site:
        board(tmp_path / "board", repo, site).refresh()
        site.sent_bytes, site.requests = 0, []
        board(tmp_path / "board", repo, site).refresh()
        assert [path for path, _ in site.requests] == ["/metadata/2.root.json", "/metadata/timestamp.json"]
        assert site.sent_bytes < 2000, "and 3 KB are left for headers"


def test_a_version_is_its_content(repo: Repository, tmp_path: Path) -> None:
    assert repo.publish(bundle(tmp_path, 1)).version == 1, "the same again is no error"
    with pytest.raises(InputError, match="count its version up"):
        repo.publish(bundle(tmp_path, 1, b"other"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "../home"}, "id has to be"),
        ({"kind": "virus"}, "kind 'virus' is none of"),
        ({"licence": " "}, "licence is missing"),
        ({"format": 9}, "update PersLM first"),
        ({"app_min": "x"}, "app_min"),
        ({"boards": ()}, "boards and languages name one each"),
        ({"memory_mb": 0}, "memory_mb has to be"),
    ],
)
def test_a_manifest_with_mistakes_is_not_published(
    repo: Repository, tmp_path: Path, change: dict[str, object], told: str
) -> None:
    with pytest.raises(BundleRefused, match=told):
        repo.publish(bundle(tmp_path, 2, b"GGUF2", **change))


def test_a_bundle_for_a_board_that_nobody_has_is_not_published(repo: Repository, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no board profile 'pi6'"):
        repo.publish(bundle(tmp_path, 2, b"GGUF2", boards=("pi5", "pi6")))


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", ".hidden", "a/../b", "bundle.json", "a\\b", ""]
)
def test_no_file_of_a_bundle_leaves_its_folder(tmp_path: Path, path: str) -> None:
    text = json.loads((bundle(tmp_path) / "bundle.json").read_text())
    text["files"][0]["path"] = path
    with pytest.raises(BundleRefused, match="does not lie inside"):
        read_manifest(json.dumps(text).encode())


def test_a_roll_out_reaches_its_share_of_the_boards_and_grows_without_taking_any_back(
    repo: Repository, tmp_path: Path
) -> None:
    repo.publish(bundle(tmp_path, 2, b"GGUF2"))
    boards = [f"board-{n}" for n in range(1000)]
    beta = repo.promote("home", 2, "beta")
    assert beta.for_board(boards[0]) == (("home", 2),)
    assert repo.channel("stable").for_board(boards[0]) == (("home", 1),), "the other channel stays as it is"
    had: set[str] = set()
    for percent in (1, 10, 50, 100):
        channel = repo.promote("home", 2, "stable", percent)
        have = {one for one in boards if channel.for_board(one) == (("home", 2),)}
        assert had <= have
        assert abs(len(have) - 10 * percent) < 60
        assert all(channel.for_board(one) == (("home", 1),) for one in set(boards) - have)
        had = have
    assert repo.retract("home", 2) == ["stable", "beta"]
    with pytest.raises(InputError, match="was retracted"):
        repo.promote("home", 2, "stable")
