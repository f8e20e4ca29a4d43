"""What makes a flashed card somebody's own board: runs at every boot, before the network, does what is not done.

Every step can be repeated and writes aside, synced and renamed, so a pulled plug costs nothing. perslm.toml on the
boot partition is read again whenever it has changed: a wrong Wi-Fi password is put right in any PC. Only the
standard library; beside this file: what perslm.toml may say (card.py), the factory reset (reset.py), LED and
network's signs (signs.py). No secret is in the log.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import card as cards
import reset
import signs

_LOG_LINES = 200
_PERSLM = "/opt/perslm/bin/perslm"
_SEED = "perslm-host.json"  # what `perslm-host seed` writes
_DATA = "/var/lib/perslm"
_FILES = ("--service", "--files-only")  # the broker's unit waits for this one: to restart it here would never end
_PROGRAM_S = 600.0  # a limit for every program that is started: emulation is 50 times slower than a board


class StepError(Exception):
    """A step could not be done; the message is for the log on the boot partition."""


def _run(*command: str, words: str | None = None) -> str:
    done = subprocess.run(command, input=words, capture_output=True, text=True, check=False, timeout=_PROGRAM_S)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise StepError(f"{Path(command[0]).name}: {last[0][:200]}")
    return done.stdout


@dataclass(slots=True)
class Board:
    """The machine under `root`, and where its boot partition is. `run` starts a program and returns its output."""

    root: Path = Path("/")
    run: Callable[..., str] = field(default=_run)

    @property
    def boot(self) -> Path:
        """The FAT partition's folder."""
        return self.root / "boot/firmware"

    @property
    def state(self) -> Path:
        """What was done, as JSON."""
        return self.root / "var/lib/perslm-firstboot/state.json"


def write(path: Path, text: str, mode: int = 0o644) -> bool:
    """Put `text` into a file in one rename; False where it was there already. Folders are made."""
    if path.is_file() and not path.is_symlink() and path.read_text(encoding="utf-8") == text:
        path.chmod(mode)
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def grow_root(board: Board) -> str:
    """Make the root partition and its file system as large as the card. Harmless where it is already."""
    source = board.run("findmnt", "-n", "-o", "SOURCE", "/").strip()
    name = Path(source).resolve().name
    system = board.root / "sys/class/block" / name
    if not (system / "partition").is_file():
        return "the root is no partition: nothing to grow"
    number = (system / "partition").read_text().strip()
    disk = "/dev/" + system.resolve().parent.name
    whole = int((system.resolve().parent / "size").read_text())
    used = int((system / "start").read_text()) + int((system / "size").read_text())
    if whole - used > 16 * 2048:  # 16 MiB: what alignment and the second table leave
        if (
            board.run("lsblk", "-n", "-d", "-o", "PTTYPE", disk).strip() == "gpt"
        ):  # a Raspberry Pi's card has an MBR
            board.run("sfdisk", "--no-reread", "--relocate", "gpt-bak-std", disk)
        board.run("sfdisk", "--no-reread", "--force", "-N", number, disk, words=", +\n")
        board.run("partx", "--update", "--nr", number, disk)
    board.run("resize2fs", source)
    return f"{disk} has {whole // 2048} MiB"


def host_keys(board: Board) -> str:
    """SSH's own keys: every card has to draw its own."""
    if any((board.root / "etc/ssh").glob("ssh_host_*_key")):
        return "there"
    board.run("ssh-keygen", "-A")
    return "drawn"


def name_host(board: Board, card: cards.Card) -> str:
    """The host name: the file's, else one drawn once, which is then the node's name too."""
    path = board.root / "etc/hostname"
    now = path.read_text(encoding="utf-8").strip() if path.is_file() else ""
    name = card.hostname or (now if now not in ("", "localhost") else f"perslm-{secrets.token_hex(2)}")
    write(path, name + "\n")
    write(board.root / "etc/hosts", f"127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost\n")
    board.run("hostname", name)
    return name


def set_timezone(board: Board, card: cards.Card) -> str:
    """The time zone, as a link and as Debian's text file."""
    if not card.timezone:
        return "as it was"
    if not (board.root / "usr/share/zoneinfo" / card.timezone).is_file():
        raise StepError(f"`timezone` {card.timezone!r} does not exist: a name such as Europe/Berlin")
    fresh = board.root / "etc/.localtime.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(f"/usr/share/zoneinfo/{card.timezone}")
    fresh.replace(board.root / "etc/localtime")
    write(board.root / "etc/timezone", card.timezone + "\n")
    return card.timezone


def join_wifi(board: Board, card: cards.Card) -> str:
    """NetworkManager's profile; stars in place of the password keep the one that is known."""
    path = board.root / "etc/NetworkManager/system-connections/perslm-wifi.nmconnection"
    wifi = card.wifi
    if wifi is None:
        return "not asked for"
    password = wifi.password
    if cards.taken(password):
        known = re.search(r"(?m)^psk=(.*)$", path.read_text(encoding="utf-8")) if path.is_file() else None
        if known is None:
            raise StepError("`wifi.password` is only stars, and no password is known: write it again")
        password = known[1]
    security = f"\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={password}\n" if password else ""
    write(
        path,
        "[connection]\nid=perslm-wifi\ntype=wifi\nautoconnect-retries=0\n\n"
        f"[wifi]\nmode=infrastructure\nssid={_bytes(wifi.ssid)}\nhidden={str(wifi.hidden).lower()}\n{security}\n"
        "[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n",
        0o600,
    )
    write(board.root / "etc/modprobe.d/perslm-wifi.conf", f"options cfg80211 ieee80211_regdom={wifi.country}\n")
    return "written"


def _bytes(ssid: str) -> str:
    """A network's name as NetworkManager reads it whatever is in it: numbers with semicolons."""
    return "".join(f"{byte};" for byte in ssid.encode())


def allow_ssh(board: Board, card: cards.Card) -> str:
    """The keys that may log in as root. Without one no log-in is possible at all."""
    path = board.root / "root/.ssh/authorized_keys"
    if not card.ssh_keys:
        return "no key: nobody can log in over the network"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write(path, "".join(f"{key}\n" for key in card.ssh_keys), 0o600)
    return f"{len(card.ssh_keys)} keys"


def configure(board: Board, card: cards.Card) -> str:
    """/etc/perslm/perslm.toml, tried by PersLM before it is put in place."""
    name = (board.root / "etc/hostname").read_text(encoding="utf-8").strip()
    broker = card.mqtt.broker
    if broker != "own" and card.mqtt.user:
        scheme, _, rest = broker.partition("://")
        broker = f"{scheme}://{card.mqtt.user}@{rest}"
    settings = {key: dict(value) if isinstance(value, dict) else value for key, value in card.settings.items()}
    settings.setdefault("node", name)
    settings["mqtt"] = {"broker": broker, **settings.get("mqtt", {})}
    text = "# Written from the boot partition's perslm.toml whenever that changes.\n" + cards.toml(settings)
    path = board.root / "etc/perslm/perslm.toml"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return "as it was"
    trial = board.root / "run/perslm-trial.toml"
    write(trial, text)
    board.run(_PERSLM, "--config", str(trial), "config")
    trial.unlink()
    write(path, text)
    return "written"


def open_broker(board: Board, card: cards.Card) -> str:
    """Our own broker's files, its user, and the password for another's broker in systemd's store."""
    mqtt = card.mqtt
    if mqtt.broker != "own":
        if mqtt.password and not cards.taken(mqtt.password):
            write(board.root / "etc/credstore/perslm.mqtt_password", mqtt.password, 0o600)
        return "another's"
    host = mqtt.listen or "127.0.0.1"
    board.run(_PERSLM, "broker", "listen", f"[{host}]:1883" if ":" in host else f"{host}:1883", *_FILES)
    if mqtt.user and mqtt.password and not cards.taken(mqtt.password):
        user = ("broker", "user", mqtt.user, "--hub", "--password-file", "-", *_FILES)
        board.run(_PERSLM, *user, words=mqtt.password)
    return f"our own, on {host}"


def seal(board: Board) -> str:
    """Every secret of systemd's plain store into its encrypted one; the plain file goes when the other is there.

    The key is this board's TPM where it has one, else a file on the card, drawn at first use. Where systemd cannot
    encrypt, the secrets stay where they are, readable by root alone, and the log says so.
    """
    plain = sorted((board.root / "etc/credstore").glob("perslm.*"))
    if not plain:
        return "nothing new"
    key, where = (
        ("host+tpm2", "this board's TPM") if _has_tpm(board) else ("host", "a key on this card: no TPM here")
    )
    for path in plain:
        name = f"{path.name}.sealed"
        words = path.read_text(encoding="utf-8")
        given = ("encrypt", f"--with-key={key}", f"--name={name.removeprefix('perslm.')}", "-", "-")
        try:
            text = board.run("systemd-creds", *given, words=words)
        except (StepError, OSError, subprocess.SubprocessError) as error:
            return f"NOT encrypted, for root's eyes only: {error}"
        write(board.root / "etc/credstore.encrypted" / name, text, 0o600)
        _unwrite(path, words)
    return f"{len(plain)} encrypted, with {where}"


def _has_tpm(board: Board) -> bool:
    try:
        board.run("systemd-creds", "has-tpm2", "--quiet")
    except (StepError, OSError, subprocess.SubprocessError):
        return False
    return True


def _unwrite(path: Path, words: str) -> None:
    """Remove a file after stars were written over it: one that is only deleted can be read back from a card."""
    with path.open("r+b") as file:
        file.write(b"*" * len(words.encode()))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def know_host(board: Board, _card: cards.Card) -> str:
    """The account with a training host that was prepared for this card: taken over, then taken off the card."""
    seed = board.boot / _SEED
    if not seed.is_file():
        return "none was prepared"
    words = seed.read_text(encoding="utf-8")
    as_perslm = ("runuser", "-u", "perslm", "--", "env", f"PERSLM_DATA_DIR={_DATA}")
    board.run(*as_perslm, _PERSLM, "sync", "enroll", "--seed", "-", words=words)
    _unwrite(seed, words)
    return "known, and off the card"


def wipe(board: Board, raw: bytes) -> str:
    """Write stars over the passwords on the boot partition, in place: the file can be read at every moment."""
    path = board.boot / cards.NAME
    clean = cards.wiped(raw)
    if clean != raw:
        with path.open("r+b") as file:
            file.write(clean)
            file.flush()
            os.fsync(file.fileno())
    return "wiped" if clean != raw else "there was none"


class Journal:
    """The log on the boot partition, for somebody who puts the card into a PC; it never stops the boot."""

    def __init__(self, board: Board) -> None:
        self._path = board.boot / "perslm-log.txt"
        self._lines: list[str] = []

    def say(self, text: str) -> None:
        """One line, on the console, and in the file at the next `keep`."""
        print(text, flush=True)
        self._lines.append(f"{time.strftime('%Y-%m-%d %H:%M:%S')}Z {text}")

    def keep(self) -> None:
        """Write the file anew, its oldest lines left out."""
        try:
            before = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
            write(self._path, "\n".join([*before, *self._lines][-_LOG_LINES:]) + "\n")
            self._lines.clear()
        except OSError as error:
            print(f"the log on the boot partition cannot be written: {error}", flush=True)


def main(board: Board) -> int:
    """Do all steps. Returns 1 where one failed: the unit then shows as failed, and the next boot tries again."""
    journal = Journal(board)
    was = signs.before(board.root)
    signs.show(board.root, signs.WORKING, was, board.run)
    failed = _do(board, journal)
    signs.show(board.root, signs.MISSING if failed else signs.READY, was, board.run)
    return 1 if failed else 0


def _do(board: Board, journal: Journal) -> bool:
    """Every step. Returns whether one failed."""
    reset_failed = False
    if (wish := reset.asked(board.root, board.boot)) is not None:
        reset_failed = not _step(journal, "factory reset", forget, board, wish)
        journal.keep()
    raw = _card_bytes(board)
    state = json.loads(board.state.read_text(encoding="utf-8")) if board.state.is_file() else {}
    failed = [
        not _step(journal, title, step, board)
        for title, step in (("card", grow_root), ("SSH's own keys", host_keys))
        if title not in state.get("once", [])
    ]
    failed.append(reset_failed)
    if state.get("file") == _digest(raw) and not any(failed) and not (board.boot / _SEED).exists():
        if any((board.root / "etc/credstore").glob("perslm.*")):  # written since by hand or `perslm broker`
            _step(journal, "credentials", seal, board)
            journal.keep()
        return False
    failed.append(not _apply(board, journal, raw))
    if not any(failed):
        once = ["card", "SSH's own keys"]
        write(board.state, json.dumps({"file": _digest(_card_bytes(board)), "once": once}) + "\n")
        journal.say("ready to start PersLM")
    else:
        journal.say("something is missing, see above. Put this card into a PC, correct perslm.toml, and try again")
    journal.keep()
    return any(failed)


def forget(board: Board, wish: str) -> str:
    """The factory reset; the flash is told what is free, as far as it listens."""

    def settle() -> None:
        board.run("sync")
        try:
            board.run("fstrim", "/")
        except StepError as error:
            print(f"the card's flash was not trimmed: {error}", flush=True)

    return reset.run(board.root, board.boot, wish, settle)


def _card_bytes(board: Board) -> bytes:
    path = board.boot / cards.NAME
    return path.read_bytes() if path.is_file() else b""


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _apply(board: Board, journal: Journal, raw: bytes) -> bool:
    """What the file asks for. With a mistake in it nothing of it is done, and its secrets stay where they are."""
    try:
        card = cards.read(raw)
    except cards.CardError as error:
        for mistake in error.mistakes:
            journal.say(f"perslm.toml: {mistake}")
        return False
    steps: Sequence[tuple[str, Callable[[Board, cards.Card], str]]] = (
        ("host name", name_host),
        ("time zone", set_timezone),
        ("Wi-Fi", join_wifi),
        ("log-in", allow_ssh),
        ("configuration", configure),
        ("broker", open_broker),
        ("training host", know_host),
    )
    done = [_step(journal, title, step, board, card) for title, step in steps]
    done.append(_step(journal, "credentials", seal, board))
    return all(done) and _step(journal, "passwords on the card", wipe, board, raw)


def _step(journal: Journal, title: str, step: Callable[..., str], *arguments: object) -> bool:
    try:
        journal.say(f"{title}: {step(*arguments)}")
    except (StepError, OSError, ValueError, subprocess.SubprocessError) as error:
        journal.say(f"{title}: FAILED: {error}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(Board()))
