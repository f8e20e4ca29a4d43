"""Benchmarks of the process: memory beside a bare process with the same engines, import time, board estimates."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from perslm_daemon import config as configuration
from perslm_daemon.bench_row import Row
from perslm_daemon.budget import tokens_per_second
from perslm_daemon.cli_session import Session
from perslm_daemon.config import Flags
from perslm_daemon.config_sections import PROFILES, Config
from perslm_daemon.stores import open_models
from perslm_runtime.catalog_file import load_catalog
from perslm_runtime.errors import EngineError

# What somebody would write who only wants the same four engines in memory, each used once.
_BARE = """
import json, os, sys
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
spec = json.loads(sys.argv[1])
import ctypes, llama_cpp
quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()
model = llama_cpp.llama_model_load_from_file(spec["gguf"].encode(), llama_cpp.llama_model_default_params())
params = llama_cpp.llama_context_default_params()
params.n_ctx, params.n_batch, params.n_ubatch = spec["context"], spec["batch"], spec["batch"]
params.n_threads = params.n_threads_batch = spec["threads"]
params.flash_attn_type, params.type_k, params.type_v = 1, 8, 8
ctx = llama_cpp.llama_init_from_model(model, params)
for _ in range(max(1, spec["head"] // spec["batch"])):
    tokens = (llama_cpp.llama_token * spec["batch"])(*range(100, 100 + spec["batch"]))
    llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(tokens, spec["batch"]))
import onnxruntime, tokenizers, numpy
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.enable_cpu_mem_arena = False
embed = onnxruntime.InferenceSession(spec["embed"] + "/model.onnx", options, providers=["CPUExecutionProvider"])
tokenizer = tokenizers.Tokenizer.from_file(spec["embed"] + "/tokenizer.json")
from faster_whisper import WhisperModel
whisper = WhisperModel(spec["stt"], device="cpu", compute_type="int8", cpu_threads=spec["threads"])
list(whisper.transcribe(numpy.zeros(16000, dtype=numpy.float32), beam_size=1)[0])
from piper import PiperVoice
voice = PiperVoice.load(spec["tts"] + "/voice.onnx")
list(voice.synthesize("Ready."))
import apsw
database = apsw.Connection(":memory:")
print("loaded", flush=True)
sys.stdin.read()
"""

_OURS = """
import sys, anyio
from pathlib import Path
from perslm_daemon import config as configuration
from perslm_daemon.config import Flags
async def main():
    from perslm_daemon.app import start
    config = configuration.load(Flags(Path(sys.argv[1]), sys.argv[2], None, tuple(sys.argv[3:])))
    async with start(config, hears=True, speaks=True):
        print("loaded", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)
anyio.run(main)
"""


def footprint(session: Session) -> list[Row]:
    """Memory of PersLM with all engines beside a bare process that loads the same files."""
    config = session.config
    store = open_models(config)
    spec = {
        "gguf": str(store.file(config.model.id)),
        "embed": str(store.folder(config.embed.id)),
        "stt": str(store.folder(config.stt.id)),
        "tts": str(store.folder(config.tts.id)),
        "context": config.model.context_tokens,
        "batch": config.model.batch_tokens,
        "threads": config.model.threads,
        "head": 256,
    }
    bare = _memory_mb([sys.executable, "-c", _BARE, json.dumps(spec)])
    with tempfile.TemporaryDirectory(prefix="perslm-bench-") as folder:
        settings = [f"models_dir={config.models_dir}", f"model.threads={config.model.threads}"]
        ours = _memory_mb([sys.executable, "-c", _OURS, folder, config.profile, *settings])
    what = "a bare process with the same engines and files"
    return [
        Row("resident memory with all engines", "MB", ours[0], bare[0], what),
        Row("private memory with all engines", "MB", ours[1], bare[1], what),
        Row("memory that PersLM adds", "MB", ours[0] - bare[0], 60.0, "the most it may add"),
    ]


def _memory_mb(command: list[str]) -> tuple[float, float]:
    """Resident and private MB of a process once it says that it has loaded."""
    from perslm_daemon.process import private_bytes, resident_bytes  # noqa: PLC0415 - psutil

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        if child.stdout is None or child.stdin is None:
            raise EngineError("the process to be measured has no pipes")
        for line in child.stdout:
            if line.strip() == "loaded":
                break
        else:
            raise EngineError("the process to be measured ended early: run `perslm doctor`")
        measured = resident_bytes(child.pid) / 1e6, private_bytes(child.pid) / 1e6
        child.stdin.close()
        child.wait(timeout=60)
    return measured


def import_time(_session: Session) -> list[Row]:
    """Milliseconds of `import perslm_daemon` in a fresh interpreter, beside the interpreter alone."""
    empty = _best_ms("pass")
    return [
        Row(
            "start Python and import perslm_daemon", "ms", _best_ms("import perslm_daemon"), empty, "Python alone"
        ),
        Row(
            "start Python, import perslm_daemon.cli",
            "ms",
            _best_ms("import perslm_daemon.cli"),
            empty,
            "Python alone",
        ),
    ]


def _best_ms(code: str) -> float:
    times: list[float] = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def boards(_session: Session) -> list[Row]:
    """Tokens per second that each board profile can expect: ESTIMATES from file size and memory bandwidth."""
    catalog = load_catalog()
    rows: list[Row] = []
    for profile in PROFILES:
        config: Config = configuration.load(Flags(profile=profile))
        size = catalog[config.model.id].size
        if size is None:
            continue
        estimate = tokens_per_second(size, config.board.bandwidth_gb_s)
        rows.append(
            Row(
                f"ESTIMATE {profile}: {config.model.id}",
                "tokens/s",
                estimate,
                None,
                f"{config.board.bandwidth_gb_s} GB/s that decoding reaches / {size / 1e9:.3f} GB per token",
            )
        )
    return rows
