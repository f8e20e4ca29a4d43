"""Bringing one file here: from an https address, or as a wheel from the Python package registry.

Both know only addresses and target paths. What arrives is not trusted: the caller compares the sha256.
A failure that another source might not have is a FetchError; a full disk stays an OSError.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlsplit

from perslm_runtime import __version__
from perslm_runtime.catalog_file import allowed_url
from perslm_runtime.errors import CatalogError
from perslm_runtime.lane import Stop

CHUNK = 1 << 16
_NETWORK_ERRNOS = {errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH}
# What no model reaches: a bound for files whose size the catalogue does not know.
SIZE_MAX = 64 << 30
# pip's words when it had no connection; without one it ends with "no matching distribution" all the same.
_PIP_OFFLINE = re.compile(
    r"Retrying \(|NewConnectionError|NameResolutionError|ConnectTimeout|Network is unreachable|Connection refused"
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long step has come. `total_bytes` is None where nobody knows it beforehand."""

    what: str
    done_bytes: int
    total_bytes: int | None


class FetchError(CatalogError):
    """One source could not deliver; `offline` when there was no connection at all, `status` a server's refusal."""

    def __init__(self, message: str, *, offline: bool = False, status: int | None = None) -> None:
        super().__init__(message)
        self.offline, self.status = offline, status


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try: seconds without a byte, tries in a row without a new byte, seconds before the second."""

    timeout_s: float = 30.0
    tries: int = 5
    backoff_s: float = 1.0


PATIENCE = Patience()


# ------------------------------------------------------------------ https


def download(
    url: str,
    target: Path,
    size: int | None,
    *,
    arrived: Callable[[int], None],
    stop: Stop,
    patience: Patience,
    tls: ssl.SSLContext | None = None,
    by_content: bool = False,
) -> bool:
    """Fetch `url` into `target`, going on where an earlier call ended; return whether it went on.

    With `by_content` the address names the file by its content: then what another server has sent goes on here.

    `arrived(n)` is called with the bytes `target` now has. A `size` that the server contradicts is an error.
    A dropped connection is tried again for as long as each try brings new bytes, and `patience.tries` times
    when it does not. Raises FetchError, Cancelled between chunks, and OSError when the disk refuses; what has
    arrived stays in `target` for the next call.
    """
    if size is not None and _size_of(target) == size:
        arrived(size)
        return True
    resumed, failures, furthest = False, 0, _size_of(target)
    while True:
        stop.check()
        try:
            resumed |= _one_try(
                url,
                target,
                size,
                arrived=arrived,
                stop=stop,
                timeout_s=patience.timeout_s,
                tls=tls,
                by_content=by_content,
            )
        except _TransientError as error:
            reached = _size_of(target)
            failures = 0 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            # Without any connection from the start, waiting long helps nobody.
            if failures >= (min(2, patience.tries) if error.offline and not furthest else patience.tries):
                raise FetchError(f"{url}: {error}", offline=error.offline) from error
            _sleep(min(patience.backoff_s * 2**failures, 30.0), stop)
        else:
            _validator_of(target).unlink(missing_ok=True)
            return resumed


def read_url(url: str, *, timeout_s: float, stop: Stop, tls: ssl.SSLContext | None = None) -> Iterator[bytes]:
    """The body behind an https address, piece by piece; the caller counts and ends it.

    `tls` says who is trusted and what is shown, where that is not the system's. Raises `FetchError` (its `status`
    is the server's refusal), and `Cancelled` between pieces.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"perslm/{__version__}"})  # noqa: S310 - as below
    try:
        with _opener(tls).open(request, timeout=timeout_s) as response:
            while chunk := response.read1(CHUNK):
                stop.check()
                yield chunk
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"{url}: the server answered {error.code} {error.reason}", status=error.code) from error
    except urllib.error.URLError as error:
        reached = _unreachable(url, error)
        raise (
            reached if isinstance(reached, FetchError) else FetchError(f"{url}: {reached}", offline=True)
        ) from error
    except (http.client.HTTPException, OSError) as error:
        raise FetchError(f"{url}: the connection broke ({str(error) or type(error).__name__})") from error


class _TransientError(Exception):
    """A try failed in a way that may pass."""

    def __init__(self, message: str, *, offline: bool = False) -> None:
        super().__init__(message)
        self.offline = offline


class _OnlyHttps(urllib.request.BaseHandler):
    """Sees every request before it is sent, those of redirects too, and lets only allowed addresses pass."""

    handler_order = 100

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Refuse addresses that are not https, and this machine's own unless the first request named it."""
        elsewhere = request.origin_req_host != urlsplit(request.full_url).hostname
        if (request.type == "http" and elsewhere) or not allowed_url(request.full_url):
            raise FetchError(f"{request.full_url} is not an https address")
        return request

    https_request = ftp_request = http_request


def _opener(tls: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_OnlyHttps, *([urllib.request.HTTPSHandler(context=tls)] if tls else []))


def _one_try(
    url: str,
    target: Path,
    size: int | None,
    *,
    arrived: Callable[[int], None],
    stop: Stop,
    timeout_s: float,
    tls: ssl.SSLContext | None,
    by_content: bool,
) -> bool:
    have, validator = _size_of(target), _validator_of(target)
    request = urllib.request.Request(  # noqa: S310 - _OnlyHttps sees it
        url, headers={"User-Agent": f"perslm/{__version__}", "Accept-Encoding": "identity"}
    )
    if have and (by_content or validator.is_file()):  # only what is known to be the same may be continued
        request.add_header("Range", f"bytes={have}-")
        if not by_content:
            request.add_header("If-Range", validator.read_text(encoding="ascii"))
    opener = _opener(tls)
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return _receive(response, target, size, arrived, stop)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            target.unlink()  # longer than what the server has: begin again
            raise _TransientError("the server has fewer bytes than were already here") from error
        if error.code in {408, 425, 429} or error.code >= 500:
            raise _TransientError(f"the server answered {error.code} {error.reason}") from error
        raise FetchError(f"{url}: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _unreachable(url, error) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _TransientError(f"the connection broke ({str(error) or type(error).__name__})") from error
    except OSError as error:
        if error.errno in _NETWORK_ERRNOS:
            raise _TransientError(f"the connection broke ({error})", offline=True) from error
        raise  # the disk's: a full disk is no reason to try another source


def _receive(
    response: http.client.HTTPResponse,
    target: Path,
    size: int | None,
    arrived: Callable[[int], None],
    stop: Stop,
) -> bool:
    """Write one answer's body to `target`; return whether it continued what was there."""
    have = _size_of(target)
    continues = response.status == http.HTTPStatus.PARTIAL_CONTENT
    if continues and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        target.unlink()
        raise _TransientError("the server sent another part of the file than the one asked for")
    if not continues:
        have = 0
    length = response.headers.get("Content-Length")
    announced = have + int(length) if length and length.isdecimal() else None
    if size is not None and announced is not None and announced != size:
        raise FetchError(f"{response.url} has {announced} bytes where the catalogue says {size}")
    _remember_version(response, target)
    limit = size if size is not None else SIZE_MAX
    with target.open("ab" if continues else "wb") as file:
        while chunk := response.read1(CHUNK):
            have += len(chunk)
            if have > limit:
                raise FetchError(f"{response.url} sends more than the {limit} bytes of the catalogue")
            file.write(chunk)
            arrived(have)
            stop.check()
    expected = size if size is not None else announced
    if expected is not None and have < expected:
        raise _TransientError(f"the connection ended after {have} of {expected} bytes")
    return continues


def _remember_version(response: http.client.HTTPResponse, target: Path) -> None:
    """Keep what names this version of the file, so that a later try only continues the same one."""
    version = response.headers.get("ETag", "")
    if not version or version.startswith("W/"):  # a weak tag does not promise equal bytes
        version = response.headers.get("Last-Modified", "")
    if version and version.isascii():
        _validator_of(target).write_text(version, encoding="ascii")
    else:
        _validator_of(target).unlink(missing_ok=True)


def _unreachable(url: str, error: urllib.error.URLError) -> Exception:
    reason = error.reason
    if isinstance(reason, ssl.SSLCertVerificationError):
        # A board without a battery clock starts in the past, where every certificate is invalid.
        return FetchError(
            f"{url}: its certificate is not accepted ({reason.verify_message}); is `date` right here?"
        )
    return _TransientError(f"no connection ({reason})", offline=True)


def _validator_of(target: Path) -> Path:
    return target.with_name(target.name + ".version")


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _sleep(seconds: float, stop: Stop) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        stop.check()
        time.sleep(min(left, 0.1))


# ------------------------------------------------------------------ package registry


def fetch_wheel(
    package: str, folder: Path, platform: str | None, arrived: Callable[[int], None], stop: Stop
) -> Path:
    """Let the registry's own client put the wheel of `package` (name==version) into `folder`; return its path.

    `folder` is emptied first and holds the client's temporary files too, so that everything lies on the disk
    whose space was checked. Source distributions are refused: building one would run its code. `arrived(n)` is
    called a few times a second with the bytes in the folder. Leaving early, by `stop` or otherwise, ends the
    client.
    """
    shutil.rmtree(folder, ignore_errors=True)
    temporary, wheels = folder / "tmp", folder / "wheels"
    temporary.mkdir(parents=True)
    argv = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    argv += ["--no-input", "--retries=2", "--progress-bar=off", "--disable-pip-version-check", f"--dest={wheels}"]
    argv += [f"--platform={platform}"] if platform else []
    # Unknown settings in the environment are ignored, so that an older pip takes this one's absence in its stride.
    environment = os.environ | {"TMPDIR": str(temporary), "PIP_RESUME_RETRIES": "5"}
    with subprocess.Popen(
        [*argv, package],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is ours to handle; pip would print a traceback
    ) as client:
        try:
            said = _watch(client, folder, arrived, stop)
        finally:
            if client.poll() is None:
                client.kill()
    if client.returncode != 0:
        raise _client_failure(package, said)
    found = list(wheels.glob("*.whl")) if wheels.is_dir() else []
    if len(found) != 1:
        raise FetchError(f"the package registry gave {len(found)} wheels for {package} instead of one")
    return found[0]


def _watch(client: subprocess.Popen[bytes], folder: Path, arrived: Callable[[int], None], stop: Stop) -> str:
    """Wait for the client, reporting the growth of its folder; return the end of what it said."""
    pipe = cast(IO[bytes], client.stdout).fileno()
    os.set_blocking(pipe, False)
    said = b""
    while True:
        ended = client.poll() is not None
        try:
            while text := os.read(pipe, CHUNK):
                said = (said + text)[-CHUNK:]
        except BlockingIOError:
            pass
        arrived(_bytes_under(folder))
        if ended:
            return said.decode("utf-8", "replace")
        _sleep(0.1, stop)


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # moved by the client while we looked
            continue
    return total


def _client_failure(package: str, said: str) -> Exception:
    """Turn what pip said into one sentence."""
    if "No space left on device" in said or "Errno 28" in said:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "No module named pip" in said:
        return FetchError(f"{package}: this Python has no pip: run `{sys.executable} -m ensurepip`")
    if _PIP_OFFLINE.search(said):
        return FetchError(f"{package}: no connection to the package registry", offline=True)
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    return FetchError(
        f"{package}: the package registry did not deliver: {'; '.join(errors) or said.strip()[-300:]}"
    )
