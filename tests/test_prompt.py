"""Chat templates taken apart, and a conversation that never outgrows its context."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_daemon.config_sections import Config
from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.prompt import CHATML, Conversation, chat_format, start_conversation, user_text

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + "
    "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{'<start_of_turn>model\n'}}{% endif %}"
)


def words(text: str, *, special: bool, begin: bool = False) -> list[int]:
    """A tokenizer for pure tests: one token per character."""
    return [ord(character) for character in text]


def test_chatml_comes_apart_into_its_fixed_strings() -> None:
    form = chat_format(CHATML)
    assert form.opening == "<|im_start|>system\n"
    assert form.after_system == "<|im_end|>\n<|im_start|>user\n"
    assert form.after_user == "<|im_end|>\n<|im_start|>assistant\n"
    assert form.after_reply == "<|im_end|>\n<|im_start|>user\n"


def test_a_template_without_a_system_role_takes_the_system_text_in_the_first_user_text() -> None:
    form = chat_format(GEMMA)
    assert form.opening == "<start_of_turn>user\n"
    assert form.after_user == "<end_of_turn>\n<start_of_turn>model\n"
    assert form.after_system.strip() == ""


@pytest.mark.parametrize(
    "template",
    [
        "{{ nothing closes here",
        "the same text for everybody",
        "{{ messages.__class__.__mro__ }}{% for m in messages %}{{ m['content'] }}{% endfor %}{{ 1 // 0 }}",
    ],
)
def test_a_broken_or_hostile_template_is_an_engine_error(template: str) -> None:
    with pytest.raises(EngineError, match="template"):
        chat_format(template)


def test_the_best_memory_stands_next_to_the_question() -> None:
    text = user_text("Where is the key?", ["The key is under the pot.", "I like tulips."])
    assert text.endswith("Earlier I told you: The key is under the pot.\n\nWhere is the key?")


def test_a_text_that_cannot_fit_says_how_much_fits() -> None:
    talk = Conversation(100, [1] * 40, [2], [3])
    with pytest.raises(InputError, match="at most 39 fit"):
        talk.prompt([7] * 41, 20)


@settings(max_examples=60, deadline=None, database=None)
@given(
    st.integers(60, 300),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12),
    st.integers(0, 30),
)
def test_a_prompt_never_exceeds_its_budget_and_keeps_head_and_newest_text(
    limit: int, turns: list[tuple[int, int]], reserve: int
) -> None:
    talk = Conversation(limit, [1] * 20, [2, 2], [3, 3])
    for user_length, reply_length in turns:
        user = [5] * user_length
        try:
            prompt = talk.prompt(user, reserve)
        except InputError:
            assert user_length + 20 + 2 + reserve > limit
            continue
        assert len(prompt) + reserve <= limit
        assert prompt[:20] == talk.head
        assert prompt[len(prompt) - user_length - 2 :] == [*user, 2, 2]
        newest = talk.turns[-1:]
        talk.add(user, [6] * min(reply_length, reserve))
        if newest and len(newest[0]) + 22 + user_length + reserve <= limit:
            assert newest[0] in talk.turns, "the newest turn is the last to go"


@settings(max_examples=40, deadline=None, database=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=5), st.text(max_size=20))
def test_appending_a_turn_never_changes_a_token_before_it(replies: list[str], said: str) -> None:
    talk = start_conversation(words, chat_format(CHATML), "You are PersLM.", [("a?", "b.")], 5000)
    before: list[int] = []
    for reply in replies:
        prompt = talk.prompt(words(said, special=False), 50)
        assert prompt[: len(before)] == before
        talk.add(words(said, special=False), words(reply, special=False))
        before = [*prompt, *words(reply, special=False)]


def test_compacting_keeps_the_summary_and_the_newest_turns() -> None:
    talk = Conversation(100, [1], [2], [3])
    for number in range(10, 15):
        talk.add([number], [number])
    talk.compact([9, 9], keep=2)
    assert talk.prompt([8], 10) == [1, 9, 9, 13, 2, 13, 3, 14, 2, 14, 3, 8, 2]


def test_the_training_host_teaches_with_the_system_text_that_boards_have() -> None:
    source = Path(__file__).parents[1] / "training_host/perslm_training_host/chat_replies.py"  # imports torch
    (assigned,) = re.findall(r'^SYSTEM = (".*")$', source.read_text(encoding="utf-8"), re.MULTILINE)
    assert ast.literal_eval(assigned) == Config().model.system_prompt
