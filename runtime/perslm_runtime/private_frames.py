"""Where a sentence says that an address follows: somebody lives, goes, moves or has something brought there.

Goes by what is said around an address and not by how it is written, which finds forms that no rule knows: a verb
of being or going somewhere, a place's small word, and then a number that counts nothing. Patterns alone; who looks
for them is private_places.py's.
"""

from __future__ import annotations

import re

_EN = (
    r"zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|double|"
    r"triple"
)
# What a number counts, or the time it is: "moved to nine degrees", "comes at four o'clock".
_COUNTED = (
    r"(?:am|pm|sharp|o'?clock|minutes?|hours?|days?|weeks?|months?|years?|degrees?|percent|%|times?|people|euros?|"
    r"dollars?|pounds?|kilos?|grams?|lit(?:re|er)s?|miles?|kilomet\w+|met(?:re|er)s?|seconds?|kelvin|watts?|lumens?|"
    r"and a half|:|past|to \d|to (?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve))"
)
_NUMBER = rf"(?:\d{{1,5}}(?:[-/]\d{{1,5}})*+[a-z]?|(?:{_EN})(?:[ -](?:and )?(?:{_EN}))*+)\b(?! ?{_COUNTED})"
_PLACE = (
    r"flat|house|apartment|address|office|home|place|practice|surgery|school|shop|studio|clinic|salon|dentist|"
    r"doctor|vet"
)
_THERE = (
    r"live[sd]?|living(?! room)|moved?|moving|stay(?:s|ed|ing)?|rent(?:s|ed|ing)?|navigate|drive[sn]?|directions?|"
    r"route|deliver\w*|sen[dt]s?|post(?:ed)?|ship\w*|parcels?|package|mail(?:ed)?|cab|taxi|uber|lift|ride|"
    r"picks? (?:me|us|him|her|them) up|pick (?:me|us) up|drops? \w+(?: \w+)?|comes?|came|goes|go|went|"
    r"takes? (?:me|us)|brings? (?:me|us)|meet(?:s|ing)?|works?|born|grew up|"
    rf"(?:{_PLACE})(?= (?:is|are|was|moved|in|at|on) )"
)
_LIVES = (
    r"wohn(?:t|e|en|st)|habit(?:e|es|ons|ez|ent|ait)|viv(?:o|e|es|imos|en|ono|iamo)|abit(?:o|a|i|iamo|ano)|"
    r"mor(?:o|a|amos|am)|mieszka(?:m|my|ją)?|bor|woon(?:t)?|wonen|bydl[íi](?:m|me)?|lakik|lakunk|lakom|"
    r"asu(?:n|u|mme)|livrez|liefer\w*"
)
_IN = (
    r"in|im|am|an der|an|bei|auf|à|au|aux|dans|en|na|no|em|przy|w|på|i|ve?|op|aan|te|a|nella|nel|in der|in den|de|"
    r"le|la"
)
# A point behind a short word ends no sentence: "al.", "esc.", "No.".
_WORDS = r"(?:[^.;!?]|(?<=\b[A-Za-zÀ-ž]{1})\.|(?<=\b[A-Za-zÀ-ž]{2})\.|(?<=\b[A-Za-zÀ-ž]{3})\.|\.(?=\d))"
_ON = (
    rf"(?! (?:and(?! (?:{_EN})\b)|but|so|because|please|which|if|when|is|was|has|have|with|who|that|at|to|from|"
    rf"for)\b){_WORDS}"
)
_OVER = (
    rf"(?=[.;!?](?:\s|$)|$|,? (?:and(?! (?:{_EN})\b)|but|so|because|please|which|if|when|now|tomorrow|tonight|"
    r"today|last|next|at|before|after|until|by|on|this|every|for|needs?|did|has|is|was|will)\b)"
)
_OVER_ELSEWHERE = r"(?=[.;!?](?:\s|$)|$|,? (?:und|aber|et|mais|y|pero|e|ma|en|maar|och|men|um|klokken|ale|i) )"
FRAMES = (
    re.compile(
        rf"\b(?:{_THERE})(?: [\w'-]+){{0,4}}? (?:to|at|in|on|from|near|is|as)(?: (?:at|in|on|from))?\s+"
        rf"(?P<where>(?:{_ON}){{0,60}}?(?<![\w.:]){_NUMBER}(?:{_WORDS}{{0,90}}?[\wªº])??){_OVER}",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\b(?:{_LIVES})(?: \w+){{0,2}}? (?:{_IN}) "
        rf"(?P<where>{_WORDS}{{1,60}}?(?<![\w.:])\d{{1,5}}\b(?:{_WORDS}{{0,90}}?[\wªº])??){_OVER_ELSEWHERE}",
        re.IGNORECASE,
    ),
)
"""What follows says where, whatever it looks like."""
# Streets end in these as well, and so does much else: behind "from" and a number alone.
_PLAIN = (
    r"banks?|rise|view|side|row|walk|green|brow|end|fold|yard|bottom|top|garth|reach|hey|mead|meadows?|orchards?|moor|edge|"
    r"heath|hollow|dell|copse|woods?|brook|beck|hurst|le[ay]s?|acres?|downs?|fields?|croft|barns?|mill|spinney|paddocks?|"
    r"warren|weir|lock|ford|tor|fell|gill|rigg|knoll|mound|coombe|combe|glade|nook|ride|drift|brae|loan|butts|hythe|pound|"
    r"quarry|wells?|cross|stile|gate|park|approach|bridge|landing|steps|staithe|wharf|haven|prospect|slip|vale|common|strand|"
    r"parade|cottages|almshouses|villas"
)
_NOT_NAMED = (
    r"the|a|an|in|on|off|of|to|at|from|for|and|or|by|with|is|are|was|my|your|our|his|her|their|other|far|front|back|left|"
    r"right|opposite|this|that|then|when|please|today|tonight|tomorrow|half|quarter|past|o'?clock|am|pm|north|south|east|west"
)
_FROM = r"from|at|to|near|outside|opposite|behind|beside"
PLAIN = (
    re.compile(
        rf"\b(?:{_FROM})\s+(?P<where>{_NUMBER},? (?:(?!(?:{_NOT_NAMED}|{_EN})\b)[^\W\d_][\w'’-]+ ){{1,2}}?(?:{_PLAIN})\b)",
        re.IGNORECASE,
    ),
    re.compile(rf"\b(?:{_FROM})\s+(?P<where>{_NUMBER},? the (?:{_PLAIN})\b){_OVER}", re.IGNORECASE),
)
"""A house in a street whose last word is a plain one: "from sixteen thistle bank"."""
_FRONT = (
    r"rue|avenue|boulevard|chemin|impasse|quai|all[ée]e|cours|passage|place(?= d)|calle|avenida|plaza|paseo|camino|carrera|glorieta|"
    r"via|viale|piazza|corso|vicolo|largo|rua|praça|travessa|alameda|estrada|ulic[aeyęą]|alej(?:a|i|ę|ach|e|ami)|plac(?:u|em)?|"
    r"osiedl[eu]|rond(?:o|zie)|skwer\w*"
)
_BACK = (
    r"stra(?:ß|ss)e|str|weg|gasse|platz|allee|ring|damm|ufer|markt|hof|stieg|steig|graben|chaussee|straat|laan|plein|kade|gracht|singel|"
    r"steeg|dijk|pad|dreef|baan"
)
_SMALL = r"(?:de|del|da|do|das|dos|della|dei|delle|degli|des|du|la|le|les|las|los)"
STREET_BEFORE = re.compile(
    rf"(?:(?<!\w)(?:{_FRONT}) (?:{_SMALL} ){{0,2}}(?:[^\W\d_][\w'’.-]* ){{1,3}}?|(?<!\w)[^\W\d_][\w-]*(?:{_BACK}) )"
    r"(?:(?:nummer|num[ée]ro|numero|número|numer) )?$",
    re.IGNORECASE,
)
"""A street before its house, whose number is a word."""
STREET_AFTER = re.compile(
    rf"(?: bis| ter)?,? (?:{_FRONT}) (?:{_SMALL} |d'|l'|de l'){{0,2}}[^\W\d_][\w'’-]+", re.IGNORECASE
)
"""A street behind its number, as in French."""
A_NAME = re.compile(rf"\b(?!(?:{_EN}|and|the|half|quarter|past|about|around)\b)[^\W\d_]{{3,}}", re.IGNORECASE)
"""A word that is no number: without one, "at 40" is no place."""
NO_PLACE = re.compile(
    rf"(?:the|my|our|your|his|her|their) {_NUMBER}|{_NUMBER} (?:of|[a-z]+s(?:$| (?:to|at|in|on|with|of)))\b|"
    r"(?:at|in|on|with|for|from) |(?:the |my |our |your )?(?:living|bed|bath|dining|guest|kids'?)? ?"
    r"(?:room|kitchen|hall|garage|office|garden|home|work|school|bed|list|calendar)\b|(?:the )?(?:channel|track|"
    r"chapter|page|episode|season|slide|step|level|gate|platform|scene|preset|input|volume|song|station|room|table|"
    r"row|seat|line|terminal|number|size|version|mode|speed|top|nearest|next|first|last|same|end|week|day|month|"
    r"year|part|box|locker|question|route|windows)\b",
    re.IGNORECASE,
)
"""Places of the own house, and what is counted or numbered otherwise: nobody's address."""
