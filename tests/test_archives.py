"""What may be taken out of an archive that came from elsewhere, and what may not."""

from __future__ import annotations

import io
import stat
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime import archives
from perslm_runtime.archives import ArchiveError, append_member, unpack

MEGABYTE = 1 << 20


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _special(path: Path, mode: int) -> Path:
    info = zipfile.ZipInfo("m/odd")
    info.create_system = 3
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/fine", b"fine")
        archive.writestr(info, b"/etc/passwd")
    return path


def _ignore(_count: int) -> None:
    pass


def test_only_what_lies_under_the_folder_is_unpacked(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"m/a.txt": b"a", "m/deep/b.txt": b"b", "mm/c.txt": b"c", "d.txt": b"d"})
    unpack(archive, "m", tmp_path / "out", MEGABYTE, _ignore)
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"a.txt", "deep/b.txt"}
    assert (tmp_path / "out/deep/b.txt").read_bytes() == b"b"


@pytest.mark.parametrize(
    "name", ["../out.txt", "m/../../out.txt", "/abs.txt", "m\\..\\out.txt", "C:/x.txt", "m/.."]
)
def test_a_member_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    archive = _zip(tmp_path / "a.zip", {"m/first.txt": b"good", name: b"evil"})
    with pytest.raises(ArchiveError, match="unsafe path"):
        unpack(archive, "m", tmp_path / "deep" / "out", MEGABYTE, _ignore)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


@given(st.lists(st.sampled_from(["..", ".", "", "m", "a", "x y", "é"]), min_size=1, max_size=6).map("/".join))
@settings(max_examples=60, deadline=None, database=None)
def test_no_member_name_writes_outside_the_target(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    room = tmp_path_factory.mktemp("room")
    archive = _zip(room / "a.zip", {"m/first.txt": b"good", name or "a": b"evil"})
    with suppress(ArchiveError):
        unpack(archive, "m", room / "one" / "out", MEGABYTE, _ignore)
    outside = [p for p in room.rglob("*") if p.is_file() and not p.is_relative_to(room / "one" / "out")]
    assert outside == [archive]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    archive = _special(tmp_path / "a.zip", kind | 0o777)
    with pytest.raises(ArchiveError, match="link or a device"):
        unpack(archive, "m", tmp_path / "out", MEGABYTE, _ignore)
    with pytest.raises(ArchiveError, match="link or a device"):
        append_member(archive, "m/odd", io.BytesIO(), MEGABYTE, _ignore)
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"m/zeros": bytes(20 * MEGABYTE)})
    assert archive.stat().st_size < MEGABYTE / 10
    with pytest.raises(ArchiveError, match="more than the 1048576 allowed"):
        unpack(archive, "m", tmp_path / "out", MEGABYTE, _ignore)
    with pytest.raises(ArchiveError, match="more than the 1048576 allowed"):
        append_member(archive, "m/zeros", io.BytesIO(), MEGABYTE, _ignore)
    assert not (tmp_path / "out").exists()


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"m/zeros": bytes(5 * MEGABYTE)})
    data = archive.read_bytes()
    honest, lie = (5 * MEGABYTE).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert data.count(honest) == 2  # the local and the central record
    archive.write_bytes(data.replace(honest, lie))
    with pytest.raises(ArchiveError):
        unpack(archive, "m", tmp_path / "out", MEGABYTE, _ignore)
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*")) <= MEGABYTE


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {f"m/{n}": b"" for n in range(archives.MEMBERS_MAX + 1)})
    with pytest.raises(ArchiveError, match="10001 members"):
        unpack(archive, "m", tmp_path / "out", MEGABYTE, _ignore)


def test_a_member_is_appended_and_counted(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"m/part2": b"world"})
    out, counted = io.BytesIO(b"hello "), list[int]()
    out.seek(0, io.SEEK_END)
    assert append_member(archive, "m/part2", out, 5, counted.append) == 5
    assert out.getvalue() == b"hello world"
    assert sum(counted) == 5


def test_a_missing_member_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"m/a": b"a"})
    with pytest.raises(ArchiveError, match="no member m/b"):
        append_member(archive, "m/b", io.BytesIO(), 5, _ignore)
    with pytest.raises(ArchiveError, match="nothing under other/"):
        unpack(archive, "other", tmp_path / "out", MEGABYTE, _ignore)


@pytest.mark.parametrize("damage", ["no zip", "cut", "flipped"])
def test_a_damaged_archive_is_named(tmp_path: Path, damage: str) -> None:
    archive = _zip(tmp_path / "a.zip", {"m/a": bytes(range(256)) * 40})
    data = bytearray(archive.read_bytes())
    if damage == "flipped":
        data[60] ^= 0xFF
    archive.write_bytes({"no zip": b"<html>", "cut": bytes(data[:-30]), "flipped": bytes(data)}[damage])
    with pytest.raises(ArchiveError, match=r"a\.zip is not a sound zip archive"):
        unpack(archive, "m", tmp_path / "out", MEGABYTE, _ignore)
