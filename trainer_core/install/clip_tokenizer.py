"""The CLIP tokenizer as files, made from the vocabulary that open_clip ships. Standard library only.

Both engines load a tokenizer from a folder, or download one. The vocabulary file is the one that OpenAI published with CLIP
(MIT); its 48,894 merges define the tokenizer. The files are the older pair vocab.json and merges.txt, which every version of
transformers reads.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

from trainer_core.errors import InstallError

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
"""The hash of the file in every release of open_clip since 2.0 and in OpenAI's own repository."""
_MERGES = 49152 - 256 - 2
START, END = "<|startoftext|>", "<|endoftext|>"
PADDING = {"openai/clip-vit-large-patch14": END, "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k": "!"}
"""The token that pads short captions, by the name that engines use for the tokenizer."""


def write_cache(vocabulary: Path, folder: Path) -> Path:
    """The folder, filled with one tokenizer folder per name, as in the cache of sd-scripts: "/" in a name becomes "_".

    Source: sd-scripts library/strategy_base.py, _load_tokenizer.
    """
    for name, padding in PADDING.items():
        write(vocabulary, folder / name.replace("/", "_"), padding)
    return folder


def write(vocabulary: Path, folder: Path, padding: str = END) -> Path:
    """The folder, filled with the files of a CLIP tokenizer.

    Raises:
        InstallError: the vocabulary is not the expected file.
    """
    merges = _merges(vocabulary)
    symbols = _byte_symbols()
    words = [
        *symbols,
        *(f"{symbol}</w>" for symbol in symbols),
        *("".join(merge.split()) for merge in merges),
        START,
        END,
    ]
    folder.mkdir(parents=True, exist_ok=True)
    _json(folder / "vocab.json", {word: index for index, word in enumerate(words)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": padding}
    _json(folder / "special_tokens_map.json", special)
    more = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, "errors": "replace"}
    _json(folder / "tokenizer_config.json", {**special, **more, "add_prefix_space": False})
    return folder


def _merges(vocabulary: Path) -> list[str]:
    packed = vocabulary.read_bytes()
    if hashlib.sha256(packed).hexdigest() != VOCABULARY_SHA256:
        raise InstallError(f"{vocabulary.name} is not the CLIP vocabulary.", "Delete it and try again.")
    lines = gzip.decompress(packed).decode("utf-8").split("\n")
    return lines[1 : _MERGES + 1]


def _byte_symbols() -> list[str]:
    """A printable character for each of the 256 bytes, in the order of the vocabulary.

    Source: OpenAI CLIP, simple_tokenizer.py: printable bytes stand for themselves, the others for characters from 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(code) for code in (*printable, *range(256, 256 + others))]


def _json(file: Path, data: dict) -> None:
    file.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
