"""The boards an image is made for, and what of Debian each gets: data alone, read by the recipes beside it."""

from __future__ import annotations

from dataclasses import dataclass

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
_PI_FIRMWARE = "raspi-firmware firmware-brcm80211 wireless-regdb"
# What the first 10 seconds need to find the root: an initrd with every module takes 36 MB instead of 10.
_STORAGE = (
    "ext4 vfat nls_cp437 nls_ascii virtio_pci virtio_mmio virtio_blk virtio_scsi virtio_net mmc_block sdhci-iproc "
    "bcm2835 sdhci-pltfm sdhci-brcmstb phy-brcm-usb reset-raspberrypi pcie-brcmstb xhci-pci xhci-plat-hcd "
    "usb-storage uas nvme ahci"
)


@dataclass(frozen=True, slots=True)
class Board:
    """One `BOARD=`: its profile, its Debian packages, how it starts, and what has been shown of it."""

    name: str
    profile: str
    packages: tuple[str, ...]
    loader: str  # "efi": systemd-boot; "pi": the firmware's config.txt
    proven: str


def _packages(*lists: str) -> tuple[str, ...]:
    return tuple(word for text in (_SYSTEM, _ASSISTANT, *lists) for word in text.split())


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
    )
}
INITRAMFS_MODULES = tuple(_STORAGE.split())


def board(name: str) -> Board:
    """The board called `name`. Raises SetupError with those that exist."""
    try:
        return BOARDS[name]
    except KeyError:
        raise SetupError(f"BOARD={name} is not known: take one of {', '.join(BOARDS)}.") from None
