"""The texts of the training benchmarks, cut from what every Python brings.

`python benchmarks/training_texts.py FOLDER` writes train.txt (most of Python's reference topics, and docstrings
of its library), held_out.txt (the other topics, trained on by nobody) and other_kind.txt (PersLM's licence). A
topic is wholly in one file, chosen by the hash of its name.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from pathlib import Path
from pydoc_data.topics import topics

_HELD_OUT_OF = 256 * 0.27  # 40,000 tokens, of which every second is scored
_MODULES = (
    "argparse",
    "ast",
    "calendar",
    "configparser",
    "csv",
    "datetime",
    "decimal",
    "doctest",
    "email",
    "fractions",
)
_MORE = ("heapq", "inspect", "json", "logging", "pathlib", "pickle", "random", "shutil", "statistics", "turtle")


def main(folder: Path) -> None:
    """Write the three texts into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    held, train = [], []
    for name, text in sorted(topics.items()):
        (held if hashlib.sha256(name.encode()).digest()[0] < _HELD_OUT_OF else train).append(text)
    train += docstrings()
    licence = Path(__file__).resolve().parents[1] / "LICENSE"
    texts = {"train": train, "held_out": held, "other_kind": [licence.read_text(encoding="utf-8")]}
    for name, parts in texts.items():
        text = "\n\n".join(parts)
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"{name}: {len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}")


def docstrings() -> list[str]:
    """Docstrings of some of the library's modules, one text a module."""
    library = Path(sysconfig.get_path("stdlib"))
    found = []
    for name in _MODULES + _MORE:
        path = library / f"{name}.py" if (library / f"{name}.py").exists() else library / name / "__init__.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)]
        found.append("\n\n".join(text for node in nodes if (text := ast.get_docstring(node)) is not None))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
