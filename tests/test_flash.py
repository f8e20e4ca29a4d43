"""What `make flash` refuses, and that what it writes is what the image holds. Disks are folders shaped as /sys is,
or loop devices where root may make them; files are files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perslm_build import flash, flash_config, flash_device, image_tools
from perslm_build.flash_device import Machine, Target, look, needs_second_word, refusals
from perslm_build.image_tools import find
from perslm_build.locks import ROOT
from perslm_build.terminal import SetupError
from test_card import WHOLE

GB = 1_000_000_000
CARD = Target(Path("/dev/sdx"), 8 * GB, is_device=True, removable=True, model="SD Reader", parts=("sdx1: 8.0 GB",))


def need(*programs: str) -> None:
    for name in programs:
        if find(name) is None:
            pytest.skip(f"{name} is not on this machine: `make image` and `make flash` install what they need")


def disk(folder: Path, name: str, **facts: str) -> Path:
    """A disk with one partition, as /sys shows it."""
    place = folder / "sys/devices" / facts.pop("place", "pci0") / "block" / name
    (place / f"{name}1" / "holders").mkdir(parents=True)
    (place / "holders").mkdir()
    for file, text in {"size": "16000000", "removable": "1", "ro": "0", "dev": "8:16", **facts}.items():
        (place / file).write_text(text)
    for file, text in (("size", "15000000"), ("partition", "1"), ("dev", "8:17")):
        (place / f"{name}1" / file).write_text(text)
    numbers = folder / "sys/dev/block"
    numbers.mkdir(parents=True, exist_ok=True)
    (numbers / "8:16").symlink_to(place)
    (numbers / "8:17").symlink_to(place / f"{name}1")
    (folder / "proc/self").mkdir(parents=True, exist_ok=True)
    return place


def device(folder: Path, number: str = "8:16") -> Target:
    return flash_device.of_number(Path("/dev/sdx"), number, Machine(folder / "sys", folder / "proc"))


def test_a_card_is_taken_and_described(tmp_path: Path) -> None:
    disk(tmp_path, "sdx")
    card = device(tmp_path)
    assert refusals(card, GB) == []
    assert needs_second_word(card) is None
    assert flash_device.described(card) == "/dev/sdx: a disk, 8.2 GB, with sdx1: 7.7 GB"


@pytest.mark.parametrize("place", ["/", "/boot", "/home", "/var"])
def test_the_disk_that_the_system_runs_from_is_refused(tmp_path: Path, place: str) -> None:
    disk(tmp_path, "sdx")
    (tmp_path / "proc/self/mountinfo").write_text(f"22 1 8:17 / {place} rw - ext4 /dev/sdx1 rw\n")
    assert "this machine runs from /dev/sdx" in refusals(device(tmp_path), GB)[0]


def test_a_mounted_card_is_refused_and_the_line_to_type_is_said(tmp_path: Path) -> None:
    disk(tmp_path, "sdx")
    (tmp_path / "proc/self/mountinfo").write_text("22 1 8:17 / /media/card rw - vfat /dev/sdx1 rw\n")
    (refusal,) = refusals(device(tmp_path), GB)
    assert "in use (/media/card)" in refusal
    assert "umount /dev/sdx*" in refusal


def test_swap_and_what_stands_on_a_disk_are_uses_too(tmp_path: Path) -> None:
    place = disk(tmp_path, "sdx")
    (tmp_path / "proc/swaps").write_text("Filename Type Size Used Priority\n/dev/sdx1 partition 1 0 -2\n")
    assert "this machine runs from" in refusals(device(tmp_path), GB)[0]
    (tmp_path / "proc/swaps").unlink()
    (place / "sdx1/holders/dm-0").mkdir()
    assert "dm-0, which stands on it" in refusals(device(tmp_path), GB)[0]


def test_a_small_and_a_locked_card_are_refused_together(tmp_path: Path) -> None:
    disk(tmp_path, "sdx", ro="1", size="1000000")
    small, locked = sorted(refusals(device(tmp_path), GB), reverse=True)
    assert "512 MB and the image needs 1.0 GB" in (small + locked)
    assert "little switch" in (small + locked)


def test_a_disk_that_stays_in_the_machine_needs_a_second_word(tmp_path: Path) -> None:
    disk(tmp_path, "sdx", removable="0")
    target = device(tmp_path)
    with pytest.raises(SetupError, match=r"no removable device.*FORCE=1"):
        flash.check(target, GB, force=False)
    flash.check(target, GB, force=True)


def test_force_lifts_nothing_else(tmp_path: Path) -> None:
    disk(tmp_path, "sdx", removable="0")
    (tmp_path / "proc/self/mountinfo").write_text("22 1 8:17 / / rw - ext4 /dev/sdx1 rw\n")
    with pytest.raises(SetupError, match="runs from"):
        flash.check(device(tmp_path), GB, force=True)


@pytest.mark.parametrize(("name", "place"), [("mmcblk0", "soc"), ("sdx", "pci0/usb2/2-1")])
def test_cards_and_sticks_that_call_themselves_fixed_are_removable(tmp_path: Path, name: str, place: str) -> None:
    disk(tmp_path, name, removable="0", place=place)
    assert needs_second_word(device(tmp_path)) is None


def test_a_partition_a_folder_and_a_missing_device_are_refused(tmp_path: Path) -> None:
    disk(tmp_path, "sdx")
    with pytest.raises(SetupError, match="is a partition: name the whole device, /dev/sdx"):
        device(tmp_path, "8:17")
    with pytest.raises(SetupError, match="neither a disk nor a file"):
        look(Path("/dev/null"))
    with pytest.raises(SetupError, match=r"does not exist.*Is the card in"):
        look(Path("/dev/no-such-card"))
    with pytest.raises(SetupError, match="is no folder"):
        look(tmp_path / "missing/card.img")


def test_nothing_is_erased_before_the_device_is_named_again() -> None:
    with pytest.raises(SetupError, match="YES=/dev/sdx"):
        flash.agree(CARD, None)
    with pytest.raises(SetupError, match="nothing was written"):
        flash.agree(CARD, "/dev/sdy")
    flash.agree(CARD, "/dev/sdx")


@contextmanager
def loop_device(file: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("loop devices are root's")
    made = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no loop devices here: {made.stderr.strip()}")
    try:
        yield Path(made.stdout.strip())
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_real_block_device_is_seen_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    with file.open("wb") as opened:
        opened.truncate(16 << 20)
    with loop_device(file) as path:
        target = look(path)
        assert (target.size, target.is_device, target.removable, target.mounts) == (16 << 20, True, False, ())
        assert "is no removable device" in str(needs_second_word(target))
        assert "needs 1.0 GB" in refusals(target, GB)[0]
        if subprocess.run(["mkfs.ext4", "-q", path], capture_output=True, check=False).returncode == 0:
            place = tmp_path / "mounted"
            place.mkdir()
            if subprocess.run(["mount", path, place], capture_output=True, check=False).returncode != 0:
                return
            try:
                assert str(place) in refusals(look(path), 1)[0]
            finally:
                subprocess.run(["umount", place], check=True)


@pytest.fixture
def picture(tmp_path: Path) -> flash.Image:
    """A small image with a FAT at 1 MiB, packed as `make image` packs."""
    need("bmaptool", "zstd", "mkfs.fat", "mcopy")
    from perslm_build.image_assemble import pack

    raw = tmp_path / "perslm-test.img"
    fat = tmp_path / "fat"
    with fat.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run([str(find("mkfs.fat")), "-n", "PERSLM", fat], check=True, capture_output=True)
    with raw.open("wb") as file:
        file.seek(1 << 20)
        file.write(fat.read_bytes())
        file.seek(12 << 20)
        file.write(os.urandom(1 << 20))
        file.truncate(32 << 20)
    product = pack(raw, tmp_path / "dist")
    raw.unlink()
    return flash.open_image(product.packed)


def flashed(
    picture: flash.Image, card: Path, settings: str | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "IMAGE": str(picture.packed), "DEVICE": str(card), **more}
    if settings is not None:
        file = card.with_name("my-home.toml")
        file.write_bytes(settings.encode())
        env["CONFIG"] = str(file)
    return subprocess.run(
        ["python3", "build/setup_perslm.py", "flash"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_file_is_flashed_verified_and_given_its_settings(picture: flash.Image, tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    settings = WHOLE.partition("[perslm.wake]")[0]
    done = flashed(picture, card, "\ufeff" + settings.replace("\n", "\r\n"))
    assert done.returncode == 0, done.stderr
    assert f"This is erased: a new file, {card}" in done.stdout
    assert card.stat().st_size == picture.size
    assert flash.take_settings(card).decode("utf-8-sig").replace("\r\n", "\n") == settings


def test_a_mistake_in_the_settings_is_told_before_anything_is_written(
    picture: flash.Image, tmp_path: Path
) -> None:
    card = tmp_path / "card.img"
    done = flashed(picture, card, 'hostname = "-"\n[wifi]\nssid = "Home"\n')
    assert done.returncode == 1
    assert "cannot be used yet; nothing was written" in done.stderr
    assert "`hostname` has" in done.stderr
    assert "`wifi.country` is needed" in done.stderr
    assert not card.exists()


def test_stars_are_no_password_for_a_new_card() -> None:
    with pytest.raises(SetupError, match="a new card needs the password itself"):
        flash.checked_settings(flash.cards.wiped(WHOLE.partition("[perslm.wake]")[0].encode()), "my-home.toml")


def test_a_file_that_is_there_is_not_written_over_without_a_word(picture: flash.Image, tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    card.write_bytes(b"somebody's")
    done = flashed(picture, card)
    assert done.returncode == 1
    assert f"YES={card}" in done.stderr
    assert card.read_bytes() == b"somebody's"
    assert flashed(picture, card, YES=str(card)).returncode == 0


def test_a_card_that_gives_back_other_bytes_is_found_out(picture: flash.Image, tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    assert flashed(picture, card).returncode == 0
    flash.verify(picture, card)
    with card.open("r+b") as file:
        file.seek((12 << 20) + 4321)
        file.write(b"?")
    with pytest.raises(SetupError, match="came back different"):
        flash.verify(picture, card)


def test_an_image_without_its_block_map_is_refused(picture: flash.Image, tmp_path: Path) -> None:
    picture.block_map.unlink()
    done = flashed(picture, tmp_path / "card.img")
    assert done.returncode == 1
    assert ".bmap is not there" in done.stderr


def test_settings_that_the_assistant_does_not_know_are_told_before_writing() -> None:
    if not flash.RUN.program("perslm").exists():
        pytest.skip("this environment was not made by `make`")
    with pytest.raises(SetupError, match=r"wake\.wordz"):
        flash.checked_settings(b'[perslm.wake]\nwordz = ["alexa"]\n', "my-home.toml")
    with pytest.raises(SetupError, match=r"(?s)hostname.*wake\.wordz"):
        flash.checked_settings(b'hostname = "-"\n[perslm.wake]\nwordz = ["alexa"]\n', "my-home.toml")
    raw = b'[perslm.wake]\nwords = ["alexa"]\n'
    assert flash.checked_settings(raw, "my-home.toml") == raw


def test_questions_become_a_file_and_wrong_answers_are_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter(
        ["-kitchen", "kitchen", "Europe/Berlin", 'My "Home"', "Germany", 'My "Home"', "DE", "", "", "hub"]
    )
    secrets = iter(["correct horse", "correct horse", "battery"])
    text = flash_config.ask_all(lambda _: next(answers), lambda _: next(secrets))
    card = flash.cards.read(text.encode())
    assert (card.hostname, card.timezone) == ("kitchen", "Europe/Berlin")
    assert card.wifi == flash.cards.Wifi('My "Home"', "correct horse", "DE")
    assert card.mqtt == flash.cards.Mqtt("own", "hub", "battery", "0.0.0.0")  # noqa: S104 - an address in a file
    assert "`wifi.country` is needed" in capsys.readouterr().out


def test_every_program_that_is_needed_names_its_package() -> None:
    for program in (*image_tools.BUILD, *image_tools.FLASH, *image_tools.EMULATE):
        assert program.package
        assert program.what
