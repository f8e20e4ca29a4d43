"""One of the processes of test_train_loop.py: trains in the group that the environment describes.

The second one is gone in step 6 without a word; the first has to say so by name and ends with 7.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from test_train_loop import GROUP_PLAN, Lines, a_model
from torch import Tensor

from perslm_training_host.group import WorkerGone, join
from perslm_training_host.runs import Run
from perslm_training_host.train_loop import train


class Gone(Lines):
    """Ends its process, where it is the second."""

    def loss(self, step: int, micro: int) -> tuple[Tensor, Mapping[str, float]]:
        if step == 5 and os.environ["RANK"] == "1":
            os._exit(9)
        return super().loss(step, micro)


def trained(kind: str, folder: Path) -> int:
    """Train as this process's rank says, and return its exit code."""
    with join(kind) as group:
        model = group.wrap(a_model())
        run = Run(folder / "run")
        if group.first:
            run.begin("t", {})
        try:
            train(model, Gone(model), GROUP_PLAN, run, group, resume=False)
        except WorkerGone as error:
            sys.stderr.write(str(error))
            sys.stderr.flush()
            os._exit(7)  # as the command line does: gloo's threads may abort what ends in order
    return 0
