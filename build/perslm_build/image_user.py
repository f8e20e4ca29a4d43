"""`make image` by somebody who is not root: the same process again in a user namespace, where that user is root.

Owners, modes and mmdebstrap's mounts are real in there and reach nothing outside. What root has to have done
before (the emulator's registration, numbers for the user) is looked for, and said as the line to type.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from perslm_build import image_root
from perslm_build.image_tools import find
from perslm_build.system import Need
from perslm_build.terminal import SetupError, say

NEEDS = (Need("newuidmap (a root of one's own)", "uidmap", lambda: find("newuidmap") is not None),)
# Debian has owners up to 65534 (nobody): a map of this user's alone would not do.
_SPACE = ("unshare", "--user", "--map-root-user", "--map-auto", "--")
_NUMBERS = Path("/etc/subuid")


def in_own_space(argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` as root of a user namespace."""
    return [*_SPACE, *argv]


def go_on() -> None:
    """Become root of a user namespace and start this very command again; does not return. Raises SetupError."""
    check(pwd.getpwuid(os.geteuid()).pw_name)
    say("   not root: going on in a user namespace")
    sys.stdout.flush()
    argv = in_own_space([sys.executable, *sys.argv])
    os.execvp(argv[0], argv)


def check(user: str, numbers: Path = _NUMBERS) -> None:
    """That `user` can build without root here. Raises SetupError with the one line that root has to type."""
    if not image_root.runs_here():
        raise SetupError(
            "arm64 programs do not run here yet, and only root can change that. Type this line, then run the same "
            f"command again (or `sudo make image`):\n\n  sudo sh -c '{image_root.REGISTER}'\n"
        )
    held = numbers.read_text(encoding="utf-8") if numbers.is_file() else ""
    if not any(line.startswith(f"{user}:") for line in held.splitlines()):
        raise SetupError(
            f"an image holds files of many owners, and {user} has no numbers for them. Type this line, then run "
            "the same command again (or `sudo make image`):\n\n"
            f"  sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}\n"
        )
    tried = subprocess.run(in_own_space(["true"]), capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise SetupError(
            f"this system allows no user namespace ({tried.stderr.strip()[-200:]}): `sudo make image`."
        )
