"""A data set out of anything: what is kept, what is left out and why; what is taken back is in no byte."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from perslm_runtime.errors import InputError
from perslm_runtime.redaction import Redaction
from perslm_training_host import sources
from perslm_training_host.cleaning import Wanted, cleaned
from perslm_training_host.cli import run as perslm_host
from perslm_training_host.collecting import Rules, build
from perslm_training_host.evaluation_overlap import EvaluationSets
from perslm_training_host.generated import home_lines, memory_lines, reworded_lines, talk_lines
from perslm_training_host.near_duplicates import NearDuplicates, bare, in_common, runs
from perslm_training_host.shared import Shared
from perslm_training_host.sources import Line, Unread
from perslm_training_host.texts import read as read_texts

ANY = Wanted(languages=())
SENTENCES = (
    "The heating in the hall makes a noise when it gets cold outside.",
    "Please open the blinds before the children come home from school.",
    "A recipe for pancakes needs flour, eggs, milk and a pinch of salt.",
)


def rules(wanted: Wanted = ANY, evaluation: tuple[Path, ...] = (), **more: Any) -> Rules:
    return Rules(wanted, Redaction(), EvaluationSets(evaluation), **more)


def kept(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "data.jsonl").read_text().splitlines()]


def left_out(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]


def collected(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert perslm_host(["--json", "collect", *map(str, words)]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_every_kind_of_file_is_read_and_what_cannot_be_is_told(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.txt").write_text("One\nand one.\n\n\nTwo\n")
    (tmp_path / "b.md").write_bytes(b"# Title\n\n\xff\xfe\n\nText\n")
    (tmp_path / "c.jsonl").write_text(
        '{"text": "three"}\n{"question": "four?", "answer": "4"}\n[1]\n{"x": 1}\nnope\n'
        '{"conversations": [{"from": "human", "value": "five?"}, {"from": "gpt", "value": "5"}]}\n"six"\n'
    )
    (tmp_path / "d.csv").write_text('id,text\n1,"seven, and"\n2,eight\n')
    table = arrow.table({"prompt": ["nine?"], "completion": ["9"]})
    parquet.write_table(table, tmp_path / "e.parquet")
    found = list(sources.read(tmp_path))
    texts = [one.text or one.messages for one in found if isinstance(one, Line)]
    assert texts == [
        *("One\nand one.\n", "Two\n", "# Title\n", "Text\n", "three"),
        (("user", "four?"), ("assistant", "4")),
        (("user", "five?"), ("assistant", "5")),
        *("six", "seven, and", "eight"),
        (("user", "nine?"), ("assistant", "9")),
    ]
    unread = [(one.source, one.place, one.why.partition(":")[0]) for one in found if isinstance(one, Unread)]
    assert unread == [
        ("b.md", "line 3", "not UTF-8"),
        ("c.jsonl", "line 3", "no JSON object"),
        ("c.jsonl", "line 4", "neither text nor messages in x"),
        ("c.jsonl", "line 5", "no JSON in UTF-8"),
    ]


def test_a_data_set_saved_to_disk_is_read_split_by_split(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    for split, text in (("train", "one"), ("test", "two")):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        table = arrow.table({"text": [text] * 3})
        with (
            arrow.OSFile(str(folder / "data-00000-of-00001.arrow"), "w") as file,
            arrow.ipc.new_stream(file, table.schema) as stream,
        ):
            stream.write_table(table)
        (folder / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [one.text for one in sources.read(tmp_path / "saved") if isinstance(one, Line)] == ["one"] * 3 + [
        "two"
    ] * 3
    (tmp_path / "saved/test/state.json").write_text('{"_data_files": [{"filename": "../../secret.arrow"}]}')
    with pytest.raises(InputError, match="outside of itself"):
        list(sources.read(tmp_path / "saved"))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="no whole Parquet"):
        list(sources.read(tmp_path / "cut.parquet"))
    with pytest.raises(InputError, match="of no kind"):
        list(sources.read(tmp_path / "model.gguf"))


def test_lines_are_cleaned() -> None:
    assert cleaned("  A\u200b te\u0301st\r\nwith \t blanks\x07\n\n\n\nend \ufeff") == "A tést\nwith blanks\nend"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("Hello", "too short"),
        ("word " * 5000, "too long"),
        ("{{{ 12 }}} <<< 34 >>>", "mostly no words"),
        ("ha ha ha ha ha ha ha ha", "repeats itself"),
        ("Das Haus ist alt und schön, und der Garten ist groß.", "language de"),
        ("turn on the kitchen light", ""),
        ("what time is it?", ""),
    ],
)
def test_what_is_not_worth_learning_is_refused_with_its_reason(text: str, why: str) -> None:
    pytest.importorskip("py3langid")
    assert Wanted().why_not(text) == why


def test_nearly_the_same_is_found_by_its_runs_and_the_first_stays(tmp_path: Path) -> None:
    dice = random.Random(5)  # noqa: S311 - draws words, no secrets
    words = [f"{dice.choice('bdfgk')}{dice.choice('aeiou')}{dice.choice('lmnr')}{number}" for number in range(400)]
    texts = [" ".join(dice.choices(words, k=30)) for _ in range(300)]
    near = [f"{text} really" for text in texts[:100]]
    same = [text.upper() + "!" for text in texts[100:150]]
    every = [*texts, *near, *same]
    with NearDuplicates(tmp_path, every.__getitem__) as seen:
        for text in every:
            seen.add(text)
        assert max(seen.find()) == 256
        found = {number: seen.same_as(number) for number in range(len(every)) if seen.same_as(number) is not None}
    expected = {300 + number: number for number in range(100)} | {400 + n: 100 + n for n in range(50)}
    assert expected.items() >= found.items()
    assert len(found) >= 0.99 * len(expected)
    assert in_common(runs(bare(texts[0])), runs(bare(near[0]))) > 0.9


def test_what_a_model_is_judged_by_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "held-out.txt").write_text(
        f"{SENTENCES[0]} It was the winter of the long frost that nobody forgot."
    )
    (tmp_path / "asked.jsonl").write_text(json.dumps({"ask": ["Open the blinds in the attic."]}))
    sets = EvaluationSets([tmp_path / "held-out.txt", tmp_path / "asked.jsonl"])
    assert sets.holds("they say the heating in the hall makes a noise when it rains")
    assert sets.holds("Hello there. Open the blinds in the attic!")
    assert not sets.holds("open the blinds in the attic room")
    assert not sets.holds(SENTENCES[2])


def test_everything_is_kept_or_left_out_with_a_reason_and_the_content_is_the_version(tmp_path: Path) -> None:
    (tmp_path / "asked.txt").write_text(SENTENCES[1])
    lines: list[Line | Unread] = [
        Line("a", "1", SENTENCES[0]),
        Line("a", "2", SENTENCES[0].upper()),
        Line("a", "3", SENTENCES[1]),
        Line("a", "4", "Call 020 7946 0958 and ask for my brother Karl please."),
        Line("a", "5", "no"),
        Unread("a", "6", "not UTF-8"),
        Line("a", "7", messages=(("user", "What is it?"), ("assistant", "It is the heating in the hall."))),
        Line("a", "8", SENTENCES[2]),
    ]
    made = build(lines, rules(evaluation=(tmp_path / "asked.txt",)), tmp_path / "out")
    assert [row["text"] for row in kept(made.folder)] == [
        SENTENCES[0],
        "Call [phone] and ask for my brother [name] please.",
        "What is it?\nIt is the heating in the hall.",
        SENTENCES[2],
    ]
    assert [(row["place"], row["why"].partition(":")[0]) for row in left_out(made.folder)] == [
        ("3", "in an evaluation set"),
        ("5", "too short"),
        ("6", "unreadable"),
        ("2", "the same"),
    ]
    assert made.counts.read == made.counts.kept + sum(made.counts.reasons.values())
    again = build(lines, rules(evaluation=(tmp_path / "asked.txt",)), tmp_path / "out")
    assert (again.version, again.new) == (made.version, False)
    other = build(lines[:-1], rules(), tmp_path / "out")
    assert other.version != made.version
    assert not list((tmp_path / "out").glob(".work*"))
    assert SENTENCES[2] in read_texts([made.folder / "data.jsonl"]), "what trains reads it"


def test_nothing_left_is_an_error_that_says_where_the_reasons_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of 1 lines is left: .*quarantine.jsonl"):
        build([Line("a", "1", "no")], rules(), tmp_path)
    assert left_out(tmp_path)[0]["why"] == "too short"


def test_made_up_lines_are_the_same_for_the_same_seed_and_have_their_calls(tmp_path: Path) -> None:
    home = list(home_lines(30, 3))
    assert home == list(home_lines(30, 3))
    assert home != list(home_lines(30, 4))
    assert len(home) == 30
    assert [role for role, _ in home[0].messages] == ["system", "user", "assistant"]
    assert len(list(memory_lines(5, 1))) == 5


def teacher_of(replies: Callable[[str], str], asked: list[str]) -> Callable[[str, str], str]:
    def answer(_system: str, question: str) -> str:
        asked.append(question)
        return replies(question)

    return answer


def test_a_teachers_wording_is_kept_where_it_still_says_what_the_call_names(tmp_path: Path) -> None:
    asked: list[str] = []
    polite = teacher_of(lambda said: f"Please {said[:1].lower()}{said[1:]}", asked)
    found = list(reworded_lines(12, 3, polite, tmp_path / "kept.jsonl"))
    assert all(isinstance(one, Line) for one in found)
    assert list(reworded_lines(12, 3, polite, tmp_path / "kept.jsonl")) == found
    assert len(asked) == len(set(asked)), "nothing is asked twice"
    # 30 of them: many a line says what a thing is for and does not name it
    lost = list(reworded_lines(30, 3, teacher_of(lambda _: "Do it now for me", []), tmp_path / "other.jsonl"))
    assert sum(isinstance(one, Unread) and "left something out" in one.why for one in lost) >= 6
    assert all(isinstance(one, Unread) for one in lost)
    talk = list(
        talk_lines(
            ["How are you?", "What?"], teacher_of(lambda q: "Fine." if "How" in q else "", []), tmp_path / "t"
        )
    )
    assert [type(one) for one in talk] == [Line, Unread]


class _Server(BaseHTTPRequestHandler):
    """A teacher's server that is busy twice before each answer."""

    tries: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.tries.append(body["messages"][-1]["content"])
        if len(self.tries) % 3:
            self.send_error(503)
            return
        said = {"choices": [{"message": {"content": "I am fine."}, "finish_reason": "stop"}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


def test_a_busy_server_is_asked_again_and_an_answer_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perslm_training_host.text_teachers._WAIT_S", 0.01)
    with HTTPServer(("127.0.0.1", 0), _Server) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        url = f"http://127.0.0.1:{listening.server_port}/v1#some-model"
        for _ in range(2):
            assert perslm_host(["--json", "collect", "--talk", "3", "--teacher", url, "--out", str(tmp_path)]) == 0
        listening.shutdown()
        thread.join()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["read"] == 3
    assert len(_Server.tries) == 9, "three times each, and nothing in the second run"


def test_what_boards_shared_is_in_the_data_set_until_it_is_taken_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository, out = tmp_path / "repository", tmp_path / "data"
    shared = Shared(tmp_path / "repository-boards")
    examples = [
        {
            "id": f"{number:032x}",
            "kind": "failed",
            "day": "2026-11-27",
            "messages": [{"role": "user", "content": said}, {"role": "assistant", "content": "I do not know."}],
            "meant": "turn on the lamp",
            "intents": [{"name": "turn_on", "slots": {}}],
            "good": False,
            "language": "en",
        }
        for number, said in enumerate(("let there be zanthopol in the hall", "make it bright in the kitchen"))
    ]
    with shared.opened() as file:
        file.take("kitchen", examples)
    card = collected(capsys, "--out", out, "--repository", repository, "--home", 3, "--languages", "")
    rows = [row for row in kept(out / card["version"]) if "shared" in row]
    assert [(row["meant"], row["good"], row["source"]) for row in rows] == [
        ("turn on the lamp", False, "boards failed")
    ] * 2
    with shared.opened() as file:
        file.withdraw([str(examples[0]["id"])])
    next_card = collected(capsys, "--out", out, "--repository", repository, "--home", 3, "--languages", "")
    assert next_card["emptied"] == [card["version"]]
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and b"zanthopol" in path.read_bytes()]
    assert holding == []
    assert [row["shared"] for row in kept(out / next_card["version"]) if "shared" in row] == [examples[1]["id"]]


def test_a_line_that_is_to_be_forgotten_is_in_no_later_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(SENTENCES))
    out = tmp_path / "data"
    first = collected(capsys, tmp_path / "a.txt", "--out", out, "--languages", "")
    gone = kept(out / first["version"])[0]["id"]
    second = collected(capsys, tmp_path / "a.txt", "--out", out, "--languages", "", "--forget", gone)
    third = collected(capsys, tmp_path / "a.txt", "--out", out, "--languages", "")
    assert (second["kept"], third["version"], third["left_out"]) == (2, second["version"], {"forgotten": 1})
    assert SENTENCES[0].encode() not in (out / second["version"] / "quarantine.jsonl").read_bytes()
    shown = (out / second["version"] / "README.md").read_text()
    assert "| forgotten | 1 |" in shown
    assert "<svg" in (out / second["version"] / "left_out.svg").read_text()
