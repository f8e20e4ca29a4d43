"""What the services say of themselves: Wyoming's `info`, complete, built once and sent at once.

Never `satellite`: Home Assistant would load none of the services then.
"""

from __future__ import annotations

from perslm_daemon.wyoming_asr import Recognizer
from perslm_daemon.wyoming_tts import Speaker
from perslm_daemon.wyoming_wire import (
    AsrModel,
    AsrProgram,
    Attribution,
    HandleModel,
    HandleProgram,
    Info,
    TtsProgram,
    TtsVoice,
)
from perslm_runtime import __version__

_OURS = Attribution("PersLM", "")  # both have to be there; our place on the web is not settled
_OTHERS = (
    ("whisper", Attribution("OpenAI", "https://github.com/openai/whisper")),
    ("vosk", Attribution("Alpha Cephei", "https://alphacephei.com/vosk/models")),
    ("piper", Attribution("rhasspy", "https://github.com/rhasspy/piper")),
    ("smollm", Attribution("Hugging Face", "https://huggingface.co/HuggingFaceTB")),
    ("qwen", Attribution("Qwen", "https://huggingface.co/Qwen")),
)


def info(node: str, model_id: str, language: str, asr: tuple[Recognizer, str] | None, tts: Speaker | None) -> Info:
    """The services that there are: `asr` with its model's id, `tts`, and handle, which there is always."""
    title = f"PersLM {node}"
    return Info(
        asr=[_asr(title, *asr)] if asr is not None else [],
        tts=[_tts(title, tts)] if tts is not None else [],
        handle=[
            HandleProgram(
                title,
                _OURS,
                installed=True,
                description="Answers by a language model on this board",
                version=__version__,
                models=[
                    HandleModel(
                        model_id,
                        attribution_of(model_id),
                        installed=True,
                        description=model_id,
                        version=None,
                        languages=[language],
                    )
                ],
                supports_handled_streaming=True,
                supports_home_control=False,
            )
        ],
    )


def attribution_of(model_id: str) -> Attribution:
    """Who made a model; ourselves for one that nobody is known of."""
    name = model_id.lower()
    return next((made for word, made in _OTHERS if word in name), _OURS)


def _asr(title: str, recognizer: Recognizer, model_id: str) -> AsrProgram:
    return AsrProgram(
        title,
        _OURS,
        installed=True,
        description="Speech to text on this board",
        version=__version__,
        models=[
            AsrModel(
                model_id,
                attribution_of(model_id),
                installed=True,
                description=model_id,
                version=None,
                languages=[recognizer.language],
            )
        ],
        supports_transcript_streaming=False,
        requires_external_vad=not recognizer.ends,
        # What comes over the wire is recognized as it comes: whoever holds the microphone may tidy it up.
        prefers_auto_gain_enabled=True,
        prefers_noise_reduction_enabled=True,
    )


def _tts(title: str, speaker: Speaker) -> TtsProgram:
    return TtsProgram(
        title,
        _OURS,
        installed=True,
        description="Speech on this board",
        version=__version__,
        voices=[
            TtsVoice(
                speaker.id,
                attribution_of(speaker.id),
                installed=True,
                description=speaker.id,
                version=None,
                languages=[speaker.language],
            )
        ],
        supports_synthesize_streaming=True,
    )
