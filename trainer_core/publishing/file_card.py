"""The model card of a file without a run: only what its layers show, what its metadata says, and what the user has chosen.

What metadata says is not checked by anybody, so the card says that it comes from there. Where nothing is known, nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer_core.errors import DownloadError
from trainer_core.models import detection, hub_repository, loaders
from trainer_core.models.detection.layouts import ALGORITHMS, TITLES
from trainer_core.models.families import load_families
from trainer_core.models.header import Header
from trainer_core.models.loaders import COMFYUI, DIFFUSERS, Answer
from trainer_core.publishing import model_card
from trainer_core.publishing.model_card import code, plain
from trainer_core.text import printable
from trainer_core.tools import scrub
from trainer_core.training.metadata import keys, privacy
from trainer_core.weights.lora import training
from trainer_core.weights.lora.training import Trigger
from trainer_core.weights.networks import modules

MOST_TRIGGERS = 5
"""So many likely trigger words are named."""
BASES = (keys.BASE, "ss_sd_model_name")
ELSEWHERE = ("title", "author", "description", "licence", "rank", "name", "date", "base model file")
"""The facts of the metadata that are no row of the table: they stand elsewhere in the card, or say nothing to its readers."""
ENDINGS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a network from its file alone.

    `family`, `kind`, `rank` (None where the layers differ) and `loading` follow from its layers. The rest is what its metadata
    says: `title`, `author`, `about`, `licence`, `base` (the base model's file or repository), `triggers`, and `rows`; "" or () where it
    says nothing. Texts are safe to show, and contain no path.
    """

    name: str
    family: str
    kind: str
    rank: int | None
    loading: tuple[Answer, ...]
    title: str = ""
    author: str = ""
    about: str = ""
    licence: str = ""
    base: str = ""
    triggers: tuple[Trigger, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()

    @property
    def family_title(self) -> str:
        """The family in a sentence; "" if it is not recognised."""
        found = load_families().get(self.family)
        return found.title if found else ""

    @property
    def makes_images(self) -> bool:
        """Whether its family is one of image models, as far as Easel knows."""
        found = load_families().get(self.family)
        return found is not None and not found.is_only_recognised

    def is_loaded_by(self, program: str) -> bool:
        """Whether a program is known to load all of it."""
        return any(one.program == program and one.loads == "yes" for one in self.loading)


def known(header: Header, family: str = "") -> Known:
    """What is known of the network with this header; "" stands for the family that its layers show.

    Raises:
        WeightsError: it contains no network.
    """
    network = modules.of(header, family)
    found = detection.detect(header)
    # The card is public, so it is written from what stays in a file for publishing.
    metadata = scrub.scrubbed(header.metadata)[0]

    def said(key: str) -> str:
        return privacy.without_paths(printable(metadata.get(key, "").strip(), 500))

    # The words of captions are removed from the file, and are the only source of likely triggers: the user sees them in the draft.
    triggers = training.triggers(header.metadata)[:MOST_TRIGGERS]
    return Known(
        name=header.path.name,
        family=network.family,
        kind=found.variant,
        rank=found.rank,
        loading=tuple(loaders.judge(header, network.family)),
        title=said("modelspec.title"),
        author=said("modelspec.author"),
        about=said("modelspec.description"),
        licence=said("modelspec.license"),
        base=_base(metadata),
        triggers=tuple(triggers),
        rows=tuple((title, privacy.without_paths(value)) for title, value in training.facts(metadata) if title not in ELSEWHERE),
    )  # fmt: skip


def draft(found: Known, licence: str = model_card.NO_LICENCE, base_model: str = "") -> str:
    """The text of the card, for the user to read and change. `base_model` is the id of a repository on the Hub.

    Raises:
        RunError: the licence is not known.
    """
    model_card.check_licence(licence)
    front = model_card.yaml_of(_front(found, licence, base_model))
    return f"---\n{front}---\n\n{_body(found, licence)}"


def _front(found: Known, licence: str, base_model: str) -> dict[str, Any]:
    reads = found.is_loaded_by(DIFFUSERS)
    tags = [
        *(["text-to-image"] if found.makes_images else []),
        *(["diffusers"] if reads else []),
        *([ALGORITHMS[found.kind], found.kind] if found.kind in ALGORITHMS else []),
        *(["template:sd-lora"] if found.makes_images else []),
        *([found.family] if found.family else []),
    ]
    front: dict[str, Any] = {"tags": list(dict.fromkeys(tags))} if tags else {}
    if found.makes_images:
        front["pipeline_tag"] = "text-to-image"
    if reads:
        front["library_name"] = "diffusers"
    front |= model_card.chosen(base_model, licence, is_network=True)
    if stated := next((one.text for one in found.triggers if one.share is None), ""):
        front["instance_prompt"] = code(stated)
    return front


def _body(found: Known, licence: str) -> str:
    parts = [f"# {plain(found.title) or plain(found.name.rpartition('.')[0] or found.name)}", _sentence(found)]
    if found.about:
        parts.append(plain(found.about))
    if found.triggers:
        words = "\n".join(f"* `{code(one.text)}`: {_origin(one)}" for one in found.triggers)
        parts.append(f"## Likely trigger words\n\nThey come from its metadata, and were not tried.\n\n{words}")
    parts.append(f"## Use it\n\n{_how(found)}")
    if found.rows:
        table = "\n".join(f"| {plain(name)} | {plain(value)} |" for name, value in found.rows)
        source = "The metadata of the file says this; it was not checked."
        parts.append(f"## Training\n\n{source}\n\n| setting | value |\n|---|---|\n{table}")
    if licence == "other":
        parts.append(model_card.TERMS)
    return "\n\n".join(parts) + "\n"


def _sentence(found: Known) -> str:
    noun = TITLES.get(found.kind, "network")
    named = f" for {found.family_title}" if found.family_title else ""
    rank = f", of rank {found.rank}" if found.rank else ""
    first = f"{model_card.article(noun)} {noun}{named}{rank}."
    author = f" Its metadata names {plain(found.author)} as the author." if found.author else ""
    base = f" Its metadata names `{code(found.base)}` as the base model." if found.base else ""
    return first + author + base


def _origin(one: Trigger) -> str:
    return (
        "stated in the metadata"
        if one.share is None
        else f"in {one.share:.0%} of the captions that the trainer counted"
    )


def _how(found: Known) -> str:
    where = " and put it into `ComfyUI/models/loras`" if found.is_loaded_by(COMFYUI) else ""
    lines = [f"Download `{code(found.name)}`{where}."]
    judged = [one for one in found.loading if one.loads != "not known"]
    words = {"yes": "loads it", "partly": "loads a part of it", "no": "does not load it"}
    if judged:
        told = "; ".join(f"{one.program} {words[one.loads]}" for one in judged)
        lines.append(f"According to the names of its layers, {told}.")
    return " ".join(lines)


def _base(metadata: Mapping[str, str]) -> str:
    """The base model that the metadata names: the id of a repository, or the name of a file without its folders."""
    named = next((value for key in BASES if (value := metadata.get(key, "").strip())), "") or _of_peft(metadata)
    if named and not named.endswith(ENDINGS):
        try:
            # Not a path: one that exists has become a file name. Source: sd-scripts train_network.py, ss_sd_model_name.
            return hub_repository.checked(named)
        except DownloadError:
            pass
    return printable(privacy.file_name(named), 200)


def _of_peft(metadata: Mapping[str, str]) -> str:
    try:
        stated = json.loads(metadata.get(loaders.PEFT, "null"))
    except (ValueError, RecursionError):
        return ""
    values: Sequence[tuple[str, Any]] = list(stated.items()) if isinstance(stated, dict) else []
    named = (value for key, value in values if key.rpartition(".")[2] == "base_model_name_or_path")
    return next((value for value in named if isinstance(value, str)), "")
