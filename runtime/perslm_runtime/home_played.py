"""What is said to whatever plays in the room that heard it, without naming it: "volume to twenty", "play". Pure.

The wish is marked as a hint: where nothing plays, or two things might, it is no command to the home.
"""

from __future__ import annotations

import re

from perslm_runtime.home_chunks import Chunked
from perslm_runtime.home_wish import Target, Wish

_N = r"(?P<n>xnumber\d+x)"
_TURN = (
    r"(?:turn|put|set|bring|take|get|drop|knock|nudge|crank|bump|push|move|change|adjust|make|have|keep|let|pop) "
)
_LITTLE = (
    r"(?: (?:by )?(?:little bit|bit|little|touch|notch|tad|lot|way|smidge|couple of notches|few notches|more))?"
)
_SOUND = r"(?:volume|sound|volume level)"
_COMMANDS = tuple(
    (re.compile(f"^{pattern}$"), name, word)
    for pattern, name, word in (
        (rf"(?:{_TURN})?{_SOUND} (?:up |down |back )*(?:to |at |on )?(?:about |around )?{_N}", "set_volume", ""),
        (rf"(?:{_TURN})?{_N} {_SOUND}", "set_volume", ""),
        (rf"{_SOUND} (?:should be|wants to be) (?:at )?{_N}", "set_volume", ""),
        (rf"(?:{_TURN})?(?:up )?{_SOUND} up(?: {_N})?{_LITTLE}", "change_volume", "up"),
        (rf"(?:{_TURN})?{_SOUND} down{_LITTLE}", "change_volume", "down"),
        (rf"(?:{_TURN})?{_SOUND} (?:up by|higher by) {_N}", "change_volume", "up"),
        (rf"(?:{_TURN})?{_SOUND} (?:down by|lower by) {_N}", "change_volume", "down"),
        (
            rf"(?:turn up|raise|increase|crank up|bump up|pump up|bring up) {_SOUND}(?: by {_N})?{_LITTLE}",
            "change_volume",
            "up",
        ),
        (
            r"(?:turn down|lower|decrease|reduce|drop|cut|bring down|take down|knock down) "
            rf"{_SOUND}(?: by {_N})?{_LITTLE}",
            "change_volume",
            "down",
        ),
        (r"(?:press |hit |push |start )?play(?: on)?(?: it| that| this)?(?: again)?", "play", ""),
        (r"(?:start|begin|resume|keep|carry on|go on|continue|start it) playing(?: again)?", "play", ""),
        (r"(?:resume|unpause)(?: it| that| playback)?", "play", ""),
        (r"(?:press |hit |push )?pause(?: it| that| this)?", "pause", ""),
        (
            r"(?:press |hit |push )?(?:skip|next)(?: it| that| this| one| this one| that one| song| track)*",
            "next",
            "",
        ),
        (r"(?:mute|silence) (?:it|that|sound|volume)", "mute", ""),
        (r"(?:no sound|sound off|turn off sound|turn sound off)", "mute", ""),
    )
)


def played(chunked: Chunked) -> Wish | None:
    """The wish of a sentence with marks that only says what shall be heard; None for any other."""
    if chunked.targets or chunked.places:
        return None
    drop = ("please", "the", "a", "now", "just", "again", "for", "me")
    said = " ".join(word for word in chunked.words if word not in drop)
    for pattern, name, word in _COMMANDS:
        if (found := pattern.match(said)) is None:
            continue
        mark = found.groupdict().get("n")
        values = (values[mark] for values in chunked.values.values() if mark in values)
        number = next(values, None)
        here = Target(noun="media_player", here=True, said="music")
        if name == "mute":
            return Wish("set_volume", (here,), 0, hint=True)
        return Wish(name, (here,), number, word, hint=True)
    return None
