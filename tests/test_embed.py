"""Sentence vectors: as close to the fp32 reference as promised, each text by itself, and errors that help."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from perslm_runtime.embed import DIMENSIONS, Embedder
from perslm_runtime.errors import Cancelled, EngineError
from perslm_runtime.lane import Stop
from perslm_runtime.onnx_session import open_session
from real_models import model_path

MODEL = "all-minilm-l6-v2"
GOLDEN = Path(__file__).parent / "golden" / "embeddings"


@pytest.fixture(scope="module")
def folder() -> Path:
    return model_path(MODEL, "model.onnx").parent


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Iterator[Embedder]:
    embedder = Embedder(folder)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    lines = (GOLDEN / "sentences.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line)["text"] for line in lines if line]


@pytest.fixture(scope="module")
def reference() -> NDArray[np.float32]:
    vectors = np.load(GOLDEN / "reference.npy").astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def vectors(embedder: Embedder, sentences: list[str]) -> NDArray[np.float32]:
    return embedder.embed(sentences, Stop())


def test_the_golden_file_was_made_of_these_sentences(reference: NDArray[np.float32], sentences: list[str]) -> None:
    header = json.loads((GOLDEN / "reference.json").read_text())
    assert header["sentences_sha256"] == hashlib.sha256((GOLDEN / "sentences.jsonl").read_bytes()).hexdigest()
    assert header["shape"] == [200, DIMENSIONS] == [len(sentences), DIMENSIONS] == list(reference.shape)


def test_int8_agrees_with_the_fp32_reference(vectors: NDArray[np.float32], reference: NDArray[np.float32]) -> None:
    cosines = (vectors * reference).sum(axis=1)
    # Promised: 0.99 in the mean. Measured: 0.9981, lowest 0.9889 ("thanks!"), alike on x86 and emulated aarch64.
    assert cosines.mean() >= 0.997
    assert cosines.min() >= 0.98


def test_int8_finds_the_neighbours_that_fp32_finds(
    vectors: NDArray[np.float32], reference: NDArray[np.float32]
) -> None:
    def nearest(rows: NDArray[np.float32]) -> NDArray[np.intp]:
        return np.asarray((rows @ rows.T - 2 * np.eye(len(rows), dtype=np.float32)).argmax(axis=1))

    assert (nearest(vectors) == nearest(reference)).mean() >= 0.9


def test_vectors_have_length_one(vectors: NDArray[np.float32]) -> None:
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_text_alone_has_the_vector_it_has_among_others(
    embedder: Embedder, sentences: list[str], vectors: NDArray[np.float32]
) -> None:
    for index in range(0, len(sentences), 9):
        alone = embedder.embed([sentences[index]], Stop())
        np.testing.assert_allclose(alone[0], vectors[index], atol=1e-5)


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([], Stop()).shape == (0, DIMENSIONS)


def test_256_tokens_are_read_and_no_more(embedder: Embedder) -> None:
    whole, longer, shorter = embedder.embed(
        ["word " * 254, "word " * 254 + "river", "word " * 253 + "river"], Stop()
    )
    np.testing.assert_array_equal(whole, longer)  # [CLS], 254 words and [SEP]
    assert whole @ shorter < 0.999


def test_a_pasted_book_is_cut_before_it_is_tokenized(embedder: Embedder) -> None:
    book = "The whale is white and the sea is wide. " * 100_000  # 4 MB
    np.testing.assert_array_equal(*embedder.embed([book, book[:20_000]], Stop()))


@settings(max_examples=30, deadline=None, database=None)
@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=60), max_size=4))
def test_any_unicode_has_a_vector(embedder: Embedder, texts: list[str]) -> None:
    vectors = embedder.embed(texts, Stop())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(len(texts)), atol=1e-5)


def test_a_stop_ends_the_work(embedder: Embedder, sentences: list[str]) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        embedder.embed(sentences, stop)


def test_it_proves_itself(embedder: Embedder, folder: Path) -> None:
    assert "like its answer" in embedder.prove()
    assert embedder.name == MODEL
    assert embedder.file == folder / "model.onnx"


def test_one_thread_means_no_other_thread(folder: Path) -> None:
    before = psutil.Process().num_threads()
    embedder = Embedder(folder, threads=1)
    embedder.embed(["hello"] * 8, Stop())
    assert psutil.Process().num_threads() <= before  # another engine's may have ended meanwhile
    embedder.close()


def test_the_session_does_not_saturate_on_a_pc_without_vnni(folder: Path) -> None:
    # Measured on an emulated Haswell: 0.9985 mean cosine with it, 0.976 without. This machine may well have VNNI.
    options = open_session(folder / "model.onnx", 1).get_session_options()
    assert options.get_session_config_entry("session.x64quantprecision") == "1"


def test_a_closed_embedder_says_so(folder: Path) -> None:
    embedder = Embedder(folder)
    embedder.close()
    embedder.close()
    with pytest.raises(EngineError, match="closed"):
        embedder.embed(["hello"], Stop())


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy of the model to break, in a folder named as in the models directory."""
    copy = tmp_path / MODEL
    shutil.copytree(folder, copy)
    return copy


@pytest.mark.parametrize("file", ["model.onnx", "model.onnx.data", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "text"])
def test_a_broken_file_is_an_error_with_the_next_step(copied: Path, file: str, damage: str) -> None:
    path = copied / file
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "half":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "text":
            path.write_text("not found\n")
    with pytest.raises(EngineError, match=f"could not be loaded: run `perslm models verify {MODEL}`"):
        Embedder(copied)


def test_weights_that_mean_nothing_do_not_prove_themselves(copied: Path) -> None:
    data = copied / "model.onnx.data"
    data.write_bytes(bytes(data.stat().st_size))
    embedder = Embedder(copied)
    with pytest.raises(EngineError, match="perslm models verify"):
        embedder.prove()
    embedder.close()
