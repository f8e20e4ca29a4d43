"""The whole loop by its commands: distil a smaller student, quantize it, teach it on the grid, evaluate, update.

On a model of 1.3 million weights, in this process, which has torch loaded already: that is 3 s a command. As
processes of their own they are started in test_train_loop.py and test_command_line.py.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import forked
import pytest

from conftest import Small
from perslm_training_host import gguf_file
from perslm_training_host.cli import run
from perslm_training_host.quantize import Row


def perslm_host(*arguments: str | Path, code: int = 0) -> Any:
    out, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints):
        ended = run(["--json", *map(str, arguments)])
    assert ended == code, complaints.getvalue()
    return json.loads(out.getvalue())


@pytest.fixture(scope="module")
def student(small: Small) -> Path:
    """A student with fewer neurons than the small model, which is its teacher."""
    told = perslm_host(
        "distill", small.parent, small.parent, "--text", small.train, "--out", small.folder / "distilled",
        "--feed-forward", "448", "--steps", "10", "--rows", "4", "--length", "64", "--rate", "3e-4", "--no-bf16",
        "--licence", "mit",
    )  # fmt: skip
    assert told["outcome"]["ended"] == "done"
    return Path(told["written"][0])


@pytest.fixture(scope="module")
def kinds(small: Small, student: Path) -> dict[str, Any]:
    """`quantize` on the student, as it printed."""
    told = perslm_host(
        "quantize", student, "--out", small.folder / "kinds",
        "--text", small.train, "--held-out", small.held_out, "--kinds", "Q4_0,Q8_0", "--pure", "--pieces", "3",
        "--threads", "1",
    )  # fmt: skip
    assert isinstance(told, dict)
    return told


@pytest.fixture(scope="module")
def child(small: Small, student: Path, kinds: dict[str, Any]) -> Path:
    """The Q4_0 file taught by its parent."""
    base, out = small.folder / "kinds" / "student-f16-Q4_0.gguf", small.folder / "taught.gguf"
    assert kinds["rows"][1]["name"] == base.name
    told = perslm_host(
        "qad", student, base, "--text", small.train, "--out", out, "--steps", "30", "--rows", "8",
        "--length", "64", "--rate", "3e-4", "--no-bf16",
    )  # fmt: skip
    assert len(told["losses"]) == 30
    assert not out.with_name(out.name + ".run").exists()
    return out


def test_quantize_measures_every_file_and_chooses_one_for_each_board(small: Small, kinds: dict[str, Any]) -> None:
    parent, q4, q8 = kinds["rows"]
    assert set(parent) == set(Row.__slots__)
    assert parent["kl_mean"] == 0
    assert parent["size_bytes"] > q8["size_bytes"] > q4["size_bytes"]
    assert q4["kl_mean"] > 10 * q8["kl_mean"] > 0
    assert set(kinds["boards"].values()) == {"student-f16-Q8_0.gguf"}  # every board has room for a model of 1.4 MB
    drawn = (small.folder / "kinds" / "quantize.svg").read_text()
    assert drawn.count("<circle") == 2


def test_the_taught_file_is_nearer_to_its_parent_on_text_nobody_saw(
    small: Small, student: Path, child: Path
) -> None:
    field = small.folder / "kinds" / "student-f16-Q4_0.gguf"
    gates = small.folder / "gates.toml"
    gates.write_text("[kl_mean]\nworse_than_field_by_at_most = 0.0\n[tokenizer_equal]\nat_least = 1.0\n")
    report = perslm_host(
        "evaluate", child, "--parent", student, "--held-out", small.held_out, "--field", field,
        "--gates", gates, "--out", small.folder / "report", "--pieces", "8", "--most", "3", "--threads", "1",
        "--home", Path(__file__).parents[1] / "golden" / "tools.jsonl",
    )  # fmt: skip
    assert report["passed"]
    assert report["figures"]["kl_mean"] < 0.9 * report["field_figures"]["kl_mean"]
    assert report["against_field"]["kl_mean"]["high"] < 0
    assert report["figures"]["tokenizer_equal"] == report["figures"]["template_equal"] == 1.0
    assert {"home_exact", "memory_answers", "injections_refused", "resident_mb"} <= set(report["figures"])
    page = (small.folder / "report" / "report.html").read_text()
    assert "All gates hold" in page
    assert "<polyline" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")  # nothing is loaded from anywhere


def test_a_gate_that_does_not_hold_ends_the_command_with_1(small: Small, student: Path, child: Path) -> None:
    gates = small.folder / "strict.toml"
    gates.write_text("[kl_mean]\nat_most = 0.000001\n[secrets_kept]\nat_least = 1.0\n")
    report = perslm_host(
        "evaluate", child, "--parent", student, "--held-out", small.held_out, "--gates", gates,
        "--out", small.folder / "strict", "--pieces", "1", "--most", "1", "--threads", "1", code=1,
    )  # fmt: skip
    assert [verdict["passed"] for verdict in report["verdicts"]] == [False, False]
    assert "Not to be shipped" in (small.folder / "strict" / "report.html").read_text()


def test_the_update_is_small_and_a_board_gets_the_childs_very_bytes(small: Small, child: Path) -> None:
    base = small.folder / "kinds" / "student-f16-Q4_0.gguf"
    made = perslm_host("delta", "make", base, child, "--out", small.folder / "update")
    assert made["changed_scales"] == 0
    assert made["delta_bytes"] < 0.1 * made["child_bytes"]
    told = perslm_host("delta", "apply", base, small.folder / "update", "--out", small.folder / "applied.gguf")
    assert (small.folder / "applied.gguf").read_bytes() == child.read_bytes()
    assert told["size_bytes"] == child.stat().st_size


def test_the_taught_file_keeps_its_bases_head_byte_for_byte(small: Small, child: Path) -> None:
    base = small.folder / "kinds" / "student-f16-Q4_0.gguf"
    head = gguf_file.read(base).data_start
    assert child.read_bytes()[:head] == base.read_bytes()[:head]


def test_ctrl_c_keeps_the_run_and_the_same_command_ends_in_the_same_bytes(small: Small, tmp_path: Path) -> None:
    base = small.quantized("IQ4_NL")

    def command(out: Path) -> list[str | Path]:
        return [
            "qad", small.parent, base, "--text", small.train, "--out", out, "--steps", "24", "--rows", "2",
            "--length", "32", "--rate", "3e-4", "--no-bf16",
        ]  # fmt: skip

    assert run(list(map(str, command(tmp_path / "whole.gguf")))) == 0
    stopped = list(map(str, command(tmp_path / "stopped.gguf")))
    assert forked.interrupted_when_told("distilling: 1/24", tmp_path / "said", stopped) == 130
    assert (tmp_path / "stopped.gguf.run").exists()
    assert not (tmp_path / "stopped.gguf").exists()
    assert run(list(map(str, command(tmp_path / "stopped.gguf")))) == 0
    assert (tmp_path / "stopped.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (
            ["quantize", "PARENT", "--out", "OUT", "--held-out", "HELD", "--kinds", "Q9_9"],
            3,
            "no kind of quantization",
        ),
        (["quantize", "EMPTY", "--out", "OUT", "--held-out", "HELD"], 5, "could not be loaded"),
        (["qad", "PARENT", "PARENT", "--out", "OUT", "--text", "HELD"], 3, "quantize to Q4_0 or IQ4_NL first"),
        (["qad", "PARENT", "CUT", "--out", "OUT", "--text", "HELD"], 3, "fetch it again"),
        (["qad", "PARENT", "PARENT", "--out", "OUT", "--text", "EMPTY"], 3, "there is no text"),
        (
            ["qad", "PARENT", "PARENT", "--out", "OUT", "--text", "HELD", "--scales", "loose"],
            3,
            "frozen or recomputed",
        ),
        (["delta", "apply", "PARENT", "HELD", "--out", "OUT"], 3, "no PersLM delta"),
    ],
)
def test_bad_input_ends_in_a_named_error(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, why: str
) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(small.parent.read_bytes()[:50_000])
    (tmp_path / "empty").write_bytes(b"")
    names = {
        "PARENT": small.parent,
        "HELD": small.held_out,
        "OUT": tmp_path / "out",
        "EMPTY": tmp_path / "empty",
        "CUT": cut,
    }
    assert run(["--json", *(str(names.get(word, word)) for word in arguments)]) == code
    told = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert why in told["error"]["message"]
    assert told["error"]["kind"].endswith(("Error", "Refused", "Gguf"))
