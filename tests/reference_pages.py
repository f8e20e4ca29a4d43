"""The generated parts of pages in docs/; `python tests/reference_pages.py` writes them anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- begin: written by tests/reference_pages.py -->\n", "<!-- end -->\n"


def command_pages() -> str:
    """Every command with its usage, arguments and options."""
    import typer.main

    from perslm_daemon import cli
    from perslm_daemon.cli_session import Session

    return _pages(typer.main.get_command(cli.build(Session())), "perslm")


def host_pages() -> str:
    """The same of the training host's command line."""
    import typer.main

    from perslm_training_host import cli

    return _pages(typer.main.get_command(cli.build()), "perslm-host")


def _pages(top: Any, name: str) -> str:
    lines: list[str] = []
    for path, command in _commands(top, name):
        lines += [f"### `{path}`", "", " ".join((command.help or "").split()), ""]
        rows = [row for parameter in command.params if (row := _parameter(parameter)) is not None]
        if rows:
            lines += ["| argument or option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _parameter(parameter: Any) -> str | None:
    if parameter.name == "help":
        return None
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        name = name if parameter.required or name.startswith("[") else f"[{name}]"
    else:
        name = ", ".join([*parameter.opts, *parameter.secondary_opts])
        if not getattr(parameter, "is_flag", False):
            name += f" {parameter.metavar or parameter.name.upper()}"
    return f"| `{name}` | {_cell(parameter.help or '')} |"


def global_options() -> list[str]:
    """The options that may stand anywhere."""
    import typer.main

    from perslm_daemon import cli
    from perslm_daemon.cli_session import Session

    top = typer.main.get_command(cli.build(Session()))
    return [option for parameter in top.params for option in parameter.opts if option.startswith("--")]


def key_pages() -> str:
    """Every configuration key, by section, with its default, what it may be, and what it does."""
    from perslm_daemon.config_sections import keys

    lines: list[str] = []
    section = None
    for key in keys().values():
        name, _, leaf = key.name.rpartition(".")
        if name != section:
            section = name
            lines += ["", f"### [{section}]" if section else "### At the top of the file", ""]
            lines += ["| key | default | may be | what it does |", "|---|---|---|---|"]
        default = "this machine's" if key.default_is_computed else _default(key.default)
        lines.append(f"| `{leaf}` | {default} | {_cell(key.kind.allowed)} | {_cell(key.help)} |")
    return "\n".join(lines).lstrip("\n") + "\n"


def connector_pages() -> str:
    """The settings of our own connectors, a table for each."""
    from perslm_daemon.connectors import calendar, mail, news

    lines: list[str] = []
    for plugin in (calendar.plugin, mail.plugin, news.plugin):
        lines += [
            "",
            f"### [{plugin.name}]",
            "",
            "| setting | kind | default | what it does |",
            "|---|---|---|---|",
        ]
        for one in plugin.settings:
            name = f"{one.name}_file" if one.kind == "secret" else one.name
            lines.append(f"| `{name}` | {one.kind} | {_default(one.default)} | {_cell(one.about)} |")
    return "\n".join(lines).lstrip("\n") + "\n"


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if value is None or value in ("", ()):
        return "none"
    return f"`{', '.join(value) if isinstance(value, tuple) else value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {
    ROOT / "docs/cli.md": command_pages,
    ROOT / "docs/config.md": key_pages,
    ROOT / "docs/training.md": host_pages,
    ROOT / "docs/connectors.md": connector_pages,
}


def renewed(page: Path) -> str:
    """The page with its generated part as the code would write it now."""
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    return f"{head}{BEGIN}\n{PAGES[page]().rstrip()}\n\n{END}{tail}"


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "runtime"), str(ROOT / "daemon"), str(ROOT / "training_host")]
    for page in PAGES:
        page.write_text(renewed(page), encoding="utf-8")
