"""The Debian package on the emulated board: refused beside the card's PersLM, installed without it, used, removed.

Before that the board is made what somebody with a running Pi has: a Debian 13 with no PersLM, its packages there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from perslm_build import image
from perslm_build.emulated_board import Board, Listener
from perslm_build.terminal import SetupError

_LIMIT_S = 1800.0
_PLACE = "/var/tmp/perslm.deb"  # noqa: S108 - on the emulated board, which only this test uses
# What a card has beside a plain Debian; settings, models, memories and users are what a package finds as well.
_PLAIN = (
    "systemctl disable --now perslm.service perslm-broker.service; "
    "rm -rf /usr/local/lib/systemd/system/perslm* /usr/local/lib/sysusers.d/perslm.conf "
    "/usr/local/lib/tmpfiles.d/perslm.conf /usr/local/bin/perslm /opt/perslm /opt/perslm-releases "
    "/etc/systemd/system/perslm.service.d; systemctl daemon-reload"
)


def newest() -> Path | None:
    """The newest package for arm64 in dist/, or None."""
    found = sorted(image.DIST.glob("perslm_*_arm64.deb"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def try_package(board: Board, listener: Listener, package: Path) -> dict[str, Any]:
    """Everything above with `package`; returns what was seen. Raises SetupError where it is not as it should."""
    board.put(package, _PLACE)
    refused = board.ssh(f"dpkg -i {_PLACE} 2>&1; true", limit_s=_LIMIT_S)
    if "PersLM is here already" not in refused:
        raise SetupError(f"the package went onto a card that has its own PersLM: {refused[-300:]}")
    board.ssh(_PLAIN)
    listener.until("state", _LIMIT_S, state="offline")
    begin = time.monotonic()
    board.ssh(f"dpkg -i {_PLACE} 2>&1", limit_s=_LIMIT_S)
    installed_s = round(time.monotonic() - begin)
    listener.connect(_LIMIT_S)  # the broker went, and is the package's now
    listener.until("state", _LIMIT_S, state="online")
    version = board.ssh("dpkg-query -W -f '${Version}' perslm")
    unit = board.ssh("systemctl show -p FragmentPath --value perslm.service")
    if unit != "/usr/lib/systemd/system/perslm.service":
        raise SetupError(f"not the package's unit runs, but {unit}")
    listener.send("recall", "by-the-package", text="What is the lighthouse keeper called?")
    found = listener.until("response/recall", _LIMIT_S, transaction="by-the-package")
    if "Ingeborg" not in str(found):
        raise SetupError(f"the package's PersLM does not know what the card's did: {found}")
    return {
        "deb_refused_on_a_card": True,
        "deb_version": version,
        "deb_installed_s": installed_s,
        "deb_install_to_online_s": round(time.monotonic() - begin),
        "deb_recalled": "there",
        **_removed(board, listener),
    }


def _removed(board: Board, listener: Listener) -> dict[str, Any]:
    """Removing leaves what is the owner's, purging nothing."""
    board.ssh("dpkg --remove perslm 2>&1", limit_s=_LIMIT_S)
    listener.until("state", _LIMIT_S, state="offline")
    left = "ls -d /opt/perslm /usr/lib/systemd/system/perslm.service /usr/bin/perslm 2>/dev/null; true"
    kept = "ls -d /etc/perslm/perslm.toml /var/lib/perslm/memory* | wc -l"
    if board.ssh(left) or int(board.ssh(kept)) < 2:
        raise SetupError(f"removed, but: left {board.ssh(left)!r}, kept {board.ssh(kept)}")
    board.ssh("dpkg --purge perslm 2>&1", limit_s=_LIMIT_S)
    rest = board.ssh(
        "ls -d /etc/perslm /var/lib/perslm /var/lib/perslm-broker 2>/dev/null; id perslm 2>/dev/null; true"
    )
    failed = board.ssh("systemctl --failed --plain --no-legend")
    if rest or failed:
        raise SetupError(f"purged, but there is still {rest!r}, and failed is {failed!r}")
    return {"deb_removed": "programs and units", "deb_purged": "settings, memories, users"}
