"""The configuration of sharing: who lets which kind of examples go to the training host. Nobody by default."""

from __future__ import annotations

from dataclasses import dataclass

from perslm_daemon.config_keys import Real, Text, key

_PEOPLE = Text(r"([^,\s][^,]{0,63}(, *[^,\s][^,]{0,63}){0,19})?", "names of people with commas between")


@dataclass(frozen=True, slots=True)
class Share:
    """What may go to the training host, and whose (docs/sharing.md). Sound never goes."""

    corrections: str = key(
        "",
        _PEOPLE,
        'people whose corrections ("no, I meant …", good, bad) may go to the training host; none: nobody\'s',
    )
    failed: str = key(
        "", _PEOPLE, "people whose commands that were understood only the second time may go; none: nobody's"
    )
    conversations: str = key(
        "", _PEOPLE, "people who may choose conversations that go (`perslm share add`); none: nobody"
    )
    wait_h: float = key(24.0, Real(0, 8760), "hours an example waits, to be looked at and changed, before it goes")
    region: str = key(
        "US", Text(r"[A-Z]{2}", "two capital letters"), "country whose phone numbers are written as there"
    )

    def allows(self, kind: str, person: str) -> bool:
        """Whether this person lets this kind go."""
        return person in self.people(kind)

    def people(self, kind: str) -> tuple[str, ...]:
        """Who lets this kind go."""
        named = {"corrections": self.corrections, "failed": self.failed, "conversations": self.conversations}[kind]
        return tuple(part.strip() for part in named.split(",") if part.strip())
