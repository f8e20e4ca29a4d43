from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.spoken import CODE_OMITTED, speakable

QUICK = settings(max_examples=60, deadline=None, database=None)
FRAGMENTS = [
    *"*_`#>|-+~[](){}<>\\/.,:;!?\"'&@=^%$€£°½²→…—–😀👍🏽\n\t\u200d\ufe0f\x00\u202e\ud800",
    *(
        "word",
        "Word ",
        "21.5°C",
        " 5 km/h",
        "$5.50",
        "7:30 p.m.",
        "2026-11-23",
        "#1",
        "1/2",
        "5–10",
        "3.11.7",
        "Dr. ",
    ),
    *(
        "\n```py\n",
        "\n```\n",
        "**",
        "__",
        "[a](b)",
        "https://a.b/c?d",
        "x@y.org",
        "<|im_end|>",
        "\n- ",
        "\n1. ",
        "| a |",
        "---",
    ),
]
TEXTS = st.one_of(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join), st.text())

SAID = {
    # Markdown
    "# Heading **one** #": "Heading one",
    "**Hello. It's** __bold__ and *it* and ~~gone~~ _em_.": "Hello. It's bold and it and gone em.",
    "World** and more*": "World and more",
    "> quoted *text*": "quoted text",
    "- eggs": "eggs",
    "- [ ] milk": "milk",
    "- [x] milk": "done: milk",
    "1) Boil water.": "1. Boil water.",
    "- a\n- b\n\nDone.": "a. b. Done.",
    "A line\nthat was wrapped.\nAnother one.": "A line that was wrapped. Another one.",
    "| Day | Sky |\n|---|:--:|\n| Mon | sunny |": "Day, Sky. Mon, sunny",
    "---": "",
    "Here:\n```python\nx = 1\n```\nDone.": f"Here: {CODE_OMITTED} Done.",
    "```\nnever closed": CODE_OMITTED,
    "Use `print(x)`, `ls -la`, `--help`, `a_b`.": "Use print x, ls dash la, dash dash help, a b.",
    "See [the docs](https://example.com/a_(b)) and ![a cat](cat.png).": "See the docs and a cat.",
    r"\*not bold\* &amp; <b>bold</b><br/>": "not bold & bold",
    "Text[^1] here.": "Text here.",
    # addresses
    "Visit https://www.example.com/path?q=1.": "Visit example.com.",
    "Open http://localhost:8080/x, or www.a.org/b!": "Open localhost, or a.org!",
    "Write to jane.doe@example.com or <mailto:a@b.org>.": "Write to jane.doe@example.com or a@b.org.",
    # what has no words
    "😀": "",
    "...": "",
    "“?!”": "",
    "Great! 😀 Well done 👍🏽👩‍👩‍👧.": "Great! Well done.",
    "1️⃣ first ❤️": "1 first",
    "Hi<|im_end|>\x00 the\u200bre :)": "Hi there",
    # numbers
    "It is 21.5°C, -3 °C or 70°F; turn 45°.": (
        "It is 21.5 degrees Celsius, minus 3 degrees Celsius or 70 degrees Fahrenheit; turn 45 degrees."
    ),
    "1°C": "1 degree Celsius",
    "The car does 5 km/h on 1 kg of fuel.": "The car does 5 kilometers per hour on 1 kilogram of fuel.",
    "A 16 GB drive with 500 MB free.": "A 16 gigabyte drive with 500 megabytes free.",
    "In 45s or 5h 30m, in the 30s or 1990s.": "In 45 seconds or 5 hours 30 minutes, in the 30s or 19 90s.",
    "50% of 1,000,000": "50% of 1,000,000",
    "$5.50, $1, $0.50, $5.05, $1,250 and $3.5 billion": (
        "5 dollars 50, 1 dollar, 50 cents, 5 dollars and 5 cents, 1,250 dollars and 3.5 billion dollars"
    ),
    "€12.99, 50€, £3, ¥100, $5/month": "12 euros 99, 50 euros, 3 pounds, 100 yen, 5 dollars per month",
    "At 7:30 p.m. or 7:30am, 19:05, 14:00, 7:00 am, 9:00 or 00:00": (
        "At 7:30 PM or 7:30 AM, 19 oh 5, 14 hundred, 7 AM, 9 o'clock or midnight"
    ),
    "See you at 7 p.m.": "See you at 7 PM.",
    "On 2026-11-23, 11/23/2026, 23/11/2026 or 23.11.2026.": (
        "On November 23rd, 2026, November 23rd, 2026, November 23rd, 2026 or November 23rd, 2026."
    ),
    "2026-11-01T19:05": "November 1st, 2026 at 19 oh 5",
    "9999-99-99": "9999-99-99",
    "In 1969, May 4, 1905 and 2026": "In 19 69, May 4, 19 oh 5 and 2026",
    "5–10 km, 20-25°C, 9am-5pm, Mon–Fri": (
        "5 to 10 kilometers, 20 to 25 degrees Celsius, 9 AM to 5 PM, Monday to Friday"
    ),
    "Call 555-123-4567.": "Call 5 5 5, 1 2 3, 4 5 6 7.",
    "Version 3.11.7 at 10.0.0.1": "Version 3 point 11 point 7 at 10 dot 0 dot 0 dot 1",
    "1/2 cup, 2½ cups, ¾ tsp, 24/7": "one half cup, 2 and a half cups, 3 quarters teaspoon, 24 7",
    "6 - 2 = 4, 3 x 4 = 12, 2*3, 2^3, x² and 6 / 2": (
        "6 minus 2 = 4, 3 times 4 = 12, 2 times 3, 2 to the power of 3, x squared and 6 divided by 2"
    ),
    "10x20 cm, 2x faster, 10k, ~20, about ~20": (
        "10 by 20 centimeters, 2 times faster, 10 thousand, about 20, about 20"
    ),
    "x < 7 and y > 3": "x is less than 7 and y is greater than 3",
    "#1 and C# #fun": "number 1 and C sharp fun",
    "USB-3, COVID-19 and a 5-year-old": "USB-3, COVID-19 and a 5-year-old",
    # words
    "Dr. Smith vs. Mr. Jones, e.g. in No. 5, etc.": (
        "Doctor Smith versus Mister Jones, for example in number 5, et cetera."
    ),
    "J. R. R. Tolkien was in the U.S. Army.": "J R R Tolkien was in the US Army.",
    "St. Peter lives at 5 Main St.": "Saint Peter lives at 5 Main Street",
    "Apple Inc. was big on Jan. 5 and Mon. 6.": "Apple Incorporated was big on January 5 and Monday 6.",
    "Hmm… maybe... Yes…": "Hmm, maybe. Yes.",
    "Settings → Wi-Fi -> On": "Settings, Wi-Fi, On",
    "this - that – other — more—less": "this, that, other, more, less",
    "NASA and/or TCP/IP, he/she": "NASA and or TCP IP, he or she",
    "שלום 你好": "שלום 你好",
}


@pytest.mark.parametrize(("written", "said"), SAID.items())
def test_what_is_written_is_said_in_words(written: str, said: str) -> None:
    assert speakable(written) == said


@QUICK
@given(TEXTS)
def test_whatever_is_written_one_line_of_clean_words_is_said_or_nothing(text: str) -> None:
    said = speakable(text)
    assert said == " ".join(said.split())
    assert not said or any(char.isalnum() for char in said)
    assert not {unicodedata.category(char) for char in said} & {"Cc", "Cf", "Cs", "Co", "Cn", "So", "Sk"}
    assert not set(said) & set("`*_|\\^~<>{}[]")


@QUICK
@given(TEXTS)
def test_the_lines_around_any_marks_are_still_said_when_the_splitter_cut_the_text(text: str) -> None:
    splitter = SentenceSplitter(1, 1)
    inside = "".join(char for char in text if char not in "`~[<")  # these may begin what ends with the last line
    said = " ".join(speakable(piece) for piece in splitter.feed(f"Alpha.\n{inside}\n\nOmega.") + splitter.flush())
    assert said.startswith("Alpha")
    assert said.endswith("Omega.")


UNITS = [*"`*[-=1$#|.> \n😀", "](", "<a", "1,", "1.", "1:", "1-", "a.", "A.", "a/", "- ", "# "]


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_takes_long(unit: str) -> None:
    began = time.process_time()
    speakable(unit * (4000 // len(unit)))
    assert time.process_time() - began < 2.0  # of the processor; 4000 characters are ten times the longest piece
