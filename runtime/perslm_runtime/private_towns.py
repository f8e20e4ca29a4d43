"""What stands around a house and its street: flat, town, region, postcode; and postcodes that are told by name.

Speech is written without capitals and commas, so what follows an address there goes on to the next small word that
no address has. A word too many costs an example little. Patterns alone; who looks for them is private_places.py.
"""

from __future__ import annotations

import re

_EN = (
    r"zero|oh|o|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|double|triple"
)
_OTHERS = (  # digits of the other languages, as postcodes are told
    r"null|eins?|zwei|zwo|drei|vier|fünf|sechs|sieben|acht|neun|zéro|une?|deux|trois|quatre|cinq|sept|huit|neuf|cero|"
    r"uno?|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|due|tre|quattro|cinque|sei|sette|otto|nove|um|dois|três|quatro|"
    r"sete|oito|nul|een|twee|drie|vijf|zes|zeven|negen|noll|ett|två|fyra|fem|sex|sju|åtta|nio|jeden|dwa|trzy|cztery|"
    r"pięć|sześć|siedem|osiem|dziewięć"
)
_NTH = r"first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|top|ground|upper|lower|\d{1,2}(?:st|nd|rd|th)"
_FLAT = (
    r"apt|apartment|suite|ste|unit|flat|floor|studio|level|lvl|room|lot|block|tower|building|bldg|wing|door|staircase|"
    r"piso|planta|puerta|escalera|esc|izquierda|derecha|izq|dcha|dto|apto|apartamento|bloco|sala|andar|lote|"
    r"tür|top|stiege|stock|etage|interno|scala|int|bât|bâtiment|appartement|appt|app|étage|esc|lgh|mieszkania|bus|hs|"
    r"hinterhaus|vorderhaus|seitenflügel|og|eg|dg|links|rechts|mitte|izda|left|right"
)
# Small words that no address goes on with; in a text without capitals they end it.
_ENDS = (
    r"and|but|so|because|please|which|if|when|now|tomorrow|tonight|today|last|next|at|by|is|are|was|were|be|been|for|"
    r"to|on|with|before|after|until|till|from|right|then|than|who|whose|where|that|this|these|those|the|my|your|our|"
    r"his|her|their|its|i|i'm|we|we're|it|it's|he|she|they|you|me|us|him|them|has|have|had|will|would|can|could|shall|"
    r"should|may|might|must|do|does|did|don't|not|no|yes|or|as|while|remember|remind|note|thanks|thank|instead|again|"
    r"every|each|there|here|soon|later|around|about|just|only|also|too|ago|once|since|without|how|what|why|okay|ok|"
    r"needs?|gets?|goes|looks?|wants?|says?|said|like|minutes?|hours?|days?|weeks?|months?|years?|o'clock|am|pm|"
    r"morning|afternoon|evening|noon|midnight|monday|tuesday|wednesday|thursday|friday|saturday|sunday|january|"
    r"february|march|april|june|july|august|september|october|november|december|anymore|between|during|opposite|"
    r"near|behind|beside|under|over|via|per|any|some|all|both|will|always|never|usually|still|already|go|going|"
    r"take|bring|drive|call|tell|ask|buzz|ring|leave|turn|und|aber|bitte|oder|et|mais|y|pero|e|ma|en|maar|i|och|men"
)
_LINK = r"(?:in|à|a|en|em|near|w|bei|i|te|co\.?|county)"
_NUMBERED = r"(?:\d[\w/.-]*|[a-z]?\d+[a-z]?)"

FLAT_BEFORE = re.compile(
    rf"(?<!\w)(?i:(?:(?:{_NTH})[ -]floor|(?:{_FLAT})\.? ?(?:#?\d\w{{0,4}}|(?:{_EN})(?: (?:{_EN}))?|[a-z])|"
    rf"(?:{_NTH}|am|im|lot|plot|house|unit|flat|block|lange|korte|grote|oude|nieuwe|alte|neue|große|kleine|lilla|stora|norra|södra|östra|västra|gamla)"
    rf"(?= $)|#\d{{1,4}}|number|no\.?|nr\.?|c/o [\w'’-]+),? )+$"
)
"""A flat, a floor or "number" in front of a house."""

_WORD = rf"(?!(?i:{_ENDS})\b)[^\W\d_][\w'’.-]*"
_CAPITAL = (
    r"(?!(?:I|I'm|We|My|The|It|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)\b)[A-ZÀ-ÞŁŚŻŠČ][\w'’.-]*"
)
_NOT_TIME = r"(?! ?(?:am|pm|a\.m|p\.m|o'clock|h\b|uhr|minutes?|hours?|days?|people|times?|percent|euros?|dollars?|pounds?|:|°))"
_UNIT = rf"(?i:(?:{_FLAT})\b\.? ?(?:#?\d[\w/-]*|(?:{_EN})(?: (?:{_EN}))?\b|[a-z]\b)?)"

WRITTEN = re.compile(
    rf"(?:[,/]? ?(?:- )?(?:{_UNIT}|\([A-ZÀ-Þ][\w -]+\)|\d{{1,2}}(?:[ºª°]|\. ?(?=(?i:{_FLAT})))[-\dºª°]*|- [A-Z]{{2}}\b|{_NUMBERED}\b{_NOT_TIME}|[A-Z]\d[\dW] ?[A-Z\d]{{4}}\b)|,? (?:{_LINK} )?{_CAPITAL}"
    rf"(?: (?:de|del|della|di|do|da|am|an der|upon|on|sur|le|la|der) {_CAPITAL})?)"
)
"""One more step of an address in a text with capitals."""
SPOKEN = re.compile(
    rf"(?:,? (?:{_UNIT}|{_NUMBERED}\b{_NOT_TIME}|(?:{_EN})\b{_NOT_TIME}|(?:{_LINK} (?=\w{{3,}}))?{_WORD}))",
    re.IGNORECASE,
)
"""One more step in a text without."""
MOST_STEPS = 14

_CODE = rf"(?:(?:{_EN}|{_OTHERS})\b|[a-z]?\d[a-z\d-]*|[a-z]{{1,2}}\d[a-z\d-]*|[a-z]\b|[a-z]{{2}}\b(?=[ -](?:\d|(?:{_EN})\b)|$|[.,!?]))"
ADDRESS_IS = re.compile(
    r"\b(?i:address(?:'s|es are| as| to| on file is| has changed to| changed to)|adresse (?:ist|lautet|est|c'est|er)|adress är|"
    r"direcci[óo]n es|indirizzo è|adres (?:is|to)|endereço é|morada é)\s+"
    r"(?P<where>[^.;!?]{2,90}?\w)(?=[.;!?](?:\s|$)|$|,? (?:and|but|so|und|aber|et|mais|y|pero|e|ma|en|maar|och|men|i) )"
)
"""In any language: what follows an address' own word is where, whatever it looks like."""
TOLD = (
    # "my postcode is s w one a one a a", "the eircode's d09 x2f5"
    re.compile(
        r"\b(?i:post ?codes?|postal codes?|zip(?: ?codes?)?|eircode|air code|pin ?codes?|plz|postleitzahl|code postal|"
        r"c[óo]digo postal|cep|postnummer|kod pocztowy|codice postale)\b(?:(?:'s|:| is| are| was| ist| est| es| é| è|"
        r" to| should be| must be| has to be| now| for [\w ]{2,20}? is)\b| now)*:? "
        rf"(?P<where>(?!(?i:am|is|a)\b)(?i:{_CODE})(?:[ -](?i:{_CODE})){{0,9}})"
    ),
    re.compile(
        r"\b(?i:(?:g\.? ?)?p\.? ?o\.? ?box|(?:post(?:al)?(?: office)?|mail) box|postfach|postbus|apartado(?: de correos)?|"
        r"casella postale|bo[îi]te postale|caixa postal|skrytka pocztowa|locked bag|private bag)(?: (?i:number|no\.?|nummer))? "
        rf"(?P<where>(?i:(?:\d[\w-]*|(?:{_EN})\b)(?: (?:\d[\w-]*|(?:{_EN})\b)){{0,6}}))"
    ),
)
"""A postcode or a box that is told by its name: what counts is in `where`."""

_STREET = (
    r"esplanade|promenade|strand|embankment|croft|garth|drove|wynd|dene|chase|quay|wharf|street|road|avenue|lane|drive|court|square|place|boulevard|close|crescent|terrace|gardens?|grove|row|mews|"
    r"parade|parkway|highway|alley|hill|view|way"
)
_HOUSE = (
    r"cottage|house|farm|farmhouse|lodge|rectory|barn|hall|villa|vicarage|residency|apartments?|towers?|mansions?|"
    r"manor|bungalow|chambers|heights|enclave|society|nagar|residences?|buildings?|forge|granary|mill|chapel|school|"
    r"stables?|maltings|oast|gatehouse|coach house|schoolhouse"
)
_SV = (
    r"ett|två|tre|fyra|fem|sex|sju|åtta|nio|tio|elva|tolv|tretton|fjorton|femton|sexton|sjutton|arton|nitton|tjugo\w*|"
    r"trettio\w*|fyrtio\w*|femtio\w*|sextio\w*|sjuttio\w*|åttio\w*|nittio\w*"
)
_PL = (
    r"jeden|dwa|trzy|cztery|pięć|sześć|siedem|osiem|dziewięć|dziesięć|jedenaście|dwanaście|trzynaście|czternaście|"
    r"piętnaście|szesnaście|siedemnaście|osiemnaście|dziewiętnaście|dwadzieścia|trzydzieści|czterdzieści|sto"
)
_DE = (
    r"(?:zwanzig|dreißig|dreissig|vierzig|fünfzig|fuenfzig|sechzig|siebzig|achtzig|neunzig|hundert|zehn|elf|zwölf|eins?|"
    r"zwei|drei|vier|fünf|fuenf|sechs?|sieben|sieb|acht|neun|und)+"
)
_SAID = rf"(?:(?:a )?(?:{_EN})(?:(?: and)? (?:{_EN})\b){{0,5}})"
_FRONT = (
    r"calle|avenida|plaza|paseo|carrer|camino|carretera|via|viale|piazza|corso|largo|vicolo|rua|travessa|praça|alameda|"
    r"rue|avenue|boulevard|quai|impasse|chemin|place|allée|allee|cours|route de|ulica|ulicy|ul\.?|aleja|alei|plac"
)
_SMALL = r"de|del|de la|de las|de los|da|do|das|dos|della|dei|des|du|la|le|las|los|san|santa|santo|saint|don"
_NAME = rf"(?!(?:{_ENDS}|an?|email|app|phone|text|mail|bluetooth|wifi|zoom|usb)\b)[^\W\d][\w'’-]*"
FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        # number behind: "maple drive number nine"
        rf"(?<!\w)(?:{_NAME} ){{1,3}}?(?:{_STREET}),? (?:number|no\.?|nr\.?|#) ?(?:\d{{1,5}}\w?|(?:{_EN})(?: (?:{_EN})){{0,3}})\b",
        # streets that begin with their word, in small letters
        rf"(?<!\w)(?:{_FRONT}) (?:(?:{_SMALL}) ){{0,2}}(?:{_NAME} ){{1,3}}?(?:n[ºo°.]* ?)?\d{{1,5}}(?:[/-]\d{{1,4}}|[a-z])?\b{_NOT_TIME}",
        rf"(?<!\w)(?:[^\W\d_]\w* )?\w*(?:gatan|vägen|gränd|torget|stigen|backen|allén) (?:{_SV}|\d{{1,3}}\w?)\b",
        # a number in English words behind a street of any country, or the other way about
        rf"(?<!\w)(?:{_FRONT}) (?:(?:{_SMALL}) ){{0,2}}(?:{_NAME} ){{1,3}}?(?:number |no\.? )?{_SAID}\b{_NOT_TIME}",
        rf"(?<!\w)(?:(?:van|von|de|der|den|la|le) ){{0,2}}(?:{_NAME} )?\w*(?:stra(?:ß|ss)e|str|allee|weg|gasse|platz|damm|ufer|straat|laan|plein|"
        rf"gracht|kade|singel|dijk|gatan|gata|vägen|vagen|gränd|torget) (?:number |nummer |no\.? )?(?:{_SAID}|{_DE}|\d{{1,4}}[a-z]?)\b{_NOT_TIME}",
        rf"(?<!\w)(?:{_SAID}|\d{{1,5}}(?:[a-z]| 1/2| ?½)?),? (?:the |(?:{_NAME} ){{1,3}}?)(?:{_STREET}|parade|ave?|st|rd|dr|blvd|ln|ct)\b",
        r"(?<!\w)\d{1,5}[a-z]?,? (?:esplanade|parade|promenade|strand|broadway|embankment)\b",
        rf"(?<!\w)(?:{_SAID}|\d{{1,5}})(?: (?:north|south|east|west))? (?:(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)[ -])?"
        r"(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|\w+teenth|\w+tieth|\d{1,3}(?:st|nd|rd|th)) (?:street|avenue|road|place)\b",
        rf"(?<!\w)(?:apt|apartment|flat|unit|suite) (?:\d\w{{0,4}}|{_SAID}),? (?:the )?(?:{_NAME} ){{1,4}}?(?:{_STREET})\b",
        rf"(?<=\bto )(?:the )?(?:{_NAME} )?(?:{_HOUSE}) (?:{_NAME} ){{1,2}}?(?:{_STREET})\b",
        rf"(?<=\bfrom )(?:the )?(?:{_NAME} )?(?:{_HOUSE}) (?:{_NAME} ){{1,2}}?(?:{_STREET})\b",
        rf"(?<=\bat )(?:the )?(?:{_NAME} )?(?:{_HOUSE}) (?:{_NAME} ){{1,2}}?(?:{_STREET})\b",
        r"(?<!\w)(?:[^\W\d]+-(?:ku|shi|cho|machi|gun),? ){1,3}\d{1,4}(?:-\d{1,4})*\b",
        rf"(?<!\w)(?:ulica|ulicy|ul\.?|aleja|alei|plac|osiedle) (?:{_NAME} ){{1,3}}?(?:{_PL})\b(?: (?:{_PL})\b)*",
        rf"(?<!\w)\d{{1,4}}[a-z]? the (?:{_STREET}|green|park|chase|ridings|paddocks?)\b",
        # a house by its name, in a street: "The Old Rectory, Church Lane"
        rf"(?<!\w)(?:the )?(?:{_NAME} ){{1,3}}?(?:{_HOUSE}), (?:{_NAME} ){{1,3}}?(?:{_STREET})\b",
        rf"(?<!\w)(?:rural route|county road|r\.?r\.?|highway contract) (?:{_EN}|\d{{1,4}})\b",
        rf"(?<!\w)(?:\w+[ -](?:ku|shi|cho|machi),? )?(?:{_NAME} )?(?:\d{{1,4}}|{_EN})[ -]?ch(?:o|ō)me\b(?:[ -](?:\d{{1,4}}|{_EN})\b){{0,4}}",
        r"(?<!\w)(?:no\.? |number |house )?\d{1,4}[a-z]?(?:/\d+)?,? (?:\d{1,2}(?:st|nd|rd|th)|first|second|third|fourth|"
        r"fifth|sixth|seventh|eighth|ninth|tenth) (?:cross|main)\b",
        r"(?<!\w)[a-z][ -]?\d{1,4}(?:/\d+)?,? (?:sector|phase|block|pocket) \w{1,4}\b",
        # British, Irish and Canadian postcodes by their form alone
        r"(?<![\w-])[a-z]{1,2}\d[a-z\d]? ?\d(?!st|nd|rd|th|am|pm|mm|cm|km|kg|gb|mb|tb|ml|in|ft)[a-z]{2}(?![\w-])",
        r"(?<![\w-])[ac-fhknprtv-y]\d[\dw] ?(?=[a-z]{0,3}\d)[a-z\d]{4}(?![\w-])",
        r"(?<![\w-])[a-ceghj-npr-tvxy]\d[a-ceghj-npr-tv-z] \d[a-ceghj-npr-tv-z]\d(?![\w-])",
    )
)
