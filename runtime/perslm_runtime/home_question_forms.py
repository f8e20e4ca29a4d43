"""Forms of questions about the home, each with the plain one that it stands for. English, pure.

A form only puts words in place of words; home_questions.py says where in a sentence it is looked for.
"""

from __future__ import annotations

import re

from perslm_runtime.home_question_words import (
    ADVERB,
    BE,
    DEVICE_AT,
    DOCK,
    NOT_IT,
    PLACED,
    SUBJECT,
    VERB,
    WARM,
    WHERE,
    S,
)

_PLAIN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        # in two ways, or not
        (r"^(is|are) (.+?) (?:open|closed|shut|unlocked) or (locked)$", r"\1 \2 \3"),
        (
            rf"^({BE}) (.+?) ({S}),? or (?:not|{S}|(?:did|is|are|have|has) (?:it|they|i|we|you|he|she) not)$",
            r"\1 \2 \3",
        ),
        (
            rf"^(?:what|who|how|why|where)\b.*\b((?:the|my|our) [^,]+?)(?: (?:on|off|open|like|up|"
            rf"running))?, (?:or )?(is|are) (?:it|they) {ADVERB}({S})$",
            r"\2 \1 \3",
        ),
        (
            rf"^(?:and )?(?!(?:what|who|how|why|where|is|are|i|we)\b)((?:the |my |our )?[^,]+?),? (is|are) "
            rf"(?:it|"
            rf"they) {ADVERB}({S})(?: or (?:not|{S}))?$",
            r"\2 \1 \3",
        ),
        (
            rf"^(?:and )?(?!(?:would|could|should|shall|do|does)\b)((?:the |my |our )?[^,]+?),? ({S}) or "
            rf"(?:not|{S})$",
            r"is \1 \2",
        ),
        (
            rf"^(?:and )?((?:the |my |our |\w+'s )[^,]+?), (?:did|have|has) (\w+) ({VERB})(?:ed)? (?:it|"
            rf"them)(?: (on|off|open))?$",
            r"did \2 \3 \1 \4",
        ),
        (
            r"^((?:the|my|our|\w+'s) [^,]+), ((?:what|how|which|where|did|has|have)\b[^,]*?) (?:it|they|"
            r"them)\b([^,]*)$",
            r"\2 \1\3",
        ),
        (r"^whereabouts (is|are) ", r"where \1 "),
        (r"^(?:did|has|have) (\w+(?: \w+)?) (?:put|set) (?!the alarm)(.+?) (on|off)$", r"is \2 \3"),
        (
            rf"^(?:has|have|does|do) {NOT_IT}(\w+) (?:have )?((?:the|my|our|his|her|their|\w+'s) .+?) (on|off|"
            rf"open|closed|shut|locked)$",
            r"is \2 \3",
        ),
        (
            r"^(?:give me a list of|list|name|show me|tell me|what are|which are|"
            r"read out) (?:all )?(?:of )?the (open|closed|locked|unlocked) (\w+)$",
            r"which \2 are \1",
        ),
        (
            r"^is that (the .+?|\w+'s \w+) (?:that )?(?:(?:i|we) (?:can )?(?:hear|smell|see)(?:ing)?|"
            r"making (?:that|all that|the) (?:noise|racket|sound)|"
            r"humming|going|running|on|i am hearing)$",
            r"is \1 on",
        ),
        (r"^is there (?:any )?power (?:going )?(?:to|on at|in) (.+)$", r"is \1 on"),
        # the alarm, and the house as a whole
        (r"^are we (?:all )?(?:armed|alarmed)$", "is the alarm armed"),
        (r"^are we (?:all )?(?:locked up|locked|secure|shut up)(?: for the night)?$", "is everything locked"),
        (
            r"^(?:did|has|have) (?!it\b|you\b)(?:the )?\w+ (?:ever )?(?:set|armed|arm|put|turned|switched|"
            r"activated|activate)(?: on)? "
            r"the (?:\w+ )?alarm(?: on)?$",
            "is the alarm armed",
        ),
        (
            r"^is the (house |burglar |home )?alarm (?:been )?(?:set|activated|armed|live|active)$",
            r"is the \1alarm armed",
        ),
        (
            r"^is (?:the )?(?:house|home|place|whole house|whole place) (?:all )?locked(?: up)?$",
            "is everything locked",
        ),
        (r"\block up at the (front|back|side)$", r"lock the \1 door"),
        # that it has been left so
        (
            rf"^((?:which|what)(?: \w+)*?) (?:have|has) (?:\w+ )?(?:been )?(?:left|forgotten)? "
            rf"?({S})({PLACED})?$",
            r"\1 are \2\3",
        ),
        (
            rf"^((?:which|what)(?: \w+)+?) (?:have|has|did) (?:\w+|the \w+) (?:left|leave|"
            rf"leaved) ({S})({PLACED})?$",
            r"\1 are \2\3",
        ),
        (rf"^what (?:have|has|did) (?:\w+|the \w+) (?:left|leave) ({S})({PLACED})?$", r"what is \1\2"),
        (
            rf"^what (?:else )?(?:is|are) (?:all )?(?:still |left |still left )*({S})({PLACED})?$",
            r"what is \1\2",
        ),
        (rf"^(?:have|has) (.+?) been (?:left|turned|switched|put)? ?({S})({PLACED})?$", r"is \1 \2\3"),
        (
            rf"^(?:is|are) there (?:still )?(?:anything|something) (?:still |left )*({S})({PLACED})?$",
            r"is anything \1\2",
        ),
        (rf"^(?:is there )?any(?:thing)? (?:still |left )+({S})({PLACED})?$", r"is anything \1\2"),
        # at work, and done with it
        (
            rf"^(is|are) {NOT_IT}(.+?) (?:still |already |actually )*(?:going|in use|powered|powered on|"
            rf"powered up|live|lit up|"
            r"blaring|whirring|whirring away|humming|humming away|working away|doing its thing|in operation|"
            r"ticking over|blowing|spinning|"
            r"glowing|"
            r"buzzing|heating|heating up|warming up|switched on|plugged in and on)$",
            r"\1 \2 on",
        ),
        (
            rf"^(?:is|are) {NOT_IT}(?!.*\b(?:dinner|tea|lunch|bath|shower)$)(.+?) (?:all |nearly |"
            rf"almost )*(?:done|finished|"
            r"through|complete)(?: with (?:its|the) \w+| yet| cleaning| washing| drying)*$",
            r"is \1 off",
        ),
        (
            rf"^(?:has|have) {NOT_IT}(.+?) (?:finished|stopped|ended|completed|turned itself off|"
            rf"switched itself off|"
            r"clicked off)(?: (?:its|the|his|her|all the|all his) \w+| yet| washing| drying| running| going)*$",
            r"is \1 off",
        ),
        (
            rf"^has {NOT_IT}(?!.*\balarm\b)(.+?) (?:started|come on|kicked in|turned itself on)(?: yet| "
            rf"again)*$",
            r"is \1 on",
        ),
        (rf"^(?:did|does) {NOT_IT}(?!.*\balarm\b)(.+?) (?:come|turn|switch) (on|off)$", r"is \1 \2"),
        (rf"^(?:is|are) (.+?) (?:being )?(?:left )?({S}) for (?:some|any) reason$", r"is \1 \2"),
        # what the vacuum does
        (
            rf"^(?:is|has) {NOT_IT}(.+?) (?:gone |got |been |made it )?(?:back )?(?:on|at|in|to|onto) "
            rf"(?:its|his|"
            rf"her|the) {DOCK}(?: yet)?$",
            r"what is \1 doing",
        ),
        (
            rf"^(?:is|has) {NOT_IT}((?:the )?[^ ]+(?: vacuum| hoover)?) (?:still |already |got |gone "
            rf")*(?:docked|"
            rf"stuck|parked|"
            r"back home|out and about|gone home|doing the floors|on the go)(?: yet| again| somewhere)*$",
            r"what is \1 doing",
        ),
        (rf"^(?:is|are) {NOT_IT}((?:the )?[^ ]+) doing (?:anything|something)$", r"what is \1 doing"),
        (r"^how is ((?:the )?[^ ]+) getting on$", r"what is \1 doing"),
        # how warm, how damp
        (
            rf"^(?:is|was) it (?:a bit |very |really |too |quite |still |actually |getting |gone |that )*{WARM}"
            rf"(?: yet| enough)? {WHERE}(?: there)?$",
            r"how warm is it \1",
        ),
        (
            rf"^how (?:nippy|baltic|frosty|freezing|boiling|roasting|bad|mild|toasty) is it {WHERE}(?: there)?$",
            r"how warm is it \1",
        ),
        (
            rf"^(?:how|what) (?:is|are) (?:things|it|we) (?:like )?{WHERE},? (?:heat|temperature)[- ]?wise$",
            r"how warm is it \1",
        ),
        (
            rf"^(?:is|are) it (?:a bit |very |really |too |quite |still |getting )*(?:muggy|steamy|clammy|moist|"
            rf"sticky|stuffy) {WHERE}$",
            r"how humid is it \1",
        ),
        (
            r"^how (?:is|are) (?:the |our )?(temperature|humidity|moisture|damp)s? (?:looking|doing|getting on|"
            r"holding up|faring)\b",
            r"what is the \1",
        ),
        (r"^what is the (?:moisture|damp)(?: level)?\b", "what is the humidity"),
        (r"^how much (?:moisture|damp|humidity|water) is (?:there )?in the air (in .+)$", r"how humid is it \1"),
        (
            r"^what (?:sort|kind) of (temperature|humidity) (?:is it|have we got|do we have|are we at|"
            r"are we looking at)\b",
            r"what is the \1",
        ),
        (r"^what (temperature|humidity) are we (?:at|on|looking at|sitting at)(?= |$)", r"what is the \1"),
        (r"^how many degrees are we at(?= |$)", "what is the temperature"),
        (r"^what is the mercury (?:at|saying|doing)(?= |$)", "what is the temperature"),
        (rf"^(?:what|how) is it (?:like )?temperature[- ]?wise {WHERE}$", r"what is the temperature \1"),
        (rf"^how (warm|cold|hot) (?:have|do) (?:we|you|i) (?:have |got )*it {WHERE}$", r"how \1 is it \2"),
        (r"^what temperature is (?:the |our )?(\w+(?: \w+)?) (?:at|on)$", r"what is the temperature in the \1"),
        (r"^what is (.+?) set to, what color$", r"what color is \1"),
        (
            rf"^what is it (?:reading|at|showing|saying|like temperature wise) {WHERE}(?: there)?$",
            r"how warm is it \1",
        ),
        (r"^what is it (?:reading|at|showing|saying) in there$", r"what is the temperature in there"),
        (r"^(?:what|how) is (.+?)(?: doing| like| looking| at| on)?,? color[- ]?wise$", r"what color is \1"),
        (
            r"^(?:what|how) is (.+?)(?: doing| like| looking| at| on)?,? (?:brightness|light)[- ]?wise$",
            r"how bright is \1",
        ),
        (
            r"^(?:what|how) is (.+?)(?: doing| like| looking| at| on)?,? (?:volume|sound|noise)[- ]?wise$",
            r"how loud is \1",
        ),
        (r"^(are|is) (.+?) (?:drawn|pulled|lowered)(?: yet)?$", r"\1 \2 closed"),
        (
            rf"^(?:did|has|have) {SUBJECT} (?:draw|drawn|pull|pulled|lower|lowered) (?!up\b)(.+?)(?: to| shut|"
            rf" closed| down| yet)*$",
            r"are \1 closed",
        ),
        # who left it so, and where
        (
            rf"^(which|what) (.+?) (?:did|have|has) {SUBJECT} (?:forget|forgotten|forgot) to lock$",
            r"\1 \2 are unlocked",
        ),
        (
            rf"^(which|what) (.+?) (?:did|have|has) {SUBJECT} (?:forget|forgotten|forgot) to (?:close|shut)$",
            r"\1 \2 are open",
        ),
        (
            rf"^(which|what) (.+?) (?:did|have|has) {SUBJECT} (?:forget|forgotten|forgot) to (?:turn|"
            rf"switch) off$",
            r"\1 \2 are on",
        ),
        (
            r"^(did|has) (?:(?:the|my|our) \w+|mum|dad|nan|gran) (?=(?:leave|left|lock|locked|close|closed|"
            r"shut|open|turn|turned|"
            r"switch|switched|put|forget)\b)",
            r"\1 somebody ",
        ),
        (
            rf"^(is|are) (.+?) ({S})(?: yet)?,? or (?:have|do|does|should|will|shall|must|am|can|did) .+$",
            r"\1 \2 \3",
        ),
        (
            rf"^(how many|which) (.+?) (?:did|have|has) {SUBJECT} (?:leave|left|have|got) ({S})({PLACED})?$",
            r"\1 \2 are \3\4",
        ),
        (
            rf"^(?:which|what) rooms? (?:still )?(?:have|has|have got|has got) (?:still )?(?:any |the |a |"
            rf"their |"
            rf"got )*(\w+?)s? (?:still )?({S})$",
            r"which \1s are \2",
        ),
        (
            rf"^is (anything|something|everything) (?:charging|running|going|playing|working|"
            rf"plugged in)({PLACED})?$",
            r"is \1 on\2",
        ),
        (r"^what is the brightness (?:on|at) ", "how bright is "),
        (r"^(is|are) (.+?) (?:dimmed|dim)(?: at all| down)?$", r"how bright \1 \2"),
        (
            rf"^did {NOT_IT}(?!.*\balarm\b)(.+?) (?:stop|finish|end|complete)(?: (?:its|the|his|her) \w+)?$",
            r"is \1 off",
        ),
        (rf"^are we (?:all |all still )?{WARM}(?: enough)? {WHERE}$", r"how warm is it \1"),
        (r"^what is it at$", "what is the temperature"),
        (r"^(.*\boutside\b.*), (how (?:cold|warm|hot|chilly|humid) is it)$", r"\2 outside"),
        (
            r"^what (?:does|do|is) (?:the |our )?(?:thermometer|temperature sensor) in (.+?) (?:say|read|show|"
            r"saying|reading|showing)(?:ing)?$",
            r"what is the temperature in \1",
        ),
        (
            r"^what (?:does|do|is) (?:the |our )?(.+?) (?:thermometer|temperature sensor) (?:say|read|show|"
            r"saying|reading|showing)$",
            r"what is the temperature in the \1",
        ),
        (
            r"^is there (?:a lot of|much|too much|any|lots of) (?:moisture|humidity|damp|steam|"
            r"condensation) (in .+)$",
            r"how humid is it \1",
        ),
        # the rest
        (
            r"^did (.+?) get (?:switched|turned|left|put|locked|closed|shut|opened)(?: (on|off|open))?$",
            r"is \1 \2",
        ),
        (
            r"^(is|are) (.+?) (?:playing anything|making noise|blaring away|blaring out|"
            r"chugging away|churning away)$",
            r"\1 \2 on",
        ),
        (
            r"^what (?:has|have) \w+ (?:got )?((?:the |\w+'s )[\w ]*(?:heater|heating|radiator|thermostat|"
            r"fire|conditioner))"
            r" (?:set )?(?:to|at|on)$",
            r"what is \1 set to",
        ),
        (
            rf"^(?:what|which) (\w+) (?:have|has) (?:we|you|i|they) got ({S})({PLACED})?$",
            r"which \1 are \2\3",
        ),
        (
            r"^what temperature is ((?:the |my |our |\w+'s )?[\w ]*(?:heater|heating|radiator|thermostat|"
            r"conditioner)) "
            r"(?:set )?(?:at|to|on)$",
            r"what is \1 set to",
        ),
        (r"^(is|are) (.+?) still playing$", r"\1 \2 playing"),
        (
            r"^how far (?:out|along|across|in|down|up) (is|are) (?:the |my |our )?([\w' ]+)$",
            r"how open \1 "
            r"the \2",
        ),
        (
            rf"^(?:are there |is there )?any (\w+) (?:still )?({S})({PLACED})? and if so (?:which|what)(?: "
            rf"ones?)?"
            r"(?: are they| is it)?$",
            r"which \1 are \2\3",
        ),
        (
            r"^what (?:does|do) (?:the |our )?(?:thermometer|temperature sensor) (?:say|read|show)((?: "
            r"(?:in|on|at) .+)?)$",
            r"what is the temperature\1",
        ),
        (r"^what shade (?:is|are|of \w+ (?:is|are)) ", "what color is "),
        (
            r"^(?:what|which) color (?:have|has|did|do) (?:we|you|i|they|\w+) (?:got |have |set |put |make |"
            r"leave |left )*(.+?)(?: to| on| set to| at)?$",
            r"what color is \1",
        ),
        (
            r"^is (.+?) (?:still |currently )?(?:blue|red|green|pink|purple|orange|yellow|white|turquoise)$",
            r"what color is \1",
        ),
        (
            rf"^(?:how far|how much) (?:are|is|have we got|did i leave|did we leave) {DEVICE_AT} (?:down|up|"
            rf"open|"
            rf"closed|shut|drawn|raised|lowered)$",
            r"how far open is \1",
        ),
        (
            r"^(?:is|are) (.+?) (?:all the way|fully|completely|right|properly|wide|halfway|half|partly|"
            r"part) (open|closed|shut)$",
            r"is \1 \2",
        ),
        (r"^how (?:loudly|quietly) (?:is|are) (.+?) (?:playing|on|going)$", r"how loud is \1"),
        (
            r"^how (?:loud|quiet) (?:have|has|did) (?:we|i|you|\w+) (?:got |get |put |set )?(.+?)(?: on| at|"
            r" playing| set)?$",
            r"how loud is \1",
        ),
        (
            r"^how (?:bright|dim) (?:have|has|did) (?:we|i|you|\w+) (?:got |get |put |set )?(.+?)(?: on| at|"
            r" set|"
            r" turned)?$",
            r"how bright is \1",
        ),
        (
            r"^how hot (?:have|has|did) (?:we|i|you|\w+) (?:got |get |put |set )?(.+?)(?: on| at| set| "
            r"turned)?$",
            r"what is \1 set to",
        ),
    )
)


def plain_form(clause: str) -> str | None:
    """The plain question that a clause (in lower case, written out) stands for; None for any other clause."""
    for pattern, instead in _PLAIN:
        if (made := pattern.sub(instead, clause)) != clause:
            return made.strip()
    return None
