"""The prompt's head read on this machine goes on as well on a board: needs the caches that `make image` leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perslm_build import image, image_boards, image_files, image_head, image_llama, image_python, image_root
from perslm_build.environment import RUN
from perslm_build.image_tools import find
from real_models import models_dir

_TOKENS = 8
# Greedy words after the head: from the snapshot in the folder that is named, or computed where none is. Without
# the daemon's app.py: its onnxruntime does not load under qemu-user 7.2 (it does on an emulated board).
_ANSWER = f"""
import json, os, sys
from pathlib import Path
from perslm_runtime import llama_variant
# qemu-user shows the /proc/cpuinfo of the machine that it runs on
llama_variant.features = lambda *_: llama_variant.needs(Path(os.environ.get("LLAMA_CPP_LIB_PATH", "/nowhere")))
from perslm_daemon.config import Flags, load
from perslm_runtime.lane import Stop
from perslm_runtime.llama import LlamaOptions, Sampling
from perslm_runtime.model import ChatModel
from perslm_runtime.prompt import EXAMPLES
wanted = load(Flags(profile=sys.argv[1], config_file=Path("/dev/null")), environ={{}}).model
options = LlamaOptions(wanted.context_tokens, wanted.batch_tokens, 2, 2, wanted.kv, wanted.flash_attention)
snapshots = Path(sys.argv[3]) if len(sys.argv) > 3 else None
model = ChatModel(
    Path(sys.argv[2]), options, system=wanted.system_prompt, examples=EXAMPLES,
    sampling=Sampling(repeat_penalty=wanted.repeat_penalty), snapshots=snapshots,
)
pieces = list(model.reply(Stop(), "What is the capital of France?", {_TOKENS}))
print(json.dumps([model.head_from, "".join(piece for piece in pieces if isinstance(piece, str))]))
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "variant", [image_llama.BASELINE, image_llama.DOTPROD], ids=lambda variant: variant.folder
)
def test_arm64_loads_a_head_made_here_and_goes_on_with_the_same_words(
    tmp_path: Path, variant: image_llama.Variant
) -> None:
    board = image_boards.BOARDS["generic-arm64"]
    kept = image.cache()
    roots = sorted(kept.glob(f"{image_root.recipe(board)}-*.tar"))
    if os.geteuid() != 0 or find("qemu-aarch64-static") is None or not roots:
        pytest.skip("needs root, qemu-user and what `make image` leaves in its cache")
    root = tmp_path / "root"
    image_root.unpack(roots[-1], root)
    image_python.install(root, RUN, kept, image_llama.provide(kept, tmp_path))
    model = models_dir() / "smollm2-135m-q4_1"
    image_files.lay_down(root, board, board.profile, image_files.limits(board.profile), [model])
    image_head.write(root, board.profile)
    placed = str(root / image_files.MODELS / model.name / "model.gguf")
    argv = [sys.executable, "-c", _ANSWER, board.profile, placed]
    here = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    there = json.loads(
        image_head.emulated(root, variant, _ANSWER, board.profile, placed, str(root / image_head.FOLDER))
    )
    assert here[0] == "prefill"
    assert there == ["snapshot", here[1]]
