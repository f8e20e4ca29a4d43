"""What the model reads, as text and as tokens, and how it is kept inside the context. Pure: no engine.

A chat template is taken apart once into the fixed strings between the messages. The conversation is then a
list of token runs that only grows: the head (system text and example turns) never changes by a byte, so its
KV state survives turns and restarts; memories and the time travel in the newest user message, because
anything that changes at the head would cost a full prefill (the number one complaint about local assistants).
What a person said is tokenized without control tokens: "<|im_end|>" in it is nine harmless characters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.templates import ChatTemplateError, chat_environment

CHATML = """\
{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
"""Used for files without a template: the form most small instruction models were trained on."""

# A 135M model follows examples, not instructions: with these turns in the head it answers 13 of 14 probe
# questions from what it was told, without them 7. They are part of the saved prefix: no turn pays for them.
EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "Earlier I told you: My car is blue and I park it behind the house.\n\nWhat colour is my car?",
        "Your car is blue.",
    ),
    ("What is the capital of Italy?", "The capital of Italy is Rome."),
    (
        "My brother Tom works at the bank.",
        "All right, I will remember that your brother Tom works at the bank.",
    ),
    (
        "Earlier I told you: My wife likes tulips.\nEarlier I told you: My piano lesson is on Tuesday.\n\n"
        "When is my piano lesson?",
        "Your piano lesson is on Tuesday.",
    ),
    (
        "How do I boil an egg?",
        "Put the egg into boiling water for about eight minutes, then cool it under cold water.",
    ),
)

SUMMARY_REQUEST = "Summarise what we have said so far in at most three short sentences."
SUMMARY_INTRO = "Before this we talked about the following: "
NOTE_INTRO = (
    "Earlier I told you: "  # as EXAMPLES has it: a small model answers from what it has seen answered from
)
SUMMARY_REPLY = "Yes, I remember that."

_MARKS = ("\ue000\ue001", "\ue000\ue002", "\ue000\ue003", "\ue000\ue004")  # private use: no template touches them


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """The fixed strings of a chat template: opening, then system, user and assistant texts between them."""

    opening: str
    after_system: str
    after_user: str
    after_reply: str


def chat_format(template: str) -> ChatFormat:
    """Take a Jinja chat template apart by rendering it once around marks.

    Templates come out of model files, which are data from outside: they run in Jinja's immutable sandbox.
    Templates without a system role (they raise on it) get the system text in front of the first user text.
    Raises `EngineError` when the template cannot be rendered or drops or reorders the messages.
    """
    environment = chat_environment()
    try:
        compiled = environment.from_string(template)
    except ChatTemplateError as error:
        raise EngineError(f"the model's chat template cannot be read: {error}") from error

    def render(*messages: tuple[str, str]) -> str:
        turns = [{"role": role, "content": text} for role, text in messages]
        return compiled.render(
            messages=turns, add_generation_prompt=True, bos_token="", eos_token="", enable_thinking=False
        )

    system, user, reply, second = _MARKS
    talk = (("user", user), ("assistant", reply), ("user", second))
    try:
        return _cut(render(("system", system), *talk), (system, user, reply, second))
    except (ChatTemplateError, EngineError):
        pass  # no system role: Gemma's templates, for one, raise on it
    try:
        without = _cut(render(*talk), (user, reply, second))
    except ChatTemplateError as error:
        raise EngineError(f"the model's chat template cannot be rendered: {error}") from error
    return without


def _cut(rendered: str, marks: Sequence[str]) -> ChatFormat:
    """The strings around the marks; the last one opens the reply."""
    parts: list[str] = []
    rest = rendered
    for mark in marks:
        before, found, rest = rest.partition(mark)
        if not found:
            raise EngineError("the model's chat template drops or reorders messages")
        parts.append(before)
    if len(marks) == 4:
        return ChatFormat(parts[0], parts[1], rest, parts[3])
    return ChatFormat(parts[0], "\n\n", rest, parts[2])


def user_text(
    question: str, memories: Sequence[str] = (), now: str = "", sources: Mapping[str, str] | None = None
) -> str:
    """The newest user message: the time, what was recalled (best last, next to the question), the question.

    `sources` says which memories are pieces of documents, and of which.
    """
    lines = [memory_line(memory, (sources or {}).get(memory, "")) for memory in reversed(memories)]
    if now:
        lines.insert(0, now)
    return "\n".join(lines) + ("\n\n" if lines else "") + question


def memory_line(memory: str, source: str = "") -> str:
    """A memory as the model reads it; a piece of a document names where it is from."""
    return f"In {source} it says: {memory}" if source else NOTE_INTRO + memory


def summary_text(summary: str, notes: Sequence[str]) -> str:
    """What stands for the turns that have left the window: the model's summary, if any, and the person's words."""
    lines = [SUMMARY_INTRO + summary] if summary else []
    return "\n".join([*lines, *(NOTE_INTRO + note for note in notes)])


Tokenize = Callable[..., list[int]]
"""`tokenize(text, special=..., begin=...)` of the engine."""


@dataclass(slots=True)
class Conversation:
    """A conversation as token runs: the fixed head, then one run per turn, oldest first.

    A turn's run is the user text, the reply's opening, the reply as it was generated and what closes it, so
    that appending a turn never changes a token before it. `limit` is the context in tokens.
    """

    limit: int
    head: list[int]
    opening: list[int]
    closing: list[int]
    turns: list[list[int]] = field(default_factory=list)
    summary: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """What the person said in each of `turns`, as far as it is known."""
    read: list[str] = field(default_factory=list)
    """What the model read of the person in each of `turns`: what was recalled, and what was said."""
    gone: list[str] = field(default_factory=list)
    """What the person said in turns that have left the window, less what was not worth noting."""

    @property
    def used(self) -> int:
        """Tokens that the next prompt starts with."""
        return len(self.head) + len(self.summary) + sum(map(len, self.turns))

    def prompt(self, user: Sequence[int], reserve: int) -> list[int]:
        """The whole prompt for a new user text, leaving `reserve` tokens for the reply.

        Turns that do not fit are dropped, oldest first; the head and the new text always stay. Raises
        `InputError` when the text alone does not fit.
        """
        new = len(user) + len(self.opening)
        room = self.limit - reserve - len(self.head) - new
        if room < 0:
            most = max(0, self.limit - reserve - len(self.head) - len(self.opening))
            raise InputError(
                f"that text is {len(user)} tokens long and at most {most} fit: say it in shorter pieces,"
                " or set model.context_tokens higher"
            )
        if len(self.summary) > room:
            self.summary = []
        while self.turns and len(self.summary) + sum(map(len, self.turns)) > room:
            self._leave(1)
        return [*self.head, *self.summary, *(t for turn in self.turns for t in turn), *user, *self.opening]

    def add(self, user: Sequence[int], reply: Sequence[int], said: str = "", read: str = "") -> None:
        """Append a finished (or interrupted) turn; `said` is what the person said in it, `read` all of `user`."""
        self.turns.append([*user, *self.opening, *reply, *self.closing])
        self.said.append(said)
        self.read.append(read or said)

    def fits(self, user: Sequence[int], reserve: int) -> bool:
        """Whether a new user text and its reply fit without any turn leaving."""
        return self.used + len(user) + len(self.opening) + reserve <= self.limit

    def _leave(self, count: int) -> None:
        self.gone += [said for said in self.said[:count] if said]
        del self.turns[:count], self.said[:count], self.read[:count]

    def compact(self, summary: Sequence[int], keep: int) -> None:
        """Put `summary` (a user text and a reply, as tokens) in place of all but the newest `keep` turns."""
        self.summary = list(summary)
        self._leave(max(0, len(self.turns) - keep))


def start_conversation(
    tokenize: Tokenize, form: ChatFormat, system: str, examples: Sequence[tuple[str, str]], limit: int
) -> Conversation:
    """An empty conversation with its byte-stable head."""
    head = tokenize(form.opening, special=True, begin=True) + tokenize(system, special=False)
    head += tokenize(form.after_system, special=True)
    opening = tokenize(form.after_user, special=True)
    closing = tokenize(form.after_reply, special=True)
    for question, answer in examples:
        head += tokenize(question, special=False) + opening + tokenize(answer, special=False) + closing
    return Conversation(limit, head, opening, closing)
