"""Words that hang on, and everyday ways to say a thing, made whole: "next song and louder", "awning in". Pure.

Every pattern stands for one way in which people say something; what comes out is read as any other sentence.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from perslm_runtime.home_patterns import NUMBER, QUESTION


def with_ends(spoken: str, names: Collection[str]) -> str:
    """With what hangs on made whole: "next song and louder". `names` are all words of the home's names."""
    spoken = _SAME.sub(r"\1", spoken).replace(" sorry by ", " by ")
    for pattern, instead in () if QUESTION.match(spoken) else _ENDINGS:
        spoken = pattern.sub(instead, spoken)
    spoken = _BAR_THAT.sub(r"\1 except ", spoken)
    if "bar" not in names:
        spoken = _BAR.sub("except ", spoken)
    if "right" in names:  # which is no courtesy then
        spoken = _RIGHT.sub("the right ", spoken)
    if "ceiling" not in names:
        spoken = _CEILING.sub(r"\1", spoken)
    return spoken


_BAR = re.compile(r"(?<=\w )bar (?=(?:the|my|our|\w+'s)\b)")
_BAR_THAT = re.compile(
    r"\b(upstairs|downstairs|everywhere|everything|lights|blinds|off|on|house|floor) bar (?=(?:the|my|our|"
    r"\w+'s)\b)"
)
_SAME = re.compile(r"\b([a-z]+ (?:it|them|that))(?: \1)+\b")
_RIGHT = re.compile(
    r"(?<!the )(?<!my )(?<!all )\bright (?=(?:\w+ )?(?:blind|curtain|lamp|light|shutter|door|window|"
    r"speaker)s?\b)"
)
_CEILING = re.compile(r"\bceiling (fan|light)(?=s?\b)")
_A_BIT = r"(?:(?:a (?:bit|little|touch|tad)|slightly|much|way) )?"
_ENDINGS = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (rf"(?<=\w) and {_A_BIT}louder(?= please$|$)", " and turn it up"),
        (rf"(?<=\w) and {_A_BIT}(?:quieter|softer)(?= please$|$)", " and turn it down"),
        (r"(?<=\w) and (?:the |its |set its |turn its )?volume (?:up |down )?(?=to \w)", " and set the volume "),
        (
            r"^(.*?\b(?:the )?((?:[\w']+ )?(?:telly|tv|television|radio|speaker|stereo))\b.*?) and (?:set |"
            r"put |turn )?"
            r"(?:the |its )?volume (?:up |down )?to (?=\w)",
            r"\1 and set the \2 volume to ",
        ),
        (r"\b([\w']+'s) (\w+)( (?:on|off|up|down))? and ([\w']+'s)(?= please$|$)", r"\1 \2\3 and \4 \2\3"),
        (r" and leave (?:it|them) (?:there|at that|like that|that way|be)$", ""),
        (
            r"^(?:please |can you |could you )?(?:do|have|get) (.+?) in (red|blue|green|yellow|orange|purple|"
            r"pink)$",
            r"make \1 \2",
        ),
        (
            r"^let (?:a bit of|a little|some|the) (?:sun|light|air|fresh air|daylight)(?: in)?(?: here)? "
            r"(?=open|pull|raise)",
            "",
        ),
        (r"\blower ((?:the |my )?(?:\w+ )?(?:thermostat|heating|heater|radiator)) to ", r"set \1 to "),
        (r"\bfor (?:st|saint) \w+(?:'s)? day$", ""),
        (r"(?<=\w) sorry$", ""),
        (
            rf"^((?:the |my |our )?(?!set|put|open|make|turn|leave|pull|draw|have|raise|lower|bring|"
            rf"get)[\w' ]+?) ({NUMBER} percent) open$",
            r"set \1 to \2 open",
        ),
        (rf"^(?:the )?volume (?:up |down )?to ({NUMBER}) and (?=\w)", r"music volume to \1 and "),
        (
            r"^(.*\balarm\b.*?)(?: on)?,? (?:because |as |since )?(?:we are|i am) (?:all )?(?:staying|stopping) "
            r"(?:in|home|at home|put|inside)(?: tonight| today| now)?$",
            "set the alarm to home",
        ),
        (
            r"\b((?:turn|switch|put) (?:on |off )?[\w']+'s (\w+)(?: on| off)?) and (?:turn |switch |put "
            r")(\w+) is (on|off)$",
            r"\1 and turn \3's \2 \4",
        ),
        (r"\ball the way (up|down) to (?=\w)", r"\1 to "),
        (r"\bput ((?:the |my )?(?:[\w']+ )*?[\w']+) on volume (?:to )?(?=\w)", r"set the volume of \1 to "),
        (r"\bput it on (?=\d|(?:\w+ty|ten|\w+teen)\b)", "set it to "),
        (r"^(?:from now on )?((?:my|the|our) [\w']+(?: \w+)?) (?:is|are) called (\w+)$", r"call \1 \2"),
        (r"\balarm (?:for|to|on) (?:the )?night ?time\b", "alarm to night"),
        (r"\bnext (?:story|episode|chapter)\b", "next track"),
        (r"\b(next|previous|last) (?:station|channel)\b", r"\1 track"),
        (r"^lock up for (?:the night|tonight|bed)$", "lock up"),
        (
            r"\b(?:get|have|set) ((?!rid\b)[^,]+?) (?:spinning|going|running|blowing|warm(?:ing|ed)(?: up)?|"
            r"heat(?:ing|ed)(?: up)?|"
            r"brewing|boiling)(?= in the| in my|$)",
            r"turn on \1",
        ),
        (r"\bmake (\w+) (?:beep|chirp|squeak|sing|make a noise)$", r"find \1"),
        (r"\bstart the music\b(?: up)?(?: again)?", "play the music"),
        (r"\b(?:pull|draw) (.+?) across$", r"close \1"),
        (r"\blift (.+?) by (?=\w)", r"increase \1 by "),
        (r"\b((?:the |my |our )?(?:(?!on |off |and )\w+ )?awning) out\b", r"open \1"),
        (r"\bbring ((?:the |my |our )?(?:\w+ )?awning) (?:back )?in\b", r"close \1"),
        (r"^((?:the |my |our )?(?:\w+ )?awning) (?:back )?in and ([^,]* (?:on|off))$", r"\2 and close \1"),
        (r"\b((?:the |my |our )?(?:(?!on |off |and )\w+ )?awning) (?:back )?in\b(?! the)", r"close \1"),
        (r"(?:put|wind|roll|let us have|have|get|bring|let) open (?=the|my|our)", "open "),
        (r"(?:put|wind|roll|let us have|have|get|bring) close (?=the|my|our)", "close "),
        (r"\b(shut|closed|locked) (?:properly|tight|tightly|right)$", r"\1"),
        (
            r"\b(?:awful|awfully|fierce|terrible|terribly|wild|dead) (?=(?:dark|bright|cold|hot|warm|loud|"
            r"stuffy)\b)",
            "very ",
        ),
    )
)
