"""One question to a GGUF model in the board's engine, and its answer where that came to an end.

Knows neither what is asked nor for what; the engine is imported by whoever opened the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perslm_runtime.model import ChatModel


def whole_answer(chat: ChatModel, question: str) -> str:
    """What the model answers in a conversation of its own; "" where it was cut off or said nothing."""
    from perslm_runtime.lane import Stop  # noqa: PLC0415 - llama.cpp is not on every machine that trains
    from perslm_runtime.model import ReplyEnd  # noqa: PLC0415 - as above
    from perslm_runtime.prompt import user_text  # noqa: PLC0415 - as above

    chat.begin(Stop())
    ends = [piece for piece in chat.reply(Stop(), user_text(question)) if isinstance(piece, ReplyEnd)]
    return ends[-1].text.strip() if ends and ends[-1].why == "end" else ""
