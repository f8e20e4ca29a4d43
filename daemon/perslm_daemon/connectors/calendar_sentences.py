"""The sentences that reach the calendar, in English; hassil's form, over days and times that are found before."""

from __future__ import annotations

from perslm_runtime.plugin import Sentence

_WHAT = "(what|what's|whats|what is|what are|anything|is anything|is there anything|do i have anything)"
_MINE = "(my|the|our) (calendar|schedule|agenda|diary)"
_THINGS = "(appointments|events|meetings|plans|things)"


def _on(day: str) -> tuple[str, ...]:
    """What asks for a stretch of time that is said as `day`."""
    return (
        f"{_WHAT} [is] [on|planned|scheduled|happening|up|in {_MINE}|on {_MINE}] [for] {day}",
        f"what do i have [on|planned|scheduled|to do] [for] {day}",
        f"(do i have|have i got) [any|anything|something] [{_THINGS}] [on|planned] {day}",
        f"[what|which] {_THINGS} [do i have|are there|have i got] [for|on] {day}",
        f"[what is|what's|show me|tell me|read me|read] [on|in] {_MINE} [for|on] {day}",
        f"(how does|what does) [my] {day} look [like]",
        f"what am i doing {day}",
        f"what are my plans [for] {day}",
    )


EVENTS = (
    Sentence(
        (*_on("today"), f"(what is|what's) (on|in) {_MINE}", "how does my day look", "what does my day look like"),
        {"span": "today"},
    ),
    Sentence((*_on("this week"), "(how does|what does) my week look [like]"), {"span": "week"}),
    Sentence(_on("next week"), {"span": "next week"}),
    Sentence(_on("(this|at the|on the|over the|the) weekend"), {"span": "weekend"}),
    Sentence(_on("{day}")),
)
FREE = (
    Sentence(
        (
            "(am i|are we) (free|available|busy) {day}",
            "(do i|do we) have time {day}",
            "is {day} free",
            "(have i|do i have|have i got) [anything] free [time] {day}",
        )
    ),
)
NEXT = (
    Sentence(
        (
            "(what is|what's|when is|when's) my next (appointment|event|meeting)",
            "what (is|do i have) next (in|on) my (calendar|schedule|agenda)",
            "what (do i have|have i got) (next|coming up)",
            "what's coming up [(in|on) my calendar]",
            "(tell me|read) my next (appointment|event|meeting)",
        )
    ),
)
WHEN_IS = (
    Sentence(
        (
            "when (is|'s) my [next] {about} (appointment|meeting)",
            "when is my next {about}",
            "when do i have [my|the] [next] {about}",
            "when am i (meeting|seeing) [with] {about}",
        )
    ),
)
_TO = "(to|in|into|on) (my|the|our) (calendar|schedule|agenda|diary)"
ADD = (
    Sentence(
        (
            f"(add|put|enter|schedule|book|note|save) {{title}} {_TO} [for|on|at] {{day}} for {{lasts}}",
            f"(add|put|enter|schedule|book|note|save) {{title}} {_TO} [for|on|at] {{day}}",
            f"(add|put|enter|schedule|book) {{title}} [for|on] {{day}} for {{lasts}} [{_TO}]",
            f"(add|enter|schedule|book|plan) {{title}} [for|on] {{day}} [{_TO}]",
            f"put {{title}} [for|on] {{day}} {_TO}",
            f"(add|put|enter) {_TO} {{title}} [for|on] {{day}}",
            "(create|make|add) [a|an] [new] (event|appointment|entry) [called|for] {title} [for|on] {day}",
            "(create|make|add) [a|an] [new] (event|appointment|entry) [for|on] {day} called {title}",
            "(schedule|book|plan) {title} {day}",
        )
    ),
)
REMOVE = (
    Sentence(
        (
            "(cancel|remove|delete|take) [out] (my|the|our) {title} [on|from] {day} from (my|the|our) calendar",
            "(remove|delete|take) [out] [my|the|our] {title} (from|off) (my|the|our) calendar [on|for] {day}",
            "(remove|delete|take) [out] [my|the|our] {title} (from|off) (my|the|our) calendar",
            "cancel (my|the|our) {title} (appointment|meeting|event) [on|for] {day}",
            "cancel (my|the|our) {title} (appointment|meeting|event)",
            "cancel (my|the|our) {title} {day}",
        )
    ),
)
