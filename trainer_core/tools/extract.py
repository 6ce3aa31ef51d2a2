"""The tool that makes a LoRA of the difference between two models, and the kind of job that runs it.

`python -m trainer_core.tools.extract` is the program of such a job: it reads `settings.json` in the current folder, and writes
`made.json` or `failure.json` there. `outlook` says from the headers what it will make, without numpy.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer_core.errors import AmbiguousModelError, WeightsError
from trainer_core.jobs import own_program
from trainer_core.jobs.job import Job
from trainer_core.models import detection, header
from trainer_core.models.families import load_families
from trainer_core.models.header import Header, TensorInfo
from trainer_core.models.header.tensors import shown
from trainer_core.text import printable
from trainer_core.tools import making, recipe
from trainer_core.tools.outlook import Outlook
from trainer_core.weights import dtypes, new_names
from trainer_core.weights.merging import inputs
from trainer_core.weights.networks import naming, pairing
from trainer_core.weights.networks.naming import ENDINGS, NAMINGS, Trained
from trainer_core.weights.networks.pairing import Choice, Plan
from trainer_core.weights.networks.places import Layer

if TYPE_CHECKING:
    from trainer_core.weights.networks.extracting import Approximation
    from trainer_core.weights.reading import Weights
    from trainer_core.weights.writing import Entry

KIND = "extract"
DTYPES = dtypes.NAMED
HIGHEST_RANK = 4096
LEAST_CHANGE = 1e-6
"""The relative difference below which a layer counts as the same, where both files have the same dtype."""
_PROCESS_BYTES = 200 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an extraction.

    `tuned` and `base` are models of one family; `target` is the new file, "" for one next to the tuned model. `rank` is the rank of
    each module, or with `energy` (a share of the squared difference of each layer, such as 0.95; 0 for none) the highest one.
    `conv_rank` is that of convolutions over several pixels, 0 to leave them out. `denoiser` and `text` say which parts are compared.
    `naming` is one of `naming.NAMINGS`. `least` is the relative difference below which a layer is left out; 0 leaves out only what
    is the same, and what rounding to another dtype explains. `family` is that of the models, if their headers do not show it.
    `prediction` is what those models predict whose files do not say so.
    """

    tuned: str
    base: str
    target: str = ""
    rank: int = 32
    conv_rank: int = 0
    energy: float = 0.0
    denoiser: bool = True
    text: bool = True
    naming: str = "sd-scripts"
    dtype: str = "fp16"
    least: float = 0.0
    family: str = ""
    prediction: str = ""
    title: str = ""
    sha256: tuple[str, ...] = ()


def outlook(settings: Settings) -> Outlook:
    """What will be made at most, from the headers of the models: layers without a difference are left out.

    Raises:
        HeaderError: a model cannot be read.
        WeightsError: a setting is wrong, the models do not fit together, or the disk or the memory does not suffice.
    """
    plan, target = planned(settings), _target(settings)
    making.check_target(target, [plan.tuned.path, plan.base.path])
    if making.twice({"tuned": plan.tuned.path, "base": plan.base.path}):
        raise WeightsError("The tuned model and the base are the same file.", "Choose the model it was trained from.")
    dtype, size, most = DTYPES[settings.dtype], 0, 0
    for pair in plan.pairs:
        rank = _stored_rank(pair.tuned, settings)
        size += sum(TensorInfo(dtype, shape).size_bytes for shape in naming.shapes(pair.tuned, rank)) + 4
        most = max(most, math.prod(pair.tuned.layer.shape) * 4)
    found = Outlook(
        target=target,
        size_bytes=size,
        # The difference, the base, and a copy while it is decomposed; all results, which are written at the end.
        memory_bytes=_PROCESS_BYTES + 3 * most + size * 4 // TensorInfo(dtype, (1,)).size_bytes,
        tensors=3 * len(plan.pairs),
        changed=3 * len(plan.pairs),
        notes=plan.notes,
        seconds=making.seconds_for(KIND, size),
        is_most=True,
    )
    making.check_room(found)
    return found


def planned(settings: Settings) -> Plan:
    """The extraction, checked.

    Raises:
        HeaderError: a model cannot be read.
        WeightsError: a setting is wrong, or the models do not fit together.
    """
    _check(settings)
    if settings.prediction not in inputs.PREDICTIONS:
        raise WeightsError(
            f"There is no prediction {settings.prediction!r:.40}.", f"There are: {', '.join(inputs.PREDICTIONS[1:])}."
        )
    tuned, base = (header.read(making.source(each)) for each in (settings.tuned, settings.base))
    choice = Choice(settings.naming, settings.denoiser, settings.text, settings.conv_rank > 0)
    plan = pairing.planned(tuned, base, settings.family, choice)
    if settings.denoiser:
        _check_predictions(tuned, base, settings.prediction)
    return plan


def _check_predictions(tuned: Header, base: Header, stated: str) -> None:
    """Raises if two models predict different things: their difference is no style, and useless on any model."""
    try:
        found = [detection.detect(each) for each in (tuned, base)]
    except AmbiguousModelError:
        # The user has said the family, and neither header says what the model predicts.
        return
    one, other = (inputs.predicts(each, stated) for each in found)
    if one and other and one != other:
        said = ", ".join(
            inputs.said_of(shown(each.path), seen, stated) for each, seen in zip((tuned, base), found, strict=True)
        )
        raise WeightsError(
            f"{said}. A LoRA of that difference would turn one prediction type into the other and make noise.",
            "Choose two models that predict the same, or state with --prediction what the models predict whose files do not say it.",
        )


def _check(settings: Settings) -> None:
    for name, value, known in (("naming", settings.naming, NAMINGS), ("dtype", settings.dtype, DTYPES)):
        if value not in known:
            raise WeightsError(f"There is no {name} {value!r:.40}.", f"There are: {', '.join(known)}.")
    if not 1 <= settings.rank <= HIGHEST_RANK or not 0 <= settings.conv_rank <= HIGHEST_RANK:
        raise WeightsError(
            f"The rank is {settings.rank}, and that of convolutions {settings.conv_rank}.",
            f"A rank can be from 1 to {HIGHEST_RANK}; 0 leaves the convolutions out.",
        )
    if not 0 <= settings.energy < 1:
        raise WeightsError(f"The energy is {settings.energy}.", "It can be from 0 (none) to just below 1.")
    if not 0 <= settings.least < 1:
        raise WeightsError(f"The least difference is {settings.least}.", "It can be from 0 to just below 1.")
    if not settings.denoiser and not settings.text:
        raise WeightsError("Neither the denoiser nor the text encoders are compared.", "Choose at least one of them.")


def start(settings: Settings) -> Job:
    """The job that extracts, started now.

    Raises:
        HeaderError, WeightsError: as with `outlook`.
        JobError: the job cannot be started.
    """
    found = outlook(settings)
    # The program runs in the folder of its job.
    tuned, base = (str(making.source(each)) for each in (settings.tuned, settings.base))
    return own_program.started(
        KIND, __name__, dataclasses.replace(settings, tuned=tuned, base=base, target=str(found.target))
    )


def run(settings: Settings, report: Callable[[str], None]) -> Path:
    """Extracts, and returns the path of the new file.

    Raises:
        HeaderError, WeightsError: as with `outlook`, or the models do not differ, or a file is damaged or has changed meanwhile.
        OSError: a file cannot be read or written.
    """
    return extracted(settings, report)[0]


def extracted(settings: Settings, report: Callable[[str], None]) -> tuple[Path, dict[str, Any]]:
    """As `run`, with the rank, the error and the relative difference of each module, and the error of all together."""
    from trainer_core.weights import writing
    from trainer_core.weights.reading import Weights

    report("Reading the headers")
    made = outlook(settings)
    plan = planned(settings)
    with Weights(making.source(settings.tuned)) as tuned, Weights(making.source(settings.base)) as base:
        found = _compute(plan, settings, tuned, base, report)
        if not found.results:
            raise WeightsError(
                "The two models have the same weights in every layer that a LoRA can change.", "Check the two files."
            )
        report("Computing the hashes of the inputs")
        ingredients = [recipe.hashed(each.header) for each in (tuned, base)]
        recipe.check(ingredients, settings.sha256)
        metadata = _metadata(plan, settings, made.target.stem, found, ingredients)
        report("Writing")
        tuned.check_unchanged()
        entries = _entries(found, settings)
        writing.write(made.target, entries, metadata, lambda *_: None, base.check_unchanged)
    for sentence in found.sentences():
        report(sentence)
    return made.target, {"error": found.error, "left_out": found.same, "modules": found.rows}


class _Found:
    """What has been computed: the results by the key of the module, a row for each, and how many layers are the same."""

    def __init__(self) -> None:
        self.results: dict[str, tuple[Approximation, tuple[int, ...]]] = {}
        self.rows: list[dict[str, Any]] = []
        self.same = 0
        self._missing, self._total = 0.0, 0.0

    def add(self, row: Trained, each: Approximation, norm: float, relative: float) -> None:
        """Adds the result of a layer; `norm` is that of its difference."""
        self.results[row.key] = each, row.layer.shape
        own = {"key": row.key, "rank": each.rank, "error": round(each.error, 6), "difference": _short(relative)}
        self.rows.append(own)
        self._total += norm**2
        self._missing += (each.error * norm) ** 2

    @property
    def error(self) -> float:
        """The norm of what the network misses of all differences, divided by that of the differences."""
        return round(math.sqrt(self._missing / self._total), 6) if self._total else 0.0

    def sentences(self) -> Iterator[str]:
        """What the user should know of the result."""
        ranks = [row["rank"] for row in self.rows]
        yield (
            f"The LoRA has {len(ranks)} modules of rank {min(ranks)} to {max(ranks)}, and misses {self.error:.1%} of the "
            "differences (the norm of what is missing, divided by that of the differences)."
        )
        worst = max(self.rows, key=lambda row: row["error"])
        yield f"It misses most of {worst['key']}: {worst['error']:.1%}."
        if self.same:
            yield f"{self.same} layers are the same in both models, or differ less than the files can hold."


def _check_numbers(key: str, *layers: tuple[Weights, Any]) -> None:
    """Says which model is damaged, where the difference of a layer is not finite.

    Raises:
        WeightsError: always.
    """
    from trainer_core.weights import reading

    if bad := [model for model, layer in layers if not all(model.is_finite(each.tensor) for each in layer.targets)]:
        raise reading.damaged(key, bad)
    raise WeightsError(f"The difference of {printable(key, 120)} is infinite.", "These models differ too much.")


def _compute(plan: Plan, settings: Settings, tuned: Weights, base: Weights, report: Callable[[str], None]) -> _Found:
    import numpy as np

    from trainer_core.weights.networks import extracting

    found, said_s = _Found(), 0.0
    for number, pair in enumerate(plan.pairs, start=1):
        row = pair.tuned
        each = extracting.difference((tuned, row.layer), (base, pair.base))
        if not np.isfinite(each.values).all():
            _check_numbers(row.key, (tuned, row.layer), (base, pair.base))
        stored = (_dtype(plan.tuned, row.layer), _dtype(plan.base, pair.base))
        least = max(settings.least, extracting.noise(*stored) or LEAST_CHANGE)
        if each.relative <= least:
            found.same += 1
        else:
            matrix = each.values.reshape(len(each.values), -1)
            made = extracting.approximate(matrix, _rank(row, settings), settings.energy, row.key)
            found.add(row, made, float(np.linalg.norm(matrix)), each.relative)
        if time.monotonic() - said_s > making.REST_S or number == len(plan.pairs):
            said_s = time.monotonic()
            report(f"Computed {number} of {len(plan.pairs)} layers")
    return found


def _entries(found: _Found, settings: Settings) -> list[Entry]:
    """The tensors of the new file."""
    import numpy as np

    from trainer_core.weights import numbers
    from trainer_core.weights.writing import Entry

    dtype, (up, down) = DTYPES[settings.dtype], ENDINGS[settings.naming]
    highest = max(row["rank"] for row in found.rows)
    entries = []
    for key, (each, shape) in found.results.items():
        rank, ones = each.rank, (1,) * (len(shape) - 2)
        left, right = each.up, each.down
        if settings.naming == naming.PEFT:
            # diffusers gives every module the alpha of one rank where a file states none, and reads no alpha with these names:
            # so all modules get the same rank, with zeros.
            rank = highest
            left, right = (np.pad(part, [(0, (highest - each.rank) * one) for one in side]) for part, side in ((left, (0, 1)), (right, (1, 0))))  # fmt: skip
        else:
            entries.append(Entry(f"{key}.alpha", "F32", (), lambda rank=rank: [np.array([rank], np.float32)]))
        for name, part, own in ((down, right, (rank, *shape[1:])), (up, left, (shape[0], rank, *ones))):
            entries.append(Entry(f"{key}{name}", dtype, own, lambda part=part: [numbers.stored(part, dtype)]))
    return entries


def _metadata(
    plan: Plan, settings: Settings, stem: str, found: _Found, ingredients: Sequence[recipe.Input]
) -> dict[str, str]:
    """What trainers write into a LoRA, so that other programs know it, and the recipe."""
    highest = max(row["rank"] for row in found.rows)
    conv = {"conv_dim": settings.conv_rank, "conv_alpha": settings.conv_rank} if settings.conv_rank else {}
    family = load_families()[plan.family]
    architecture = family.architecture.get("", "")
    own = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(highest if not settings.energy else "Dynamic"),
        "ss_network_alpha": str(highest if not settings.energy else "Dynamic"),
        "ss_network_args": json.dumps(conv) if conv else "",
        "ss_sd_model_name": plan.base.path.name,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{architecture}/lora" if architecture else "",
        "modelspec.implementation": "diffusers"
        if settings.naming == naming.PEFT
        else "https://github.com/Stability-AI/generative-models",
    }
    table = {
        key: value
        for key, value in dataclasses.asdict(settings).items()
        if key not in ("tuned", "base", "target", "sha256")
    }
    made = recipe.of(KIND, table, ingredients)
    kept = {key: value for key, value in own.items() if value}
    return recipe.metadata(kept, made, settings.title or stem)


def _rank(row: Trained, settings: Settings) -> int:
    return min(settings.conv_rank if row.is_conv else settings.rank, *row.sides)


def _stored_rank(row: Trained, settings: Settings) -> int:
    """The rank of a module in the file at most."""
    return max(settings.rank, settings.conv_rank) if settings.naming == naming.PEFT else _rank(row, settings)


def _dtype(model: Header, layer: Layer) -> str:
    return model.tensors[layer.targets[0].tensor].dtype


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _target(settings: Settings) -> Path:
    tuned = making.source(settings.tuned)
    if settings.target:
        return new_names.chosen(settings.target, tuned.parent)
    stem = re.sub(r"[^\w.-]+", "_", tuned.stem)[:150]
    return making.free(tuned.with_name(f"{stem}-lora-{settings.rank}.safetensors"))


kind = making.WeightsTool(KIND, "Extracting a LoRA", Settings, start)


def work(settings: Settings, report: Callable[[str], None]) -> Mapping[str, Any]:
    """Extracts; returns what was made."""
    path, told = extracted(settings, report)
    return {"path": str(path), **told}


if __name__ == "__main__":
    sys.exit(making.program(Settings, work))
