"""Brings a bundle, for a test that kills this process at any moment: FOLDER ANCHOR URL VERSION."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from perslm_runtime.bundles import Bringing, bring, look_up
from perslm_runtime.trust import Trust

folder, anchor, url, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
trust = Trust(folder / "trust", anchor.read_bytes(), [url], now=time.time)
sys.stdout.write("begun\n")
sys.stdout.flush()
trust.refresh()
bring(trust, look_up(trust, "home", version), folder / "models", Bringing(reserve_bytes=0))
