"""home.toml: what is read, which mistakes are told where, and how a value is changed without harm to the rest."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perslm_daemon.home_areas import HomeFile, changed, parsed, room_in
from perslm_runtime.errors import ConfigError

FILE = """\
# our home
[areas.Kitchen]
floor = "downstairs"   # where we eat
aliases = ["galley"]

[floors.downstairs]
aliases = ["ground floor"]

[devices."light.0x1"]   # by the window
name = "Anna"
area = "Kitchen"

[confirm]
lock = "opening"
"""


def test_the_file_is_read() -> None:
    table = parsed(FILE)
    assert table.mistakes == ()
    assert (table.devices["light.0x1"].name, table.devices["light.0x1"].area) == ("Anna", "Kitchen")
    assert (table.areas["Kitchen"].floor, table.areas["Kitchen"].aliases) == ("downstairs", ("galley",))
    assert (dict(table.floors), dict(table.confirm)) == ({"downstairs": ("ground floor",)}, {"lock": "opening"})


def test_every_mistake_is_told_with_its_line_and_costs_only_itself() -> None:
    table = parsed(
        FILE
        + """\
toaster = "never"
[devices."light.0x2"]
hidden = "yes"
colour = "red"
name = "Bert"
confirm = "maybe"
[cellar]
x = 1
"""
    )
    lines = sorted(mistake.partition(": ")[0] for mistake in table.mistakes)
    assert lines == [f"home.toml:{line}" for line in (15, 17, 18, 20, 21)]
    assert table.devices["light.0x2"].name == "Bert"
    assert table.devices["light.0x1"].name == "Anna"


def test_a_file_that_is_no_toml_is_told_with_its_line_and_never_written_over(tmp_path: Path) -> None:
    broken = FILE + '[devices."x"\n'
    (tmp_path / "home.toml").write_text(broken)
    table = HomeFile(tmp_path).read()
    assert not table.readable
    assert "line 15" in table.mistakes[0]
    with pytest.raises(ConfigError, match="mend it by hand"):
        HomeFile(tmp_path).change("devices", "x", "name", "y")
    assert (tmp_path / "home.toml").read_text() == broken


def test_changing_a_value_keeps_comments_and_order() -> None:
    made = changed(FILE, "areas", "Kitchen", "floor", "upstairs")
    assert made == FILE.replace('"downstairs"   #', '"upstairs"   #')
    made = changed(FILE, "devices", "light.0x1", "hidden", True)
    assert made == FILE.replace("window\n", "window\nhidden = true\n")
    assert changed(made, "devices", "light.0x1", "hidden", None) == FILE
    added = changed(FILE, "devices", "lock.l", "aliases", ["the lock", 'a "b"'])
    assert added.startswith(FILE)
    assert tomllib.loads(added)["devices"]["lock.l"] == {"aliases": ["the lock", 'a "b"']}


def test_another_style_of_table_is_changed_too_at_the_cost_of_its_comments() -> None:
    text = 'devices = { "light.0x1" = { name = "Anna" } }  # short\n'
    made = changed(text, "devices", "light.0x1", "name", "Bert")
    assert parsed(made).devices["light.0x1"].name == "Bert"


NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(NAMES, NAMES, NAMES)
def test_what_was_given_is_read_back_and_all_else_stays(device: str, name: str, other: str) -> None:
    made = changed(FILE, "devices", device, "name", name)
    made = changed(made, "devices", other, "aliases", [name, other])
    tree = tomllib.loads(made)
    if device != other:
        assert tree["devices"][device]["name"] == name
    assert tree["devices"][other]["aliases"] == [name, other]
    assert tree["areas"] == tomllib.loads(FILE)["areas"]
    assert "# our home" in made


def test_a_missing_file_is_begun_with_an_example(tmp_path: Path) -> None:
    file = HomeFile(tmp_path)
    assert file.read().readable
    file.change("devices", "light.a", "name", "Anna")
    assert (tmp_path / "home.toml").read_text().startswith("# The rooms")
    assert file.read().devices["light.a"].name == "Anna"
    assert not (tmp_path / "home.toml.new").exists()


@pytest.mark.parametrize(
    ("name", "known", "room"),
    [
        ("Kitchen Ceiling Light", (), "Kitchen"),
        ("living room lamp", (), "Living Room"),
        ("Lamp in the den", ("Den",), "Den"),
        ("Lamp in the kitchen", (), None),
        ("kitchen-fan", (), "Kitchen"),
        ("Garden House Light", ("Garden House",), "Garden House"),
        ("Anna", ("Kitchen",), None),
    ],
)
def test_a_room_is_found_in_a_name(name: str, known: tuple[str, ...], room: str | None) -> None:
    assert room_in(name, known) == room
