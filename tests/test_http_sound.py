"""OpenAI's API for ears, voice and meaning, as its own client uses it; and the forms of sound."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_house import house
from perslm_daemon.ways import Running
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm, read_wav
from perslm_runtime.errors import InputError
from perslm_runtime.sound_codec import FORMS, Encoder, decode
from real_models import model_path
from recordings import BECKETT
from wyoming_house import require_models

openai = pytest.importorskip("openai", reason="needs the dependencies of tests: `make setup`")
httpx = pytest.importorskip("httpx")

pytestmark = pytest.mark.anyio

STT, TTS, EMBED = "whisper-tiny.en", "piper-en_US-joe-medium", "all-minilm-l6-v2"
SAID = "What is the capital of Italy, and how many people live there?"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    require_models()
    folder = tmp_path_factory.mktemp("sound")
    async with house(folder, "http.per_minute=100000", "audio.muted=true", voice=True) as online:
        yield online


@pytest.fixture(scope="module")
async def client(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    plain = await anyio.to_thread.run_sync(lambda: httpx.AsyncClient(timeout=60))
    async with plain:
        yield openai.AsyncOpenAI(base_url=f"{running.http}/v1", api_key="none", max_retries=0, http_client=plain)


@pytest.fixture(scope="module")
def clip() -> bytes:
    """A person reading Beckett, ten seconds."""
    assert BECKETT.startswith("Ever tried.")
    return model_path("recorded-speech", "beckett.wav").read_bytes()


def tone(seconds: float = 2.0, rate_hz: int = 22_050) -> Pcm:
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return Pcm((8000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16), rate_hz)


def encoded(sound: Pcm, form: str, pieces: int = 4) -> list[bytes]:
    encoder = Encoder(form, sound.rate_hz)
    parts = [encoder.feed(Pcm(part, sound.rate_hz)) for part in np.array_split(sound.samples, pieces)]
    return [*parts, encoder.finish()]


@pytest.mark.parametrize("form", ["mp3", "opus", "flac", "wav"])
def test_a_form_of_sound_comes_back_as_it_was_and_comes_in_pieces(form: str) -> None:
    parts = encoded(tone(), form)
    assert all(len(part) > 100 for part in parts[1:-1]), "it is given as it is made"
    back = decode(b"".join(parts), longest_s=10)
    assert back.rate_hz == SPEECH_RATE_HZ
    assert back.seconds == pytest.approx(2.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(back.samples.astype(np.float64)))
    assert np.argmax(spectrum) / back.seconds == pytest.approx(440, abs=2)


def test_what_is_no_recording_is_told() -> None:
    for raw, told in (
        (b"", "WAV, WebM"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "WAV, WebM"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "WAV, WebM"),
        (b"OggS" + b"\x00" * 500, "could not be read"),
        (b"\x1a\x45\xdf\xa3" + b"x" * 500, "could not be read"),
        (b"".join(encoded(tone(3.0), "flac"))[:200], "read|no sound"),
    ):
        with pytest.raises(InputError, match=told):
            decode(raw, longest_s=10)
    with pytest.raises(InputError, match="at most"):
        decode(b"".join(encoded(tone(3.0), "mp3")), longest_s=1)


@given(
    raw=st.tuples(
        st.sampled_from([b"OggS", b"fLaC", b"ID3", b"\x1a\x45\xdf\xa3", b"RIFF", b"\xff\xfb"]), st.binary()
    )
)
def test_any_bytes_are_sound_or_a_sentence(raw: tuple[bytes, bytes]) -> None:
    try:
        decode(b"".join(raw), longest_s=10)
    except InputError:
        return


async def test_what_was_spoken_is_heard_again(client: openai.AsyncOpenAI) -> None:
    heard = {}
    for form in FORMS:
        async with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=SAID, response_format=form
        ) as answer:
            pieces = [piece async for piece in answer.iter_bytes()]
        if form in {"pcm", "aac"}:
            assert len(b"".join(pieces)) > 5_000
            continue
        told = await client.audio.transcriptions.create(
            model="whisper-1", file=(f"a.{form}", b"".join(pieces), "audio/wav")
        )
        heard[form] = told.text.strip().lower()
    assert all({"capital", "people", "live"} <= set(text.replace(",", "").split()) for text in heard.values()), (
        heard
    )


async def test_a_recording_of_a_person_is_written_down(client: openai.AsyncOpenAI, clip: bytes) -> None:
    raw = clip
    told = await client.audio.transcriptions.create(
        model=STT, file=("clip.wav", raw, "audio/wav"), response_format="verbose_json", language="en"
    )
    assert told.duration == pytest.approx(read_wav(io.BytesIO(raw)).seconds, abs=0.1)
    assert sum(word in told.text.lower() for word in ("tried", "failed", "again", "better")) >= 3


async def test_speed_changes_the_pace(client: openai.AsyncOpenAI) -> None:
    sizes = []
    for speed in (1.0, 2.0):
        told = await client.audio.speech.create(
            model=TTS, voice="x", input=SAID, response_format="pcm", speed=speed
        )
        sizes.append(len(told.content))
    assert sizes[1] < 0.7 * sizes[0]


async def test_embeddings_tell_what_is_alike(client: openai.AsyncOpenAI) -> None:
    texts = ["My cat sleeps.", "The kitten is asleep.", "The stock market fell."]
    made = await client.embeddings.create(model=EMBED, input=texts)
    one, like, other = (np.array(row.embedding) for row in made.data)
    assert len(one) == 384
    assert one @ like > one @ other + 0.2
    plain = await client.embeddings.create(model=EMBED, input=texts[0], encoding_format="float")
    assert np.allclose(plain.data[0].embedding, one, atol=1e-6)


async def test_what_is_wrong_with_sound_is_told(client: openai.AsyncOpenAI, clip: bytes) -> None:
    raw = clip
    asked = client.audio.transcriptions.create
    with pytest.raises(openai.BadRequestError, match="WAV, WebM"):
        await asked(model=STT, file=("a.txt", b"hello", "audio/wav"))
    with pytest.raises(openai.BadRequestError, match="no speech"):
        await asked(
            model=STT,
            file=("a.wav", b"".join(encoded(Pcm(np.zeros(16_000, np.int16), 16_000), "wav")), "audio/wav"),
        )
    with pytest.raises(openai.BadRequestError, match="understand"):
        await asked(model=STT, file=("a.wav", raw, "audio/wav"), language="de")
    with pytest.raises(openai.NotFoundError, match="in use"):
        await asked(model="whisper-large", file=("a.wav", raw, "audio/wav"))
    with pytest.raises(openai.APIStatusError) as long:
        await asked(model=STT, file=("a.wav", b"RIFF" + bytes(26 * 1024 * 1024), "audio/wav"))
    assert long.value.status_code == 413
    with pytest.raises(openai.BadRequestError, match="input"):
        await client.audio.speech.create(model=TTS, voice="x", input="")
    with pytest.raises(openai.BadRequestError, match="empty"):
        await client.embeddings.create(model=EMBED, input=["x", " "])
