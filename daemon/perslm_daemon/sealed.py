"""A service's secret as root finds it: in systemd's store, or in the encrypted one beside it.

Reads and never writes. Only this machine's root can open what is encrypted; systemd does it for the service.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PREFIX = "perslm."
_LIMIT_S = 30.0


def sealed_path(plain: Path) -> Path:
    """Where the encrypted copy of `/etc/credstore/perslm.NAME` lies."""
    return plain.parent.with_name("credstore.encrypted") / f"{plain.name}.sealed"


def kept(plain: Path) -> str | None:
    """The secret of `/etc/credstore/perslm.NAME` or of its encrypted copy, without its line end.

    None where neither is, or this user may open neither.
    """
    try:
        return plain.read_text(encoding="utf-8").rstrip("\r\n") or None
    except (OSError, UnicodeDecodeError):
        return _opened(sealed_path(plain))


def _opened(path: Path) -> str | None:
    if not os.path.isfile(path):  # noqa: PTH113 - Path's own raises where the folder is closed to this user
        return None
    name = path.name.removeprefix(_PREFIX)
    argv = ["systemd-creds", "decrypt", "--newline=no", f"--name={name}", str(path), "-"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return (done.stdout.rstrip("\r\n") or None) if done.returncode == 0 else None
