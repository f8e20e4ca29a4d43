"""One line of a benchmark: our figure and the one it is measured against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure and what it is to be measured against. `ratio` is ours divided by reference."""

    name: str
    unit: str
    ours: float
    reference: float | None
    what_reference_is: str

    @property
    def ratio(self) -> float | None:
        """Ours divided by the reference, or None without one."""
        return self.ours / self.reference if self.reference else None
