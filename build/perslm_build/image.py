"""`make image`: from nothing to `dist/perslm-BOARD-PROFILE.img.zst`, a card that starts as an assistant, in order.

What is slow is cached by what it is made from; the rest takes about a minute. The recipes are the files beside it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perslm_build import (
    image_assemble,
    image_boards,
    image_files,
    image_head,
    image_llama,
    image_manifest,
    image_python,
    image_record,
    image_root,
    image_tools,
    image_user,
    locks,
    system,
)
from perslm_build.environment import RUN
from perslm_build.terminal import SetupError, say, step

DIST = locks.ROOT / "dist"


def cache() -> Path:
    """Where roots, wheels and tools are kept: `$XDG_CACHE_HOME/perslm/image`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "perslm" / "image"


def logs() -> Path:
    """Where the logs of a build lie."""
    return locks.ROOT / ".cache" / "setup-logs"


def name_of(board: str, profile: str) -> str:
    """An image's file name."""
    return f"perslm-{board}-{profile}.img"


def build() -> image_assemble.Product:
    """Build the image of `BOARD` (generic-arm64) for `PROFILE` (the board's own) with the kernel of `FLAVOUR`.

    With `REPLAY` (an image's list of packages) it is that image again, byte for byte, out of the package cache.
    Raises SetupError with the next step.
    """
    board, profile, replayed = _chosen()
    limits = image_files.limits(profile)  # a profile that does not exist is told before the long part
    if os.geteuid() != 0:
        system.provide((*image_tools.BUILD, *image_user.NEEDS), logs())
        image_user.go_on()
    system.provide(image_tools.BUILD, logs())
    kept = cache()
    models = needed_models(profile)
    llama = image_llama.provide(kept, logs())
    packages = replayed.packages if replayed else image_root.packages_of(board, kept, logs())
    tar = image_root.provide(board, packages, kept, logs())
    with alone() as folder:
        root, work = folder / "root", folder / "work"
        with step("Root of the board"):
            image_root.unpack(tar, root)
        image_python.install(root, RUN, kept, llama)
        image_files.lay_down(root, board, profile, limits, models)
        image_python.compile_bytecode(root, kept, logs())
        image_python.check(root)
        image_python.as_release(root)
        image_head.write(root, profile)
        name = name_of(board.title, profile)
        mke2fs = image_tools.of_debian("sbin/mke2fs", kept, logs())
        image = image_assemble.assemble(root, board, name, work, mke2fs, logs())
        with step("Compressing"):
            product = image_assemble.pack(image, DIST)
        if replayed and (why := image_record.differs(replayed, product.sha256)):
            raise SetupError(why)
        asked = (board.name, board.flavour, profile)
        image_record.write(DIST / f"{name}.packages", asked, product.sha256, packages)
        count = image_manifest.write(root, board, profile, product.sha256, DIST / f"{name}.cdx.json")
    _report(product, count)
    return product


def _chosen() -> tuple[image_boards.Board, str, image_record.Record | None]:
    """The board, its profile, and the record that is followed, where one is."""
    replayed = image_record.wanted()
    if replayed:
        return image_boards.board(replayed.board, replayed.flavour), replayed.profile, replayed
    board = image_boards.board(os.environ.get("BOARD") or "generic-arm64", os.environ.get("FLAVOUR") or "debian")
    return board, os.environ.get("PROFILE") or board.profile, None


def work_place() -> Path:
    """A folder on a disk with room: /tmp is memory on newer Debians, and a root takes 2 GB twice."""
    place = cache() / "work"
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def alone() -> Iterator[Path]:
    """A fresh folder to build in, and no other build beside; what a killed one left is removed."""
    with (work_place() / ".lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                "another `make image` or `make deb` is running here: wait for it, then type this again."
            ) from None
        for left in work_place().glob("image-*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=work_place(), prefix="image-") as folder:
            yield Path(folder)


def needed_models(profile: str) -> list[Path]:
    """The folders of the models that the profile needs, fetched and verified by PersLM itself."""
    argv: list[str | Path] = [RUN.program("perslm"), "--config", os.devnull, "--profile", profile]
    with step(f"Models of profile {profile}"):
        pulled = subprocess.run(
            [*argv, "--json", "models", "pull", "--needed"], stdout=subprocess.PIPE, check=False
        )
    if pulled.returncode != 0:
        raise SetupError("not all models are here: see above, then type the same command again.")
    here = json.loads(pulled.stdout)
    # The sound detector's and the wake words' models came with their Python packages and are there already.
    return [Path(model["folder"]) for model in here if Path(model["folder"]).name == model["id"]]


def _report(product: image_assemble.Product, count: int) -> None:
    megabytes = product.packed.stat().st_size / 1e6
    say(f"\n{product.packed.relative_to(locks.ROOT)}: {megabytes:.0f} MB, unpacked {product.size / 1e6:.0f} MB")
    say(f"{count} packages and models are listed in {product.packed.stem}.cdx.json")
    say(f"The same again: make image REPLAY=dist/{product.packed.stem}.packages")
    say("Next: make flash DEVICE=/dev/sdX CONFIG=my-home.toml   (or a file: DEVICE=card.img)")
