"""What is looked at before a distillation: each refusal by its name, on facts alone and on files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import small_model
from distil_command import distil, told

from conftest import Small
from perslm_training_host import model_facts, preflight
from perslm_training_host.model_facts import Facts
from perslm_training_host.preflight import LicenceForbids, OtherTokenizer, TooLittleMemory

QWEN = Facts(Path("qwen"), "qwen2", 10, tuple(f"w{n}" for n in range(40)), ("a b", "c d"), "apache-2.0")


@pytest.mark.parametrize("licence", sorted(preflight.FORBIDDEN))
def test_a_licence_that_forbids_it_cannot_be_talked_away(licence: str) -> None:
    with pytest.raises(LicenceForbids, match=r"Take a teacher under Apache-2\.0 or MIT"):
        preflight.check_licence(licence.upper(), "the teacher", checked=True)


def test_a_licence_that_goes_on_to_the_student_is_told_and_an_unknown_one_needs_a_persons_word() -> None:
    assert preflight.check_licence("mit", "t", checked=False) is None
    assert "go on to the student" in str(preflight.check_licence("gemma", "t", checked=False))
    with pytest.raises(LicenceForbids, match="--licence-checked"):
        preflight.check_licence("house-rules", "t", checked=False)
    assert "checked yourself" in str(preflight.check_licence("house-rules", "t", checked=True))


def test_padded_vocabularies_share_the_words_that_both_have() -> None:
    padded = replace(QWEN, words=(*QWEN.words, "[PAD40]", "[PAD41]"))
    assert preflight.check_words(padded, QWEN) == preflight.check_words(QWEN, padded) == 40


@pytest.mark.parametrize(
    "other",
    [
        replace(QWEN, words=(*QWEN.words[:39], "another")),
        replace(QWEN, words=QWEN.words[::-1]),
        replace(QWEN, merges=("c d", "a b")),
        replace(QWEN, words=()),
    ],
    ids=["one word", "another order", "other merges", "no words"],
)
def test_a_wrong_tokenizer_is_refused_with_the_way_that_is_left(other: Facts) -> None:
    with pytest.raises(OtherTokenizer, match="--prompts"):
        preflight.check_words(other, QWEN)


def test_a_run_that_does_not_fit_says_what_takes_the_memory_and_how_it_would_take_less() -> None:
    memory = preflight.memory_of(10**9, 10**9, 10**9, 2048, 2048, 16, 50_000)
    assert memory.trained == 12 * 10**9  # gradients and two moments
    with pytest.raises(TooLittleMemory, match=r"training 12\.0.*--lora 16"):
        preflight.check_memory(memory, free=memory.total - 1)
    preflight.check_memory(memory, free=memory.total)
    large = preflight.memory_of(7 * 10**9, 7 * 10**9, 14 * 10**9, 4096, 4096, 32, 150_000)
    with pytest.raises(TooLittleMemory, match="teacher 14"):
        preflight.check_memory(large, free=24 * 10**9)
    preflight.check_memory(preflight.memory_of(10**6, 10**6, 0, 256, 128, 5, 512), free=10**9)


def test_the_licence_in_a_teachers_own_file_is_the_one_that_is_asked(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tmp_path / "t.gguf"
    small_model.write_gguf(
        small_model.make_model(), small_model.make_tokenizer(small_model.train_text()), teacher, licence="llama2"
    )
    assert model_facts.read(teacher).licence == "llama2"
    command = [
        word for word in distil(small, tmp_path / "run", "--steps", "1") if word not in ("--licence", "mit")
    ]
    command[1] = teacher
    refused = told(capsys, *command, code=3)["error"]
    assert refused["kind"] == "LicenceForbids"
    assert "must not be used to improve any other model" in refused["message"]
    assert not (tmp_path / "run" / "state.pt").exists()
