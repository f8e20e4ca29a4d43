"""What the pipeline has its engines do, as functions that run in the engines' own threads (lanes).

Each takes its engine, the job's `Stop` and plain arguments. None waits for the loop.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perslm_daemon.turn import Ask, Vector
from perslm_runtime import fact_reading
from perslm_runtime.audio import Pcm
from perslm_runtime.choosing import Form
from perslm_runtime.completing import Completion, CompletionEnd, Draft
from perslm_runtime.embed_static import AnyEmbedder
from perslm_runtime.errors import InputError
from perslm_runtime.fact_reading import Reading
from perslm_runtime.facts import Statement
from perslm_runtime.home_tools import CALL_TOKENS, EXAMPLES
from perslm_runtime.intent import Intent
from perslm_runtime.known_lines import Line
from perslm_runtime.lane import Gate, Stop
from perslm_runtime.memory import Memory, Recalled
from perslm_runtime.memory_backup import Keep, due
from perslm_runtime.memory_backup import back_up as make_backup
from perslm_runtime.memory_claims import Unread
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_files import folder_of
from perslm_runtime.memory_forget import Forgetting, Forgotten
from perslm_runtime.memory_lines import Entry as MemoryEntry
from perslm_runtime.memory_prune import Budget
from perslm_runtime.model import ChatModel, ReplyEnd
from perslm_runtime.profile import lines_of
from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.stt import SpeechToText, Transcript
from perslm_runtime.tool_call import ToolCall
from perslm_runtime.tool_grammar import ToolSet
from perslm_runtime.tts import Piper

if TYPE_CHECKING:
    from perslm_runtime.home_later import Later
    from perslm_runtime.home_names import Entry
    from perslm_runtime.home_wish import Wish
    from perslm_runtime.intents import Recognizer
    from perslm_runtime.plugin_sentences import PluginSentences
    from perslm_runtime.plugin_sentences import Wanted as WantedOfPlugin
    from perslm_runtime.understanding import Understanding

_TURNS_TAKEN_UP = 6  # of a conversation that is gone on with; the context drops what does not fit
_LOOKED_AT = 64  # new memories read for what they tell of people
_BACKFILL = 16  # vectors computed per idle moment: about 0.2 s on an x86 core, 2 s on a Pi 4


def recognize(engine: SpeechToText, stop: Stop, sound: Pcm) -> Transcript:
    """The words in a whole recording."""
    utterance = engine.listen()
    utterance.accept(sound, stop)
    return utterance.finish(stop)


def understand(recognizer: Recognizer, _stop: Stop, text: str) -> Intent | None:
    """What a sentence wants, where it is no question for the model."""
    return recognizer.recognize(text)


def wishes(
    understanding: Understanding, _stop: Stop, text: str, names: object, entries: Sequence[Entry]
) -> tuple[Wish, ...]:
    """What a sentence wants of the home; `names` changes whenever the `entries` of the name book do."""
    return understanding.wishes(text, names, entries)


def wanted_of_plugins(
    _recognizer: Recognizer, _stop: Stop, tables: Sequence[PluginSentences], text: str
) -> WantedOfPlugin | None:
    """What a sentence wants of a plug-in."""
    from perslm_runtime.plugin_sentences import recognize_all  # noqa: PLC0415 - only where there are plug-ins

    return recognize_all(tables, text)


def about(understanding: Understanding, _stop: Stop, text: str) -> Intent | None:
    """What is asked of PersLM itself."""
    return understanding.about(text)


def stock_said(
    understanding: Understanding,
    _stop: Stop,
    intent: str,
    key: str,
    slots: Mapping[str, Any],
    state: Mapping[str, Any],
) -> str:
    """Home Assistant's answer to one of its intents, in the language that is spoken."""
    return understanding.said(intent, key, slots, state)


def later(understanding: Understanding, _stop: Stop, text: str) -> Later | None:
    """What a sentence would command but for the time in it; None for any other."""
    return understanding.later(text)


def strange(understanding: Understanding, _stop: Stop, text: str, names: object, entries: Sequence[Entry]) -> str:
    """The thing or room that a sentence for the home is about and that it has not; "" for any other text."""
    return understanding.strange(text, names, entries)


def speak(voice: Piper, stop: Stop, words: str) -> Generator[Pcm, None, None]:
    """The sound of a sentence, piece by piece."""
    yield from voice.speak(words, stop)


def embed(embedder: AnyEmbedder, stop: Stop, texts: list[str]) -> Vector:
    """One vector per text, float32 [n, 384]."""
    return embedder.embed(texts, stop)


def recall(memory: Memory, _stop: Stop, text: str, vector: Vector | None, k: int, person: str) -> list[Recalled]:
    """What helps with `text`: at most `k` memories of the person."""
    return memory.recall(text, vector=vector, k=k, person=person) if k else []


def rewordings(memory: Memory, _stop: Stop, text: str, person: str) -> list[str]:
    """A question with other words for the people it names."""
    return memory.rewordings(text, person)


def known_lines(memory: Memory, _stop: Stop, person: str) -> tuple[Line, ...]:
    """What is known of a person as lines for the model, the newest last."""
    known = sorted(memory.claims.known(person), key=lambda claim: claim.since)
    return lines_of(known, memory.claims.quotes(person)) if known else ()


def recent(memory: Memory, _stop: Stop, conversation: str, person: str) -> list[tuple[str, str]]:
    """The last (question, reply) pairs of a conversation, as far as they are the person's."""
    turns = memory.recent_turns(conversation, _TURNS_TAKEN_UP)
    return [(turn.said, turn.reply) for turn in turns if turn.person == person]


def remember_fact(
    memory: Memory,
    _stop: Stop,
    fact: str,
    person: str,
    vector: Vector | None,
    shared: bool = False,
    source: str = "told",
) -> int:
    """Store a fact; durable when it returns."""
    return memory.remember_fact(fact, person=person, vector=vector, shared=shared, source=source)


def remember(
    memory: Memory,
    _stop: Stop,
    ask: Ask,
    reply: str,
    vector: Vector | None,
    interrupted: bool,
    model: str,
    source: str = "",
) -> int:
    """Store the turn; durable when it returns."""
    return memory.remember_turn(
        ask.text,
        reply,
        conversation=ask.conversation,
        person=ask.person,
        interrupted=interrupted,
        model=model,
        vector=vector,
        source=source,
    )


def choose_forgotten(memory: Memory, _stop: Stop, wanted: Wanted) -> Forgetting:
    """Choose what is to be forgotten."""
    return Forgetting(memory, wanted)


def forget(memory: Memory, _stop: Stop, forgetting: Forgetting) -> Forgotten:
    """Forget what was chosen, which its copies have forgotten before."""
    return forgetting.in_memory(memory)


def memory(store: Memory, _stop: Stop, number: int) -> MemoryEntry | None:
    """The memory with this id, or None."""
    return store.get(number)


def browse(
    store: Memory, _stop: Stop, person: str, kind: str | None, limit: int, offset: int
) -> list[MemoryEntry]:
    """At most `limit` memories of a person, newest first, `offset` passed over."""
    return store.list(kind, limit=limit, offset=offset, person=person)


def back_up(memory: Memory, _stop: Stop, keep: Keep) -> Path | None:
    """Add a backup if the newest is a day old; the backup, or None. One long call: seconds for a large memory."""
    if memory.file is None or not due(folder := folder_of(memory.file)):
        return None
    return make_backup(memory, folder, keep)


def look_at_new(memory: Memory, _stop: Stop) -> int:
    """Read what a few new memories tell of people; how many there were. A quarter of a millisecond each."""
    return memory.claims.look(_LOOKED_AT)


def unread(memory: Memory, _stop: Stop, most: int) -> list[Unread]:
    """Memories in which the rules found nothing and the model was not asked yet."""
    return memory.claims.unread(most)


def note(model: ChatModel, stop: Stop, sentence: str, names: frozenset[str]) -> Reading | None:
    """What the model notes of a sentence; None where it is not worth asking, or tells nothing."""
    if not fact_reading.worth_asking(sentence, names):
        return None
    form = fact_reading.form_of(sentence, names)
    written = model.choose(stop, fact_reading.SYSTEM, fact_reading.EXAMPLES, sentence, form, fact_reading.TOKENS)
    return fact_reading.read(written.written.text, sentence, names)


def stands(model: ChatModel, stop: Stop, noted: Reading) -> bool:
    """Whether the model, asked again, is sure that the sentence says what it noted."""
    asked = (fact_reading.CHECK_SYSTEM, fact_reading.CHECK_EXAMPLES, noted.check, fact_reading.YES_OR_NO)
    answer = model.choose(stop, *asked)
    return answer.written.text == "yes;" and answer.sure >= fact_reading.LEAST_SURE


def file_bytes(model: ChatModel, _stop: Stop) -> int:
    """How large the model's file is."""
    return model.file.stat().st_size


def told_by_model(memory: Memory, _stop: Stop, read: Unread, understood: list[Statement]) -> int:
    """Keep what the model understood of a memory; how many claims."""
    return memory.claims.told_by_model(read, understood)


def summarise(memory: Memory, _stop: Stop) -> int:
    """Summarise what is over of days, weeks and months."""
    return memory.summarise()


def prune(memory: Memory, _stop: Stop, budget: Budget) -> int:
    """Erase what is repeated or least worth beyond the budget; how many memories."""
    plan = memory.plan_pruning(budget)
    if plan.ids:
        memory.erase(plan.ids)
    return len(plan.ids)


def learn_again(memory: Memory, _stop: Stop) -> int:
    """Learn documents anew whose files have changed; how many. One that cannot be read stays as it was."""
    changed = memory.documents.changed()
    for document in changed:
        with suppress(InputError):
            memory.learn_file(Path(document.source), person=document.person)
    return len(changed)


def missing_vectors(memory: Memory, _stop: Stop) -> list[tuple[int, str]]:
    """(id, text) of a few memories that have no vector yet."""
    return memory.missing_vectors(_BACKFILL)


def set_vectors(memory: Memory, _stop: Stop, pairs: list[tuple[int, Vector]], embedder: str) -> None:
    """Store the vectors of (id, vector) pairs, made by `embedder`."""
    memory.set_vectors(pairs, embedder)


def with_memories(
    model: ChatModel, _stop: Stop, question: str, recalled: Sequence[Recalled], lines: Sequence[Line] = ()
) -> str:
    """The text for the model: the question with as much of what was recalled, and is known, as fits."""
    sources = {memory.text: memory.source for memory in recalled if memory.kind in ("chunk", "tool")}
    return model.with_memories(question, [memory.text for memory in recalled], sources, lines)


def read_ahead(model: ChatModel, stop: Stop, said: str) -> None:
    """Have a text read that may be asked."""
    model.read_ahead(stop, said)


def sentences(model: ChatModel, stop: Stop, said: str, spoken: Gate) -> Generator[str | ReplyEnd, None, None]:
    """The reply in speakable pieces, cut in the model's own thread: one hop to the loop per token cost 20 % speed.

    After the first piece the model waits until its sound is out (`spoken`): on a board that decodes with all
    cores the two would halve each other's speed at the one moment somebody is waiting.
    """
    splitter = SentenceSplitter()
    started = False
    with closing(model.reply(stop, said)) as pieces:
        for piece in pieces:
            if isinstance(piece, ReplyEnd):
                yield from splitter.flush()
                yield piece
                return
            text = piece if started else piece.lstrip()  # models open with a space or a newline
            started = started or bool(text)
            for number, sentence in enumerate(splitter.feed(text)):
                yield sentence
                if number == 0:
                    spoken.wait(stop)


def choose(
    model: ChatModel,
    stop: Stop,
    tools: ToolSet,
    system: str,
    said: str,
    examples: Sequence[tuple[str, str]] = EXAMPLES,
) -> ToolCall:
    """The tool that `said` (home_tools.home_text) asks for, perhaps `none`; `system` is home_tools.home_system.

    A model that was taught the tools needs no `examples`: its prompt is some 270 tokens instead of 880.

    The running conversation is neither seen nor changed. Raises `CallRefused` when the model wrote no call.
    """
    choice = model.choose(stop, system, examples, said, Form(tools.gbnf, tools.forced), CALL_TOKENS)
    return tools.parse(choice.written.text)


def choose_among(
    model: ChatModel,
    stop: Stop,
    tools: ToolSet,
    system: str,
    examples: Sequence[tuple[str, str]],
    said: str,
    tokens: int,
) -> ToolCall:
    """The same with a prompt of the caller's own: `system`, `examples` (text, call), at most `tokens` for the
    call.
    """
    choice = model.choose(stop, system, examples, said, Form(tools.gbnf, tools.forced), tokens)
    return tools.parse(choice.written.text)


def complete(
    model: ChatModel, stop: Stop, wanted: Completion, draft: Draft
) -> Generator[str | CompletionEnd, None, None]:
    """The reply to a list of messages, beside the conversation, from what is in the `draft` on."""
    yield from model.complete(stop, wanted, draft)


def begin(model: ChatModel, stop: Stop, turns: list[tuple[str, str]]) -> None:
    """Start another conversation with what was said before."""
    model.begin(stop, turns)


def forget_conversation(model: ChatModel, stop: Stop) -> None:
    """Start another conversation and leave nothing of this one in the model's memory."""
    model.forget(stop)


def compact(model: ChatModel, stop: Stop) -> str:
    """Summarise the conversation if it has grown long; returns the summary or ""."""
    return model.compact(stop) if model.wants_compaction else ""


def resize(model: ChatModel, stop: Stop, context_tokens: int) -> tuple[int, int]:
    """Change the context's size; returns what it was and is."""
    before = model.context_tokens
    return before, model.resize(stop, context_tokens)
