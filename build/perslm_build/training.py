"""torch for the training host (`make train-setup`): by itself, because its builds differ and one hash fits none.

Asks pip what it would bring before it brings it, and stops before gigabytes of CUDA where there is no NVIDIA GPU.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from perslm_build.environment import Environment
from perslm_build.terminal import SetupError, say, step, watch

TORCH = "torch==2.13.0"
_CUDA_PREFIXES = ("nvidia-", "cuda-", "triton")
_WHICH = (
    "import torch; gpu = torch.cuda.is_available(); "
    "assert float(torch.ones(2, 2).sum()) == 4.0; "
    "kind = f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPU'; "
    "where = torch.cuda.get_device_name(0) if gpu else 'the CPU'; "
    "print(f'torch {torch.__version__}: {kind} build, computes on {where}')"
)


def has_nvidia_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether an NVIDIA GPU with its driver is here: a device node, or nvidia-smi that lists one."""
    if any(devices.glob("nvidia[0-9]*")):
        return True
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).stdout.startswith(
        b"GPU"
    )


def cuda_packages(report: str) -> list[str]:
    """The CUDA packages in pip's installation report (JSON), with their versions."""
    planned = [(item["metadata"]["name"], item["metadata"]["version"]) for item in json.loads(report)["install"]]
    return [
        f"{name} {version}"
        for name, version in planned
        if name.lower().startswith(_CUDA_PREFIXES) or (name == "torch" and "+cu" in version)
    ]


def refuse_cuda_without_gpu(report: str, *, gpu: bool, told: bool) -> None:
    """Raise SetupError when `report` plans CUDA packages that nobody asked for and no GPU could use."""
    planned = cuda_packages(report)
    if not planned or gpu or told:
        return
    raise SetupError(
        f"pip would bring {len(planned)} CUDA packages (several gigabytes: {', '.join(planned[:3])} …),\n"
        "and this machine has no NVIDIA GPU. For PyTorch's small CPU build, take the address of its CPU package\n"
        "index from the installation page of pytorch.org (choose Linux, pip, CPU) and type:\n\n"
        "  PIP_EXTRA_INDEX_URL=ADDRESS make train-setup\n\n"
        "To take the CUDA build all the same:\n\n  make train-setup CUDA=1\n"
    )


def install_torch(env: Environment) -> None:
    """Bring torch into `env` and say which build came. Raises SetupError before an unwanted CUDA download."""
    pip: list[str | Path] = [env.python, "-m", "pip", "install"]
    asked: list[str | Path] = [env.python, "-c", _WHICH]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    wanted = TORCH.replace("==", " ")
    if found.returncode != 0 or not found.stdout.startswith(wanted):
        with step(f"Asking what {TORCH} would bring"):
            plan = subprocess.run(
                [*pip, "--dry-run", "--quiet", "--report", "-", TORCH], capture_output=True, text=True, check=False
            )
        if plan.returncode != 0:
            raise SetupError(
                f"pip finds no {TORCH}:\n{plan.stderr}\nCheck the network, then type `make train-setup` again."
            )
        refuse_cuda_without_gpu(plan.stdout, gpu=has_nvidia_gpu(), told=os.environ.get("CUDA") == "1")
        with step(f"Installing {TORCH}"):
            watch([*pip, "--no-input", TORCH], env.logs / "pip-torch.log")
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SetupError(
            f"torch is installed and does not work:\n{found.stderr}\n"
            f"Remove {env.folder} and type `make train-setup` again."
        )
    say(found.stdout.strip())
