"""Units of measure: their names, their exact size in base units, and what kind of quantity they measure. Pure
data.

A size is a fraction, so a foot is exactly 3048/10000 of a metre. Temperatures have a zero of their own and are
converted, never added to.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction as F  # noqa: N817 - the table is read by its numbers

Kind = tuple[tuple[str, int], ...]
"""Base quantities with their powers, sorted: (("length", 1), ("time", -1)) is a speed. () is a bare number."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: how it is said for one and for many, its size in base units, its kind, and its zero
    (temperature).
    """

    one: str
    many: str
    size: F
    kind: Kind
    zero: F = F(0)


_LENGTH, _MASS, _TIME, _DATA, _HEAT = (((name, 1),) for name in ("length", "mass", "time", "data", "temperature"))
_AREA, _VOLUME, _SPEED = (("length", 2),), (("length", 3),), (("length", 1), ("time", -1))
_ENERGY, _POWER = (("energy", 1),), (("energy", 1), ("time", -1))
_INCH, _POUND = F(254, 10_000), F(45_359_237, 100_000_000)
_GALLON, _LITRE = F(3_785_411_784, 10**12), F(1, 1000)

_TABLE: tuple[tuple[str, F, Kind, F], ...] = (
    # names with commas between (the first is said; its plural after a slash), size, kind, zero
    ("metre/metres,meter,meters,m", F(1), _LENGTH, F(0)),
    ("kilometre/kilometres,kilometer,kilometers,km,kms", F(1000), _LENGTH, F(0)),
    ("centimetre/centimetres,centimeter,centimeters,cm", F(1, 100), _LENGTH, F(0)),
    ("millimetre/millimetres,millimeter,millimeters,mm", F(1, 1000), _LENGTH, F(0)),
    ("inch/inches", _INCH, _LENGTH, F(0)),
    ("foot/feet,ft", _INCH * 12, _LENGTH, F(0)),
    ("yard/yards,yd", _INCH * 36, _LENGTH, F(0)),
    ("mile/miles,mi", _INCH * 63_360, _LENGTH, F(0)),
    ("nautical mile/nautical miles", F(1852), _LENGTH, F(0)),
    ("square metre/square metres,square meter,square meters,sqm,m2", F(1), _AREA, F(0)),
    ("square foot/square feet,sqft", (_INCH * 12) ** 2, _AREA, F(0)),
    ("hectare/hectares,ha", F(10_000), _AREA, F(0)),
    ("acre/acres", (_INCH * 63_360) ** 2 / 640, _AREA, F(0)),
    ("square kilometre/square kilometres,square kilometer,square kilometers,km2", F(10**6), _AREA, F(0)),
    ("cubic metre/cubic metres,cubic meter,cubic meters,m3", F(1), _VOLUME, F(0)),
    ("litre/litres,liter,liters,l", _LITRE, _VOLUME, F(0)),
    ("decilitre/decilitres,deciliter,deciliters,dl", _LITRE / 10, _VOLUME, F(0)),
    ("centilitre/centilitres,centiliter,centiliters,cl", _LITRE / 100, _VOLUME, F(0)),
    ("millilitre/millilitres,milliliter,milliliters,ml", _LITRE / 1000, _VOLUME, F(0)),
    ("gallon/gallons,gal", _GALLON, _VOLUME, F(0)),
    ("quart/quarts", _GALLON / 4, _VOLUME, F(0)),
    ("pint/pints", _GALLON / 8, _VOLUME, F(0)),
    ("cup/cups", _GALLON / 16, _VOLUME, F(0)),
    ("fluid ounce/fluid ounces", _GALLON / 128, _VOLUME, F(0)),
    ("tablespoon/tablespoons,tbsp", _GALLON / 256, _VOLUME, F(0)),
    ("teaspoon/teaspoons,tsp", _GALLON / 768, _VOLUME, F(0)),
    ("gram/grams,g,grammes", F(1), _MASS, F(0)),
    ("kilogram/kilograms,kg,kilo,kilos", F(1000), _MASS, F(0)),
    ("milligram/milligrams,mg", F(1, 1000), _MASS, F(0)),
    ("ton/tons,tonne,tonnes", F(10**6), _MASS, F(0)),
    ("pound/pounds,lb,lbs", _POUND * 1000, _MASS, F(0)),
    ("ounce/ounces,oz", _POUND * 1000 / 16, _MASS, F(0)),
    ("stone/stone", _POUND * 14_000, _MASS, F(0)),
    ("second/seconds,sec,secs,s", F(1), _TIME, F(0)),
    ("millisecond/milliseconds,ms", F(1, 1000), _TIME, F(0)),
    ("minute/minutes,min,mins", F(60), _TIME, F(0)),
    ("hour/hours,hr,hrs,h", F(3600), _TIME, F(0)),
    ("day/days", F(86_400), _TIME, F(0)),
    ("week/weeks", F(604_800), _TIME, F(0)),
    ("year/years", F(31_557_600), _TIME, F(0)),
    ("kilometre per hour/kilometres per hour,kilometers per hour,kmh,km/h,kph", F(5, 18), _SPEED, F(0)),
    ("mile per hour/miles per hour,mph", _INCH * 63_360 / 3600, _SPEED, F(0)),
    ("metre per second/metres per second,meters per second,m/s", F(1), _SPEED, F(0)),
    ("knot/knots", F(1852, 3600), _SPEED, F(0)),
    ("bit/bits", F(1, 8), _DATA, F(0)),
    ("byte/bytes", F(1), _DATA, F(0)),
    ("kilobyte/kilobytes,kb", F(1000), _DATA, F(0)),
    ("megabyte/megabytes,mb", F(10**6), _DATA, F(0)),
    ("gigabyte/gigabytes,gb", F(10**9), _DATA, F(0)),
    ("terabyte/terabytes,tb", F(10**12), _DATA, F(0)),
    ("kibibyte/kibibytes,kib", F(2**10), _DATA, F(0)),
    ("mebibyte/mebibytes,mib", F(2**20), _DATA, F(0)),
    ("gibibyte/gibibytes,gib", F(2**30), _DATA, F(0)),
    ("joule/joules,j", F(1), _ENERGY, F(0)),
    ("kilojoule/kilojoules,kj", F(1000), _ENERGY, F(0)),
    ("calorie/calories,cal", F(4184, 1000), _ENERGY, F(0)),
    ("kilocalorie/kilocalories,kcal", F(4184), _ENERGY, F(0)),
    ("kilowatt hour/kilowatt hours,kwh", F(3_600_000), _ENERGY, F(0)),
    ("watt/watts,w", F(1), _POWER, F(0)),
    ("kilowatt/kilowatts,kw", F(1000), _POWER, F(0)),
    ("degree Celsius/degrees Celsius,celsius,c,°c,degree celsius,degrees celsius", F(1), _HEAT, F(27_315, 100)),
    (
        "degree Fahrenheit/degrees Fahrenheit,fahrenheit,f,°f,degree fahrenheit,degrees fahrenheit",
        F(5, 9),
        _HEAT,
        F(45_967, 100) * F(5, 9),
    ),
    ("kelvin/kelvin,k", F(1), _HEAT, F(0)),
    ("dollar/dollars", F(1), (("dollars", 1),), F(0)),
    ("euro/euros", F(1), (("euros", 1),), F(0)),
)


def _units() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for names, size, kind, zero in _TABLE:
        said, *others = names.split(",")
        one, many = said.split("/", 1)
        unit = Unit(one, many, size, kind, zero)
        for name in (one.lower(), many.lower(), *others):
            found[name] = unit
    return found


UNITS = _units()
"""Every unit by each of its names, lower case; names of two and three words too."""
LONGEST_NAME = max(len(name.split()) for name in UNITS)
"""Words of the longest name."""
