from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_daemon.topics import (
    RESERVED,
    ReplyPart,
    RequestTopic,
    SetTopic,
    Topics,
    event_payload,
    is_level,
    is_topic,
    matches,
    may_answer,
    payload_of,
    state_payload,
)
from perslm_runtime.errors import InputError

QUICK = settings(max_examples=60, deadline=None, database=None)
LEVELS = st.text(min_size=1, max_size=30).filter(is_level)
HOME = Topics("perslm", "kitchen")


@QUICK
@given(LEVELS, LEVELS)
def test_a_request_topic_that_was_made_is_read_back(verb: str, user: str) -> None:
    assert HOME.read(HOME.request(verb)) == RequestTopic(verb)
    assert HOME.read(HOME.request(verb, user)) == RequestTopic(verb, user)


@QUICK
@given(LEVELS.filter(lambda name: name not in RESERVED))
def test_a_setting_s_topic_that_was_made_is_read_back(name: str) -> None:
    assert HOME.read(HOME.set(name)) == SetTopic(name)
    assert HOME.read(HOME.value(name)) is None


@QUICK
@given(st.text(max_size=60))
def test_any_topic_is_read_without_an_error(topic: str) -> None:
    HOME.read(topic)
    HOME.read(f"perslm/kitchen/{topic}")


@QUICK
@given(
    st.builds(
        ReplyPart,
        st.integers(0, 99),
        st.text(st.characters(codec="utf-8")),
        st.booleans(),
        st.none() | st.dictionaries(st.sampled_from(["total"]), st.floats(0, 9)),
    )
)
def test_a_part_of_a_reply_is_read_back(part: ReplyPart) -> None:
    assert ReplyPart.read(part.as_json()) == part


@pytest.mark.parametrize("name", ["", "Küche", "_clients", "a/b", "+", "#", "a" * 65, "a b", "KITCHEN"])
def test_a_node_that_cannot_be_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no node name"):
        Topics("perslm", name)


@pytest.mark.parametrize("base", ["", "a//b", "a/+", "#", "/a", "$SYS"])
def test_a_base_that_cannot_be_in_a_topic_is_refused(base: str) -> None:
    with pytest.raises(InputError, match="no base"):
        Topics(base, "kitchen")


@pytest.mark.parametrize("level", ["", "a/b", "+", "#", "a+", "\0", "x" * 201, "\ud800"])
def test_what_cannot_be_a_level_is_none(level: str) -> None:
    assert not is_level(level)


@pytest.mark.parametrize(
    ("topic", "pattern", "lies"),
    [
        ("perslm/a/response/ask", "perslm/+/response/#", True),
        ("perslm/a/response", "perslm/+/response/#", True),
        ("perslm/a/request/ask", "perslm/+/response/#", False),
        ("perslm/a/b/response/x", "perslm/+/response/#", False),
        ("a/b", "a/+", True),
        ("a/b/c", "a/+", False),
        ("a", "a/b", False),
    ],
)
def test_filters_match_as_the_standard_says(topic: str, pattern: str, lies: bool) -> None:
    assert matches(topic, pattern) is lies


@pytest.mark.parametrize(
    "topic", ["zigbee2mqtt/bridge/request/permit_join", "perslm/+/response/x", "", "perslm/#"]
)
def test_an_answer_goes_nowhere_but_under_an_allowed_filter(topic: str) -> None:
    assert not may_answer(topic, ("perslm/+/response/#", "perslm/_clients/#"))
    assert may_answer("perslm/_clients/me/1", ("perslm/+/response/#", "perslm/_clients/#"))


def test_a_topic_longer_than_the_standard_allows_is_none() -> None:
    assert not is_topic("/".join(["a" * 99] * 700))


def test_values_go_out_as_people_expect_them() -> None:
    assert payload_of(True) == b"ON"
    assert payload_of(False) == b"OFF"
    assert payload_of(0.5) == b"0.5"
    assert payload_of("idle") == b"idle"
    assert payload_of({"state": "online"}) == state_payload("online") == b'{"state": "online"}'
    assert json.loads(event_payload("reply", {"turn": "a"})) == {"event_type": "reply", "turn": "a"}


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_value_takes_the_name_of_something_else(name: str) -> None:
    with pytest.raises(InputError):
        HOME.value(name)


def test_what_belongs_to_the_broker_is_no_base_and_gets_no_answer() -> None:
    with pytest.raises(InputError, match="no base"):
        Topics("$SYS", "kitchen")
    assert not may_answer("$SYS/response/a", ["#"])
    assert may_answer("perslm/_clients/$me", ["perslm/_clients/#"])


@pytest.mark.parametrize(
    ("level", "verb"), [("$ask", "$ask"), ("", "unknown"), ("x" * 201, "unknown"), ("\x01", "unknown")]
)
def test_every_topic_of_a_request_is_one_that_can_be_answered(level: str, verb: str) -> None:
    topics = Topics("perslm", "kitchen")
    assert topics.read(f"perslm/kitchen/request/{level}") == RequestTopic(verb)
    assert topics.read(f"perslm/kitchen/as/ana/request/{level}") == RequestTopic(verb, "ana")
    assert is_topic(topics.response(verb))
