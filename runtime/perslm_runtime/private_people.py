"""Where a word that is a name as well stands for somebody: by what people do, and what is done with them.

"mark broke the vase" and "thank grace for …" speak of people, "mark the date" and "grace period" do not; capitals
say nothing here, as speech is written without. Patterns alone: which words are names is private_names.py's.
"""

from __future__ import annotations

import re

# What is done with people and hardly with things: whatever follows.
_TO_SOMEBODY = (
    r"thank(?:ed|s)?|owe[sd]?|lend|lent|wish|warn(?:ed)?|congratulate|forgive|forgave|invite[sd]?|promised?|told|tell|asked|ask|remind(?:ed)?|"
    r"hug|kiss|marry|married|apologi[sz]e to|talk(?:ed|ing)? (?:to|with)|spoke (?:to|with)|speak (?:to|with)|listen to|write to|wrote to|"
    r"say (?:hi|hello|goodbye|sorry|thanks|thank you|good ?night) to|reply to|answer to|voice ?message to|message (?:to|from|for)|"
    r"(?:call|text|letter|postcard|card|email|news|word|present|gift) (?:to|from)|heard from|hear from|married to|"
    r"(?:lunch|dinner|breakfast|brunch|tea|coffee|drinks?|a drink|meeting|appointment|a date|a fight|an argument|a word|a chat|a call|sitting|living|"
    r"playing|dancing|going out|staying|stay|angry|cross|friends|travelling|working) with|married|(?:sat|sit) next to|"
    r"happy birthday|good ?night|good morning|thanks|sorry|congratulations|"
    r"proud of|because of|worried about|think(?:ing)? of|behalf of|jealous of|tired of|scared of|fond of|"
    r"(?:birthday|party|present|gift|cake|card|flowers|message|letter|room|bed|lunch|dinner) for"
)
_BEFORE = re.compile(rf"\b(?:{_TO_SOMEBODY}),? $", re.IGNORECASE)
# Of things too: with what would follow somebody there.
_BEFORE_PERHAPS = re.compile(
    r"(?:\[name\] and|\b(?:pay|paid|give|gave|help(?:ed)?|buy|bought|bring|brought|get|got|send|sent|show(?:ed)?|teach|taught|let|fetch|collect|"
    r"pick(?:ed)?|drop(?:ped)?|drive|drove|take|took|visit(?:ed)?|leave|left|see|saw|seen|wake|woke|feed|fed|join|trust|miss(?:ed)?|"
    r"hate[sd]?|with|know|knew|beat|heard)) $",
    re.IGNORECASE,
)
_FOLLOWS_SOMEBODY = re.compile(
    r"(?:$|[.,!?]| (?:up|off|out|in|at|to|from|for|back|home|down|round|over|some|a|an|the|my|our|your|his|her|their|with|about|"
    r"what|where|when|why|how|that|this|if|who|tonight|today|tomorrow|yesterday|tonight's|on|know|have|go|play|use|and|is|was|lately|"
    r"recently|anywhere|yet|again|\d+|twenty|ten|five|fifty|thirty|money|flowers|lunch|dinner|breakfast)\b)",
    re.IGNORECASE,
)
# What only people do, in the past or in the present of a third person: as the same word bids nobody to do it.
_DID = (
    r"broke|brought|ate|paid|lost|rang|wrote|sent|forgot|fixed|said|told|came|went|took|made|gave|found|bought|fell|drove|sang|slept|woke|"
    r"ran|swam|flew|drank|chose|taught|thought|knew|met|saw|stole|threw|wore|won|spoke|stood|sat|felt|kept|held|"
    r"hates|owes|needs|wants|says|thinks|likes|loves|knows|lives|works|drives|plays|sings|sleeps|snores|gets|goes|comes|has|forgets|"
    r"asks|tells|calls|eats|drinks|cooks|studies|teaches|speaks|sends|writes|uses|prefers|believes|remembers|hopes|"
    r"called|asked|phoned|texted|emailed|messaged|moved|dropped|visited|invited|borrowed|promised|wanted|needed|liked|loved|hated|played|"
    r"worked|lived|cooked|baked|cleaned|washed|spilled|spilt|smashed|answered|arrived|married|complained|cried|laughed|"
    r"decided|finished|started|helped|joined|learned|learnt|locked|missed|noticed|ordered|packed|painted|parked|"
    r"picked|planned|posted|refused|rented|repaired|replied|returned|screamed|shouted|signed|slipped|smiled|"
    r"stayed|stopped|studied|swore|talked|tidied|tried|walked|watched|woke|yelled|"
    r"isn't|wasn't|hasn't|doesn't|didn't|can't|couldn't|won't|wouldn't|and i\b|and me\b"
)
# Behind a verb that makes things of names ("mark", "bill") a thing follows at once: "mark finished tasks".
_DOES = re.compile(
    rf" (?:{_DID})(?:$|[.,!?]| (?!(?:by|as)\b)(?:the|a|an|my|our|your|his|her|their|its|me|us|him|it|them|you|that|this|those|these|i|about|to|at|"
    r"on|in|off|out|up|down|back|away|for|from|over|round|around|into|some|again|yesterday|today|last|this|while|when|with|home|"
    r"all|both|two|three|twice|mum|dad|everyone|everything|nobody|nothing|something|late|early|sick|here|there|too|so|very|really|picking|"
    r"one|never|always|without|and|how|why|what|where|who|if|because|not|no|more|\w+ly|\d+)\b)",
    re.IGNORECASE,
)
_DOES_LOOSELY = re.compile(rf" (?:{_DID})\b", re.IGNORECASE)
_BIDS = frozenset(
    (
        "mark",
        "bill",
        "hope",
        "chase",
        "book",
        "cook",
        "read",
        "rush",
        "page",
        "power",
        "light",
        "cross",
        "grant",
        "will",
        "may",
        "chip",
        "price",
        "field",
        "bond",
        "case",
    )
)
# Times and weather, which come, break and bring things: of these only what they never do.
_SEASONS = frozenset(
    [
        "april",
        "may",
        "june",
        "august",
        "summer",
        "autumn",
        "dawn",
        "winter",
        "spring",
        "night",
        "rain",
        "snow",
        "storm",
        "frost",
    ]
)
_DOES_NO_SEASON = re.compile(
    r" (?:brought (?!rain|snow|cold|sun|light|warm|change)|forgot|lost|paid|fixed|phoned|texted|emailed|messaged|asked|told|said|ate|hates|owes|knows|"
    r"sent|baked|cooked|cleaned|borrowed|drank|drives|lives|works|sleeps|thinks|and i\b)",
    re.IGNORECASE,
)
_DONE_TO_NO_SEASON = re.compile(
    r"(?:\[name\] and|\b(?:pay|paid|give|gave|help|helped|show|send|sent|teach|visit|collect|fetch|pick|drive|wake|dinner with|lunch with)) $",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    r"(?:^|[.!?;] |,? (?:that|because|if|when|and|but|so|since|after|before|until|while|think|thinks|hope|know|said|says|how|why|what|where|did you know) )$",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"(?:^|[.!?,;] |\b(?:when|where|why|how|what|who|and|time) )(?:did|does|has|hasn't|didn't|doesn't|is|was|isn't|can|could|should|would|will) $",
    re.IGNORECASE,
)
_ASKED_OF = re.compile(
    r" (?:ring|rung|call|called|like|want|know|need|live|work|finish|start|come|coming|go|going|eat|eaten|drink|have|had|say|said|tell|told|think|"
    r"get|got|leave|left|arrive|arrived|answer|answered|reply|replied|text|texted|write|written|phone|phoned|home|here|there|back|asleep|awake|ill|sick|okay|ok|"
    r"allergic|married|vegetarian|busy|free|late|ready|angry|happy|sad|joining|staying|bringing|working|still|ever|already|feel|feeling|play|playing|speak|"
    r"drive|driving|visit|visiting|sleep|sleeping|borrow|bring|brought|pick|picked|forget|forgotten|see|seen|send|sent|pay|paid|remember|hate|love|use|do|be|been)\b",
    re.IGNORECASE,
)


def is_somebody(text: str, start: int, end: int) -> bool:
    """Whether the word from `start` to `end`, a name and a word, is a person there."""
    before, word = text[:start], text[start:end].lower()
    if _BEFORE.search(before):
        return True
    begins = _BEGINS.search(before) is not None
    if word in _SEASONS:
        return (begins and _DOES_NO_SEASON.match(text, end) is not None) or (
            _DONE_TO_NO_SEASON.search(before) is not None and _FOLLOWS_SOMEBODY.match(text, end) is not None
        )
    if _BEFORE_PERHAPS.search(before) and _FOLLOWS_SOMEBODY.match(text, end):
        return True
    if begins and (_DOES if word in _BIDS else _DOES_LOOSELY).match(text, end):
        return True
    return _ASKED.search(before) is not None and _ASKED_OF.match(text, end) is not None
