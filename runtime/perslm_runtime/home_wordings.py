"""Ways to say something that mean a plainer one: "lock the front", "Mike and Jen's lamps", "have a look and see".

Each only puts words in place of words of the same meaning; what cannot be told from words alone is not here. Pure.
"""

from __future__ import annotations

import re

from perslm_runtime.home_requests import VERBS

_YOU = r"(?:can|could|would|will) you (?:please )?"
_SHADES = r"(?:the|my|our) (?:\w+ )?(?:awning|canopy)"
_AMOUNT = r"(?:\d|half|a|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+ty|\w+teen)"
_SOMEBODY = r"(?:i|we|anyone|anybody|someone|somebody)"
_PLAINLY: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        # what goes before, and says nothing
        (
            r"^(?:oh )?(?:my (?:goodness|god|gosh|word)|goodness(?: me| gracious)?|good grief|blimey|crikey|"
            r"jeez|"
            r"geez|"
            r"heavens)[,;.!]* (?=\w)",
            "",
        ),
        (r"\b(?:(?:so )?let us |please )*keep it down(?: please)?[,;.!]+ (?=\w)", ""),
        (r"^(?:now )?what was i (?:going to say|saying|about to say)[,;.?]+ (?=\w)", ""),
        (r"\b(?:and )?only when you (?:have|get|have got) (?:a|the) \w+[, ]+", ""),
        (r",? though[.!?]*$", ""),
        (
            r"^(?:can we |could we |let us |let )?(?:get |have |let )?(?:some|a bit of|a little|more) "
            r"daylight in(?: here)?(?: please)?,? (?=open|raise|lift|pull|put)",
            "",
        ),
        (r"\b(?:i (?:suppose|think|guess|reckon) )?(?:we|you|i) had better (?=\w)", "could you "),
        (r"^(?:erm|um|uh|er)?,? ?i was going to say[,;.]+ (?=\w)", ""),
        (r"^(?:oh,? )?(?:and )?while i think of it[,;.]+ (?=\w)", ""),
        (
            r"^(?:it )?would be (?:nice|good|great|lovely) if it (?:was|were) (?=a bit|a little|warmer|cooler|"
            r"brighter)",
            "make it ",
        ),
        (
            r"^(?:has|have|did) (?:anyone|anybody|someone|somebody|we|you) (?:put|turned|"
            r"switched) (?!the alarm\b)(.+?) (on|off)\??$",
            r"is \1 \2",
        ),
        (r"^(?:hoover|vacuum) up[.!]*$", "start the vacuum"),
        (r"\bget (the \w+|\w+) to do the (?:floors?|carpets?|rugs?|lawn)\b", r"start \1"),
        (r"^send (the \w+(?: \w+)?|\w+) (?:off|out)(?: please)?[.!]*$", r"start \1"),
        (
            r"(?<!lights )(?<!light )(?<!lamp )(?<!lamps )(?<!turn )(?<!put )(?<!awning )(?<!canopy )"
            r"\bout (?=(?:in|on|at) the\b)",
            "",
        ),
        (r"^(how (?:cold|warm|hot) is it) out(?: there)?\b[^;]*$", r"\1 outside"),
        (r"^what did (?:i|we|you|anyone|somebody) set (.+?) to\??$", r"what is \1 set to"),
        (r"^.*?\b(?:did i|is|are),? (?:(?:hmm|um|uh|er),? )?(?=(?:did i|is the|are the)\b)", ""),
        (r"^did (\w+) (?:remember|forget) to ", r"did \1 "),
        (r"^(?:have (?:we|i|you) got|do we have) (any .+?) (open|on|unlocked|running)\??$", r"are \1 \2"),
        (r"\ba degree and a half\b", "1.5 degrees"),
        (r"\bhalf a degree\b", "0.5 degrees"),
        (
            r",\s*(?:oh yes|oh yeah|yes|yeah|oh|hmm|let us see|what else|i do not know|well|um|uh|er|erm),\s+"
            rf"(?=(?:{VERBS}|(?:can|could|would|will) you|please|is|are|what|which)\b)",
            ", ",
        ),
        (
            r",\s*(?:oh yes|oh yeah|yes|yeah|oh|hmm(?!,? (?:better|no)\b)|let us see|what else|i do not know|"
            r"let us say|say|well|like|"
            r"(?:um|uh|er|erm|you know)(?!,? (?:the|my|our|\w+'s)\b)),\s+",
            " ",
        ),
        (
            r",? (?:would|will) be (?:nice|great|lovely|good|perfect|ideal|fine)(?:,? (?:please|"
            r"thanks))?[.!]*$",
            "",
        ),
        (
            r"^let (?:us (?:get|have|let) )?(?:in )?(?:some|a bit of|a little|the) "
            r"(?:daylight|sunlight|sunshine|sun|light|fresh air)"
            r" into (the \w+(?: \w+)?)[,;.] (.+)$",
            r"\2 in \1",
        ),
        (
            r"^let (?:in )?(?:some|the|a bit of|a little) (?:daylight|light|sunlight|sunshine|"
            r"sun)(?: in)?(?: here)?[.!]*$",
            "open the blinds",
        ),
        (
            r"^let (?:in )?(?:some|a bit of|a little|the) (?:daylight|light|sunlight|sunshine|sun|fresh air)"
            r"(?: in)?(?: here)?[,;.] ",
            "",
        ),
        (
            r"\b(turn|put|crank|bring) ((?:(?!\b(?:and|it|then|blinds?|curtains?|shutters?|shades?|awning|"
            r"doors?)\b)[^,;.])+?) (?:right|all the way) up\b",
            r"\1 \2 to 100 percent",
        ),
        (
            r"\b(too (?:bright|dark|dim|loud|quiet|warm|hot|cold)(?: in here| in (?:the|my|"
            r"this) \w+)?) for [^,;.]+$",
            r"\1",
        ),
        (r"^(.+?) is not (?:nearly |quite |really )?bright enough\b[^,;.]*$", r"make \1 brighter"),
        (r"^(.+?) is not (?:nearly |quite |really )?loud enough\b[^,;.]*$", r"turn \1 up"),
        (r"^(.+?) is not (?:nearly |quite |really )?warm enough\b[^,;.]*$", r"make \1 warmer"),
        (r"^i cannot find ((?:the )?\w+)(?: anywhere)?(?:,? where[^,;.]*)?\??$", r"locate \1"),
        (r"\bonly (?!(?:at|to|about)\b)(?=(?:\d+|\w+(?: \w+)?) percent\b)", "to "),
        (r"^pump (.+?) up\b", r"turn \1 up"),
        (r"\band everything else\b", "and everything"),
        (r"\bi would (?:really )?love (?=(?:a|some|the|less|more|my)\b)", "i would like "),
        (r"^how far (?:down|up) (is|are) (.+)$", r"how far open \1 \2"),
        (r"^(how bright (?:is|are) .+?) set\??$", r"\1"),
        (r"^did (?:anyone|anybody|someone|somebody) (?=(?:turn|switch|shut|put)\b)", "did i "),
        (
            r"^((?:the |my )?(?:[\w']+ )?(?:curtains|blinds?|shutters?|drapes|shades?)) open a (?:little|bit|"
            r"crack|touch)\b",
            r"open \1 a bit",
        ),
        (r"^what is (?:it|the weather) like out(?: there)?,? (?=temp|heat)", "what is it like outside "),
        (r"^(?:wake|get) .+? up by (?:turning|switching) (on|off) ", r"turn \1 "),
        (
            r"^(?:have|get|let|tell|ask) (\w+) (?:to )?(?:vacuum|hoover|clean|mow)(?: (?:the|our|my) (?:floors?|"
            r"house|"
            r"carpets?|rugs?|lawn|grass|place))?(?=$|[,;.])",
            r"start \1",
        ),
        (
            r"^(?!(?:is|are|was|were|did|has|have)\b)(.+?) (a third|a quarter|two thirds|"
            r"three quarters)(?: of the way)? "
            r"(?:open|up)\b",
            r"\1 to \2",
        ),
        (r"\.\.\.? ?", ", "),
        (r"\bset ([^,;.]+?) going\b", r"start \1"),
        (r"(\b(?:lights?|lamps?)\b.*?)\bthe big one\b", r"\1the big light"),
        (r" (?:after|behind) (?:him|her|them|me|us|you)(?=$|[,;.])", ""),
        (
            r"^((?:is|are|did|have|has|do|does)\b.+?) or (?:is|are|did|was|were|have|has|not|am|do|"
            r"does)\b(?! (?:the|my|our)\b)[^,;.]*$",
            r"\1",
        ),
        (r"\btell me (how \w+) ((?:the|my|our) [^,;.]+?|it) is\b", r"\1 is \2"),
        (
            r"\b(?:carry on|go on|keep going|continue) with (?:the|that|this|our|my) "
            r"(?:film|movie|show|cartoons?|programme|program|game|video|series|episode|match)\b",
            "resume the tv",
        ),
        (r"^all the way up on (?:the )?(.+)$", r"\1 to 100 percent"),
        (
            r"(?<! but)(?<! and),? not the (?:big|other|main|rest|top|whole)(?: (?:one|ones|light|lights|"
            r"lot))?[.!]*$",
            "",
        ),
        (r"^(?:brr+|phew|ooh+|ugh+|yikes|gosh|wow|aah+|ahh+|hmm+|whoa)[,;.!]+ ", ""),
        (r"^(?:before i forget|do not let me forget|while i remember|by the way)[,;.]+ ", ""),
        (
            r"^let us (?:get|have|let) some (?:daylight|sunlight|sunshine|sun|light|fresh air)"
            r"(?: in(?: here)?)?[,;.] ",
            "",
        ),
        (
            r"\b(?:the|a|that),? (?:(?:um|uh|er|erm|you know),? )*"
            r"(?:what is it called|what do you call it|what was it(?: called)?|whatchamacallit|thingy),?"
            r" (?=the\b)",
            "",
        ),
        (
            r"^(?:can we |could we |let us |let me |shall we )?(?:get|have|let) (?:in )?(?:some|a bit of|"
            r"a little|the) "
            r"(?:daylight|sunlight|sunshine|sun|fresh air)(?: in)?(?: here)?(?: please)?[,;.] ",
            "",
        ),
        (r"\b(?:down|up) (?=half(?:way| way)?\b)", "to "),
        (r"^except (?:for )?([^,;.]+), (.+)$", r"\2 except \1"),
        (r"\bget (the \w+|\w+) to (start|stop|clean)\b", r"\2 \1"),
        (
            r"\b(?:my|his|her|the|our|their) (?:\w+'s )?(\w+)\b([^,;.]*), (\w+'s \1)(?:,? (?:i mean|"
            r"that is))?[.!?]*$",
            r"\3\2",
        ),
        (r"\bmine, (?=\w+'s\b)", ""),
        (rf"^(is|are) ({_SHADES}) out\b", r"\1 \2 open"),
        (rf"(?<!\w )({_SHADES}) in(?=$|[,;.]| and\b| please\b)", r"close \1"),
        (rf"\band ({_SHADES}) in(?=$|[,;.]| and\b| please\b)", r"and close \1"),
        (rf"\band ({_SHADES}) out(?=$|[,;.]| and\b| please\b)", r"and open \1"),
        (
            r"^(?:did|has|have) (?:anyone|anybody|somebody|someone|i|we) (?:put|set|arm|armed|turn|turned|"
            r"switch|"
            r"switched)(?: on)? the alarm(?: on)?\??$",
            "is the alarm armed",
        ),
        (r",? how many degrees\??$", ""),
        (r"^((?:what|how)\b.*) exactly\??$", r"\1"),
        # who did it, and when, where only the state of now is asked for
        (
            r"^(did|has) (?!(?:i|we|you|it|anyone|anybody|someone|somebody|the|my|our|that|this|any|"
            r"all)\b)(?:\w+) "
            r"(?=(?:leave|left|lock|locked|unlock|close|closed|shut|open|opened|turn|turned|switch|switched|put|"
            r"forget)\b)",
            r"\1 somebody ",
        ),
        (r"^((?:did|has|have) \w+) shut off\b", r"\1 turn off"),
        (
            r"^((?:did|have|has) .+?) (?:again|last night|yesterday|this morning|earlier|today|"
            r"when (?:i|we|he|she|they) \w+(?: \w+)?)\??$",
            r"\1",
        ),
        (
            r"^((?:what|how|is)\b.*?\b(?:temperature|warm|cold|hot|humid|mild|it like)\b.*?),? "
            r"(?:this (?:morning|evening|afternoon)|right now|today|tonight|at the moment|just now)\??$",
            r"\1",
        ),
        (
            r"^what is (?:it|the weather) like (outside|out there|out|in .+?),? (?:temperature|heat)[- "
            r"]?wise\??$",
            r"what is the temperature \1",
        ),
        # other words for what is done
        (
            r"\b(pause|resume|unpause|stop|skip|mute) (?:the|this|that|my|our) (?:film|movie|show|cartoons?|"
            r"programme|"
            r"program|game|video|series|episode|match|news)\b(?! (?:night|time|mode|scene))",
            r"\1 the tv",
        ),
        (r"^(?:just )?(?:hit|press) (pause|play|stop|next|skip)\b", r"\1"),
        (r"\b(switch|turn|change|put|set) (.+?) over to\b", r"\1 \2 to"),
        (r"^(?!be\b)(\w+(?: \w+)?),? off you go[.!]*$", r"start \1"),
        (
            r"\bsend (.+?) (?:out |off )?to (?:clean|vacuum|hoover|mow|work|do (?:the|its|his|her) \w+)\b",
            r"start \1",
        ),
        (r"\block (?:the |our |this )?(?:house|home|place|flat|apartment) up(?: for the night)?\b", "lock up"),
        (r"\b(?:on |down )+low,? (?:(?:like|say|about|at|to|around|maybe) )*(?=\d|\w+ percent\b)", "to "),
        (
            r"^(?!(?:is|are|was|were|did|has|have)\b)(.+?) half(?:way)? (?:open|closed|shut|down|up)"
            r"(?: for (?:the|my|our|his|her) (?!night|next|rest|time)\w+)?(?: please)?$",
            r"\1 to 50 percent",
        ),
        (
            r"^(?:a )?(?:(?:little|bit|touch) (?:bit )?)?more light (?:on|over|at|from) (.+)$",
            r"make \1 "
            r"brighter",
        ),
        (r"^(?:a (?:little|bit|touch) (?:bit )?)?less light (?:on|over|at|from) (.+)$", r"make \1 dimmer"),
        # other words for a thing, and for the contrary of a state
        (r"\bthe heat\b(?! (?:pad|pump|lamp|gun))", "the heating"),
        (r"\bheat is too (?=low|high)", "heating is too "),
        (r"^no (lights?|lamps?|music|heating|fans?)( [^,;]*?)? on\b", r"turn off the \1\2"),
        (r"^((?:which|what) .+? (?:are|is)) not (?:still )?locked\b", r"\1 unlocked"),
        (r"^((?:which|what) .+? (?:are|is)) not (?:still )?(?:closed|shut)\b", r"\1 open"),
        (r"^((?:which|what) .+? (?:are|is)) not (?:still )?open\b", r"\1 closed"),
        # how much it is wished, and what for
        (
            r"\b(would|do|might) (?:quite|really|rather|very much|just|actually) (like|love|prefer|want|need)\b",
            r"\1 \2",
        ),
        (r"\b(would (?:you )?mind) (?:terribly|awfully|ever so much|very much|at all)\b", r"\1"),
        (
            rf"(^(?:(?:please|just|can you|could you|would you|will you) )*(?:{VERBS})\b[^,;.]*?|"
            r"\b(?:on|off|up|down|open|closed|shut|percent|degrees))"
            r"\s+so (?:that )?(?:i|we|he|she|they) (?!would (?:like|love|prefer)\b)"
            r"(?:do not|does not|can|cannot|will|would|am|is|are|get|have) (?:(?! so )[^,;.])*$",
            r"\1",
        ),
        (r"\bgotta\b", "have to"),
        (
            r"\b(?:take|have) a (?:quick |little )?(?:look|peek|check) "
            r"(?:and |to )?(?:(?:see|tell me|check|say) )?(?=if\b|whether\b)",
            "check ",
        ),
        (rf"\b{_YOU}do (?:me )?(?:one|a|this one|a quick|one little) thing(?: for me)?[,:]? ", ""),
        # what is left out
        (
            r"\b(lock|unlock)( up)? the (front|back|side)(?= and\b(?! (?:the )?(?:front|back|side) doors)|"
            r" now\b| please\b| for\b|[,;.!?]|$)",
            r"\1\2 the \3 door",
        ),
        (r"\b(\w+) and (\w+)'s (\w+)s\b(?! (?:room|bedroom))", r"\1's \3 and \2's \3"),
        (rf",? but (?:only|just) (?=(?:at|to) (?:about |around |roughly )?{_AMOUNT})", " "),
        (r"\b(on|off) out (?=(?:in|on|at|by) the\b)", r"\1 "),
        (r"\b(lock (?:(?:the|everything|it all) (?:\w+ )?)?up) for the night\b", r"\1"),
        # which way something goes
        (rf"\b(?:roll|wind|put|let|pull|bring) out (?={_SHADES}\b)", "open "),
        (rf"\b(?:roll|wind|put|let|pull|bring) ({_SHADES}) out\b", r"open \1"),
        (rf"\b(?:roll|wind|pull|bring|take) in (?={_SHADES}\b)", "close "),
        (rf"\b(?:roll|wind|pull|bring|take) ({_SHADES}) in\b", r"close \1"),
        # whom it is said of
        (
            r"\b(send|bring|call|get|tell|pause|stop|start) (?:him|her)\b"
            r"(?! \w*(?:light|lamp|room|blind|fan|heater)\w*)",
            r"\1 it",
        ),
        (r"\b(back )?to (?:his|her) (dock|base|charger|station)\b", r"\1to its \2"),
        # "Did anybody shut the door after the barbecue": a question about now does not need when
        (
            rf"^((?:did|have|has) {_SOMEBODY} .+?) "
            r"(?:after|before|during|since) (?:(?:the|my|our|that) \w+(?: \w+)?|(?:i|we|he|she|they) "
            r"[^,;.]*)\??$",
            r"\1",
        ),
    )
)
_SO = (re.compile(r"\bso,\s+(?=\w)"), "so ")
_CALLED_OFF = re.compile(
    r"[,;. -]+(?:(?:uh|um|er|oh|ah|no|wait|actually|sorry|you know what|well) *,? *)*"
    r"(?:never ?mind|forget (?:it|that|about it)|scratch that|cancel that|nothing)[ .!]*$"
)


def plainer(spoken: str) -> str:
    """The sentence, in lower case and written out, in plainer words."""
    for pattern, instead in (*_PLAINLY, _SO):
        spoken = pattern.sub(instead, spoken)
    return spoken


def is_called_off(spoken: str) -> bool:
    """Whether somebody thinks better of it before the end: "dim the, uh, never mind"."""
    found = _CALLED_OFF.search(spoken)
    return found is not None and bool(spoken[: found.start()].strip(" ,.;"))


_SHORT = re.compile(
    r"\b(?:the|to|of|at|and|my|a|an|with|set)[ .!]*$|"
    r"^(?:\w+ ){0,4}(?:the|that|this) thing(?: (?:on|off|up|down|in the \w+))*[ .!]*$|"
    r"\b(?:lights?|lamps?|heating|music|blinds|tv)(?: on| off)? in(?: for me| now| please)*"
    r"[ .!?]*(?:$|[,;])"
)
_ASKS = re.compile(r"^(?:is|are|how)\b|\b(?:what|which|where|how (?:is|are|many|much|warm|cold))\b")


def is_cut_short(spoken: str) -> bool:
    """Whether a command ends where something has to come: "turn on the lights in"."""
    return bool(_SHORT.search(spoken)) and len(spoken.split()) > 1 and not _ASKS.search(spoken)
