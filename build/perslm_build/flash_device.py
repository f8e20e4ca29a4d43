"""What a device is, and whether it may be written over: everything that `make flash` refuses, and why.

Reads /sys and /proc and writes nothing. A file may always be written over; it grows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perslm_build.terminal import SetupError

_SECTOR = 512


@dataclass(frozen=True, slots=True)
class Machine:
    """Where this machine tells of its disks; a test has folders of its own."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class Target:
    """What would be written over. `parts` are partitions, each with its size; `removable` is None for a file."""

    path: Path
    size: int
    is_device: bool
    removable: bool | None = None
    model: str = ""
    parts: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    read_only: bool = False


def look(path: Path, machine: Machine | None = None) -> Target:
    """What lies at `path`. Raises SetupError where it is neither a whole device nor a file that may be written."""
    machine = machine or Machine()
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_relative_to("/dev"):
            raise SetupError(f"{path} does not exist: `lsblk` shows what there is. Is the card in?") from None
        if not path.parent.is_dir():
            raise SetupError(f"{path.parent} is no folder: make it, or name another file.") from None
        return Target(path, 0, is_device=False)
    if stat.S_ISREG(status.st_mode):
        return Target(path, status.st_size, is_device=False)
    if not stat.S_ISBLK(status.st_mode):
        raise SetupError(f"{path} is neither a disk nor a file: name the card's device, as /dev/sdX.")
    return of_number(path, f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}", machine)


def of_number(path: Path, number: str, machine: Machine) -> Target:
    """The device with kernel number `number` ("8:16"). Raises SetupError for a partition."""
    entry = (machine.sys / "dev/block" / number).resolve()
    if (entry / "partition").is_file():
        raise SetupError(f"{path} is a partition: name the whole device, /dev/{entry.parent.name}.")
    parts = sorted(folder.name for folder in entry.iterdir() if (folder / "partition").is_file())
    numbers = {_text(entry / part / "dev") for part in parts} | {number}
    return Target(
        path,
        int(_text(entry / "size") or 0) * _SECTOR,
        is_device=True,
        removable=_text(entry / "removable") == "1" or _is_plugged(entry),
        model=" ".join((_text(entry / "device/vendor"), _text(entry / "device/model"))).strip(),
        parts=tuple(f"{part}: {_bytes(int(_text(entry / part / 'size') or 0) * _SECTOR)}" for part in parts),
        mounts=_mounts(entry, parts, numbers, machine),
        read_only=_text(entry / "ro") == "1",
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _is_plugged(entry: Path) -> bool:
    """Whether a disk that calls itself fixed hangs on USB, or is a card in a slot: many readers say so."""
    return entry.name.startswith("mmcblk") or any(part.startswith("usb") for part in entry.parts)


def _mounts(entry: Path, parts: Sequence[str], numbers: set[str], machine: Machine) -> tuple[str, ...]:
    """Where the device or a part of it is in use: mounts, swap, and what stands on it (LUKS, LVM, RAID)."""
    found = [
        fields[4]
        for line in _text(machine.proc / "self/mountinfo").splitlines()
        if len(fields := line.split()) > 4 and fields[2] in numbers
    ]
    names = {entry.name, *parts}
    swaps = [line.split()[0] for line in _text(machine.proc / "swaps").splitlines()[1:]]
    found += ["swap" for swap in swaps if Path(swap).name in names]
    for part in ("", *parts):
        holders = entry / part / "holders"
        if holders.is_dir():
            found += [f"{holder.name}, which stands on it" for holder in sorted(holders.iterdir())]
    return tuple(dict.fromkeys(found))


def refusals(target: Target, size: int) -> list[str]:
    """Why `target` may not take an image of `size` bytes, whatever somebody says; one sentence each."""
    if not target.is_device:
        return []
    found = []
    system = [
        place
        for place in target.mounts
        if place in ("/", "/boot", "/boot/firmware", "/usr", "/var", "/home", "swap")
    ]
    if system:
        found.append(f"this machine runs from {target.path} ({', '.join(system)}).")
    elif target.mounts:
        found.append(
            f"{target.path} is in use ({', '.join(target.mounts)}): unmount it first, `umount {target.path}*`."
        )
    if target.read_only:
        found.append(f"{target.path} can only be read: look for the little switch on the card.")
    if target.size < size:
        found.append(
            f"{target.path} has {_bytes(target.size)} and the image needs {_bytes(size)}: take a larger card."
        )
    return found


def needs_second_word(target: Target) -> str | None:
    """Why somebody has to say it twice (FORCE=1), or None: a disk that cannot be pulled out is seldom the card."""
    if target.is_device and not target.removable:
        return f"{target.path} ({target.model or 'no name'}) is no removable device, as a card or a stick is"
    return None


def described(target: Target) -> str:
    """What is about to be lost, for a person."""
    if not target.is_device:
        return f"the file {target.path} ({_bytes(target.size)})" if target.size else f"a new file, {target.path}"
    parts = "; ".join(target.parts) or "no partitions"
    return f"{target.path}: {target.model or 'a disk'}, {_bytes(target.size)}, with {parts}"


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
