"""Examples for the training host live and go with the memories that they were made of."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from perslm_runtime.errors import InputError
from perslm_runtime.memory import Memory
from perslm_runtime.memory_backup import back_up
from perslm_runtime.memory_erase import Wanted
from perslm_runtime.memory_examples import MOST_WAITING
from perslm_runtime.memory_files import folder_of
from perslm_runtime.memory_forget import forget_everywhere

KEY = bytes(range(32))
NOW_US = 1_800_000_000_000_000
ALLOWED = [("owner", "failed"), ("owner", "corrections")]


def body(said: str, reply: str = "All right.") -> dict[str, object]:
    messages = [{"role": "user", "content": said}, {"role": "assistant", "content": reply}]
    return {"messages": messages, "meant": "", "intents": [], "model": "smollm2-135m-q4_1", "app": "0.1.0"}


def queued(memory: Memory, said: str, kind: str = "failed") -> int:
    turn = memory.remember_turn(said, "All right.", conversation="c")
    found = memory.examples.add("owner", kind, body(said), [turn], NOW_US)
    assert found is not None
    return found


def sent(memory: Memory) -> list[str]:
    batch = memory.examples.to_send(NOW_US, ALLOWED, 10, NOW_US)
    memory.examples.sent([one.uid for one in batch], "receipt-1")
    return [one.uid for one in batch]


def test_an_example_is_redacted_by_what_the_memory_knows_when_it_is_queued_and_again_when_it_goes(
    tmp_path: Path,
) -> None:
    with closing(Memory(tmp_path / "memory.db")) as memory:
        memory.remember_fact("My sister is called Zoe.")
        memory.claims.look(10)
        example = queued(memory, "call zoe and Bertram at 020 7946 0958")
        (one,) = memory.examples.of("owner", ["waiting"])
        assert one.body["messages"][0]["content"] == "call [name] and Bertram at [phone]"
        assert one.body["model"] == "smollm2-135m-q4_1", "what is no word of anybody stays"
        memory.remember_fact("My brother is called Bertram.")
        memory.claims.look(10)
        (gone,) = memory.examples.to_send(NOW_US, ALLOWED, 10, NOW_US)
        assert gone.body["messages"][0]["content"] == "call [name] and [name] at [phone]"
        assert memory.examples.one(example, "owner").body == gone.body, "what went is what is shown"


def test_forgetting_a_turn_drops_what_waits_and_takes_back_what_went(tmp_path: Path) -> None:
    with closing(Memory(tmp_path / "memory.db")) as memory:
        queued(memory, "the zanthopol is on")
        uids = sent(memory)
        queued(memory, "turn the zanthopol off")
        back_up(memory, folder_of(tmp_path / "memory.db"))
        forget_everywhere(memory, Wanted(text="zanthopol"))
        assert memory.examples.counts() == {"withdrawing": {"failed": 1}}
        assert memory.examples.withdrawing(10) == uids
        assert memory.people() == []
    left = [file.name for file in tmp_path.rglob("*") if file.is_file() and b"zanthopol" in file.read_bytes()]
    assert left == []


def test_forgetting_everything_takes_everything_back(tmp_path: Path) -> None:
    with closing(Memory(tmp_path / "memory.db")) as memory:
        queued(memory, "one")
        uids = sent(memory)
        queued(memory, "two")
        memory.forget(everything=True)
        assert (memory.examples.withdrawing(10), memory.examples.of("owner", ["waiting", "sent"])) == (uids, [])


def test_what_was_on_its_way_when_the_power_went_is_sent_again(tmp_path: Path) -> None:
    with closing(Memory(tmp_path / "memory.db", key=KEY)) as memory:
        queued(memory, "one")
        (first,) = memory.examples.to_send(NOW_US, ALLOWED, 10, NOW_US)
    with closing(Memory(tmp_path / "memory.db", key=KEY)) as memory:
        (again,) = memory.examples.to_send(NOW_US, ALLOWED, 10, NOW_US)
        assert again.uid == first.uid
        memory.examples.sent([again.uid], "receipt-1")
        assert memory.examples.to_send(NOW_US, ALLOWED, 10, NOW_US) == []
        assert memory.examples.one(again.id, "owner").receipt == "receipt-1"


def test_only_what_is_allowed_and_has_waited_goes(tmp_path: Path) -> None:
    with closing(Memory(tmp_path / "memory.db")) as memory:
        queued(memory, "one")
        assert memory.examples.to_send(NOW_US - 1, ALLOWED, 10, NOW_US) == []
        assert memory.examples.to_send(NOW_US, [("owner", "corrections"), ("ana", "failed")], 10, NOW_US) == []
        assert len(memory.examples.to_send(NOW_US, ALLOWED, 10, NOW_US)) == 1
        weeks_us = 60 * 86400 * 1_000_000
        later = memory.examples.to_send(NOW_US + weeks_us, ALLOWED, 10, NOW_US + weeks_us)
        assert len(later) == 1, "a host that is away for weeks costs nothing"


def test_what_was_queued_before_the_clock_was_set_waits_from_then_on(tmp_path: Path) -> None:
    with closing(Memory(tmp_path / "memory.db")) as memory:
        turn = memory.remember_turn("one", "two", conversation="c")
        memory.examples.add("owner", "failed", body("one"), [turn], 5, waits=False)
        memory.examples.begin_waiting(NOW_US)
        assert memory.examples.to_send(NOW_US - 1, ALLOWED, 10, NOW_US) == []
        assert len(memory.examples.to_send(NOW_US, ALLOWED, 10, NOW_US)) == 1


def test_what_waits_can_be_changed_and_dropped_by_its_person_alone(tmp_path: Path) -> None:
    with closing(Memory(tmp_path / "memory.db")) as memory:
        example = queued(memory, "one")
        with pytest.raises(InputError, match="no example"):
            memory.examples.edit(example, "ana", body("two"), NOW_US)
        memory.examples.edit(example, "owner", body("two"), NOW_US + 5)
        assert memory.examples.to_send(NOW_US, ALLOWED, 10, NOW_US) == [], "it waits anew"
        sent_example = queued(memory, "three")
        sent(memory)
        with pytest.raises(InputError, match="only what waits"):
            memory.examples.edit(sent_example, "owner", body("four"), NOW_US)
        assert [memory.examples.drop(one, "owner") for one in (example, sent_example)] == [
            "dropped",
            "withdrawing",
        ]
        memory.examples.withdrawn(memory.examples.withdrawing(10), NOW_US)
        assert memory.examples.counts() == {"withdrawn": {"failed": 1}}


def test_a_turn_makes_one_example_of_a_kind_and_the_oldest_of_too_many_gives_way(tmp_path: Path) -> None:
    with closing(Memory(tmp_path / "memory.db")) as memory:
        turn = memory.remember_turn("one", "two", conversation="c")
        assert memory.examples.add("owner", "failed", body("one"), [turn], NOW_US) is not None
        assert memory.examples.add("owner", "failed", body("one"), [turn], NOW_US) is None
        assert memory.examples.add("owner", "corrections", body("one"), [turn], NOW_US) is not None
        assert memory.examples.add("owner", "failed", body("one"), [turn + 1], NOW_US) is None, "it is forgotten"
        with memory._database.writing():  # a thousand turns would take their time
            for number in range(MOST_WAITING):
                row = (f"uid{number}", "owner", "failed", 0, "{}", 0)
                memory._database.rows(
                    "INSERT INTO example (uid, person, kind, at_us, body, changed_us) VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
        queued(memory, "the last")
        assert memory.examples.counts()["waiting"]["failed"] == MOST_WAITING
