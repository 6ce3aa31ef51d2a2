"""musubi-tuner's own parsers and dataset code are asked about everything that Easel renders for it.

Skipped, with the reason, where the engine is not installed; it takes half a minute to load.
"""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from backends.musubi import backend, render
from backends.musubi.dump_options import PARSERS
from tests.support.engine_parsers import ask, kinds
from tests.support.musubi_plans import CELLS, EDITS, VARIANTS, full_plan, place
from trainer_core.engines.seam import JobSpec, Place
from trainer_core.plan.sections import TrainingPlan

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]
SHOWN = "shown"


def plans() -> Iterator[tuple[str, TrainingPlan]]:
    """Plans by title: each cell in each variant, each name of a model, network, optimizer and schedule."""
    for family, method in CELLS:
        for variant, values in VARIANTS.items():
            yield f"{family} {variant}", full_plan(family, method, **values)
        for variant in backend.manifest.families[family].cell(method).flavours:
            yield f"{family} {variant}", full_plan(family, method, model__variant=variant)
        if family in EDITS:
            yield f"{family} pairs", full_plan(family, method, **EDITS[family])
        for algorithm in backend.manifest.families[family].algorithms:
            yield f"{family} {algorithm}", full_plan(family, method, network__algorithm=algorithm)
    for optimizer in backend.manifest.optimizers:
        yield optimizer, full_plan("qwen_image", optimizer__name=optimizer)
    for scheduler in backend.manifest.schedulers:
        yield scheduler, full_plan("qwen_image", schedule__scheduler=scheduler)


def question(job: JobSpec, folder: Path) -> dict:
    """A job for `real_parser_musubi.py`, with its files in a folder."""
    for path, text in job.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    commands = [list(step.argv[1:]) for step in job.steps if not step.name.startswith("list pairs")]
    setup = PARSERS[Path(commands[-1][0]).stem]
    return {
        "config": str(folder / render.CONFIG),
        "dataset": str(folder / render.DATASET),
        "setup": setup,
        "commands": commands,
    }


def real(folder: Path, family: str, **values: object) -> dict:
    """A job with two images and their control images, all of them drawn, whose list is made."""
    where = replace(place(), run=folder, dataset=folder / "dataset")
    plan = full_plan(family, dataset__resolution=256, dataset__bucket_step=16, **{**EDITS[family], **values})
    return _with_images(plan, where)


def _with_images(plan: TrainingPlan, where: Place) -> dict:
    (first,) = plan.folders
    sizes = {where.images(first): (96, 64), **dict(zip(where.controls(first), ((64, 64), (32, 96)), strict=False))}
    for path, size in sizes.items():
        path.mkdir(parents=True)
        for name in ("1-a", "2-b_1"):
            Image.new("RGB", size, "red").save(path / f"{name}.png")
    for name in ("1-a", "2-b_1"):
        (where.images(first) / f"{name}.txt").write_text(f"edit {name}\n")
    job = backend.render(plan, where)
    asked = question(job, where.run)
    for step in job.steps:
        if step.name.startswith("list pairs"):
            subprocess.run(["python3", *step.argv[1:]], check=True, capture_output=True)
    return asked


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("musubi")
    jobs = {
        title: question(backend.render(plan, place()), folder / str(at)) for at, (title, plan) in enumerate(plans())
    }
    jobs |= {f"real {family}": real(folder / f"real_{family}", family) for family in EDITS}
    jobs["real square"] = real(folder / "real_square", "flux", dataset__bucketing=False)
    bad = question(backend.render(full_plan("qwen_image"), place()), folder / "bad")
    config, dataset = Path(bad["config"]), Path(bad["dataset"])
    config.write_text(
        config.read_text().replace("network_dim", "network_dimension").replace("seed = 42", 'seed = "42"')
    )
    dataset.write_text(dataset.read_text().replace("num_repeats = 1", 'num_repeats = "1"'))
    bad["commands"] = [[*bad["commands"][0], "--nonsense"], *bad["commands"][1:]]
    jobs["wrong"] = bad
    return ask("musubi", jobs, folder)


def test_musubi_knows_everything_it_is_given(answers):
    assert len(answers) > 50
    said = {
        title: [each for each in found if each["kind"] != SHOWN] for title, found in answers.items() if title != "wrong"
    }
    assert {title: found for title, found in said.items() if found} == {}


def test_musubi_is_asked(answers):
    assert kinds(answers["wrong"]) == {
        ("unknown", "network_dimension"), ("type", "seed"), ("dataset", ""), ("refused", "qwen_image_cache_latents"),
    }  # fmt: skip


def test_each_image_is_trained_with_its_own_control_images(answers):
    def shown(title: str) -> dict[str, str]:
        return {each["name"]: each["message"] for each in answers[f"real {title}"] if each["kind"] == SHOWN}

    names = ("1-a", "2-b_1")
    # Each control image keeps its own shape; both have as many pixels as the image.
    both = {name: f"edit {name}: 304x208 256x256 144x448" for name in names}
    assert shown("qwen_image") == both
    assert shown("flux2") == both
    assert shown("flux") == {name: f"edit {name}: 304x208 256x256" for name in names}
    assert shown("square") == {name: f"edit {name}: 256x256 256x256" for name in names}


def test_the_program_and_the_names_of_a_file_of_tables_are_those_of_a_claim():
    """A file that is asked about is that of the job: its tables are read by the program of the last command."""
    for family, method in CELLS:
        job = backend.render(full_plan(family, method), place())
        assert Path(job.steps[-1].argv[1]).stem in PARSERS
        assert tomllib.loads(job.files[render.CONFIG])
