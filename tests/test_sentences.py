from __future__ import annotations

import itertools
import json
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perslm_runtime.sentences import FIRST_MAX_CHARS, MAX_CHARS, SentenceSplitter

GOLDEN: list[tuple[str, list[str]]] = json.loads(
    (Path(__file__).parent / "golden/sentences.json").read_text("utf-8")
)
QUICK = settings(max_examples=60, deadline=None, database=None)

# Fragments that meet each other at every boundary; hypothesis glues them and cuts the result anywhere.
FRAGMENTS = [
    *"。！？।॥،؟…‼;:,—–-.!?\"'”»)]}*_`~ \t\n\r",
    *(
        "word",
        "Word",
        " and ",
        " but ",
        "Dr.",
        "U.S.",
        "e.g.",
        "No. 5",
        "3.14",
        "1.2.3",
        "7:30 p.m.",
        "$5.50",
        "1 000 000",
    ),
    *(
        "3. Mai",
        "am 3. ",
        "J. R. R. ",
        "etc. ",
        "\n1. ",
        "\n- ",
        "\n* ",
        "\n\n",
        "\r\n",
        "\n```py\n",
        "\n```\n",
        "```",
        "~~~",
    ),
    *(
        "`a. b`",
        "https://a.b/c?d=e ",
        "x@y.org",
        "👩‍👩‍👧‍👦",
        "👍🏽",
        "🇩🇪",
        "1️⃣",
        "é",
        "e\u0301",
        "你好",
        "かな",
        "हिन्दी",
        "שלום",
        "مرحبا",
    ),
    *(
        "\u200d",
        "\ufe0f",
        "\u0301",
        "\u0600",
        "\u200f",
        "\u00a0",
        "\u202f",
        "\x1c",
        "\x85",
        "\u2028",
        "<|im_end|>",
    ),
]
TEXTS = st.one_of(
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.characters(exclude_categories=["Cs"])), max_size=60).map(
        "".join
    ),
    st.text(st.characters(exclude_categories=["Cs"])),
)
LIMITS = st.tuples(st.integers(1, 60), st.integers(1, 60))


def pieces_of(chunks: list[str], first: int = 10**9, later: int = 10**9) -> list[str]:
    splitter = SentenceSplitter(first, later)
    return [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.flush()


@pytest.mark.parametrize(("name", "expected"), GOLDEN, ids=[name for name, _ in GOLDEN])
def test_a_text_is_cut_at_its_sentences(name: str, expected: list[str]) -> None:
    assert pieces_of(["".join(expected)]) == expected
    assert pieces_of(list("".join(expected))) == expected


@QUICK
@given(TEXTS, LIMITS, st.data())
def test_no_chunking_changes_the_pieces_and_no_character_is_lost(
    text: str, limits: tuple[int, int], data: st.DataObject
) -> None:
    whole = pieces_of([text], *limits)
    assert "".join(whole) == text
    assert all(whole)
    assert pieces_of(list(text), *limits) == whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert pieces_of(chunks, *limits) == whole


@QUICK
@given(TEXTS, LIMITS)
@example("a, 👩\u200d👩\u200d👧 b! 1 000 000", (1, 1))
def test_no_cut_is_inside_a_word_a_number_or_a_visible_character(text: str, limits: tuple[int, int]) -> None:
    pieces = pieces_of([text], *limits)
    for left, right in itertools.pairwise(pieces):
        assert not (left[-1].isalnum() and right[0].isalnum())
        assert unicodedata.category(right[0]) not in {"Mn", "Mc", "Me"}
        assert not (left[-1] == "\u200d" and unicodedata.category(right[0]) == "So")
        assert right[0] not in "\u200d🏻🏼🏽🏾🏿"
        assert not (left[-1] == "\r" and right[0] == "\n")


@pytest.mark.parametrize(
    "number", ["3.14", "1,250", "1 000 000", "7:30", "1.2.3", "2026-11-23", "5–10", "21,5", "３，０００"]
)
def test_a_number_is_never_cut_however_short_the_pieces(number: str) -> None:
    assert any(number in piece for piece in pieces_of([f"It is, so to say, {number} today, and more."], 1, 1))


@pytest.mark.parametrize("expected", [pieces for _, pieces in GOLDEN], ids=[name for name, _ in GOLDEN])
def test_a_sentence_is_out_before_the_next_one_is_ten_characters_old(expected: list[str]) -> None:
    splitter, heard = SentenceSplitter(10**9, 10**9), 0
    ends = [sum(map(len, expected[: n + 1])) for n in range(len(expected))]
    for fed, char in enumerate("".join(expected), 1):
        heard += len(splitter.feed(char))
        assert heard >= sum(end + 10 <= fed for end in ends)


def test_a_sentence_is_out_with_the_white_space_after_it() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("It is warm!") == []
    assert splitter.feed(" ") == ["It is warm!"]
    assert splitter.feed("\nYes.") == []
    assert splitter.feed("\n") == [" \nYes."]


def test_a_stop_at_the_end_waits_because_a_number_may_go_on() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("It is 3.") == []
    assert splitter.feed("5 degrees. T") == ["It is 3.5 degrees."]
    assert splitter.flush() == [" T"]


def test_speech_starts_at_the_first_clause_and_later_sentences_stay_whole() -> None:
    text = (
        "When the water has boiled for three minutes, take it off the stove, and wait. Then add the tea, and wait."
    )
    pieces = pieces_of([text], FIRST_MAX_CHARS, MAX_CHARS)
    assert pieces[0] == "When the water has boiled for three minutes,"
    assert pieces[1:] == [" take it off the stove, and wait.", " Then add the tea, and wait."]


def test_a_sentence_that_is_too_long_is_cut_before_a_conjunction() -> None:
    text = "They walked over the hill and through the valley and along the river but nobody ever saw them again"
    assert pieces_of([text], 80, 60) == [
        "They walked over the hill and through the valley and along the river",
        " but nobody ever saw them again",
    ]


def test_words_without_any_mark_are_cut_between_words_past_twice_the_limit() -> None:
    pieces = pieces_of(["word " * 200], FIRST_MAX_CHARS, MAX_CHARS)
    assert max(map(len, pieces)) <= 2 * MAX_CHARS + len("word ")
    assert {word for piece in pieces for word in piece.split()} == {"word"}


def test_a_block_of_code_is_one_piece_however_long() -> None:
    block = "```c\n" + "int a = 1; // One. Two, three and four\n\n" * 100 + "```"
    assert pieces_of([f"Here:\n{block}\nDone."], FIRST_MAX_CHARS, MAX_CHARS) == ["Here:", f"\n{block}", "\nDone."]


def test_flush_makes_the_splitter_new() -> None:
    splitter = SentenceSplitter()
    splitter.feed("```\nnever closed. A")
    splitter.flush()
    assert splitter.flush() == []
    assert splitter.feed("One. Two") == ["One."]


@pytest.mark.parametrize(
    "unit", [".", " ", "\n", "a", "`", "`a", "1 000 ", ". ", "e.g. ", "😀", "```\nx\n", "~", "“", "a\r", ",", "- "]
)
@pytest.mark.parametrize("start", ["", "```\n", "Dr"])
def test_the_time_per_character_does_not_grow(unit: str, start: str) -> None:
    def seconds(chars: int) -> float:
        text = start + unit * (chars // len(unit))
        began = time.process_time()
        pieces_of(list(text), FIRST_MAX_CHARS, MAX_CHARS)
        return time.process_time() - began

    small, large = min(seconds(500) for _ in range(2)), min(seconds(8000) for _ in range(2))
    assert large < 16 * small * 4  # 16 when linear, 256 when quadratic
