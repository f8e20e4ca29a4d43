"""What every test shares: the real models on disk, and a loop that no blocking call may hold up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from perslm_build.suite import pytest_runtest_logreport  # noqa: F401 - a hook, which pytest finds by its name
from perslm_runtime.model import ChatModel
from real_models import build_model, model_path

TESTS = Path(__file__).parent
collect_ignore = ["training"]  # runs in .venv-train: test_training_host.py starts it


# Sound is real time: a microphone that is not read for half a second counts as lost, as it should.
ALONE = {
    "test_arbitration_mqtt",
    "test_chime_echo",
    "test_cli_audio",
    "test_ears",
    "test_ears_noise",
    "test_live",
    "test_mouth",
    "test_serve_sound",
    "test_sound_card",
    "test_sound_server",
    "test_voice",
    "test_wyoming",
    "test_wyoming_satellites",
}


LONGEST = "test_training_host"
"""Its file is one long wait: begun last, it would be waited for alone."""


LONG = {
    "flows/test_a_bad_day.py",
    "flows/test_faults.py",
    "flows/test_fuzz.py",
    "flows/test_host.py",
    "flows/test_logs_hold_no_words.py",
    "flows/test_stopping.py",
    "flows/test_timers_over_mqtt.py",
    "flows/test_under_systemd.py",
    "flows/test_daemon_over_mqtt.py::test_a_daemon_without_a_broker_joins_the_one_that_announces_itself",
    "flows/test_daemon_over_mqtt.py::test_a_house_without_a_broker_gets_ours",
    "flows/test_daemon_over_mqtt.py::test_a_port_that_is_taken_is_told_and_the_daemon_goes_on_without_mqtt",
    "flows/test_daemon_over_mqtt.py::test_a_second_node_works_and_is_asked_with_rights_of_its_own",
    "flows/test_daemon_over_mqtt.py::test_everybody_connected_hears_offline_before_the_daemon_ends_its_own_broker",
    "flows/test_daemon_over_mqtt.py::test_the_service_outlives_a_killed_daemon_and_says_so_to_whoever_comes",
    "flows/test_sharing.py::test_a_person_changes_and_drops_what_is_theirs_and_nobody_elses",
    "test_bundles.py::test_kill_9_at_any_moment_leaves_a_whole_bundle_or_none",
    "test_discovery.py::test_the_first_broker_by_name_is_found",
    "test_home_choose.py::test_a_model_that_was_taught_is_shown_no_examples",
    "test_http.py::test_the_process_opens_it_when_asked_and_ends_with_an_open_connection",
    "test_http_access.py::test_every_route_opens_to_the_scopes_of_its_page_and_to_no_others",
    "test_memory_crash.py",
    "test_memory_faults.py::test_a_restore_that_is_killed_at_any_step_leaves_the_old_memory_or_the_new_one",
    "test_model.py::test_a_doubtful_snapshot_is_prefilled_again",
    "test_model.py::test_a_long_conversation_never_overflows_the_context",
    "test_model.py::test_a_stopped_compaction_leaves_the_conversation_as_it_was",
    "test_model.py::test_another_context_size_keeps_the_conversation_and_answers_the_same",
    "test_model.py::test_compaction_replaces_old_turns_by_a_summary_and_the_next_turn_is_cheap",
    "test_model.py::test_the_reply_is_the_same_with_a_fresh_cache_and_a_reused_one",
    "test_plugin_engines.py::test_a_plug_in_speaks_and_one_that_hangs_speaks_again",
    "test_plugin_engines.py::test_a_whole_assistant_with_a_mind_of_another_goes_on_without_it",
    "test_schedule.py::test_kill_9_at_any_moment_loses_no_timer_that_was_reported_as_set",
    "test_serve.py::test_a_memory_that_another_process_locks_is_told_and_the_answer_comes_all_the_same",
    "test_serve.py::test_a_reload_keeps_the_engines_unless_they_changed",
    "test_spoken_round_trip.py",
    "test_turn_crash.py",
}
"""Whole daemons through whole days, and what is killed again and again: `make long`, which CI runs too.

With them the default tests took twice as long. What of them breaks often has a quicker test beside it.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem != LONGEST)
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        if place in LONG or f"{place}::{item.name.partition('[')[0]}" in LONG:
            item.add_marker("long")
        if item.path.stem in ALONE:
            item.add_marker("alone")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_blocking_in_the_loop() -> Iterator[BlockBuster]:
    """A blocking call made in the event loop's thread fails the test."""
    with blockbuster_ctx() as blockbuster:
        yield blockbuster


@pytest.fixture(scope="session")
def small_gguf() -> Path:
    return model_path("smollm2-135m-q4_1", "model.gguf")


@pytest.fixture(scope="module")
def chat_model(small_gguf: Path) -> Iterator[ChatModel]:
    """One loaded model for a module's tests; each begins its own conversation."""
    model = build_model(small_gguf)
    yield model
    model.close()
