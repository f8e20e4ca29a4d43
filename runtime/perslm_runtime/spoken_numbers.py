"""Numbers, dates, times, money and units as an English voice has to be given them. Pure.

espeak-ng, with which Piper reads, says plain, decimal and ordinal numbers and percent well; only what it gets
wrong is rewritten. What it made of it: "14:00" was "fourteen zero zero", "$5" "dollar five", "5 km/h" "five k m
slash h", "5–10" "five ten", "1999" "nineteen hundred ninety nine", "1/2" "one slash two".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

Rewrite = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

_MONTHS = ["January", "February", "March", "April", "May", "June"]
_MONTHS += ["July", "August", "September", "October", "November", "December"]
_CURRENCIES = {  # (one, many, one hundredth, hundredths)
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_SCALES = {"k": "thousand", "K": "thousand", "M": "million", "m": "million", "bn": "billion", "B": "billion"}
_PARTS = {2: ("half", "halves"), 3: ("third", "thirds"), 4: ("quarter", "quarters"), 5: ("fifth", "fifths")}
_PARTS |= {6: ("sixth", "sixths"), 8: ("eighth", "eighths"), 16: ("sixteenth", "sixteenths")}
_FRACTIONS = {
    "½": "1/2",
    "⅓": "1/3",
    "⅔": "2/3",
    "¼": "1/4",
    "¾": "3/4",
    "⅕": "1/5",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
}
_UNITS = {  # as written: (one, many)
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "mph": ("mile per hour", "miles per hour"),
    "m/s": ("meter per second", "meters per second"),
    "km²": ("square kilometer", "square kilometers"),
    "m²": ("square meter", "square meters"),
    "cm²": ("square centimeter", "square centimeters"),
    "m³": ("cubic meter", "cubic meters"),
    "cm³": ("cubic centimeter", "cubic centimeters"),
    "km": ("kilometer", "kilometers"),
    "m": ("meter", "meters"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "sq ft": ("square foot", "square feet"),
    "yd": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"),
    "g": ("gram", "grams"),
    "mg": ("milligram", "milligrams"),
    "µg": ("microgram", "micrograms"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "l": ("liter", "liters"),
    "L": ("liter", "liters"),
    "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"),
    "tsp": ("teaspoon", "teaspoons"),
    "tbsp": ("tablespoon", "tablespoons"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "Wh": ("watt hour", "watt hours"),
    "kW": ("kilowatt", "kilowatts"),
    "MW": ("megawatt", "megawatts"),
    "W": ("watt", "watts"),
    "V": ("volt", "volts"),
    "mA": ("milliamp", "milliamps"),
    "mAh": ("milliamp hour", "milliamp hours"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "KB": ("kilobyte", "kilobytes"),
    "kB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "MB/s": ("megabyte per second", "megabytes per second"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
    "GiB": ("gibibyte", "gibibytes"),
    "MiB": ("mebibyte", "mebibytes"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Mbit/s": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "dB": ("decibel", "decibels"),
    "hPa": ("hectopascal", "hectopascals"),
    "mbar": ("millibar", "millibars"),
    "kcal": ("kilocalorie", "kilocalories"),
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "sec": ("second", "seconds"),
    "secs": ("second", "seconds"),
    "s": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
}
_UNIT_NAMES = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_MEASURE = (
    rf"(?:\b([Aa]n?) )?(?<![\w.,])({_NUMBER}|(?:halves|(?:half|third|quarter|fifth|sixth|eighth)s?)(?=\s))(\s?)"
    rf"({_UNIT_NAMES})(?![\w²³])(?:\.(?=\s[a-z\d]))?"
)
_MONTH_NAMES = "|".join(_MONTHS)


def speak_numbers(text: str) -> str:
    """Write out the numbers in one line of text that an English voice would misread; all else stays."""
    return rewrite(text, _REWRITES)


def rewrite(text: str, rules: Sequence[Rewrite]) -> str:
    """Apply each rule to what the ones before it left."""
    for pattern, spoken in rules:
        text = pattern.sub(spoken, text)
    return text


def _date(year: str, month: int, day: int) -> str:
    ending = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{_MONTHS[month - 1]} {day}{ending}, {_year(year)}"


def _slashed_date(match: re.Match[str]) -> str:
    """Month first, as in the United States, where both orders are possible."""
    month, day = int(match[1]), int(match[2])
    if month > 12:
        month, day = day, month
    return _date(match[3], month, day) if 1 <= month <= 12 and 1 <= day <= 31 else match[0]


def _year(year: str) -> str:
    """ "1969" as "19 69" and "1905" as "19 oh 5": espeak-ng says "nineteen hundred sixty nine"."""
    if not "1100" < year < "2000" or year.endswith("00"):
        return year
    return f"{year[:2]} {year[2:]}" if year[2] != "0" else f"{year[:2]} oh {year[3]}"


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match[1]), match[2], match[3]
    if minute != "00":
        return f"{hour} oh {minute[1]}{half or ''}" if minute[0] == "0" else f"{hour}:{minute}{half or ''}"
    if half:
        return f"{hour}{half}"
    if hour in {0, 24}:
        return "midnight"
    return f"{hour} o'clock" if hour <= 12 else f"{hour} hundred"


def _money(match: re.Match[str]) -> str:
    sign, whole, decimals = match[1], match[2], match[3]
    scale = match[4] or match[5]
    one, many, cent, cents = _CURRENCIES[sign]
    number = f"{whole}.{decimals}" if decimals else whole
    if scale:
        return f"{number} {_SCALES.get(scale, scale)} {many}"
    if decimals is None or len(decimals) != 2:
        return f"{number} {one if number == '1' else many}"
    part, units = int(decimals), f"{whole} {one if whole == '1' else many}"
    if part >= 10 and whole != "0":
        return f"{units} {part}"
    small = f"{part} {cent if part == 1 else cents}"
    return small if whole == "0" else f"{units} and {small}" if part else units


def _phone(match: re.Match[str]) -> str:
    """Digit by digit, a breath after each group."""
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(" ".join(group) for group in re.findall(r"\d+", match[0]))


def _fraction(match: re.Match[str]) -> str:
    whole, part, parts = match[1], int(match[2]), int(match[3])
    if parts in {10, 100}:
        return f"{whole or ''} {part} out of {parts}".strip()
    if parts not in _PARTS or part >= parts:
        return match[0]
    one, many = _PARTS[parts]
    name = f"one {one}" if part == 1 else f"{part} {many}"
    return f"{whole} and {name.replace('one ', 'a ')}" if whole else name


def _unit(match: re.Match[str]) -> str:
    """ "5 km" as "5 kilometers", but "a 5 km walk" as "a 5 kilometer walk"."""
    article, number, gap, unit = match[1], match[2], match[3], match[4]
    if unit == "s" and not gap and re.fullmatch(r"(?:\d\d)?[2-9]0", number):
        return match[0]  # the thirties
    one, many = _UNITS[unit]
    name = one if article or number == "1" or number[0].isalpha() else many
    return f"{article} {number} {name}" if article else f"{number} {name}"


def _multiplied(match: re.Match[str]) -> str:
    """ "3 x 4 = 12" is a product, "10x20 cm" a size."""
    return " times " if "=" in match.string else " by "


def _between(match: re.Match[str]) -> str:
    """ "6 - 2 = 4" is a difference, "6-2" a range."""
    return f"{match[1].rstrip()} minus " if "=" in match.string and " " in match[0] else f"{match[1].rstrip()} to "


_REWRITES: list[Rewrite] = [
    (re.compile(f"[{''.join(_FRACTIONS)}]"), lambda match: f" {_FRACTIONS[match[0]]}"),
    (re.compile(r"℃|[°º]\s?C\b"), "°C"),
    (re.compile(r"℉|[°º]\s?F\b"), "°F"),
    (
        re.compile(r"(?<![\d-])(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?:(T)(?=\d\d:)|(?![\d-]))"),
        lambda match: _date(match[1], int(match[2]), int(match[3])) + (" at " if match[4] else ""),
    ),
    (
        re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/])"),
        _slashed_date,
    ),
    (
        re.compile(r"(?<![\d.])(0?[1-9]|[12]\d|3[01])\.(0?[1-9]|1[0-2])\.(\d{4})(?!\.?\d)"),
        lambda match: _date(match[3], int(match[2]), int(match[1])),
    ),
    (
        re.compile(
            rf"\b({_MONTH_NAMES}|[Ii]n|[Ss]ince|[Yy]ear|[Uu]ntil)( \d\d?,)? (1[1-9]\d\d)(?![\d,.:%]*\d|\w)"
        ),
        lambda match: f"{match[1]}{match[2] or ''} {_year(match[3])}",
    ),
    (re.compile(r"\b(1[1-9])([1-9]0)s\b"), r"\1 \2s"),
    (re.compile(r"(?<![\w-])(?:\+\d{1,3}[ -])?(?:\(?\d{3}\)?[ -])?\d{3}-\d{4}(?![\w-])"), _phone),
    (re.compile(r"(?<![\d.,$€£])\d+(?:\.\d+){3}(?![\d,]|\.\d)"), lambda match: match[0].replace(".", " dot ")),
    (re.compile(r"(?<![\d.,$€£])\d+(?:\.\d+){2,}(?![\d,]|\.\d)"), lambda match: match[0].replace(".", " point ")),
    (
        re.compile(
            r"(?<![\w.-])(\d+(?:[.,:]\d+)*\s?(?:°[CF]?|[ap]\.?m\.?|[AP]M|%|[€£])?)(?:\s?[-–−]\s?|—)(?=[$€£]?\d)(?!\d+-)"
        ),
        _between,
    ),
    (re.compile(r"(?<=\w)–(?=\w)"), " to "),
    (re.compile(r"(?<![\w)\]%°])[-−–‑](?=[$€£]?\d)"), "minus "),
    (re.compile(rf"(?<![\w.,$€£¥₹])({_NUMBER})\s?([€£])(?!\d)"), r"\2\1"),
    (
        re.compile(
            r"([$€£¥₹])\s?(\d+(?:,\d{3})*)(?:\.(\d+))?(?:\s?(thousand|million|billion|trillion)\b|([kKmMB]|bn)\b)?"
        ),
        _money,
    ),
    (re.compile(r"(?<![\d:.])([01]?\d|2[0-4]):([0-5]\d)(?![:\d])(\s?(?:[AaPp][Mm]\b|[ap]\.m\b\.?))?"), _time),
    (
        re.compile(r"(?<=\d)\s?([AaPp])\.?[Mm]\b\.?(\s*$)?"),
        lambda match: f" {match[1].upper()}M" + "." * (match[2] is not None),
    ),
    (re.compile(r"\b(24)/(7)\b|\b(50)/(50)\b"), lambda match: match[0].replace("/", " ")),
    (re.compile(r"(?:(?<![\d/.])(\d+) +)?(?<![\d/.,])(\d{1,2})/(\d{1,3})(?![\d/])"), _fraction),
    (re.compile(r"(\d)'\s?(\d{1,2})(?:[\"”″]|'')"), r"\1 foot \2"),
    (re.compile(r"(?<!\w)(\d+)\s?h\s?(\d+)\s?m(?:in)?\b"), r"\1 h \2 min"),
    (re.compile(r"(?<=\d)(?:\s?×\s?|\s?x\s?)(?=\d)"), _multiplied),
    (re.compile(_MEASURE), _unit),
    (re.compile(rf"(?<![\w.,])({_NUMBER})(k|M|bn)\b"), lambda match: f"{match[1]} {_SCALES[match[2]]}"),
    (re.compile(r"(?<=\d)[x×](?!\w)"), " times"),
    (re.compile(r"(?<=\d)\s?\*\s?(?=\d)"), " times "),
    (re.compile(r"(?<=\d) [/÷] (?=\d)"), " divided by "),
    (re.compile(r"(?<=[\w)])\^(?=\w)"), " to the power of "),
    (re.compile(r"(?<=[\w)])²"), " squared"),
    (re.compile(r"(?<=[\w)])³"), " cubed"),
    (re.compile(r"\s[<>]\s(?=-?\w)"), lambda match: " is less than " if "<" in match[0] else " is greater than "),
    (re.compile(r"(?<=\b[Aa]bout )[~≈]\s?(?=\d)"), ""),
    (re.compile(r"[~≈]\s?(?=\d)"), "about "),
    (re.compile(r"#\s?(?=\d)"), "number "),
]
