"""`perslm update`: releases of PersLM itself on a card, by root."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perslm_daemon import config as configuration
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.terminal import note, progress_bars, put, put_json
from perslm_runtime.errors import InputError
from perslm_runtime.lane import Stop

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config
    from perslm_daemon.releases import Card
    from perslm_runtime.bundle import Manifest

_WHAT = ("install", "look", "status", "back", "trust")


def register(app: typer.Typer) -> None:
    """Add `update` to the command line."""
    app.command()(update)


def update(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            help="`install` takes the newest; `look` only looks; `status`; `back` to the release before; `trust` "
            "says whose releases are taken."
        ),
    ] = "install",
    *,
    yes: Annotated[bool, typer.Option("--yes", help="With `trust`: without being asked.")] = False,
    root: Annotated[Path, typer.Option(help="The folder that is the card's /.", hidden=True)] = Path("/"),
) -> None:
    """Take a signed release of PersLM onto this card; it goes back by itself where it is not well. By root."""
    from perslm_daemon.releases import Card

    session = session_of(context)
    if what not in _WHAT:
        raise typer.BadParameter(f"it is one of {', '.join(_WHAT)}")
    card = Card(root)
    card.current()
    if what != "status" and root == Path("/") and os.geteuid() != 0:
        raise InputError(f"releases are root's: `sudo perslm update {what}`")
    match what:
        case "trust":
            _trust(session, card, yes=yes)
        case "status":
            _status(session, card)
        case "back":
            _back(session, card)
        case _:
            _take(session, card, install=what == "install")


def _trust(session: Session, card: Card, *, yes: bool) -> None:
    from perslm_daemon.releases import offered_anchor, trust
    from perslm_runtime.bundle import fingerprint_of

    anchor, where = offered_anchor(_roots_own(session), card)
    print_ = fingerprint_of(anchor)
    if not yes:
        note(f"{where} has the fingerprint {print_}; the host shows its own with `perslm-host status`.")
        typer.confirm("Take programs signed by it from now on?", abort=True, err=True)
    trust(card, anchor)
    _told(session, {"fingerprint": print_, "from": where}, f"releases signed by {print_} are taken from now on")


def _take(session: Session, card: Card, *, install: bool) -> None:
    from perslm_daemon.releases import change_over, follow, look, take

    stop, config = Stop(), _roots_own(session)
    source = follow(config, card, stop)
    found = look(config, card, source, card.board_id())
    if found is None:
        _told(
            session,
            {"current": card.current(), "offered": None},
            f"{card.current()} is the newest that is offered",
        )
        return
    if not install:
        said = f"{found.name} is offered ({found.what}, {found.size / 1e6:.0f} MB): `sudo perslm update` takes it"
        _told(session, _data(card, found), said)
        return
    with progress_bars(quiet=session.json) as show:
        take(found, card, source, show, stop)
    before = _data(card, found)
    change_over(card, found.name)
    _told(
        session,
        before,
        f"{found.name} is on trial and goes back by itself where it is not well: `perslm update status`",
    )


def _roots_own(session: Session) -> Config:
    """The configuration without what was set while running: the service keeps that, and could name any host."""
    return configuration.load(session.flags)


def _data(card: Card, found: Manifest) -> dict[str, Any]:
    return {"current": card.current(), "offered": found.name, "what": found.what, "bytes": found.size}


def _status(session: Session, card: Card) -> None:
    book = card.book()
    data = {"current": card.current(), **{name: book[name] for name in ("trial", "former", "refused", "history")}}
    if session.json:
        put_json(data)
        return
    put(f"in force     {data['current']}")
    if book["trial"]:
        put(f"on trial     {book['trial']['name']} (before: {book['trial']['former']})")
    for name, why in book["refused"].items():
        put(f"refused      {name}: {why}")
    for one in book["history"][-8:]:
        at = datetime.fromtimestamp(one["at"]).astimezone()
        put(f"{at:%Y-%m-%d %H:%M}  {one['step']:<10} {one['name']}{': ' + one['why'] if one['why'] else ''}")


def _back(session: Session, card: Card) -> None:
    from perslm_daemon.releases import change_over, gate_command

    book, now = card.book(), card.current()
    if book["trial"]:
        argv = [*gate_command(card), "back", "somebody asked for the former one"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        _told(session, {"current": card.current()}, f"{card.current()} is back")
        return
    former = book["former"]
    if not former or former == now or not (card.releases / former).is_dir():
        raise InputError("there is no release before this one")
    change_over(card, former)
    _told(session, {"current": card.current()}, f"{former} is back, and watched as a new one is")


def _told(session: Session, data: dict[str, Any], sentence: str) -> None:
    put_json(data) if session.json else put(sentence)
