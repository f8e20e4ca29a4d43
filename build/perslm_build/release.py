"""`make release`: PersLM for cards that are out already, as a bundle that the training host signs like a model.

The same environment as on a card, packed; `perslm-host publish` signs it, `perslm update` on a board takes it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from perslm_build import deb, image, image_assemble, image_python, image_tools, locks, system
from perslm_build.image_boards import CLOCK, PYTHON
from perslm_build.terminal import SetupError, say, step

ARCHIVE = "release.tar.zst"
_MEMORY_MB = 1  # a bundle says what its model takes; a release takes none of its own


def build() -> Path:
    """Make `dist/release-ARCH/` (`ARCH=arm64`): bundle.json and the archive. Raises SetupError."""
    name = os.environ.get("ARCH") or "arm64"
    if name not in deb.PROCESSORS:
        raise SetupError(f"ARCH={name} is not known: take one of {', '.join(deb.PROCESSORS)}.")
    system.provide(image_tools.COMPILE if name == "arm64" else (), image.logs())
    target = image.DIST / f"release-{name}"
    with image.alone() as folder:
        tree = deb.environment(folder / "tree", deb.PROCESSORS[name])
        pack(tree / image_python.HOME, target)
    number = version()
    manifest = bundle(target / ARCHIVE, f"perslm-{name}-py{PYTHON}", number)
    (target / "bundle.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    say(f"\n{target.relative_to(locks.ROOT)}: {manifest['what']}, version {number}")
    say(f"Next, on the training host: perslm-host publish {target.relative_to(locks.ROOT)}")
    say(f"                            perslm-host promote {manifest['id']} {number}")
    return target


def version() -> int:
    """The release's number, which has to grow: `RELEASE`, or how many commits there are."""
    if given := os.environ.get("RELEASE"):
        if not given.isdecimal():
            raise SetupError(f"RELEASE={given}: it is a number that grows with every release.")
        return int(given)
    argv = ["git", "rev-list", "--count", "HEAD"]
    found = subprocess.run(argv, cwd=locks.ROOT, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SetupError("this is no clone of a repository: say the release's number, RELEASE=7.")
    return int(found.stdout)


def pack(home: Path, target: Path) -> None:
    """The environment `home` as a sorted archive without the builder's names and times."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with step("Packing"):
        tar = ["tar", "--create", "--sort=name", "--format=pax", "--numeric-owner", "--owner=0", "--group=0"]
        tar += ["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", f"--mtime=@{CLOCK}"]
        packed = ["zstd", "-q", "-f", "-9", "-o", str(target / ARCHIVE)]
        with subprocess.Popen([*tar, "-C", home, "."], stdout=subprocess.PIPE) as first:
            second = subprocess.run(packed, stdin=first.stdout, check=False)
        if first.returncode or second.returncode:
            raise SetupError(f"the release cannot be packed: tar {first.returncode}, zstd {second.returncode}.")


def bundle(archive: Path, name: str, number: int) -> dict[str, object]:
    """The manifest of the bundle that holds `archive` alone."""
    digest = image_assemble.sha256(archive)
    return {
        "format": 1,
        "id": name,
        "version": number,
        "kind": "app",
        "what": f"PersLM {deb.version()}",
        "licence": "GPL-3.0-or-later",
        "files": [{"path": archive.name, "size": archive.stat().st_size, "sha256": digest}],
        "memory_mb": _MEMORY_MB,
    }
