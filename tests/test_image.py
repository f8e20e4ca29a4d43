"""The image's recipes, and its assembly out of a small root. The whole is `make image` and `make flash-test`."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perslm_build import (
    aarch64,
    image,
    image_assemble,
    image_boards,
    image_boot,
    image_files,
    image_llama,
    image_manifest,
    image_packages,
    image_python,
    image_root,
    image_tools,
    image_user,
    locks,
)
from perslm_build.card import NAME
from perslm_build.flash import take_settings
from perslm_build.image_boards import BOARDS, CLOCK
from perslm_build.image_tools import find
from perslm_build.terminal import SetupError

SMALL = image_assemble.Sizes(fat_mib=40, spare_mib=8)
ARM = b"\x7fELF" + bytes(14) + b"\xb7\x00"
BOARD = BOARDS["generic-arm64"]


def mke2fs() -> list[str]:
    """Debian 13's, where a build has fetched it; else the machine's, where it is new enough to read a tar."""
    kept = image.cache() / f"tools-{image_boards.SUITE}"
    if kept.is_dir():
        return image_tools.of_debian("sbin/mke2fs", image.cache(), Path("/nowhere"))
    here = find("mke2fs")
    said = subprocess.run([here or "true", "-V"], capture_output=True, text=True, check=False).stderr
    if here is None or tuple(said.split()[1:2]) < ("1.47.1",):
        pytest.skip("mke2fs is older than 1.47.1, and no `make image` has fetched a newer one")
    return [here]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A board's root with little in it."""
    folder = tmp_path / "root"
    for name, content in {
        "boot/vmlinuz-6.12.1-arm64": b"kernel",
        "boot/initrd.img-6.12.1-arm64": b"initrd",
        "usr/lib/systemd/boot/efi/systemd-bootaa64.efi": b"loader",
        "etc/hostname": b"localhost\n",
        "opt/perslm/bin/perslm": b"#!/opt/perslm/bin/python\n",
        "boot/firmware/left-over": b"is on the other partition",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "opt/perslm/bin/perslm").chmod(0o755)
    (folder / "opt/perslm/bin/python").symlink_to("/usr/bin/python3")
    return folder


@pytest.fixture
def pi_root(root: Path) -> Path:
    """The same with what Debian's packages bring for a Raspberry Pi, and what of it no card needs."""
    for name in ("bootcode.bin", "start4.elf", "fixup4.dat", "start4cd.elf", "fixup4cd.dat", "start4db.elf"):
        (root / "usr/lib/raspi-firmware/overlays").mkdir(parents=True, exist_ok=True)
        (root / "usr/lib/raspi-firmware" / name).write_bytes(name.encode())
    for name in ("start.elf", "fixup.dat", "start_cd.elf", "fixup_cd.dat", "overlays/hifiberry-dac.dtbo"):
        (root / "usr/lib/raspi-firmware" / name).write_bytes(name.encode())
    trees = root / "usr/lib/linux-image-6.12.1-arm64/broadcom"
    trees.mkdir(parents=True)
    for name in ("bcm2711-rpi-4-b", "bcm2837-rpi-zero-2-w", "bcm2712-rpi-5-b", "bcm47622"):
        (trees / f"{name}.dtb").write_bytes(name.encode())
    return root


def assembled(root: Path, work: Path, board: image_boards.Board = BOARD) -> Path:
    for program in ("genimage", "mkfs.fat", "mcopy"):
        if find(program) is None:
            pytest.skip(f"{program} is not on this machine: `make image` installs it")
    return image_assemble.assemble(root, board, "perslm-test.img", work, mke2fs(), work / "logs", SMALL)


def test_two_builds_are_the_same_bytes(root: Path, tmp_path: Path) -> None:
    first = assembled(root, tmp_path / "first")
    again = tmp_path / "elsewhere/root"
    shutil.copytree(root, again, symlinks=True)  # other inodes, other times of change, another order of names
    time.sleep(1.1)
    second = assembled(again, tmp_path / "second")
    assert image_assemble.sha256(first) == image_assemble.sha256(second)


def test_an_image_has_a_boot_partition_and_a_root_that_say_what_they_are(root: Path, tmp_path: Path) -> None:
    made = assembled(root, tmp_path / "work")
    table = json.loads(
        subprocess.run([str(find("sfdisk")), "--json", made], capture_output=True, text=True, check=True).stdout
    )["partitiontable"]
    firmware, system = table["partitions"]
    assert (table["label"], firmware["start"]) == ("gpt", 2048)
    assert system["uuid"].lower() == image_boot.GPT_ROOT
    assert b"hostname = " in take_settings(made, "README.txt")
    entry = take_settings(made, "loader/entries/perslm.conf").decode()
    assert f"root=PARTUUID={image_boot.GPT_ROOT}" in entry
    assert take_settings(made, "EFI/BOOT/BOOTAA64.EFI") == b"loader"
    with pytest.raises(SetupError, match=NAME):
        take_settings(made)
    assert shown(tmp_path / "work/root.ext4", "ls -l /opt/perslm/bin").count("perslm") == 1
    stat = shown(tmp_path / "work/root.ext4", "stat /opt/perslm/bin/perslm")
    assert "Mode:  0755" in stat
    assert f"mtime: 0x{CLOCK:08x}" in stat
    assert "left-over" not in shown(tmp_path / "work/root.ext4", "ls /boot/firmware")


def test_a_raspberry_pis_card_has_what_its_firmware_reads_and_what_an_emulator_reads(
    pi_root: Path, tmp_path: Path
) -> None:
    made = assembled(pi_root, tmp_path / "work", BOARDS["pi4"])
    table = json.loads(
        subprocess.run([str(find("sfdisk")), "--json", made], capture_output=True, text=True, check=True).stdout
    )["partitiontable"]
    assert (table["label"], table["id"]) == ("dos", f"{image_boot.MBR_SIGNATURE:#x}")
    firmware, system = table["partitions"]
    assert (firmware["start"], firmware["type"], system["type"]) == (2048, "c", "83")
    config = take_settings(made, "config.txt").decode().splitlines()
    assert {"arm_64bit=1", "upstream_kernel=1", "kernel=vmlinuz", "initramfs initrd.img followkernel"} <= set(
        config
    )
    line = take_settings(made, "cmdline.txt").decode()
    root_name = f"root=PARTUUID={image_boot.MBR_SIGNATURE:x}-02"
    assert root_name in line.split()
    assert line.count("\n") == 1, "the firmware reads one line"
    assert "cma=" not in line, "which would keep a Pi 4 from starting"
    assert root_name in take_settings(made, "loader/entries/perslm.conf").decode()
    for name in ("bcm2711-rpi-4-b.dtb", "start4.elf", "fixup4.dat", "bootcode.bin", "overlays/hifiberry-dac.dtbo"):
        assert take_settings(made, name) == Path(name).name.removesuffix(".dtb").encode() or "/" in name
    for name in ("start4db.elf", "bcm47622.dtb"):
        with pytest.raises(SetupError, match=name):
            take_settings(made, name)


def test_each_raspberry_pi_has_the_lines_of_its_own(pi_root: Path, tmp_path: Path) -> None:
    config = {}
    for name in ("pi4", "zero2w", "pi5"):
        image_boot.files(pi_root, BOARDS[name], tmp_path / name)
        config[name] = (tmp_path / name / "config.txt").read_text()
    assert [("gpu_mem=16" in text, "os_check=0" in text) for text in config.values()] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_device_trees_are_found_where_newer_kernels_keep_them(pi_root: Path, tmp_path: Path) -> None:
    old = pi_root / "usr/lib/linux-image-6.12.1-arm64/broadcom"
    new = pi_root / "usr/lib/modules/6.12.1-arm64/dtb/broadcom"
    new.parent.mkdir(parents=True)
    old.rename(new)
    image_boot.files(pi_root, BOARDS["pi5"], tmp_path / "fat")
    assert (tmp_path / "fat/bcm2712-rpi-5-b.dtb").is_file()
    shutil.rmtree(new)
    with pytest.raises(SetupError, match="no device tree"):
        image_boot.files(pi_root, BOARDS["pi5"], tmp_path / "other")


def test_the_raspberry_pis_own_kernel_is_asked_for_by_its_archive_and_key(tmp_path: Path) -> None:
    debian, raspios = BOARDS["pi4"], image_boards.board("pi4", "raspios")
    assert set(debian.packages) ^ set(raspios.packages) == {"linux-image-arm64", "linux-image-rpi-v8"}
    assert "linux-image-rpi-2712" in image_boards.board("pi5", "raspios").packages
    image_packages.apt(raspios, tmp_path / "apt", tmp_path)
    lines = (tmp_path / "apt/sources.list").read_text().splitlines()
    (line,) = (word for word in lines if "archive.raspberrypi.com/debian trixie main" in word)
    (source,) = raspios.sources
    assert f"signed-by={source.key}" in line
    assert image_root.recipe(debian) != image_root.recipe(raspios)
    assert "unproven" in raspios.proven
    if not Path(str(source.key)).is_file():
        with pytest.raises(SetupError, match="raspberrypi-archive-keyring"):
            image_root.packages_of(raspios, tmp_path, tmp_path)
    with pytest.raises(SetupError, match="raspios is for a Raspberry Pi"):
        image_boards.board("generic-arm64", "raspios")
    with pytest.raises(SetupError, match="FLAVOUR=arch"):
        image_boards.board("pi4", "arch")


def test_another_archive_gives_its_packages_and_no_others(tmp_path: Path) -> None:
    image_packages.apt(BOARDS["pi5"], tmp_path / "apt", tmp_path)
    pins = (tmp_path / "apt/preferences.d/perslm").read_text()
    assert "Package: *\nPin: release n=trixie-backports\nPin-Priority: 1\n" in pins
    assert "Package: linux-*\nPin: release n=trixie-backports\nPin-Priority: 990" in pins


def shown(file_system: Path, command: str) -> str:
    argv = [str(find("debugfs")), "-R", command, file_system]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_root_without_its_one_kernel_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "boot/vmlinuz-6.12.2-arm64").touch()
    with pytest.raises(SetupError, match="2 kernels and 1 initrds"):
        image_boot.files(root, BOARD, tmp_path / "fat")


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_a_board_has_a_profile_and_every_package_once(board: image_boards.Board) -> None:
    assert (locks.ROOT / "edge_configs" / f"{board.profile}.toml").is_file()
    assert len(board.packages) == len(set(board.packages))
    assert {"mosquitto", "python3-pyaudio", "python3-systemd", "openssh-server"} <= set(board.packages)


def test_an_unknown_board_is_told_with_those_that_exist() -> None:
    with pytest.raises(SetupError, match="generic-arm64"):
        image_boards.board("pi7")


def test_the_roots_name_changes_with_what_is_in_it() -> None:
    from dataclasses import replace

    more = replace(BOARD, packages=(*BOARD.packages, "vim"))
    assert image_root.recipe(BOARD) != image_root.recipe(more)
    assert image_root.recipe(BOARD) == image_root.recipe(
        replace(BOARD, name="other", packages=BOARD.packages[::-1])
    )
    argv = [str(word) for word in image_root.command(BOARD, Path("root.tar"), Path("modules"), "deb copy:/x ./")]
    assert argv[-3:] == ["trixie", "root.tar", "deb copy:/x ./"]
    assert not [word for word in argv if "://" in word], "nothing but the package cache is used"


def test_whatever_has_no_wheel_is_debians_or_built_here() -> None:
    built = {pin.name for pin in locks.read("board-sdists")}
    pure = {name for name in built if not image_python.wheels.RECIPES[name].native}
    assert built == pure | {"llama-cpp-python"} | set(image_python.FROM_DEBIAN)
    pins = aarch64.applicable(locks.read("board"), image_boards.PYTHON)
    assert not {pin.name for pin in pins} & built


def test_a_library_for_another_machine_is_found_out(tmp_path: Path) -> None:
    site = tmp_path / image_python.SITE
    for variant in (image_llama.BASELINE, image_llama.DOTPROD):
        folder = site / "llama_cpp" / variant.folder
        folder.mkdir(parents=True)
        (folder / "libllama.so").write_bytes(ARM)
    image_python.check(tmp_path)
    (site / "llama_cpp/lib-dotprod/libllama.so").unlink()
    with pytest.raises(SetupError, match="lib-dotprod"):
        image_python.check(tmp_path)
    (site / "numpy.so").write_bytes(ARM[:18] + b"\x3e\x00")
    with pytest.raises(SetupError, match=r"numpy\.so is not for arm64"):
        image_python.check(tmp_path)


def test_a_library_of_the_wrong_variant_is_never_shipped(tmp_path: Path) -> None:
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if compiler is None:
        pytest.skip("no arm64 compiler on this machine: `make image` installs it")
    source = tmp_path / "dot.c"
    source.write_text(
        "int dot(const signed char *a, const signed char *b) {"
        " int sum = 0; for (int i = 0; i < 64; i++) sum += a[i] * b[i]; return sum; }"
    )
    for name in image_llama.LIBRARIES:
        command = [compiler, "-O3", "-shared", "-fPIC", "-march=armv8.2-a+dotprod", source, "-o", tmp_path / name]
        subprocess.run(command, check=True)
    image_llama.check(tmp_path, image_llama.DOTPROD)
    with pytest.raises(SetupError, match="dot products and was built for armv8-a"):
        image_llama.check(tmp_path, image_llama.BASELINE)


def test_a_library_that_names_the_folder_it_was_compiled_in_is_refused(tmp_path: Path) -> None:
    for name in image_llama.LIBRARIES:
        (tmp_path / name).write_bytes(ARM + b"\0/llama/source/ggml.c\0")
    image_llama.tells_nothing(tmp_path, Path("/home/somebody/.cache/llama"))
    (tmp_path / "libggml.so").write_bytes(ARM + b"\0/home/somebody/.cache/llama/source/ggml.c\0")
    with pytest.raises(SetupError, match=r"libggml\.so names /home/somebody"):
        image_llama.tells_nothing(tmp_path, Path("/home/somebody/.cache/llama"))


def test_what_is_laid_down_starts_by_itself_and_holds_nothing_of_the_builder(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("files of several owners are root's to make")
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("systemd-sysusers is not on this machine")
    model = tmp_path / "models/small"
    model.mkdir(parents=True)
    (model / "model.gguf").write_bytes(b"GGUF")
    board = tmp_path / "board"
    for name in (
        "etc/ssh/ssh_host_ed25519_key",
        "var/log/apt/term.log",
        "etc/resolv.conf",
        "etc/passwd",
        "etc/group",
    ):
        (board / name).parent.mkdir(parents=True, exist_ok=True)
        (board / name).write_text("root:x:0:0::/root:/bin/sh\n" if "passwd" in name else "root:x:0:\n")
    image_files.lay_down(board, BOARD, BOARD.profile, "[Service]\nMemoryMax=1\n", [model])
    wants = board / "etc/systemd/system/multi-user.target.wants"
    assert sorted(link.name for link in wants.iterdir()) == sorted(
        ["perslm.service", "perslm-broker.service", "perslm-firstboot.service", "perslm-release.service"]
    )
    for link in wants.iterdir():
        assert (board / str(link.readlink()).lstrip("/")).is_file()
    assert os.readlink(board / "etc/systemd/system/mosquitto.service") == "/dev/null"  # noqa: PTH115 - of a link
    assert not (board / "etc/ssh/ssh_host_ed25519_key").exists()
    assert not (board / "etc/resolv.conf").exists()
    assert list((board / "var/log").iterdir()) == []
    assert "nofail" in (board / "etc/fstab").read_text()
    assert {(board / name / ".updated").read_text() for name in ("etc", "var")} == {
        f"TIMESTAMP_NSEC={CLOCK}000000000\n"
    }
    assert "perslm:x:417:417:" in (board / "etc/passwd").read_text()
    placed = board / image_files.MODELS / "small/model.gguf"
    assert (placed.stat().st_uid, placed.stat().st_mtime_ns) == (417, CLOCK * 10**9)
    assert (board / "usr/local/lib/perslm/card.py").is_file()


def test_byte_code_that_came_with_the_cache_stays_and_what_is_new_gets_its_own(tmp_path: Path) -> None:
    if (
        f"{sys.version_info[0]}.{sys.version_info[1]}" != image_boards.PYTHON
        and not (image.cache() / "tools-trixie").is_dir()
    ):
        pytest.skip(f"Python {image_boards.PYTHON} is not on this machine: `make image` fetches it")
    site = tmp_path / image_python.SITE
    for name in ("kept", "new"):
        (site / name).mkdir(parents=True)
        (site / name / "one.py").write_text(f"name = {name!r}\n")
    tag = f"one.cpython-{image_boards.PYTHON.replace('.', '')}.pyc"
    there = site / "kept/__pycache__" / tag
    there.parent.mkdir()
    there.write_bytes(b"from the cache")
    image_python.compile_bytecode(tmp_path, image.cache(), tmp_path / "logs", (image_python.SITE,))
    assert there.read_bytes() == b"from the cache"
    made = (site / "new/__pycache__" / tag).read_bytes()
    assert made[4:8] == (1).to_bytes(4, "little")  # goes by its source's hash, and is not compared with it
    assert f"/{image_python.SITE}/new/one.py".encode() in made


def test_what_was_unpacked_does_not_say_by_which_python(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    record = tmp_path / "numpy-2.4.6.dist-info/RECORD"
    record.parent.mkdir()
    record.write_text("numpy/__init__.py,sha256=x,1\n../../bin/f2py,sha256=y,2\n")
    image_python.without_commands(tmp_path)
    assert record.read_text() == "numpy/__init__.py,sha256=x,1\n"
    assert not (tmp_path / "bin").exists()


def test_the_list_of_contents_names_packages_licences_and_checksums(tmp_path: Path) -> None:
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: arm64\nDescription: x\n y\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: arm64\n"
    )
    copyright_file = tmp_path / "usr/share/doc/bash/copyright"
    copyright_file.parent.mkdir(parents=True)
    copyright_file.write_text("Files: *\nLicense: GPL-3+\n")
    metadata = tmp_path / image_python.SITE / "numpy-2.4.6.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Name: numpy\nVersion: 2.4.6\nLicense-Expression: BSD-3-Clause\n\nName: not this\n")
    (tmp_path / image_files.MODELS / "smollm2-135m-q4_1").mkdir(parents=True)
    target = tmp_path / "list.json"
    assert image_manifest.write(tmp_path, BOARD, BOARD.profile, "ab" * 32, target) == 3
    first = target.read_bytes()
    bash, numpy, model = json.loads(first)["components"]
    assert (bash["purl"], bash["licenses"]) == (
        "pkg:deb/debian/bash@5.2?arch=arm64",
        [{"license": {"name": "GPL-3+"}}],
    )
    assert (numpy["name"], numpy["version"], numpy["licenses"][0]["license"]["name"]) == (
        "numpy",
        "2.4.6",
        "BSD-3-Clause",
    )
    assert len(model["components"][0]["hashes"][0]["content"]) == 64
    image_manifest.write(tmp_path, BOARD, BOARD.profile, "ab" * 32, target)
    assert target.read_bytes() == first


def test_who_is_not_root_is_told_the_line_that_root_has_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = tmp_path / "subuid"
    monkeypatch.setattr(image_root, "runs_here", lambda: False)
    with pytest.raises(SetupError, match="update-binfmts --enable qemu-aarch64"):
        image_user.check("ingeborg", numbers)
    monkeypatch.setattr(image_root, "runs_here", lambda: True)
    with pytest.raises(SetupError, match=r"usermod --add-subuids .* ingeborg"):
        image_user.check("ingeborg", numbers)
    numbers.write_text("ingeborg:100000:65536\n")
    monkeypatch.setattr(image_user, "_SPACE", ("false",))
    with pytest.raises(SetupError, match="allows no user namespace"):
        image_user.check("ingeborg", numbers)


def test_files_of_other_owners_can_be_made_without_root(tmp_path: Path) -> None:
    """As a real user with numbers of its own."""
    numbers = Path("/etc/subuid")
    held = [line.split(":")[0] for line in numbers.read_text().splitlines()] if numbers.is_file() else []
    if os.geteuid() != 0 or not held or find("newuidmap") is None or find("setpriv") is None:
        pytest.skip("needs root, uidmap, and a user with numbers in /etc/subuid")
    made = "import os; os.chown('.', 417, 33); print(os.geteuid(), os.stat('.').st_uid, os.stat('.').st_gid)"
    tmp_path.chmod(0o777)
    folder = tmp_path / "folder"
    folder.mkdir()
    uid = pwd.getpwnam(held[0]).pw_uid
    os.chown(folder, uid, uid)
    argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    argv += image_user.in_own_space(["/usr/bin/python3", "-c", made])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder)
    if "user namespace" in done.stderr or "uid_map" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"user namespaces are closed here: {done.stderr.strip()}")
    assert done.stdout.split() == ["0", "417", "33"], done.stderr
