"""Sentence vectors by looking words up: distilled from the sentence model, told apart from it by the folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from perslm_runtime.embed import DIMENSIONS, Embedder, open_tokenizer, token_ids
from perslm_runtime.embed_static import TABLE, StaticEmbedder, open_embedder
from perslm_runtime.errors import Cancelled, EngineError, InputError
from perslm_runtime.lane import Stop
from perslm_training_host import static_words
from perslm_training_host.home_said import LEARN, household
from perslm_training_host.recollections import recollection
from real_models import model_path


@pytest.fixture(scope="module")
def model() -> Path:
    return model_path("all-minilm-l6-v2", "model.onnx").parent


def sentences() -> list[str]:
    found: dict[str, None] = {}
    for number in range(60):
        asked = recollection(LEARN, 1, number)
        found |= dict.fromkeys(part.strip("- ") for part in [*asked.prompt.split("\n"), asked.answer])
    for number in range(6):
        found |= {said.prompt.split("\n")[-1]: None for said in household(LEARN, 1, number, 20).said}
    return [sentence for sentence in found if sentence]


@pytest.fixture(scope="module")
def table(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, static_words.Fit]:
    """A table of the words in some sentences: all 30,522 would take a minute."""
    tokenizer, embedder = open_tokenizer(model / "tokenizer.json"), Embedder(model)
    cut = [token_ids(tokenizer, line)[1:-1] for line in sentences()]
    stop = Stop()
    used = sorted({word for one in cut for word in one})
    alone = np.zeros((tokenizer.get_vocab_size(), DIMENSIONS), np.float32)
    alone[used] = static_words.words_alone(lambda rows: embedder.embed_tokens(rows, stop), used)
    rows, fit = static_words.fitted(lambda rows: embedder.embed_tokens(rows, stop), alone, cut)
    embedder.close()
    folder = tmp_path_factory.mktemp("static")
    codes, scales = static_words.int8_rows(rows)
    np.savez(folder / TABLE, codes=codes, scales=scales)
    shutil.copyfile(model / "tokenizer.json", folder / "tokenizer.json")
    return folder, fit


def test_the_map_brings_the_table_nearer_on_sentences_that_were_not_fitted(
    table: tuple[Path, static_words.Fit],
) -> None:
    fit = table[1]
    assert fit.sentences > 20
    assert fit.cosine > fit.cosine_words_alone
    assert fit.cosine > 0.5


def test_a_folder_with_a_table_is_opened_as_one_and_proves_itself(
    table: tuple[Path, static_words.Fit], model: Path
) -> None:
    embedder = open_embedder(table[0], 1)
    assert isinstance(embedder, StaticEmbedder)
    assert isinstance(open_embedder(model, 1), Embedder)
    near, twice = embedder.embed(["turn on the lamp", "turn on the lamp"], Stop())
    assert np.array_equal(near, twice)
    assert abs(float(near @ near) - 1) < 1e-5
    assert embedder.embed([], Stop()).shape == (0, DIMENSIONS)
    assert not embedder.embed([""], Stop()).any()  # of no words nothing is known
    lamp, same, other = embedder.embed(["turn on the lamp", "switch the lamp on", "what is my name?"], Stop())
    assert lamp @ same > lamp @ other + 0.2
    with pytest.raises(EngineError, match="verify"):
        embedder.prove()  # this small table knows no word of its sentences
    stopped = Stop()
    stopped.set()
    with pytest.raises(Cancelled):
        embedder.embed(["one"], stopped)
    embedder.close()
    with pytest.raises(EngineError, match="closed"):
        embedder.embed(["one"], Stop())


def test_a_broken_table_is_named_with_what_to_do(table: tuple[Path, static_words.Fit], tmp_path: Path) -> None:
    shutil.copyfile(table[0] / "tokenizer.json", tmp_path / "tokenizer.json")
    (tmp_path / TABLE).write_bytes((table[0] / TABLE).read_bytes()[:5000])
    with pytest.raises(EngineError, match="perslm-host embed"):
        open_embedder(tmp_path, 1)
    np.savez(tmp_path / TABLE, codes=np.zeros((4, 3), np.int8), scales=np.zeros(4))
    with pytest.raises(EngineError, match="384 columns"):
        open_embedder(tmp_path, 1)


def test_too_few_sentences_are_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        static_words.fitted(lambda rows: np.zeros((len(rows), 4), np.float32), np.zeros((9, 4), np.float32), [[1]])
