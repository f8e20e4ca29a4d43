"""`perslm timers`: the timers, alarms, reminders and planned commands of the running PersLM from the terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from perslm_daemon.cli_remote import required
from perslm_daemon.cli_session import Session, command_group, session_of
from perslm_daemon.terminal import note, put, put_json
from perslm_runtime.errors import InputError

_SHORT = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?:in)?)?(?:(?P<s>\d+)s?)?")

Which = Annotated[str, typer.Argument(help="Its id or its name; not needed where there is only one.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = command_group(app, "timers", "Timers, alarms and reminders of the running PersLM.")
    for command in (show, start, cancel, pause, resume, snooze):
        name = {"show": "list", "start": "set"}.get(command.__name__, command.__name__)
        group.command(name)(command)


def show(context: typer.Context) -> None:
    """List them, the soonest first."""
    _ask(context, {"action": "list"}, none="there are no timers, alarms, reminders and plans")


def start(
    context: typer.Context,
    duration: Annotated[
        str, typer.Argument(metavar="[DURATION]", help="How long: 90, 10m, 1h30m, or words: 'ten minutes'.")
    ] = "",
    *,
    at: Annotated[
        str, typer.Option(help="An alarm instead: 2026-01-31T07:00, 'tomorrow at seven', 'every weekday at 6:30'.")
    ] = "",
    name: Annotated[str, typer.Option(help="What it is called.")] = "",
    text: Annotated[str, typer.Option(help="What to be reminded of: makes it a reminder.")] = "",
) -> None:
    """Set a timer, or with --at an alarm, or with --text a reminder."""
    if bool(duration) == bool(at):
        raise InputError("give either a duration or --at: `perslm timers set 10m`")
    given: dict[str, object] = {"action": "set", "name": name, "text": text}
    _ask(context, given | ({"at": at} if at else {"seconds": seconds_of(duration)}))


def cancel(
    context: typer.Context,
    which: Which = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="Cancel every one.")] = False,
) -> None:
    """Cancel one; one that rings is silent at once."""
    session = session_of(context)
    if not everything:
        _ask(context, {"action": "cancel", **_named(session, which)})
        return
    with required(session) as daemon:
        ids = [one["id"] for one in daemon.ask("timer", {"action": "list"})["timers"]]
        gone = [daemon.ask("timer", {"action": "cancel", "id": one})["timers"][0] for one in ids]
    _put(session, {"timers": gone}, "there are no timers, alarms, reminders and plans")


def pause(context: typer.Context, which: Which = "") -> None:
    """Hold a timer."""
    _ask(context, {"action": "pause", **_named(session_of(context), which)})


def resume(context: typer.Context, which: Which = "") -> None:
    """Let a paused timer run on."""
    _ask(context, {"action": "resume", **_named(session_of(context), which)})


def snooze(
    context: typer.Context,
    duration: Annotated[
        str, typer.Argument(metavar="[DURATION]", help="For how long; timers.snooze_s where nothing is said.")
    ] = "",
) -> None:
    """Let what rings ring again later."""
    _ask(context, {"action": "snooze", **({"seconds": seconds_of(duration)} if duration else {})})


def seconds_of(duration: str) -> float:
    """The seconds of a duration as typed. Raises `InputError`."""
    from perslm_runtime.time_words import duration_of

    match = _SHORT.fullmatch(duration.replace(" ", ""))
    if match and any(match.groups()):
        hours, minutes, seconds = (int(match[part] or 0) for part in "hms")
        return hours * 3600 + minutes * 60 + seconds
    said = duration_of(duration)
    if said is None:
        raise InputError(f"{duration[:40]!r} is no duration: say 90, 10m, 1h30m or 'ten minutes'")
    return said


def _named(session: Session, which: str) -> dict[str, str]:
    """`which` as the verb takes it: an id where one fits, else a name."""
    if not which:
        return {}
    with required(session) as daemon:
        ids = [one["id"] for one in daemon.ask("timer", {"action": "list"})["timers"]]
    return {"id": which} if which in ids else {"name": which}


def _ask(context: typer.Context, payload: Mapping[str, object], none: str = "") -> None:
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("timer", payload)
    _put(session, data, none)


def _put(session: Session, data: Mapping[str, Any], none: str) -> None:
    if session.json:
        put_json(data)
        return
    for one in data["timers"]:
        put(_line(one))
    if not data["timers"]:
        note(none)


def _line(one: Mapping[str, Any]) -> str:
    left = one["seconds_left"]
    clock = "unknown" if left is None else f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}"
    at = f"  {one['at']}" if one["at"] else ""
    said = one.get("why", "") if one["kind"] == "command" else one["text"]  # its name says what it does
    called = "  ".join(word for word in (one["name"], said) if word)
    return f"{one['id']}  {one['kind']:<8}  {one['state']:<9}  {clock:>9}{at}  {called}".rstrip()
