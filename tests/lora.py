"""A LoRA adapter for the small model, written as `perslm-host adapter` writes one, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from perslm_training_host import gguf_file

RANK = 4


def write_lora(base: Path, out: Path, strength: float) -> Path:
    """An adapter of rank 4 on five feed-forward matrices of `base`. Strength 0 changes nothing, 1 nearly all."""
    read = gguf_file.read(base)
    chance = np.random.default_rng(3)
    writer = GGUFWriter(out, read.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for block in range(10, 15):
        name = f"blk.{block}.ffn_down.weight"
        rows, columns = read.tensors[name].shape
        first = chance.standard_normal((RANK, columns)).astype(np.float32) * 0.1
        second = chance.standard_normal((rows, RANK)).astype(np.float32) * strength
        writer.add_tensor(f"{name}.lora_a", first)
        writer.add_tensor(f"{name}.lora_b", second)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
