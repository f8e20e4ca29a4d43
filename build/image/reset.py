"""A factory reset: what a person, a house and a board put onto the card goes; system, programs and models stay.

Asked for by a file on the boot partition or by `perslm reset --factory`, done by first boot before anything of
ours runs. Every removal can be repeated and the file that asks goes last, so a pulled plug only means: once more.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

ON_THE_CARD = ("factory-reset", "factory-reset.txt")  # Windows hides the second's ending
MARK = Path("var/lib/perslm-firstboot/factory-reset")
KEEP_NETWORK = "keep the network"  # what the mark may say

# Models came with the card and hold nothing of anybody, nor does how sound is led; a training host's models may be
# taught by somebody's words.
_KEPT_OF_DATA = ("models", ".asoundrc", ".config")
_FOLDERS = ("etc/perslm", "var/lib/perslm-broker", "var/lib/perslm-release", "var/lib/NetworkManager", "root")
_FILES = (
    "etc/credstore/perslm.mqtt_password",
    "etc/credstore/perslm.memory_key",
    "etc/credstore.encrypted/perslm.mqtt_password.sealed",
    "etc/credstore.encrypted/perslm.memory_key.sealed",
    "var/lib/systemd/credential.secret",  # their key: without it a copy of the card opens neither
    "etc/modprobe.d/perslm-wifi.conf",
    "etc/avahi/services/perslm.service",
    "var/lib/systemd/random-seed",
    "var/lib/perslm-firstboot/state.json",
)
_NETWORK = ("etc/NetworkManager/system-connections",)
_SSH = "etc/ssh"


def asked(root: Path, boot: Path) -> str | None:
    """What somebody asks for: None for nothing, else the mark's text ("" for everything)."""
    for name in ON_THE_CARD:
        if (boot / name).is_file():
            return ""
    mark = root / MARK
    return mark.read_text(encoding="utf-8").strip() if mark.is_file() else None


def run(root: Path, boot: Path, wish: str, settle: Callable[[], object]) -> str:
    """Remove it all, let it `settle` on the card, and only then forget that it was asked for."""
    keep = wish == KEEP_NETWORK
    network_kept = [*_NETWORK, "root/.ssh"] if keep else []
    for name in _FOLDERS:
        _empty(root / name, {Path(kept).name for kept in network_kept if Path(kept).parent == Path(name)})
    _empty(root / "var/lib/perslm", set(_KEPT_OF_DATA))
    for manifest in (root / "var/lib/perslm/models").glob("*/bundle.json"):
        shutil.rmtree(manifest.parent)
    if not keep:
        for name in _NETWORK:
            _empty(root / name, set())
    for name in _FILES:
        if not (keep and "wifi" in name):
            (root / name).unlink(missing_ok=True)
    for path in (root / _SSH).glob("ssh_host_*"):
        path.unlink()
    _write(root / "etc/hostname", "localhost\n")
    _write(root / "etc/machine-id", "")
    settle()
    for path in (root / MARK, *(boot / name for name in ON_THE_CARD)):
        path.unlink(missing_ok=True)
    return "done, but for the network" if keep else "done"


def _empty(folder: Path, kept: set[str]) -> None:
    """Everything in a folder but `kept`; the folder stays with its owner and mode."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
