"""What of ours lies in a board's root besides Python: units, first boot, models, and the few settings of Debian's.

Writes files below a root folder and nothing else. Every link and mode is set here: it is the same each time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from perslm_build import install, locks
from perslm_build.environment import RUN
from perslm_build.image_boards import CLOCK, Board
from perslm_build.image_packages import SOURCES
from perslm_build.terminal import SetupError, step

_RECIPES = locks.ROOT / "build" / "image"
_OURS = Path("usr/local/lib/perslm")
_SYSTEMD = 257  # of Debian 13
PERSLM_UID = 417  # systemd/perslm.sysusers
MODELS = Path("var/lib/perslm/models")
FAT_LABEL, ROOT_LABEL = "PERSLM", "perslm-root"

_ENABLED = ("perslm.service", "perslm-broker.service", "perslm-firstboot.service", "perslm-release.service")
# Debian's broker would take our port; the others ask questions on a console that nobody sees, or wait for a
# network that is not theirs.
_MASKED = ("mosquitto.service", "systemd-firstboot.service", "systemd-networkd-wait-online.service")
_TEXTS = {
    # The FAT partition may be missing or slow: without `nofail` the board would stop in a locked emergency shell.
    "etc/fstab": f"LABEL={ROOT_LABEL} / ext4 noatime,errors=remount-ro 0 1\n"
    f"LABEL={FAT_LABEL} /boot/firmware vfat umask=0077,nofail,x-systemd.device-timeout=300s 0 2\n"
    "tmpfs /tmp tmpfs nosuid,nodev,size=25% 0 0\n"
    "tmpfs /var/log tmpfs nosuid,nodev,mode=0755,size=32M 0 0\n",
    "etc/systemd/journald.conf.d/perslm.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n",
    # A Raspberry Pi's own counts 15 s at most: the kernel feeds it until systemd has been silent for the minute.
    # With 15 s a starved board was reset by a mere `systemctl daemon-reload`.
    "etc/systemd/system.conf.d/perslm.conf": "[Manager]\nRuntimeWatchdogSec=1min\nRebootWatchdogSec=2min\n",
    "etc/ssh/sshd_config.d/perslm.conf": "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    "PermitRootLogin prohibit-password\nX11Forwarding no\n",
    # Without a key nobody could log in: then there is no listener either.
    "etc/systemd/system/ssh.service.d/perslm.conf": "[Unit]\nConditionPathExists=/root/.ssh/authorized_keys\n"
    "After=perslm-firstboot.service\n",
    "etc/systemd/system/ssh.socket.d/perslm.conf": "[Unit]\nConditionPathExists=/root/.ssh/authorized_keys\n",
    "etc/NetworkManager/conf.d/perslm.conf": "[device]\nwifi.scan-rand-mac-address=no\n[connection]\n"
    "connection.mdns=0\nwifi.powersave=2\n",
    # The loader starts the kernel of the boot partition; one that apt brought would have modules and never start.
    "etc/apt/preferences.d/perslm-kernel": "Package: linux-image-* raspi-firmware\n"
    "Pin: release *\nPin-Priority: -1\n",
    "etc/apt/sources.list": SOURCES,  # where it was built, the packages came out of a cache
    "etc/hostname": "localhost\n",  # first boot draws or takes a name
    "etc/machine-id": "",  # empty: each board draws its own, and it is no "first boot" that would preset all units
    "etc/locale.conf": "LANG=C.UTF-8\n",
    # Else the first start makes linker, journal and hardware databases anew: 12 s under emulation, more than their
    # units' 90 s on a starved board, and 10 MB onto the card.
    **dict.fromkeys(("etc/.updated", "var/.updated"), f"TIMESTAMP_NSEC={CLOCK}000000000\n"),
}


def lay_down(root: Path, board: Board, profile: str, limits: str, models: list[Path]) -> None:
    """Write all of it below `root`: `limits` is the profile's drop-in, `models` are folders. Needs root."""
    install.lay_down(root, limits, _SYSTEMD, PERSLM_UID)
    for name, text in _TEXTS.items():
        _write(root / name, text)
    ours = root / _OURS
    ours.mkdir(parents=True, exist_ok=True)
    for name in ("firstboot.py", "reset.py", "signs.py", "release_gate.py"):
        shutil.copyfile(_RECIPES / name, ours / name)
    shutil.copyfile(locks.ROOT / "build/perslm_build/card.py", ours / "card.py")
    for unit in ("perslm-firstboot.service", "perslm-release.service"):
        _write(root / install.UNITS / unit, (_RECIPES / unit).read_text(encoding="utf-8"))
    command = root / "usr/local/bin/perslm"
    _write(command, (locks.ROOT / "build/perslm.sh").read_text(encoding="utf-8"))
    command.chmod(0o755)
    _write(ours / "image.json", json.dumps({"board": board.name, "profile": profile}) + "\n")
    if profile != board.profile:
        _write(root / install.DROPINS / "40-profile.conf", f"[Service]\nEnvironment=PERSLM_PROFILE={profile}\n")
    _units(root)
    _take_out(root)
    _certificates(root)
    _users(root)
    _models(root, models)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def limits(profile: str) -> str:
    """The drop-in with the memory and processor share of a profile, by the code that knows the profiles."""
    path = os.pathsep.join(str(locks.ROOT / folder) for folder in ("runtime", "daemon"))
    found = subprocess.run(
        [RUN.python, "-m", "perslm_daemon.limits", profile],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    if found.returncode != 0:
        last = found.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise SetupError(f"PROFILE={profile}: {last[0]}")
    return found.stdout


def _units(root: Path) -> None:
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for unit in _ENABLED:
        _link(wants / unit, f"/{install.UNITS}/{unit}")
    for unit in _MASKED:
        _link(root / "etc/systemd/system" / unit, "/dev/null")
    # It looks for a virtual machine's socket and complains on the console where there is none.
    _link(root / "etc/systemd/system-generators/systemd-ssh-generator", "/dev/null")


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _take_out(root: Path) -> None:
    """What must not be the same on two boards, what is nobody's, and what depends on when it was built."""
    for pattern in (
        "etc/ssh/ssh_host_*",
        "var/lib/dbus/machine-id",
        "var/cache/apt/*",
        "var/lib/apt/lists/*",
        "var/cache/ldconfig/aux-cache",
        "var/log/*",
        "var/lib/systemd/random-seed",
        "var/lib/systemd/credential.secret",  # the key of a board's own secrets
        "tmp/*",
        "etc/resolv.conf",  # the building machine's; NetworkManager writes the board's
        "etc/apt/apt.conf.d/99mmdebstrap",
        # They would write config.txt anew; a conffile that was removed stays away.
        "etc/kernel/post*.d/z50-raspi-firmware",
        "etc/initramfs/post-update.d/z50-raspi-firmware",
    ):
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for cache in root.glob("usr/lib/python3*/**/__pycache__"):
        shutil.rmtree(cache)
    (root / "boot/firmware").mkdir(parents=True, exist_ok=True)


def _certificates(root: Path) -> None:
    """certifi's certificates in the system's place: Debian's package takes two minutes under emulation."""
    _link(root / "usr/lib/ssl/cert.pem", "/opt/perslm/lib/python3.13/site-packages/certifi/cacert.pem")


def _users(root: Path) -> None:
    """Our two users, as systemd-sysusers would make them on the board; models belong to one of them."""
    argv: list[str | Path] = ["systemd-sysusers", f"--root={root}", root / "usr/local/lib/sysusers.d/perslm.conf"]
    found = subprocess.run(argv, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SetupError(f"the users cannot be made in {root}: {found.stderr.strip()}")


def _models(root: Path, models: list[Path]) -> None:
    with step(f"Models: {', '.join(folder.name for folder in models)}"):
        for folder in models:
            shutil.copytree(folder, root / MODELS / folder.name, dirs_exist_ok=True)
    own(root)


def own(root: Path) -> None:
    """Give the service's folder to the service, with the image's time: snapshots are named by the model's time."""
    for name, mode in (("var/lib/perslm", 0o700), (str(MODELS), 0o755)):
        (root / name).chmod(mode)
    for path in (root / "var/lib/perslm", *(root / "var/lib/perslm").rglob("*")):
        os.chown(path, PERSLM_UID, PERSLM_UID, follow_symlinks=False)
        if path.is_file():
            path.chmod(0o644)
            os.utime(path, (CLOCK, CLOCK))
