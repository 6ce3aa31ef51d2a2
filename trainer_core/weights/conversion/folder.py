"""Plans a folder in the diffusers layout from one file: its components, their configs, and its tokenizers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer_core.errors import WeightsError
from trainer_core.models.renaming import Form, building
from trainer_core.models.renaming.building import Built
from trainer_core.weights.conversion import configs, pipelines, single
from trainer_core.weights.conversion.inputs import Input
from trainer_core.weights.conversion.pipelines import Component, Pipeline, Tokenizer

WEIGHTS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
"""The name of a component's weights, without its ending, by library."""


@dataclass(frozen=True)
class Folder:
    """A folder: the tensors of each component, its text files, files that are copied, and sentences for the user."""

    components: Mapping[str, Mapping[str, Built]]
    stems: Mapping[str, str]
    texts: Mapping[str, str]
    copies: Mapping[str, Path]
    notes: tuple[str, ...]
    identities: tuple[tuple[str, str, int, str], ...]
    """Unit matrices: the component, the name, the size, and the dtype."""


def planned(source: Input, tensors: Mapping[str, Built], tokenizers: Mapping[str, Path]) -> Folder:
    """The folder for a model file. `tokenizers` are the folders of those that are on this machine, by component.

    Raises:
        WeightsError: Easel makes no folders of this family, or the file lacks a part.
        RenamingError: its tensors do not have the names that they seem to have.
    """
    found = source.found
    pipeline = pipelines.of(found.family)
    if found.apart:
        raise WeightsError(
            f"Easel makes no folder of this model. {found.apart}", "Use the folder that its authors publish."
        )
    held, components, identities = {}, {}, []
    for part in pipeline.parts:
        own = _component(tensors, part, found.prefix)
        if own is None:
            if not part.optional:
                raise WeightsError(f"The file has no {part.component}.", "Put it in first: name its file, too.")
            continue
        held[part.component], components[part.component] = part, own
        if part.projection and "text_projection.weight" not in own:
            # Source: diffusers loaders/single_file_utils.py, create_diffusers_clip_model_from_ldm.
            word = own["text_model.embeddings.token_embedding.weight"]
            identities.append((part.component, "text_projection.weight", word.shape[1], word.dtype))
    texts = _texts(source, pipeline, held, components, tokenizers)
    stems = {name: f"{name}/{WEIGHTS[part.library]}" for name, part in held.items()}
    copies = {
        f"{name}/{file}": place / file
        for name, place in tokenizers.items()
        for file in (
            *_tokenizer(pipeline, name).files,
            *(each for each in _tokenizer(pipeline, name).more if (place / each).is_file()),
        )
    }
    notes = _notes(source, pipeline, held, tokenizers)
    return Folder(components, stems, texts, copies, notes, tuple(identities))


def wanted_tokenizers(family: str | None) -> Mapping[str, Tokenizer]:
    """The tokenizers of a family's folder, by component."""
    known = pipelines.tokenizers()
    return {name: known[kind] for name, kind in pipelines.of(family).tokenizers.items()}


def _component(tensors: Mapping[str, Built], part: Component, prefix: str) -> dict[str, Built] | None:
    roots = (part.prefix, *part.also, *((prefix,) if part.library == "diffusers" and part.component != "vae" else ()))
    form = next(filter(None, (single.form_in(tensors, part, root) for root in roots)), None)
    if form is None:
        return None
    return building.converted(part.kind, tensors, form, Form(part.folder_layout, ""))


def _texts(
    source: Input,
    pipeline: Pipeline,
    held: Mapping[str, Component],
    components: Mapping[str, Mapping[str, Built]],
    tokenizers: Mapping[str, Path],
) -> dict[str, str]:
    shapes = {name: {key: each.shape for key, each in own.items()} for name, own in components.items()}
    try:
        texts = {f"{name}/config.json": configs.component(part, shapes[name]) for name, part in held.items()}
    except (KeyError, ValueError, IndexError, StopIteration) as error:
        raise WeightsError(
            f"The file lacks tensors that its config needs ({error}).", "Download the model again."
        ) from error
    first = pipeline.parts[0].component
    texts["scheduler/scheduler_config.json"] = configs.scheduler(pipeline, source.found, shapes[first])
    given = {name: pipeline.tokenizers[name] for name in tokenizers}
    texts["model_index.json"] = configs.model_index(pipeline, held, given)
    return {name: json.dumps(table, indent=2) + "\n" for name, table in texts.items()}


def _tokenizer(pipeline: Pipeline, name: str) -> Tokenizer:
    return pipelines.tokenizers()[pipeline.tokenizers[name]]


def _notes(
    source: Input, pipeline: Pipeline, held: Mapping[str, Component], tokenizers: Mapping[str, Path]
) -> tuple[str, ...]:
    notes = []
    found = source.found
    if found.prediction in ("epsilon", "v_prediction"):
        how = "as the file says" if found.is_prediction_certain else "which is usual; the file does not say it"
        notes.append(f"The scheduler is set to predict {found.prediction}, {how}.")
    if lacking := [part.component for part in pipeline.parts if part.component not in held]:
        notes.append(f"The file has no {' and no '.join(lacking)}; name them when you load the folder.")
    for name, kind in pipeline.tokenizers.items():
        if name not in tokenizers:
            tokenizer = pipelines.tokenizers()[kind]
            notes.append(
                f"The tokenizer of {tokenizer.title} is not on this machine, so {name} is not in the folder, and diffusers "
                f"must be given it. It is in {tokenizer.sources[0][0]}; a folder with it can be named."
            )
    if pipeline.parts[1].kind == "clip_h":
        notes.append("The last layer of the text encoder, which Stable Diffusion 2 does not use, is not in the folder.")
    return tuple(notes)
