"""The kinds of value a configuration key may have: how each is read, what it allows, how it is printed.

A section is a frozen dataclass whose fields are made by `key(default, kind, help)`; the kind travels in the
field's metadata, so default, type, range and help of a key stand in one place. Knows no files and no keys.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable
from dataclasses import Field, dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MASK = "********"
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


class Kind(Protocol[T_co]):
    """One type of value. `read` and `parse` raise ValueError when the value is not `allowed`."""

    @property
    def allowed(self) -> str:
        """What a value may be, as the end of the sentence "it must be …"."""

    def read(self, raw: object, base: Path) -> T_co:
        """Check a value out of a TOML file; `base` is the folder that relative paths start from."""

    def parse(self, text: str, base: Path) -> T_co:
        """Check a value out of the environment or a flag, where everything is text."""


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false."""

    allowed = "true or false"

    def read(self, raw: object, base: Path) -> bool:
        """Accept a TOML boolean only."""
        if not isinstance(raw, bool):
            raise ValueError
        return raw

    def parse(self, text: str, base: Path) -> bool:
        """Accept true/false, yes/no, on/off and 1/0 in any case."""
        word = text.strip().lower()
        if word not in _YES | _NO:
            raise ValueError
        return word in _YES


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `least` to `most`, both included."""

    least: int
    most: int

    @property
    def allowed(self) -> str:
        """The range in words."""
        return f"a whole number from {self.least} to {self.most}"

    def read(self, raw: object, base: Path) -> int:
        """Accept a TOML integer; a boolean is not a number."""
        if isinstance(raw, bool) or not isinstance(raw, int) or not self.least <= raw <= self.most:
            raise ValueError
        return raw

    def parse(self, text: str, base: Path) -> int:
        """Accept decimal digits."""
        return self.read(int(text), base)


@dataclass(frozen=True, slots=True)
class Real:
    """A number from `least` to `most`, both included."""

    least: float
    most: float

    @property
    def allowed(self) -> str:
        """The range in words."""
        return f"a number from {self.least:g} to {self.most:g}"

    def read(self, raw: object, base: Path) -> float:
        """Accept a TOML integer or float; "not a number" fails every comparison and is refused."""
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not self.least <= raw <= self.most:
            raise ValueError
        return float(raw)

    def parse(self, text: str, base: Path) -> float:
        """Accept what `float` accepts, within the range."""
        return self.read(float(text), base)


@dataclass(frozen=True, slots=True)
class Text:
    """Text that fully matches `pattern`; `described` says the pattern in words."""

    pattern: str = r"(?s).{0,8192}"
    described: str = "text of at most 8192 characters"

    @property
    def allowed(self) -> str:
        """The pattern in words."""
        return self.described

    def read(self, raw: object, base: Path) -> str:
        """Accept a TOML string that matches."""
        if not isinstance(raw, str) or not re.fullmatch(self.pattern, raw):
            raise ValueError
        return raw

    def parse(self, text: str, base: Path) -> str:
        """Accept the text as it is."""
        return self.read(text, base)


@dataclass(frozen=True, slots=True)
class Secret(Text):
    """Text that is masked wherever the configuration is printed, mistakes included."""

    def masked(self, value: str) -> str:
        """What is printed in place of a value."""
        return MASK if value else ""


@dataclass(frozen=True, slots=True)
class BrokerUrl(Secret):
    """A broker: nothing, our own, or a URL of which the password alone is masked."""

    pattern: str = r"(own|mqtts?://([^\s/@]*@)?(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?)?"
    described: str = '"" for none, "own", or mqtt://user:password@host:1883 (mqtts:// for TLS)'

    def masked(self, value: str) -> str:
        """The URL with its password masked."""
        return re.sub(r"(//[^:@/]*:)[^@]*@", rf"\g<1>{MASK}@", value)


@dataclass(frozen=True, slots=True)
class IpAddress:
    """An address of IPv4 or IPv6, without an interface."""

    allowed = "an IP address, such as 127.0.0.1, 0.0.0.0 (every IPv4 one of this machine) or :: (every one)"

    def read(self, raw: object, base: Path) -> str:
        """Accept an address as a TOML string; the result is its shortest form."""
        if not isinstance(raw, str) or "%" in raw:
            raise ValueError
        return str(ipaddress.ip_address(raw))

    def parse(self, text: str, base: Path) -> str:
        """Accept an address."""
        return self.read(text.strip(), base)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The words."""
        return "one of " + ", ".join(self.words)

    def read(self, raw: object, base: Path) -> str:
        """Accept exactly one of the words."""
        if raw not in self.words:
            raise ValueError
        return raw

    def parse(self, text: str, base: Path) -> str:
        """Accept exactly one of the words."""
        return self.read(text, base)


@dataclass(frozen=True, slots=True)
class Choices:
    """A list of different words out of a few; as text they are separated by commas."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The words."""
        return "a list of " + ", ".join(self.words)

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        """Accept a TOML array of the words, each at most once."""
        if not isinstance(raw, list) or any(word not in self.words for word in raw) or len({*raw}) != len(raw):
            raise ValueError
        return tuple(raw)

    def parse(self, text: str, base: Path) -> tuple[str, ...]:
        """Accept words separated by commas; empty text is the empty list."""
        return self.read([word.strip() for word in text.split(",") if word.strip()], base)


@dataclass(frozen=True, slots=True)
class Networks:
    """A list of IP addresses and networks; as text they are separated by commas."""

    allowed = "addresses and networks, as 192.0.2.7, 192.168.1.0/24 or fd00::/8, with commas between"

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        """Accept a TOML array of them, or a string with commas; bits beyond the network's are ignored."""
        found = _listed(raw)
        for text in found:
            ip_network(text, strict=False)
        return found

    def parse(self, text: str, base: Path) -> tuple[str, ...]:
        """Accept addresses separated by commas; empty text is the empty list."""
        return self.read(text, base)


@dataclass(frozen=True, slots=True)
class Hosts:
    """A list of hosts on the web; as text they are separated by commas."""

    allowed = "hosts, as example.org, *.example.org or example.org:8443, with commas between"

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        """Accept a TOML array of them, or a string with commas."""
        found = _listed(raw)
        for text in found:
            if not re.fullmatch(r"((\*\.)?[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", text):
                raise ValueError
        return found

    def parse(self, text: str, base: Path) -> tuple[str, ...]:
        """Accept hosts separated by commas; empty text is the empty list."""
        return self.read(text, base)


@dataclass(frozen=True, slots=True)
class Programs:
    """A list of programs with their arguments, each with a name; as text they are separated by semicolons."""

    allowed = "NAME=/PATH/TO/PROGRAM ARGUMENTS each, in a list; as text with semicolons between"

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        """Accept a TOML array of them; a program is named by its whole path."""
        if not isinstance(raw, list) or not all(isinstance(one, str) for one in raw):
            raise ValueError
        named = [program_of(one) for one in raw]
        if len({name for name, _ in named}) < len(named):
            raise ValueError
        return tuple(raw)

    def parse(self, text: str, base: Path) -> tuple[str, ...]:
        """Accept programs separated by semicolons; empty text is the empty list."""
        return self.read([one.strip() for one in text.split(";") if one.strip()], base)


def program_of(text: str) -> tuple[str, tuple[str, ...]]:
    """The name and the argument list of NAME=/PATH ARGUMENTS. Raises ValueError where it is none."""
    name, equals, command = text.partition("=")
    argv = tuple(shlex.split(command))
    if not equals or not re.fullmatch(r"[a-z][a-z0-9 _-]{0,40}", name.strip()) or not argv:
        raise ValueError
    if not argv[0].startswith("/"):
        raise ValueError
    return name.strip(), argv


@dataclass(frozen=True, slots=True)
class Places:
    """A list of places to connect to, HOST:PORT each; as text they are separated by commas."""

    allowed = "HOST:PORT, or [ADDRESS]:PORT for IPv6, with commas between"

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        """Accept a TOML array of them, or a string with commas."""
        found = _listed(raw)
        for text in found:
            place_of(text)
        return found

    def parse(self, text: str, base: Path) -> tuple[str, ...]:
        """Accept places separated by commas; empty text is the empty list."""
        return self.read(text, base)


def place_of(text: str) -> tuple[str, int]:
    """The host and port of HOST:PORT. Raises ValueError where it is none."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9._-]{1,253})):([0-9]{1,5})", text)
    if found is None or not 0 < int(found[3]) < 65_536:
        raise ValueError
    return found[1] or found[2], int(found[3])


@dataclass(frozen=True, slots=True)
class Rooms:
    """A list of places and the rooms they are in, HOST:PORT=ROOM each; as text they are separated by commas."""

    allowed = "HOST:PORT=ROOM with commas between"

    def read(self, raw: object, base: Path) -> tuple[str, ...]:
        """Accept a TOML array of them, or a string with commas."""
        found = _listed(raw)
        for text in found:
            room_of(text)
        return found

    def parse(self, text: str, base: Path) -> tuple[str, ...]:
        """Accept places with rooms separated by commas; empty text is the empty list."""
        return self.read(text, base)


def room_of(text: str) -> tuple[tuple[str, int], str]:
    """The place and the room of HOST:PORT=ROOM. Raises ValueError where it is none."""
    place, _, room = text.partition("=")
    if not room.strip() or len(room) > 80:
        raise ValueError
    return place_of(place.strip()), room.strip()


def _listed(raw: object) -> tuple[str, ...]:
    words = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError
    return tuple(word.strip() for word in words if word.strip())


@dataclass(frozen=True, slots=True)
class Location:
    """A path. `~` is expanded; a relative path starts from the folder of the file that names it."""

    allowed = "a path"

    def read(self, raw: object, base: Path) -> Path:
        """Accept a TOML string; the result is absolute."""
        if not isinstance(raw, str) or not raw.strip() or "\0" in raw:
            raise ValueError
        try:
            return (base / Path(raw).expanduser()).absolute()
        except RuntimeError as error:  # ~name of a user that does not exist
            raise ValueError from error

    def parse(self, text: str, base: Path) -> Path:
        """Accept any path that is not empty."""
        return self.read(text, base)


@dataclass(frozen=True, slots=True)
class OptionalLocation:
    """A path, or the empty text for none."""

    allowed = 'a path, or "" for none'

    def read(self, raw: object, base: Path) -> Path | None:
        """Accept a TOML string; the empty one is None."""
        return None if raw == "" else Location().read(raw, base)

    def parse(self, text: str, base: Path) -> Path | None:
        """Accept any path; empty text is None."""
        return self.read(text, base)


@dataclass(frozen=True, slots=True)
class Locations:
    """A list of paths; as text they are separated by commas."""

    allowed = "a list of paths"

    def read(self, raw: object, base: Path) -> tuple[Path, ...]:
        """Accept a TOML array of paths."""
        if not isinstance(raw, list):
            raise ValueError
        return tuple(Location().read(one, base) for one in raw)

    def parse(self, text: str, base: Path) -> tuple[Path, ...]:
        """Accept paths separated by commas; empty text is the empty list."""
        return self.read([part.strip() for part in text.split(",") if part.strip()], base)


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """What the table of keys says of one key; `name` is dotted: `model.threads`."""

    name: str
    kind: Kind[T]
    help: str
    default: T
    default_is_computed: bool


def key(default: T | Callable[[], T], kind: Kind[T], help: str) -> T:  # noqa: A002 - the word the field uses
    """Declare a dataclass field that is a configuration key; a callable default is asked at load."""
    metadata = {"kind": kind, "help": help}
    printed = not isinstance(kind, Secret)
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=printed)
    return field(default=default, metadata=metadata, repr=printed)


def key_of(prefix: str, declared: Field[Any]) -> Key[Any] | None:
    """Return the key that a dataclass field declares, or None for a field that is not a key."""
    if "kind" not in declared.metadata:
        return None
    computed = callable(declared.default_factory)
    default = declared.default_factory() if callable(declared.default_factory) else declared.default
    name = f"{prefix}{declared.name}"
    return Key(name, declared.metadata["kind"], declared.metadata["help"], default, computed)
