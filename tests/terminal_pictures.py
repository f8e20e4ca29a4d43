"""The documentation's pictures of a terminal, drawn from what a real one said: docs/pictures/NAME.txt to NAME.svg.

`python tests/terminal_pictures.py` draws them anew; a test compares. The texts are captured by hand; the
first line is the title.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
_LINE, _LETTER, _EDGE, _BAR = 19, 8.4, 16, 34
_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"
 font-family="monospace" font-size="14">
<title>{title}</title>
<rect width="{width}" height="{height}" rx="8" fill="#1d2127"/>
<text x="{middle}" y="22" fill="#9aa4b1" text-anchor="middle">{title}</text>
"""


def drawn(text: Path) -> str:
    """The picture of a text. A line that begins with `$ ` is what somebody typed."""
    title, *lines = text.read_text(encoding="utf-8").splitlines()
    width = round(max(len(line) for line in lines) * _LETTER) + 2 * _EDGE
    height = _BAR + len(lines) * _LINE + _EDGE
    rows = [
        f'<text x="{_EDGE}" y="{_BAR + (at + 1) * _LINE - 5}" fill="{_color(line)}" xml:space="preserve">'
        f"{escape(line)}</text>\n"
        for at, line in enumerate(lines)
    ]
    head = _HEAD.format(width=width, height=height, middle=width // 2, title=escape(title))
    return head + "".join(rows) + "</svg>\n"


def _color(line: str) -> str:
    return "#8fd18f" if line.startswith("$ ") else "#e4e8ee"


def main() -> None:
    """Draw all of them."""
    for text in sorted(FOLDER.glob("*.txt")):
        text.with_suffix(".svg").write_text(drawn(text), encoding="utf-8")


if __name__ == "__main__":
    main()
