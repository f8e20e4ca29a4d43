"""The prompt's head on a card: read on this machine, named as the board's llama.cpp will look for it.

Under emulation it would take half an hour, and on a Pi 4 a minute at the first start. What is asked under
emulation is only how each build describes itself.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from perslm_build import image_llama, image_python, locks
from perslm_build.environment import RUN
from perslm_build.image_files import MODELS, own
from perslm_build.terminal import SetupError, step

FOLDER = Path("var/lib/perslm/snapshots")
# A processor that has what the variant needs, for the emulator.
_PROCESSORS = {image_llama.BASELINE.folder: "cortex-a72", image_llama.DOTPROD.folder: "cortex-a76"}
# As JSON: the line ends with a blank that belongs to it.
_ASK = "import json, llama_cpp; print(json.dumps(llama_cpp.llama_print_system_info().decode()))"


def emulated(root: Path, variant: image_llama.Variant, program: str, *arguments: str) -> str:
    """What a Python program prints that runs in the board's root on an emulated processor. Raises SetupError.

    Nothing is mounted and nothing registered: the emulator is told where the root is.
    """
    site = root / image_python.SITE
    argv: list[str | Path] = ["qemu-aarch64-static", "-cpu", _PROCESSORS[variant.folder], "-L", root]
    argv += [root / "usr/bin/python3.13", "-c", program, *arguments]
    env = {
        **os.environ,
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": str(site),
        "LLAMA_CPP_LIB_PATH": str(site / "llama_cpp" / variant.folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    found = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    if found.returncode != 0:
        raise SetupError(
            f"llama.cpp's {variant.folder} does not run under emulation: {found.stderr.strip()[-300:]}"
        )
    return found.stdout.strip()


def write(root: Path, profile: str) -> None:
    """Put a snapshot for each variant into `root`; it belongs to the service. Raises SetupError."""
    with step("The prompt's head"):
        systems = [
            json.loads(emulated(root, variant, _ASK)) for variant in (image_llama.BASELINE, image_llama.DOTPROD)
        ]
        if ("DOTPROD = 1" in systems[0], "DOTPROD = 1" in systems[1]) != (False, True):
            raise SetupError(f"the two builds of llama.cpp are not what they should be: {systems}")
        argv: list[str | Path] = [
            RUN.python,
            "-m",
            "perslm_daemon.board_head",
            profile,
            root / MODELS,
            root / FOLDER,
        ]
        path = os.pathsep.join(str(locks.ROOT / folder) for folder in ("runtime", "daemon"))
        found = subprocess.run(
            [*argv, *systems], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
        )
        if found.returncode != 0:
            raise SetupError(f"the prompt's head cannot be read: {found.stderr.strip()[-300:]}")
    own(root)
