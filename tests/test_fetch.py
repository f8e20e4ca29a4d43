"""Bringing one file here through a network that cuts, lies and dawdles."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopback_http import Site, serving
from perslm_runtime.errors import Cancelled
from perslm_runtime.fetch import FetchError, Patience, download, fetch_wheel
from perslm_runtime.lane import Stop
from registry_wheels import point_at, publish, registry, source_distribution, wheel

PAGE = bytes(n * 7919 % 251 for n in range(300_000))
QUICK = Patience(timeout_s=2.0, tries=3, backoff_s=0.005)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving({"/model": PAGE}) as served:
        yield served


def _get(
    site: Site, target: Path, size: int | None = len(PAGE), path: str = "/model", patience: Patience = QUICK
) -> bool:
    return download(site.address + path, target, size, arrived=lambda _n: None, stop=Stop(), patience=patience)


# ------------------------------------------------------------------ https


def test_a_file_arrives_whole_and_is_counted(site: Site, tmp_path: Path) -> None:
    counts: list[int] = []
    resumed = download(
        site.address + "/model", tmp_path / "f", None, arrived=counts.append, stop=Stop(), patience=QUICK
    )
    assert not resumed
    assert (tmp_path / "f").read_bytes() == PAGE
    assert counts == sorted(counts)
    assert counts[-1] == len(PAGE)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_whole_file_is_not_asked_for_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(PAGE)
    assert _get(site, tmp_path / "f")
    assert site.requests == []


def test_a_cut_connection_is_continued_from_its_byte(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000, 50_000]
    assert _get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == PAGE
    assert [asked for _path, asked in site.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert site.sent_bytes == len(PAGE)


def test_last_modified_names_the_version_where_there_is_no_tag(site: Site, tmp_path: Path) -> None:
    site.version, site.version_header = "Wed, 21 Oct 2025 07:28:00 GMT", "Last-Modified"
    site.cuts = [100_000]
    assert _get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == PAGE
    assert site.sent_bytes == len(PAGE)


@pytest.mark.parametrize("why", ["no ranges", "no version", "weak version"])
def test_what_cannot_be_continued_begins_again(site: Site, tmp_path: Path, why: str) -> None:
    site.cuts = [100_000]
    site.ranges = why != "no ranges"
    site.version = {"no version": None, "weak version": 'W/"first"'}.get(why, site.version)
    assert not _get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == PAGE


def test_a_file_that_changed_meanwhile_begins_again(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000]
    with pytest.raises(FetchError):
        _get(site, tmp_path / "f", patience=Patience(2.0, 0, 0.0))
    site.version, site.pages["/model"] = '"second"', PAGE[::-1]
    assert not _get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == PAGE[::-1]


@given(st.lists(st.integers(1, 40_000), max_size=6), st.booleans())
@settings(max_examples=25, deadline=None, database=None)
def test_any_row_of_cuts_ends_in_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], ranges: bool
) -> None:
    page = PAGE[:50_000]
    with serving({"/model": page}) as site:
        site.cuts, site.ranges = list(cuts), ranges
        target = tmp_path_factory.mktemp("any") / "f"
        _get(site, target, len(page), patience=Patience(2.0, 8, 0.0))
        assert target.read_bytes() == page


def test_a_connection_that_brings_no_new_byte_is_given_up(site: Site, tmp_path: Path) -> None:
    site.cuts, site.ranges = [1000] * 20, False
    with pytest.raises(FetchError, match="ended after 1000 of 300000 bytes"):
        _get(site, tmp_path / "f")
    assert len(site.requests) == 1 + QUICK.tries


def test_a_server_error_passes_and_a_missing_page_does_not(site: Site, tmp_path: Path) -> None:
    site.failures = [503, 429]
    _get(site, tmp_path / "f")
    assert len(site.requests) == 3
    with pytest.raises(FetchError, match="404 Not Found"):
        _get(site, tmp_path / "g", path="/other")
    assert len(site.requests) == 4


def test_a_partial_file_longer_than_the_servers_begins_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(PAGE + b"more")
    (tmp_path / "f.version").write_text('"first"')
    _get(site, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == PAGE


def test_redirects_are_followed_with_their_range(site: Site, tmp_path: Path) -> None:
    site.redirects = {"/here": "/there", "/there": site.address + "/model"}
    site.cuts = [100_000]
    _get(site, tmp_path / "f", path="/here")
    assert (tmp_path / "f").read_bytes() == PAGE
    assert site.requests[-1] == ("/model", "bytes=100000-")


@pytest.mark.parametrize(
    "where", ["http://example.org/model", "ftp://127.0.0.1/model", "http://localhost:1/model"]
)
def test_redirects_to_what_is_not_https_are_refused(site: Site, tmp_path: Path, where: str) -> None:
    site.redirects = {"/here": where}
    with pytest.raises(FetchError, match="is not an https address"):
        _get(site, tmp_path / "f", path="/here")


def test_a_redirect_to_a_file_of_this_machine_is_refused(site: Site, tmp_path: Path) -> None:
    site.redirects = {"/here": "file:///etc/passwd"}
    with pytest.raises(FetchError):
        _get(site, tmp_path / "f", path="/here")
    assert not (tmp_path / "f").exists()


def test_another_size_than_the_catalogues_is_refused_before_the_body(site: Site, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="has 300000 bytes where the catalogue says 1000"):
        _get(site, tmp_path / "f", size=1000)
    assert not (tmp_path / "f").exists()


def test_a_body_that_never_ends_is_cut_at_the_catalogues_size(site: Site, tmp_path: Path) -> None:
    site.announce_length = False
    with pytest.raises(FetchError, match="sends more than the 100000 bytes"):
        _get(site, tmp_path / "f", size=100_000)
    assert (tmp_path / "f").stat().st_size <= 100_000


def test_a_stalled_server_is_given_up(site: Site, tmp_path: Path) -> None:
    site.pause_s = 5.0
    began = time.monotonic()
    with pytest.raises(FetchError, match="timed out"):
        _get(site, tmp_path / "f", patience=Patience(0.1, 0, 0.0))
    assert time.monotonic() - began < 2.0


def test_no_connection_is_said_and_given_up_early(tmp_path: Path) -> None:
    with serving() as site:
        closed = site
    began = time.monotonic()
    with pytest.raises(FetchError, match="no connection") as caught:
        _get(closed, tmp_path / "f", patience=Patience(1.0, 50, 0.01))
    assert caught.value.offline
    assert time.monotonic() - began < 1.0


def test_a_stop_keeps_what_has_arrived(site: Site, tmp_path: Path) -> None:
    stop = Stop()

    def arrived(count: int) -> None:
        if count >= 128_000:
            stop.set()

    with pytest.raises(Cancelled):
        download(site.address + "/model", tmp_path / "f", None, arrived=arrived, stop=stop, patience=QUICK)
    have = (tmp_path / "f").stat().st_size
    assert 128_000 <= have < len(PAGE)
    assert _get(site, tmp_path / "f")
    assert site.requests[-1][1] == f"bytes={have}-"
    assert (tmp_path / "f").read_bytes() == PAGE


# ------------------------------------------------------------------ package registry


def test_a_wheel_comes_from_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with registry(monkeypatch) as site:
        publish(site, "a-model", *wheel("a-model", {"a_model/data.bin": PAGE}))
        publish(site, "a-model", *wheel("a-model", {"a_model/data.bin": b"newer"}, "2.0"))
        counts: list[int] = []
        path = fetch_wheel("a-model==1.0", tmp_path / "w", None, counts.append, Stop())
    with zipfile.ZipFile(path) as archive:
        assert archive.read("a_model/data.bin") == PAGE
    assert counts[-1] >= len(PAGE)


def test_a_source_distribution_is_refused_and_its_code_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "it-ran"
    with registry(monkeypatch) as site:
        publish(site, "evil", *source_distribution("evil", f"open({str(proof)!r}, 'w')"))
        with pytest.raises(FetchError, match=r"No matching distribution found for evil==1.0"):
            fetch_wheel("evil==1.0", tmp_path / "w", None, lambda _n: None, Stop())
    assert not proof.exists()


def test_an_unreachable_registry_is_called_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as site:
        point_at(monkeypatch, site.address)
    with pytest.raises(FetchError, match="no connection to the package registry") as caught:
        fetch_wheel("a-model==1.0", tmp_path / "w", None, lambda _n: None, Stop())
    assert caught.value.offline


def test_a_stop_ends_the_registrys_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()
    with registry(monkeypatch) as site:
        publish(site, "slow", *wheel("slow", {"slow/data.bin": PAGE * 4}))
        site.chunk_bytes, site.pause_s = 1000, 0.05

        def arrived(_count: int) -> None:
            if any(path.startswith("/files/") for path, _range in site.requests):
                stop.set()

        with pytest.raises(Cancelled):
            fetch_wheel("slow==1.0", tmp_path / "w", None, arrived, stop)
    assert _children() == set()


def _children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
