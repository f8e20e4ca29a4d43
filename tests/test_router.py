from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from perslm_runtime.embed import Embedder
from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.lane import Stop
from perslm_runtime.router import HeadFile, Route, Router, shipped_head
from real_models import model_path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Measured:
    """The bench's module, its embedder, and the sentences that the fit never saw."""

    bench: ModuleType
    embedder: Embedder
    commands: list[str]
    chat: list[str]


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    folder = model_path("all-minilm-l6-v2", "model.onnx").parent
    spec = importlib.util.spec_from_file_location("router_bench", ROOT / "benchmarks/router.py")
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    sys.modules["router_bench"] = bench
    spec.loader.exec_module(bench)
    embedder = Embedder(folder)
    yield Measured(bench, embedder, *bench.held_apart())
    embedder.close()
    del sys.modules["router_bench"]


def test_chat_is_hardly_ever_taken_for_a_command(measured: Measured) -> None:
    """At most .3 % of at least 300 sentences that were written apart from the examples."""
    router = Router(measured.embedder.name)
    vectors = measured.embedder.embed(measured.chat, Stop())
    taken = [text for text, v in zip(measured.chat, vectors, strict=True) if router.route(v) is Route.COMMAND]
    assert len(measured.chat) >= 300
    assert len(taken) <= 0.003 * len(measured.chat), taken


def test_most_commands_that_templates_miss_reach_the_tools(measured: Measured) -> None:
    router = Router(measured.embedder.name)
    routes = [router.route(vector) for vector in measured.embedder.embed(measured.commands, Stop())]
    assert routes.count(Route.COMMAND) > 0.5 * len(routes)
    assert routes.count(Route.CHAT) < 0.3 * len(routes)


def test_the_sentences_it_is_measured_on_are_not_those_it_was_fitted_to(measured: Measured) -> None:
    commands, chat = measured.bench.examples()
    seen = {text.casefold().rstrip(".?!") for text in (*commands, *chat)}
    apart = [text.casefold().rstrip(".?!") for text in (*measured.commands, *measured.chat)]
    assert not seen & set(apart)
    assert len(set(apart)) == len(apart)
    assert len(seen) > 600


def test_the_head_belongs_to_the_examples_that_lie_beside_it() -> None:
    examples = files("perslm_runtime").joinpath("router_examples.toml").read_bytes()
    fitted = shipped_head().examples
    assert fitted == hashlib.blake2b(examples, digest_size=16).hexdigest(), (
        "run `python benchmarks/router.py --fit`"
    )


@pytest.mark.slow
def test_the_fit_can_be_made_again(measured: Measured) -> None:
    again, shipped = measured.bench.fit(measured.embedder), shipped_head()
    assert np.allclose(again.weights, shipped.weights, atol=0.01)
    assert np.allclose([again.ask_at, again.command_at], [shipped.ask_at, shipped.command_at], atol=0.02)


def test_the_kept_figures_are_those_of_the_present_head(measured: Measured) -> None:
    import json

    kept = json.loads((ROOT / "benchmarks/results/router.json").read_text(encoding="utf-8"))
    now = measured.bench.measure(measured.embedder, shipped_head())
    for name in ("command", "command_or_ask"):
        assert kept[name]["recall"] == pytest.approx(now[name]["recall"], abs=0.02), (
            "run `python benchmarks/router.py`"
        )
        assert kept[name]["share_of_chat"] == pytest.approx(now[name]["share_of_chat"], abs=0.005)


def test_another_embedder_is_refused() -> None:
    with pytest.raises(EngineError, match=r"benchmarks/router\.py --fit"):
        Router("another")


def test_the_two_thresholds_part_three_ways() -> None:
    router = Router("two", HeadFile("two", "", [1.0, 0.0], 0.5, ask_at=1.0, command_at=2.0))
    scores = {0.4: Route.CHAT, 0.5: Route.CHAT, 0.6: Route.ASK, 1.5: Route.ASK, 1.6: Route.COMMAND}
    for first, route in scores.items():
        vector = np.array([first, 9.0], np.float32)
        assert router.route(vector) is route, first
        assert router.route(vector[None]) is route, "as embed gives them, [1, dimensions]"
    assert router.route(np.array([np.nan, 0.0], np.float32)) is Route.CHAT
    with pytest.raises(InputError, match="wants 2"):
        router.route(np.zeros(3, np.float32))
