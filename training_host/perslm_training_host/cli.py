"""`perslm-host`: the top of every command-line process of the training host.

Owns the one place where errors become exit codes: a PersLMError is one clear line (or one JSON object) and its own
code, Ctrl-C is 130, wrong usage 2, a full disk 3. What the verbs do is in one module each, which import torch only
when a verb needs it: `--help` is quick, and works without torch.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Annotated, Protocol, runtime_checkable

import typer

from perslm_runtime import __version__
from perslm_runtime.errors import EngineError, InputError, PersLMError
from perslm_runtime.printed import close_pipe
from perslm_training_host import (
    adapter,
    bundling,
    collect,
    delta,
    distill,
    embed,
    evaluate,
    examples_verb,
    fleet,
    harness,
    merge,
    models_verb,
    prefer,
    publishing,
    qad,
    quantize,
    runs_verb,
    serving,
    student,
)
from perslm_training_host.console import Session, note, session_of

# One module a verb, in the order of the story; each has `register(app)`.
VERBS: tuple[ModuleType, ...] = (
    collect,
    student,
    runs_verb,
    distill,
    prefer,
    merge,
    quantize,
    qad,
    evaluate,
    harness,
    delta,
    adapter,
    embed,
    models_verb,
    bundling,
    publishing,
    serving,
    fleet,
    examples_verb,
)

_EXIT_INTERRUPTED = 130
_EXIT_BUG = 70
_TRAINING_LIBRARIES = {
    "torch",
    "transformers",
    "safetensors",
    "gguf",
    "zstandard",
    "pyarrow",
    "py3langid",
    "phonenumbers",
}
_HELP = """The PersLM training host: distils, quantizes and proves better models for the boards."""


@runtime_checkable
class _WrongUsage(Protocol):
    """What typer raises for a wrong option or argument."""

    exit_code: int

    def format_message(self) -> str:
        """Say what is wrong."""


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    session = Session(json="--json" in arguments)
    try:
        front = [word for word in arguments if word in {"--json", "--verbose"}]
        rest = [word for word in arguments if word not in {"--json", "--verbose"}]
        words = [*front, *rest] or ["--help"]
        code = _command()(words, standalone_mode=False, prog_name="perslm-host", obj=session)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the process top is where errors are caught
        ended = _ended_by(error, session)
        if getattr(error, "leaves_at_once", False):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(ended)
        return ended
    return code if isinstance(code, int) else 0


@cache
def _command() -> Callable[..., object]:
    """The command of all verbs: typer makes it of their signatures in a tenth of a second, once a process."""
    return typer.main.get_command(build())


def build() -> typer.Typer:
    """Put the verbs together; they find the run's session as their context's object."""
    app = typer.Typer(
        name="perslm-host",
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
        as_json: Annotated[bool, typer.Option("--json", help="Print results and errors as JSON.")] = False,
        verbose: Annotated[bool, typer.Option("--verbose", help="Show a bug's traceback in full.")] = False,
        version: Annotated[
            bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_version)
        ] = False,
    ) -> None:
        session = session_of(context)
        session.json, session.verbose = as_json, verbose

    for module in VERBS:
        module.register(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"perslm-host {__version__}")
        raise typer.Exit


def _ended_by(error: BaseException, session: Session) -> int:
    """Tell of the error that ended the command, and return the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        note("interrupted")
        return _EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):
        close_pipe()
        return 1
    message, code = _told(error)
    if code == _EXIT_BUG:
        sys.excepthook(type(error), error, error.__traceback__)
    if session.json:
        told = {"message": message, "kind": type(error).__name__, "exit_code": code}
        note(json.dumps({"error": told}, ensure_ascii=False))
    else:
        note(f"perslm-host: {message}")
    return code


def _told(error: BaseException) -> tuple[str, int]:
    """Return what a person is told of an error, and the exit code."""
    match error:
        case PersLMError():
            return str(error), error.exit_code
        case _WrongUsage():
            return error.format_message(), error.exit_code
        case ModuleNotFoundError() if error.name in _TRAINING_LIBRARIES:
            command = "run `make train-setup`, then .venv-train/bin/perslm-host"
            return f"{error.name} is not installed here: {command}", EngineError.exit_code
        case OSError() if error.errno == errno.ENOSPC:
            where = error.filename or "while writing"
            return f"the disk is full ({where}): make room, then run it again", InputError.exit_code
        case _:
            return f"this is a bug in PersLM ({type(error).__name__}): the traceback is above", _EXIT_BUG


if __name__ == "__main__":
    main()
