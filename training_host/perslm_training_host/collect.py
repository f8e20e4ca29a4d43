"""`perslm-host collect`: a data set out of files, what boards shared, templates and a teacher, with its card."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from perslm_runtime.errors import InputError
from perslm_training_host import dataset_card, generated, sources, text_teachers
from perslm_training_host.cleaning import Wanted
from perslm_training_host.collecting import Rules, build
from perslm_training_host.console import Progress, note, put, put_json, session_of
from perslm_training_host.evaluation_overlap import EvaluationSets
from perslm_training_host.shared import Kept, Shared
from perslm_training_host.sources import Line, Unread
from perslm_training_host.talk_questions import questions

if TYPE_CHECKING:
    from perslm_runtime.redaction import Redaction

_FORGOTTEN = "forgotten.txt"
_CACHE = "teacher.jsonl"
_REPLY_TOKENS = 96


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(collect)


def collect(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SOURCE]...",
            help="Files (.txt, .md, .jsonl, .csv, .parquet, .arrow), folders of them, or data sets saved to disk.",
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder of the data set's versions.")],
    repository: Annotated[
        Path | None,
        typer.Option(envvar="PERSLM_HOST_REPOSITORY", help="Take what the boards of this repository shared."),
    ] = None,
    column: Annotated[
        str, typer.Option(help="The field that holds the text, where its name is no usual one.")
    ] = "",
    home: Annotated[int, typer.Option(help="Make so many commands in made-up homes, with their calls.")] = 0,
    memories: Annotated[int, typer.Option(help="Make so many questions on memories, with their answers.")] = 0,
    talk: Annotated[int, typer.Option(help="Have a teacher answer so many questions of plain talk.")] = 0,
    reword: Annotated[int, typer.Option(help="Have a teacher say so many home commands in other words.")] = 0,
    teacher_named: Annotated[
        str, typer.Option("--teacher", help="A GGUF file, or a server: https://host/v1#MODEL.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Which homes, questions and sentences are made.")] = 0,
    held_out: Annotated[
        list[Path] | None, typer.Option("--held-out", help="Evaluation sets: lines that share words with them go.")
    ] = None,
    languages: Annotated[str, typer.Option(help="Languages to keep, with commas; none: any.")] = "en",
    fewest_words: Annotated[int, typer.Option(help="Fewest words of a line.")] = 2,
    most_chars: Annotated[int, typer.Option(help="Most letters of a line.")] = 20_000,
    redact: Annotated[bool, typer.Option(help="Take names, addresses, numbers and secrets out of lines.")] = True,
    forget: Annotated[
        list[str] | None, typer.Option(help="Ids of lines that are in no version from now on.")
    ] = None,
) -> None:
    """Make a data set: cleaned, without doubles, private data and evaluation lines; its version is its content."""
    if (talk or reword) and not teacher_named:
        raise InputError("--talk and --reword need a --teacher")
    listed = tuple(one.strip() for one in languages.split(",") if one.strip())
    rules = Rules(
        Wanted(fewest_words=fewest_words, most_chars=most_chars, languages=listed),
        _redaction() if redact else None,
        EvaluationSets(held_out or ()),
        _forgotten(out, forget or ()),
    )
    shared = None if repository is None else _shared(repository)
    progress = Progress("lines", 1, quiet=session_of(context).json)

    def tell(what: str, count: int) -> None:
        if what == "read" and count % 1000 == 0:
            progress.at(count, count)

    with contextlib.ExitStack() as stack:
        lines = _lines(
            stack, files or (), column, shared, (home, memories, talk, reword), teacher_named, seed, out
        )
        dataset = build(lines, rules, out, tell)
    recipe: dict[str, Any] = {
        "sources": [path.name for path in files or ()],
        "boards": repository is not None,
        "home": home,
        "memories": memories,
        "talk": talk,
        "reword": reword,
        "teacher": Path(teacher_named).name,
        "seed": seed,
        "held_out": [path.name for path in held_out or ()],
        "languages": list(listed),
        "fewest_words": fewest_words,
        "most_chars": most_chars,
        "redact": redact,
    }
    card = dataset_card.write_card(dataset, recipe)
    emptied = (
        []
        if shared is None
        else dataset_card.empty_older(out, {one.example.id for one in shared}, dataset.version)
    )
    if session_of(context).json:
        put_json({**card, "folder": dataset.folder, "new": dataset.new, "emptied": emptied})
        return
    put(f"{dataset.folder}: {card['kept']} of {card['read']} lines, {card['words']} words")
    for why, count in card["left_out"].items():
        note(f"left out {count}: {why}")
    for version in emptied:
        note(f"{version} held examples that were taken back: its data is deleted")


def _redaction() -> Redaction:
    from perslm_runtime.redaction import Redaction  # noqa: PLC0415 - who makes no data set needs no phone numbers

    return Redaction()


def _lines(
    stack: contextlib.ExitStack,
    files: tuple[Path, ...] | list[Path],
    column: str,
    shared: list[Kept] | None,
    made: tuple[int, int, int, int],
    teacher_named: str,
    seed: int,
    out: Path,
) -> Iterator[Line | Unread]:
    home, memories, talk, reword = made
    for path in files:
        yield from sources.read(path, column)
    for kept in shared or ():
        yield _shared_line(kept)
    yield from generated.home_lines(home, seed)
    yield from generated.memory_lines(memories, seed)
    if talk or reword:
        name, teacher = stack.enter_context(text_teachers.opened(teacher_named, _REPLY_TOKENS))
        cache = out / f"{name.replace('/', '_').replace(':', '_')}.{_CACHE}"
        yield from generated.talk_lines(questions(talk, seed), teacher.ask, cache)
        yield from generated.reworded_lines(reword, seed, teacher.ask, cache)


def _shared(repository: Path) -> list[Kept]:
    shared = Shared(repository.with_name(f"{repository.name}-boards"))
    if not shared.exists:
        return []
    with shared.opened() as file:
        return list(file.all())


def _shared_line(kept: Kept) -> Line:
    """What a board shared, as a line: where it was corrected, with what was meant."""
    told = msgspec.to_builtins(kept.example)
    more = {
        name: told[name]
        for name in ("meant", "intents", "good", "judged", "model", "language")
        if told[name] not in ("", [], None)
    }
    messages = tuple((message["role"], message["content"]) for message in told["messages"])
    return Line(
        f"boards {kept.example.kind}", kept.example.id, messages=messages, more={**more, "shared": kept.example.id}
    )


def _forgotten(out: Path, more: list[str] | tuple[()]) -> frozenset[str]:
    """The ids of lines that are in no version any more; `more` are added to the file that keeps them."""
    file = out / _FORGOTTEN
    known = set(file.read_text(encoding="utf-8").split()) if file.is_file() else set()
    if fresh := sorted(set(more) - known):
        out.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:
            opened.write("".join(f"{one}\n" for one in fresh))
    return frozenset(known | set(more))
