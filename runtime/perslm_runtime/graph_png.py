"""An SVG picture of ours as PNG. Only importer of resvg.

The picture itself is graph_svg.py's. Letters come from a font of the machine: without one a picture would show
circles with no names, so that is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perslm_runtime.errors import InputError

_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
# File -> the family in it. Letters that the first one lacks are taken from any other that is installed.
_FONTS = {
    "DejaVuSans.ttf": "DejaVu Sans",
    "NotoSans-Regular.ttf": "Noto Sans",
    "LiberationSans-Regular.ttf": "Liberation Sans",
    "FreeSans.ttf": "FreeSans",
    "Carlito-Regular.ttf": "Carlito",
}
_ZOOM = 2.0  # pixels per unit: names stay readable on a phone


def png_of(svg: str, *, folders: Sequence[Path] = _FOLDERS) -> bytes:
    """The PNG of an SVG document, two pixels per unit; fonts are looked for in `folders`.

    Raises `InputError` where the library or every known font is missing.
    """
    try:
        import resvg_py  # noqa: PLC0415 - 3 MB, for those who draw
    except ImportError as error:
        raise InputError(
            "PNG pictures need resvg-py: `pip install 'perslm[board]'`, or draw an SVG: name the file .svg"
        ) from error
    font, family = _font(folders)
    drawn = resvg_py.svg_to_bytes(
        svg_string=svg, zoom=_ZOOM, font_files=[str(font)], sans_serif_family=family, font_family=family
    )
    return bytes(drawn)


def _font(folders: Sequence[Path]) -> tuple[Path, str]:
    there = {file.name: file for folder in folders for file in folder.rglob("*.ttf")}
    for name, family in _FONTS.items():
        if name in there:
            return there[name], family
    raise InputError(
        "no font is installed to write names with: `sudo apt-get install fonts-dejavu-core`, or draw an SVG: "
        "name the file .svg"
    )
