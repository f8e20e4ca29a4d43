"""`perslm tools`: calls by hand, what waits for a yes, and whether the sandbox holds on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from perslm_daemon.cli_remote import required
from perslm_daemon.cli_session import command_group, session_of
from perslm_daemon.terminal import note, put, put_json
from perslm_runtime.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = command_group(app, "tools", "What PersLM can do besides answering, and what waits for a yes.")
    for name, command in (
        ("list", show),
        ("info", info),
        ("call", call),
        ("questions", questions),
        ("yes", yes),
        ("no", no),
        ("check", check),
    ):
        group.command(name)(command)


def show(context: typer.Context) -> None:
    """List the tools, what each touches, and why others are not there."""
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("tools", {"action": "list"})
    if session.json:
        put_json(data)
        return
    for one in data["tools"]:
        touches = ", ".join([*one["reads"], *(f"changes {what}" for what in one["changes"])]) or "nothing"
        put(f"{one['name']:<16}  {one['risk']:<8}  {touches:<24}  {one['about']}")
    for name, reason in data["absent"].items():
        note(f"{name} is not there: {reason}")


def info(context: typer.Context, name: Annotated[str, typer.Argument(help="The tool.")]) -> None:
    """Tell all about one tool: its arguments, what it reads and changes, its limits."""
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("tools", {"action": "info", "name": name})
    if session.json:
        put_json(data)
        return
    put(f"{data['name']}  ({data['origin']})")
    put(f"  {data['about']}")
    for argument in data["arguments"]:
        put(f"  {argument['name']}: {_kind(argument)}")
    put(f"  reads {', '.join(data['reads']) or 'nothing'}; changes {', '.join(data['changes']) or 'nothing'}")
    put(f"  {_risk(data)}")
    put(f"  at most {data['seconds']:g} s and {data['memory_mb']} MB")


def call(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The tool.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Its arguments: list=shopping.")
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Call a tool; one that asks first prints its question."""
    session = session_of(context)
    payload = {"action": "call", "name": name, "arguments": _arguments(arguments or ()), "yes": yes}
    with required(session) as daemon:
        data = daemon.ask("tools", payload)
    if session.json:
        put_json(data)
        return
    put(data["text"])
    if "approval" in data:
        note(
            f"`perslm tools yes {data['approval']['id']}` does it, within {data['approval']['seconds_left']:.0f} s"
        )


def questions(context: typer.Context) -> None:
    """List the questions that wait for a yes."""
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("approve", {"action": "list"})
    if session.json:
        put_json(data)
        return
    for one in data["approvals"]:
        put(f"{one['id']}  {one['seconds_left']:>4.0f} s  {one['question']}")
    if not data["approvals"]:
        note("nothing waits for a yes")


Which = Annotated[str, typer.Argument(help="The question's id; not needed where there is only one.")]


def yes(context: typer.Context, which: Which = "") -> None:
    """Allow what a question asks for."""
    _answer(context, which, yes=True)


def no(context: typer.Context, which: Which = "") -> None:
    """Refuse what a question asks for."""
    _answer(context, which, yes=False)


def check(context: typer.Context) -> None:
    """Try what leads out of the sandbox of tools, on this machine. Exit code 1 if anything got out."""
    from perslm_daemon.sandbox_check import check as try_all
    from perslm_daemon.sandbox_check import lines, report

    tried = try_all()
    told = report(tried)
    if session_of(context).json:
        put_json(told)
    else:
        for line in lines(tried):
            put(line)
    if not told["ok"]:
        raise typer.Exit(1)


def _answer(context: typer.Context, which: str, *, yes: bool) -> None:
    session = session_of(context)
    with required(session) as daemon:
        data = daemon.ask("approve", {"yes": yes, **({"id": which} if which else {})})
    if session.json:
        put_json(data)
    else:
        put(data["text"])


def _arguments(given: Sequence[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise InputError(f"{one[:40]!r} is no argument: write NAME=VALUE")
        told[name] = value
    return told


def _kind(argument: Mapping[str, Any]) -> str:
    if "one_of" in argument:
        more = argument["options"] - len(argument["one_of"])
        return f"one of {', '.join(argument['one_of'])}" + (f" and {more} more" if more else "")
    if "least" in argument:
        return f"a whole number from {argument['least']} to {argument['most']}"
    return f"text of at most {argument['most_characters']} characters"


def _risk(data: Mapping[str, Any]) -> str:
    said = {
        "reads": "it changes nothing",
        "changes": "done at a person's word; asked about where a model wants it after reading strangers' text",
        "asks": "never done without a person's yes",
    }[data["risk"]]
    return said + ("; its answer is text that others wrote" if data["strangers"] else "")
