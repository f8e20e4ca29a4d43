"""`perslm reset --factory`: everything of a person and a house off the card, at the next start."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from perslm_daemon.cli_session import session_of
from perslm_daemon.terminal import put, put_json
from perslm_runtime.errors import InputError

# build/image/reset.py reads it at the start, before anything of ours runs.
_MARK = Path("var/lib/perslm-firstboot/factory-reset")
_DOES_IT = Path("usr/local/lib/perslm/reset.py")
_KEEP_NETWORK = "keep the network"


def register(app: typer.Typer) -> None:
    """Add `reset` to the command line."""
    app.command()(reset)


def reset(
    context: typer.Context,
    *,
    factory: Annotated[
        bool, typer.Option("--factory", help="Memories, settings, passwords, keys and taught models go.")
    ] = False,
    keep_network: Annotated[bool, typer.Option("--keep-network", help="Wi-Fi and log-in keys stay.")] = False,
    yes: Annotated[str, typer.Option(help="The board's name, in place of typing it.")] = "",
    restart: Annotated[bool, typer.Option(help="Start the board again now; else the next start does it.")] = True,
    root: Annotated[Path, typer.Option(help="The folder that is the board's /.", hidden=True)] = Path("/"),
) -> None:
    """Make a PersLM card as it was when it was flashed; programs and its models stay. By root."""
    session = session_of(context)
    if not factory:
        raise InputError("say what: `perslm reset --factory` takes everything of yours off this card")
    if not (root / _DOES_IT).is_file():
        raise InputError(
            "this is no PersLM card: `perslm memory forget` and a package's removal are for other machines"
        )
    if root == Path("/") and os.geteuid() != 0:
        raise InputError("a factory reset is root's: `sudo perslm reset --factory`")
    name = _name(root)
    if (yes or typer.prompt(f"Everything of yours goes. Type {name} to go on", err=True)) != name:
        raise InputError(f"nothing was done: --yes {name} says it without being asked")
    _ask(root / _MARK, _KEEP_NETWORK if keep_network else "")
    if session.json:
        put_json({"at": "the next start", "network_kept": keep_network})
    else:
        put("It is done at the next start" + (", which is now" if restart else ""))
    if restart and root == Path("/") and shutil.which("systemctl") is not None:
        subprocess.run(["systemctl", "reboot"], check=False)


def _name(root: Path) -> str:
    file = root / "etc/hostname"
    return (file.read_text(encoding="utf-8").strip() if file.is_file() else "") or socket.gethostname()


def _ask(mark: Path, wish: str) -> None:
    """Leave the mark, durable before anything is restarted."""
    mark.parent.mkdir(parents=True, exist_ok=True)
    with mark.open("w", encoding="utf-8") as file:
        file.write(wish)
        file.flush()
        os.fsync(file.fileno())
