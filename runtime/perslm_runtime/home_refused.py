"""Whether a sentence wants nothing at all, or nothing now, whatever else it fits. English, pure."""

from __future__ import annotations

from collections.abc import Container

from perslm_runtime.home_idioms import never_was
from perslm_runtime.home_later import by_the_clock, is_for_then
from perslm_runtime.home_requests import at_a_time
from perslm_runtime.home_unwanted import is_unwanted
from perslm_runtime.home_wordings import is_called_off, is_cut_short
from perslm_runtime.time_words import words_of


def is_no_command(spoken: str, names: Container[str]) -> bool:
    """Whether it is called off, ends too early, or tells what would have been. `names` are words of the home's."""
    if is_called_off(spoken) or never_was(spoken):
        return True
    return is_cut_short(spoken) and words_of(spoken)[-1] not in names  # there may be a train set


def is_refused(spoken: str, names: Container[str]) -> bool:
    """The same, and what is for another time."""
    then = at_a_time(spoken) or at_a_time(by_the_clock(spoken))  # "the heater on at five so it's warm"
    return then or is_unwanted(spoken) or is_for_then(spoken) or is_no_command(spoken, names)
