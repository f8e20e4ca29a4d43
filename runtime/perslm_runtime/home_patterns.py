"""Parts of regular expressions for what is said of a home: numbers in digits and words, colours. English, pure."""

from __future__ import annotations

import re

UNITS = (
    r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|"
    r"sixteen|seventeen|eighteen|nineteen)"
)
TENS = r"(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)"
NUMBER = rf"(?:\d+(?:\.\d+)?|(?:a |one )?hundred|{TENS}(?:[ -]{UNITS})?|{UNITS})"
"""A number from nought to a hundred, as words or digits."""
COLOR = r"(?:red|blue|green|yellow|orange|purple|pink|turquoise|violet|magenta|cyan|amber)"
SHADE = rf"(?:{COLOR}|(?:warm|cool|cold|neutral|soft|bright) white)"
"""A colour or a white of lamps."""
QUESTION = re.compile(
    r"^(?:and |so |um |uh |oh |hey )*(?:is|are|was|were|which|what|how|who|where|did|does|do|has|have|any|why)\b"
)
"""A sentence that begins as a question does."""
