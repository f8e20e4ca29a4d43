"""`make deb`: PersLM as a Debian package, for a Raspberry Pi (or another machine) that runs Debian 13 already.

The same environment as on a card, put together by the same recipes; units, users and folders where packages have
them. apt brings what is Debian's. Models are not in it: the installed program fetches and verifies them.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from perslm_build import image, image_llama, image_python, image_tools, locks, system
from perslm_build.environment import RUN
from perslm_build.image_boards import CLOCK, PYTHON
from perslm_build.image_tools import find
from perslm_build.system import Need
from perslm_build.terminal import SetupError, say, step, watch

_SCRIPTS = locks.ROOT / "build" / "deb"
_UNITS = locks.ROOT / "systemd"
_NEXT = f"3.{int(PYTHON.split('.')[1]) + 1}"
# What a package may count on; the rest is recommended: sound through a server, and being found by name.
_DEPENDS = (
    f"python3 (>= {PYTHON}), python3 (<< {_NEXT}), python3-systemd, python3-pyaudio, mosquitto, "
    "libgomp1, libstdc++6, libportaudio2, systemd (>= 254), util-linux"
)
_RECOMMENDS = "pipewire, pipewire-pulse, wireplumber, libasound2-plugins, pulseaudio-utils, avahi-daemon"
# Where each of our files goes; the broker's and the service's units are a package's, not an administrator's.
_FILES = {
    "usr/lib/systemd/system/perslm.service": "perslm.service",
    "usr/lib/systemd/system/perslm-broker.service": "perslm-broker.service",
    "usr/lib/systemd/system/perslm.service.d/20-backoff.conf": "perslm-backoff.conf",
    "usr/lib/sysusers.d/perslm.conf": "perslm.sysusers",
    "usr/lib/tmpfiles.d/perslm.conf": "perslm.tmpfiles",
    "usr/share/perslm/sound.conf": "perslm-sound.conf",
}
_DPKG_DEB = Need("dpkg-deb (packs it)", "dpkg", lambda: find("dpkg-deb") is not None)


@dataclass(frozen=True, slots=True)
class Processor:
    """What Debian and what Python call a kind of processor."""

    debian: str
    python: str


PROCESSORS = {one.debian: one for one in (Processor("arm64", "aarch64"), Processor("amd64", "x86_64"))}


def build() -> Path:
    """Make `dist/perslm_VERSION_ARCH.deb` (`ARCH=arm64`); the environment RUN is set up.

    An amd64 package holds a llama.cpp for this very processor: it is for trying the package, and for this machine.
    Raises SetupError with the next step.
    """
    name = os.environ.get("ARCH") or "arm64"
    if name not in PROCESSORS:
        raise SetupError(f"ARCH={name} is not known: take one of {', '.join(PROCESSORS)}.")
    system.provide((_DPKG_DEB, *(image_tools.COMPILE if name == "arm64" else ())), image.logs())
    with image.alone() as folder:
        made = package(environment(folder / "tree", PROCESSORS[name]), PROCESSORS[name], image.DIST)
    say(f"\n{made.relative_to(locks.ROOT)}: {made.stat().st_size / 1e6:.0f} MB")
    say(f"Next, on the board: sudo apt install ./{made.name}")
    return made


def environment(tree: Path, processor: Processor) -> Path:
    """The environment, as it lies under /."""
    kept, logs = image.cache(), image.logs()
    if processor.python == "aarch64":
        image_python.install(tree, RUN, kept, image_llama.provide(kept, logs))
        image_python.check(tree)
    else:
        image_python.install(tree, RUN, kept, image_python.own_llama(RUN, kept), processor.python)
    image_python.compile_bytecode(tree, kept, logs, (image_python.SITE,))
    return tree


def version() -> str:
    """PersLM's version."""
    text = (locks.ROOT / "runtime/perslm_runtime/__init__.py").read_text(encoding="utf-8")
    return str(re.findall(r'__version__ = "([^"]+)"', text)[0])


def package(tree: Path, processor: Processor, target: Path) -> Path:
    """Pack `tree`, which has /opt/perslm, into folder `target`. The same tree gives the same bytes."""
    for name, source in _FILES.items():
        _put(tree / name, (_UNITS / source).read_text(encoding="utf-8"), 0o644)
    _put(tree / "usr/share/doc/perslm/copyright", _copyright(), 0o644)
    _put(tree / "usr/bin/perslm", (locks.ROOT / "build/perslm.sh").read_text(encoding="utf-8"), 0o755)
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    sums = "".join(f"{_md5(path)}  {path.relative_to(tree)}\n" for path in files)
    control = tree / "DEBIAN"
    for script in ("preinst", "postinst", "prerm", "postrm"):
        _put(control / script, (_SCRIPTS / script).read_text(encoding="utf-8"), 0o755)
    _put(control / "md5sums", sums, 0o644)
    _put(control / "control", _control(processor, sum(path.stat().st_size for path in files) // 1024), 0o644)
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (CLOCK, CLOCK), follow_symlinks=False)
    target.mkdir(parents=True, exist_ok=True)
    made = target / f"perslm_{version()}_{processor.debian}.deb"
    with step(f"Packing {made.name}"):
        argv: list[str | Path] = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z9", "--build", tree, made]
        watch(argv, image.logs() / "dpkg-deb.log", env={**os.environ, "SOURCE_DATE_EPOCH": str(CLOCK)})
    return made


def _control(processor: Processor, kibibytes: int) -> str:
    return (
        f"Package: perslm\nVersion: {version()}\nArchitecture: {processor.debian}\n"
        "Maintainer: PersLM <perslm@localhost>\nSection: utils\nPriority: optional\n"
        f"Installed-Size: {kibibytes}\nDepends: {_DEPENDS}\nRecommends: {_RECOMMENDS}\n"
        "Description: private assistant for a small board\n"
        " Speech in and out, a 4-bit language model, a memory of its owner and the home's devices, without the\n"
        " internet. Its models are fetched by `perslm models pull --needed`.\n"
    )


def _copyright() -> str:
    return (
        "PersLM is free software under the GPL, version 3 or later: /usr/share/common-licenses/GPL-3.\n"
        "The Python packages in /opt/perslm are under their own licences, each in its .dist-info folder.\n"
    )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _put(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
