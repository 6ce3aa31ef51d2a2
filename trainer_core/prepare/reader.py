"""Reads the facts of a job: its model and companion files, its images, the installed engines, and its paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core import places
from trainer_core.draft.layers import is_native
from trainer_core.engines import parts
from trainer_core.engines.hub import HubFacts
from trainer_core.errors import DatasetError, EaselError
from trainer_core.install import choice, hub_files, hub_reach
from trainer_core.install.hub_files import TOKENIZERS
from trainer_core.plan import fields
from trainer_core.prepare import paths

if TYPE_CHECKING:
    from trainer_core.datasets.scan import Dataset
    from trainer_core.engines.seam import Backend
    from trainer_core.models.detection import Detection
    from trainer_core.models.library import Library
    from trainer_core.prepare.state import State

CLIP, MERGES = "openai/clip-vit-large-patch14", "merges.txt"


class FactsReader:
    """Reads all files while a job is prepared. `quick`: whether a scan reads only the headers of images."""

    def __init__(self, quick: bool = True) -> None:
        self.quick = quick
        self.library: Library | None = None
        """Where companion files are searched; scanned when a model first needs some."""

    def read(self, state: State, again: Collection[str]) -> State:
        """The job with facts that are read again; `again` says which.

        "model", "parts" and "dataset" are the files to read; "engine" and "library" mean that these changed. Another engine
        can need other companion files and read a dataset by other rules; another library contains other files.
        """
        if "model" in again:
            state = _with_model(state)
        if not {"model", "engine", "library"}.isdisjoint(again):
            state = self._with_companions(state)
        if "parts" in again:
            state = _with_parts(state)
        if "dataset" in again or "engine" in again:
            state = self.read_images(state, self.quick)
        state = state.with_facts(paths=paths.look(state.draft.values))
        return state.with_facts(hub=_hub(state))

    def look(self, state: State, wait_s: float = 0.0) -> State:
        """The job with facts that can change from outside: its paths, the installed engines and their trials, and the Hub.

        It waits so many seconds at most for the answer whether the Hub can be reached.
        """
        device = state.facts.machine.accelerator.name
        engines = choice.statuses(state.engines, device)
        state = state.with_facts(paths=paths.look(state.draft.values), engines=engines)
        return state.with_facts(hub=_hub(state, wait_s))

    def read_images(self, state: State, quick: bool) -> State:
        """The job with its dataset scanned by the rules of its engine."""
        from trainer_core.datasets import clip, scan

        text, values = state.draft.text, state.draft.usable_values
        path, backend = places.unquoted(text("dataset.path")), state.backend or _any_engine(state)

        def scanned(path: str, word: str | None) -> tuple[Dataset | None, str]:
            if not path or backend is None:
                return None, ""
            try:
                found = scan.scan(
                    places.typed(path),
                    backend.manifest.dataset.with_native(_native(state, backend)),
                    caption_extension=values["dataset.caption_extension"],
                    trigger=word,
                    quick=quick,
                    skip_unreadable=values["dataset.skip_unreadable"],
                )
            except DatasetError as error:
                return None, str(error)
            return found, ""

        dataset, reason = scanned(path, text("dataset.trigger"))
        if dataset is not None:
            of_class, why = scanned(places.unquoted(text("dataset.class_path")), None)
            dataset = dataclasses.replace(dataset, class_images=of_class, class_error=why)
        merges = clip.load(_vocabularies(text("model.path"))) if dataset is not None else None
        return state.with_facts(dataset=dataset, dataset_error=reason, clip=merges)

    def _with_companions(self, state: State) -> State:
        """The job with the companion files that its model needs and the library has."""
        found, backend = state.facts.detection, state.backend
        if found is None or backend is None or not state.scope.needed_parts():
            return state
        from trainer_core.models import library

        self.library = self.library or library.scan()
        return _with_parts(state.with_facts(companions=parts.find(self.library, found, backend.manifest)))


def recognise(path: Path) -> tuple[Detection | None, str]:
    """What a model file or folder is, and "" or the reason why it cannot be recognised."""
    from trainer_core.models import detection, header

    try:
        return detection.detect(header.read(places.typed(path))), ""
    except EaselError as error:
        return None, str(error)


def _hub(state: State, wait_s: float = 0.0) -> HubFacts | None:
    """What the engine needs of the Hub for the family and does not find here; None as long as it is not installed."""
    backend = state.backend
    if backend is None or not state.family or not state.facts.engine(backend.manifest.id).installed:
        return None
    manifest = backend.manifest
    claim = manifest.families.get(state.family)
    if claim is None or not claim.hub:
        return None
    model = state.facts.at("model.path", state.draft.text("model.path"))
    missing = hub_files.missing(manifest, state.family, is_folder=model is not None and model.is_folder)
    obtainable = all(hub_files.can_make(row, manifest) for row in missing)
    return HubFacts(missing, hub_reach.reach(wait_s) if missing else "unknown", obtainable)


def _with_model(state: State) -> State:
    """The job with its model recognised from its header."""
    path = state.draft.text("model.path")
    found, error = recognise(Path(path)) if path else (None, "")
    return state.with_facts(detection=found, detection_error=error, companions=None)


def _with_parts(state: State) -> State:
    """The job with its companion files recognised from their headers."""
    named = {part.name: path for part in fields.parts() if (path := state.draft.text(part.path))}
    seen = {part: recognise(Path(path)) for part, path in named.items()}
    return state.with_facts(parts={part: found or error for part, (found, error) in seen.items()})


def _native(state: State, backend: Backend) -> Mapping[str, Any]:
    """The native settings for an engine; {} if they are not valid, which is a Problem."""
    tables = state.draft.values.get("native")
    return tables.get(backend.manifest.id, {}) if isinstance(tables, Mapping) and is_native(tables) else {}


def _vocabularies(model: str) -> Iterator[Path]:
    """The places where engines read the vocabulary of CLIP's tokenizer from, or have downloaded it to.

    Source: sd-scripts, library/strategy_base.py, _load_tokenizer; huggingface_hub, the layout of its cache.
    """
    yield places.models() / TOKENIZERS / CLIP.replace("/", "_") / MERGES
    if model:
        yield places.typed(model) / "tokenizer" / MERGES
    yield from (hub_files.hub_cache() / f"models--{CLIP.replace('/', '--')}" / "snapshots").glob(f"*/{MERGES}")


def _any_engine(state: State) -> Backend | None:
    """The engine whose rules are used for images if there is no model yet: the one for the most common family."""
    return choice.choose("sdxl", state.engines, state.facts.engines)
