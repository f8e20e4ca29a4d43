"""Which Debian packages an image is made of: asked of the archives once, kept by hash, written beside the image.

A root is always made from that list and the files in the cache, never from the archives: so the same list gives
the same bytes on another day. Knows nothing of what is done with the packages.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from perslm_build import image_assemble
from perslm_build.image_boards import SUITE, Board
from perslm_build.terminal import SetupError, say, step, watch

ARCHITECTURE = "arm64"
_DEBIAN = "/usr/share/keyrings/debian-archive-keyring.gpg"
_COMPONENTS = "main non-free-firmware"
# What mmdebstrap's variant minbase installs beside what it is asked for.
_MINIMAL = ("?essential", "?priority(required)", "apt")
# What a board asks as well, when somebody types `apt update` on it.
SOURCES = (
    f"deb http://deb.debian.org/debian {SUITE} {_COMPONENTS}\n"
    f"deb http://deb.debian.org/debian {SUITE}-updates {_COMPONENTS}\n"
    f"deb http://security.debian.org/debian-security {SUITE}-security {_COMPONENTS}\n"
)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One package as a file: name, version, processor, sha256."""

    name: str
    version: str
    architecture: str
    sha256: str

    @property
    def file(self) -> str:
        """The file's name, as apt writes it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"

    @property
    def line(self) -> str:
        """Its line in a list."""
        return f"deb {self.name} {self.version} {self.architecture} {self.sha256}"


def files(cache: Path) -> Path:
    """The folder with the packages' files."""
    return cache / "packages"


def digest(packages: Sequence[Package]) -> str:
    """What names a list: the sha256 of its lines."""
    return hashlib.sha256("\n".join(one.line for one in sorted(packages)).encode()).hexdigest()


def parse(lines: Sequence[str]) -> tuple[Package, ...]:
    """The packages of a list. Raises SetupError for a line that is none."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) != 5 or words[0] != "deb" or len(words[4]) != 64:
            raise SetupError(
                f"`{line[:80]}` is no line of a package list: take the file as `make image` wrote it."
            )
        found.append(Package(*words[1:]))
    return tuple(sorted(found))


def provide(board: Board, name: str, cache: Path, logs: Path) -> tuple[Package, ...]:
    """The packages of `board`, by the list called `name` in the cache or asked of the archives now."""
    kept = cache / f"{name}.packages"
    if kept.is_file():
        return parse(kept.read_text(encoding="utf-8").splitlines())
    with step(f"Debian's packages for {board.name}"), tempfile.TemporaryDirectory() as folder:
        found = _fetched(board, Path(folder), files(cache), logs)
    fresh = kept.with_suffix(".new")
    fresh.write_text("".join(f"{one.line}\n" for one in found), encoding="utf-8")
    fresh.replace(kept)
    say(f"   {len(found)} packages are listed in {kept.name}")
    return found


def _fetched(board: Board, folder: Path, target: Path, logs: Path) -> tuple[Package, ...]:
    """Let apt find out what is needed, and fetch it into `target`; nothing of this machine's apt is touched."""
    argv = apt(board, folder, target)
    target.mkdir(parents=True, exist_ok=True)
    (target / "partial").mkdir(exist_ok=True)
    watch([*argv, "update"], logs / "apt-arm64.log", next_step="check the network, then run this again")
    wanted = [*argv, "--yes", "--download-only", "install", *_MINIMAL, *board.packages]
    watch(wanted, logs / "apt-arm64.log", next_step="check the network, then run this again")
    simulated = subprocess.run([*wanted, "--simulate"], capture_output=True, text=True, check=False).stdout
    found = sorted(_installed(simulated, target))
    if lacking := [one.file for one in found if not one.sha256]:
        raise SetupError(f"apt did not fetch {lacking[0]}: see {logs / 'apt-arm64.log'}.")
    return tuple(found)


def _installed(simulated: str, target: Path) -> list[Package]:
    """The packages of apt's `Inst NAME (VERSION ARCHIVE [PROCESSOR])` lines, whose files lie in `target`."""
    found = re.findall(r"(?m)^Inst ([^ :]+)\S* \((\S+) [^)]*\[(\w+)\]\)", simulated)
    listed = [Package(name, version, architecture, "") for name, version, architecture in found]
    return [replace(one, sha256=sha256(target / one.file)) for one in listed]


def apt(board: Board, folder: Path, target: Path) -> list[str]:
    """apt-get's command line for a system of which nothing is installed, with the board's archives."""
    (folder / "lists/partial").mkdir(parents=True)
    (folder / "preferences.d").mkdir()
    (folder / "status").touch()
    lines, pins = [_trusted(line, _DEBIAN) for line in SOURCES.splitlines()], []
    for source in board.sources:
        lines.append(_trusted(source.line, source.key or _DEBIAN))
        pins.append(f"Package: *\nPin: {source.pin}\nPin-Priority: 1\n")
        pins.append(f"Package: {source.packages}\nPin: {source.pin}\nPin-Priority: 990\n")
    (folder / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "preferences.d/perslm").write_text("\n".join(pins), encoding="utf-8")
    options = {
        "APT::Architecture": ARCHITECTURE,
        "APT::Architectures": ARCHITECTURE,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Dir::Cache::archives": f"{target}/",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": f"{folder}/preferences.d",
        "Dir::Etc::sourcelist": f"{folder}/sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::extended_states": f"{folder}/extended",
        "Dir::State::lists": f"{folder}/lists",
        "Dir::State::status": f"{folder}/status",
    }
    return ["apt-get", *(f"-o{name}={value}" for name, value in options.items())]


def _trusted(line: str, key: str) -> str:
    kind, _, rest = line.partition(" ")
    return f"{kind} [signed-by={key}] {rest}"


def check(packages: Sequence[Package], cache: Path) -> None:
    """That every package's file is in the cache and is the very one of the list. Raises SetupError by name."""
    for one in packages:
        file = files(cache) / one.file
        if not file.is_file():
            raise SetupError(f"{one.file} is not in {files(cache)}: put it there, its sha256 is {one.sha256}.")
        if (here := sha256(file)) != one.sha256:
            raise SetupError(
                f"{one.file} in {files(cache)} is another file than the list's: its sha256 is {here}, "
                f"and should be {one.sha256}. Put the right one there."
            )


def archive(packages: Sequence[Package], cache: Path, folder: Path) -> str:
    """An archive of exactly these packages in `folder`, and its line for apt; every file is checked first."""
    check(packages, cache)
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for one in sorted(packages):
        file = files(cache) / one.file
        shutil.copyfile(file, folder / one.file)
        asked = ["dpkg-deb", "--field", str(file)]
        control = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        entries.append(f"{control}\nFilename: ./{one.file}\nSize: {file.stat().st_size}\nSHA256: {one.sha256}\n")
    index = "\n".join(entries).encode()
    (folder / "Packages").write_bytes(index)
    release = (
        f"Suite: {SUITE}\nCodename: {SUITE}\nDate: Thu, 27 Nov 2025 00:00:00 UTC\nSHA256:\n"
        f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )
    (folder / "Release").write_text(release, encoding="utf-8")
    return f"deb [trusted=yes] copy:{folder} ./"


def sha256(path: Path) -> str:
    """The sha256 of a file, read in pieces; "" where there is none."""
    if not os.path.isfile(path):  # noqa: PTH113 - a folder in the way is no file either
        return ""
    return image_assemble.sha256(path)
