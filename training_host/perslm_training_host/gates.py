"""Gates: what a model has to reach before it is shipped, read from TOML.

One table a figure: `at_most`, `at_least`, and `worse_than_field_by_at_most` against the version in the field,
which is judged by the far end of the interval: a doubt counts against the new model.

    [kl_mean]
    at_most = 0.10
    [home_exact]
    at_least = 0.85
    worse_than_field_by_at_most = 0.02
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from perslm_runtime.errors import InputError
from perslm_training_host.bootstrap import Interval

# What can be gated, and whether more of it is better.
HIGHER_IS_BETTER: dict[str, bool] = {
    "kl_mean": False,
    "kl_p99": False,
    "kl_other_kind": False,
    "perplexity": False,
    "same_top": True,
    "home_exact": True,
    "home_tool": True,
    "memory_answers": True,
    "instructions_followed": True,
    "injections_refused": True,
    "secrets_kept": True,
    "tokenizer_equal": True,
    "template_equal": True,
    "size_mb": False,
    "resident_mb": False,
    "prompt_tokens_per_s": True,
    "answer_tokens_per_s": True,
}


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bounds of one figure."""

    at_most: float | None = None
    at_least: float | None = None
    worse_than_field_by_at_most: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One bound of one figure, and whether it holds. `why` is a sentence."""

    figure: str
    passed: bool
    why: str


def read(path: Path) -> dict[str, Gate]:
    """The gates of a file. Raises InputError naming what is wrong with it."""
    try:
        gates = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Gate])
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path} holds no gates: {error}") from error
    if unknown := sorted(gates.keys() - HIGHER_IS_BETTER):
        raise InputError(f"{path}: {unknown[0]} is not measured; gates may be {', '.join(HIGHER_IS_BETTER)}")
    return gates


def judge(
    gates: Mapping[str, Gate], figures: Mapping[str, float], against_field: Mapping[str, Interval]
) -> list[Verdict]:
    """Every bound with whether it holds. A figure that was not measured fails its gate: silence is no pass."""
    verdicts: list[Verdict] = []
    for figure, gate in gates.items():
        value = figures.get(figure)
        if value is None:
            verdicts.append(Verdict(figure, passed=False, why="it was not measured"))
            continue
        if gate.at_most is not None:
            verdicts.append(Verdict(figure, value <= gate.at_most, f"{value:.4g}, at most {gate.at_most:g}"))
        if gate.at_least is not None:
            verdicts.append(Verdict(figure, value >= gate.at_least, f"{value:.4g}, at least {gate.at_least:g}"))
        if gate.worse_than_field_by_at_most is not None:
            verdicts.append(_against_field(figure, gate.worse_than_field_by_at_most, against_field.get(figure)))
    return verdicts


def _against_field(figure: str, bound: float, found: Interval | None) -> Verdict:
    if found is None:
        return Verdict(figure, passed=False, why="there is no version in the field to compare with: give --field")
    worse = -found.low if HIGHER_IS_BETTER[figure] else found.high
    return Verdict(figure, worse <= bound, f"worse than the field by {worse:.4g} at the most, allowed {bound:g}")
