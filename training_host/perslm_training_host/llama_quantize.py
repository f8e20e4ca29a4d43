"""llama.cpp's own quantizer, called in this process: a GGUF in, a smaller GGUF out, with or without importances.

No program is started and no repository cloned: the function is in the library that also runs the models.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.llama_library import c, last_words

# The kinds that are offered, with llama.cpp's number for each (llama_ftype).
FILE_TYPES: dict[str, int] = {
    "F32": c.LLAMA_FTYPE_ALL_F32,
    "F16": c.LLAMA_FTYPE_MOSTLY_F16,
    "Q4_0": c.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q4_1": c.LLAMA_FTYPE_MOSTLY_Q4_1,
    "Q5_0": c.LLAMA_FTYPE_MOSTLY_Q5_0,
    "Q5_1": c.LLAMA_FTYPE_MOSTLY_Q5_1,
    "Q8_0": c.LLAMA_FTYPE_MOSTLY_Q8_0,
    "Q3_K_M": c.LLAMA_FTYPE_MOSTLY_Q3_K_M,
    "Q4_K_M": c.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q5_K_M": c.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "Q6_K": c.LLAMA_FTYPE_MOSTLY_Q6_K,
    "IQ4_NL": c.LLAMA_FTYPE_MOSTLY_IQ4_NL,
    "IQ4_XS": c.LLAMA_FTYPE_MOSTLY_IQ4_XS,
}

Importance = Mapping[str, NDArray[np.float32]]


def llama_quantize(
    source: Path,
    target: Path,
    kind: str,
    *,
    importance: Importance | None = None,
    threads: int = 2,
    pure: bool = False,
) -> None:
    """Write `source` as `kind` to `target`; `importance` maps tensor names to [columns].

    `pure` keeps every matrix but embedding and output at `kind`, where llama.cpp would give some more bits. Raises
    InputError for an unknown kind and EngineError, with llama.cpp's words, where it refuses.
    """
    if kind not in FILE_TYPES:
        raise InputError(f"{kind} is no kind of quantization: choose one of {', '.join(FILE_TYPES)}")
    params = c.llama_model_quantize_default_params()
    params.ftype, params.nthread = FILE_TYPES[kind], threads
    params.allow_requantize = True  # a base that is quantized already is said so by its lineage, not refused here
    if pure:
        params.pure = True
        params.token_embedding_type = params.output_tensor_type = c.GGML_TYPE_Q8_0
    entries, kept_alive = _imatrix(importance or {})
    if importance is not None:
        params.imatrix = entries
    part = target.with_name(target.name + ".part")
    status = c.llama_model_quantize(str(source).encode(), str(part).encode(), ctypes.byref(params))
    if status != 0 or not part.exists():
        part.unlink(missing_ok=True)
        raise EngineError(f"{source} cannot be made {kind}: {last_words()}")
    del kept_alive  # until here llama.cpp read them
    part.replace(target)


def _imatrix(
    importance: Importance,
) -> tuple[ctypes.Array[c.llama_model_imatrix_data], list[NDArray[np.float32]]]:
    """The array that llama.cpp reads, ended by an entry without a name, and the numbers it points to.

    Raises InputError for NaN.
    """
    entries = (c.llama_model_imatrix_data * (len(importance) + 1))()
    kept = []
    for entry, (name, values) in zip(entries, importance.items(), strict=False):
        if not np.isfinite(values).all():
            raise InputError(f"the importances of {name} are not finite: compute them again from other text")
        flat = np.ascontiguousarray(values, dtype=np.float32)
        kept.append(flat)
        entry.name = name.encode()
        entry.data = flat.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = flat.size
    return entries, kept
