"""`make install` and `make uninstall`: PersLM as a service of this machine, and its removal.

The programs go to /opt/perslm (their own environment, from the same hashed locks), the units under
/usr/local/lib, so that what an administrator writes into /etc wins. With DESTDIR only files are laid down there,
for whoever builds an image: an environment cannot be moved. Memories and configuration are never removed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from perslm_build import locks, system
from perslm_build.environment import RUN, set_up
from perslm_build.terminal import SetupError, say, step

HOME = Path("/opt/perslm")
UNITS = Path("usr/local/lib/systemd/system")
DROPINS = UNITS / "perslm.service.d"
_SOURCES = locks.ROOT / "systemd"
_BROKER_PORT = 1883
SERVICE = replace(RUN, folder=HOME, editable=False)

# What is laid down, and from where; the backoff and the board's limits are decided on the machine.
FILES = {
    UNITS / "perslm.service": _SOURCES / "perslm.service",
    UNITS / "perslm-broker.service": _SOURCES / "perslm-broker.service",
    Path("usr/local/lib/sysusers.d/perslm.conf"): _SOURCES / "perslm.sysusers",
    Path("usr/local/lib/tmpfiles.d/perslm.conf"): _SOURCES / "perslm.tmpfiles",
}
_BACKOFF_SINCE = 254
_SOUND_DROPIN = DROPINS / "30-sound.conf"
_SOUND_PACKAGES = "pipewire pipewire-pulse wireplumber libasound2-plugins pulseaudio-utils"


def destination() -> Path:
    """Where files go: `DESTDIR`, or the machine itself."""
    return Path(os.environ.get("DESTDIR") or "/")


def systemd_version() -> int:
    """The version of the systemd that will run the units; 0 where there is none."""
    if shutil.which("systemctl") is None:
        return 0
    said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return int(said[1]) if len(said) > 1 and said[1].isdecimal() else 0


def service_uid() -> int:
    """The number of the user perslm: what it has here, else what sysusers is asked for."""
    try:
        return pwd.getpwnam("perslm").pw_uid
    except KeyError:
        users = (_SOURCES / "perslm.sysusers").read_text(encoding="utf-8")
        return int(next(line.split()[2] for line in users.splitlines() if line.startswith("u perslm ")))


def lay_down(root: Path, limits: str, version: int, uid: int | None = None) -> list[Path]:
    """Write the units, users and folders under `root`, with the board's `limits`; return what was written.

    `uid` is the number of the user perslm, whose sound server the service speaks with. The backoff's keys go only
    to a systemd that knows them. The same files are written over by a second install.
    """
    texts = {target: source.read_text(encoding="utf-8") for target, source in FILES.items()}
    texts[DROPINS / "10-board.conf"] = limits
    sound = (_SOURCES / "perslm-sound.conf").read_text(encoding="utf-8")
    texts[_SOUND_DROPIN] = sound.replace("@UID@", str(service_uid() if uid is None else uid))
    if version >= _BACKOFF_SINCE:
        texts[DROPINS / "20-backoff.conf"] = (_SOURCES / "perslm-backoff.conf").read_text(encoding="utf-8")
    for target, text in texts.items():
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o644)
        fresh.replace(path)
    return [root / target for target in texts]


def take_away(root: Path) -> list[Path]:
    """Remove what `lay_down` wrote, and the drop-ins' folder when nothing else is in it; return what went."""
    targets = [*FILES, DROPINS / "10-board.conf", DROPINS / "20-backoff.conf", _SOUND_DROPIN]
    removed = [root / target for target in targets if (root / target).is_file()]
    for path in removed:
        path.unlink()
    folder = root / DROPINS
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return removed


def install() -> None:
    """Install and start the service; `PROFILE=` chooses the board. Raises SetupError with the next step."""
    root = destination()
    here = root == Path("/")
    if here:
        _check_rights()
        system.check_machine()
        set_up(SERVICE)
        _make_users()
    python = SERVICE.python if here else RUN.python
    if not python.exists():
        raise SetupError("the board's limits come from the programs: `make setup` first, then this again.")
    with step(f"Units under {root / UNITS}"):
        for path in lay_down(root, _limits(python), systemd_version()):
            say(f"   {path}")
    if here:
        _begin()


def uninstall() -> None:
    """Stop and remove the service. Configuration, models and memories stay, and are named."""
    root = destination()
    if root == Path("/"):
        _check_rights()
        if _running():
            _systemctl("disable", "--now", "perslm.service", "perslm-broker.service", check=False)
    for path in take_away(root):
        say(f"   removed {path}")
    if root == Path("/"):
        Path("/var/lib/systemd/linger/perslm").unlink(missing_ok=True)
        shutil.rmtree(HOME, ignore_errors=True)
        if _running():
            _systemctl("daemon-reload")
        say("Kept: /etc/perslm, /etc/credstore, /var/lib/perslm, /var/lib/perslm-broker and the two users.")


def _check_rights() -> None:
    if os.geteuid() != 0:
        raise SetupError(
            "a service is installed by root: `sudo make install` (or DESTDIR=/some/folder for its files)."
        )
    base = Path(sys.base_prefix).resolve()
    if base.is_relative_to("/home") or base.is_relative_to("/root"):
        raise SetupError(
            f"the service cannot see {base} (it has no view of homes): use the system's Python, "
            "`sudo make install PYTHON=/usr/bin/python3`."
        )


def _limits(python: Path) -> str:
    """The board's drop-in, by the code that knows the profiles."""
    profile = os.environ.get("PROFILE", "")
    path = os.pathsep.join(str(locks.ROOT / folder) for folder in ("runtime", "daemon"))
    found = subprocess.run(
        [python, "-m", "perslm_daemon.limits", *([profile] if profile else [])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    if found.returncode != 0:
        last = found.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise SetupError(f"the board's limits are not known: {last[0]}")
    return found.stdout


def _running() -> bool:
    """Whether systemd is what runs this machine."""
    return Path("/run/systemd/system").is_dir()


def _systemctl(*arguments: str, check: bool = True) -> None:
    found = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if check and found.returncode != 0:
        raise SetupError(f"`systemctl {' '.join(arguments)}` failed: {found.stderr.strip()}")


def _make_users() -> None:
    """Make the users first: a number is part of what is laid down. Nothing where there is no systemd."""
    if shutil.which("systemd-sysusers") is not None:
        subprocess.run(["systemd-sysusers", _SOURCES / "perslm.sysusers"], check=True)


def _begin() -> None:
    """Make folders, and start the units where systemd runs the machine."""
    for program in ("systemd-sysusers", "systemd-tmpfiles"):
        if shutil.which(program) is None:
            say(f"{program} is not here: this machine has no systemd. The files are in place for one that has.")
            return
    subprocess.run(["systemd-tmpfiles", "--create", "/usr/local/lib/tmpfiles.d/perslm.conf"], check=True)
    _own_broker()
    if not _running():
        say("Installed. systemd does not run this machine: start it by hand with /opt/perslm/bin/perslm run.")
        return
    _systemctl("daemon-reload")
    subprocess.run(["loginctl", "enable-linger", "perslm"], capture_output=True, check=False)
    if shutil.which("pipewire-pulse") is None and shutil.which("pulseaudio") is None:
        say("Several programs share the sound, and echo is cancelled, with PipeWire:")
        say(f"   sudo apt-get install {_SOUND_PACKAGES}")
    say("Installed. Models, then start:")
    say(
        "   sudo -u perslm env PERSLM_MODELS_DIR=/var/lib/perslm/models"
        " /opt/perslm/bin/perslm models pull --needed"
    )
    say("   sudo systemctl enable --now perslm-broker.service perslm.service")


def _own_broker() -> None:
    """Our broker's files, where there are none and nobody listens on MQTT's port; left alone ever after."""
    file, settings = Path("/etc/perslm/broker.conf"), Path("/etc/perslm/perslm.toml")
    if file.exists():
        return
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", _BROKER_PORT)) == 0:
            say(f"   a broker listens on port {_BROKER_PORT} already: perslm-broker.service stays off")
            return
    perslm = HOME / "bin/perslm"
    listen = [str(perslm), "broker", "listen", f"127.0.0.1:{_BROKER_PORT}", "--service"]
    done = subprocess.run(listen, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"our own broker's files cannot be written: {done.stderr.strip()}")
    say(f"   {file}: on this machine only; `{perslm} broker listen 0.0.0.0 --service` opens it to the house")
    if not settings.exists():
        settings.write_text('[mqtt]\nbroker = "own"\n', encoding="utf-8")
        say(f"   {settings}: our own broker is the one that is used")
    else:
        say(f'   set mqtt.broker = "own" in {settings} to use it')
