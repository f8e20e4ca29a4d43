"""The 4- and 8-bit blocks of ggml, bit for bit: Q4_0, IQ4_NL and Q8_0 in numpy, read and written.

A row is cut into blocks of 32 weights. Q4_0 and IQ4_NL keep a block in 18 bytes: a float16 scale and 32 codes of
4 bits, the first 16 weights in the low nibbles. Every sum runs in llama.cpp's order, one weight of the block
after the other, in float32: a scale that differs in its last bit would be another file. Knows no file and no
tensor's name.

Blocks go about as two arrays: `scales` [blocks] float16 and `codes` [blocks, 32] uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
BYTES_4BIT = 18
_BYTES_Q8_0 = 34
_TINY = np.float32(1e-15)  # below it a block counts as zeros
_TRIES_Q4_0 = 9
_TRIES_IQ4_NL = 7

F32 = NDArray[np.float32]
F16 = NDArray[np.float16]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Grid:
    """A 4-bit grid: its name in ggml, and what its 16 codes stand for in units of the block's scale, rising."""

    name: str
    values: tuple[int, ...]

    @property
    def levels(self) -> F32:
        """The 16 values as float32."""
        return np.array(self.values, dtype=np.float32)


Q4_0 = Grid("Q4_0", tuple(range(-8, 8)))
IQ4_NL = Grid("IQ4_NL", (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113))
GRIDS = {grid.name: grid for grid in (Q4_0, IQ4_NL)}


def unpack(raw: U8) -> tuple[F16, U8]:
    """Take the bytes [blocks * 18] of Q4_0 or IQ4_NL apart into scales [blocks] and codes [blocks, 32]."""
    blocks = raw.reshape(-1, BYTES_4BIT)
    scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16)[:, 0]
    nibbles = blocks[:, 2:]
    return scales, np.concatenate([nibbles & 15, nibbles >> 4], axis=1)


def pack(scales: F16, codes: U8) -> U8:
    """Put scales [blocks] and codes [blocks, 32] together into ggml's bytes [blocks * 18]."""
    blocks = np.empty((len(scales), BYTES_4BIT), dtype=np.uint8)
    blocks[:, :2] = scales.reshape(-1, 1).view(np.uint8)
    blocks[:, 2:] = codes[:, :16] | (codes[:, 16:] << 4)
    return blocks.reshape(-1)


def values_of(grid: Grid, scales: F16, codes: U8) -> F32:
    """What the blocks stand for: float32 [blocks, 32]."""
    return scales.astype(np.float32)[:, None] * grid.levels[codes]


def nearest_codes(grid: Grid, scales: F16, weights: F32) -> U8:
    """The codes [blocks, 32] nearest to `weights` [blocks, 32] under scales that stay as they are.

    Of two equally near values the higher one is taken, as llama.cpp does; a scale of zero gives zeros.
    """
    wide = scales.astype(np.float32)[:, None]
    inverse = np.divide(np.float32(1), wide, out=np.zeros_like(wide), where=wide != 0)
    return _nearest(grid.levels, weights * inverse)


def _nearest(levels: F32, positions: F32) -> U8:
    """Index of the level nearest to each position; between two equally near ones the higher."""
    middles = (levels[1:] + levels[:-1]) / np.float32(2)
    return np.searchsorted(middles, positions, side="right").astype(np.uint8)


def quantize_q4_0(weights: F32) -> tuple[F16, U8]:
    """Scales and codes of `weights` [blocks, 32] as llama.cpp writes Q4_0 without an importance matrix."""
    largest = _largest(weights)
    scale = largest / np.float32(-8)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    codes = np.minimum((weights * inverse[:, None] + np.float32(8.5)).astype(np.int32), 15)
    return scale.astype(np.float16), codes.astype(np.uint8)


def quantize_q4_0_weighted(rows: F32, importance: F32) -> tuple[F16, U8]:
    """As `quantize_q4_0` for `rows` [rows, columns], each block's scale searched by weighted error.

    `importance` [columns] is the mean square of what each column is multiplied with.
    """
    columns = rows.shape[1]
    squares = np.cumsum(rows**2, axis=1, dtype=np.float32)[:, -1] / np.float32(columns)  # one after the other
    weights = rows.reshape(-1, BLOCK)
    sigma2 = np.repeat(squares, columns // BLOCK)[:, None]
    error_weight = np.tile(importance.reshape(-1, BLOCK), (rows.shape[0], 1)) * np.sqrt(sigma2 + weights**2)
    largest = _largest(weights)
    alive = np.abs(largest) >= _TINY
    safe = np.where(alive, largest, np.float32(1))
    search = _Search(weights, error_weight, values_last=True)
    for tenths in [0, *range(-_TRIES_Q4_0, 0), *range(1, _TRIES_Q4_0 + 1)]:
        step = -(np.float32(8) + np.float32(0.1) * np.float32(tenths)) / safe
        codes = np.clip(np.rint(step[:, None] * weights), -8, 7).astype(np.float32)
        search.offer(codes)
    scale = np.where(alive, search.scale, np.float32(0))
    codes_out = np.where(alive[:, None], search.codes + 8, 0).astype(np.uint8)
    return scale.astype(np.float16), codes_out


def quantize_iq4_nl(rows: F32, importance: F32 | None = None) -> tuple[F16, U8]:
    """Scales and codes of `rows` [rows, columns] as llama.cpp writes IQ4_NL; `importance` is [columns]."""
    weights = rows.reshape(-1, BLOCK)
    squares = weights**2
    if importance is None:
        error_weight = squares
    else:
        sigma2 = _in_order(squares) * np.float32(2 / BLOCK)
        tiled = np.tile(importance.reshape(-1, BLOCK), (rows.shape[0], 1))
        error_weight = tiled * np.sqrt(sigma2[:, None] + squares)
    levels = IQ4_NL.levels
    largest = _largest(weights)
    alive = np.abs(largest) >= _TINY
    safe = np.where(alive, largest, np.float32(1))
    search = _Search(weights, error_weight)
    first = np.float32(1) / (-safe / levels[0])
    for step in [first, *((np.float32(t) + levels[0]) / safe for t in range(-_TRIES_IQ4_NL, _TRIES_IQ4_NL + 1))]:
        search.offer(levels[_nearest(levels, step[:, None] * weights)])
    scale = np.where(alive, search.scale, np.float32(0))
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    # the codes are taken with the scale before it is rounded to float16
    return scale.astype(np.float16), _nearest(levels, weights * inverse[:, None])


def quantize_q8_0(weights: F32) -> U8:
    """The bytes [blocks * 34] of Q8_0 for `weights` [blocks, 32]."""
    scale = np.abs(weights).max(axis=1) / np.float32(127)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)
    scaled = weights * inverse[:, None]
    away_from_zero = np.trunc(
        scaled + np.copysign(np.float32(0.5), scaled)
    )  # C's roundf, not numpy's half-to-even
    blocks = np.empty((len(weights), _BYTES_Q8_0), dtype=np.uint8)
    blocks[:, :2] = scale.astype(np.float16).reshape(-1, 1).view(np.uint8)
    blocks[:, 2:] = away_from_zero.astype(np.int8).view(np.uint8)
    return blocks.reshape(-1)


def values_of_q8_0(raw: U8) -> F32:
    """What the bytes [blocks * 34] of Q8_0 stand for: float32 [blocks, 32]."""
    blocks = raw.reshape(-1, _BYTES_Q8_0)
    scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    return scales * np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32)


class _Search:
    """Keeps, per block, the codes and the scale with the least weighted squared error among what is offered.

    `values_last` is the order in which Q4_0 multiplies three factors, where IQ4_NL takes the weight last.
    """

    def __init__(self, weights: F32, error_weight: F32, *, values_last: bool = False) -> None:
        self._weights, self._error_weight = weights, error_weight
        self._product = error_weight * weights if values_last else None
        self.scale = np.zeros(len(weights), dtype=np.float32)
        self.codes = np.zeros(weights.shape, dtype=np.float32)
        self._best: F32 | None = None

    def offer(self, values: F32) -> None:
        """Offer values [blocks, 32] in units of the scale; the scale that fits them best comes out of them."""
        product = self._product
        along = _in_order(self._error_weight * values * self._weights if product is None else product * values)
        square = _in_order(self._error_weight * values * values)
        scale = np.divide(along, square, out=np.zeros_like(along), where=square > 0)
        if self._best is None:
            better = np.ones(len(scale), dtype=bool)
        else:
            better = (square > 0) & (along * along > self._best * square)
        self.scale = np.where(better, scale, self.scale)
        self._best = scale * along if self._best is None else np.where(better, scale * along, self._best)
        self.codes = np.where(better[:, None], values, self.codes)


def _largest(weights: F32) -> F32:
    """The weight of greatest magnitude of each block, with its sign; the first of equal ones."""
    index = np.abs(weights).argmax(axis=1)
    return np.take_along_axis(weights, index[:, None], axis=1)[:, 0]


def _in_order(terms: F32) -> F32:
    """Sum over a block's 32 terms from first to last in float32, as the C loop does."""
    total = np.zeros(len(terms), dtype=np.float32)
    for column in range(terms.shape[1]):
        total += terms[:, column]
    return total
