"""The fp32 reference: what it reads, and what it says where it cannot run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from perslm_runtime.errors import InputError
from perslm_training_host.reference import main, read_sentences

GOLDEN = Path(__file__).parent / "golden" / "embeddings"


def test_the_golden_sentences_are_200_different_ones() -> None:
    texts = read_sentences(GOLDEN / "sentences.jsonl")
    assert len(texts) == len(set(texts)) == 200


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"text": "one"}\n{"txt": "two"}\n', "line 2"),
        ('{"text": "one"}\n{"text": 2}\n', "line 2: `text` has to be a string, not int"),
        ("plain words\n", "line 1"),
        ("[]\n", "line 1"),
        ("\n", "holds no sentences"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "sentences.jsonl").write_text(content)
    with pytest.raises(InputError, match=why):
        read_sentences(tmp_path / "sentences.jsonl")


def test_sentences_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    (tmp_path / "sentences.jsonl").write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(InputError, match="not UTF-8"):
        read_sentences(tmp_path / "sentences.jsonl")


def test_a_missing_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", str(tmp_path), "--sentences", str(tmp_path / "none"), "--out", str(tmp_path / "o.npy")]
    assert main(arguments) == InputError.exit_code
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed here")
def test_without_torch_it_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o.npy"
    assert main(["--model", str(tmp_path), "--sentences", str(GOLDEN / "sentences.jsonl"), "--out", str(out)]) != 0
    assert "run `make train-setup`" in capsys.readouterr().err
    assert not out.exists()
