"""A new plug-in to begin with: the template's files under a name. Knows no plug-in's inside."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from perslm_runtime.errors import InputError
from perslm_runtime.plugin import NAME

_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "plugin.py.txt": "src/perslm_@NAME@/__init__.py",
    "test_plugin.py.txt": "tests/test_@NAME@.py",
    "README.md.txt": "README.md",
}
_ENGINE = {
    "plugin.py.txt": "engine.py.txt",
    "test_plugin.py.txt": "test_engine.py.txt",
    "README.md.txt": "engine_README.md.txt",
}


def write_template(name: str, folder: Path, *, engine: bool = False) -> list[Path]:
    """Write the template into a folder that is not there or empty; the files. Raises `InputError`.

    It has one tool, or is an `engine` that replies.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{name[:40]!r} is no name for a plug-in: a-z, 0-9 and _ can be used, a letter first")
    source = files("perslm_daemon").joinpath("plugin_template")
    made: list[Path] = []
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} has something in it already: give another --folder")
        for from_, to in _FILES.items():
            target = folder / _filled(to, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            template = source.joinpath(_ENGINE.get(from_, from_) if engine else from_)
            text = _filled(template.read_text(encoding="utf-8"), name)
            group = "perslm.engines" if engine else "perslm.tools"
            target.write_text(text.replace("@GROUP@", group), encoding="utf-8")
            made.append(target)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    return made


def _filled(text: str, name: str) -> str:
    dashed, said = name.replace("_", "-"), name.replace("_", " ")
    return text.replace("@NAME@", name).replace("@DASHED@", dashed).replace("@SAID@", said)
