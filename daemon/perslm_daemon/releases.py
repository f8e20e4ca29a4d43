"""New releases of PersLM itself: looked for, verified by the signatures that models have, laid beside the old one.

Root's business, not the daemon's, which can write no program. It ends where a release lies in its place; the
change-over, the trial and the way back are build/image/release_gate.py's, outside every release.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perslm_daemon.update_host import FOLDER
from perslm_runtime import __version__
from perslm_runtime.bundle import APP, Manifest, channel_path, read_channel, release_channel, unfit
from perslm_runtime.bundles import Bringing, bring, look_up
from perslm_runtime.errors import BundleRefused, CatalogError, InputError
from perslm_runtime.fetch import Progress
from perslm_runtime.fingerprint import sync_tree
from perslm_runtime.lane import Stop

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config
    from perslm_runtime.trust import Trust

ARCHIVE = "release.tar.zst"
_GATE = Path("usr/local/lib/perslm/release_gate.py")
_MACHINES = {"aarch64": "arm64", "x86_64": "amd64"}
_SPARE_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Card:
    """Where things are on a card whose root is `root`."""

    root: Path = Path("/")

    @property
    def releases(self) -> Path:
        """One folder for each release."""
        return self.root / "opt/perslm-releases"

    @property
    def state(self) -> Path:
        """Root's own: what is trusted, what was fetched, the book of the gate."""
        return self.root / "var/lib/perslm-release"

    @property
    def service_data(self) -> Path:
        """The service's folder, which the service may write: nothing in it is believed."""
        return self.root / "var/lib/perslm"

    @property
    def anchor(self) -> Path:
        """The root metadata that releases are judged by."""
        return self.state / "root.json"

    @property
    def gate(self) -> Path:
        """The program that changes over, outside every release."""
        return self.root / _GATE

    def current(self) -> str:
        """The release in force. Raises `InputError` where PersLM came by a package or `make install`."""
        link = self.root / "opt/perslm"
        if not link.is_symlink() or not self.gate.is_file():
            raise InputError(
                "PersLM did not come with a card here: a package is updated by `apt upgrade`, an installation by "
                "`make install`"
            )
        return link.readlink().name

    def board_id(self) -> str:
        """What decides which share of a roll-out this board is in; "" before its daemon has ever run."""
        file = self.service_data / "identity"
        return file.read_text(encoding="ascii", errors="replace").strip() if file.is_file() else ""

    def book(self) -> dict[str, Any]:
        """What the gate knows: `trial`, `refused`, `history`, `former`."""
        file = self.state / "book.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return {"trial": None, "refused": {}, "history": [], "former": "", **found}


def release_id() -> str:
    """What releases for this processor and this Python are called: `perslm-arm64-py3.13`."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"perslm-{_MACHINES.get(platform.machine(), platform.machine())}-py{python}"


def offered_anchor(config: Config, card: Card) -> tuple[bytes, str]:
    """The root metadata a person may decide to trust, and where it lies. Raises `InputError`."""
    named = config.sync.root_file
    for file in (*([named] if named else []), card.service_data / FOLDER / "root.json"):
        if file.is_file():
            return file.read_bytes(), str(file)
    raise InputError("there is no training host here: `perslm sync enroll URL` first, or set sync.root_file")


def trust(card: Card, anchor: bytes) -> None:
    """Judge releases by this root metadata from now on; what was known by another is forgotten."""
    card.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(card.state / "trust", ignore_errors=True)
    fresh = card.anchor.with_name(".root.json.new")
    fresh.write_bytes(anchor)
    fresh.replace(card.anchor)


def follow(config: Config, card: Card, stop: Stop) -> Trust:
    """The repository by root's own anchor; only addresses come from the service's folder."""
    from perslm_runtime.host_account import HostAccount  # noqa: PLC0415 - 27 MB that only an update needs
    from perslm_runtime.trust import Trust  # noqa: PLC0415 - as above

    if not card.anchor.is_file():
        raise InputError(
            "it is not said yet whose releases are taken: `sudo perslm update trust` shows and keeps it"
        )
    mirrors = [part.strip() for part in config.sync.mirrors.split(",") if part.strip()]
    tls = None
    folder = card.service_data / FOLDER
    account = HostAccount.of(folder) if (folder / "url").is_file() else None
    if account is not None:
        mirrors, tls = [account.url, *mirrors], account.context()
        tls.load_default_certs()
    return Trust(card.state / "trust", card.anchor.read_bytes(), mirrors, now=time.time, stop=stop, tls=tls)


def look(config: Config, card: Card, source: Trust, board_id: str) -> Manifest | None:
    """The release this board shall have, or None where it has it. Raises `BundleRefused`, `FetchError`."""
    now = card.current()
    source.refresh()
    path = channel_path(release_channel(config.sync.channel))
    if source.target(path) is None:
        return None
    channel = read_channel(source.read(path))
    for bundle, version in channel.for_board(board_id, (APP,)):
        if bundle != release_id():
            continue
        manifest = look_up(source, bundle, version)
        if manifest.name == now or version <= version_of(now):
            return None
        if manifest.name in (refused := card.book()["refused"]):
            raise BundleRefused(f"{manifest.name} was tried and went back: {refused[manifest.name]}")
        if why := unfit(manifest, board=config.profile, app=__version__):
            raise BundleRefused(why)
        return manifest
    return None


def version_of(name: str) -> int:
    """The number at a release's end; 0 for the one that came with the card."""
    found = re.search(r"-v(\d+)$", name)
    return int(found[1]) if found else 0


def take(manifest: Manifest, card: Card, source: Trust, report: Callable[[Progress], None], stop: Stop) -> Path:
    """Fetch, verify and unpack a release into its folder, which appears by one rename; returns it.

    Raises `BundleRefused` for what is not as signed or reaches out of its folder, `CatalogError` for a full disk.
    """
    home = card.releases / manifest.name
    if home.is_dir():
        return home
    if [file.path for file in manifest.files] != [ARCHIVE]:
        raise BundleRefused(f"{manifest.name} is no release: it holds other files than {ARCHIVE}")
    fetched = bring(manifest=manifest, trust=source, models_dir=card.state / "bundles", how=Bringing(report, stop))
    fresh = card.releases / f".{manifest.name}"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        unpack(fetched / ARCHIVE, fresh, stop)
        sync_tree(fresh)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise CatalogError(
            f"{manifest.name} cannot be unpacked ({error.strerror or error}): free some room"
        ) from error
    fresh.rename(home)
    shutil.rmtree(card.state / "bundles", ignore_errors=True)
    return home


def unpack(archive: Path, folder: Path, stop: Stop) -> None:
    """Unpack a release. Raises `BundleRefused` for a member that reaches out, or is no file, folder or link."""
    folder.mkdir(parents=True)
    if shutil.disk_usage(folder).free < archive.stat().st_size * 4 + _SPARE_BYTES:
        raise CatalogError(f"{folder.parent} has too little room for a release: free some, then type this again")
    with subprocess.Popen(["zstd", "-dcq", archive], stdout=subprocess.PIPE) as plain:
        try:
            with tarfile.open(fileobj=plain.stdout, mode="r|") as members:
                for member in members:
                    stop.check()
                    members.extract(member, folder, filter=_only_inside, numeric_owner=True)
        except tarfile.TarError as error:
            raise BundleRefused(f"{archive.name} is not a release: {error}") from error
        finally:
            plain.kill()
    if not (folder / "bin/perslm").is_file():
        raise BundleRefused(f"{archive.name} is not a release: it has no bin/perslm")


def _only_inside(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """tarfile's own judgement of data, but for one link to the system's Python; every file becomes root's."""
    if member.issym() and (member.name.removeprefix("./"), member.linkname) == ("bin/python", "/usr/bin/python3"):
        return member.replace(uid=0, gid=0, uname="", gname="", deep=False)
    return tarfile.data_filter(member, folder).replace(
        uid=0, gid=0, uname="", gname="", mode=member.mode & 0o755, deep=False
    )


def gate_command(card: Card) -> list[str | Path]:
    """How the gate is started: by the system's Python, which no release brings."""
    return ["/usr/bin/python3", card.gate, "--root", card.root]


def change_over(card: Card, name: str) -> None:
    """Hand over to the gate, which survives the end of this program."""
    done = subprocess.run([*gate_command(card), "change-over", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CatalogError(f"{name} is here and could not be put in place: {done.stderr.strip()}")
    if card.root == Path("/"):
        subprocess.run(["systemctl", "restart", "--no-block", "perslm-release.service"], check=False)
