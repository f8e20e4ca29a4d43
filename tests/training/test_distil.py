"""`perslm-host distill`: teachers of every kind, a smaller student, resuming, and what it refuses."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import forked
import pytest
import small_model
import torch
from distil_command import COMMON, distil, told
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from conftest import Small
from perslm_runtime.errors import InputError
from perslm_training_host import base_model, chat_replies, gguf_file, lineage
from perslm_training_host.cli import run
from perslm_training_host.divergence import DIVERGENCES, with_rest
from perslm_training_host.lessons import Dense, Lesson, Likeliest, mean_loss
from perslm_training_host.llama_scores import Scorer, compare
from perslm_training_host.logit_cache import LogitCache
from perslm_training_host.student_model import StudentModel, rollout


def save_folder(path: Path, found: Path) -> Path:
    """The model of a GGUF file as a Hugging Face folder, with its own tokenizer."""
    loaded = base_model.load(path)
    LlamaForCausalLM.from_pretrained(
        None, config=loaded.model.config, state_dict=loaded.model.state_dict()
    ).save_pretrained(found)
    raw = loaded.prompts.tokenizer.backend_tokenizer
    wrapped = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>")  # noqa: S106 - a token of text
    wrapped.chat_template = small_model.TEMPLATE
    wrapped.save_pretrained(found)
    (found / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return found


@pytest.fixture(scope="module")
def folder(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as a Hugging Face folder."""
    return save_folder(small.parent, tmp_path_factory.mktemp("hf"))


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
def test_the_likeliest_words_with_the_rest_are_the_whole_where_all_words_are_kept(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    student = torch.randn(9, 40, generator=draw, requires_grad=True)
    teacher = 3 * torch.randn(9, 40, generator=draw)
    ids = teacher.topk(40).indices
    whole = DIVERGENCES[name](student, teacher)
    kept = DIVERGENCES[name](with_rest(student, ids), with_rest(teacher, ids))
    assert torch.allclose(whole, kept, atol=1e-5)
    some = teacher.topk(8).indices
    less = DIVERGENCES[name](with_rest(student, some), with_rest(teacher, some))
    assert bool((less <= whole + 1e-5).all())  # words put together can only be nearer
    (gradient,) = torch.autograd.grad(less.sum(), student)
    assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("name", [*sorted(DIVERGENCES), "ce"])
def test_the_loss_in_chunks_has_the_gradients_of_the_whole(name: str) -> None:
    draw = torch.Generator().manual_seed(1)
    hidden = torch.randn(37, 16, generator=draw, requires_grad=True)
    head = torch.randn(50, 16, generator=draw, requires_grad=True)
    taught = torch.randn(37, 24, generator=draw)
    other = torch.randn(52, 24, generator=draw)  # two padded words more
    targets = torch.randint(0, 50, (37,), generator=draw)
    loss = None if name == "ce" else DIVERGENCES[name]
    lesson = Lesson(
        torch.arange(37), targets, Dense(taught, lambda part: part @ other.T, 2.0), loss,
        1.0 if name == "ce" else 0.3, 2.0,
    )  # fmt: skip
    mean_loss(hidden, head, 30.0, lesson, chunk=8).mul(2).backward()
    logits = 30.0 * torch.tanh(hidden @ head.T / 30.0)
    whole = functional.cross_entropy(logits, targets)
    if loss is not None:
        whole = 0.3 * whole + 0.7 * 4 * loss(logits / 2, (taught @ other.T)[:, :50] / 2).mean()
    wanted = torch.autograd.grad(whole * 2, [hidden, head])
    assert hidden.grad is not None
    assert head.grad is not None
    assert torch.allclose(hidden.grad, wanted[0], atol=1e-6)
    assert torch.allclose(head.grad, wanted[1], atol=1e-6)


def test_a_student_draws_the_same_words_from_the_same_seed_and_by_its_own_odds(small: Small) -> None:
    model = StudentModel(base_model.load(small.parent).model)
    prompts = torch.tensor([small.tokens(small.train)[:12]])
    one, again, other = (rollout(model, prompts, 20, seed, small_model.WORDS) for seed in (3, 3, 4))
    assert one.shape == (1, 32)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(one[:, :12], prompts)
    many = rollout(model, prompts.expand(1000, -1), 1, 5, small_model.WORDS)[:, -1].bincount(
        minlength=small_model.WORDS
    )
    with torch.no_grad():
        odds = model(prompts).softmax(-1)[0]
    assert float((many / 1000 - odds).abs().max()) < 0.06


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["--likeliest", "64"],
        pytest.param(["--on-policy", "0.5", "--loss", "reverse-kl"], marks=pytest.mark.slow),  # 12 s of drawing
    ],
)
def test_a_student_is_nearer_to_its_teacher_after_a_lesson_in_llama_cpp(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    field = small.quantized("Q4_0")
    report = told(capsys, *distil(small, tmp_path / "run", "--steps", "30", "--rows", "4", *more))
    written = Path(report["written"][0])
    assert report["outcome"]["ended"] == "done"
    assert report["estimate"]["seconds"] > 0
    with (
        Scorer(small.parent, threads=1) as teacher,
        Scorer(field, threads=1) as one,
        Scorer(written, threads=1) as two,
    ):
        scores = compare(teacher, [one, two], small.tokens(small.held_out)[:1536])
    assert scores[2].kl.mean() < 0.95 * scores[1].kl.mean()
    shards = len(list((tmp_path / "logits").glob("*/*.npz")))
    assert shards == (4 if "--likeliest" in more else 0)  # 120 pieces, 32 a shard
    head = gguf_file.read(field)
    at = head.u32_at["general.file_type"]  # all but the kind of quantization is the student's, byte for byte
    heads = [path.read_bytes()[: head.keys_end] for path in (field, written)]
    assert heads[0][:at] + heads[0][at + 4 :] == heads[1][:at] + heads[1][at + 4 :]


def test_a_folder_teaches_and_learns_as_the_gguf_file_of_the_same_model(
    small: Small, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_file = distil(small, tmp_path / "file", "--steps", "2")
    by_folder = distil(small, tmp_path / "folder", "--steps", "2")
    by_folder[1] = folder
    one, other = (Path(told(capsys, *command)["written"][0]) for command in (by_file, by_folder))
    assert one.read_bytes() == other.read_bytes()
    learnt = distil(small, tmp_path / "learnt", "--steps", "2", student=folder)
    learnt[1] = small.quantized("Q4_0")
    written = Path(told(capsys, *learnt)["written"][0])
    again = base_model.load(written)
    before, after = (loaded.model.state_dict() for loaded in (base_model.load(folder), again))
    assert before.keys() == after.keys()
    assert not torch.equal(before["model.layers.0.mlp.up_proj.weight"], after["model.layers.0.mlp.up_proj.weight"])
    assert again.prompts.tokens("some text") == base_model.load(folder).prompts.tokens("some text")


def test_a_cache_is_made_once_and_a_second_run_needs_no_teacher(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = tmp_path / "teacher.gguf"
    shutil.copyfile(small.parent, teacher)
    command = distil(small, tmp_path / "one", "--steps", "4", "--likeliest", "16")
    command[1] = teacher
    first = told(capsys, *command)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "logits").glob("*/*.npz")}
    assert files
    assert sum(file.stat().st_size for file in files) < 32 * 63 * (16 * 2 + 17 * 2) * 1.2  # pieces of 63 places
    command[command.index("--out") + 1] = tmp_path / "two"
    second = told(capsys, *command)
    assert {file: file.stat().st_mtime_ns for file in files} == files
    assert Path(second["written"][0]).read_bytes() == Path(first["written"][0]).read_bytes()
    longer = [*command]
    longer[longer.index("--steps") + 1] = "20"  # 40 pieces: a second shard beside the first
    longer[longer.index("--out") + 1] = tmp_path / "longer"
    assert told(capsys, *longer)["outcome"]["steps"] == 20
    assert {file: file.stat().st_mtime_ns for file in files} == files
    assert len(list((tmp_path / "logits").glob("*/*.npz"))) == 2
    next(iter(files)).write_bytes(b"torn")
    command[command.index("--out") + 1] = tmp_path / "three"
    assert "is damaged" in told(capsys, *command, code=3)["error"]["message"]


def test_a_run_killed_or_interrupted_in_the_middle_goes_on_to_the_same_bits(small: Small, tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        more = ["--steps", "6", "--keep-every", "1", "--accumulate", "2", "--on-policy", "0.5", "--lora", "4",
                    "--length", "16"]  # fmt: skip
        return list(map(str, distil(small, out, *more)))

    assert run(command(tmp_path / "whole")) == 0
    forked.killed_after(2, tmp_path / "killed" / "log.jsonl", command(tmp_path / "killed"))
    assert forked.interrupted_after(1, tmp_path / "stopped" / "log.jsonl", command(tmp_path / "stopped")) == 130
    for ended in ("killed", "stopped"):
        assert torch.load(tmp_path / ended / "state.pt", weights_only=True)["step"] < 6
        assert not (tmp_path / ended / "student-f32.gguf").exists()
        assert run(command(tmp_path / ended)) == 0
        for name in ("student-f32.gguf", "lora/adapter_model.safetensors"):
            assert (tmp_path / ended / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_written_adapter_is_the_change_that_was_learned(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, *distil(small, tmp_path / "run", "--steps", "6", "--lora", "4", student=small.parent))
    merged = told(capsys, "merge", small.parent, tmp_path / "run" / "lora", "--out", tmp_path / "merged.gguf")
    assert merged["models"] == 1
    student, again = (gguf_file.read(tmp_path / name) for name in ("run/student-f32.gguf", "merged.gguf"))
    for name in student.tensors:
        wanted = torch.from_numpy(student.values(name))
        assert torch.allclose(torch.from_numpy(again.values(name)), wanted, atol=2e-3), name
    assert not torch.equal(
        torch.from_numpy(student.values("blk.0.attn_q.weight")),
        torch.from_numpy(gguf_file.read(small.parent).values("blk.0.attn_q.weight")),
    )


class _Teacher(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that answers `left` times and is then gone."""

    left = 0
    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.left <= 0:
            self.send_error(503)
            return
        type(self).left -= 1
        question = body["messages"][-1]["content"]
        self.asked.append(question)
        reply = {"choices": [{"message": {"content": f"You said {question}"}, "finish_reason": "stop"}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a teacher."""
    _Teacher.asked = []
    with HTTPServer(("127.0.0.1", 0), _Teacher) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/v1"
        listening.shutdown()
        thread.join()


def test_a_server_that_goes_away_ends_by_name_and_nothing_is_asked_twice(
    small: Small, tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perslm_training_host.text_teachers._WAIT_S", 0.01)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"word {n}"}) + "\n" for n in range(12)))
    command = [
        "distill", server, small.parent, "--prompts", prompts, "--out", tmp_path / "run", "--steps", "25",
        *COMMON, "--length", "256",
    ]  # fmt: skip
    _Teacher.left = 5
    gone = told(capsys, *command, code=5)["error"]
    assert gone["kind"] == "TeacherGone"
    assert "kept" in gone["message"]
    _Teacher.left = 100
    report = told(capsys, *command)
    assert sorted(_Teacher.asked) == sorted(f"word {n}" for n in range(12))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert Path(report["written"][0]).exists()


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with another tokenizer, which ends its answers after some words."""
    path = tmp_path_factory.mktemp("another") / "other.gguf"
    tokenizer = small_model.make_tokenizer(small_model.train_text()[:3000] + "quite other words " * 400)
    model = small_model.make_model(1)
    with torch.no_grad():
        model.model.embed_tokens.weight[2] *= 2.5  # the word that ends an answer is more often the likeliest
    small_model.write_gguf(model, tokenizer, path)
    return path


def test_a_teacher_of_another_tokenizer_is_no_teacher_of_probabilities(
    small: Small, another: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = distil(small, tmp_path / "run", "--steps", "3")
    command[1] = another
    refused = told(capsys, *command, code=3)["error"]
    assert refused["kind"] == "OtherTokenizer"
    assert "--prompts" in refused["message"]


def test_a_file_and_a_folder_of_another_tokenizer_teach_by_the_same_answers(
    small: Small, another: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Tell me of {n}"}) + "\n" for n in range(12)))
    as_folder = save_folder(another, tmp_path / "folder")
    answers: dict[str, dict[str, str]] = {}
    for name, teacher in (("file", another), ("folder", as_folder)):
        out = tmp_path / name
        report = told(
            capsys, "distill", teacher, small.parent, "--prompts", prompts, "--out", out, "--steps", "12",
            "--answer-tokens", "12", *COMMON, "--length", "256",
        )  # fmt: skip
        answers[name] = dict(chat_replies.read(out / "answers.jsonl"))
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
        assert Path(report["written"][0]).exists()
    assert answers["file"]
    assert answers["file"] == answers["folder"]
    assert 0 < len(answers["file"]) < 12  # what did not come to an end is no answer


@pytest.mark.parametrize(
    ("change", "kind", "why"),
    [
        ({"--licence": "llama2"}, "LicenceForbids", "must not be used to improve"),
        ({"--licence": "somebodys-own"}, "LicenceForbids", "--licence-checked"),
        ({"--licence": ""}, "LicenceForbids", "does not say its licence"),
        ({"--loss": "hinge"}, "InputError", "there is no loss"),
        ({"TEACHER": "CUT"}, "BrokenGguf", "fetch it again"),
        ({"STUDENT": "CUT"}, "BrokenGguf", "fetch it again"),
        ({"--text": "EMPTY"}, "InputError", "there is no text"),
        ({"--text": "NOT TEXT"}, "InputError", "is not UTF-8"),
        ({"TEACHER": "NONE"}, "InputError", "does not exist"),
        ({"--feed-forward": "100"}, "InputError", "multiple of 32"),
        ({"--layers": "9"}, "InputError", "the model has 5"),
        ({"--rate": "1e9"}, "LossIsNaN", "lower"),
        ({"STUDENT": "TORN"}, "InputError", "cut off or broken"),
        ({"--on-policy": "1.5"}, "InputError", "a share"),
    ],
)
def test_bad_input_ends_in_a_named_error(
    small: Small, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    change: dict[str, str], kind: str, why: str,
) -> None:  # fmt: skip
    torn = tmp_path / "torn"
    shutil.copytree(folder, torn)
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    files = {"CUT": small.parent.read_bytes()[:60_000], "EMPTY": b"", "NOT TEXT": b"\xff\xfe\x00"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    names = {name: tmp_path / name for name in files} | {"TORN": torn, "NONE": tmp_path / "none"}
    command = distil(small, tmp_path / "out", "--steps", "3", student=small.parent)
    for key, value in change.items():
        path: str | Path = names.get(value, value)
        if key in ("TEACHER", "STUDENT"):
            command[1 if key == "TEACHER" else 2] = path
        elif key in command:
            command[command.index(key) + 1] = path
        else:
            command += [key, path]
    code = 5 if kind == "LossIsNaN" else 3
    error = told(capsys, *command, code=code)["error"]
    assert error["kind"] == kind, error
    assert why in error["message"]


def test_a_full_disk_ends_by_name_leaves_no_half_shard_and_is_gone_on_with(tmp_path: Path) -> None:
    cache = LogitCache(tmp_path / "logits", {"a": 1}, list(range(40)), 7)
    answer = Likeliest(torch.zeros(32 * 7, 4, dtype=torch.int64), torch.zeros(32 * 7, 5))
    cache.folder.mkdir(parents=True)
    (cache.folder / "000000.part").symlink_to("/dev/full")  # what is written there meets a full disk
    with pytest.raises(InputError, match=r"No space left on device.*make room"):
        cache.make(0, lambda pieces: answer)
    assert cache.missing() == [0, 1]
    cache.make(0, lambda pieces: answer)
    assert cache.missing() == [1]


def test_a_full_disk_under_a_checkpoint_ends_by_name_and_the_run_goes_on_from_the_one_before(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = distil(small, tmp_path / "run", "--steps", "3", "--keep-every", "1")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt.part").symlink_to("/dev/full")
    error = told(capsys, *command, code=3)["error"]
    assert "cannot be written" in error["message"]
    assert "make room" in error["message"]
    assert told(capsys, *command)["outcome"]["steps"] == 3


def test_a_run_in_bfloat16_ends_when_held_out_text_gets_no_better(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*distil(small, tmp_path / "run", "--steps", "40", "--held-out", small.held_out), "--bf16"]
    command.remove("--no-bf16")
    command[command.index("--rate") + 1] = "5e-3"  # far too high: it only gets worse
    report = told(capsys, *command, "--validate-every", "2", "--patience", "2")
    assert report["outcome"]["ended"] == "no better"
    assert report["outcome"]["steps"] <= 12
    assert "<polyline" in (tmp_path / "run" / "report.html").read_text()


def test_in_bfloat16_the_teacher_multiplies_as_its_student_does(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*distil(small, tmp_path / "run", "--steps", "1", student=small.parent), "--bf16"]
    command.remove("--no-bf16")
    told(capsys, *command)
    first = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert abs(first["loss"]) < 1e-7  # the same weights: a teacher in float32 would be some 1e-4 away


def test_what_a_student_was_made_of_is_told_back_to_the_first(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = told(capsys, *distil(small, tmp_path / "one", "--steps", "2", student=small.parent))["written"][0]
    second = told(capsys, *distil(small, tmp_path / "two", "--steps", "2", student=Path(first)))["written"][0]
    links = told(capsys, "models", "lineage", second)
    assert [(link["depth"], link["part"]) for link in links[:3]] == [(0, "model"), (1, "student"), (2, "student")]
    assert links[1]["known"]["sha256"] == lineage.read(Path(first)).sha256
    assert links[2]["known"] is None  # it came from outside
