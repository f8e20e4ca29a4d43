"""The report of `make image-full`: what makes it bad, and what of it stays when the board alone is tried again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perslm_build import image_full
from perslm_build.terminal import SetupError


def good() -> dict[str, object]:
    return {"same_bytes": True, "left_behind": [], "packed_mb": 700}


def test_a_full_report_is_good_or_says_what_is_wrong() -> None:
    assert image_full.wrong(good()) == []
    assert image_full.wrong(good() | {"same_bytes": False}) == [
        "builds from the same packages have different bytes"
    ]
    assert "mount /x" in image_full.wrong(good() | {"left_behind": ["mount /x"]})[0]
    assert "1201 MB" in image_full.wrong(good() | {"packed_mb": 1201})[0]


def kept(folder: Path, report: dict[str, Any]) -> Path:
    """A report of `make image-full`, and in the same folder what a build leaves beside its image."""
    (folder / "x.img.sha256").write_text("abc  x.img\n")
    file = folder / "image-full.json"
    file.write_text(json.dumps(report))
    return file


BUILDS = {"cold": {"seconds": 1}, "warm": {}, "replay": {}, "packed_mb": 1, "same_bytes": True}


def test_a_board_that_is_tried_again_keeps_what_was_built_and_says_when(tmp_path: Path) -> None:
    old = {"date": "2026-01-02", "commit": "one", "board_asked_for": "pi4", "sha256": ["abc"], "left_behind": []}
    report = kept(tmp_path, {**old, **BUILDS, "wrong": ["no sound"], "minutes": 9})
    found = image_full.of_the_builds(report, tmp_path / "x.img.zst")
    assert found.pop("built") == {"date": "2026-01-02", "commit": "one"}
    assert found == {name: value for name, value in {**old, **BUILDS}.items() if name not in ("date", "commit")}
    again = kept(tmp_path, {**old, **BUILDS, "commit": "two", "built": {"date": "2026-01-02", "commit": "one"}})
    assert image_full.of_the_builds(again, tmp_path / "x.img.zst")["built"]["commit"] == "one"


def test_an_image_that_the_last_report_did_not_compare_is_refused(tmp_path: Path) -> None:
    old = {"date": "2026-01-02", "commit": "one", "board_asked_for": "pi4", "left_behind": []}
    report = kept(tmp_path, {**old, **BUILDS, "sha256": ["another"]})
    with pytest.raises(SetupError, match="none of the images"):
        image_full.of_the_builds(report, tmp_path / "x.img.zst")
    with pytest.raises(SetupError, match="no finished builds"):
        image_full.of_the_builds(kept(tmp_path, {**old, "wrong": ["mmdebstrap"]}), tmp_path / "x.img.zst")


def test_what_a_build_leaves_behind_is_seen(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mounts").write_text("proc /proc proc rw 0 0\n")
    assert image_full.traces(tmp_path) == set()
    (tmp_path / "proc/self/mounts").write_text("proc /var/cache/perslm/image/.root-x/proc proc rw 0 0\n")
    (tmp_path / "proc/sys/fs/binfmt_misc").mkdir(parents=True)
    (tmp_path / "proc/sys/fs/binfmt_misc/qemu-aarch64").touch()
    assert image_full.traces(tmp_path) == {
        "mount /var/cache/perslm/image/.root-x/proc",
        "registered qemu-aarch64",
    }
