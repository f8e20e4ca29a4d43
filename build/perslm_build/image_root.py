"""The board's Debian: a root folder packed as a tar, made by mmdebstrap once for each list of packages
and versions, out of the package cache alone.

Runs the packages' own scripts under qemu-user, which is the slow part: what they would do twice or for nobody
(hardware database, byte-compiling, initrd) is left out or done once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from perslm_build import image_packages
from perslm_build.image_boards import CLOCK, SUITE, Board
from perslm_build.image_packages import Package
from perslm_build.terminal import SetupError, say, step, watch

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATOR = "qemu-aarch64"
REGISTER = f"mount -t binfmt_misc binfmt_misc {_BINFMT}; update-binfmts --enable {EMULATOR}"
_NATIVE = {"aarch64": "arm64", "x86_64": "amd64"}
_ENVIRONMENT = {
    "SYSTEMD_HWDB_UPDATE_BYPASS": "1",  # 115 s under emulation; systemd works without the compiled database
    "INITRD": "No",  # else it is made for the kernel, and again by the trigger
    "SOURCE_DATE_EPOCH": str(CLOCK),
    "DEBIAN_FRONTEND": "noninteractive",
}
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")
_NOT_RUN = ("/usr/bin/py3compile", "/usr/bin/py3clean")  # 150 s a library; image_python.py compiles on the host
# mmdebstrap mounts /proc and more into the root: with mounts and processes of its own none outlives a Ctrl-C.
_ALONE = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
_INITRAMFS = "MODULES=list\nCOMPRESS=zstd\n"


def recipe(board: Board) -> str:
    """The name of a cached list of packages: by all that decides what is in the root, but the versions."""
    facts = [SUITE, sorted(board.packages), _ENVIRONMENT, _LEFT_OUT, _NOT_RUN, _INITRAMFS, board.modules]
    if board.sources:
        facts.append([source.line for source in board.sources])
    return f"root-{SUITE}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"


def key(board: Board, packages: Sequence[Package]) -> str:
    """The name of a cached root: by its recipe and its list of packages."""
    return f"{recipe(board)}-{image_packages.digest(packages)[:16]}.tar"


def packages_of(board: Board, cache: Path, logs: Path) -> tuple[Package, ...]:
    """The list of the board's packages, from the cache or asked of the archives now. Raises SetupError."""
    for source in board.sources:
        if source.key is not None and not Path(source.key).is_file():
            raise SetupError(
                f"{source.key} is not here: it vouches for {source.line.split()[1]}. Install that keyring."
            )
    return image_packages.provide(board, recipe(board), cache, logs)


def provide(board: Board, packages: Sequence[Package], cache: Path, logs: Path) -> Path:
    """The tar with the board's root out of exactly these packages, from the cache or made now.

    Raises SetupError with the log's end, or naming the package whose file is not the list's.
    """
    finished = cache / key(board, packages)
    if finished.is_file():
        return finished
    cache.mkdir(parents=True, exist_ok=True)
    fresh = cache / f".{finished.name}"
    with (
        step(f"Debian {SUITE} for {board.name}: {len(packages)} packages (8 to 20 minutes, once)"),
        emulation(),
        tempfile.TemporaryDirectory(dir=cache, prefix=".root-") as folder,
    ):
        modules = Path(folder) / "modules"
        modules.write_text("\n".join(board.modules) + "\n", encoding="utf-8")
        source = image_packages.archive(packages, cache, Path(folder) / "archive")
        say(f"   log: {logs / 'mmdebstrap.log'}")
        watch(
            [*_ALONE, *command(board, fresh, modules, source)],
            logs / "mmdebstrap.log",
            reading=progress,
            env={**os.environ, **_ENVIRONMENT, "TMPDIR": folder},
            next_step="check the network and `apt-get update`, then run this again",
        )
    fresh.rename(finished)
    return finished


def command(board: Board, tar: Path, modules: Path, source: str) -> list[str | Path]:
    """mmdebstrap's arguments: `tar` is what it writes, `modules` the initrd's list, `source` apt's line."""
    argv: list[str | Path] = ["mmdebstrap", f"--architectures={image_packages.ARCHITECTURE}"]
    argv += ["--variant=minbase", "--mode=root"]
    argv.append('--aptopt=APT::Install-Recommends "false"')
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in (*_LEFT_OUT, *_NOT_RUN)]
    argv.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    argv.append(f"--include={','.join(board.packages)}")
    settings = "$1/etc/initramfs-tools"
    lines = _INITRAMFS.replace("\n", "\\n")
    argv.append(f'--setup-hook=mkdir -p "{settings}/conf.d"; printf \'{lines}\' > "{settings}/conf.d/perslm"')
    argv.append(f'--customize-hook=cp {modules} "{settings}/modules"')
    argv.append('--customize-hook=chroot "$1" update-initramfs -c -k all')
    # The two things that would differ from run to run: a folder's name, and keys that no two boards may share.
    argv.append('--customize-hook=: > "$1/etc/apt/sources.list"; rm -f "$1"/etc/ssh/ssh_host_*')
    return [*argv, SUITE, tar, source]


def progress(line: str) -> str | None:
    """What mmdebstrap's line says of how far it is: the package that is set up, or its own words."""
    found = re.match(r"(?:Setting up|Unpacking) (\S+)", line) or re.match(r"I: (.+)", line)
    return found[0].removeprefix("I: ") if found else None


def runs_here() -> bool:
    """Whether the board's programs run on this machine: its own kind, or registered with the kernel."""
    return _NATIVE.get(os.uname().machine) == image_packages.ARCHITECTURE or (_BINFMT / EMULATOR).exists()


@contextmanager
def emulation() -> Iterator[None]:
    """arm64 programs run here until the block is left: registered where they are not, and taken away again.

    Raises SetupError with the line to type where this process may not do it.
    """
    if runs_here():
        yield
        return
    mounted = not (_BINFMT / "status").exists()
    try:
        if mounted:
            _do("mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT))
        try:
            _do("update-binfmts", "--enable", EMULATOR)
            yield
        finally:
            subprocess.run(["update-binfmts", "--disable", EMULATOR], capture_output=True, check=False)
    finally:
        if mounted:
            subprocess.run(["umount", _BINFMT], capture_output=True, check=False)


def _do(*argv: str) -> None:
    found = subprocess.run(argv, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SetupError(
            f"arm64 programs cannot be run here: {found.stderr.strip()}. As root, type:\n\n  {REGISTER}\n"
        )


def unpack(tar: Path, folder: Path) -> None:
    """The root as a folder, owners and modes as in the tar. Needs root."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    argv: list[str | Path] = [
        "tar",
        "--extract",
        "--numeric-owner",
        "--xattrs",
        "--exclude=./dev/*",
        "-f",
        tar,
        "-C",
        folder,
    ]
    found = subprocess.run(argv, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SetupError(f"{tar} cannot be unpacked: {found.stderr[-300:]}. Remove it, then run this again.")
