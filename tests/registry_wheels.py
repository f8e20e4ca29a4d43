"""Hand-made wheels behind a package index on 127.0.0.1, for the registry's real client."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loopback_http import Site, serving


def wheel(name: str, members: dict[str, bytes], version: str = "1.0") -> tuple[str, bytes]:
    """Return a wheel's file name and its bytes."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        **members,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_record_hash(data)},{len(data)}\n" for path, data in files.items())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return f"{stem}-py3-none-any.whl", out.getvalue()


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def source_distribution(name: str, setup: str, version: str = "1.0") -> tuple[str, bytes]:
    """Return the file name and bytes of a source distribution whose build runs `setup`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo(f"{name}-{version}/setup.py")
        info.size = len(setup)
        archive.addfile(info, io.BytesIO(setup.encode()))
    return f"{name}-{version}.tar.gz", out.getvalue()


def publish(site: Site, name: str, file_name: str, data: bytes) -> None:
    """Put a distribution on the index."""
    site.pages[f"/files/{file_name}"] = data
    index = site.pages.get(f"/simple/{name}/", b"<!DOCTYPE html>\n")
    site.pages[f"/simple/{name}/"] = index + f'<a href="/files/{file_name}">{file_name}</a>\n'.encode()


@contextmanager
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Run an empty index and point the registry's client at it alone."""
    with serving() as site:
        point_at(monkeypatch, site.address)
        yield site


def point_at(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
