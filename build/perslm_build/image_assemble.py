"""From a root folder to one file that goes onto a card: two file systems, a partition table, nothing mounted.

Every number that is usually drawn (UUIDs, the directory hash's seed, the clock) is fixed, and files go in sorted:
the same root gives the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from perslm_build import image_boot
from perslm_build.image_boards import CLOCK, Board
from perslm_build.image_files import FAT_LABEL, ROOT_LABEL
from perslm_build.image_tools import find
from perslm_build.terminal import SetupError, step, watch

_MIB = 1 << 20
_DISK_UUID = "50455253-4c4d-4000-8000-000000000001"
_FAT_UUID = "50455253-4c4d-4000-8000-000000000002"
_ROOT_FS_UUID = "50455253-4c4d-4000-8000-000000000004"
_HASH_SEED = "50455253-4c4d-4000-8000-000000000005"

_ENV = {**os.environ, "SOURCE_DATE_EPOCH": str(CLOCK), "TZ": "UTC", "LC_ALL": "C", "MTOOLS_SKIP_CHECK": "1"}
# The boot ROM of a Raspberry Pi Zero 2 W reads an MBR only; UEFI and the kernel read both.
_MBR = """image {name} {{
  hdimage {{
    partition-table-type = "mbr"
    disk-signature = {signature}
    align = 1M
  }}
  partition firmware {{
    image = "boot.vfat"
    partition-type = 0x0c
    bootable = true
  }}
  partition root {{
    image = "root.ext4"
    partition-type = 0x83
  }}
}}
"""
_GPT = """image {name} {{
  hdimage {{
    partition-table-type = "gpt"
    disk-uuid = "{disk}"
    align = 1M
  }}
  partition firmware {{
    image = "boot.vfat"
    partition-type-uuid = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
    partition-uuid = "{fat}"
  }}
  partition root {{
    image = "root.ext4"
    partition-type-uuid = "b921b045-1df0-41c3-af44-4c6f280d3fae"
    partition-uuid = "{root}"
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the file systems are: the FAT holds two kernels with their initrds; the root has room for a first
    start until that has grown it."""

    fat_mib: int = 256
    spare_mib: int = 160


@dataclass(frozen=True, slots=True)
class Product:
    """What a build leaves in `dist/`: the packed image, its block map, and the sha256 of the unpacked bytes."""

    packed: Path
    block_map: Path
    sha256: str
    size: int


def _run(argv: list[str | Path], what: str) -> None:
    found = subprocess.run(argv, capture_output=True, text=True, check=False, env=_ENV)
    if found.returncode != 0:
        raise SetupError(f"{what} failed: {(found.stderr or found.stdout).strip()[-400:]}")


def fat(folder: Path, image: Path, size_mib: int) -> None:
    """A FAT32 file system with the files of `folder`, made by mkfs.fat and mcopy."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size_mib * _MIB)
    mkfs = find("mkfs.fat") or "mkfs.fat"
    _run([mkfs, "-F", "32", "-n", FAT_LABEL, "-i", "5045524c", "--invariant", image], "the boot partition")
    for path in (folder, *sorted(folder.rglob("*"))):
        os.utime(path, (CLOCK, CLOCK))
    for path in sorted(folder.iterdir()):
        _run(["mcopy", "-s", "-m", "-i", image, path, "::/"], f"copying {path.name} onto the boot partition")


def ext4(root: Path, image: Path, mke2fs: list[str], spare_mib: int) -> None:
    """An ext4 file system with the files of `root`: a sorted tar that mke2fs (1.47.1 or newer) reads."""
    argv: list[str | Path] = ["tar", "--create", "--sort=name", "--format=pax", "--numeric-owner", "--xattrs"]
    argv += ["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]
    argv += [f"--mtime=@{CLOCK}", "--clamp-mtime", "--exclude=./boot/firmware/*", "-C", root, "."]
    needed = sum(1 + path.lstat().st_size // 4096 for path in root.rglob("*")) * 4096
    size = -(-(needed + needed // 12) // _MIB) + spare_mib
    image.unlink(missing_ok=True)
    options = f"hash_seed={_HASH_SEED},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    make: list[str | Path] = [*mke2fs, "-q", "-t", "ext4", "-b", "4096"]
    make += ["-L", ROOT_LABEL, "-U", _ROOT_FS_UUID, "-E", options, "-d", "-", image, f"{size}M"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENV) as tar:
        made = subprocess.run(make, stdin=tar.stdout, capture_output=True, text=True, check=False, env=_ENV)
        _, packed = tar.communicate()
    if tar.returncode != 0 or made.returncode != 0:
        said = made.stderr.strip() or packed.decode(errors="replace").strip()
        raise SetupError(f"the root file system failed: {said[-400:]}")


def disk(name: str, board: Board, work: Path, logs: Path) -> Path:
    """Put both file systems behind a partition table, by genimage."""
    if board.loader == "pi":
        text = _MBR.format(name=name, signature=f"{image_boot.MBR_SIGNATURE:#010x}")
    else:
        text = _GPT.format(name=name, disk=_DISK_UUID, fat=_FAT_UUID, root=image_boot.GPT_ROOT)
    (work / "genimage.cfg").write_text(text, encoding="utf-8")
    for folder in ("empty", "tmp"):
        shutil.rmtree(work / folder, ignore_errors=True)
        (work / folder).mkdir()
    argv: list[str | Path] = ["genimage", "--config", work / "genimage.cfg", "--rootpath", work / "empty"]
    argv += ["--tmppath", work / "tmp", "--inputpath", work, "--outputpath", work]
    watch(argv, logs / "genimage.log", env=_ENV)
    shutil.rmtree(work / "tmp")
    return work / name


def pack(image: Path, target: Path) -> Product:
    """Compress the image into folder `target`, with its block map and checksum beside it."""
    target.mkdir(parents=True, exist_ok=True)
    packed, block_map = target / f"{image.name}.zst", target / f"{image.name}.bmap"
    _run(["bmaptool", "create", "-o", block_map, image], "the block map")
    # Level 6 took 17 s of processor time for 714 MB, level 3 takes 6.6 s for 736 MB.
    _run(["zstd", "-q", "-f", "-T0", "-3", "-o", packed, image], "compressing")
    packed.chmod(0o644)  # zstd takes over the mode of its input
    digest = sha256(image)
    (target / f"{image.name}.sha256").write_text(f"{digest}  {image.name}\n", encoding="utf-8")
    return Product(packed, block_map, digest, image.stat().st_size)


def sha256(path: Path) -> str:
    """The sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def assemble(
    root: Path, board: Board, name: str, work: Path, mke2fs: list[str], logs: Path, sizes: Sizes | None = None
) -> Path:
    """The whole way from `root` to the image file `name` in `work`."""
    sizes = sizes or Sizes()
    work.mkdir(parents=True, exist_ok=True)
    with step("Boot partition"):
        shutil.rmtree(work / "fat", ignore_errors=True)
        image_boot.files(root, board, work / "fat")
        fat(work / "fat", work / "boot.vfat", sizes.fat_mib)
    with step("Root file system"):
        ext4(root, work / "root.ext4", mke2fs, sizes.spare_mib)
    with step("Partition table"):
        return disk(name, board, work, logs)
