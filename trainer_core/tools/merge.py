"""The tool that merges two or three checkpoints into a new one, and the kind of job that runs it.

`python -m trainer_core.tools.merge` is the program of such a job: it reads `settings.json` in the current folder, and writes
`made.json` or `failure.json` there. `outlook` says from the headers what it will make, without numpy.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer_core import places
from trainer_core.errors import WeightsError
from trainer_core.files import from_table
from trainer_core.jobs import own_program
from trainer_core.jobs.job import Job
from trainer_core.models import header
from trainer_core.models.downloads.fetch import folder_for
from trainer_core.models.header import Header, TensorInfo
from trainer_core.text import printable
from trainer_core.tools import making, recipe
from trainer_core.tools.outlook import Outlook
from trainer_core.tools.recipe import Input as Ingredient
from trainer_core.tools.recipe import Recipe
from trainer_core.weights import new_names
from trainer_core.weights.dtypes import CHOICES, CHUNK
from trainer_core.weights.merging import inputs, matching, methods
from trainer_core.weights.merging.inputs import LETTERS, PREDICTIONS, Input
from trainer_core.weights.merging.matching import Choices, Match
from trainer_core.weights.merging.methods import PARTS, WEIGHT, Method

KIND = "merge"
LARGEST_SEED = 2**63 - 1
_OF_PREDICTION = ("modelspec.prediction_type", "modelspec.architecture", "ss_zero_terminal_snr")
_PROCESS_BYTES = 150 << 20
"""What the program needs without any weights: Python, numpy, the headers and small buffers."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a merge.

    `models` are two or three files, A, B and C; `target` the new file, "" for one in Easel's models folder. `parameters` are those
    of the method. `preset` and `blocks` (weights by label or pattern) or `block_weights` (all of them in order) replace the
    weight by block. `parts` says for a part "merge", "a", "b" or "c". `vae` is a VAE that replaces that of the models. `prediction`
    is what those models predict whose files do not say so. `seed` is that of the method's random numbers. `title` is the title in
    the metadata, "" for the name of the file. `sha256` are the hashes that the files must have, where a recipe is made again.
    """

    models: tuple[str, ...]
    target: str = ""
    method: str = "weighted_sum"
    parameters: Mapping[str, float] = field(default_factory=dict)
    preset: str = ""
    blocks: Mapping[str, float] = field(default_factory=dict)
    block_weights: tuple[float, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    vae: str = ""
    dtype: str = "same"
    prediction: str = ""
    seed: int = 0
    title: str = ""
    sha256: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A merge that has been checked: what `run` does."""

    models: tuple[Input, ...]
    vae: Header | None
    method: Method
    choices: Choices
    match: Match
    notes: tuple[str, ...]

    @property
    def headers(self) -> list[Header]:
        """The headers of all files that are read."""
        return [*(one.header for one in self.models), *([self.vae] if self.vae else [])]

    @property
    def size_bytes(self) -> int:
        """The size of the weights of the new file, in bytes."""
        return sum(TensorInfo(row.dtype, row.shape).size_bytes for row in self.match.rows)

    @property
    def memory_bytes(self) -> int:
        """The most memory that the work needs."""
        whole = max((row.numbers for row in self.match.rows if row.takes is None), default=0)
        narrow = max((row.numbers for row in self.match.rows if row.channels), default=0)
        return _PROCESS_BYTES + 40 * CHUNK + whole * self.method.reads_whole + 20 * narrow


def outlook(settings: Settings) -> Outlook:
    """What the merge will make, from the headers of the models.

    Raises:
        HeaderError: a model cannot be read.
        WeightsError: a setting is wrong, the models do not fit together, or the disk or the memory does not suffice.
    """
    plan, target = planned(settings), _target(settings)
    making.check_target(target, [one.header.path for one in plan.models])
    size = plan.size_bytes
    doubt = making.twice({one.letter.upper(): one.header.path for one in plan.models})
    found = Outlook(
        target=target,
        size_bytes=size,
        memory_bytes=plan.memory_bytes,
        tensors=len(plan.match.rows),
        changed=sum(row.takes is None for row in plan.match.rows),
        notes=(*filter(None, (doubt,)), *plan.notes),
        seconds=making.seconds_for(KIND, size),
        doubt=doubt,
    )
    making.check_room(found)
    return found


def planned(settings: Settings) -> Plan:
    """The merge, checked.

    Raises:
        HeaderError: a model cannot be read.
        WeightsError: a setting is wrong, or the models do not fit together.
    """
    method = methods.get(settings.method, len(settings.models))
    values = method.values(settings.parameters, len(settings.models))
    _check(settings, method)
    models = inputs.read([making.source(each) for each in settings.models])
    is_whole = not (settings.preset or settings.blocks or settings.block_weights or settings.parts)
    marks, notes = inputs.check(models, method, settings.prediction, values[WEIGHT], is_whole)
    choices = Choices(
        values=values,
        parts={part: settings.parts.get(part, "merge" if part in method.parts else "a") for part in PARTS},
        dtype=CHOICES[settings.dtype],
        preset=settings.preset,
        blocks=settings.blocks,
        block_list=settings.block_weights,
        marks=marks,
    )
    vae = header.read_file(making.source(settings.vae)) if settings.vae else None
    match = matching.match(models, method, choices, vae)
    idle = _without_effect(settings, method, models)
    told = (*notes, *idle, *_of_fp8(settings, match), *match.notes, *_by_block(settings, match))
    return Plan(tuple(models), vae, method, choices, match, told)


def _without_effect(settings: Settings, method: Method, models: Sequence[Input]) -> Iterator[str]:
    """Sentences about settings that the user chose and that change nothing."""
    by_block = settings.preset or settings.block_weights or settings.blocks
    if WEIGHT in settings.parameters and (settings.preset or settings.block_weights):
        yield f"The weight {settings.parameters[WEIGHT]:g} has no effect: each block has its own."
    if by_block and settings.parts.get("denoiser", "merge") != "merge":
        yield "The block weights have no effect on the denoiser, which is taken from one model."
    if settings.seed and not method.random:
        yield f"The seed has no effect: {method.title} uses no random numbers."
    if settings.prediction and all(one.detection.is_prediction_certain for one in models):
        yield "The stated prediction type has no effect: every file says what it predicts."


def _of_fp8(settings: Settings, match: Match) -> Iterator[str]:
    """A sentence about a result that is rounded to fp8 only because A is."""
    if settings.dtype == "same" and any(row.takes is None and row.dtype.startswith("F8_") for row in match.rows):
        yield "The result is written in fp8 as A, which rounds its numbers coarsely: choose another precision, such as fp16 or bf16."


def _by_block(settings: Settings, match: Match) -> Iterator[str]:
    if settings.preset or settings.block_weights or settings.blocks:
        yield f"Weights by block: {', '.join(f'{label} {weight:.3g}' for label, weight in match.blocks.items())}."


def _check(settings: Settings, method: Method) -> None:
    """Checks what does not depend on the models.

    Raises:
        WeightsError: a setting is wrong.
    """
    weight = method.parameters[WEIGHT]
    for label, value in [*settings.blocks.items(), *(("in the list", each) for each in settings.block_weights)]:
        methods.check_range(f"The weight of the block {printable(label, 40)}", value, weight.least, weight.most)
    letters = ("merge", *LETTERS[: len(settings.models)])
    for part, way in settings.parts.items():
        if part not in PARTS or way not in letters:
            raise WeightsError(
                f"{part!r:.40} cannot be {way!r:.40}.", f"Of {', '.join(PARTS)} each can be: {', '.join(letters)}."
            )
    for name, value, known in (("dtype", settings.dtype, CHOICES), ("prediction", settings.prediction, PREDICTIONS)):
        if value not in known:
            raise WeightsError(f"There is no {name} {value!r:.40}.", f"There are: {', '.join(filter(None, known))}.")
    if not 0 <= settings.seed <= LARGEST_SEED:
        raise WeightsError(f"The seed is {settings.seed}.", f"It can be from 0 to {LARGEST_SEED}.")


def start(settings: Settings) -> Job:
    """The job that merges, started now.

    Raises:
        HeaderError, WeightsError: as with `outlook`.
        JobError: the job cannot be started.
    """
    found = outlook(settings)
    # The program runs in the folder of its job.
    absolute = dataclasses.replace(
        settings,
        models=tuple(str(making.source(each)) for each in settings.models),
        target=str(found.target),
        vae=str(making.source(settings.vae)) if settings.vae else "",
    )
    return own_program.started(KIND, __name__, absolute)


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Merges, and returns the path of the new file.

    Raises:
        HeaderError, WeightsError: as with `outlook`, or a model is damaged or has changed meanwhile.
        OSError: a file cannot be read or written.
    """
    from trainer_core.weights import writing
    from trainer_core.weights.merging.entries import Merge

    report("Reading the headers")
    outlook(settings)
    plan, target = planned(settings), _target(settings)
    with Merge(plan.headers, plan.match, plan.method, plan.choices, settings.seed) as merge:
        report("Computing the hashes of the inputs")
        ingredients = [recipe.hashed(each) for each in plan.headers]
        recipe.check(ingredients, settings.sha256)
        title = settings.title or target.stem
        own = _recipe(settings, title, ingredients)
        names = [one.header.path.name for one in plan.models]
        metadata = recipe.metadata(_metadata(plan), own, title, names)
        report("Comparing the models")
        merge.compare(lambda done, of: report(f"Compared {done} of {of} tensors") if not done % 100 else None)
        report("Writing")
        writing.write(target, merge.entries(), metadata, making.Meter(report), merge.check_unchanged)
    return target


def _metadata(plan: Plan) -> dict[str, str]:
    """The metadata of A; what it says of the prediction type is that of the model as which the result predicts."""
    found = dict(plan.models[0].header.metadata)
    said = plan.models[LETTERS.index(plan.choices.marks)].header.metadata
    for key in _OF_PREDICTION:
        found.pop(key, None)
        if key in said:
            found[key] = said[key]
    return found


def _recipe(settings: Settings, title: str, ingredients: Sequence[Ingredient]) -> Recipe:
    """The recipe of a merge: its settings without folders."""
    table = dataclasses.asdict(dataclasses.replace(settings, title=title))
    for name in ("models", "target", "sha256"):
        del table[name]
    table["vae"] = Path(settings.vae).name
    return recipe.of(KIND, table, ingredients)


def again(text: str, folders: Sequence[Path], target: str) -> Settings:
    """The settings that make the file of a recipe again; `folders` are searched for its models, by name and size.

    Raises:
        WeightsError: this is no recipe of a merge, or a model is in none of the folders.
    """
    found = recipe.read(text, KIND)
    paths = [str(path) for path in recipe.find(found.inputs, folders)]
    count = len(paths) - bool(found.settings.get("vae"))
    table: dict[str, Any] = {
        **found.settings,
        "models": paths[:count],
        "vae": paths[count] if len(paths) > count else "",
        "target": target,
        "sha256": [each.sha256 for each in found.inputs],
    }
    return from_table(Settings, table, "The recipe", WeightsError)


def _target(settings: Settings) -> Path:
    """The path of the new file."""
    stems = [re.sub(r"[^\w.-]+", "_", Path(each).stem)[:40] for each in settings.models]
    folder = places.models() / folder_for(inputs.read([making.source(settings.models[0])])[0].detection)
    if settings.target:
        return new_names.chosen(settings.target, folder)
    return making.free(folder.absolute() / f"{'-'.join(stems)}-{settings.method}.safetensors")


kind = making.WeightsTool(KIND, "Merging checkpoints", Settings, start)


if __name__ == "__main__":
    sys.exit(making.program(Settings, run))
