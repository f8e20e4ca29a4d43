"""How a command is told by somebody who thinks while speaking, or speaks for another. English, pure.

A false start ("bump his, bump the heating up"), a state behind a correction ("turn the piano lamp, no, the hall
light, off"), who asked for it ("Ann asked me to tell you to ..."), what a robot is sent to do. Puts words in place
of words; what is left has to be a whole command all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from perslm_runtime.home_names import Kind, NameBook
from perslm_runtime.home_patterns import NUMBER, SHADE
from perslm_runtime.home_requests import VERBS

_FALSE_START = re.compile(
    rf"\b({VERBS}|can you|could you|would you|will you|i want|i need)((?: (?:the|his|her|my|our|their|that|this|"
    rf"a|an|up|on|off|"
    r"it|down|please|to))*)(?:,|\.\.+| -+)+ (?:(?:um|uh|er|erm|sorry|no|i mean|like|wait|just|and|"
    r"so) *,? *)*(?=\1\b)"
)
_BACK_AFTER = re.compile(
    r"^((?:[^,]*\b)?(?:turn|switch|put|get|pull|have|want)\b(?:(?! (?:on|off|up|down|to)\b)[^,])+), "
    r"((?:(?:no|wait|no wait|i mean|sorry|er|um|uh|erm|actually|oh|not that|scratch that|hang on)\b[, ]*)+)"
    r"((?:the |my |our |\w+'s )[^,]+?),? (on|off|up|down)((?:,? please)?[.!?]*)$"
)
_FOR_ANOTHER = re.compile(
    r"^(?:so |and |oh |hi |hey )*(?:the |my |our )?\w+(?: \w+)? (?:has |have |is |just |'s )*(?:asked|told|"
    r"wants?|wanted|sent|"
    r"asking|said|begged|reminded|is on at|keeps asking|keeps telling)"
    r" (?:me|us) (?:to )?(?:(?:please |kindly )?(?:ask|get|tell|remind|have) (?:you|the house) to |"
    r"(?:if|whether) you (?:could|can|would|might) )"
)
_WANTS_YOU = re.compile(
    rf"^(?:the |my |our )?\w+ (?:wants|would like|needs|is asking|asks|says she wants|"
    rf"says he wants) you to (?=(?:{VERBS})\b)"
)


def _full(found: re.Match[str]) -> str:
    return "to full brightness" if found[1] == "bright" else "to full volume"


_ASIDES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"^(?:(?:look|listen|sorry|and|oh),? )*i know [^,;]{3,70}?,? but (?=\w)", ""),
        (
            r"\b(?:so )?(?:i|we) (?:need|want|would like) (?:it (?:nice and )?quiet|some quiet|"
            r"some peace(?: and quiet)?|a bit of (?:quiet|"
            r"peace(?: and quiet)?))(?: in here)?[,;.] (?=\w)",
            "",
        ),
        (
            r"\bto,? (?:(?:i do not know|let us say|ooh|oh|like|about|say|maybe|what|um|er)[, ]+)+(?=(?:\d|half|"
            r"(?:\w+ty|ten|\w+teen)\b))",
            "to ",
        ),
        (r"\b(?:upstairs|downstairs|outside|through) in (?=(?:the|my|our|\w+'s) \w+)", "in "),
        (
            r"(?<=\w) and (?:then )?(?:we|i|you) (?:will|shall|can) (?:see|say|know|be|go|talk|find out|"
            r"start|eat|sit|"
            r"leave it)\b(?:(?! so | and )[^,;])*$",
            "",
        ),
        (rf"\b((?:{VERBS}) .*\w),? and (?:then )?(?:let us )?see (?:how|what) [^,;]+$", r"\1"),
        (rf"^((?:.* )?(?:{VERBS})\b.*\w) instead$", r"\1"),
        (r"\bfrom (?:(?:up|down|in|out|over) )?here(?= please$| will you$|$)", ""),
        (r" (?:then )?shall we$", ""),
        (
            r"\bthe (machine|lamp|light|fan|heater|blind|curtain|speaker|one|radiator|thing|door)\b([^,;]*?)"
            r"(?: for me| please)?,? (?:the|that) (\w+(?: \w+)?) one$",
            r"the \3 \1\2",
        ),
        (
            rf"\b((?:{VERBS})(?: on| off| up| down)?) (?:the|my|our) [\w']+(?: \w+)?,? (?:what is it called|"
            r"what do you call (?:it|that)|what is (?:its|the) name|what am i saying|what is the word),? "
            r"(?=(?:the|my|our) )",
            r"\1 ",
        ),
        (
            r"(?:^|(?<=um )|(?<=uh )|(?<=think )|(?<=think, )|(?<=no, ))(?:the|my|our) [\w']+(?: [\w']+)?,? "
            rf"(?:yeah|yes|yep|that is it|right),? (?=(?:{VERBS})\b)",
            "",
        ),
        (
            r"\b(?:a (?:bit|little) )?(?:warmer|cooler|softer|colder),? (?:like |say |maybe |to |so )?"
            r"((?:warm|cool|cold) white)\b",
            r"\1",
        ),
        (r" but not (?:the |my |our )?[\w ]+? (?:that|that one|it) stays(?: [\w ]+)?$", ""),
        (
            r"^(?:the |our )?alarm (?:on |set )?(?:for |to )(?:the )?(night|home|away)(?: mode)?\b",
            r"set the alarm to \1",
        ),
        (r"\beverywhere (?=(?:upstairs|downstairs|outside)\b)", ""),
        (
            rf"\b(?:make|have|get|put) ((?:the |my |our )[^,;]+?) (?:nice and )?(?:dim|low|bright),? (?:say|"
            rf"like|maybe|"
            rf"about|around|at) ({NUMBER} percent)\b",
            r"set \1 to \2",
        ),
        (r" nice and (?:quiet|low|dim|soft|gentle)$", ""),
        (r"^(?:(?:now then|right|so|well|oh),? )*how do i (?:say|put|do) (?:this|it),? ", ""),
        (r"(, no, [^,]+)\1", r"\1"),
        (
            rf"^(?:turn |switch |put )?((?:the |my |our )?[\w' ]+?) (?:back )?on and (?:up |down )?to ({NUMBER})"
            r"(?: degrees)?$",
            r"turn \1 on and set it to \2",
        ),
        (
            rf"^(?:set |make |turn |put )?((?:the |my |our )?(?:(?!dim|bring|drop|set|and|the)[\w']+ "
            rf"?){{1,3}}?) "
            rf"(?:at|to) ({NUMBER} percent) and (?:make it )?({SHADE})$",
            r"set \1 to \2 and make \1 \3",
        ),
        (
            r"^(?:put |set )?(?:(?:the|my|our) )?((?:(?!put|set|turn|and)[\w']+ ?){1,3}?) on (pause|mute)"
            r"(?= please\b|,|$)",
            r"\2 the \1",
        ),
        (r"^(?:go |skip )?back (?:one|a (?:song|track))(?= on the|$)", "previous song"),
        (r"^skip back\b", "previous song"),
        (r"\bthat (?:flipping|ruddy|blinking|blooming|stupid|bloody|blasted|wretched|damn|daft) ", "the "),
        (
            rf"^((?:the |my |our )?(?:(?!make|set|turn|put|and|the)[\w']+ ?){{1,3}}?) (?:to )?({SHADE}) "
            rf"(?:at|and) "
            rf"({NUMBER} percent)$",
            r"make \1 \2 and set \1 to \3",
        ),
        (rf"\byou (?:might|may) as well (?=(?:{VERBS})\b)", "so please "),
        (r" and save (?:us|me|some|on|a bit)\b[^,;]*$", ""),
        (rf"^if i am (?:ever |really )?going to [^;]+? so (?=(?:{VERBS}|can you|could you|please)\b)", ""),
        (
            r"^(?:give|get) (?:us|me) (?:a bit|a little|some) more light(?= in here\b|"
            r"$)",
            "make the lights brighter",
        ),
        (
            r"\b(?:on |at |to )?full (?:whack|tilt|pelt|beam|blast(?= (?:a|one) hundred))"
            r"(?: (?:at )?(?:(?:a|one) hundred|100) percent)?\b",
            "to 100 percent",
        ),
        (
            r"\b((?:all|every|everything)\b[^,]*?) but leave ((?:the |my |our )?(?:(?! on| alone| be$| running| "
            r"going)[\w' ])+)"
            r"(?: alone| be| on| running| going)?(?: for [\w ]+)?$",
            r"\1 except \2",
        ),
        (rf"\bso if you (?:could|would|can) (?:just |please )?(?=(?:{VERBS})\b)", "so could you "),
        (
            r",? (?:have|has|did|is|are|was|do|does) not (?:i|we|you|he|she|they|it)(?= just\b| so\b| "
            r"please\b)",
            ",",
        ),
        (r" and no more \w+$", ""),
        (r"^((?:turn|switch|put) on\b.*?) out (?=(?:on|in|by|at) (?:the|my|our)\b)", r"\1 "),
        (
            r"\b((?:all|every|everything)\b[^,]*?) but ((?:the |my |our )?[\w' ]+?) stays? (?:on|open|as it "
            r"is)$",
            r"\1 except \2",
        ),
        (r"(?<=\w) first(?= please$|$)", ""),
        (
            r"\b(too (?:dark|dim|bright|cold|hot|noisy|loud)(?: in here)?) to (?!be\b|the\b)\w+(?:(?! in "
            r"here)[^,;])*?"
            r"( in here)?$",
            r"\1\2",
        ),
        (rf"\bmake (?:my|the|this) room ({SHADE})\b", r"make the lights in here \1"),
        (
            r"^(?:carry on|go on|continue)(?: with| playing)? the (?:film|movie|music|song|show|"
            r"programme)$",
            "keep playing",
        ),
        (
            r"^(?:let me (?:think|see),? )?what was (?:it(?: again)?|i (?:going|about) to say),? (?:oh |ah "
            r")?(?:yes|yeah|right),? (?=\w)",
            "",
        ),
        (r"^i wanted (?=(?:the|my|our)\b)", "i want "),
        (r"\bon (full (?:volume|brightness|power))\b", r"to \1"),
        (r"^(call .+) (?:from now on|from today(?: on)?)$", r"\1"),
        (
            r"^(?:i know [^,]+? but )?i (?:\w+ly )?(?:cannot|do not)(?: for the life of me)? (?:remember|"
            r"recall|know),? "
            r"(?=(?:did|is|are|have|has)\b)",
            "",
        ),
        (r"\bmake it (?:nice and )?light(?= in here\b|$|,| i | so )", "turn on the lights"),
        (r"\b(?:a (?:bit|little) )?less bright\b", "dimmer"),
        (
            r"^(?:can|could|may|let) (?:we|i|us) (?:please )?(?:have|get) (?:some|a (?:bit|little) of|a bit "
            r"more|some more) "
            r"light (?=in\b)",
            "turn on the lights ",
        ),
        (
            r"^(?:(?:hi|hello|hey|yes|yeah|oh|um|well)[ ,]+)*it is (?:only |just )?me(?: again| here)*,? "
            r"(?:um |uh )?"
            r"(?=\w)",
            "",
        ),
        (r"^(?:so )?i was (?:just )?wondering,? (?:(?:if|whether) )?(?=(?:you|we|i) )", "could "),
        (r"^(?:so )?i was (?:just )?wondering,? (?=(?:could|can|would|will)\b)", ""),
        (r"\bcould ((?:the|my|our) [^,;]+?) (?:maybe|perhaps|possibly) be (?:a )?(?:nice )?", r"could \1 be "),
        (r"\b(a word|a thing|anything|what) (?:he|she|they|it|people) (?:is|are|was|were) saying\b", r"\1"),
        (
            r"^(?:can|could|will|would) you stop ((?:the|that|my|our) [\w']+(?: \w+)?) \w+ing[, ]+(?:and )?"
            r"(?:turn|switch) it off$",
            r"turn off \1",
        ),
        (
            r"(?<=\w )as (bright|loud) as (?:it|they) (?:goes|go|will go|can go|can be|gets|get)"
            r"(?: at)?(?: (?:a|one) hundred percent| 100 percent)?",
            _full,
        ),
        (
            r"\b(to full (?:brightness|volume|power)) (?:at |so |that is )?(?:(?:a|one) hundred|100) percent\b",
            r"\1",
        ),
        (
            r"^where (?:is|has) ([\w ]+?)(?: (?:hiding|hidden|gone|got to|gone to))?[, ]+"
            r"(?:find (?:him|her|it)|locate (?:him|her|it)|make (?:him|her|it) (?:beep|chirp|sing|make a "
            r"noise))$",
            r"find \1",
        ),
        (r"\bout to (?:clean|hoover|vacuum|sweep|mow)\b[^,;]*$", "out"),
        (r"\bboth (?:lots|sets|pairs) of\b", "both"),
        (r"\bupstairs and down(?:stairs)?$", "in the whole house"),
        (r"\b(?:to|in|into|on) heating(?: mode)?$", "to heat mode"),
        (r"\b(?:to|in|into|on) cooling(?: mode)?$", "to cool mode"),
        (r"^(?:go )?back to the (?:song|track|one|tune) before(?= (?:on|in) the\b|$)", "previous song"),
        (
            r"^(?:not|i hate|oh not|ugh) (?:this|that) (?:song|one|track|tune)(?: again)?,? (?:next|"
            r"skip)(?: one| song| it)?"
            r"(?: please)?$",
            "next song",
        ),
        (r" and (?:be )?(?:quick|quickly)(?: about it)?(?: please)?$", ""),
        (r" and (?:then )?(?:that is (?:all|it|that|everything)|leave me (?:alone|be|in peace))$", ""),
        (r" (?:and )?(?:no|not any) (?:more|further|less|higher|lower)(?: than that)?$", ""),
        (r"\bdo not (?:ask|judge me|judge|laugh)(?: why)?,? (?:but |and )?(?=(?:just|please)\b)", ""),
        (r"^(?:would|will|is) it (?:be )?possible (?:for you )?to ", "could you "),
        (
            rf"\b((?:make|set|turn) ((?:the|my|our) [^,;]+?) (?:to )?{SHADE}) (?:and|at|with)(?: at| to)? "
            rf"({NUMBER} percent)\b",
            r"\1 and set \2 to \3",
        ),
        (r"^it is not that [^,;]{3,60}?,? but (?=(?:can|could|would|will|please|i would)\b)", ""),
        (
            r"\b(?:the|that) (?:\w+ )?(?:thing|thingy|whatsit|yoke|doodah|thingamajig|thingummy|gizmo|"
            r"contraption|whatchamacallit)"
            r"(?: (?:in|on|by|over) the \w+)?,? (?:(?:um|er|erm|you know|i mean|what is it called|"
            r"what do you call it),? )*(?=(?:the|my|our) )",
            "",
        ),
        (r",? (?:yeah|yes|that is)?,? ?(?:that one|that|the one|it)[.!]*$(?<=, yeah that)", ""),
        (
            r"\b(?:up|down|on|off|open|closed|shut),? (?:(?:no|wait|sorry|i mean|er|um|actually|oh|"
            r"or rather)[, ]+)+"
            r"(?=(?:up|down|on|off|open|closed|shut)\b)",
            "",
        ),
        (r"(?<=, )(up|down), (?=by (?:\d|one|two|three|a))", r"\1 "),
        (
            r"^(?:(?:listen|look|so|well|and),? )*(?:i (?:hate|do not like|do not want|am sorry) to|sorry "
            r"to) (?:be (?:a |an |that )?\w+|bother|trouble|"
            r"nag|ask)(?: you)?(?: again)?,? but ",
            "",
        ),
        (
            r"^(?:would there be|is there|any) (?:any |a )?chance of (?:getting |having )?(?=(?:a|some|the|my|"
            r"our)\b)",
            "i would like ",
        ),
        (
            r"^(?:i think |maybe |perhaps )?it (?:is|would be|might be) (?:best|better|a good idea|handy|as "
            r"well|"
            r"just as well) if you "
            rf"(?:could |would )?(?=(?:{VERBS})\b)",
            "",
        ),
        (
            r"^if (?:it is all the same(?: to you)?|you do nothing else(?: today)?|"
            r"you do not do anything else(?: today)?)[, ]+",
            "",
        ),
        (
            r"\b(?:can|could) we (?:maybe |perhaps |just )?(?:try|go) (?:having |with )?(?=(?:the|my|our|"
            r"\w+'s)\b)",
            "can we have ",
        ),
        (
            rf"^you (?:would|could) not (?:happen to |just |ever )?((?:{VERBS}) [^?]+?),? (?:would|"
            rf"could) you[?.!]*$",
            r"could you \1",
        ),
        (
            r"\b(?:can|could|would|will|should|may) ((?:the|my|our|\w+'s) [^,;]+?) (?:please )?be (?:turned|"
            r"switched|put) (on|off|up|down)\b",
            r"could you turn \2 \1",
        ),
        (
            r"^if (?:that is|you are|you can) (?:you )?(?:listening|there|awake|still there|hearing me|"
            r"hear me)[, ]+",
            "",
        ),
        (r"(?<=no wait, )(?:the )?\w+ (?:wants|would like|prefers|likes) (?:it|them) (?=\w)", "make it "),
        (r"(?<=no, )(?:the )?\w+ (?:wants|would like|prefers|likes) (?:it|them) (?=\w)", "make it "),
        (r", (?:it is|this is) (?:only )?(?!too\b|so\b)(?:me|\w+)(?: here| again)?[.!]*$", ""),
        (
            r"\b(?:can|could|would|will) ((?:the|my|our|\w+'s) [^,;]+?) (?:come|go) (up|down) (?=(?:a |one|two|"
            r"three|\d|half))",
            r"turn \1 \2 ",
        ),
        (
            r"\b(?:can|could|would|will) ((?:the|my|our|\w+'s) [^,;]+?) (?:come|go) (?:down |up )?to (?=(?:\d|"
            r"half|\w+ty|ten|\w+teen)\b)",
            r"set \1 to ",
        ),
        (
            r"^(?:sorry|excuse me|pardon me|please),? (?:love|dear|pet|darling|hun|mate|sweetheart|chicken|"
            r"duck)[, ]+",
            "",
        ),
        (
            r",? (?:that|it|this)(?: would|'d) be (?:grand|great|lovely|brilliant|perfect|ideal|super|smashing|"
            r"nice|fab|marvellous|wonderful|amazing)"
            r"(?: thanks| cheers| thank you)?[.!]*$",
            "",
        ),
    )
)
"""What stands apart from a command and changes nothing of it."""
_NEEDED = re.compile(
    r"^(?:i|we|\w+) (?:will be needing|will need|am going to need|are going to need|is going to need|"
    r"could do with|could use|"
    r"am after|are after|would not mind|would not say no to|could really do with|fancy|am going to want) "
    r"((?:the|my|our|a bit of|some|\w+'s) [^,;.]+? (?:on|off|open|closed|shut|up|down|locked|unlocked))"
    r"(?: now| please| then| for this| in here| if you (?:can|could))*(?=$|[,;.!])"
)
_MADE = {"closed": "close", "shut": "close", "open": "open", "locked": "lock", "unlocked": "unlock"}
_OFF_CLEANING = (
    r"(?:(?:off )?(?:cleaning|hoovering|vacuuming|mowing|sweeping|working|going)|off|loose|on its rounds|"
    r"on his rounds|on her rounds|"
    r"on (?:its|his|her) way|to work|away|round|around|out|over|for a (?:run|spin|clean|lap|go))"
)
_SENT = re.compile(
    rf"\b(?:set|send|get|let|have|put|start) ((?:the )?\w+(?: vacuum| hoover)?|it|him|her) {_OFF_CLEANING}"
    r"(?: (?:the|this|our) (?:floors?|house|place|carpets?|lawn|grass))?(?=$|[,;.!?]| (?:please|would|will|"
    r"could|"
    r"can|now|then|for|again|and)\b)"
)
_CLEANING = r"(?:cleaning|hoovering|vacuuming|mowing|sweeping|to work|going|moving|busy)"
_BETTER = re.compile(
    rf"\b((?:the )?\w+)(?:,| had better| needs to| has to| should| ought to| could| can| must) (?:go and |"
    rf"please |just )?"
    rf"(?:get|start|go|be|get on with|off) {_CLEANING}(?: please| now)*"
)
_GIVEN = re.compile(
    r"\bgive ((?:the )?\w+) (?:a|another) (?:run|spin|go|whirl)(?: round| around)?(?=$|"
    r"[,;.!?]| )"
)
_BACK_HOME = re.compile(
    r"\b(?:get|send|put|have|tell) ((?:the )?\w+)(?: to)?(?: go)? back"
    r"(?:,? and (?:charge|dock)| (?:to|on|in|onto) (?:his|her|its|the) (?:dock|base|charger|station|"
    r"home))(?: to charge)?"
)
_CHARGING = re.compile(r"^(?:please )?(start|stop) charging (?:the |my |our )?(\w+)\b")
_WHAT_FOR = re.compile(
    r"^(?:get|start) ([\w' ]+?) (?:to start )?(?:cleaning|hoovering|vacuuming|sweeping|mowing)(?: [^,;]*)?$"
)
_ROBOTS = ("vacuum", "lawn_mower")
_ROBOT_WORDS = frozenset(("hoover", "vacuum", "robot", "mower", "cleaner"))


def as_told(spoken: str, book: NameBook) -> str:
    """The sentence (in lower case, written out) without how it came to be said."""
    spoken = _FALSE_START.sub("", spoken)
    if "white noise" in spoken and book.find(["white", "noise"], 0, (Kind.DEVICE,)):
        spoken = spoken.replace("white noise", "whitenoise")  # which is no music there; names have no spaces
    spoken = _WANTS_YOU.sub("could you ", spoken)
    for pattern, instead in _ASIDES:
        spoken = pattern.sub(instead, spoken)
    spoken = _BACK_AFTER.sub(r"\1 \4, \2\3 \4\5", spoken)
    spoken = _FOR_ANOTHER.sub("could you ", spoken)
    if (found := _NEEDED.match(spoken)) is not None:
        thing, _, state = found[1].rpartition(" ")
        made = f"{_MADE[state]} {thing}" if state in _MADE else f"turn {state} {thing}"
        spoken = made + spoken[found.end() :]
    robots = {
        one
        for one in (
            _sent(found[1], book)
            for found in (*_SENT.finditer(spoken), *_GIVEN.finditer(spoken), *_BETTER.finditer(spoken))
        )
        if one
    }
    if robots:
        for form in (_SENT, _GIVEN, _BETTER):
            spoken = form.sub(lambda found: _started(found, book), spoken)
    spoken = _BACK_HOME.sub(
        lambda found: f"send {found[1]} home" if _sent(found[1], book) not in ("", "it") else found[0], spoken
    )
    if (found := _CHARGING.match(spoken)) is not None and book.find([found[2], "charger"], 0, (Kind.DEVICE,)):
        rest = spoken[found.end() :]
        return f"turn {'on' if found[1] == 'start' else 'off'} the {found[2]} charger{rest}"
    found = _WHAT_FOR.match(spoken)
    return f"start {found[1]}" if found is not None and _sent(found[1], book) else spoken


def _started(found: re.Match[str], book: NameBook) -> str:
    name = _sent(found[1], book)
    return f"start {name}" if name else found[0]


def _sent(name: str, book: NameBook) -> str:
    """What is sent, where it is a robot: a name of one, a word for one, or "it" beside one that was named."""
    words = name.split()
    bare = words[1:] if words[0] == "the" else words
    if not bare:
        return ""
    if bare[0] in ("it", "him", "her"):
        return "it" if any(domain in _ROBOTS for domain in book.domains.values()) else ""
    ids = [id_ for hit in book.find(bare, 0, (Kind.DEVICE,)) for id_ in hit.ids]
    known = bool(ids) and all(book.domains.get(id_) in _ROBOTS for id_ in ids)
    return name if known or _ROBOT_WORDS & {*bare} else ""
