"""Makes the board's int8 sentence encoder from the published fp32 weights. Only importer of onnx; needs no torch.

Notable choices, measured on x86 and on emulated Cortex-A53/A72/A76 (figures in DECISIONS.md):
- Matrices are int8 per output channel, activations uint8 *per token* above their own minimum, multiplied by
  MatMulInteger: it has integer kernels for every board. MatMulNBits unpacks all weights in every call where there
  are no dot-product instructions (Pi 4, Zero 2 W). DynamicQuantizeLinear has one scale for a whole batch: a text's
  vector then depends on its neighbours (cosine down to 0.95 with itself).
- The token table is int8 per row and dequantized after the lookup.
- Large tensors lie page-aligned in `model.onnx.data`, which onnxruntime maps: 19 MB less memory than in one file.

The bytes are the same on every machine: numpy does only element-wise IEEE arithmetic and integer sums.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from perslm_runtime.errors import CatalogError

MAX_TOKENS = 256  # "input text longer than 256 word pieces is truncated", says the model's card
HIDDEN, HEADS, LAYERS, FEED_FORWARD, VOCABULARY = 384, 12, 6, 1536, 30_522

# onnxruntime 1.17 and later; raising either changes the result's sha256 in the catalogue.
OPSET, IR_VERSION = 20, 9

_HEADER_BYTES_MAX = 1 << 20  # the published header is 11 kB
_PAGE = 4096  # ONNX: offsets of external data should be a multiple of the page, to be mapped
_NEXT_STEP = "run `perslm models remove all-minilm-l6-v2`, then `perslm models pull all-minilm-l6-v2`"

Float32 = NDArray[np.float32]


def convert(source: Path, target: Path) -> None:
    """Write model.onnx, model.onnx.data and tokenizer.json to `target` from `source`/model.safetensors.

    The graph takes `input_ids` and `attention_mask`, int64 [texts, tokens] with at most 256 tokens, and gives
    `sentence_embedding`, float32 [texts, 384]: the L2-normalised mean over the tokens whose mask is 1.
    Raises `CatalogError` if a file is missing, broken or another model's, or the disk is full; then `target`
    holds no model.onnx.
    """
    weights, tokenizer = Weights(source / "model.safetensors"), source / "tokenizer.json"
    if not tokenizer.is_file():
        raise CatalogError(f"{tokenizer} is missing: {_NEXT_STEP}")
    graph = _Graph()
    _Encoder(graph, weights).build()
    try:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tokenizer, target / "tokenizer.json")
        _write(target / "model.onnx.data", graph.data)
        _write(target / "model.onnx", graph.model().SerializeToString(deterministic=True))
    except OSError as error:
        raise CatalogError(f"the converted model could not be written to {target}: {error}") from error


class Weights:
    """The named fp32 tensors of a safetensors file, mapped: u64 header length, JSON header, raw data.

    Every number of the header is checked before it is used; whatever is wrong raises `CatalogError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._bytes: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise CatalogError(f"{path} could not be read ({error}): {_NEXT_STEP}") from error
        length = int.from_bytes(self._bytes[:8].tobytes(), "little")
        if len(self._bytes) < 8 or not 2 <= length <= min(_HEADER_BYTES_MAX, len(self._bytes) - 8):
            raise self._broken("its header's length is wrong")
        try:
            header = json.loads(self._bytes[8 : 8 + length].tobytes().decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._broken(f"its header is not JSON: {error}") from error
        if not isinstance(header, dict):
            raise self._broken("its header is not an object")
        self._header: dict[str, Any] = header
        self._data = self._bytes[8 + length :]

    def get(self, name: str, *shape: int) -> Float32:
        """Return tensor `name`, float32 of exactly this shape and finite, as a view of the file."""
        entry = self._header.get(name)
        if not isinstance(entry, dict):
            raise self._broken(f"tensor {name} is missing")
        if entry.get("dtype") != "F32" or entry.get("shape") != list(shape):
            found = f"{entry.get('dtype')} {entry.get('shape')}"
            raise self._broken(f"tensor {name} is {found[:80]} and not F32 {list(shape)}")
        match entry.get("data_offsets"):
            case [int(begin), int(end)] if 0 <= begin <= end <= len(self._data):
                pass
            case _:
                raise self._broken(f"tensor {name} lies outside the file")
        if end - begin != math.prod(shape) * 4:
            raise self._broken(f"tensor {name} has {end - begin} bytes for {math.prod(shape)} numbers")
        tensor = np.frombuffer(self._data[begin:end].tobytes(), dtype="<f4").reshape(shape)
        if not np.isfinite(tensor).all():
            raise self._broken(f"tensor {name} holds numbers that are not finite")
        return tensor.astype(np.float32, copy=False)

    def _broken(self, why: str) -> CatalogError:
        return CatalogError(f"{self._path} is not the published all-MiniLM-L6-v2 ({why}): {_NEXT_STEP}")


class _Graph:
    """Collects nodes and constants of an ONNX model; values are named by what made them, in order."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def op(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        stem = f"{kind.lower()}_{len(self._nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, stem, domain=domain or None, **attributes))
        return names

    def one(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return its name."""
        return self.op(kind, *inputs, **attributes)[0]

    def constant(self, name: str, value: NDArray[Any] | Sequence[int] | float) -> str:
        """Add a small constant inside the graph once: numbers become float32, sequences int64."""
        if name not in self._constants:
            kind = np.float32 if isinstance(value, float) else np.int64
            array = value if isinstance(value, np.ndarray) else np.array(value, kind)
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def mapped(self, name: str, array: NDArray[Any]) -> str:
        """Add a large constant whose bytes lie in the data file."""
        self.data.extend(bytes(-len(self.data) % _PAGE))
        raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        tensor = TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("location", "model.onnx.data"), ("offset", len(self.data)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        self.data.extend(raw)
        self._constants[name] = tensor
        return name

    def model(self) -> ModelProto:
        """Return the model; its output is what the last node made."""
        inputs = ("input_ids", "attention_mask")
        self._nodes[-1].output[0] = "sentence_embedding"
        graph = helper.make_graph(
            self._nodes,
            "all-MiniLM-L6-v2 int8",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in inputs],
            [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["texts", HIDDEN])],
            initializer=list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="perslm")


class _Encoder:
    """BERT with six layers, then the mean over the tokens, then the L2 norm. Values are [texts, tokens, width]."""

    def __init__(self, graph: _Graph, weights: Weights) -> None:
        self._graph, self._weights = graph, weights
        self._one, self._constant = graph.one, graph.constant

    def build(self) -> None:
        """Add the whole encoder to the graph."""
        hidden = self._embeddings()
        mask = self._one("Cast", "attention_mask", to=TensorProto.INT32)
        for index in range(LAYERS):
            layer = f"encoder.layer.{index}."
            mixed = self._quantized(self._attention(layer + "attention.self.", hidden, mask))
            attended = self._dense(layer + "attention.output.dense", mixed, HIDDEN, HIDDEN)
            hidden = self._add_norm(layer + "attention.output.LayerNorm", attended, hidden)
            wide = self._dense(layer + "intermediate.dense", self._quantized(hidden), FEED_FORWARD, HIDDEN)
            wide = self._one("Gelu", wide)  # the exact one, with erf
            narrow = self._dense(layer + "output.dense", self._quantized(wide), HIDDEN, FEED_FORWARD)
            hidden = self._add_norm(layer + "output.LayerNorm", narrow, hidden)
        self._pool(hidden)

    def _embeddings(self) -> str:
        """Sum of the token's, the position's and the (only) text type's vector, normalised."""
        prefix = "embeddings."
        table, scales = _int8_rows(self._weights.get(prefix + "word_embeddings.weight", VOCABULARY, HIDDEN))
        token = self._one("Gather", self._graph.mapped("tokens", table), "input_ids")
        scale = self._one("Gather", self._graph.mapped("tokens.scale", scales[:, None]), "input_ids")
        token = self._one("Mul", self._one("Cast", token, to=TensorProto.FLOAT), scale)
        positions = self._weights.get(prefix + "position_embeddings.weight", 512, HIDDEN)[:MAX_TOKENS]
        text_type = self._weights.get(prefix + "token_type_embeddings.weight", 2, HIDDEN)[0]
        length = self._one("Shape", "input_ids", start=1, end=2)
        zero = self._constant("axis_0", [0])
        position = self._one("Slice", self._graph.mapped("positions", positions + text_type), zero, length, zero)
        return self._add_norm(prefix + "LayerNorm", token, position)

    def _attention(self, prefix: str, hidden: str, mask: str) -> str:
        """Self-attention without its output matrix; the input is quantized once for query, key and value."""
        quantized = self._quantized(hidden)
        parts = [self._dense(prefix + part, quantized, HIDDEN, HIDDEN) for part in ("query", "key", "value")]
        # One node instead of twelve; at 256 tokens it needs 18 MB less than MatMul, Softmax, MatMul.
        return self._one("MultiHeadAttention", *parts, "", mask, domain="com.microsoft", num_heads=HEADS)

    def _quantized(self, values: str) -> tuple[str, str, str]:
        """Each token's numbers as uint8 steps above their own minimum: (steps, step size, minimum)."""
        last = self._constant("axis_last", [-1])
        low = self._one("ReduceMin", values, last, keepdims=1)
        span = self._one("Sub", self._one("ReduceMax", values, last, keepdims=1), low)
        step = self._one("Mul", span, self._constant("1/255", 1 / 255))
        step = self._one("Max", step, self._constant("tiny", 1e-12))  # all numbers equal
        steps = self._one("Round", self._one("Div", self._one("Sub", values, low), step))
        return self._one("Cast", steps, to=TensorProto.UINT8), step, low

    def _dense(self, name: str, quantized: tuple[str, str, str], outputs: int, inputs: int) -> str:
        """`values @ matrix.T + bias`; values are minimum + step * steps, the matrix is scale * int8 per output."""
        steps, step, low = quantized
        matrix, scale = _int8_rows(self._weights.get(name + ".weight", outputs, inputs))
        product = self._one("MatMulInteger", steps, self._graph.mapped(name, matrix.T))
        product = self._one("Mul", self._one("Cast", product, to=TensorProto.FLOAT), step)
        product = self._one("Mul", product, self._constant(name + ".scale", scale))
        # The minimum times each output's sum of weights. Summed as integers: exact on every machine.
        sums = matrix.sum(axis=1, dtype=np.int64).astype(np.float32) * scale
        offset = self._one("Mul", low, self._constant(name + ".sum", sums))
        bias = self._constant(name + ".bias", self._weights.get(name + ".bias", outputs))
        return self._one("Add", product, self._one("Add", offset, bias))

    def _add_norm(self, name: str, left: str, right: str) -> str:
        gain = self._constant(name + ".weight", self._weights.get(name + ".weight", HIDDEN))
        bias = self._constant(name + ".bias", self._weights.get(name + ".bias", HIDDEN))
        total = self._one("Add", left, right)
        return self._one("LayerNormalization", total, gain, bias, axis=-1, epsilon=1e-12)

    def _pool(self, hidden: str) -> None:
        """The mean over the tokens whose mask is 1, L2-normalised: [texts, width]."""
        counted = self._one("Cast", "attention_mask", to=TensorProto.FLOAT)
        kept = self._one("Mul", hidden, self._one("Unsqueeze", counted, self._constant("axis_2", [2])))
        total = self._one("ReduceSum", kept, self._constant("axis_1", [1]), keepdims=0)
        count = self._one("ReduceSum", counted, self._constant("axis_1", [1]), keepdims=1)
        self._one("LpNormalization", self._one("Div", total, count), axis=-1, p=2)


def _int8_rows(matrix: Float32) -> tuple[NDArray[np.int8], Float32]:
    """Round each row to int8 in -127…127: (int8 [rows, columns], scale float32 [rows])."""
    scale = np.abs(matrix).max(axis=1) / np.float32(127)
    scale[scale == 0] = 1  # a row of zeros
    return np.rint(matrix / scale[:, None]).astype(np.int8), scale


def _write(path: Path, content: bytes | bytearray) -> None:
    """Write a whole file or none."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
