"""How a command is told by somebody who thinks while speaking, or speaks for another. English, pure.

A false start ("bump his, bump the heating up"), a state behind a correction ("turn the piano lamp, no, the hall
light, off"), who asked for it ("Ann asked me to tell you to ..."), what a robot is sent to do. Puts words in place
of words; what is left has to be a whole command all the same.
"""

from __future__ import annotations

import re

from perslm_runtime.home_names import Kind, NameBook
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
_ASIDES = tuple(
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
            r"^i (?:hate|do not like|do not want|am sorry) to (?:be (?:a |an )?\w+|bother|trouble|nag|"
            r"ask)(?: you)?(?: again)?,? but ",
            "",
        ),
        (
            r"^(?:would there be|is there|any) (?:any |a )?chance of (?:getting |having )?(?=(?:a|some|the|my|"
            r"our)\b)",
            "i would like ",
        ),
        (
            r"^(?:i think |maybe |perhaps )?it (?:is|would be|might be) (?:best|better|a good idea|handy|as well|"
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
            r"nice|fab|amazing)"
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
    rf"\b(?:set|send|get|let|have|put) ((?:the )?\w+(?: vacuum| hoover)?|it|him|her) {_OFF_CLEANING}"
    r"(?: (?:the|this|our) (?:floors?|house|place|carpets?|lawn|grass))?(?=$|[,;.!?]| (?:please|would|will|could|"
    r"can|now|then|for|again|and)\b)"
)
_CLEANING = r"(?:cleaning|hoovering|vacuuming|mowing|sweeping|to work|going|moving|busy)"
_BETTER = re.compile(
    rf"\b((?:the )?\w+)(?:,| had better| needs to| has to| should| ought to| could| can| must) (?:go and |"
    rf"please |just )?"
    rf"(?:get|start|go|be|get on with|off) {_CLEANING}(?: please| now)*"
)
_GIVEN = re.compile(r"\bgive ((?:the )?\w+) (?:a|another) (?:run|spin|go|whirl)(?: round| around)?(?=$|[,;.!?]| )")
_ROBOTS = ("vacuum", "lawn_mower")
_ROBOT_WORDS = frozenset(("hoover", "vacuum", "robot", "mower", "cleaner"))


def as_told(spoken: str, book: NameBook) -> str:
    """The sentence (in lower case, written out) without how it came to be said."""
    spoken = _FALSE_START.sub("", spoken)
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
    return spoken


def _started(found: re.Match[str], book: NameBook) -> str:
    name = _sent(found[1], book)
    return f"start {name}" if name else found[0]


def _sent(name: str, book: NameBook) -> str:
    """What is sent, where it is a robot: a name of one, a word for one, or "it" beside one that was named."""
    words = name.split()
    bare = words[1:] if words[0] == "the" else words
    if bare[0] in ("it", "him", "her"):
        return "it" if any(domain in _ROBOTS for domain in book.domains.values()) else ""
    ids = [id_ for hit in book.find(bare, 0, (Kind.DEVICE,)) for id_ in hit.ids]
    known = bool(ids) and all(book.domains.get(id_) in _ROBOTS for id_ in ids)
    return name if known or _ROBOT_WORDS & {*bare} else ""
