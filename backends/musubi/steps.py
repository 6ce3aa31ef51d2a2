"""The three commands of a job: encode the images, encode the captions, train.

Source: cache_latents.py and cache_text_encoder_outputs.py, setup_parser_common, and the programs of each family.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backends.musubi.cell import MusubiCell
from trainer_core import places
from trainer_core.engines.seam import Place
from trainer_core.jobs.spec import Step
from trainer_core.plan.sections import TrainingPlan

PACKAGES = PurePosixPath("src")
PROGRAMS = PACKAGES / "musubi_tuner"
RESUME = Path(__file__).parent / "inside" / "resume.py"


def steps(
    plan: TrainingPlan, place: Place, cell: MusubiCell, native: Mapping[str, Any], config: Path, dataset: Path
) -> tuple[Step, ...]:
    """The commands in their order. What is in the cache folder of the run already is not encoded again."""
    shared = ("--dataset_config", str(dataset), "--skip_existing")
    captions = ("--text_encoder", absolute(plan.model.qwen), "--batch_size", "1")
    if cell.captions_in_8_bits and native.get(cell.captions_in_8_bits):
        captions += (f"--{cell.captions_in_8_bits}",)
    runs = (
        ("encode images", (_program(place, cell.latents), *shared, "--vae", absolute(plan.model.vae))),
        ("encode captions", (_program(place, cell.captions), *shared, *captions)),
        ("train", _train(place, cell, config)),
    )
    variables = environment(place)
    return tuple(Step(name, (str(place.python), *arguments), variables) for name, arguments in runs)


def _train(place: Place, cell: MusubiCell, config: Path) -> tuple[str, ...]:
    program = (_program(place, cell.program), "--config_file", str(config))
    found = place.resume
    if found is None:
        return program
    counted = ("--step", str(found.step), "--schedule-from", str(found.schedule_from))
    if found.rate_times != 1:
        counted += ("--rate-times", str(found.rate_times))
    return (str(RESUME), "--script", program[0], *counted, "--", *program[1:])


def _program(place: Place, name: str) -> str:
    return str(_checkout(place) / PROGRAMS / name)


def _checkout(place: Place) -> Path:
    return place.checkout or place.run


def environment(place: Place) -> dict[str, str]:
    """What the engine's processes need beyond the user's environment."""
    variables = {
        "PYTHONPATH": str(_checkout(place) / PACKAGES),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if place.options.get("offline"):
        variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return variables


def absolute(path: str) -> str:
    """The absolute path: the engine runs in the run folder, not in the user's working directory."""
    return str(places.typed(path).absolute())
