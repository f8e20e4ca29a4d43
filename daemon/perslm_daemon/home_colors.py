"""Colours: their names, and the conversions between what devices speak and the home's hue and saturation."""

from __future__ import annotations

import colorsys
import re

Color = tuple[float, float]
"""Hue 0 to 360, saturation 0 to 100."""

NAMES: dict[str, Color] = {
    "red": (0, 100),
    "orange": (30, 100),
    "amber": (45, 100),
    "gold": (51, 100),
    "yellow": (60, 100),
    "lime": (90, 100),
    "green": (120, 100),
    "turquoise": (174, 72),
    "teal": (180, 100),
    "cyan": (180, 100),
    "sky blue": (197, 43),
    "blue": (240, 100),
    "navy": (240, 100),
    "indigo": (275, 100),
    "violet": (280, 80),
    "purple": (285, 90),
    "magenta": (300, 100),
    "pink": (330, 60),
    "rose": (340, 70),
    "salmon": (6, 54),
    "white": (0, 0),
}


def color_named(text: str) -> Color | None:
    """The colour of a name, of "#ff8800" or of "255,136,0"; None for anything else."""
    word = " ".join(text.lower().split())
    if word in NAMES:
        return NAMES[word]
    if found := re.fullmatch(r"#?([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", word):
        return from_rgb(*(int(part, 16) for part in found.groups()))
    if found := re.fullmatch(r"(\d{1,3}) ?, ?(\d{1,3}) ?, ?(\d{1,3})", word):
        return from_rgb(*(int(part) for part in found.groups()))
    return None


def name_of(color: Color) -> str:
    """The nearest colour that has a name."""

    def distance(name: str) -> float:
        hue, saturation = NAMES[name]
        turned = abs(hue - color[0]) % 360
        return min(turned, 360 - turned) * min(color[1], 100) / 100 + abs(saturation - color[1])

    return min(NAMES, key=distance)


def from_rgb(red: float, green: float, blue: float) -> Color:
    """From 0 to 255 each."""
    hue, saturation, _ = colorsys.rgb_to_hsv(*(max(0.0, min(255.0, one)) / 255 for one in (red, green, blue)))
    return round(hue * 360, 1), round(saturation * 100, 1)


def to_rgb(color: Color) -> tuple[int, int, int]:
    """To 0 to 255 each, at full brightness."""
    red, green, blue = colorsys.hsv_to_rgb(color[0] % 360 / 360, color[1] / 100, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def from_xy(x: float, y: float) -> Color:
    """From CIE 1931 coordinates, with the wide gamut that lamps use."""
    if y <= 0:
        return 0.0, 0.0
    big_x, big_z = x / y, (1 - x - y) / y
    red = big_x * 1.656492 - 0.354851 - big_z * 0.255038
    green = -big_x * 0.707196 + 1.655397 + big_z * 0.036152
    blue = big_x * 0.051713 - 0.121364 + big_z * 1.011530
    most = max(red, green, blue, 1e-9)
    return from_rgb(*(255 * _gamma(max(0.0, one / most)) for one in (red, green, blue)))


def to_xy(color: Color) -> tuple[float, float]:
    """To CIE 1931 coordinates."""
    red, green, blue = (_linear(one / 255) for one in to_rgb(color))
    big_x = red * 0.664511 + green * 0.154324 + blue * 0.162028
    big_y = red * 0.283881 + green * 0.668433 + blue * 0.047685
    big_z = red * 0.000088 + green * 0.072310 + blue * 0.986039
    total = big_x + big_y + big_z
    return (round(big_x / total, 4), round(big_y / total, 4)) if total else (0.3227, 0.329)


def _gamma(one: float) -> float:
    return 12.92 * one if one <= 0.0031308 else 1.055 * one ** (1 / 2.4) - 0.055


def _linear(one: float) -> float:
    return one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4


def kelvin(mireds: float) -> float:
    """Kelvin of mireds, and mireds of kelvin."""
    return round(1_000_000 / mireds) if mireds > 0 else 0.0
