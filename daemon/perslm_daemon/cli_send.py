"""`perslm sync send`: a training host's repository to a board that nothing but MQTT reaches."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import typer

from perslm_daemon.broker_address import address_of
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.mqtt_connection import WrongProtocolError, connect
from perslm_daemon.terminal import note, progress_bars, put, put_json
from perslm_daemon.topics import Topics
from perslm_runtime.fetch import Progress

if TYPE_CHECKING:
    from perslm_daemon.update_send import Parcel


def send(
    context: typer.Context,
    repository: Annotated[
        Path, typer.Argument(help="The host's repository: a folder with metadata/ and targets/.")
    ],
    node: Annotated[str, typer.Argument(help="The board's node; its sync.over_mqtt_mb has to leave room.")],
    *,
    whole: Annotated[
        bool, typer.Option("--whole", help="Send files whole even where a difference would do.")
    ] = False,
    install: Annotated[bool, typer.Option("--install", help="Have it take what is offered.")] = False,
) -> None:
    """Send what a host has signed to a board over the broker of `mqtt.broker`, going on after a break."""
    from perslm_daemon.update_send import parcels  # here, because the engines' libraries come with it

    session = session_of(context)
    wanted = parcels(repository, session.config.sync.channel, whole=whole)
    told = anyio.run(_sent, session, wanted, node, "install" if install else "check")
    if session.json:
        put_json({"files": len(wanted), "bytes": sum(one.size for one in wanted), "sync": told})
        return
    put(f"{node} has {len(wanted)} files, {sum(one.size for one in wanted) / 1e6:.1f} MB")
    if told.get("problem"):
        note(str(told["problem"]))
    for one in told["offered"]:
        put(f"offered      {one['name']}  {one['bytes'] / 1e6:.1f} MB")
    put(f"in use       {', '.join(f'{kind} {name}' for kind, name in told['in_use'].items())}")


async def _sent(session: Session, wanted: list[Parcel], node: str, action: str) -> dict[str, Any]:
    try:
        return await _over(session, wanted, node, action, "5")
    except WrongProtocolError:
        return await _over(session, wanted, node, action, "3.1.1")


async def _over(
    session: Session, wanted: list[Parcel], node: str, action: str, protocol: Literal["5", "3.1.1"]
) -> dict[str, Any]:
    from perslm_daemon.update_send import send as send_one
    from perslm_daemon.update_send import wish

    config = session.config
    topics = Topics(config.mqtt.base, node)
    async with connect(
        address_of(config.mqtt),
        identifier=f"perslm-send-{secrets.token_hex(4)}",
        will=None,
        keepalive_s=30,
        protocol=protocol,
        lasting=False,
    ) as connection:
        await connection.subscribe([topics.response("sync")])
        total, done = sum(one.size for one in wanted), 0
        with progress_bars(quiet=session.json) as show:
            for parcel in wanted:

                def arrived(count: int, before: int = done) -> None:
                    show(Progress(node, before + count, total))

                await send_one(connection, topics, parcel, arrived)
                done += parcel.size
                show(Progress(node, done, total))
        return dict(await wish(connection, topics, action))
