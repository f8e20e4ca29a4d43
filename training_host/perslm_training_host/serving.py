"""`perslm-host serve|enroll|boards|revoke`: the host's port for its boards, and who they are."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from perslm_runtime.certificates import write_secret
from perslm_runtime.errors import InputError
from perslm_training_host.boards import TRIES, WINDOW_S, BoardRecord, Boards
from perslm_training_host.console import note, put, put_json, session_of
from perslm_training_host.fleet_port import FleetPort
from perslm_training_host.rollout import RollOuts
from perslm_training_host.service import NAME_LETTERS, Service
from perslm_training_host.signing_keys import PASSPHRASE, SigningKeys

Folder = Annotated[
    Path, typer.Option("--repository", envvar="PERSLM_HOST_REPOSITORY", help="The repository's folder.")
]
_HERE = Path("repository")
SEED = Path("perslm-host.json")
_SERVICE = "_perslm-host._tcp.local."


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (serve, enroll, seed, boards, revoke):
        app.command()(verb)


def serve(
    context: typer.Context,
    folder: Folder = _HERE,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the house.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any free one.")] = 8443,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="More names or addresses that boards reach it by.")
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option("--keys", help="Folders of keys, to stop a roll-out that fails; else REPOSITORY-keys."),
    ] = None,
    fleet_port: Annotated[
        int,
        typer.Option(help="Port of the fleet's page, on this machine alone; 0: any free one, -1: none."),
    ] = 8444,
    announce: Annotated[bool, typer.Option(help="Announce the host by zeroconf.")] = True,
) -> None:
    """Serve the repository to enrolled boards, take their reports, and let new ones enrol. Ctrl-C ends it."""
    if not (folder / "metadata/1.root.json").is_file():
        raise InputError(f"{folder} is no repository: `perslm-host keys init` begins one")
    own = socket.gethostname().partition(".")[0]
    addresses = _own_addresses() if host in ("0.0.0.0", "::") else [host]  # noqa: S104 - compared, not bound
    reached_by = list(dict.fromkeys([*(name or ()), f"{own}.local", own, "localhost", *addresses]))
    known = _boards(folder)
    signing = SigningKeys(keys or [folder.with_name(f"{folder.name}-keys")], os.environ.get(PASSPHRASE))
    going = RollOuts(folder, signing, known)
    service = Service(folder, known, host, port, reached_by, after_report=going.look)
    with contextlib.ExitStack() as stack:
        bound = stack.enter_context(service.running())
        page = _fleet_page(stack, folder, fleet_port, going) if fleet_port >= 0 else ""
        if announce:
            stack.enter_context(_announced(addresses, bound))
        url = f"https://{addresses[0]}:{bound}"
        if session_of(context).json:
            put_json({"url": url, "names": reached_by, "fleet": page})
        else:
            put(f"serving {folder} at {url}; `perslm-host enroll` lets a board in")
            if page:
                put(f"the fleet is at {page}")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


def _fleet_page(stack: contextlib.ExitStack, folder: Path, port: int, going: RollOuts) -> str:
    """Open the fleet's page; its address, "" where the port is taken."""
    try:
        served = FleetPort(folder, port, lambda: going.wished)
    except OSError as error:
        note(f"no page of the fleet: port {port} cannot be had ({error.strerror}), --fleet-port names another")
        return ""
    return f"http://127.0.0.1:{stack.enter_context(served.running())}/"


def enroll(context: typer.Context, folder: Folder = _HERE) -> None:
    """Show a code that lets one board enrol: three tries, five minutes."""
    code = _boards(folder).open_window()
    if session_of(context).json:
        put_json({"code": code, "seconds": WINDOW_S, "tries": TRIES})
        return
    put(f"code {code}, for {WINDOW_S / 60:.0f} minutes: type it on the board, `perslm sync enroll`")


def seed(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The board's name, for the fleet.")],
    folder: Folder = _HERE,
    *,
    url: Annotated[str, typer.Option(help="Where the board will reach this host: https://pc.local:8443.")],
    out: Annotated[Path, typer.Option(help="The file to write, a secret until the board has used it.")] = SEED,
) -> None:
    """Make a new board known in advance: a file for its card, in place of a code."""
    if not 0 < len(name) <= 64 or not set(name) <= NAME_LETTERS:
        raise InputError("a board's name has lower-case letters, digits, '-', '_' and '.'")
    if not url.startswith("https://"):
        raise InputError(f"{url[:80]} is no https address: it looks like https://pc.local:8443")
    if out.exists():
        raise InputError(f"{out} is there already: name another file with --out")
    try:
        root = (folder / "metadata/1.root.json").read_bytes()
    except OSError as error:
        raise InputError(f"{folder} is no repository: `perslm-host keys init` begins one") from error
    write_secret(out, _boards(folder).seed(name, url, root))
    if session_of(context).json:
        put_json({"name": name, "file": out})
        return
    put(f"{out} is written: it goes onto the card beside perslm.toml, or to `perslm sync enroll --seed`")


def boards(context: typer.Context, folder: Folder = _HERE) -> None:
    """List the boards: what each uses, what is on probation or refused, and when it was seen."""
    known = _boards(folder).known()
    if session_of(context).json:
        put_json({name: _data(record) for name, record in known.items()})
        return
    if not known:
        note("no board has enrolled yet: `perslm-host enroll` shows a code for one")
    for record in known.values():
        seen = (
            "never seen"
            if record.seen_s is None
            else f"seen {time.strftime('%Y-%m-%d %H:%M', time.localtime(record.seen_s))}"
        )
        told = record.report
        model = told.get("in_use", {}).get("llm", "?") if told else "?"
        trial = f", on probation: {told['on_probation']}" if told.get("on_probation") else ""
        state = "revoked" if record.revoked else seen
        put(f"{record.name:<28} {state:<24} {told.get('version', '?'):<8} {model}{trial}")
        for name, why in told.get("refused", {}).items():
            put(f"    refused {name}: {why}")


def revoke(
    context: typer.Context,
    board: Annotated[str, typer.Argument(help="The board's name, as `boards` lists it.")],
    folder: Folder = _HERE,
) -> None:
    """Let a board in no more."""
    _boards(folder).revoke(board)
    if session_of(context).json:
        put_json({"revoked": board})
        return
    put(f"{board} is let in no more")


def _boards(folder: Path) -> Boards:
    return Boards(folder.with_name(f"{folder.name}-boards"))


def _data(record: BoardRecord) -> dict[str, object]:
    return {
        "enrolled_at": record.enrolled_s,
        "seen_at": record.seen_s,
        "revoked": record.revoked,
        "report": record.report,
    }


def _own_addresses() -> list[str]:
    """This machine's addresses in the house; loopback where it has none."""
    from ifaddr import get_adapters  # noqa: PLC0415 - only a host that listens to the house needs them

    found = [str(ip.ip) for adapter in get_adapters() for ip in adapter.ips if ip.is_IPv4]
    return [one for one in found if not one.startswith("127.")] or ["127.0.0.1"]


@contextlib.contextmanager
def _announced(addresses: list[str], port: int) -> Iterator[None]:
    """Announce the service while the block runs; a machine without multicast goes on without."""
    try:
        from zeroconf import ServiceInfo, Zeroconf  # noqa: PLC0415 - part of the board's extra
    except ImportError:
        note("zeroconf is not installed: boards have to be told the address")
        yield
        return
    name = f"perslm-host-{socket.gethostname().partition('.')[0]}"
    info = ServiceInfo(
        _SERVICE, f"{name}.{_SERVICE}", port=port, parsed_addresses=addresses, server=f"{name}.local."
    )
    try:
        zeroconf = Zeroconf(interfaces=addresses)
    except OSError as error:
        note(f"multicast is not possible here ({error}): boards have to be told the address")
        yield
        return
    try:
        zeroconf.register_service(info)
        yield
    finally:
        zeroconf.unregister_service(info)
        zeroconf.close()
