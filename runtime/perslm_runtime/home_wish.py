"""What a sentence wants of the home, as data: a verb or a question, with the things that it named.

Made by the sentences (English ones of ours, Home Assistant's in every language), read by whoever resolves it
against the devices that there are. Knows neither.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What a sentence named, as far as words tell.

    `devices` holds for each name that was said the ids it may mean. `noun` is a class of devices ("light",
    "blind"), `many` whether the plural or "all" was said, `every` stands for "everything", `it` for "it" and
    "them", `this` for "this lamp". `here` is the room where it was said. `guessed` says that a name was not
    understood exactly, only repaired. `said` are the words, `but` what is left out.
    """

    devices: tuple[tuple[str, ...], ...] = ()
    noun: str = ""
    many: bool = False
    every: bool = False
    it: bool = False
    this: bool = False
    areas: tuple[str, ...] = ()
    floors: tuple[str, ...] = ()
    here: bool = False
    anywhere: bool = False
    outside: bool = False
    quantity: str = ""
    guessed: bool = False
    said: str = ""
    but: tuple[Target, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Every device that the names may mean."""
        return tuple(id_ for choice in self.devices for id_ in choice)

    @property
    def is_place(self) -> bool:
        """Whether nothing but a place was named: "the kitchen", "upstairs"."""
        return not (self.devices or self.noun or self.every or self.it)

    @property
    def placed(self) -> bool:
        """Whether a place was named."""
        return bool(self.areas or self.floors or self.here or self.anywhere or self.outside)


Number = int | float


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that is wanted.

    `name` is the intent ("turn_on", "set_brightness", "is_state", "again", "yes" …), `targets` what it is about,
    all of them. `number` is a value in percent, degrees or kelvin, `word` one in words (a colour, a mode, a state,
    a new name, a fact). `place` is a target that only says where. A `hint` only said how a room is.
    `unit` is "C" or "F" where it was said aloud.
    """

    name: str
    targets: tuple[Target, ...] = ()
    number: Number | None = None
    word: str = ""
    place: Target | None = None
    hint: bool = False
    unit: str = ""
    reply: tuple[str, str] = ("", "")
    """The intent and the kind of answer that Home Assistant has for it, where the sentence is one of its."""
