"""What a board model has to agree with: sentence vectors of the published model, in fp32, by torch.

Run once on a PC whenever the golden sentences change; the board's int8 model is then compared with the
small file written here, so no test needs torch. Deliberately shares no code with `perslm_runtime.minilm`:
a mistake made on both sides would be invisible.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perslm_runtime.errors import EngineError, InputError, PersLMError

# The model's card: "input text longer than 256 word pieces is truncated" ([CLS] and [SEP] included).
# tokenizer.json itself says 128, the length of its training; sentence_bert_config.json overrides it.
MAX_TOKENS = 256


def read_sentences(path: Path) -> list[str]:
    """Read the `text` of every JSON line of `path`. Raises `InputError` with the line's number."""
    texts: list[str] = []
    try:
        lines = _read(path).decode("utf-8").split("\n")  # not splitlines(): JSON leaves U+2028 as it is
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: save it as such ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f'{path}, line {number}: expected {{"text": "…"}}: {error}') from error
        if not isinstance(text, str):
            raise InputError(f"{path}, line {number}: `text` has to be a string, not {type(text).__name__}")
        texts.append(text)
    if not texts:
        raise InputError(f"{path} holds no sentences: give one JSON object with `text` per line")
    return texts


def reference_vectors(model_folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Mean-pooled, L2-normalised fp32 vectors [len(texts), hidden] of the model in `model_folder`.

    The folder holds config.json, tokenizer.json and model.safetensors as published. Every text runs by
    itself, so no vector depends on padding. Raises `EngineError` if torch or the model cannot be loaded.
    """
    try:
        import torch  # noqa: PLC0415 - minutes to install and absent almost everywhere: asked for only here
        from transformers import BertModel, PreTrainedTokenizerFast  # noqa: PLC0415 - as above
    except ImportError as error:
        raise EngineError(f"torch and transformers are needed ({error}): run `make train-setup`") from error
    try:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(model_folder / "tokenizer.json"))
        model = BertModel.from_pretrained(str(model_folder), dtype=torch.float32, local_files_only=True).eval()
    except Exception as error:  # tokenizers raises a bare Exception for a broken file
        raise EngineError(
            f"no published model in {model_folder} (config.json, tokenizer.json, model.safetensors): {error}"
        ) from error
    rows: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for text in texts:
            ids = tokenizer(text, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")["input_ids"]
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            mean = hidden[0].mean(dim=0)  # of [tokens, width]
            rows.append(torch.nn.functional.normalize(mean, dim=0).numpy())
    return np.stack(rows).astype(np.float32)


def write_reference(model_folder: Path, sentences: Path, out: Path) -> None:
    """Write the vectors of `sentences` to `out` (float16 .npy) and their origin to `out` with suffix .json."""
    texts = read_sentences(sentences)
    vectors = reference_vectors(model_folder, texts)
    header = {
        "model_sha256": _sha256(model_folder / "model.safetensors"),
        "sentences_sha256": _sha256(sentences),
        "shape": list(vectors.shape),
        "max_tokens": MAX_TOKENS,
        "pooling": "mean, then L2 norm",
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")}
        | {"python": platform.python_version()},
    }
    # float16 halves the file and moves a unit vector of 384 components by less than 1e-6 in cosine.
    np.save(out, vectors.astype(np.float16), allow_pickle=False)
    out.with_suffix(".json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m perslm_training_host.reference --model FOLDER --sentences FILE --out FILE`."""
    parser = argparse.ArgumentParser(prog="perslm_training_host.reference", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the published model")
    parser.add_argument("--sentences", type=Path, required=True, help='JSON lines with "text"')
    parser.add_argument("--out", type=Path, required=True, help="the .npy to write; its .json goes beside it")
    args = parser.parse_args(argv)
    if args.out.suffix != ".npy":
        parser.error("--out has to end in .npy")
    try:
        write_reference(args.model, args.sentences, args.out)
    except PersLMError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this module is a command
        return error.exit_code
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(_read(path)).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
