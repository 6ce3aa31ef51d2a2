"""The three commands of a job: encode the images, encode the captions, train.

Source: cache_latents.py and cache_text_encoder_outputs.py, setup_parser_common, and the programs of each family.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backends.musubi.cell import MusubiCell, cell_of, told
from backends.musubi.dataset import cache, encoded, listed, pairs_file
from trainer_core import places
from trainer_core.engines import loop_resume
from trainer_core.engines.manifest import BackendManifest
from trainer_core.engines.seam import Place
from trainer_core.jobs.spec import Step
from trainer_core.plan.sections import TrainingPlan
from trainer_core.plan.subsets import ImageFolder

PACKAGES = PurePosixPath("src")
PROGRAMS = PACKAGES / "musubi_tuner"
LOOP = Path(__file__).parent / "inside" / "loop.py"
PAIRS = Path(__file__).parent / "inside" / "pairs.py"
CAPTIONS = Path(__file__).parent / "inside" / "captions.py"


def steps(
    plan: TrainingPlan, place: Place, manifest: BackendManifest, native: Mapping[str, Any], config: Path, dataset: Path
) -> tuple[Step, ...]:
    """The commands in their order. What is in the cache folder of the run already is not encoded again."""
    cell, variables = cell_of(plan, manifest), environment(place)
    named = [part for option, name in told(plan, cell).items() for part in (f"--{option}", name)]
    shared = ("--dataset_config", str(dataset), "--skip_existing", *named)
    encoders = ((option, part) for part, option in manifest.families[plan.model.family].parts.items() if part != "vae")
    files = [each for option, part in encoders for each in (f"--{option}", absolute(getattr(plan.model, part)))]
    captions = (*files, "--batch_size", "1")
    if cell.captions_in_8_bits and native.get(cell.captions_in_8_bits):
        captions += (f"--{cell.captions_in_8_bits}",)
    lists = ((f"list pairs {number}", _list(place, *each)) for number, each in enumerate(listed(plan, place), 1))
    runs = (
        *lists,
        ("encode images", (_program(place, cell.latents), *shared, "--vae", absolute(plan.model.vae))),
        ("encode captions", (*_unless_encoded(plan, place), _program(place, cell.captions), *shared, *captions)),
        ("train", _train(place, cell, config)),
    )
    return tuple(Step(name, (str(place.python), *arguments), variables) for name, arguments in runs)


def _list(place: Place, folder: ImageFolder, controls: tuple[Path, ...]) -> tuple[str, ...]:
    """Lists the images of a folder with their control images, which only this machine knows by name."""
    target, images = place.run / pairs_file(folder), place.images(folder)
    return (str(PAIRS), str(target), folder.caption_extension, str(images), *map(str, controls))


def _unless_encoded(plan: TrainingPlan, place: Place) -> tuple[str, ...]:
    """What the command for captions begins with in a continued run, whose captions are usually encoded already."""
    if place.resume is None:
        return ()
    folders = [(str(place.images(each)), each.caption_extension, str(cache(place, each))) for each in encoded(plan)]
    return (str(CAPTIONS), *(part for each in folders for part in ("--images", *each)), "--")


def _train(place: Place, cell: MusubiCell, config: Path) -> tuple[str, ...]:
    program = (_program(place, cell.program), "--config_file", str(config))
    return loop_resume.command(program, LOOP, place.resume)


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
