"""What is in an image, as a CycloneDX list beside it: every Debian and Python package and every model.

Reads the finished root and nothing else, so it cannot claim what is not there. Licences are as the packages state
them; where a package states none in a form a program can read, its copyright file is named.
"""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perslm_build import image_python, locks
from perslm_build.image_boards import CLOCK, Board
from perslm_build.image_files import MODELS

_NAMESPACE = uuid.UUID("50455253-4c4d-4000-8000-0000000000ff")


def debian(root: Path) -> list[dict[str, Any]]:
    """Every installed Debian package, from dpkg's own list."""
    found = []
    for entry in (root / "var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"(?m)^([A-Z][A-Za-z-]*): (.*)$", entry))
        if fields.get("Status") != "install ok installed":
            continue
        name, version, processor = fields["Package"], fields["Version"], fields["Architecture"]
        found.append(
            _component(
                "library",
                name,
                version,
                f"pkg:deb/debian/{name}@{version}?arch={processor}",
                _copyright(root, name),
            )
        )
    return found


def _copyright(root: Path, package: str) -> list[str]:
    file = root / "usr/share/doc" / package / "copyright"
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8", errors="replace")
    names = dict.fromkeys(re.findall(r"(?m)^License: *(\S[^\n]{0,80})$", text))
    return list(names) or [f"see /usr/share/doc/{package}/copyright"]


def _component(kind: str, name: str, version: str, url: str, licences: list[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": kind, "name": name, "version": version, "bom-ref": url, "purl": url}
    if licences:
        entry["licenses"] = [{"license": {"name": licence}} for licence in licences]
    return entry


def python(root: Path) -> list[dict[str, Any]]:
    """Every Python distribution in /opt/perslm, by its metadata; its hashes are those of the lock."""
    pins = {pin.name: pin for name in ("board", "board-sdists") for pin in locks.read(name)}
    found = []
    for name, version, licence in image_python.versions(root):
        canonical = re.sub(r"[-_.]+", "-", name).lower()
        entry = _component("library", canonical, version, f"pkg:pypi/{canonical}@{version}", [licence])
        if canonical in pins:
            entry["properties"] = [{"name": "perslm:lock", "value": pins[canonical].version}]
        found.append(entry)
    return found


def models(root: Path) -> list[dict[str, Any]]:
    """Every model in the image with its licence and the sha256 of each file, by the catalogue."""
    catalogue = tomllib.loads((locks.ROOT / "models/catalog.toml").read_text(encoding="utf-8"))["model"]
    found = []
    for model in catalogue:
        if not (root / MODELS / model["id"]).is_dir():
            continue
        entry = _component(
            "machine-learning-model", model["id"], "1", f"pkg:generic/{model['id']}", [model["licence"]]
        )
        entry["components"] = [
            {"type": "file", "name": file["path"], "hashes": [{"alg": "SHA-256", "content": file["sha256"]}]}
            for file in model["files"]
        ]
        found.append(entry)
    return found


def write(root: Path, board: Board, profile: str, sha256: str, target: Path) -> int:
    """Write the list to `target` and return how many components it has. The same root gives the same bytes."""
    components = [*debian(root), *python(root), *models(root)]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, sha256)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(CLOCK, UTC).isoformat(),
            "component": {
                "type": "operating-system",
                "name": f"perslm-{board.name}-{profile}",
                "version": "1",
                "hashes": [{"alg": "SHA-256", "content": sha256}],
            },
        },
        "components": components,
    }
    target.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return len(components)
