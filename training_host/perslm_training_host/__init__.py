"""The PC that teaches the board. The only package that may import torch.

Sets how OpenMP's threads wait before torch is loaded: spinning, a busy machine needed 1.3 CPU-seconds for a step
of a small model that takes 0.075 (and 82 to 160 seconds for one of 135 million weights).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
