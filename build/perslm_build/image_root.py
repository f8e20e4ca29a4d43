"""The board's Debian: a root folder packed as a tar, made by mmdebstrap once for each list of packages.

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perslm_build.image_boards import CLOCK, SUITE, Board
from perslm_build.terminal import SetupError, say, step, watch

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATOR = "qemu-aarch64"
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


def key(board: Board) -> str:
    """The name of a cached root: by everything that decides what is in it, but for the day's package versions."""
    facts = [SUITE, sorted(board.packages), _ENVIRONMENT, _LEFT_OUT, _NOT_RUN, _INITRAMFS, board.modules]
    if board.sources:
        facts.append([source.line for source in board.sources])
    return f"root-{SUITE}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}.tar"


def provide(board: Board, cache: Path, logs: Path) -> Path:
    """The tar with the board's root, from the cache or made now. Raises SetupError with the log's end."""
    finished = cache / key(board)
    if finished.is_file():
        return finished
    for source in board.sources:
        if source.key is not None and not Path(source.key).is_file():
            raise SetupError(
                f"{source.key} is not here: it vouches for {source.line.split()[1]}. Install that keyring."
            )
    cache.mkdir(parents=True, exist_ok=True)
    fresh = cache / f".{finished.name}"
    with (
        step(f"Debian {SUITE} for {board.name} ({len(board.packages)} packages asked for; 8 to 20 minutes, once)"),
        emulation(),
        tempfile.TemporaryDirectory(dir=cache, prefix=".root-") as folder,
    ):
        modules = Path(folder) / "modules"
        modules.write_text("\n".join(board.modules) + "\n", encoding="utf-8")
        say(f"   log: {logs / 'mmdebstrap.log'}")
        watch(
            [*_ALONE, *command(board, fresh, modules)],
            logs / "mmdebstrap.log",
            reading=progress,
            env={**os.environ, **_ENVIRONMENT, "TMPDIR": folder},
            next_step="check the network and `apt-get update`, then run this again",
        )
    fresh.rename(finished)
    return finished


def command(board: Board, tar: Path, modules: Path) -> list[str | Path]:
    """mmdebstrap's arguments: `tar` is what it writes, `modules` the list of modules of the initrd."""
    argv: list[str | Path] = ["mmdebstrap", "--architectures=arm64", "--variant=minbase", "--mode=root"]
    argv += ["--components=main,non-free-firmware", '--aptopt=APT::Install-Recommends "false"']
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in (*_LEFT_OUT, *_NOT_RUN)]
    argv.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    argv.append(f"--include={','.join(board.packages)}")
    argv += _more_sources(board)
    settings = "$1/etc/initramfs-tools"
    lines = _INITRAMFS.replace("\n", "\\n")
    argv.append(f'--setup-hook=mkdir -p "{settings}/conf.d"; printf \'{lines}\' > "{settings}/conf.d/perslm"')
    argv.append(f'--customize-hook=cp {modules} "{settings}/modules"')
    argv.append('--customize-hook=chroot "$1" update-initramfs -c -k all')
    return [*argv, SUITE, tar]


def _more_sources(board: Board) -> list[str | Path]:
    """Archives beside Debian's own, each for the packages it is there for and no others."""
    argv: list[str | Path] = []
    for number, source in enumerate(board.sources):
        kind, rest = source.line.split(" ", 1)
        line = f"{kind} [signed-by={source.key}] {rest}" if source.key else source.line
        pins = f"Package: *\\nPin: {source.pin}\\nPin-Priority: 1\\n\\n"
        pins += f"Package: {source.packages}\\nPin: {source.pin}\\nPin-Priority: 990\\n"
        name = f"perslm-{number}"
        argv.append(f"--setup-hook=echo '{line}' > \"$1/etc/apt/sources.list.d/{name}.list\"")
        argv.append(f"--setup-hook=printf '{pins}' > \"$1/etc/apt/preferences.d/{name}\"")
        if source.key is not None:
            argv.append(f'--setup-hook=mkdir -p "$1/usr/share/keyrings"; cp {source.key} "$1{source.key}"')
    return argv


def progress(line: str) -> str | None:
    """What mmdebstrap's line says of how far it is: the package that is set up, or its own words."""
    found = re.match(r"(?:Setting up|Unpacking) (\S+)", line) or re.match(r"I: (.+)", line)
    return found[0].removeprefix("I: ") if found else None


@contextmanager
def emulation() -> Iterator[None]:
    """arm64 programs run here until the block is left: registered where they are not, and taken away again.

    Raises SetupError with the line to type where this process may not do it.
    """
    if os.uname().machine == "aarch64" or (_BINFMT / EMULATOR).exists():
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
            f"arm64 programs cannot be run here: {found.stderr.strip()}. As root, type:\n\n"
            f"  mount -t binfmt_misc binfmt_misc {_BINFMT}; update-binfmts --enable {EMULATOR}\n"
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
