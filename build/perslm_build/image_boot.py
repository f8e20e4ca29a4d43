"""The card's first partition: what each kind of board reads before there is a Linux, laid out in a folder.

A Raspberry Pi's firmware reads config.txt, a machine with UEFI systemd-boot's entry; a Pi's card holds both, so
what an emulator starts is the very card. Writes into a folder, knows no file system.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from perslm_build.image_boards import Board
from perslm_build.terminal import SetupError

# Of both partition tables: the second partition's name for the kernel.
GPT_ROOT = "50455253-4c4d-4000-8000-000000000003"
MBR_SIGNATURE = 0x50455253
_QUIET = "rw rootwait quiet panic=10"
_UEFI_CONSOLES = "console=tty0 console=ttyAMA0"
_PI_CONSOLES = "console=tty0 console=ttyS1,115200"
# Raspberry Pi's own kernels count no memory of services and no pressure unless they are told to.
_RASPIOS_WORDS = "cgroup_enable=memory psi=1"
_EFI_LOADER = Path("usr/lib/systemd/boot/efi/systemd-bootaa64.efi")
_PI_FIRMWARE = Path("usr/lib/raspi-firmware")
# The debugging and camera builds stay away: 13 MB that no board without a screen starts.
_PI_FILES = (
    "bootcode.bin",
    *("start.elf", "fixup.dat", "start_cd.elf", "fixup_cd.dat"),
    *("start4.elf", "fixup4.dat", "start4cd.elf", "fixup4cd.dat"),
)
_PI_TREES = ("bcm2711-*.dtb", "bcm2712*-*.dtb", "bcm2837-*.dtb", "bcm2710-*.dtb")
_CONFIG = """# How the Raspberry Pi's firmware starts this card. What is added at the end stays.
arm_64bit=1
enable_uart=1
{upstream}kernel=vmlinuz
initramfs initrd.img followkernel
{own}"""


def files(root: Path, board: Board, folder: Path) -> None:
    """Lay out the partition of `board` in `folder` from its `root`. Raises SetupError naming what is missing."""
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    initrds = sorted((root / "boot").glob("initrd.img-*"))
    if len(kernels) != 1 or len(initrds) != 1:
        raise SetupError(
            f"{root}/boot has {len(kernels)} kernels and {len(initrds)} initrds: one of each is needed."
        )
    _copy(kernels[0], folder / "vmlinuz")
    _copy(initrds[0], folder / "initrd.img")
    match board.loader:
        case "efi":
            _efi(root, folder, GPT_ROOT)
        case "pi":
            _efi(root, folder, pi_root())
            _pi(root, board, folder, kernels[0].name.removeprefix("vmlinuz-"))
        case other:
            raise SetupError(f"{board.name}: no recipe for the loader {other!r}.")
    read_me = Path(__file__).resolve().parents[1] / "image" / "card-readme.txt"
    _text(folder / "README.txt", read_me.read_text(encoding="utf-8").replace("\n", "\r\n"))


def pi_root() -> str:
    """The root partition's name behind an MBR: the disk's signature, and which partition it is."""
    return f"{MBR_SIGNATURE:08x}-02"


def _efi(root: Path, folder: Path, partition: str) -> None:
    _copy(root / _EFI_LOADER, folder / "EFI/BOOT/BOOTAA64.EFI")
    _text(folder / "loader/loader.conf", "timeout 0\ndefault perslm.conf\n")
    line = f"root=PARTUUID={partition} {_QUIET} {_UEFI_CONSOLES}"
    _text(
        folder / "loader/entries/perslm.conf",
        f"title PersLM\nlinux /vmlinuz\ninitrd /initrd.img\noptions {line}\n",
    )


def _pi(root: Path, board: Board, folder: Path, kernel: str) -> None:
    """The firmware's own files, every Pi's device tree, config.txt and cmdline.txt."""
    for name in _PI_FILES:
        _copy(root / _PI_FIRMWARE / name, folder / name)
    trees = _device_trees(root, kernel)
    for path in trees:
        _copy(path, folder / path.name)
    for overlays in (root / _PI_FIRMWARE / "overlays", trees[0].parents[1] / "overlays"):
        for path in sorted(overlays.glob("*.dtbo")):
            _copy(path, folder / "overlays" / path.name)
    debian = board.flavour == "debian"
    _text(
        folder / "config.txt",
        _CONFIG.format(upstream="upstream_kernel=1\n" if debian else "", own=board.config),
    )
    words = "net.ifnames=0" if debian else _RASPIOS_WORDS
    _text(folder / "cmdline.txt", f"{_PI_CONSOLES} root=PARTUUID={pi_root()} {_QUIET} fsck.repair=yes {words}\n")


def _device_trees(root: Path, kernel: str) -> list[Path]:
    """Every Pi's device tree of that kernel: since 7.3 Debian keeps them beside the modules."""
    for folder in (
        root / "usr/lib" / f"linux-image-{kernel}" / "broadcom",
        root / "usr/lib/modules" / kernel / "dtb/broadcom",
    ):
        if found := sorted(path for pattern in _PI_TREES for path in folder.glob(pattern)):
            return found
    raise SetupError(f"kernel {kernel} in {root} brings no device tree of a Raspberry Pi: nothing would start.")


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise SetupError(f"{source} is not there: remove the root's cache, then run this again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
