"""`perslm-host student`: a 135M model that turns what is said at home into the right call, in one command.

`make` is the whole recipe: let the base answer plain talk, let a teacher reword sentences, train, write the 4-bit
file and the full-precision one, score both as the board would use them. The parts are verbs of their own, so that
a GPU machine without llama.cpp can train and another one finish.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from perslm_training_host.console import command_group, note, put, put_json, put_table, session_of

_Base = Annotated[Path, typer.Argument(help="The model to teach: a GGUF file.")]
_Folder = Annotated[Path, typer.Argument(help="The folder of the student: begun here, or gone on with.")]
_ASKED: dict[str, tuple[Any, Any]] = {
    "device": (
        str,
        typer.Option(help="cpu (an hour on two cores that have bfloat16) or cuda (minutes on a large GPU)."),
    ),
    "steps": (int, typer.Option(help="Steps at full precision; the recipe of the device by default.")),
    "grid_steps": (int, typer.Option(help="Steps through the grid of the 4-bit file.")),
    "rate": (float, typer.Option(help="The highest learning rate at full precision.")),
    "grid_rate": (float, typer.Option(help="The highest learning rate on the grid.")),
    "low_rank": (int, typer.Option("--lora", help="Train a change of this rank instead of all weights.")),
    "bf16": (bool, typer.Option(help="Multiply in bfloat16; by itself on a GPU and where the CPU can.")),
    "seed": (int, typer.Option(help="Draws homes and sentences; another seed is another run.")),
    "workers": (int, typer.Option(help="Processes that make batches ahead.")),
    "rows": (int, typer.Option(help="Sequences in a micro-batch.")),
    "replies": (int, typer.Option(help="What the base is asked in plain talk, to be held to its answers.")),
    "paraphrases": (int, typer.Option(help="Sentences that the teacher rewords, 1,000 at most.")),
    "homes": (int, typer.Option(help="Homes to validate on while it trains.")),
    "fold": (str, typer.Option(help="learn keeps a tenth of the lines to validate on, all trains on them.")),
}
"""The options of a recipe: the type and the help of each. All but the device are the recipe's own by default."""
_Threads = Annotated[int, typer.Option(min=1, help="Threads of llama.cpp.")]
_Distributed = Annotated[str, typer.Option(help="Under torchrun: ddp, fsdp, or zero2 or zero3 (DeepSpeed).")]


def _parameter(name: str, kind: Any, option: Any) -> inspect.Parameter:
    needed = name == "device"
    taken = kind if needed else kind | None
    default = "cpu" if needed else None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[taken, option]
    )


def _with_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a recipe; it gets what was asked for as `asked`."""
    own = inspect.signature(command, eval_str=True)

    @wraps(command)
    def asked(**given: Any) -> None:
        command(asked={name: given.pop(name) for name in _ASKED}, **given)

    options = [_parameter(name, kind, option) for name, (kind, option) in _ASKED.items()]
    others = [one for one in own.parameters.values() if one.name != "asked"]
    wanted = [*others, *options]
    asked.__signature__ = own.replace(parameters=wanted)  # type: ignore[attr-defined]  # what typer reads
    asked.__annotations__ = {one.name: one.annotation for one in wanted}
    return asked


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = command_group(app, "student", "Teach a small model the home's tools: made-up homes, a 4-bit file.")
    group.command("make")(make)
    group.command("replies")(replies)
    group.command("paraphrase")(paraphrase)
    group.command("train")(train)
    group.command("write")(write)
    group.command("score")(score)


@_with_recipe
def make(
    context: typer.Context,
    base: _Base,
    folder: _Folder,
    *,
    teacher: Annotated[
        Path | None, typer.Option(help="A larger GGUF file that rewords sentences first; none without it.")
    ] = None,
    threads: _Threads = 2,
    scored_homes: Annotated[int, typer.Option(min=1, help="Held-out homes to score on, 12 sentences each.")] = 25,
    asked: Mapping[str, Any],
) -> None:
    """Everything in one: replies, training, the files, their scores. Run again, it goes on where it stopped."""
    from perslm_training_host import paraphrases, student_made  # noqa: PLC0415 - llama.cpp
    from perslm_training_host.model_facts import sha256_of  # noqa: PLC0415 - beside torch
    from perslm_training_host.student_files import write_files  # noqa: PLC0415 - torch
    from perslm_training_host.student_training import prepared_recipe  # noqa: PLC0415 - torch

    recipe, device = prepared_recipe(**asked), asked["device"]
    by_whom = {"base": base.name, "teacher": teacher.name if teacher else None, "device": device}
    made = student_made.begin(folder, {**by_whom, **asdict(recipe)})
    if device != "cuda":
        with made.part("replies"):
            replies(base, folder, recipe.replies, recipe.seed, threads)
    if teacher is not None:
        with made.part("paraphrases"):
            paraphrase(teacher, folder, recipe.paraphrases, recipe.seed, threads)
        made.note(paraphrases=paraphrases.told(paraphrases.read(folder / paraphrases.FILE)))
    with made.part("training"):
        _train(base, folder, "none", asked)
    with made.part("files"):
        written = write_files(base, folder)
    scored = {"homes": scored_homes, "sha256": {path.name: sha256_of(path) for path in written}}
    if made.found.get("scored") != scored:
        with made.part("scores"):
            found = _scores(written, scored_homes, with_examples=False, base=base, threads=threads)
        made.note(scored=scored, scores={Path(name).name: scores for name, scores in found.items()})
    if session_of(context).json:
        put_json(made.found)
        return
    _put_files(written)
    _put_scores(made.found["scores"])
    put(", ".join(f"{name} {seconds:.0f}" for name, seconds in made.found["cpu_s"].items()) + " CPU-seconds")


def replies(
    base: _Base,
    folder: _Folder,
    count: Annotated[int, typer.Option(help="How many.")] = 600,
    seed: int = 0,
    threads: _Threads = 2,
) -> None:
    """Let the base model answer plain talk, through llama.cpp: what the student is held to."""
    from perslm_training_host import chat_replies  # noqa: PLC0415 - torch

    chat_replies.make(base, folder / "replies.jsonl", count, seed, threads)


def paraphrase(
    teacher: Annotated[Path, typer.Argument(help="A GGUF file that knows the home's tools, such as the 1.5B.")],
    folder: _Folder,
    count: Annotated[int, typer.Option(help="How many sentences to reword, 1,000 at most.")] = 300,
    seed: int = 0,
    threads: _Threads = 2,
) -> None:
    """Let a larger model say sentences in other words; what keeps its meaning is trained on."""
    from perslm_training_host import paraphrases  # noqa: PLC0415 - llama.cpp

    found = paraphrases.make(teacher, folder / paraphrases.FILE, count, seed, threads)
    note(", ".join(f"{value} {name}" for name, value in paraphrases.told(found).items()))


@_with_recipe
def train(base: _Base, folder: _Folder, *, distributed: _Distributed = "none", asked: Mapping[str, Any]) -> None:
    """Train only, on any machine with PyTorch."""
    _train(base, folder, distributed, asked)


def _train(base: Path, folder: Path, distributed: str, asked: Mapping[str, Any]) -> None:
    from perslm_training_host.group import join  # noqa: PLC0415 - torch
    from perslm_training_host.student_training import prepared_recipe, train_student  # noqa: PLC0415 - torch

    recipe = prepared_recipe(**asked)
    free = shutil.disk_usage(folder.parent if folder.parent.exists() else Path()).free
    note(
        f"{recipe.steps} steps at full precision, {recipe.grid_steps} on the grid;"
        f" {free / 1e9:.0f} GB of disk are free"
    )
    with join(distributed) as group:
        outcomes = train_student(base, folder, folder / "replies.jsonl", recipe, asked["device"], group)
        if group.first:
            for outcome in outcomes:
                note(
                    f"{outcome.ended} after {outcome.steps} steps, {outcome.seconds:.0f} s,"
                    f" loss {outcome.loss:.4f}"
                )
    if outcomes[-1].ended == "stopped":
        raise typer.Exit(130)


def write(context: typer.Context, base: _Base, folder: _Folder) -> None:
    """Write the student's GGUF files beside the base's tokenizer and template."""
    from perslm_training_host.student_files import write_files  # noqa: PLC0415 - torch

    written = write_files(base, folder)
    if session_of(context).json:
        put_json([str(path) for path in written])
        return
    _put_files(written)


def _put_files(written: Sequence[Path]) -> None:
    for path in written:
        put(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


def score(
    context: typer.Context,
    models: Annotated[list[Path], typer.Argument(help="GGUF files, each scored by itself.")],
    homes: Annotated[int, typer.Option(help="How many held-out homes, 12 sentences each.")] = 25,
    examples: Annotated[
        bool, typer.Option(help="Put the example turns into the prompt: for models not taught here.")
    ] = False,
    base: Annotated[
        Path | None, typer.Option(help="The base's GGUF file: how far plain talk has gone from it.")
    ] = None,
    threads: _Threads = 2,
) -> None:
    """Score files as the board uses them: calls under the grammar, answers from memories, in llama.cpp."""
    found = _scores(models, homes, with_examples=examples, base=base, threads=threads)
    if session_of(context).json:
        put_json(found)
        return
    _put_scores(found)


def _scores(
    models: Sequence[Path], homes: int, *, with_examples: bool, base: Path | None, threads: int
) -> dict[str, dict[str, Any]]:
    """By file what it was scored, `talk` in it where there is a base."""
    from perslm_training_host.student_score import score_file  # noqa: PLC0415 - llama.cpp
    from perslm_training_host.talk_apart import talk_apart  # noqa: PLC0415 - as above

    found = {
        str(model): score_file(model, homes, with_examples=with_examples, threads=threads).as_dict()
        for model in models
    }
    if base is not None:
        for model, apart in zip(models, talk_apart(base, models, threads=threads), strict=True):
            found[str(model)]["talk"] = asdict(apart)
    return found


def _put_scores(found: Mapping[str, Mapping[str, Any]]) -> None:
    kinds = sorted({kind for scores in found.values() for kind in scores["by_kind"]})
    rows = []
    for name, scores in found.items():
        low, high = scores["calls_95"]
        memories = "" if scores["memories"] is None else f"{scores['memories']:.0%}"
        talk = f"{scores['talk']['kl']:.4f}" if "talk" in scores else ""
        of_kinds = [scores["by_kind"].get(kind, "") for kind in kinds]
        rows.append([name, f"{scores['calls']:.1%} ({low:.0%}-{high:.0%})", memories, talk, *of_kinds])
    put_table(["file", "calls", "memories", "talk KL", *kinds], rows)
