"""The repository that boards update from: bundles, channels, and the signatures over both (TUF).

A folder that any static web server can serve: metadata/ and targets/. Nothing here opens a port. What is published
is never changed in place: a bundle's version is its content, a retraction a new, higher version of the metadata.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.repository import Repository as TufRepository

from perslm_runtime.bundle import (
    APP,
    MANIFEST,
    Channel,
    Manifest,
    Offer,
    channel_path,
    manifest_path,
    read_channel,
    read_manifest,
    release_channel,
    write_manifest,
)
from perslm_runtime.catalog_file import BOARDS
from perslm_runtime.errors import ConfigError, InputError
from perslm_runtime.fingerprint import sync
from perslm_training_host.signing_keys import ROLES, SigningKeys

CHANNELS = ("stable", "beta")
_ALL_CHANNELS = (*CHANNELS, *map(release_channel, CHANNELS))
# A stolen timestamp key can hold boards back for this long; a host that is off for a week-end must not matter.
EXPIRES = {"root": timedelta(days=730), "targets": timedelta(days=365), "snapshot": timedelta(days=30)}
_TIMESTAMP_EXPIRES = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Published:
    """A bundle that is in the repository, and the channels that offer it with their percentage."""

    manifest: Manifest
    offered: Mapping[str, int]
    retracted: bool


class Repository(TufRepository):
    """The repository in `folder`, signed with `keys`; `now` gives the time for expiry."""

    def __init__(
        self, folder: Path, keys: SigningKeys, *, now: Any = None, thresholds: Mapping[str, int] | None = None
    ) -> None:
        self.folder, self._keys = folder, keys
        self._now = now or (lambda: datetime.now(UTC))
        self._thresholds = {**dict.fromkeys(ROLES, 1), **(thresholds or {})}

    # -------------------------------------------------------------- what a host does

    @classmethod
    def create(
        cls, folder: Path, keys: SigningKeys, *, now: Any = None, thresholds: Mapping[str, int] | None = None
    ) -> Repository:
        """Begin a repository; keys that are missing are made. Raises `InputError` where there is one already."""
        made = cls(folder, keys, now=now, thresholds=thresholds)
        if made._latest("root"):
            raise InputError(f"{folder} is a repository already: choose another folder")
        (folder / "metadata").mkdir(parents=True, exist_ok=True)
        (folder / "targets").mkdir(exist_ok=True)
        with made.edit_root() as root:
            root.consistent_snapshot = True
            for role in ROLES:
                root.roles[role].threshold = made._thresholds[role]
                while len(keys.of(role)) < made._thresholds[role]:
                    keys.make(role)
                for signer in keys.of(role):
                    root.add_key(signer.public_key, role)
        with made.edit_targets():
            pass
        for channel in CHANNELS:
            made._write_channel(channel, Channel())
        made.sign()
        return made

    @property
    def anchor(self) -> Path:
        """The root metadata that boards are given once; every later root is signed by the one before."""
        return self.folder / "metadata" / "1.root.json"

    def publish(self, source: Path) -> Manifest:
        """Take the bundle in the folder `source` in: its manifest and files, checked and signed.

        Offered to nobody yet: `promote` does that. The same content may be published again. Raises `InputError`
        for files that are not what the manifest says, and for a version that has other content already.
        """
        self.expiries()
        if not (source / MANIFEST).is_file():
            raise InputError(f"{source} holds no {MANIFEST}: docs/updates.md says what a bundle is")
        manifest = read_manifest((source / MANIFEST).read_bytes(), str(source / MANIFEST))
        if strange := [name for name in manifest.boards if name not in BOARDS]:
            raise InputError(f"there is no board profile {strange[0]!r}: profiles are {', '.join(BOARDS)}")
        text = write_manifest(manifest)
        path = manifest_path(manifest.id, manifest.version)
        known = self.targets().targets.get(path)
        if known is not None:
            if known != TargetFile.from_data(path, text, ["sha256"]):
                raise InputError(f"{manifest.name} is published with other content: count its version up")
            return manifest
        added = [self._take(path, text)]
        for file in manifest.files:
            added += self._take_file(source / file.path, file.size, file.sha256)
            for delta in file.deltas:
                added += self._take_file(source / "deltas" / delta.sha256, delta.size, delta.sha256)
        with self.edit_targets() as targets:
            for target in added:
                targets.targets[target.path] = target
        self.sign()
        return manifest

    def promote(self, bundle: str, version: int, channel: str, percent: int = 100) -> Channel:
        """Offer a published version on a channel to `percent` of its boards. Raises `InputError`."""
        if not 1 <= percent <= 100:
            raise InputError("percent has to be 1 to 100; `retract` takes a version back")
        manifest = self._published(bundle, version)
        if channel in CHANNELS and manifest.kind == APP:
            channel = release_channel(channel)  # boards' daemons look at the other and know no such kind
        before = self.channel(channel)
        if (bundle, version) in before.retracted_versions():
            raise InputError(f"{manifest.name} was retracted: publish what mends it as version {version + 1}")
        full = before.full(bundle, manifest.kind)
        offer = Offer(bundle, version, manifest.kind, percent, full if percent < 100 else None)
        others = [one for one in before.offers if one.kind != manifest.kind or one.id != bundle]
        after = msgspec.structs.replace(before, offers=(*others, offer))
        self._write_channel(channel, after)
        self.sign()
        return after

    def retract(self, bundle: str, version: int) -> list[str]:
        """Take a version back on every channel; boards that use it go back. Returns the channels it was new to."""
        manifest = self._published(bundle, version)
        touched = []
        for channel in map(release_channel, CHANNELS) if manifest.kind == APP else CHANNELS:
            before = self.channel(channel)
            offers = []
            for one in before.offers:
                if (one.id, one.version) != (bundle, version):
                    offers.append(one)
                elif one.before:
                    offers.append(Offer(one.id, one.before, one.kind, 100, None))
            retracted = tuple(dict.fromkeys((*before.retracted, f"{bundle}-v{version}")))
            if retracted != before.retracted:
                self._write_channel(
                    channel, msgspec.structs.replace(before, offers=tuple(offers), retracted=retracted)
                )
                touched.append(channel)
        self.sign()
        return touched

    def halt(self, bundle: str, version: int) -> list[str]:
        """Offer a staged version to nobody new; boards that use it keep it. Returns its channels."""
        self._published(bundle, version)
        touched = []
        for channel in CHANNELS:
            before = self.channel(channel)
            offers = tuple(
                msgspec.structs.replace(one, percent=0)
                if (one.id, one.version) == (bundle, version) and 0 < one.percent < 100
                else one
                for one in before.offers
            )
            if offers != before.offers:
                self._write_channel(channel, msgspec.structs.replace(before, offers=offers))
                touched.append(channel)
        self.sign()
        return touched

    def sign(self, *, fresh: bool = False) -> None:
        """Bring snapshot and timestamp up to date; `fresh` signs both anew before they expire."""
        self.do_snapshot(force=fresh)
        self.do_timestamp(force=fresh)

    def rotate(self, role: str) -> list[str]:
        """Make new keys for a role, as many as have to sign together, and let its old ones go. Returns their ids.

        The new root is signed with the old root keys, too, so boards follow it by themselves.
        """
        self.expiries()
        if role not in ROLES:
            raise InputError(f"there is no role {role!r}: roles are {', '.join(ROLES)}")
        made = [self._keys.make(role) for _ in range(self.root().roles[role].threshold)]
        with self.edit_root() as root:
            for key in list(root.roles[role].keyids):
                root.revoke_key(key, role)
            for signer in made:
                root.add_key(signer.public_key, role)
        if role == "targets":
            with self.edit_targets():
                pass
        self.sign(fresh=True)
        return [str(signer.public_key.keyid) for signer in made]

    def channel(self, name: str) -> Channel:
        """What a channel offers. Raises `InputError` for a name that is none."""
        if name not in _ALL_CHANNELS:
            raise InputError(f"there is no channel {name!r}: channels are {', '.join(CHANNELS)}")
        target = self.targets().targets.get(channel_path(name))
        if target is None:
            return Channel()
        data = (self._target_file(channel_path(name), target.hashes["sha256"])).read_bytes()
        return read_channel(data)

    def expiries(self) -> dict[str, str]:
        """Until when each role is signed, as ISO 8601. Raises `InputError` where there is no repository."""
        if not self._latest("root"):
            raise InputError(f"{self.folder} is no repository: `perslm-host keys init` begins one")
        return {role: self.open(role).signed.expires.isoformat() for role in ROLES}

    def bundles(self) -> list[Published]:
        """Every bundle that is published, newest last."""
        self.expiries()
        found = []
        channels = {name: self.channel(name) for name in _ALL_CHANNELS}
        for path, target in self.targets().targets.items():
            if path.startswith("bundles/"):
                manifest = read_manifest(self._target_file(path, target.hashes["sha256"]).read_bytes(), path)
                key = (manifest.id, manifest.version)
                offered = {
                    name: one.percent
                    for name, channel in channels.items()
                    for one in channel.offers
                    if (one.id, one.version) == key
                }
                retracted = any(key in channel.retracted_versions() for channel in channels.values())
                found.append(Published(manifest, offered, retracted))
        return sorted(found, key=lambda one: (one.manifest.id, one.manifest.version))

    # -------------------------------------------------------------- python-tuf's storage

    def open(self, role: str) -> Metadata[Any]:
        """The newest metadata of a role, or its first version."""
        version = self._latest(role)
        if version:
            return Metadata.from_file(str(self._metadata_file(role, version)))
        if role == "root" or not self._latest("root"):
            first: Signed = Root() if role == "root" else Targets()
        else:
            first = {"targets": Targets, "snapshot": Snapshot, "timestamp": Timestamp}[role]()
        first.version = 0
        return Metadata(first)

    def close(self, role: str, md: Metadata[Any]) -> None:
        """Sign the next version of a role's metadata with every key that is here, and write it."""
        before = self._root_before() if role == "root" else None
        md.signed.version += 1
        md.signed.expires = (self._now() + EXPIRES.get(role, _TIMESTAMP_EXPIRES)).replace(microsecond=0)
        md.signatures.clear()
        root = md.signed if isinstance(md.signed, Root) else self.root()
        for signer in self._signers(role, root, before):
            md.sign(signer, append=True)
        for judge in [root, *([before] if before else [])]:
            try:
                judge.verify_delegate(role, md.signed_bytes, md.signatures)
            except UnsignedMetadataError as error:
                needed = judge.roles[role].threshold
                raise ConfigError(
                    f"{role} needs {needed} of its keys and {len(md.signatures)} are here: name the folder or the "
                    "medium that holds the others with --keys"
                ) from error
        self._write(self._metadata_file(role, md.signed.version), md.to_bytes())

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        """The version of the targets metadata, for the snapshot."""
        return {"targets.json": MetaFile(self.targets().version)}

    @property
    def snapshot_info(self) -> MetaFile:
        """The version of the snapshot, for the timestamp."""
        return MetaFile(self.snapshot().version)

    # -------------------------------------------------------------- inside

    def _signers(self, role: str, root: Root, before: Root | None) -> Iterator[CryptoSigner]:
        wanted = set(root.roles[role].keyids) | set(before.roles[role].keyids if before else ())
        return (signer for signer in self._keys.of(role) if signer.public_key.keyid in wanted)

    def _root_before(self) -> Root | None:
        version = self._latest("root")
        return Metadata[Root].from_file(str(self._metadata_file("root", version))).signed if version else None

    def _latest(self, role: str) -> int:
        if role == "timestamp":
            return 1 if self._metadata_file(role, 0).is_file() else 0
        names = (path.name.partition(".")[0] for path in (self.folder / "metadata").glob(f"*.{role}.json"))
        return max((int(name) for name in names if name.isdecimal()), default=0)

    def _metadata_file(self, role: str, version: int) -> Path:
        name = "timestamp.json" if role == "timestamp" else f"{version}.{role}.json"
        return self.folder / "metadata" / name

    def _target_file(self, path: str, sha256: str) -> Path:
        name = Path(path)
        return (
            self.folder
            / "targets"
            / (name if name.parts[0] == "files" else name.with_name(f"{sha256}.{name.name}"))
        )

    def _published(self, bundle: str, version: int) -> Manifest:
        for one in self.bundles():
            if (one.manifest.id, one.manifest.version) == (bundle, version):
                return one.manifest
        raise InputError(f"{bundle} version {version} is not published here: `perslm-host status` lists what is")

    def _write_channel(self, name: str, channel: Channel) -> None:
        target = self._take(channel_path(name), msgspec.json.encode(channel))
        with self.edit_targets() as targets:
            targets.targets[target.path] = target

    def _take(self, path: str, data: bytes) -> TargetFile:
        target = TargetFile.from_data(path, data, ["sha256"])
        self._write(self._target_file(path, target.hashes["sha256"]), data)
        return target

    def _take_file(self, source: Path, size: int, sha256: str) -> list[TargetFile]:
        path = f"files/{sha256}"
        try:
            target = TargetFile.from_file(path, str(source), ["sha256"])
        except OSError as error:
            raise InputError(
                f"{source} cannot be read ({error.strerror}): a bundle's folder holds all its files"
            ) from error
        if (target.length, target.hashes["sha256"]) != (size, sha256):
            raise InputError(
                f"{source} is not as its manifest says: {target.length} bytes, sha256 {target.hashes['sha256']}"
            )
        place = self._target_file(path, sha256)
        if not place.is_file():
            with self._aside(place) as draft:
                shutil.copyfile(source, draft)
        return [target]

    def _write(self, place: Path, data: bytes) -> None:
        with self._aside(place) as draft:
            draft.write_bytes(data)

    @contextmanager
    def _aside(self, place: Path) -> Iterator[Path]:
        """A draft that appears under its name whole and synced, or not at all."""
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            yield draft
            sync(draft)
            draft.replace(place)
            sync(place.parent)
        finally:
            draft.unlink(missing_ok=True)
