"""The programs that build an image: looked for on this machine, and two of Debian 13, unpacked into the cache.

Debian 12's mke2fs can neither read a sorted tar nor leave out the clock, and its Python makes other byte code.
Those of Debian 13 run here by their own loader: nothing is installed and nothing mounted.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from perslm_build.image_boards import PYTHON, SUITE
from perslm_build.system import Need
from perslm_build.terminal import SetupError, step, watch

_PACKAGES = (
    f"python{PYTHON}-minimal",
    f"libpython{PYTHON}-minimal",
    f"libpython{PYTHON}-stdlib",
    "e2fsprogs",
    "libarchive13t64",
    "libc6",
)


def _program(name: str, package: str, what: str) -> Need:
    return Need(f"{name} ({what})", package, lambda: find(name) is not None)


def find(name: str) -> str | None:
    """A program of this machine, also where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


COMPILE = (
    _program("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu", "compiles llama.cpp for arm64"),
    _program("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", "as above"),
)
BUILD = (
    _program("mmdebstrap", "mmdebstrap", "makes the Debian root"),
    _program("qemu-aarch64-static", "qemu-user-static", "runs arm64 programs here"),
    _program("update-binfmts", "binfmt-support", "lets the kernel find it"),
    _program("arch-test", "arch-test", "mmdebstrap's look whether it works"),
    _program("genimage", "genimage", "writes the partition table"),
    _program("mkfs.fat", "dosfstools", "makes the boot partition"),
    _program("mcopy", "mtools", "fills it without mounting"),
    _program("bmaptool", "bmap-tools", "makes the block map, and flashes by it"),
    _program("zstd", "zstd", "compresses"),
    *COMPILE,
)
FLASH = (
    _program("mcopy", "mtools", "writes the settings onto the card"),
    _program("bmaptool", "bmap-tools", "writes by the block map"),
    _program("zstd", "zstd", "unpacks the image"),
)
# What the default tests assemble and flash a small image with.
_TESTED = ("genimage", "dosfstools", "mtools", "bmap-tools", "zstd")
TESTED = tuple(need for need in BUILD if need.package in _TESTED)
EMULATE = (
    _program("qemu-system-aarch64", "qemu-system-arm", "the emulated board"),
    _program("mosquitto_sub", "mosquitto-clients", "talks to it"),
    _program("ssh", "openssh-client", "looks around in it"),
    Need("its firmware", "qemu-efi-aarch64", Path("/usr/share/AAVMF/AAVMF_CODE.fd").is_file),
)


def of_debian(name: str, cache: Path, logs: Path) -> list[str]:
    """How to start program `name` (its path below /usr) of Debian 13 here, fetched where it is not yet."""
    folder = cache / f"tools-{SUITE}"
    if not folder.is_dir():
        fresh = folder.with_name(f".{folder.name}")
        shutil.rmtree(fresh, ignore_errors=True)
        with step(f"Debian {SUITE}'s mke2fs and Python, to run here"):
            argv: list[str | Path] = ["mmdebstrap", "--variant=extract", "--mode=root"]
            watch([*argv, f"--include={','.join(_PACKAGES)}", SUITE, fresh], logs / "tools.log")
        fresh.rename(folder)
    libraries = folder / "usr/lib" / str(sysconfig.get_config_var("MULTIARCH"))
    loader = next(libraries.glob("ld-linux-*.so.*"), None)
    if loader is None:
        raise SetupError(f"{libraries} has no loader: remove {folder}, then run this again.")
    program = [str(loader), "--library-path", str(libraries), str(folder / "usr" / name)]
    return ["env", f"PYTHONHOME={folder / 'usr'}", *program]
