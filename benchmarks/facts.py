"""What sentences tell of people: the rules of facts.py beside a model held to the sentence's own words.

    python benchmarks/facts.py                                  # the rules, on both lists
    python benchmarks/facts.py --model smollm2-135m-q4_1 [--check]

`tests/golden/facts.txt` is what the rules are held to; `facts_hard.txt` says the same things in ways that no rule
knows, with near misses. A model answers in a form in which the value is a run of the sentence's words; `--check`
asks it in a second step whether the sentence says so. A model may learn facts by itself where its precision on the
hard list reaches 0.95: none does yet (DECISIONS.md).
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("runtime", "daemon", "tests")]

from perslm_runtime.choosing import Form  # noqa: E402 - after the path is set
from perslm_runtime.facts import Statement, statements  # noqa: E402 - as above
from perslm_runtime.lane import Stop  # noqa: E402 - as above
from perslm_runtime.model import ChatModel  # noqa: E402 - as above
from perslm_runtime.profile import said as words_of  # noqa: E402 - as above
from perslm_runtime.recall import only_asks  # noqa: E402 - as above
from perslm_runtime.relations import ROLES, role_of  # noqa: E402 - as above
from real_models import build_model, models_dir  # noqa: E402 - as above
from sayings import Said, golden, same  # noqa: E402 - as above

LISTS = ("facts.txt", "facts_hard.txt")
SYSTEM = (
    "You note what a sentence tells about the speaker or the speaker's people, as: who | what | value;\n"
    "Write nothing; when it tells nothing certain: questions, wishes, plans, jokes, other topics."
)
EXAMPLES = (
    ("These days home is Lyon for me.", "I | lives in | Lyon;"),
    ("How far is Rome?", "nothing;"),
    ("Guess what, my brother got a job at Siemens.", "my brother | works at | Siemens;"),
    ("I wish I could live in Spain.", "nothing;"),
    ("Coffee is the one thing I need.", "I | likes | Coffee;"),
    ("The film was too long for me.", "nothing;"),
    ("The one we named our son after was Grandpa Emil.", "my son | name | Emil;"),
)
TOKENS = 48
CONFIDENCE = 0.6
_RELATIONS = (
    *(
        "name",
        "lives in",
        "works at",
        "works as",
        "age",
        "birthday",
        "comes from",
        "likes",
        "dislikes",
        "allergic to",
    ),
    *("speaks", "favourite food", "favourite colour"),
)
_WORD = re.compile(r"[\w'’&@.+-]*\w")
_OWN = re.compile(r"\b(?:I|I['’]\w+|[Mm]y|[Mm]e|[Ww]e|[Oo]ur|[Uu]s)\b")
_LONGEST_CHARS = 160


def worth_asking(sentence: str) -> bool:
    """Whether a sentence speaks of the speaker's own and does not only ask."""
    short = 8 <= len(sentence) <= _LONGEST_CHARS
    return (
        short and not sentence.rstrip().endswith("?") and bool(_OWN.search(sentence)) and not only_asks(sentence)
    )


def form_of(sentence: str) -> Form:
    """The form of the answer for this sentence: nothing, or who, what, and a run of the sentence's words."""
    words = _WORD.findall(sentence)
    roles = sorted({role_of(word) for word in map(str.lower, words) if word in ROLES})
    subjects = ["I", *(f"my {role}" for role in roles)]
    lines = [
        'root ::= "nothing;" | who " | " what " | " value ";"',
        f"who ::= {_either(subjects)}",
        f"what ::= {_either([*_RELATIONS, *roles])}",
        "value ::= " + " | ".join(f"w{number}" for number in range(len(words))),
    ]
    for number, word in enumerate(words):
        more = f' (" " w{number + 1})?' if number + 1 < len(words) else ""
        lines.append(f"w{number} ::= {_quoted(word)}{more}")
    return Form("\n".join(lines) + "\n")


def read(written: str, sentence: str) -> Statement | None:
    """What the model wrote as a statement; None for "nothing", or for what is no whole answer."""
    parts = written.strip().removesuffix(";").split(" | ")
    if len(parts) != 3 or not written.strip().endswith(";"):
        return None
    who, relation, value = parts
    words = " ".join(_WORD.findall(sentence))
    if value not in words or len(value) > 60 or value.lower() in ("i", "my", "we", "our", "me"):
        return None
    subject = () if who == "I" else (who.removeprefix("my "),)
    return Statement(subject, relation, value, sentence.strip(), CONFIDENCE)


def _either(texts: Sequence[str]) -> str:
    return " | ".join(_quoted(text) for text in texts)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


CHECK_SYSTEM = (
    "You check notes. Say yes when the sentence itself says that the note is true today. Say no when it only "
    "wishes, plans, denies, tells of the past, of somebody else, or of something else."
)
CHECK_EXAMPLES = (
    ("Sentence: I dreamt I lived in Paris.\nNote: I live in Paris.", "no;"),
    ("Sentence: My home is Paris.\nNote: I live in Paris.", "yes;"),
    ("Sentence: My cousin bought a cake.\nNote: my cousin likes cake.", "no;"),
    ("Sentence: Siemens pays my brother.\nNote: my brother works at Siemens.", "yes;"),
)
YES_OR_NO = Form('root ::= "yes;" | "no;"\n')


def by_rules(sentence: str) -> set[Said]:
    """What the rules understand."""
    return {
        same(one.subject, one.relation, one.value)
        for one in statements(sentence)
        if not one.pronoun and (one.subject or not one.named)
    }


def by_model(model: ChatModel, sentence: str, *, check: bool) -> set[Said]:
    """What the model understands, and stands by when it is asked again."""
    if not worth_asking(sentence):
        return set()
    found = read(
        model.choose(Stop(), SYSTEM, EXAMPLES, sentence, form_of(sentence), TOKENS).written.text, sentence
    )
    if found is None:
        return set()
    if check:
        about = f"my {found.subject[0]}" if found.subject else "you"
        note = words_of(about, found.relation, found.value or "")
        note = note.replace("you ", "I ", 1).replace("your ", "my ", 1)
        asked = f"Sentence: {sentence}\nNote: {note}."
        if model.choose(Stop(), CHECK_SYSTEM, CHECK_EXAMPLES, asked, YES_OR_NO, 8).written.text != "yes;":
            return set()
    return {same(found.subject, found.relation, found.value)}


def measure(name: str, list_name: str, understand: Callable[[str], set[Said]]) -> None:
    """Print precision, recall and seconds a sentence, and every mistake."""
    right = wrong = missed = 0
    cases, began = golden(list_name), time.perf_counter()
    for sentence, wanted in cases:
        found = understand(sentence)
        right, wrong, missed = (
            right + len(found & wanted),
            wrong + len(found - wanted),
            missed + len(wanted - found),
        )
        if found - wanted:
            print(f"  wrong: {sentence} -> {sorted(map(str, found - wanted))}")
    each_s = (time.perf_counter() - began) / len(cases)
    precision, recall = right / max(1, right + wrong), right / max(1, right + missed)
    print(f"{name} on {list_name}: precision {precision:.3f}, recall {recall:.3f}, {each_s:.3f} s a sentence")


def main() -> None:
    """Measure the rules, and a model where one is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--check", action="store_true")
    wanted = parser.parse_args()
    for list_name in LISTS:
        measure("rules", list_name, by_rules)
    if wanted.model:
        model = build_model(models_dir() / wanted.model / "model.gguf", context_tokens=1024)
        measure(wanted.model, LISTS[1], lambda sentence: by_model(model, sentence, check=wanted.check))
        model.close()


if __name__ == "__main__":
    main()
