"""The tools that run in the sandbox: files of one folder, pages of allowed hosts, programs of a list.

Each is there only where its key is set; what is missing says which key that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from perslm_daemon.config_keys import program_of
from perslm_daemon.config_tools import Tools as Config
from perslm_daemon.tool_workers import Box, Workers
from perslm_daemon.tools import Limits, Manifest, Risk, Tools
from perslm_runtime.errors import InputError
from perslm_runtime.tool_call import Names, Value, Words

_FILES = ("files_list", "file_read", "file_write", "file_append", "file_remove")


def add_files(tools: Tools, config: Config, workers: Workers) -> None:
    """Files in `tools.folder`."""
    folder = config.folder
    if folder is None or not folder.is_dir():
        reason = "set tools.folder" if folder is None else f"tools.folder {folder} is no folder: make it"
        for name in _FILES:
            tools.withdraw(name, reason)
        return
    limits = Limits(config.seconds, config.memory_mb)
    file, text = Words("file", 100, any_start=True), Words("text", 500, any_start=True)

    def add(function: str, manifest: Manifest) -> None:
        box = Box(f"perslm_daemon.tool_files:{function}", folder, writes=bool(manifest.changes), preload=True)
        tools.register(manifest, workers.sandboxed(box, limits))

    add(
        "listed",
        Manifest(
            "files_list",
            "Tell which files there are.",
            reads=("files",),
            strangers=True,
            examples=(("Which documents are there?", "files_list()"),),
            family="files",
            limits=limits,
        ),
    )
    add(
        "read",
        Manifest(
            "file_read",
            "Read a file.",
            (file,),
            reads=("files",),
            strangers=True,
            speaks=False,
            examples=(("What does packing.txt say about shoes?", 'file_read("packing.txt")'),),
            family="files",
            limits=limits,
        ),
    )
    add(
        "write",
        Manifest(
            "file_write",
            "Make a new file.",
            (file, text),
            changes=("files",),
            risk=Risk.CHANGES,
            question="write a file {file} that says {text}",
            family="files",
            limits=limits,
        ),
    )
    add(
        "append",
        Manifest(
            "file_append",
            "Add a line to a file.",
            (file, text),
            changes=("files",),
            risk=Risk.CHANGES,
            question="add {text} to the file {file}",
            family="files",
            limits=limits,
        ),
    )
    add(
        "remove",
        Manifest(
            "file_remove",
            "Remove a file for good.",
            (file,),
            changes=("files",),
            risk=Risk.ASKS,
            question="remove the file {file} for good",
            family="files",
            limits=limits,
        ),
    )


def add_web(tools: Tools, config: Config, workers: Workers) -> None:
    """Pages of `tools.hosts`."""
    if not config.hosts:
        tools.withdraw("web_read", "set tools.hosts")
        return
    limits = Limits(config.seconds, config.memory_mb)
    box = Box("perslm_daemon.tool_web:read", hosts=config.hosts, preload=True)
    tools.register(
        Manifest(
            "web_read",
            f"Read a page of {', '.join(config.hosts[:8])}.",
            (Words("url", 300),),
            reads=("web",),
            strangers=True,
            sends=True,
            question="read the page {url}",
            speaks=False,
            limits=limits,
            family="web",
            examples=((f"What is new on {config.hosts[0]}?", f'web_read("{_bare(config.hosts[0])}")'),),
        ),
        workers.sandboxed(box, limits),
    )


def add_commands(tools: Tools, config: Config, workers: Workers) -> None:
    """Programs of `tools.commands`, with the arguments that stand there and no others."""
    if not config.commands:
        tools.withdraw("run_command", "set tools.commands")
        return
    named = dict(map(program_of, config.commands))
    programs = {name: (str(Path(argv[0]).resolve()), *argv[1:]) for name, argv in named.items()}
    bad = [name for name, argv in programs.items() if not _is_program(Path(argv[0]))]
    if bad:
        tools.withdraw(
            "run_command",
            f"tools.commands: {', '.join(bad)} is no program of this machine "
            "(a script would need another program)",
        )
        return

    def argv_of(arguments: Mapping[str, Value]) -> Sequence[str]:
        argv = programs.get(str(arguments["command"]))
        if argv is None:
            raise InputError("there is no such command")
        return argv

    limits = Limits(config.seconds, config.memory_mb)
    tools.register(
        Manifest(
            "run_command",
            f"Run one of these programs: {', '.join(programs)}.",
            (Names("command", tuple(programs)),),
            reads=("machine",),
            changes=("machine",),
            risk=Risk.ASKS,
            strangers=True,
            question="run the command {command}",
            limits=limits,
            family="commands",
        ),
        workers.sandboxed(Box(argv_of=argv_of), limits),
    )


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _bare(host: str) -> str:
    return host.removeprefix("*.")
