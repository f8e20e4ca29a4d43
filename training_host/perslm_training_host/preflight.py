"""What is looked at before a distillation begins: tokenizers, vocabularies, licences, memory. No model is loaded.

Every refusal is a named error whose message says the next step. What a licence allows is a table here, dated; it
is no legal advice, and `--licence-checked` is a person's own word for a licence that is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from perslm_runtime.errors import InputError
from perslm_training_host.model_facts import Facts

FREE = {
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
    "unlicense",
    "gpl-3.0", "gpl-3.0-or-later", "openrail", "isc",
}  # fmt: skip
"""Licences that say nothing against learning from what a model answers (2026-11)."""
NAMED = {"gemma", "llama3.1", "llama3.2", "llama3.3", "llama4"}
"""Licences that allow it, and whose terms (a name, a notice) go on to the student."""
FORBIDDEN = {
    "llama2": "its outputs must not be used to improve any other model",
    "llama3": "its outputs must not be used to improve any other model",
    "cc-by-nc-4.0": "no commercial use, and PersLM's boards may be sold",
    "cc-by-nc-sa-4.0": "no commercial use, and PersLM's boards may be sold",
    "cc-by-nd-4.0": "no changed works",
    "cc-by-nc-nd-4.0": "no changed works",
    "openai-terms": "its outputs must not be used to develop models that compete",
    "anthropic-terms": "its outputs must not be used to develop models that compete",
    "qwen-research": "no commercial use",
}


class LicenceForbids(InputError):
    """The teacher's licence does not allow learning from it, or nobody knows whether it does."""


class OtherTokenizer(InputError):
    """Teacher and student cut text differently: probabilities of tokens cannot be compared."""


class TooLittleMemory(InputError):
    """The run would not fit into what is free; nothing was loaded."""


def check_licence(licence: str, what: str, *, checked: bool) -> str | None:
    """Refuse a licence that forbids it; returns what has to be passed on with the student, or nothing.

    Raises LicenceForbids; for one that is not known only where no person has `checked` it.
    """
    name = licence.lower()
    if name in FORBIDDEN:
        raise LicenceForbids(f"{what} is under {name}: {FORBIDDEN[name]}. Take a teacher under Apache-2.0 or MIT")
    if name in FREE:
        return None
    if name in NAMED:
        return f"{what} is under {name}: its notice and name go on to the student"
    if checked:
        return f"{what} is under {name or 'an unknown licence'}, which you have checked yourself"
    said = f"is under {name}, which is not known here" if name else "does not say its licence"
    raise LicenceForbids(
        f"{what} {said}: read it, then give --licence NAME, or --licence-checked where it allows learning"
        " from answers"
    )


def same_words(teacher: Facts, student: Facts) -> int:
    """How many words both have in common, from the first on, where one tokenizer serves both; else 0.

    Files pad the same vocabulary to different sizes (Qwen2.5: 151,936 and 152,064), so only what both have counts.
    Where both know their merges, those have to be the same too.
    """
    words = min(len(teacher.words), len(student.words))
    if words == 0 or teacher.words[:words] != student.words[:words]:
        return 0
    if teacher.merges and student.merges and teacher.merges != student.merges:
        return 0
    return words


def check_words(teacher: Facts, student: Facts) -> int:
    """As `same_words`. Raises OtherTokenizer where there are none."""
    words = same_words(teacher, student)
    if not words:
        raise OtherTokenizer(
            f"{teacher.path} has {len(teacher.words)} words and {student.path} {len(student.words)}, and they are"
            " not the same: learn from its texts instead, with --prompts"
        )
    return words


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that a run takes: the student's weights, gradients and moments of what is trained, the teacher's
    weights, and what the passes of a micro-batch keep.
    """

    student: int
    trained: int
    teacher: int
    passes: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.student + self.trained + self.teacher + self.passes


def memory_of(
    student_weights: int,
    trained_weights: int,
    teacher_bytes: int,
    tokens: int,
    width: int,
    layers: int,
    words: int,
) -> Memory:
    """What a run takes, roughly: `tokens` are a micro-batch's.

    Activations cost about 34 numbers a token, layer and column (attention in blocks), a chunk's logits four
    copies.
    """
    passes = 4 * (34 * tokens * width * layers + 4 * 128 * words)
    return Memory(4 * student_weights, 12 * trained_weights, teacher_bytes, passes)


def check_memory(memory: Memory, free: int | None = None) -> None:
    """Refuse a run that does not fit into what is free here. Raises TooLittleMemory."""
    free = psutil.virtual_memory().available if free is None else free
    if memory.total > free:
        parts = f"student {memory.student / 1e9:.1f}, training {memory.trained / 1e9:.1f}"
        raise TooLittleMemory(
            f"this takes {memory.total / 1e9:.1f} GB ({parts}, teacher {memory.teacher / 1e9:.1f}, passes"
            f" {memory.passes / 1e9:.1f}) and {free / 1e9:.1f} GB are free: give fewer --rows, --lora 16,"
            " --likeliest 64 with a GGUF teacher, or a larger machine"
        )
