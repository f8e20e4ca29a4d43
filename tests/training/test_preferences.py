"""Learning from corrections and thumbs: pairs, DPO, replay; merging; versions and the way back."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import torch
from torch.nn import functional

from conftest import Small
from perslm_runtime.errors import InputError
from perslm_training_host import base_model, chat_replies, gguf_file, gguf_model, merging, preferences, versions
from perslm_training_host.base_model import AnswerModel
from perslm_training_host.cli import run
from perslm_training_host.preferences import Pair, Preferences, Wish
from perslm_training_host.weights import frozen_copy


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> Any:
    capsys.readouterr()
    found = run(["--json", *map(str, arguments)])
    out = capsys.readouterr()
    assert found == code, out.err
    return json.loads(out.out if code == 0 else out.err.splitlines()[-1])


def write_pairs(path: Path, count: int = 24) -> Path:
    """People want the short answer, whatever they asked."""
    rows = [
        {
            "prompt": f"What is {n}?",
            "chosen": "yes, that.",
            "rejected": "the memory of it",
            "source": ("thumb", "correction")[n % 2],
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def objective(small: Small, wish: Wish, replayed: list[tuple[str, str]]) -> tuple[Any, Any, Preferences]:
    base = base_model.load(small.parent)
    frozen = AnswerModel(frozen_copy(base.model)).eval()
    model = AnswerModel(base.model)
    talk = base.prompts.head("Be short.", ())
    pairs = [Pair(f"What is {n}?", "yes, that.", "the memory of it", "thumb") for n in range(3)]
    return base, model, Preferences(
        model, frozen, base.prompts, talk, pairs, replayed, wish, 1, torch.device("cpu")
    )  # fmt: skip


def test_the_loss_is_dpos_of_likelihoods_computed_one_by_one(small: Small) -> None:
    wish = Wish(beta=0.3, anchor=0.0, replay=0.0, rows=3)
    base, model, learned = objective(small, wish, [])
    frozen = frozen_copy(base.model)
    with torch.no_grad():
        for parameter in base.model.model.layers[1].parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    talk = base.prompts.head("Be short.", ())

    def likelihood(of: Any, question: str, answer: str) -> float:
        dialogue = base.prompts.dialogue(talk, question, answer)
        tokens = torch.tensor([[*talk.head, *dialogue.question, *dialogue.answer]])
        with torch.no_grad():
            logs = of(input_ids=tokens).logits[0].log_softmax(-1)
        start = tokens.shape[1] - len(dialogue.answer)
        return float(sum(logs[start + at - 1, token] for at, token in enumerate(dialogue.answer)))

    margins = []
    for n in range(3):
        moved = [
            likelihood(base.model, f"What is {n}?", said) - likelihood(frozen, f"What is {n}?", said)
            for said in ("yes, that.", "the memory of it")
        ]
        margins.append(moved[0] - moved[1])
    wanted = -functional.logsigmoid(0.3 * torch.tensor(margins)).mean()
    found, figures = learned.loss(0, 0)
    assert abs(float(found.detach()) - float(wanted)) < 1e-4
    assert abs(figures["margin"] - sum(margins) / 3) < 1e-3
    assert model is not None


def test_people_get_the_answers_they_wanted_and_replay_keeps_the_rest(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    replies = tmp_path / "replies.jsonl"
    chat_replies.write(replies, {f"Tell me of {n}.": f"Of {n} there is much to tell." for n in range(8)})
    command = [
        "prefer", small.parent, pairs, "--steps", "8", "--rows", "2", "--rate", "3e-3", "--lora", "4",
        "--no-bf16", "--validate-every", "8", "--kind", "F32",
    ]  # fmt: skip
    kept = told(capsys, *command, "--replay", replies, "--replay-weight", "5", "--out", tmp_path / "kept")
    loose = told(capsys, *command, "--replay", replies, "--replay-weight", "0.0001", "--out", tmp_path / "loose")
    assert kept["outcome"]["best_score"] == 1.0  # on pairs that were not learned
    logs = {
        name: [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("kept", "loose")
    }
    assert logs["kept"][-1]["valid margin"] > 1.0
    assert logs["kept"][-1]["replay kl"] < 0.5 * logs["loose"][-1]["replay kl"]
    about = json.loads((tmp_path / "kept" / "run.json").read_text())
    assert about["recipe"]["sources"] == {"thumb": 12, "correction": 12}
    assert Path(loose["written"][0]).exists()


def test_trls_engine_ends_at_our_engines_weights_where_nothing_is_drawn(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three pairs in every step: the same tokens, loss, anchor, rates and start have to give the same file."""
    pairs = write_pairs(tmp_path / "pairs.jsonl", 3)
    if find_spec("trl") is None:
        missing = told(capsys, "prefer", small.parent, pairs, "--engine", "trl", "--out", tmp_path / "run", code=5)
        assert "perslm[trl]" in missing["error"]["message"]
        pytest.skip("extra `trl`")
    command = [
        "prefer", small.parent, pairs, "--steps", "4", "--rows", "3", "--rate", "1e-3", "--lora", "4",
        "--no-bf16", "--kind", "F32",
    ]  # fmt: skip
    written = {}
    for engine in ("own", "trl"):
        found = told(capsys, *command, "--engine", engine, "--out", tmp_path / engine)
        assert (found["outcome"]["steps"], found["outcome"]["ended"]) == (4, "done")
        written[engine] = gguf_file.read(Path(found["written"][0]))
        assert (tmp_path / engine / "lora" / "adapter_model.safetensors").exists()
    logs = [
        [json.loads(line) for line in (tmp_path / engine / "log.jsonl").read_text().splitlines()]
        for engine in ("own", "trl")
    ]
    for ours, theirs in zip(*logs, strict=True):
        assert theirs["loss"] == pytest.approx(ours["loss"], abs=2e-3)
    base, own, theirs = gguf_file.read(small.parent), written["own"], written["trl"]
    for name in gguf_model.matrices(base):
        moved = np.abs(own.values(name) - base.values(name)).mean()
        assert moved > 0
        assert np.abs(own.values(name) - theirs.values(name)).mean() < 0.02 * moved
    versions_of = json.loads((tmp_path / "trl" / "student-f32.gguf.lineage.json").read_text())
    assert versions_of["settings"]["engine"] == "trl"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--engine", "theirs"], "there is no engine"),
        (["--engine", "trl", "--patience", "2"], "our own engine's"),
    ],
)
def test_an_engine_is_refused_what_it_cannot_do(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], why: str
) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", 3)
    found = told(capsys, "prefer", small.parent, pairs, "--out", tmp_path / "run", *more, code=3)
    assert why in found["error"]["message"]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # three runs; test_train_loop.py kills the same loop, test_distil.py the same way by a command
def test_a_killed_prefer_goes_on_to_the_same_bits(small: Small, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl")

    def command(out: str) -> list[str]:
        return list(map(str, [
            "prefer", small.parent, pairs, "--steps", "6", "--rows", "2", "--rate", "3e-3", "--lora", "4",
            "--no-bf16", "--keep-every", "2", "--validate-every", "0", "--kind", "F32", "--out", tmp_path / out,
        ]))  # fmt: skip

    assert run(command("whole")) == 0
    forked.killed_after(3, tmp_path / "killed" / "log.jsonl", command("killed"))
    assert torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["step"] in (2, 4)
    assert run(command("killed")) == 0
    for name in ("student-f32.gguf", "lora/adapter_model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_bad_thumb_with_a_better_answer_is_a_pair_and_other_lines_of_a_data_set_are_none(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Capital of Italy?"}, {"role": "assistant", "content": "Milan."}]
    rows = [
        {"text": "A line of text."},
        {"messages": talk, "source": "boards corrections", "meant": "Rome.", "good": False, "judged": "thumb"},
        {"messages": talk, "source": "boards corrections", "meant": "the lamp in the hall", "good": False},
        {"messages": talk, "source": "boards corrections", "good": True, "judged": "thumb"},
        {"messages": talk * 2, "source": "boards conversations"},
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert preferences.read(path) == [Pair("Capital of Italy?", "Rome.", "Milan.", "thumb")]
    path.write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(InputError, match="holds no pairs"):
        preferences.read(path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"prompt": "a", "chosen": "b"}', "line 2 is no pair"),
        ('{"prompt": "a", "chosen": "b", "rejected": "b "}', "nothing is preferred"),
        ('{"prompt": "a", "chosen": 3, "rejected": "b"}', "have to be text"),
        ('{"prompt": "x", "chosen": "n", "rejected": "y"}', "both ways"),
        ("[1]", "line 2 is no pair"),
    ],
)
def test_pairs_that_cannot_be_used_are_named_by_their_line(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "x", "chosen": "y", "rejected": "n"}\n' + line + "\n")
    with pytest.raises(InputError, match=why):
        preferences.read(path)


def test_merging_adds_goes_along_the_arc_and_elects_signs() -> None:
    one, other = np.array([[3.0, 0.1, -2.0]], np.float32), np.array([[1.0, -4.0, 2.5]], np.float32)
    assert np.allclose(merging.linear([one, other], [0.5, 0.5]), (one + other) / 2)
    # Of each two of three are kept: 3 and -2, -4 and 2.5; where signs differ the larger sum wins.
    assert np.allclose(merging.ties([one, other], [1, 1], 2 / 3), [[3.0, -4.0, 2.5]])
    east, north = np.array([2.0, 0.0], np.float32), np.array([0.0, 2.0], np.float32)
    half = merging.slerp(east, north, 0.5)
    assert np.allclose(half, np.sqrt(2) * np.ones(2))  # on the circle, where the mean would lie inside it
    assert np.allclose(merging.slerp(east, north, 0.0), east)
    assert np.allclose(merging.slerp(east, east, 0.3), east)


@pytest.mark.parametrize("how", merging.HOWS)
def test_models_of_one_base_are_merged_into_a_file_that_is_between_them(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    base = gguf_file.read(small.parent)
    children = []
    for number in (1, 2):
        dice = np.random.default_rng(number)
        array = base.values("blk.0.ffn_up.weight") + dice.normal(0, 0.01, (512, 128)).astype(np.float32)
        child = tmp_path / f"{number}.gguf"
        gguf_file.write_child(
            base, child, {"blk.0.ffn_up.weight": gguf_file.Replacement("F32", array.view(np.uint8).reshape(-1))}
        )
        children.append(child)
    told(
        capsys,
        "merge",
        small.parent,
        *children,
        "--how",
        how,
        "--density",
        "0.5",
        "--out",
        tmp_path / "merged.gguf",
    )
    merged = gguf_file.read(tmp_path / "merged.gguf")
    one, other, found = (
        gguf_file.read(path).values("blk.0.ffn_up.weight") for path in (*children, tmp_path / "merged.gguf")
    )
    assert merged.metadata["tokenizer.ggml.tokens"] == base.metadata["tokenizer.ggml.tokens"]
    assert np.abs(found - one).mean() < np.abs(one - other).mean()
    assert np.abs(found - other).mean() < np.abs(one - other).mean()
    assert np.allclose(merged.values("blk.1.ffn_up.weight"), base.values("blk.1.ffn_up.weight"), atol=1e-3)
    refused = told(
        capsys, "merge", small.parent, *children, "--how", how, "--weights", "1", "--out", tmp_path / "no", code=3
    )
    assert "give one for each" in refused["error"]["message"]


def test_a_version_comes_back_with_its_very_bytes_and_going_back_twice_goes_two_back(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        path = tmp_path / f"{number}.gguf"
        shutil.copyfile(small.parent, path)
        with path.open("ab") as file:
            file.write(bytes([number]))
        told(capsys, "models", "use", tmp_path, path)
    back = told(capsys, "models", "rollback", tmp_path)
    assert (back["number"], back["name"]) == (4, "1.gguf")
    assert told(capsys, "models", "rollback", tmp_path)["name"] == "0.gguf"
    assert "no other version" in told(capsys, "models", "rollback", tmp_path, code=3)["error"]["message"]
    told(capsys, "models", "use", tmp_path, tmp_path / "2.gguf")
    (tmp_path / "0.gguf").write_bytes(b"changed")
    assert "was changed" in told(capsys, "models", "rollback", tmp_path, code=3)["error"]["message"]
    assert [one.name for one in versions.history(tmp_path)] == [
        "0.gguf", "1.gguf", "2.gguf", "1.gguf", "0.gguf", "2.gguf",
    ]  # fmt: skip
