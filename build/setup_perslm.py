#!/usr/bin/env python3
"""The commands behind `make`; `python3 build/setup_perslm.py VERB` does the same where there is no make.

This file is read by whatever Python a machine calls `python3`, so it keeps to what an old one understands until it
has found Python 3.11 or newer. The work is in the package `perslm_build` beside it.
"""

import os
import subprocess
import sys

_NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")


def _go_on_with_newer_python() -> None:
    """Start again under a Python that is new enough, or say what to install."""
    for name in _NEWER:
        try:
            works = (
                subprocess.call([name, "-c", "import venv"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                == 0
            )
        except OSError:
            continue
        if works:
            os.execvp(name, [name, *sys.argv])
    sys.exit(
        "PersLM needs Python 3.11 or newer; this is "
        + sys.version.split()[0]
        + ". Debian 12 and 13 and Raspberry Pi OS bring it: sudo apt-get install -y python3 python3-venv"
    )


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - the check itself has to run on older ones
        _go_on_with_newer_python()
    from perslm_build.verbs import main

    sys.exit(main(sys.argv[1:]))
