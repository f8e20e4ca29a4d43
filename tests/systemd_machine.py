"""A Debian 13 of its own with systemd as PID 1, in namespaces of this machine: its processes, mounts and loopback.

Needs root, mmdebstrap and Debian's mirror; a test is skipped, with the reason, where one is missing. Emulates
nothing: it is this kernel, so what it cannot show is a boot loader and hardware.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perslm_build.locks import ROOT
from real_models import models_dir

PACKAGES = "systemd,systemd-sysv,dbus,mosquitto,python3,python3-venv,ca-certificates,git,iproute2,procps"
WAIT_S = 120.0
# systemd behaves as in any container: no udev, no console. Mounts have to be shared, or credentials stay behind.
_BOOT = """
set -e
ip link set lo up
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir -p dev/pts dev/shm old
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=perslm PATH=/usr/sbin:/usr/bin /lib/systemd/systemd
"""
_MASKED = ("systemd-udevd", "systemd-networkd", "systemd-resolved", "systemd-logind", "console-getty", "mosquitto")


class Machine:
    """The booted system: programs run in it, files are reached through `root`."""

    def __init__(self, root: Path, pid: int) -> None:
        self.root, self.pid = root, pid

    def run(self, *command: str, check: bool = True, timeout_s: float = WAIT_S) -> str:
        """What `command` prints in there; its failure is the test's, unless `check` is False."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "-r", "-w", *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            cwd="/",
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "-p", name, "--value", unit).strip()

    def until(self, unit: str, name: str, wanted: str) -> None:
        """Wait until a property of a unit is `wanted`."""
        deadline = time.monotonic() + WAIT_S
        while (found := self.show(unit, name)) != wanted:
            assert time.monotonic() < deadline, (
                f"{name} of {unit} is {found}: {self.run('journalctl', '-n', '40')}"
            )
            time.sleep(0.2)


def bare(folder: Path, packages: str) -> Path:
    """The root folder of a Debian 13 with these packages and two small models, and nothing of PersLM."""
    if os.geteuid() != 0:
        pytest.skip("a system of its own needs root")
    for tool in ("mmdebstrap", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine: sudo apt-get install mmdebstrap util-linux")
    root = folder / "root"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "trixie", str(root)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"Debian's packages cannot be had here: {made.stderr[-300:]}")
    subprocess.run(["chroot", root, "systemctl", "mask", *_MASKED], capture_output=True, check=True)
    models = root / "var/lib/perslm/models"
    for model in ("smollm2-135m-q4_1", "all-minilm-l6-v2"):
        shutil.copytree(models_dir() / model, models / model)
    return root


def debian(folder: Path) -> Path:
    """The root folder with its packages, and PersLM installed from its sources by `make install`."""
    root = bare(folder, PACKAGES)
    for name in ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt"):
        if Path("/", name).is_file():
            shutil.copy(Path("/", name), root / name)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root / "src")], check=True)
    wheels = Path.home() / ".cache/perslm/wheels"
    if wheels.is_dir():
        shutil.copytree(wheels, root / "root/.cache/perslm/wheels")
    with booted(root, alone=False) as machine:
        _install(machine)
    return root


def _install(machine: Machine) -> None:
    """`make install` as its administrator would; it needs the network."""
    pip = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
    machine.run("env", "HOME=/root", *pip, "python3", "/src/build/setup_perslm.py", "install", timeout_s=1800)
    machine.run("chown", "-R", "perslm:perslm", "/var/lib/perslm")
    machine.run("systemctl", "enable", "perslm", "perslm-broker")


@contextmanager
def booted(root: Path, *, alone: bool = True) -> Iterator[Machine]:
    """`root` from its PID 1 to the pulled plug; `alone`: with a loopback of its own and no other network."""
    spaces = ["--mount", "--pid", "--uts", "--ipc", "--cgroup", *(["--net"] if alone else [])]
    with subprocess.Popen(
        ["unshare", *spaces, "--fork", "--kill-child", "sh", "-c", _BOOT, "boot", root],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as outside:
        try:
            machine = Machine(root, _first_process(outside))
            deadline = time.monotonic() + WAIT_S
            while "running" not in (state := machine.run("systemctl", "is-system-running", check=False)):
                # degraded: of kernel modules, which are this machine's business
                if "degraded" in state:
                    break
                assert time.monotonic() < deadline, state
                time.sleep(0.2)
            yield machine
        finally:
            outside.kill()


def _first_process(outside: subprocess.Popen[bytes]) -> int:
    """systemd's process number, seen from here, once it is systemd."""
    children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        assert outside.poll() is None, "the namespaces could not be made"
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        time.sleep(0.05)
    raise AssertionError("systemd did not start")
