"""`make image-full`: the whole proof in one command: an image from nothing, the same again twice, and its start.

Everything is fetched and compiled into a cache of its own, so nothing of an earlier build helps. The report of the
last run is benchmarks/results/image-full.json, with its date, commit, seconds and processor seconds.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perslm_build import deb, flash, flash_test, image, image_assemble, image_record, image_root, locks
from perslm_build.terminal import SetupError, say, step

RESULT = locks.ROOT / "benchmarks" / "results" / "image-full.json"
_MOST_PACKED_MB = 1200
_OF_THE_BUILDS = ("cold", "warm", "replay", "board_asked_for", "packed_mb", "sha256", "same_bytes", "left_behind")


def run(*, voice: bool) -> None:
    """Build from nothing, again from the caches, again by the record; compare, and boot; keep the report.

    Raises SetupError at what is wrong.
    """
    facts = {**_facts(), "wrong": ["it was ended before its end"]}
    cold = image.cache().parent / "cold"
    shutil.rmtree(cold, ignore_errors=True)
    begin = time.monotonic()
    with _reported(facts), _cache(cold):
        before = traces()
        facts["cold"], first = _built()
        facts["warm"], second = _built()
        facts["replay"], third = _replayed(first)
        facts["packed_mb"] = round(first.packed.stat().st_size / 1e6)
        facts["sha256"] = [first.sha256, second.sha256, third.sha256]
        facts["same_bytes"] = first.sha256 == second.sha256 == third.sha256
        facts["deb_mb"] = round(deb.build().stat().st_size / 1e6)
        facts["left_behind"] = sorted(traces() - before)
        facts["minutes_of_builds"] = round((time.monotonic() - begin) / 60)
        facts["board"] = flash_test.run(voice=voice)
    shutil.rmtree(cold)
    _refuse(facts)


def board_again(*, voice: bool) -> None:
    """The emulated board's part alone, once what was wrong there is mended: the last report's image, a new deb.

    The report names the commit and the day of both. Raises SetupError where the image in dist/ is not one that the
    last report compared, and at what is wrong.
    """
    facts = {**_facts(), **of_the_builds(RESULT, flash.chosen_image())}
    with _reported(facts):
        facts["deb_mb"] = round(deb.build().stat().st_size / 1e6)
        facts["board"] = flash_test.run(voice=voice)
    _refuse(facts)


@contextmanager
def _reported(facts: dict[str, Any]) -> Iterator[None]:
    """Whatever comes of it, the report is kept, with what is wrong in it and the minutes it took."""
    begin = time.monotonic()
    try:
        yield
        facts["wrong"] = wrong(facts)
    except SetupError as error:
        facts["wrong"] = [str(error).splitlines()[0]]
        raise
    finally:
        facts["minutes"] = round((time.monotonic() - begin) / 60)
        _keep(facts)


def _refuse(facts: dict[str, Any]) -> None:
    if facts["wrong"]:
        raise SetupError("not as it should be: " + "; ".join(facts["wrong"]))


def of_the_builds(report: Path, picture: Path) -> dict[str, Any]:
    """What a kept report says of its builds. Raises SetupError where `picture` is none of them."""
    try:
        kept: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        found = {name: kept[name] for name in _OF_THE_BUILDS}
    except (OSError, ValueError, KeyError):
        raise SetupError(f"{report.name} tells no finished builds: `make image-full` without --from.") from None
    listed = picture.with_suffix(".sha256")
    words = listed.read_text(encoding="utf-8").split() if listed.is_file() else []
    if not set(found["sha256"]) & set(words):
        raise SetupError(
            f"{picture.name} is none of the images in {report.name}: `make image-full` without --from."
        )
    built = kept.get("built", {"date": kept["date"], "commit": kept["commit"]})
    return {**found, "built": built}


def wrong(facts: dict[str, Any]) -> list[str]:
    """What of a report is not as it has to be, whatever the machine's speed."""
    found = []
    if not facts["same_bytes"]:
        found.append("builds from the same packages have different bytes")
    if facts["left_behind"]:
        found.append(f"left behind: {', '.join(facts['left_behind'])}")
    if facts["packed_mb"] > _MOST_PACKED_MB:
        found.append(f"the image has {facts['packed_mb']} MB, more than {_MOST_PACKED_MB}")
    return found


def traces(root: Path = Path("/")) -> set[str]:
    """What a build could leave on this machine: mounts of ours or our caches, the emulator's registration."""
    mounts = (root / "proc/self/mounts").read_text(encoding="utf-8").splitlines()
    places = [line.split()[1] for line in mounts]
    found = {f"mount {place}" for place in places if "/perslm/" in place or place.endswith("binfmt_misc")}
    if (root / "proc/sys/fs/binfmt_misc" / image_root.EMULATOR).exists():
        found.add(f"registered {image_root.EMULATOR}")
    return found


def _built() -> tuple[dict[str, float], Any]:
    """A build, with its seconds, the processor's, and how busy the machine was by then."""
    begin, spent = time.monotonic(), _processor_s()
    product = image.build()
    return {
        "seconds": round(time.monotonic() - begin),
        "processor_s": round(_processor_s() - spent),
        "load": round(os.getloadavg()[2], 1),  # of a quarter of an hour
    }, product


def _replayed(product: image_assemble.Product) -> tuple[dict[str, float], Any]:
    """The image made again by its record, its Debian too: only the packages' files are in the cache."""
    for tar in image.cache().glob("root-*.tar"):
        tar.unlink()
    os.environ["REPLAY"] = str(product.packed.with_suffix("").with_suffix(".img.packages"))
    try:
        return _built()
    finally:
        del os.environ["REPLAY"]


def _processor_s() -> float:
    """Seconds that this process and those it has waited for have computed."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """Another place for the caches, for the block; models come from where they are, verified."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def _facts() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": image_record.commit(),
        "board_asked_for": os.environ.get("BOARD") or "generic-arm64",
        "host": {"machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
    }


def _keep(facts: dict[str, Any]) -> None:
    with step("Report"):
        fresh = RESULT.with_suffix(".new")
        fresh.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(RESULT)
        say(f"   {RESULT.relative_to(locks.ROOT)}: {'; '.join(facts['wrong']) or 'all as it should be'}")
