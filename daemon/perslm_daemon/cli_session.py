"""One run of the command line: the global options, and the configuration they lead to.

Every command gets it with `session_of(context)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from perslm_daemon import config as configuration
from perslm_daemon import logs
from perslm_daemon.config import Flags
from perslm_daemon.terminal import put
from perslm_runtime.errors import ConfigError

if TYPE_CHECKING:
    from perslm_daemon.config_sections import Config


@dataclass
class Session:
    """The global options of this run. `config` reads the configuration on first use and starts the log."""

    flags: Flags = field(default_factory=Flags)
    json: bool = False
    verbose: bool = False

    @cached_property
    def config(self) -> Config:
        """The configuration in force. Raises ConfigMistakesError."""
        config = configuration.load(self.flags, with_kept=True)
        logs.start(config.log.level, config.log.format, verbose=self.verbose, quiet=self.json)
        return config

    def keep_traceback(self, error: BaseException) -> Path | None:
        """Write a bug's traceback into the data folder, as far as there is one; return the file."""
        try:
            folder = self.config.data_dir
        except ConfigError:
            folder = None
        return logs.keep_traceback(error, folder)


def session_of(context: typer.Context) -> Session:
    """Return the run's session out of a command's context."""
    session = context.find_object(Session)
    if session is None:
        raise TypeError("the command was started without a session")
    return session


def command_group(app: typer.Typer, name: str, about: str) -> typer.Typer:
    """Add a group of commands such as `perslm models`; alone, it shows its help."""
    group = typer.Typer(rich_markup_mode=None)

    @group.callback(invoke_without_command=True)
    def show_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            put(context.get_help())

    app.add_typer(group, name=name, help=about)
    return group
