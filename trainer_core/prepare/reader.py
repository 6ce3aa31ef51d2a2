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
from trainer_core.engines.status import EngineStatus
from trainer_core.errors import DatasetError, EaselError
from trainer_core.install import choice, hub_files, hub_reach
from trainer_core.install.hub_files import TOKENIZERS
from trainer_core.models import variants
from trainer_core.plan import fields
from trainer_core.prepare import paths
from trainer_core.problems import Fix, Problem

if TYPE_CHECKING:
    from trainer_core.datasets.rules import DatasetRules
    from trainer_core.datasets.scan import Dataset
    from trainer_core.engines.seam import Backend
    from trainer_core.models.detection import Detection
    from trainer_core.models.library import Library
    from trainer_core.plan.sections import TrainingPlan
    from trainer_core.plan.subsets import ImageFolder
    from trainer_core.prepare.state import State

MASKS, SELECTION = "dataset.masks", "dataset.selection"
CLIP, MERGES = "openai/clip-vit-large-patch14", "merges.txt"


class FactsReader:
    """Reads all files while a job is prepared. `quick`: whether a scan reads only the headers of images."""

    def __init__(self, quick: bool = True) -> None:
        self.quick = quick
        self.is_elsewhere = False
        """Whether another machine trains: then nothing is known of the Hub there."""
        self.engines_there: Mapping[str, EngineStatus] | None = None
        """The engines of the other machine, by id; None if they are not known: then all count as installed."""
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
        state = state.with_facts(paths=paths.look(state.draft.values, is_elsewhere=self.is_elsewhere))
        return state.with_facts(hub=None if self.is_elsewhere else _hub(state))

    def with_engine(self, state: State, engine: Backend) -> State:
        """The job as it would be with an engine, for a comparison: its images are not read again by the rules of that engine."""
        state = self._with_companions(state.use_engine(engine))
        state = state.with_facts(paths=paths.look(state.draft.values, is_elsewhere=self.is_elsewhere))
        return state.with_facts(hub=None if self.is_elsewhere else _hub(state))

    def look(self, state: State, wait_s: float = 0.0) -> State:
        """The job with facts that can change from outside: its paths, the installed engines and their trials, and the Hub.

        It waits so many seconds at most for the answer whether the Hub can be reached.
        """
        device = state.facts.machine.accelerator.name
        engines = choice.statuses(state.engines, device)
        if self.is_elsewhere:
            usual = EngineStatus(installed=True)
            engines = {name: (self.engines_there or {}).get(name, usual) for name in engines}
        state = state.with_facts(paths=paths.look(state.draft.values, is_elsewhere=self.is_elsewhere), engines=engines)
        if self.is_elsewhere:
            return state.with_facts(hub=None)
        return state.with_facts(hub=_hub(state, wait_s))

    def read_images(self, state: State, quick: bool) -> State:
        """The job with its dataset scanned by the rules of its engine."""
        from trainer_core.datasets import clip

        text, plan = state.draft.text, state.draft.sketch()
        backend = state.backend or _any_engine(state)
        first, *others = plan.folders

        def scanned(folder: ImageFolder) -> Dataset | str:
            if not folder.path or backend is None:
                return ""
            try:
                return _scanned(folder, plan, backend.manifest.dataset, _native(state, backend), quick)
            except DatasetError as error:
                return str(error)

        found = scanned(first)
        if isinstance(found, str):
            return state.with_facts(dataset=None, dataset_error=found, clip=None)
        every = {each.name: scanned(each) for each in others}
        of_class = every.pop("class_images", "")
        asked = {each.name: each.source for each in others if each.name in every}
        dataset = dataclasses.replace(found, more=every, asked=asked)
        if isinstance(of_class, str):
            dataset = dataclasses.replace(dataset, class_error=of_class)
        else:
            dataset = dataclasses.replace(dataset, class_images=of_class)
        return state.with_facts(dataset=dataset, dataset_error="", clip=clip.load(_vocabularies(text("model.path"))))

    def _with_companions(self, state: State) -> State:
        """The job with the companion files that its model needs and the library has."""
        found, backend = state.facts.detection, state.backend
        if found is None or backend is None or not state.scope.needed_parts():
            return state
        from trainer_core.models import library

        self.library = self.library or library.scan()
        return _with_parts(state.with_facts(companions=parts.find(self.library, found, backend.manifest)))


def _scanned(
    folder: ImageFolder, plan: TrainingPlan, rules: DatasetRules, native: Mapping[str, Any], quick: bool
) -> Dataset:
    """What an engine with these rules and native settings reads of an image folder of a plan.

    A selection or masks that cannot be read are Problems, so that the rest is known.

    Raises:
        DatasetError: the folder cannot be read.
    """
    from trainer_core.curation import scores
    from trainer_core.datasets import holding_out, images, masks, pairs, scan, selected

    problems = []
    own = {"wildcards": folder.caption_choices, "alpha": folder.alpha_masks}
    given = {option: on for option, effect in rules.native.items() if (on := own.get(effect)) is not None}
    root = places.typed(places.unquoted(folder.path))
    only, word = None, plan.dataset.trigger
    try:
        only = selected.images(root, folder.selection) if folder.selection else None
    except DatasetError as error:
        fix = Fix("Use all images", {SELECTION: ""})
        problems.append(Problem(SELECTION, "error", str(error), fix))
    controls = {f"dataset.{name}": path for name, path in folder.controls_given.items()}
    found = scan.scan(
        root,
        rules.with_native({**native, **given}),
        caption_extension=folder.caption_extension,
        # A folder with a caption of its own for images without one need not have the trigger word.
        trigger=word if folder.caption == word and not folder.is_regularisation else None,
        quick=quick,
        skip_unreadable=plan.dataset.skip_unreadable,
        only=only,
        # Control images in a folder below are not trained.
        apart=[places.typed(places.unquoted(path)) for path in controls.values()],
        # What was seen of whole images before, such as damage, is known without decoding them again.
        inspect=scores.inspector(root, scores.stored(root)) if quick and places.is_folder(root) else images.inspect,
    )
    if folder.masks and found.images:
        try:
            seen = masks.find(found, places.typed(places.unquoted(folder.masks)), MASKS)
        except DatasetError as error:
            problems.append(Problem(MASKS, "error", str(error), Fix("Use none", {MASKS: ""})))
        else:
            found = dataclasses.replace(found, masks=seen.files)
            problems += seen.problems
    if controls:
        found = pairs.paired(found, controls, only=plan.dataset.only_pairs)
    found = dataclasses.replace(found, problems=(*found.problems, *problems), selections=selected.sizes(root))
    return holding_out.held_out(found, folder.validation_share)


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
    if claim is None or not claim.hub_of(""):
        return None
    model = state.facts.at("model.path", state.draft.text("model.path"))
    variant = state.draft.text("model.variant") or variants.likely(state.family, state.facts.detection)
    missing = hub_files.missing(manifest, state.family, variant, is_folder=model is not None and model.is_folder)
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
