"""A disk that fills up."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(at: Path, size: str = "1m") -> Iterator[Path]:
    """A file system of that size; the test is skipped where nobody may mount one."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount the small file system that fills up")
    at.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"this machine lets nobody mount: {mount.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill_up(ballast: Path, left: int = 8192) -> None:
    """Leave `left` bytes on the disk of `ballast`, which takes the rest."""
    with ballast.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(ballast.parent).free - left)))
