from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from perslm_daemon.config import check_file
from perslm_daemon.config_sections import PROFILES
from reference_pages import PAGES, ROOT, global_options, renewed
from terminal_pictures import FOLDER, drawn

CLI, CONFIG = ROOT / "docs/cli.md", ROOT / "docs/config.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_reference_says_what_the_code_does(page: Path) -> None:
    assert page.read_text() == renewed(page), "run `python tests/reference_pages.py` and look at the difference"


@pytest.mark.parametrize("text", sorted(FOLDER.glob("*.txt")), ids=lambda text: text.stem)
def test_a_picture_of_a_terminal_shows_what_it_said(text: Path) -> None:
    assert text.with_suffix(".svg").read_text() == drawn(text), "run `python tests/terminal_pictures.py`"
    assert any(f"pictures/{text.stem}.svg" in page.read_text() for page in (ROOT / "docs").glob("*.md"))


def test_every_global_option_is_explained() -> None:
    explained = CLI.read_text().partition("<!-- begin")[0]
    for option in global_options():
        assert f"`{option}" in explained, option


def test_every_exit_code_is_explained() -> None:
    from perslm_daemon import cli
    from perslm_runtime import errors

    raised = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PersLMError)
    ]
    for code in {cli.EXIT_BUG, cli.EXIT_INTERRUPTED, *(kind.exit_code for kind in raised)}:
        assert re.search(rf"^\| {code} \|", CLI.read_text(), re.MULTILINE), code


def test_every_profile_is_explained() -> None:
    for profile in PROFILES:
        assert f"| `{profile}` |" in CONFIG.read_text()


def test_the_example_file_is_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", CONFIG.read_text(), re.DOTALL)
    assert tomllib.loads(example)
    (tmp_path / "perslm.toml").write_text(example)
    assert check_file(tmp_path / "perslm.toml") == []
