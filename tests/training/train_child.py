"""One of the processes of test_train_loop.py: trains in the group that the environment describes."""

from __future__ import annotations

import sys
from pathlib import Path

from test_train_loop import Lines, a_model

from perslm_training_host.group import join
from perslm_training_host.runs import Run
from perslm_training_host.train_loop import Plan, train

if __name__ == "__main__":
    kind, folder = sys.argv[1], Path(sys.argv[2])
    with join(kind) as group:
        model = group.wrap(a_model())
        run = Run(folder / "run")
        if group.first:
            run.begin("t", {})
        train(model, Lines(model), Plan(5, 1e-2, accumulate=2, warm_up_steps=2), run, group, resume=False)
