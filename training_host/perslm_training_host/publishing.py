"""`perslm-host keys|publish|promote|retract|status|sign`: what boards may take, signed by the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from perslm_runtime.bundle import Manifest, fingerprint_of
from perslm_runtime.errors import InputError
from perslm_training_host.console import Session, command_group, put, put_json, session_of
from perslm_training_host.repository import CHANNELS, Published, Repository
from perslm_training_host.signing_keys import PASSPHRASE, ROLES, SigningKeys

Folder = Annotated[
    Path, typer.Option("--repository", envvar="PERSLM_HOST_REPOSITORY", help="The repository's folder.")
]
Keys = Annotated[
    list[Path] | None,
    typer.Option(
        "--keys", help="A folder of keys, several times for several media; REPOSITORY-keys where not said."
    ),
]
Bundle = Annotated[str, typer.Argument(help="The bundle's id.")]
Version = Annotated[int, typer.Argument(help="Its version.")]
_HERE = Path("repository")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    keys = command_group(app, "keys", "The repository and the keys that sign for it.")
    keys.command("init")(init)
    keys.command("rotate")(rotate)
    for verb in (publish, promote, halt, retract, status, sign):
        app.command()(verb)


def init(
    context: typer.Context,
    folder: Folder = _HERE,
    keys: Keys = None,
    *,
    root: Annotated[int, typer.Option(help="Root keys that have to sign together.")] = 1,
    targets: Annotated[int, typer.Option(help="Targets keys that have to sign together.")] = 1,
) -> None:
    """Begin a repository: make its keys, and the root metadata that every board is given once."""
    thresholds = {"root": root, "targets": targets}
    made = Repository.create(folder, _keys(folder, keys), thresholds=thresholds)
    if session_of(context).json:
        put_json({"repository": folder, "root_file": made.anchor})
        return
    put(f"repository  {folder}")
    put(f"for boards  {made.anchor}  (sync.root_file)")
    put(f"keys        {', '.join(map(str, _folders(folder, keys)))}")
    put("            root-*.pem and targets-*.pem belong on another medium, which --keys names")
    if not os.environ.get(PASSPHRASE):
        put(f"            they are not encrypted: set {PASSPHRASE} to make encrypted ones")


def rotate(
    context: typer.Context,
    role: Annotated[str, typer.Argument(help=f"One of {', '.join(ROLES)}.")],
    folder: Folder = _HERE,
    keys: Keys = None,
) -> None:
    """Make new keys for a role, as many as sign together, and let its old ones go; boards follow by themselves."""
    made = _open(folder, keys).rotate(role)
    shown = " and ".join(key[:16] for key in made)
    _tell(context, {"role": role, "keys": made}, f"{role} is signed with {shown} from now on")


def publish(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="The bundle's folder: bundle.json and the files it names.")],
    folder: Folder = _HERE,
    keys: Keys = None,
) -> None:
    """Check and sign a bundle; `promote` offers it to boards."""
    manifest = _open(folder, keys).publish(source)
    parts = {"evaluation report": manifest.evaluation, "data card": manifest.data}
    without = [name for name, content in parts.items() if not content]
    said = f"published {manifest.name} ({manifest.size / 1e6:.1f} MB{''.join(f', no {name}' for name in without)})"
    offers = f"`perslm-host promote {manifest.id} {manifest.version}` offers it"
    _tell(context, {**_data(manifest), "without": without}, f"{said}: {offers}")


def promote(
    context: typer.Context,
    bundle: Bundle,
    version: Version,
    folder: Folder = _HERE,
    keys: Keys = None,
    *,
    channel: Annotated[str, typer.Option(help=f"One of {', '.join(CHANNELS)}.")] = "stable",
    percent: Annotated[int, typer.Option(help="Of the boards; the others keep what they are offered now.")] = 100,
) -> None:
    """Offer a published version to the boards of a channel, or to a share of them first."""
    _open(folder, keys).promote(bundle, version, channel, percent)
    told = {"bundle": bundle, "version": version, "channel": channel, "percent": percent}
    _tell(context, told, f"{bundle} version {version} is offered to {percent} % of {channel}")


def retract(
    context: typer.Context, bundle: Bundle, version: Version, folder: Folder = _HERE, keys: Keys = None
) -> None:
    """Take a version back: boards that use it go back to the one before, and nobody takes it any more."""
    channels = _open(folder, keys).retract(bundle, version)
    told = {"bundle": bundle, "version": version, "channels": channels}
    _tell(context, told, f"{bundle} version {version} is taken back")


def halt(
    context: typer.Context, bundle: Bundle, version: Version, folder: Folder = _HERE, keys: Keys = None
) -> None:
    """Stop a staged roll-out: no more boards take the version, and those that use it keep it."""
    channels = _open(folder, keys).halt(bundle, version)
    if not channels:
        raise InputError(f"{bundle} version {version} is staged on no channel: `perslm-host status` tells what is")
    told = {"bundle": bundle, "version": version, "channels": channels}
    _tell(
        context,
        told,
        f"{bundle} version {version} goes to no more boards; `retract` takes it back",
    )


def status(context: typer.Context, folder: Folder = _HERE, keys: Keys = None) -> None:
    """List what is published, to whom it is offered, and when the signatures expire."""
    repository = _open(folder, keys)
    found, expires = repository.bundles(), repository.expiries()
    if session_of(context).json:
        put_json(
            {
                "bundles": [_published(one) for one in found],
                "expires": expires,
                "fingerprint": _fingerprint(repository),
            }
        )
        return
    for one in found:
        offered = ", ".join(f"{name} {percent} %" for name, percent in one.offered.items()) or "to nobody"
        state = "taken back" if one.retracted else offered
        put(f"{one.manifest.name:<24} {one.manifest.kind:<6} {one.manifest.size / 1e6:9.1f} MB  {state}")
    for role, at in expires.items():
        put(f"{role:<10} signed until {at}")
    put(f"fingerprint {_fingerprint(repository)}: `perslm update trust` on a board shows the same")


def _fingerprint(repository: Repository) -> str:
    return fingerprint_of(repository.anchor.read_bytes())


def sign(context: typer.Context, folder: Folder = _HERE, keys: Keys = None) -> None:
    """Sign snapshot and timestamp anew: weekly, by a timer, with the online keys alone."""
    repository = _open(folder, keys)
    repository.sign(fresh=True)
    until = repository.expiries()["timestamp"]
    _tell(context, {"timestamp": until}, f"signed until {until}")


def _open(folder: Path, keys: list[Path] | None) -> Repository:
    return Repository(folder, _keys(folder, keys))


def _keys(folder: Path, keys: list[Path] | None) -> SigningKeys:
    return SigningKeys(_folders(folder, keys), os.environ.get(PASSPHRASE))


def _folders(folder: Path, keys: list[Path] | None) -> list[Path]:
    return keys or [folder.with_name(f"{folder.name}-keys")]


def _published(one: Published) -> dict[str, object]:
    return {**_data(one.manifest), "offered": dict(one.offered), "retracted": one.retracted}


def _data(manifest: Manifest) -> dict[str, object]:
    return {"id": manifest.id, "version": manifest.version, "kind": manifest.kind, "bytes": manifest.size}


def _tell(context: typer.Context, data: dict[str, object], sentence: str) -> None:
    session: Session = session_of(context)
    put_json(data) if session.json else put(sentence)
