"""Guesses what the tensors cannot show, from metadata, hashes and names. The user confirms a guess; it is never a fact."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer_core.errors import DetectionError
from trainer_core.files import read_toml
from trainer_core.models.detection import bases
from trainer_core.models.detection.result import Detection, Guess
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.text import printable

TITLES = ("modelspec.title", "modelspec.architecture", "modelspec.merged_from")
MODEL_NAMES = ("ss_sd_model_name",)
HASHES = ("modelspec.hash_sha256", "ss_new_sd_model_hash")
LEGACY_HASH = "ss_sd_model_hash"
V_WORDS = ("vpred", "vprediction", "vpredversion")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Suggestion:
    """One table of guesses.toml."""

    id: str
    title: str
    families: tuple[str, ...]
    words: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    predicts: str = ""
    variants: tuple[str, ...] = ()
    variant: str = ""
    distilled: bool = False
    over: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    legacy: tuple[str, ...] = ()

    def is_named(self, text: str, found: Detection) -> bool:
        """Whether a title or name suggests it, and nothing certain contradicts it."""
        spelt = _spelt(text)
        if not spelt.intersection(self.words) or not self._may_be(found):
            return False
        return not self.also or found.is_prediction_certain or bool(spelt.intersection(self.also))

    def _may_be(self, found: Detection) -> bool:
        if found.family and self.variants and found.variant not in self.variants:
            return False
        return not self.predicts or not found.is_prediction_certain or found.prediction == self.predicts

    def has_hash(self, sha256: str) -> bool:
        """Whether a SHA256, or at least its first ten characters, belongs to a file of this model."""
        value = sha256.lower().removeprefix("0x")
        return len(value) >= 10 and any(value.startswith(known) or known.startswith(value) for known in self.hashes)


def guessed(found: Detection, header: Header, sha256: str | None = None) -> Detection:
    """The detection with a guess, where something suggests one, and with evidence that contradicts the header."""
    family = found.family or found.base_family
    if family is None:
        return found
    guess = _guess(family, found, header, sha256)
    named = _named_prediction(found, header, guess)
    doubt = ("named like a v-prediction model, but has no marker: confirm the prediction",) if named else ()
    evidence = (*found.evidence, *_contradictions(family, found, header), *doubt)
    return replace(found, guess=guess, evidence=evidence, named_prediction=named)


def _guess(family: str, found: Detection, header: Header, sha256: str | None) -> Guess | None:
    """The guess of the most reliable source that suggests exactly one model."""
    asked = [each for each in load().values() if family in each.families]
    for basis, matches in _matches(asked, found, header, sha256):
        outranked = {name for each, _ in matches for name in each.over}
        left = [(each, why) for each, why in matches if each.id not in outranked]
        if len(left) == 1:
            each, why = left[0]
            return Guess(each.id, each.title, basis, why, each.variant, each.distilled)
    return None


def _matches(
    asked: list[Suggestion], found: Detection, header: Header, sha256: str | None
) -> Iterator[tuple[str, list[tuple[Suggestion, str]]]]:
    """The suggestions of each source, most reliable source first."""
    metadata = header.metadata

    def by_text(key: str, text: str) -> list[tuple[Suggestion, str]]:
        return [(each, f"{key} is {printable(text, 80)}") for each in asked if each.is_named(text, found)]

    for key in TITLES:
        yield "modelspec", by_text(key, metadata.get(key, ""))
    for key in MODEL_NAMES:
        yield "training metadata", by_text(key, _own_name(metadata.get(key, "")))
    hashes = {key: metadata.get(key, "") for key in HASHES} | {"the file's SHA256": sha256 or ""}
    legacy = metadata.get(LEGACY_HASH, "").lower()
    yield (
        "hash",
        [
            (each, f"{key} is {printable(value, 12)}")
            for each in asked
            for key, value in hashes.items()
            if each.has_hash(value)
        ]
        or [(each, f"{LEGACY_HASH} is {legacy}") for each in asked if legacy in each.legacy],
    )
    yield "file name", by_text("the file's name", _name(header))


def _contradictions(family: str, found: Detection, header: Header) -> Iterator[str]:
    """Evidence when the metadata names another family than the tensors. For a LoRA, `bases` has already reported it."""
    if found.family is None:
        return
    said = bases.named_in(header.metadata)
    if said and family not in said:
        title = load_families()[family].title if family in load_families() else family
        yield f"its metadata says {next(iter(said.values()))}, but its tensors are {title}, and they take precedence"


def _named_prediction(found: Detection, header: Header, guess: Guess | None) -> str:
    """The prediction that a name suggests and the file does not state; "" where the name suggests none."""
    if found.family is None or found.is_prediction_certain or found.prediction != "epsilon":
        return ""
    predicts = load()[guess.id].predicts if guess else ""
    is_named = predicts == "v_prediction" or _spelt(_name(header)).intersection(V_WORDS)
    return "v_prediction" if is_named else ""


def _name(header: Header) -> str:
    """The name of the file or folder itself. The name of its parent folder is not used."""
    name = header.path.name
    return name if header.is_folder else name.rpartition(".")[0] or name


def _own_name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1].removesuffix(".safetensors").removesuffix(".ckpt")


@functools.lru_cache(maxsize=4096)
def _spelt(text: str) -> frozenset[str]:
    """The strings that adjacent words form: NoobAI-XL gives noob, noobai, noobaixl, ai, aixl and xl."""
    words = [word.lower() for word in _WORD.findall(text[:_LONGEST_NAME])]
    return frozenset(
        "".join(words[start : end + 1])
        for start in range(len(words))
        for end in range(start, min(start + 6, len(words)))
    )


@functools.cache
def load() -> Mapping[str, Suggestion]:
    """The tables of guesses.toml, by id.

    Raises:
        DetectionError: the file cannot be used.
    """
    path = Path(__file__).with_name("guesses.toml")
    tables = read_toml(path, DetectionError, "Install Easel again.")
    try:
        return {name: _suggestion(name, table) for name, table in tables.items()}
    except (TypeError, ValueError) as error:
        raise DetectionError(f"{path.name} cannot be used: {error}", "Install Easel again.") from error


def _suggestion(name: str, table: Mapping[str, Any]) -> Suggestion:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Suggestion(name, **values)
