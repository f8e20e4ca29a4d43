"""`perslm run`: the daemon in the foreground, under systemd or in a terminal.

Turns signals into wishes: SIGTERM and SIGINT stop it, SIGHUP reads the configuration anew.
"""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from perslm_daemon import config as configuration
from perslm_daemon.cli_session import Session, session_of
from perslm_daemon.service import log_to_journal
from perslm_daemon.terminal import note, put_json
from perslm_runtime.errors import LaneHung, PersLMError
from perslm_runtime.lane_watch import leave_without_joining

if TYPE_CHECKING:
    from perslm_daemon.app import Report
    from perslm_daemon.config_sections import Config
    from perslm_daemon.serve import Wishes
    from perslm_daemon.ways import Running


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    context: typer.Context,
    *,
    own_broker: Annotated[
        bool, typer.Option("--own-broker", help="Bring an MQTT broker where none is configured.")
    ] = False,
    voice: Annotated[
        bool | None, typer.Option("--voice/--no-voice", help="Hear and speak, or only read and write.")
    ] = None,
) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP reads the configuration anew."""
    session = session_of(context)
    if voice is not None:
        wanted = f"voice.enabled={str(voice).lower()}"
        session.flags = replace(session.flags, settings=(*session.flags.settings, wanted))
    _ = session.config  # mistakes are told before anything starts
    log_to_journal()
    faulthandler.enable()  # where a native crash happened is the last thing in the log
    anyio.run(_run, session, own_broker)


async def _run(session: Session, own_broker: bool) -> None:
    from perslm_daemon.serve import Wishes, serve

    wishes = Wishes()
    ready = anyio.Event()

    def on_ready(running: Running) -> None:
        ready.set()
        _tell_ready(session, running)

    failed: PersLMError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_take_signals, wishes, ready, tasks.cancel_scope)
        try:
            await serve(
                _loader(session, own_broker=own_broker), wishes, on_report=_reporter(session), on_ready=on_ready
            )
        except PersLMError as error:  # a task group would wrap it, and its exit code would be that of a bug
            failed = error
        tasks.cancel_scope.cancel()
    if isinstance(failed, LaneHung):
        note(f"perslm: {failed}")
        leave_without_joining(failed)
    if failed is not None:
        raise failed


async def _take_signals(wishes: Wishes, ready: anyio.Event, scope: anyio.CancelScope) -> None:
    from perslm_daemon.serve import Wish

    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number is signal.SIGHUP:
                wishes.ask(Wish.RELOAD)
            elif ready.is_set():
                wishes.ask(Wish.STOP)
            else:
                scope.cancel()  # still starting: the part being built is waited for, the next is not begun


def _loader(session: Session, *, own_broker: bool) -> Callable[[], Config]:
    """Read the configuration with this run's flags; the first reading is the one that was checked already."""
    first = [session.config]

    def load() -> Config:
        config = first.pop() if first else configuration.load(session.flags, with_kept=True)
        if own_broker and not config.mqtt.broker:
            return replace(config, mqtt=replace(config.mqtt, broker="own"))
        return config

    return load


def _reporter(session: Session) -> Callable[[Report], None]:
    def report(part: Report) -> None:
        if not session.json:
            note(part.line())

    return report


def _tell_ready(session: Session, running: Running) -> None:
    node, verbs = running.config.node, list(running.verbs.names)
    if session.json:
        put_json({"state": "online", "node": node, "verbs": verbs, "broker": running.broker, "http": running.http})
        return
    for missing in running.assistant.degraded:
        note(f"perslm: goes on without {missing.part}: {missing.reason}")
    note(f"PersLM runs as {node!r}. It answers: {', '.join(verbs)}.")
    note('  terminal   perslm ask "What is the capital of Italy?"')
    if running.http:
        note(f"  HTTP       {running.http} (the dashboard; curl {running.http}/api/status)")
    if running.broker:
        host, _, port = running.broker.rpartition(":")
        at, topic = f"-h {host.strip('[]')} -p {port}", f"{running.config.mqtt.base}/{node}"
        if running.own is not None and running.own.asks_passwords:
            note("  MQTT       asks who you are: `perslm broker user NAME`, then add -u NAME -P PASSWORD")
        note(f"  MQTT       mosquitto_sub {at} -v -t '{topic}/#' &")
        note(f"             mosquitto_pub {at} -t {topic}/request/ask -m 'What is the capital of Italy?'")
    elif running.config.mqtt.broker:
        note("  MQTT       off: the warning above says why")
    else:
        note("  MQTT       the house's broker is looked for, else our own comes: `perslm status` tells which")
    note("Ctrl-C stops it.")
