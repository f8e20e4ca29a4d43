"""The int8 conversion: the same bytes everywhere, and a broken source is an error that says what to do."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime import minilm
from perslm_runtime.catalog_file import load_catalog
from perslm_runtime.errors import CatalogError
from real_models import model_path, models_dir

MODEL = "all-minilm-l6-v2"
HIDDEN, WIDE = minilm.HIDDEN, minilm.FEED_FORWARD

# What the arithmetic sequence of `made_up` becomes. A change here changes the catalogue's sha256 as well.
MADE_UP_GRAPH = "5a9871f7b849ac46f992b4c2c6a274db7b21e30d85cd750423a97e9f915918c7"
MADE_UP_DATA = "2c3571f4109d5e2323cf4b147712ad808096cae1604e94d07a6d56e4b0fa3d52"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def safetensors(tensors: dict[str, tuple[int, ...]]) -> tuple[bytes, int]:
    """The head of a file with these tensors, one after the other, and the bytes of data that follow."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + prod(shape) * 4
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text, end


def architecture() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the published model that the encoder uses."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (minilm.VOCABULARY, HIDDEN),
        "embeddings.position_embeddings.weight": (512, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    norms, matrices = ["embeddings.LayerNorm"], {}
    for index in range(minilm.LAYERS):
        layer = f"encoder.layer.{index}."
        norms += [layer + "attention.output.LayerNorm", layer + "output.LayerNorm"]
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            matrices[layer + "attention." + name] = (HIDDEN, HIDDEN)
        matrices[layer + "intermediate.dense"] = (WIDE, HIDDEN)
        matrices[layer + "output.dense"] = (HIDDEN, WIDE)
    for name in norms:
        shapes |= {name + ".weight": (HIDDEN,), name + ".bias": (HIDDEN,)}
    for name, shape in matrices.items():
        shapes |= {name + ".weight": shape, name + ".bias": shape[:1]}
    return shapes


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A source folder of the published architecture whose weights are a fixed arithmetic sequence."""
    folder = tmp_path_factory.mktemp("made-up")
    head, size = safetensors(architecture())
    # A multiplicative congruence: numbers in -0.5…0.5, the same on every machine and version.
    numbers = np.arange(size // 4, dtype=np.uint32) * np.uint32(2_654_435_761)
    weights = (numbers >> np.uint32(8)).astype("<f4") / np.float32(1 << 24) - np.float32(0.5)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(head)
        file.write(weights.tobytes())
    (folder / "tokenizer.json").write_text("{}")
    yield folder
    (folder / "model.safetensors").unlink()


def test_made_up_weights_give_the_same_bytes_twice_and_on_every_machine(made_up: Path, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        minilm.convert(made_up, tmp_path / folder)
        # Found alike with AVX-512 and with numpy's plain loops, on emulated aarch64, with onnx 1.19 and 1.23.
        assert sha256(tmp_path / folder / "model.onnx") == MADE_UP_GRAPH
        assert sha256(tmp_path / folder / "model.onnx.data") == MADE_UP_DATA


def test_the_published_weights_give_what_the_catalogue_names(tmp_path: Path) -> None:
    source = models_dir() / ".raw" / MODEL
    if not source.is_dir():
        pytest.skip(f"the fp32 weights are not kept by `perslm models pull`; put them into {source} to run this")
    minilm.convert(source, tmp_path)
    for file in load_catalog()[MODEL].files:
        assert sha256(tmp_path / file.path) == file.sha256, file.path


def test_the_pulled_model_is_what_the_catalogue_names() -> None:
    for file in load_catalog()[MODEL].files:
        path = model_path(MODEL, file.path)
        assert path.stat().st_size == file.size
        assert sha256(path) == file.sha256, file.path


def test_missing_weights_are_an_error_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"could not be read .*perslm models pull all-minilm-l6-v2"):
        minilm.convert(tmp_path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_missing_tokenizer_is_told_before_the_work(made_up: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(made_up / "model.safetensors")
    with pytest.raises(CatalogError, match=r"tokenizer\.json is missing"):
        minilm.convert(tmp_path, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_weights_cut_off_in_the_download_are_refused(made_up: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with (made_up / "model.safetensors").open("rb") as file:
        (tmp_path / "model.safetensors").write_bytes(file.read(1_000_000))
    with pytest.raises(CatalogError, match="lies outside the file"):
        minilm.convert(tmp_path, tmp_path / "target")


def test_a_target_that_cannot_be_written_leaves_no_model(made_up: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx.data.partial").mkdir()
    with pytest.raises(CatalogError, match="could not be written"):
        minilm.convert(made_up, tmp_path)
    assert not (tmp_path / "model.onnx").exists()


TENSORS = {"first": (2, 3), "second": (4,), "third": (1, 1)}


def read_all(path: Path) -> None:
    weights = minilm.Weights(path)
    for name, shape in TENSORS.items():
        tensor = weights.get(name, *shape)
        assert tensor.shape == shape
        assert np.isfinite(tensor).all()


def small_file() -> bytes:
    head, size = safetensors(TENSORS)
    return head + np.arange(size // 4, dtype="<f4").tobytes()


def test_a_sound_file_gives_its_numbers(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(small_file())
    read_all(tmp_path / "weights")
    assert minilm.Weights(tmp_path / "weights").get("second", 4).tolist() == [6, 7, 8, 9]


@settings(max_examples=60, deadline=None, database=None)
@given(st.data())
def test_any_damage_is_either_harmless_or_a_catalog_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(small_file())
    for _ in range(data.draw(st.integers(0, 3), label="flips")):
        content[data.draw(st.integers(0, len(content) - 1), label="at")] ^= data.draw(
            st.integers(1, 255), label="bits"
        )
    cut = data.draw(st.integers(0, len(content)), label="cut")
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content[:cut])
    with suppress(CatalogError):
        read_all(path)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"", "length is wrong"),
        (b"[]", "not an object"),
        (b"{" * 100, "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'"\xff"', "not JSON"),
        (b"{}", "first is missing"),
        (b'{"first": 1}', "first is missing"),
        (b'{"first": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 24]}}', "F16"),
        (b'{"first": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}}', "and not F32"),
        (b'{"first": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 44]}}', "lies outside"),
        (b'{"first": {"dtype": "F32", "shape": [2, 3], "data_offsets": [-4, 20]}}', "lies outside"),
        (b'{"first": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 0]}}', "lies outside"),
        (b'{"first": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]}}', "20 bytes for 6 numbers"),
        (b'{"first": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 1e400]}}', "lies outside"),
        (b'{"first": {"dtype": "F32", "shape": [2, 3], "data_offsets": null}}', "lies outside"),
        (b'{"first": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}', "not finite"),
    ],
)
def test_each_lie_of_a_header_is_named(tmp_path: Path, header: bytes, why: str) -> None:
    path = tmp_path / "weights"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\xff" * 40)  # 0xffffffff is a NaN
    with pytest.raises(CatalogError, match=why):
        read_all(path)


def test_a_header_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(CatalogError, match="length is wrong"):
        minilm.Weights(path)
