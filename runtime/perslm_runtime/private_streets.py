"""Streets and houses as some twenty other countries write them, and number words behind them as speech is written.

Patterns alone: what a street is called in each language, where its number stands, and what may follow. Who looks
for them, and how far an address goes, is private_places.py's.
"""

from __future__ import annotations

import re

CAPITAL = r"[A-ZÀ-ÞČŠŽŁŚĆŹŻŘĎŤŇĚŮŐŰĞİŞ][\w'’.-]*+"
# The longer first: what is taken is not given back, and "da" would leave the s of "das" to nobody.
_SMALL = r"della|dello|degli|delle|dei|del|des|dem|den|der|de|das|dos|da|do|du|di|les|la|le|l'|d'|van|von|an|a|y|et|e|II"
_NAME = rf"(?:(?:{_SMALL}) ?){{0,3}}+{CAPITAL}(?: (?:(?:{_SMALL}) ){{0,2}}+(?:{CAPITAL}|\d{{1,2}} de \w+)){{0,4}}"
_HOUSE = r"(?:,? ?(?:n[ro]?\.?[:º°]?|nº|č\.|#|no) ?)?\d{1,5}(?: ?[a-zA-Z]\b)?(?:[/-]\d{1,4}){0,3}(?: [A-Z]\b)?(?: \d{1,3}\b(?!\s?\d))?"

_FRONT = (
    r"rue|avenue|av\.?|avda\.?|boulevard|bd|place|chemin|impasse|quai|all[ée]e|cours|route|passage|sentier|"
    r"via|viale|piazza|piazzale|corso|largo|vicolo|contrada|lungomare|"
    r"calle|c/|plaza|paseo|p\.?º|avenida|camino|carretera|ronda|traves[íi]a|callej[óo]n|glorieta|carrera|cra\.?|"
    r"calzada|carrer|passeig|plaça|rua|r\.|praça|travessa|estrada|alameda|rodovia|"
    r"ul\.|ulica|ulicy|al\.|aleja|alei|pl\.|plac|os\.|osiedle|strada|bulevardul|calea|"
    r"odos|leoforos|plateia|ulitsa|prospekt|sráid|bóthar|lána|ascaill"
)
_BACK_PART = (  # the end of one word
    r"stra(?:ße|sse)|str\.|weg|gasse|platz|allee|ring|damm|ufer|chaussee|markt|graben|steig|stieg|promenade|"
    r"straat|laan|plein|kade|gracht|dreef|singel|steeg|hof|pad|dijk|baan|plantsoen|"
    r"gatan|gata|vägen|gränd|torget|stigen|backen|gate|gaten|veien|vegen|vei|plass|gade|vej|plads|torv|stræde|"
    r"katu|tie|kuja|polku|kaari|ranta"
)
_BACK_WORD = (  # a word of its own
    r"út|utca|u\.|tér|körút|caddesi|cad\.|cd\.|sokak|sokağı|sok\.|sk\.|bulvarı|mahallesi|mah\.|ulice|náměstí|třída|"
    r"nábřeží|gate|gata|plass|allé|väg|vei|ulica|trg|cesta"
)

_DE = (
    r"(?:zwanzig|dreißig|vierzig|fünfzig|sechzig|siebzig|achtzig|neunzig|hundert|zehn|elf|zwölf|eins?|zwei|drei|"
    r"vier|fünf|sechs?|sieben|sieb|acht|neun|und){1,6}+"
)
_NL = (
    r"(?:een|twee|drie|vier|vijf|zes|zeven|acht|negen|tien|elf|twaalf|der|veer|twintig|dertig|veertig|vijftig|zestig|"
    r"zeventig|tachtig|negentig|honderd|en|ën){1,6}+"
)
_FR_ONE = (
    r"(?:une?|deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douze|treize|quatorze|quinze|seize|vingts?|trente|"
    r"quarante|cinquante|soixante|cents?|et)"
)
_FR = rf"{_FR_ONE}(?:[ -]{_FR_ONE}){{0,4}}"
_ES_ONE = (
    r"(?:un[oa]?|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|once|doce|trece|catorce|quince|dieci\w+|veinte|"
    r"veinti\w+|treinta|cuarenta|cincuenta|sesenta|setenta|ochenta|noventa|cien(?:to)?|y)"
)
_ES = rf"{_ES_ONE}(?: {_ES_ONE}){{0,4}}"
_IT = (
    r"(?:uno|due|tr[eé]|quattro|cinque|sei|sette|otto|nove|dieci|undici|dodici|tredici|quattordici|quindici|sedici|"
    r"diciassette|diciotto|diciannove|vent[iou]?|trent[ao]?|quarant[ao]?|cinquant[ao]?|sessant[ao]?|settant[ao]?|"
    r"ottant[ao]?|novant[ao]?|cento){1,4}"
)
_PT_ONE = (
    r"(?:uma?|dois|duas|três|quatro|cinco|seis|sete|oito|nove|dez|onze|doze|treze|catorze|quinze|deza?e?sseis|"
    r"deza?e?ssete|dezoito|dezanove|dezenove|vinte|trinta|quarenta|cinquenta|sessenta|setenta|oitenta|noventa|cem|"
    r"cento|e)"
)
_PT = rf"{_PT_ONE}(?: {_PT_ONE}){{0,4}}"
_SAID_NAME = r"(?:[^\W\d][\w'’-]*[ ]){1,4}?"
_EVEN_DAYS = r"(?:Mon|Diens|Donners|Frei|Sams|Sonn)tag|Mittwoch|Jan\w+|Feb\w+|März|April|Mai|Juni|Juli|Aug\w+|Sep\w+|Okt\w+|Nov\w+|Dez\w+"

_POST = r"(?:\d{2}-\d{3}|\d{3} ?\d{2}|\d{4,5}(?: ?[A-Z]{2}\b)?|\d{4}-\d{3})"  # of a town that follows

FORMS = tuple(
    re.compile(form)
    for form in (
        # a word for street, a name, a number: ul. Floriańska 3, Carrera 7 # 71-21
        rf"(?<![\w])(?i:{_FRONT}) ?(?:{_NAME}|\d{{1,3}}),? ?{_HOUSE}",
        rf"(?<!\w)\d{{1,4}}\w?,? (?i:sráid|bóthar|lána|ascaill) (?:an |na )?{CAPITAL}",
        # a name that ends in a word for street, a number
        rf"(?<!\w)(?:{CAPITAL} ){{0,3}}[^\W\d_][\w-]*(?i:{_BACK_PART}),? {_HOUSE}",
        rf"(?<!\w)(?:{CAPITAL} ){{1,3}}(?i:{_BACK_WORD}),?\s?(?:[Nn]o:? ?)?{_HOUSE}",
        # what looks like no street, with a number and a town's postcode behind it
        rf"(?<!\w){_NAME} {_HOUSE}, {_POST} {CAPITAL}",
        # Am Alten Markt 7, Unter den Linden 77
        rf"(?<!\w)(?i:am|im|an der|an den|auf der|auf dem|unter den|zum|zur|hinter der) (?!{_EVEN_DAYS}){CAPITAL}"
        rf"(?: {CAPITAL})? \d{{1,3}}(?! ?(?:Uhr|Grad|Prozent|\.|%|:))(?: ?[a-z]\b)?",
        # Japan, India, rural routes, county roads, ordinals
        rf"(?<![\w-])\d{{1,2}}-\d{{1,2}}-\d{{1,3}} {CAPITAL}(?:,? {CAPITAL}){{0,4}}",
        r"(?<!\w)(?:No\.? ?)?\d{1,4}[A-Z]?(?:/\d+)?, \d{1,2}(?:st|nd|rd|th) (?:Cross|Main|Floor|Block|Stage|Phase|Street|Avenue)\b",
        r"(?<!\w)[A-Z]-?\d{1,4}(?:/\d+)?, (?:Sector|Phase|Block|Pocket) \w{1,4}\b",
        rf"(?<!\w)(?i:blk|block) \d{{1,4}}\w?,? (?:{CAPITAL} ){{1,4}}\d{{1,4}}\b",
        r"(?<!\w)(?:RR|R\.R\.|Rural Route|HC) ?#? ?\d{1,3}\b(?:,? (?:Site|Comp|Box) \d{1,4}){0,3}",
        rf"(?<!\w)\d{{1,6}} (?:{CAPITAL} ){{0,3}}(?i:road|rd|route|highway|hwy) \d{{1,4}}\b",
        r"(?<!\w)(?i:(?:\d{1,5}|(?:(?:one|two|three|four|five|six|seven|eight|nine|ten|oh|eleven|twelve|\w+teen|\w+ty|hundred) )+?)"
        r" ?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth) (?:street|avenue|road|place|drive|lane|court))\b",
        # as speech is written
        rf"(?<!\w)(?i:[^\W\d]\w*(?:stra(?:ße|sse)|weg|gasse|platz|allee)) (?i:{_DE})\b",
        rf"(?<!\w)(?i:[^\W\d]\w*(?:straat|laan|plein|kade|gracht|weg|singel)) (?i:{_NL})\b",
        rf"(?<!\w)(?i:(?:{_FR}|\d{{1,4}}),? (?:bis |ter )?(?:rue|avenue|boulevard|chemin|impasse|quai|allée)(?: (?:du|de la|des|de|d'|de l')) ?[\w'’-]+)",
        rf"(?<!\w)(?i:(?:calle|avenida|plaza|paseo|carrera|camino) {_SAID_NAME}{_ES})\b",
        rf"(?<!\w)(?i:(?:via|viale|piazza|corso|vicolo|largo) {_SAID_NAME}{_IT})\b",
        rf"(?<!\w)(?i:(?:rua|avenida|praça|travessa|largo) {_SAID_NAME}{_PT})\b",
    )
)

_NUMBER = rf"(?:{_HOUSE}|{_DE}\b|{_NL}\b|{_FR}\b|{_ES}\b|{_IT}\b|{_PT}\b)"
TOLD = (
    # "ich wohne …", "mi casa está en …": some words and a number
    re.compile(
        r"\b(?i:wohn(?:e|en|t|st)|adresse (?:ist|lautet)|j'habite|habit(?:e|ons|ent)|adresse (?:c'est|est)|"
        r"viv(?:o|e|en|imos)|direcci[óo]n es|casa est[áa]|abit(?:o|a|ano|iamo)|indirizzo è|casa è|"
        r"wo(?:on|ont|nen)|adres is|mor(?:o|a|am|amos)|casa fica|(?:endereço|morada) é|"
        r"mieszka(?:m|my|ją)?|bor|bydl(?:ím|í|íme)|asu(?:n|u|mme|vat))\s+"
        r"(?i:(?:(?:in|im|am|an|auf|en|au|à|op|aan|de|der|dem|het|la|el|na|no|em|przy|på|i|ved|v) ){0,3}+)"
        rf"(?P<where>(?:[^\W\d][\w'’./-]*,? ){{1,4}}?(?i:{_NUMBER}))"
    ),
)

MORE = re.compile(
    r",? ?\d{1,2}(?:st|nd|rd|th) (?i:floor)\b"
    r"|,? \d{1,3}(?:[ºª°]|\.[ºª])\.? ?(?:(?i:planta|piso|esq|dcha|izda|izq|dto)\b\.?|[A-Z]\b)?"
    r"|,? \d{1,2}\. ?(?:tv|th|mf|sal|OG|Stock|floor)\b\.?"
    r"|(?:/\d{1,4}){1,2}\b|,? ?(?:m|lok|kv|lgh)\.? \d{1,4}\b|,? #\d{1,4}(?:-\d{1,4})?\b"
    r"|,? (?:Site|Comp|Box|Block|Tower|Phase|Sector) \d{1,4}\b"
    rf"|,? (?:Col|Co|Edo|Fracc|Jl|Kel)\. {CAPITAL}(?: {CAPITAL}){{0,3}}"
    rf"|,? (?:{CAPITAL} (?:(?:de|del|la|am|an der|upon|on|sur|den|Den) )?){{1,3}}\d{{3,6}}(?:-\d{{3,4}})?\b"
    rf"|,? (?:\d{{3}} \d{{2}}|\d{{2}}-\d{{3}}|\d{{4}}-\d{{3}}|\d{{5}}-\d{{3}})(?: {CAPITAL}(?: \d{{1,2}}\b)?)?"
    rf"|,? \d{{4,5}}(?: [A-Z]{{2}})? (?:Den |Den\b|La |Le |Las |Los |San |Sankt |Bad )?{CAPITAL}(?: (?:de|del|am) {CAPITAL})?"
    rf"|,? {CAPITAL} \d{{3}} \d{{2}}\b"
    rf"|(?: (?:de|del|am|of|upon) {CAPITAL})"
    r"|,? [A-Z]\d[\dW] [A-Z\d]{4}\b| - [A-Z]{2}\b"
    r"|,? (?i:apartment|apt|flat|unit|suite|number|floor) (?i:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[a-z])\b"
    r"| in (?!(?:the|a|an|my|our|your|this|that|case|time|it|about|bed|spring|summer|autumn|winter|\w+ing)\b)[a-zà-ÿ]{3,}(?=$|[.!?])"
)
"""What may follow an address, beside what private_places knows."""

BEFORE = re.compile(
    rf"(?:(?:\d{{1,3}}/F|(?:The |Flat |Unit )?{CAPITAL})(?: (?:{CAPITAL}|de|la|les|du|des|del|della|di|dos|upon|on|of|the)){{0,4}}+, ){{1,4}}(?:{CAPITAL} ?){{0,3}}$"
)
"""What may stand before one that begins with its postcode, or before a house's number: the house's name, its village."""
