"""The task student: its homes and sentences, its packing, its grid, and the files that come out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from small_model import CONFIG, make_model, make_tokenizer, train_text, write_gguf
from transformers import LlamaForCausalLM

from perslm_runtime.llama import LlamaOptions
from perslm_runtime.model import ChatModel
from perslm_training_host import (
    base_model,
    chat_replies,
    ggml_blocks,
    gguf_file,
    student_files,
    student_training,
    weights,
)
from perslm_training_host.base_model import AnswerModel
from perslm_training_host.grid_distilling import fast_bf16
from perslm_training_host.group import Group
from perslm_training_host.held_out import TOO_LIKE, is_held_out, likeness, words_of
from perslm_training_host.home_made import data
from perslm_training_host.home_said import ALL, DEV, LEARN, TEST, household, is_dev
from perslm_training_host.packing import Dialogue, collate, pack
from perslm_training_host.phrases import in_words, lines, resolve
from perslm_training_host.preflight import TooLittleMemory
from perslm_training_host.recollections import UNKNOWN, recollection, turned
from perslm_training_host.student_training import prepared_recipe, train_student
from perslm_training_host.talk_apart import held_out_talk, talk_apart
from perslm_training_host.talk_questions import questions

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/tools.jsonl"


@pytest.mark.parametrize("fold", [LEARN, DEV, ALL, TEST])
def test_every_call_of_a_made_up_home_is_one_its_grammar_allows_and_counts_as_right(fold: str) -> None:
    for number in range(12):
        home = household(fold, 3, number, 12)
        for said in home.said:
            call = home.tools.parse(said.call)
            assert said.is_right([call.tool, *call.arguments.values()]), said
            assert not said.is_right(["turn_on", "no such thing"]), said


def test_the_same_numbers_make_the_same_home_and_others_another() -> None:
    assert household(LEARN, 1, 5, 8).said == household(LEARN, 1, 5, 8).said
    assert household(LEARN, 1, 5, 8).said != household(LEARN, 2, 5, 8).said


def test_no_room_and_no_device_is_in_both_files() -> None:
    def names(part: str) -> set[str]:
        about = data(part)
        rooms = {room for rooms in about["rooms"].values() for room in rooms}
        own = {entry.partition(" @ ")[0] for forms in about["devices"].values() for entry in forms.get("own", ())}
        patterns = {name for forms in about["devices"].values() for name in forms.get("patterns", ())}
        return rooms | own | patterns

    assert not names("train") & names("test")


def test_no_sentence_of_the_homes_that_is_trained_on_is_too_like_a_held_out_one() -> None:
    asked = [json.loads(line)["say"] for line in GOLDEN.read_text(encoding="utf-8").splitlines()[1:]]
    golden = [words_of(text) for text in asked if len(words_of(text)) > 3]
    dice = random.Random(0)  # noqa: S311 - draws sentences
    for kind, blocks in data("train").items():
        if kind in ("rooms", "devices", "none", "memories"):
            continue  # of talk, what is golden is common talk
        for line in [line for name, block in blocks.items() if name != "facts" for line in lines(block)]:
            for _ in range(4):
                text = resolve(line, dice).partition(" => ")[0]
                if not is_held_out(text):
                    assert max(likeness(words_of(text), other) for other in golden) <= 0.85, text
    assert TOO_LIKE < 0.85
    assert is_held_out("<the> to <n> percent, lower")
    assert not is_held_out("paint <the> blue")


def test_lines_that_are_kept_to_validate_on_are_not_learned() -> None:
    block = lines(data("train")["timer"]["set"])
    kept = [line for line in block if is_dev(line)]
    assert 0 < len(kept) < len(block) / 4


def test_numbers_and_answers_are_told_as_people_tell_them() -> None:
    assert in_words(206) == "two hundred and six"
    assert turned("my car is red") == "Your car is red."
    assert turned("I am learning Finnish") == "You are learning Finnish."
    with pytest.raises(Exception, match="do not close"):
        resolve("(one|two", random.Random(0))  # noqa: S311 - draws sentences


def test_an_answer_from_memories_counts_by_what_it_holds() -> None:
    for number in range(40):
        asked = recollection(TEST, 0, number)
        assert asked.is_right(asked.answer), asked
        assert not asked.is_right("I like trains."), asked
        assert (asked.answer == UNKNOWN) or asked.must_hold.casefold() in asked.prompt.casefold()


def test_dialogues_packed_behind_one_head_have_the_logits_and_gradients_they_have_alone() -> None:
    torch.manual_seed(0)
    model = AnswerModel(LlamaForCausalLM(CONFIG))
    head = list(range(10, 40))
    dialogues = [Dialogue([3, 4, 5 + n], [6 + n, 7, 8]) for n in range(4)]
    packed, taken = pack(head, dialogues, 1024)
    assert taken == len(dialogues)
    batch = collate([packed])
    together = model(batch)
    together.logsumexp(-1).sum().backward()
    gradient = model.model.model.layers[0].mlp.up_proj.weight.grad.clone()
    model.zero_grad()
    alone = [model(collate([pack(head, [dialogue], 1024)[0]])) for dialogue in dialogues]
    torch.cat(alone).logsumexp(-1).sum().backward()
    assert torch.allclose(torch.cat(alone), together, atol=1e-5)
    assert torch.allclose(model.model.model.layers[0].mlp.up_proj.weight.grad, gradient, atol=1e-5)


def test_the_grid_in_training_is_the_one_the_file_is_written_on() -> None:
    rows = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    rows[3] = 0
    grid = ggml_blocks.quantize_q4_0(rows.numpy().reshape(-1, 32))
    written = ggml_blocks.values_of(ggml_blocks.Q4_0, *grid).reshape(64, 96)
    assert np.array_equal(weights.on_q4_0(rows).numpy(), written)


def test_a_low_rank_change_begins_as_none_and_is_added_to_what_is_written() -> None:
    model = LlamaForCausalLM(CONFIG)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights.train_low_rank(model, 2)
    state = weights.plain_state(model)
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], before[name]) for name in before)
    torch.nn.init.ones_(model.model.layers[0].mlp.up_proj.parametrizations.weight[0].up)
    assert not torch.equal(
        weights.plain_state(model)["model.layers.0.mlp.up_proj.weight"],
        before["model.layers.0.mlp.up_proj.weight"],
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = train_text()
    tokenizer = make_tokenizer(text)
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    write_gguf(make_model(), tokenizer, path)
    return path


def test_a_cpu_without_bfloat16_multiplies_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """There a step in bfloat16 takes seven minutes instead of seconds."""
    monkeypatch.setattr(student_training, "fast_bf16", lambda: False)
    assert not prepared_recipe("cpu").bf16
    assert prepared_recipe("cpu", bf16=True).bf16, "who asks for it has it"
    assert prepared_recipe("cuda").bf16
    monkeypatch.setattr(student_training, "fast_bf16", lambda: True)
    assert prepared_recipe("cpu").bf16
    assert not prepared_recipe("cpu", bf16=False).bf16


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"device": "cpu", "rows": 1}, id="cpu"),
        # Another process that loads torch, and drawing: 15 s.
        pytest.param({"device": "cuda", "rows": 2, "workers": 1}, id="cuda", marks=pytest.mark.slow),
    ],
)
def test_one_recipe_ends_in_files_that_the_boards_engine_runs(
    small: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """The GPU's recipe too, its processes and its way to make replies, on a CPU: in bfloat16, cut short."""
    pairs: list[dict[str, Any]] = [{"question": f"Hello {n}", "reply": "I do not know."} for n in range(3)]
    replies = tmp_path / "replies.jsonl"
    replies.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    recipe = prepared_recipe(**changes, steps=1, grid_steps=1, homes=1, sentences=2)
    assert recipe.bf16 is (changes["device"] == "cuda" or fast_bf16())
    if recipe.workers:
        chat_replies.make_on_device(base_model.load(small), replies, 5, 0, rows=2)
        assert len(chat_replies.read(replies)) >= len(pairs)
    outcomes = train_student(small, tmp_path / "student", replies, recipe, "cpu", Group())
    assert [outcome.ended for outcome in outcomes] == ["done", "done"]
    files = student_files.write_files(small, tmp_path / "student")
    assert [file.name for file in files] == ["student-q4_0.gguf", "student-f16.gguf"]
    child, base = gguf_file.read(files[0]), gguf_file.read(small)
    assert child.tensors["blk.0.ffn_up.weight"].type == "Q4_0"
    assert np.array_equal(child.raw("token_embd.weight"), base.raw("token_embd.weight"))
    chat = ChatModel(files[0], LlamaOptions(context_tokens=512, threads=1, batch_threads=1), system="x")
    try:
        assert "answers" in chat.prove()
    finally:
        chat.close()


def test_talk_is_no_way_from_itself_and_some_way_from_other_weights(tmp_path: Path) -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8") * 4  # which stays as it is: other words, other answers
    files = [tmp_path / name for name in ("base.gguf", "other.gguf")]
    for path, noise in zip(files, (0.0, 0.01), strict=True):
        model = make_model(1)
        with torch.no_grad():
            model.model.embed_tokens.weight[2] *= 2.0  # a random model would hardly ever end its answer
            model.model.layers[0].mlp.up_proj.weight.add_(
                noise * torch.randn(512, 128, generator=torch.Generator().manual_seed(0))
            )
        write_gguf(model, make_tokenizer(text), path)
    same, other = talk_apart(files[0], files, 12, threads=1)
    assert same.answers > 3
    assert (same.kl, same.same_top) == (0.0, 1.0)
    assert other.kl_95[1] > other.kl > 1e-4
    assert other.tokens == same.tokens
    assert not set(held_out_talk(60)) & set(questions(2000, 0))


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    huge = tmp_path / "huge.gguf"
    writer = GGUFWriter(huge, "llama")
    writer.add_tensor_info("token_embd.weight", (10**6, 10**5), np.dtype(np.float32), 4 * 10**11)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with huge.open("r+b") as file:
        file.truncate(5 * 10**11)  # sparse: no byte of it is on the disk
    with pytest.raises(TooLittleMemory, match="GB are free"):
        base_model.load(huge)
