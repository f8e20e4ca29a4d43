"""OpenAI's API for ears, voice and meaning: transcriptions, speech as it is made, embeddings.

Each is one job of one engine's lane, where recordings are read and sound is packed too; three of a kind may be
under way, as with turns. They are no turns: nothing is answered, done or remembered.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from perslm_daemon import engine_calls, http_errors
from perslm_daemon.http_errors import HttpRefused
from perslm_daemon.http_library import APIRouter, FormField, HttpRequest, HttpResponse, JSONResponse, UploadFile
from perslm_daemon.http_openai import Models, require
from perslm_daemon.http_openai_forms import EmbeddingsRequest, SpeechRequest
from perslm_daemon.http_stream import Put, Streamed, while_connected
from perslm_daemon.turn import Parts
from perslm_runtime.audio import require_speech
from perslm_runtime.errors import BusyError, InputError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.sentences import SentenceSplitter
from perslm_runtime.sound_codec import MEDIA_TYPES, Encoder, decode
from perslm_runtime.spoken import speakable
from perslm_runtime.stt import SpeechToText, Transcript
from perslm_runtime.tts import Piper

_AT_ONCE = 3
_AGAIN = "three of this kind are under way: ask again in a moment"


class _Room:
    """Lets three in at a time. Raises `BusyError` for the next."""

    def __init__(self) -> None:
        self._inside = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        if self._inside >= _AT_ONCE:
            raise BusyError(_AGAIN)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1


def routes(parts: Parts, models: Models, *, language: str, longest_s: float) -> APIRouter:
    """The routes; `language` is what the ears understand, `longest_s` the longest recording they take."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])
    hearing, speaking, meaning = _Room(), _Room(), _Room()

    @router.post("/audio/transcriptions", summary="The words in a recording", response_model=None)
    async def transcribe(
        request: HttpRequest,
        file: UploadFile,
        model: Annotated[str, FormField(max_length=200)],
        response_format: Annotated[str, FormField(pattern="^(json|text|verbose_json)$")] = "json",
        language_asked: Annotated[str, FormField(alias="language", max_length=20)] = "",
        stream: Annotated[bool, FormField()] = False,
    ) -> HttpResponse:
        require(request, "chat")
        models.require(model, "stt")
        if language_asked and language_asked.lower() != language:
            raise InputError(f"the ears understand {language!r}, not {language_asked!r}: set stt.language")
        if stream:
            raise InputError("transcriptions come whole here: leave stream out")
        raw = await file.read()
        with hearing.taken():
            heard = await while_connected(request, lambda: _lane(parts.stt).call(_heard, raw, longest_s))
        if response_format == "text":
            return HttpResponse(f"{heard.text}\n", media_type="text/plain; charset=utf-8")
        more = {"language": language, "duration": round(heard.seconds, 3), "segments": []}
        return JSONResponse({"text": heard.text, **(more if response_format == "verbose_json" else {})})

    @router.post("/audio/speech", summary="The sound of a text, as it is made", response_model=None)
    async def speak(wanted: SpeechRequest, request: HttpRequest) -> HttpResponse:
        require(request, "chat")
        models.require(wanted.model, "tts")
        path = request.url.path

        async def produce(put: Put) -> None:
            with speaking.taken():
                said = (wanted.input, wanted.response_format, wanted.speed)
                async with _lane(parts.tts).stream(_spoken, *said) as pieces:
                    async for piece in pieces:
                        await put(piece)

        return Streamed(
            produce, MEDIA_TYPES[wanted.response_format], lambda error: http_errors.failed(error, path)
        )

    @router.post("/embeddings", summary="The meaning of texts as vectors")
    async def embed(wanted: EmbeddingsRequest, request: HttpRequest) -> JSONResponse:
        require(request, "chat")
        name = models.require(wanted.model, "embed")
        texts = list(wanted.texts)
        if any(not text.strip() for text in texts):
            raise InputError("an input is empty: leave it out")
        with meaning.taken():
            vectors = await while_connected(request, lambda: _lane(parts.embed).call(engine_calls.embed, texts))
        if wanted.dimensions not in {None, vectors.shape[1]}:
            raise InputError(f"this model has {vectors.shape[1]} dimensions: leave dimensions out")
        data = [
            {"object": "embedding", "index": number, "embedding": _as_asked(vector, wanted.encoding_format)}
            for number, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0}  # counted by nobody: its tokenizer works inside the engine
        return JSONResponse({"object": "list", "data": data, "model": name, "usage": usage})

    return router


def _lane(lane: Lane[Any] | None) -> Lane[Any]:
    if lane is None:
        raise HttpRefused(404, "this PersLM has no engine for that: `perslm status`", "model", "model_not_found")
    return lane


def _heard(engine: SpeechToText, stop: Stop, raw: bytes, longest_s: float) -> Transcript:
    """The words in a recording's bytes."""
    sound = decode(raw, longest_s=longest_s)
    require_speech(sound, longest_s=longest_s)
    return engine_calls.recognize(engine, stop, sound)


def _spoken(voice: Piper, stop: Stop, text: str, form: str, pace: float) -> Generator[bytes, None, None]:
    """The sound of a text as bytes of `form`, sentence by sentence."""
    encoder = Encoder(form, voice.rate_hz)
    splitter = SentenceSplitter()
    for sentence in [*splitter.feed(text), *splitter.flush()]:
        for sound in voice.speak(speakable(sentence), stop, pace=pace):
            if made := encoder.feed(sound):
                yield made
    if left := encoder.finish():
        yield left


def _as_asked(vector: Any, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return [float(value) for value in vector]
