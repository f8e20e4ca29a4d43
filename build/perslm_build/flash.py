"""`make flash`: an image and a person's settings onto a card, and nothing onto anything else.

Everything is checked before the first byte is written: settings, image, device. What was written is
read again and compared.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from perslm_build import card as cards
from perslm_build import flash_device, image, image_tools, locks, system
from perslm_build.environment import RUN
from perslm_build.terminal import Line, SetupError, say, step, watch

_FAT_START = 1 << 20  # image_assemble.py aligns the first partition to 1 MiB
_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class Image:
    """An image with its block map: `size` and `ranges` (first byte, end, sha256) are of the unpacked bytes."""

    packed: Path
    block_map: Path
    size: int
    ranges: tuple[tuple[int, int, str], ...]


def open_image(packed: Path) -> Image:
    """The image and its block map beside it. Raises SetupError with how to get them."""
    block_map = packed.with_name(packed.name.removesuffix(".zst") + ".bmap")
    for file in (packed, block_map):
        if not file.is_file():
            raise SetupError(f"{file} is not there: `make image` makes it, or name one with IMAGE=….img.zst.")
    try:
        tree = ET.parse(block_map)  # noqa: S314 - our own file, beside the image that it describes
        size, block = (int((tree.findtext(name) or "").strip()) for name in ("ImageSize", "BlockSize"))
        ranges = tuple(
            _range(element.text or "", block, size, element.get("chksum", ""))
            for element in tree.findall("BlockMap/Range")
        )
    except (ET.ParseError, ValueError) as error:
        raise SetupError(f"{block_map} cannot be read ({error}): make the image anew.") from error
    return Image(packed, block_map, size, ranges)


def _range(text: str, block: int, size: int, checksum: str) -> tuple[int, int, str]:
    first, _, last = text.strip().partition("-")
    return int(first) * block, min((int(last or first) + 1) * block, size), checksum


def flash() -> None:
    """Write the image to `DEVICE`, with the settings of `CONFIG`. Raises SetupError before anything is written."""
    where = os.environ.get("DEVICE")
    if not where:
        raise SetupError("say where: `make flash DEVICE=/dev/sdX` (`lsblk` shows the card), or a file's name.")
    settings = _settings(os.environ.get("CONFIG"))
    picture = open_image(chosen_image())
    target = flash_device.look(Path(where).absolute())
    check(target, picture.size, force=os.environ.get("FORCE") == "1")
    system.provide(image_tools.FLASH, image.logs())
    agree(target, os.environ.get("YES"))
    write(picture, target)
    verify(picture, target.path)
    if settings is not None:
        put_settings(target.path, settings)
    say(
        f"\n{target.path} is ready."
        + ("" if settings else " It has no perslm.toml yet: README.txt on it says how.")
    )


def chosen_image() -> Path:
    """`IMAGE`, or the newest in dist/. Raises SetupError where there is none."""
    if named := os.environ.get("IMAGE"):
        return Path(named)
    found = sorted(image.DIST.glob("perslm-*.img.zst"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SetupError("there is no image in dist/: `sudo make image` makes one.")
    return found[-1]


def _settings(named: str | None) -> bytes | None:
    """The person's file, every mistake in it found now: on the board nobody would see one."""
    if not named:
        return None
    file = Path(named)
    if not file.is_file():
        raise SetupError(f"CONFIG={named} is not there: `make flash-config CONFIG={named}` writes it with you.")
    return checked_settings(file.read_bytes(), named)


def checked_settings(raw: bytes, named: str) -> bytes:
    """The same bytes, if they are right. Raises SetupError with every mistake at once."""
    mistakes: list[str] = []
    try:
        card = cards.read(raw)
        passwords = (card.mqtt.password, card.wifi.password if card.wifi is not None else "")
        if any(cards.taken(password) for password in passwords):
            mistakes.append(
                "a password is only stars, as a board leaves it: a new card needs the password itself."
            )
    except cards.CardError as error:
        mistakes += error.mistakes
    mistakes += _own_mistakes(cards.settings(raw))
    if mistakes:
        listed = "\n".join(f"   {mistake}" for mistake in mistakes)
        raise SetupError(f"{named} cannot be used yet; nothing was written:\n{listed}")
    return raw


def _own_mistakes(settings: Mapping[str, Any]) -> list[str]:
    """PersLM's own word on the `[perslm]` part: the program that will read it on the board reads it now."""
    if not settings:
        return []
    if not RUN.program("perslm").exists():
        raise SetupError("the [perslm] part is checked by PersLM itself: `make setup` first, then this again.")
    path = os.pathsep.join(str(locks.ROOT / folder) for folder in ("runtime", "daemon"))
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(cards.toml(settings))
        file.flush()
        argv: list[str | Path] = [
            RUN.python,
            "-c",
            "from perslm_daemon.cli import main; main()",
            "--config",
            file.name,
        ]
        found = subprocess.run(
            [*argv, "config"], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
        )
        said = found.stderr.replace(f"{file.name}:", "[perslm], line ").strip()
    return [] if found.returncode == 0 else (said.splitlines() or ["[perslm] is not understood"])


def check(target: flash_device.Target, size: int, *, force: bool) -> None:
    """Raise SetupError where `target` may not be written over."""
    found = flash_device.refusals(target, size)
    if found:
        raise SetupError("nothing was written:\n" + "\n".join(f"   {reason}" for reason in found))
    reason = flash_device.needs_second_word(target)
    if reason is not None and not force:
        raise SetupError(f"{reason}. Nothing was written. If it is the right one all the same, add FORCE=1.")


def agree(target: flash_device.Target, yes: str | None) -> None:
    """Show what will be lost and wait for the device's name, typed or in YES=. Raises SetupError otherwise."""
    say(f"This is erased: {flash_device.described(target)}")
    if not target.is_device and target.size == 0:
        return
    if yes is None and sys.stdin.isatty():
        yes = input(f"Type {target.path} to go on: ").strip()
    if yes != str(target.path):
        raise SetupError(f"nothing was written. Say YES={target.path} to go on without being asked.")


def write(picture: Image, target: flash_device.Target) -> None:
    """Write the image by its block map. Raises SetupError with bmaptool's words."""
    with step(f"Writing {picture.packed.name}"):
        argv: list[str | Path] = ["bmaptool", "copy", "--bmap", picture.block_map, picture.packed, target.path]
        watch(argv, image.logs() / "bmaptool.log", next_step="try another card or reader, then run this again")


def verify(picture: Image, path: Path) -> None:
    """Read back every written range from the medium and compare it. Raises SetupError at the first difference."""
    line, done = Line(), 0
    whole = sum(end - begin for begin, end, _ in picture.ranges)
    with step("Reading it again"), path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # else memory would answer for the card
        for begin, end, checksum in picture.ranges:
            digest = hashlib.sha256()
            for piece in _pieces(file.fileno(), begin, end):
                digest.update(piece)
                done += len(piece)
                line.show(f"{done * 100 // whole} %")
            if digest.hexdigest() != checksum:
                line.close()
                raise SetupError(f"bytes {begin} to {end} came back different: the card or its reader is broken.")
        line.close()


def _pieces(file: int, begin: int, end: int) -> Iterator[bytes]:
    while begin < end:
        piece = os.pread(file, min(_PIECE, end - begin), begin)
        if not piece:
            return
        begin += len(piece)
        yield piece


def put_settings(path: Path, settings: bytes) -> None:
    """Put `perslm.toml` onto the boot partition of a written card, by mtools, mounting nothing."""
    with step("Settings"), tempfile.NamedTemporaryFile() as file:
        file.write(settings)
        file.flush()
        argv = ["mcopy", "-o", "-i", f"{path}@@{_FAT_START}", file.name, f"::{cards.NAME}"]
        found = subprocess.run(argv, capture_output=True, text=True, check=False)
        if found.returncode != 0:
            raise SetupError(f"{cards.NAME} cannot be put onto {path}: {found.stderr.strip()}")
        with path.open("rb") as written:
            os.fsync(written.fileno())


def take_settings(path: Path, name: str = cards.NAME) -> bytes:
    """A file of a card's boot partition. Raises SetupError where there is none."""
    argv = ["mtype", "-i", f"{path}@@{_FAT_START}", f"::{name}"]
    found = subprocess.run(argv, capture_output=True, check=False)
    if found.returncode != 0:
        raise SetupError(f"{path} has no {name} on its boot partition: {found.stderr.decode().strip()}")
    return found.stdout
