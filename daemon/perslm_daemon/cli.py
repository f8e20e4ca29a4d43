"""`perslm`: the top of every command-line process.

Owns the global options, and the one place where errors become exit codes: a PersLMError is one clear line (or
one JSON object) and its own code, Ctrl-C is 130, wrong usage 2, and a bug 70 with the file that holds its
traceback. What the commands do is in the `cli_` modules, which import engines only when a command needs them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import typer

from perslm_daemon import (
    bench,
    cli_ask,
    cli_audio,
    cli_broker,
    cli_config,
    cli_daemon,
    cli_devices,
    cli_doctor,
    cli_listen,
    cli_memory,
    cli_models,
    cli_notify,
    cli_plugins,
    cli_reset,
    cli_run,
    cli_share,
    cli_speech,
    cli_sync,
    cli_timers,
    cli_token,
    cli_tools,
    cli_update,
)
from perslm_daemon.cli_session import Session
from perslm_daemon.config import ConfigMistakesError, Flags
from perslm_daemon.terminal import note, printable
from perslm_runtime import __version__
from perslm_runtime.errors import PersLMError
from perslm_runtime.printed import close_pipe

EXIT_INTERRUPTED = 130
EXIT_BUG = 70

# The global options, which may stand anywhere on the line: the words that take a value, and those that do not.
_WITH_VALUE = ("--data-dir", "--profile", "--config", "--set")
_ALONE = ("--json", "--verbose")

_HELP = """PersLM: a private assistant that hears, answers and remembers on this machine alone.

The global options may stand before or after the command."""


@runtime_checkable
class _WrongUsage(Protocol):
    """What typer raises for a wrong option or argument."""

    exit_code: int

    def format_message(self) -> str:
        """Say what is wrong."""


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], commands: Callable[[Session], typer.Typer] | None = None) -> int:
    """Run one command line and return its exit code; `commands` builds other commands than PersLM's."""
    session = Session(json="--json" in _before_dashes(arguments))
    try:
        app = (commands or build)(session)
        code = app(_hoisted(arguments) or ["--help"], standalone_mode=False, prog_name="perslm")
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the process top is where errors are caught
        return _ended_by(error, session)
    return code if isinstance(code, int) else 0


def build(session: Session) -> typer.Typer:
    """Put the commands together; they find `session` as their context's object."""
    app = typer.Typer(
        name="perslm",
        help=_HELP,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def take_global_options(
        context: typer.Context,
        *,
        data_dir: Annotated[
            Path | None, typer.Option(help="Folder of the memory, the snapshots and the log (PERSLM_DATA_DIR).")
        ] = None,
        profile: Annotated[
            str | None, typer.Option(help="Board profile (PERSLM_PROFILE); found out where not given.")
        ] = None,
        config: Annotated[
            Path | None, typer.Option(help="Configuration file to read instead of the usual ones (PERSLM_CONFIG).")
        ] = None,
        settings: Annotated[
            list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override any configuration key.")
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print results and errors as JSON.")] = False,
        verbose: Annotated[bool, typer.Option("--verbose", help="Show the log on the terminal.")] = False,
        version: Annotated[
            bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_version)
        ] = False,
    ) -> None:
        session.flags = Flags(data_dir, profile, config, tuple(settings or ()))
        session.json = as_json
        session.verbose = verbose
        context.obj = session

    for module in (
        cli_ask,
        cli_run,
        cli_daemon,
        cli_listen,
        cli_speech,
        cli_sync,
        cli_share,
        cli_timers,
        cli_tools,
        cli_notify,
        cli_token,
        cli_audio,
        cli_memory,
        cli_devices,
        cli_models,
        cli_plugins,
        cli_config,
        cli_broker,
        cli_doctor,
        cli_reset,
        cli_update,
        bench,
    ):
        module.register(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"perslm {__version__}")
        raise typer.Exit


def _before_dashes(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _hoisted(arguments: Sequence[str]) -> list[str]:
    """Move the global options to the front, so that they may stand anywhere before a `--`."""
    ours = list(_before_dashes(arguments))
    front: list[str] = []
    rest: list[str] = []
    while ours:
        word = ours.pop(0)
        if word in _ALONE or word.startswith(tuple(f"{option}=" for option in _WITH_VALUE)):
            front.append(word)
        elif word in _WITH_VALUE:
            front += [word, *ours[:1]]
            del ours[:1]
        else:
            rest.append(word)
    return [*front, *rest, *arguments[len(_before_dashes(arguments)) :]]


def _ended_by(error: BaseException, session: Session) -> int:
    """Tell of the error that ended the command, and return the exit code."""
    code = 1
    match error:
        case SystemExit():
            code = error.code if isinstance(error.code, int) else 1
        case KeyboardInterrupt():
            note("interrupted")
            code = EXIT_INTERRUPTED
        case typer.Abort():
            code = EXIT_INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else 1
        case BrokenPipeError():
            close_pipe()
        case PersLMError():
            code = error.exit_code
            _tell(str(error), error, session, code)
        case _WrongUsage():
            code = error.exit_code
            _tell(f"{error.format_message()}\n{_usage(error)}", error, session, code)
        case _:
            code = _bug(error, session)
    return code


def _tell(message: str, error: BaseException, session: Session, code: int) -> None:
    if not session.json:
        note(f"perslm: {message}")
        return
    told: dict[str, object] = {"message": message, "kind": type(error).__name__, "exit_code": code}
    if isinstance(error, ConfigMistakesError):
        told["mistakes"] = [
            {"where": m.where, "key": m.key, "value": m.value, "problem": m.problem} for m in error.mistakes
        ]
    sys.stderr.write(printable(json.dumps({"error": told}, ensure_ascii=False)) + "\n")


def _usage(error: object) -> str:
    path = getattr(getattr(error, "ctx", None), "command_path", "perslm")
    return f"`{path} --help` shows how it is used"


def _bug(error: BaseException, session: Session) -> int:
    file = None if session.verbose else session.keep_traceback(error)
    if file is None:
        sys.excepthook(type(error), error, error.__traceback__)
    where = f"the traceback is in {file}" if file else "the traceback is above"
    _tell(f"this is a bug in PersLM ({type(error).__name__}): {where}", error, session, EXIT_BUG)
    return EXIT_BUG
