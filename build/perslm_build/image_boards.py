"""The boards an image is made for, and what of Debian each gets: data alone, read by the recipes beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perslm_build.terminal import SetupError

SUITE = "trixie"
PYTHON = "3.13"
# Every file's time, every file system's clock: with it two builds of the same versions are the same bytes.
CLOCK = 1_764_201_600  # 2025-11-27, before anything in the image was made: a board without a clock starts here

_SYSTEM = (
    "systemd systemd-sysv udev dbus systemd-timesyncd libpam-systemd initramfs-tools zstd kmod "
    "network-manager wpasupplicant openssh-server avahi-daemon iproute2 iputils-ping procps tzdata "
    "fdisk e2fsprogs dosfstools"
)
# python3-systemd and python3-pyaudio have no wheels anywhere; PipeWire's modules hold the echo canceller.
_ASSISTANT = (
    "mosquitto python3 python3-systemd python3-pyaudio libgomp1 libstdc++6 libportaudio2 "
    "pipewire pipewire-pulse wireplumber libspa-0.2-modules libasound2-plugins pulseaudio-utils alsa-utils"
)
_KERNEL = "linux-image-arm64"
# The firmware's files, the microcode of the Wi-Fi chips and each country's law for them; systemd-boot beside, so
# that the very card of a Pi also starts in an emulator (or on any machine with UEFI).
_PI = "raspi-firmware firmware-brcm80211 wireless-regdb systemd-boot-efi"
# What the first 10 seconds need to find the root: an initrd with every module takes 36 MB instead of 10.
_STORAGE = (
    "ext4 vfat nls_cp437 nls_ascii virtio_pci virtio_mmio virtio_blk virtio_scsi virtio_net mmc_block sdhci-iproc "
    "bcm2835 sdhci-pltfm sdhci-brcmstb phy-brcm-usb reset-raspberrypi pcie-brcmstb xhci-pci xhci-plat-hcd "
    "usb-storage uas nvme ahci"
)
_PI_MODULES = ("bcm2835_wdt",)  # the watchdog is there when systemd first looks for one

_BACKPORTS = "deb http://deb.debian.org/debian trixie-backports main"
_RASPIOS = "deb http://archive.raspberrypi.com/debian trixie main"
_RASPIOS_KEY = "/usr/share/keyrings/raspberrypi-archive-keyring.pgp"


@dataclass(frozen=True, slots=True)
class Source:
    """An archive beside Debian's own: its line for apt, the packages taken from it, and its key's file."""

    line: str
    pin: str  # what apt's preferences call it
    packages: str  # apt's pattern
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """One `BOARD=` of one `FLAVOUR=`: its profile, its packages, how it starts, and what has been shown of it."""

    name: str
    profile: str
    packages: tuple[str, ...]
    loader: (
        str  # "efi": systemd-boot behind a GPT; "pi": the firmware's config.txt behind an MBR, systemd-boot too
    )
    proven: str
    flavour: str = "debian"
    modules: tuple[str, ...] = tuple(_STORAGE.split())  # of the initrd
    sources: tuple[Source, ...] = ()
    config: str = ""  # this board's own lines of config.txt

    @property
    def title(self) -> str:
        """The name in file names: `pi4`, `pi4-raspios`."""
        return self.name if self.flavour == "debian" else f"{self.name}-{self.flavour}"


def _packages(*lists: str) -> tuple[str, ...]:
    return tuple(word for text in (_SYSTEM, _ASSISTANT, *lists) for word in text.split())


_EXPECTED = "expected: firmware, kernel and device tree are on the card; no board was at hand"
_UNPROVEN = "unproven: the Raspberry Pi archive could not be reached from where this was made"
# Under a Raspberry Pi's own loader the ROM of a Zero 2 W reads no GPT.
_PIS = (
    Board("pi4", "pi4", _packages(_KERNEL, _PI), "pi", _EXPECTED),
    # Without a screen the graphics processor needs 16 MB of the 512.
    Board("zero2w", "zero2w", _packages(_KERNEL, _PI), "pi", _EXPECTED, config="gpu_mem=16\n"),
    # Debian 13's own kernel knows no RP1: no network, no USB. Its loader asks whether a system is made for it.
    Board(
        "pi5",
        "pi5",
        _packages(_KERNEL, _PI),
        "pi",
        "experimental: with Debian's backported kernel, which has no fan control; not built yet",
        sources=(Source(_BACKPORTS, "release n=trixie-backports", "linux-*"),),
        config="os_check=0\n",
    ),
)
BOARDS = {
    board.name: board
    for board in (
        Board(
            "generic-arm64",
            "generic-arm64",
            _packages(_KERNEL, "systemd-boot-efi"),
            "efi",
            "booted in QEMU (-M virt, cortex-a72)",
        ),
        *(replace(board, modules=(*board.modules, *_PI_MODULES)) for board in _PIS),
    )
}
_RASPIOS_KERNELS = {"pi4": "linux-image-rpi-v8", "zero2w": "linux-image-rpi-v8", "pi5": "linux-image-rpi-2712"}
FLAVOURS = ("debian", "raspios")


def board(name: str, flavour: str = "debian") -> Board:
    """The board called `name`, with the kernel of `flavour`. Raises SetupError with those that exist."""
    if flavour not in FLAVOURS:
        raise SetupError(f"FLAVOUR={flavour} is not known: take one of {', '.join(FLAVOURS)}.")
    try:
        found = BOARDS[name]
    except KeyError:
        raise SetupError(f"BOARD={name} is not known: take one of {', '.join(BOARDS)}.") from None
    return found if flavour == "debian" else _raspios(found)


def _raspios(debian: Board) -> Board:
    """The same board with the Raspberry Pi's own kernel and firmware on Debian's system."""
    if debian.name not in _RASPIOS_KERNELS:
        raise SetupError(
            f"FLAVOUR=raspios is for a Raspberry Pi: BOARD={', '.join(_RASPIOS_KERNELS)}, not {debian.name}."
        )
    kernel = _RASPIOS_KERNELS[debian.name]
    return replace(
        debian,
        packages=tuple(kernel if word == _KERNEL else word for word in debian.packages),
        flavour="raspios",
        proven=_UNPROVEN,
        sources=(
            Source(_RASPIOS, "origin archive.raspberrypi.com", "linux-* raspi-firmware firmware-*", _RASPIOS_KEY),
        ),
    )
