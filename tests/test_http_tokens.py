"""Tokens under fire: what is not one live token, to the letter, lets nobody in, and new verbs are closed."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_daemon import http_tokens
from perslm_daemon.http_access import Access, Caller
from perslm_daemon.http_errors import HttpRefused
from perslm_daemon.http_gate import Gate
from perslm_daemon.http_scopes import require_all, scopes_of
from perslm_daemon.http_tokens import SCOPES


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with tokens, and what each opens with; one of them was revoked."""
    folder = tmp_path_factory.mktemp("tokens")
    made = {scope: http_tokens.add(folder, scope, [scope], "ana") for scope in SCOPES}
    made["old"] = http_tokens.add(folder, "old", ["admin"], "ana")
    http_tokens.revoke(folder, "old")
    return folder, made


async def let_in(folder: Path, headers: list[bytes]) -> Caller | None:
    """Whom the gate lets through with these Authorization headers, from another machine."""
    seen: list[Caller] = []

    async def application(scope: MutableMapping[str, Any], _receive: object, _send: object) -> None:
        seen.append(scope["state"]["caller"])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Mapping[str, Any]) -> None:
        pass

    scope = {
        "type": "http",
        "scheme": "https",
        "method": "POST",
        "path": "/api/restart",
        "client": ("192.0.2.7", 40000),
        "server": ("192.0.2.1", 8090),
        "headers": [(b"host", b"192.0.2.1:8090"), *((b"authorization", value) for value in headers)],
    }
    await Gate(application, Access(folder, "owner", 1000), ["kitchen"])(scope, receive, send)
    return seen[0] if seen else None


def _bent(secret: str) -> st.SearchStrategy[bytes]:
    """What somebody who has seen a part of a token would send."""
    place = st.integers(0, len(secret) - 1)
    letter = st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n")
    bent = st.one_of(
        st.builds(lambda at, new: secret[:at] + new + secret[at + 1 :], place, letter),
        st.builds(lambda at, new: secret[:at] + new + secret[at:], place, letter),
        st.builds(lambda at: secret[:at], place),
        st.builds(lambda at: secret[at:], place),
        st.text(letter, max_size=60).map(lambda text: f"perslm_{text}"),
        st.sampled_from(
            [secret, secret.upper(), secret.swapcase(), secret * 2, f"{secret},{secret}", f'"{secret}"']
        ),
    )
    scheme = st.one_of(
        st.sampled_from(["Bearer ", "bearer ", "BEARER\t", "Basic ", "Token ", ""]), st.text(letter, max_size=12)
    )
    return st.builds(lambda before, token: (before + token).encode("latin-1"), scheme, bent)


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_nothing_but_one_live_token_lets_anybody_in(
    live: tuple[Path, dict[str, str]], data: st.DataObject
) -> None:
    folder, made = live
    bent = st.sampled_from(sorted(made)).flatmap(lambda name: _bent(made[name]))
    asked = data.draw(st.lists(st.lists(bent, max_size=2), min_size=4, max_size=12))

    async def all_of_them() -> list[Caller | None]:
        return [await let_in(folder, headers) for headers in asked]

    for headers, who in zip(asked, anyio.run(all_of_them), strict=True):
        if who is None:
            continue
        (only,) = headers
        kind, _, secret = only.decode("latin-1").partition(" ")
        assert kind.lower() == "bearer"
        assert secret.strip() == made[who.name]
        assert who.name != "old"
        assert who.scopes == {who.name}


def test_each_live_token_lets_its_own_scopes_in_and_a_revoked_one_nobody(
    live: tuple[Path, dict[str, str]],
) -> None:
    folder, made = live
    for name, secret in made.items():
        who = anyio.run(let_in, folder, [f"Bearer {secret}".encode()])
        assert (who.scopes if who is not None else None) == (None if name == "old" else {name})


@given(held=st.sets(st.sampled_from(sorted(SCOPES))), verb=st.text(max_size=20).map(lambda text: f"new {text}"))
def test_a_verb_that_nobody_has_thought_of_is_closed(held: set[str], verb: str) -> None:
    caller = Caller("t", "ana", frozenset(held))
    wanted = {scope for scope in scopes_of(verb) if scope}
    assert wanted == {"admin"}
    try:
        require_all(caller, scopes_of(verb))
    except HttpRefused:
        assert not wanted <= held
    else:
        assert wanted <= held
