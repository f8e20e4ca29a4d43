"""One distillation put together: looked at, loaded, estimated, trained, written. Reads as the story of `distill`.

Everything that decides the result is in the recipe and in the hashes of teacher, student and text, which the run's
folder keeps: another recipe in the same folder is refused, the same one goes on to the same bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from perslm_runtime.errors import EngineError, InputError
from perslm_training_host import (
    base_model,
    chat_replies,
    distilled_files,
    estimate,
    lineage,
    model_facts,
    preflight,
    pruning,
    teacher_texts,
    text_teachers,
    texts,
    weights,
)
from perslm_training_host.base_model import AnswerModel, Base
from perslm_training_host.console import Progress, note
from perslm_training_host.distilling import Answers, Probabilities, Taught
from perslm_training_host.estimate import Estimate
from perslm_training_host.group import Group
from perslm_training_host.logit_cache import SHARD, LogitCache
from perslm_training_host.model_facts import Facts
from perslm_training_host.pruning import Shape
from perslm_training_host.runs import Run
from perslm_training_host.student_model import StudentModel
from perslm_training_host.teachers import LlamaTeacher, Teacher, TorchTeacher
from perslm_training_host.texts import Pieces
from perslm_training_host.tracking import tracker
from perslm_training_host.train_loop import Objective, Outcome, Plan, train


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is distilled and how; all of it decides the result."""

    teacher: str
    student: Path
    text: tuple[Path, ...]
    plan: Plan
    taught: Taught
    held_out: tuple[Path, ...] = ()
    prompts: Path | None = None
    shape: Shape = field(default_factory=Shape)
    low_rank: int = 0
    device: str = "cpu"
    kind: str = "F16"
    teacher_model: str = "teacher"
    answer_tokens: int = 160
    system: str = chat_replies.SYSTEM

    @property
    def by_text(self) -> bool:
        """Whether the teacher's words are learned, not its probabilities."""
        return self.prompts is not None

    def check(self) -> None:
        """Raise InputError for what does not go together."""
        self.taught.check()
        if self.by_text == bool(self.text):
            raise InputError("give --text to learn a teacher's probabilities, or --prompts to learn its answers")
        if text_teachers.is_server(self.teacher) and not self.by_text:
            raise InputError("a server gives text alone: give --prompts for what it shall answer")


@dataclass(frozen=True, slots=True)
class Report:
    """What came out; `written` is empty where only the estimate was asked for, or the run was stopped."""

    estimate: Estimate | None
    outcome: Outcome | None
    written: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What preflight has found: heads of both models, hashes, the words both share."""

    student: Facts
    teacher: Facts | None
    hashes: Mapping[str, str]
    words: int


def distil(
    recipe: Recipe, folder: Path, group: Group, *, licence: str = "", licence_checked: bool = False,
    price: float = 0.0, only_estimate: bool = False, track: str = "", quiet: bool = False,
) -> Report:  # fmt: skip
    """Do all of it in `folder`, or go on with what is there. Every refusal comes before a model is loaded.

    Raises what preflight, loading and training raise; the run in `folder` can be gone on with after each.
    """
    recipe.check()
    looked = _look(recipe, licence, checked=licence_checked)
    about = _about(recipe, looked.hashes)
    run = Run(folder)
    resume = False
    if not only_estimate:
        if group.first:
            resume = run.begin("distill", about)
        group.wait()
        resume = group.any_says(resume)
    where = base_model.device_of(recipe.device)
    with contextlib.ExitStack() as stack:
        if track and group.first:
            run = Run(folder, stack.enter_context(tracker(track, folder, about)))
        made = _Parts(recipe, looked, folder, group, where, stack, only_estimate=only_estimate, quiet=quiet)
        told = made.estimate(price)
        if group.first and not quiet:
            note(told.told())
        if only_estimate:
            return Report(told, None, ())
        outcome = train(made.model, made.objective, recipe.plan, run, group, resume=resume)
        state = weights.plain_state(made.base.model)
        if not group.first:
            return Report(told, outcome, ())
        written: tuple[Path, ...] = ()
        if outcome.ended != "stopped":
            written = _write(recipe, made.base.model, state, folder, looked.hashes)
        run.end("stopped" if outcome.ended == "stopped" else "done", asdict(outcome))
        return Report(told, outcome, written)


def _look(recipe: Recipe, licence: str, *, checked: bool) -> _Looked:
    student = model_facts.read(recipe.student)
    hashes = {"student": model_facts.sha256_of(recipe.student)}
    source = recipe.prompts if recipe.prompts is not None else None
    learned = "\n".join(teacher_texts.read_prompts(source)) if source else texts.read(recipe.text)
    hashes["text"] = lineage.sha256_of_text(learned)
    if text_teachers.is_server(recipe.teacher):
        _tell(preflight.check_licence(licence, recipe.teacher, checked=checked))
        return _Looked(student, None, hashes | {"teacher": recipe.teacher_model}, 0)
    path = Path(recipe.teacher)
    teacher = model_facts.read(path)
    _tell(preflight.check_licence(licence or teacher.licence, str(path), checked=checked))
    words = 0 if recipe.by_text else preflight.check_words(teacher, student)
    hashes["teacher"] = model_facts.sha256_of(path)
    return _Looked(student, teacher, hashes, words)


def _tell(told: str | None) -> None:
    if told:
        note(told)


def _about(recipe: Recipe, hashes: Mapping[str, str]) -> dict[str, object]:
    found = {name: value for name, value in asdict(recipe).items() if name not in ("text", "held_out")}
    found["held_out"] = [str(path) for path in recipe.held_out]
    return found | {f"{part} sha256": value for part, value in hashes.items()}


def _write(
    recipe: Recipe, model: Any, state: Mapping[str, torch.Tensor], folder: Path, hashes: Mapping[str, str]
) -> tuple[Path, ...]:
    student = distilled_files.write(recipe.student, model, state, folder, recipe.kind)
    parents = [
        lineage.Parent("student", recipe.student.name, hashes["student"]),
        lineage.Parent("teacher", recipe.teacher.rstrip("/").rpartition("/")[2], hashes["teacher"]),
        lineage.Parent("text", ", ".join(path.name for path in recipe.text), hashes["text"]),
    ]
    settings = {
        "steps": recipe.plan.steps,
        "rate": recipe.plan.rate,
        **asdict(recipe.taught),
        **asdict(recipe.shape),
    }
    lineage.note(student, model_facts.sha256_of(student), "distill", settings, parents)
    adapter = distilled_files.write_adapter(model, recipe.low_rank, folder)
    return (student,) if adapter is None else (student, adapter)


class _Parts:
    """The loaded student, what it learns, and what that takes."""

    def __init__(
        self, recipe: Recipe, looked: _Looked, folder: Path, group: Group, device: torch.device,
        stack: contextlib.ExitStack, *, only_estimate: bool, quiet: bool,
    ) -> None:  # fmt: skip
        self._recipe, self._looked, self._group, self._quiet = recipe, looked, group, quiet
        self._device, self._stack, self._folder = device, stack, folder
        self._memory = self._check_memory()
        self.base: Base = self._student()
        if recipe.by_text:
            self.model, self.objective = self._answers(few=only_estimate)
        else:
            self.model, self.objective = self._probabilities(make_cache=not only_estimate)

    model: torch.nn.Module
    objective: Objective

    def _check_memory(self) -> preflight.Memory:
        recipe, facts = self._recipe, self._looked.student
        teacher = self._looked.teacher
        in_llama = teacher is not None and self._in_llama(teacher)
        bytes_ = 0 if teacher is None else (teacher.path.stat().st_size if in_llama else 4 * teacher.weights)
        trained = facts.weights if not recipe.low_rank else facts.weights * recipe.low_rank // 100
        memory = preflight.memory_of(
            facts.weights,
            trained,
            bytes_,
            recipe.taught.rows * recipe.taught.length,
            facts.width,
            facts.layers,
            len(facts.words),
        )
        if recipe.device == "cpu":
            preflight.check_memory(memory)
        return memory

    def _in_llama(self, teacher: Facts) -> bool:
        return teacher.path.is_file() and (self._recipe.taught.likeliest > 0 or self._recipe.by_text)

    def _student(self) -> Base:
        recipe = self._recipe
        base = base_model.load(recipe.student, recipe.device)
        self._prompts = base.prompts
        if recipe.shape.smaller:
            some = self._pieces(recipe.text, 128).rows(range(4)) if recipe.text else None
            if some is None:
                raise InputError(
                    "pruning needs --text to see what matters: give it, and --prompts in a second run"
                )
            tokens = torch.from_numpy(some).to(self._device)
            base = Base(pruning.pruned(base.model, recipe.shape, tokens), base.prompts, base.path)
        if recipe.low_rank:
            weights.train_low_rank(base.model, recipe.low_rank, recipe.plan.seed)
        else:
            weights.train_all(base.model, embeddings=bool(recipe.shape.width))
        return base

    def _pieces(self, paths: Sequence[Path], length: int = 0) -> Pieces:
        found = self._prompts.tokens(texts.read(paths))
        return Pieces(found, length or self._recipe.taught.length, self._recipe.taught.seed)

    def _probabilities(self, *, make_cache: bool) -> tuple[torch.nn.Module, Probabilities]:
        recipe, taught = self._recipe, self._recipe.taught
        model = self._group.wrap(StudentModel(self.base.model))
        pieces = self._pieces(recipe.text)
        held_out = self._pieces(recipe.held_out) if recipe.held_out else None
        cache = self._cache(pieces) if taught.likeliest and taught.loss != "ce" else None
        missing = cache.missing(self._group.rank, self._group.size) if cache is not None else []
        # Where every answer is on the disk, the teacher is not even loaded.
        needed = taught.loss != "ce" and (cache is None or missing or taught.on_policy or held_out is not None)
        teacher = self._teacher() if needed else None
        objective = Probabilities(
            model, teacher, cache if make_cache else None, pieces, held_out, taught, recipe.plan.accumulate,
            self._looked.words or len(self._looked.student.words), self._device,
        )  # fmt: skip
        if cache is not None and make_cache:
            self._fill(cache, objective, missing)
        return model, objective

    def _teacher(self) -> Teacher:
        taught, facts = self._recipe.taught, self._looked.teacher
        assert facts is not None  # noqa: S101 - a server's teacher gives text alone
        teacher: Teacher
        if self._in_llama(facts):
            teacher = LlamaTeacher(facts.path, taught.likeliest, temperature=taught.temperature)
        else:
            loaded = base_model.load(facts.path, self._recipe.device).model
            teacher = TorchTeacher(
                loaded, likeliest=taught.likeliest, temperature=taught.temperature, bf16=self._recipe.plan.bf16
            )
        self._stack.callback(teacher.close)
        return teacher

    def _cache(self, pieces: Pieces) -> LogitCache:
        taught, plan = self._recipe.taught, self._recipe.plan
        # Shards are whole but for the text's end: a longer run with the same text goes on with them.
        visits = -(-plan.steps * plan.accumulate * taught.rows // SHARD) * SHARD
        about = {
            "teacher": self._looked.hashes["teacher"],
            "text": self._looked.hashes["text"],
            "student words": len(self._looked.student.words),
            "length": taught.length,
            "likeliest": taught.likeliest,
            "temperature": taught.temperature,
            "seed": taught.seed,
        }
        if plan.bf16 and self._looked.teacher is not None and not self._in_llama(self._looked.teacher):
            about["bf16"] = True
        return LogitCache(
            self._folder.parent / "logits", about, pieces.numbers(0, min(pieces.count, visits)), taught.length - 1
        )

    def _fill(self, cache: LogitCache, objective: Probabilities, missing: Sequence[int]) -> None:
        progress = Progress("teacher", len(missing), quiet=self._quiet or not missing)
        for done, number in enumerate(missing, start=1):
            cache.make(number, objective.ask)
            progress.at(done, figures=f"{cache.size_bytes() / 1e6:.1f} MB")
        self._group.wait()

    def _answers(self, *, few: bool) -> tuple[torch.nn.Module, Answers]:
        recipe = self._recipe
        assert recipe.prompts is not None  # noqa: S101 - by_text says so
        wanted = teacher_texts.read_prompts(recipe.prompts)
        file = self._folder / "answers.jsonl"
        if self._group.first:
            self._ask(wanted[:8] if few else wanted, file)
        self._group.wait()
        pairs = chat_replies.read(file)
        talk = self.base.prompts.head(recipe.system, ())
        model = self._group.wrap(AnswerModel(self.base.model))
        return model, Answers(
            model, self.base.prompts, talk, pairs, recipe.taught, recipe.plan.accumulate, self._device
        )

    def _ask(self, prompts: Sequence[str], file: Path) -> None:
        recipe, tokens = self._recipe, self._recipe.answer_tokens
        if file.exists() and not set(prompts) - {question for question, _ in chat_replies.read(file)}:
            return
        found: text_teachers.TextTeacher
        if self._looked.teacher is None:
            found = text_teachers.Server(recipe.teacher, recipe.teacher_model, tokens)
        elif (path := self._looked.teacher.path).is_file():
            found = text_teachers.Gguf(path, tokens, torch.get_num_threads())
        else:
            found = text_teachers.Folder(path, tokens, recipe.device)
        try:
            teacher_texts.ask_all(partial(found.ask, recipe.system), prompts, file, quiet=self._quiet)
        finally:
            found.close()

    def estimate(self, price: float) -> Estimate:
        """Time one micro-batch of what will be trained."""
        recipe, teacher = self._recipe, self._looked.teacher
        live = teacher is not None and not recipe.by_text and not recipe.taught.likeliest
        return estimate.estimate(
            self.model, self.objective, recipe.plan,
            tokens=recipe.taught.rows * recipe.taught.length,
            student_weights=sum(parameter.numel() for parameter in self.base.model.parameters()),
            teacher_weights=teacher.weights if live and teacher is not None else 0,
            memory_bytes=self._memory.total, processes=self._group.size, price_an_hour=price,
        )  # fmt: skip


def check_group(recipe: Recipe, group: Group) -> None:
    """Raise EngineError for what cannot be shared out."""
    if group.kind in ("fsdp", "zero3") and recipe.low_rank:
        raise EngineError(
            f"{group.kind} does not share out low-rank changes here: give --distributed ddp with --lora"
        )
