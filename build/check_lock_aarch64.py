"""`make check-lock`: resolve the board's lock for arm64 on Python 3.11 and 3.13 and record what came out."""

from __future__ import annotations

import sys

from perslm_build import aarch64
from perslm_build.terminal import SetupError

if __name__ == "__main__":
    try:
        facts = aarch64.check()
    except SetupError as error:
        sys.exit(f"✗ {error}")
    aarch64.record(facts)
    print(f"The board's lock installs from wheels alone, but for {', '.join(facts.built_from_source)}.")
    print(f"Recorded in {aarch64.RECORD}.")
