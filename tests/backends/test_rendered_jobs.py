"""What Easel renders, put to the engines' own parsers: nothing is unknown to them, nothing of another type than they read.

Every cell, in plans that between them set most of what there is; every kind of network, optimizer and schedule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.kohya import backend as kohya
from backends.kohya import render as kohya_render
from backends.simpletuner import backend as simpletuner
from backends.simpletuner import render as simpletuner_render
from tests.backends import test_kohya, test_simpletuner
from tests.backends.test_real_parsers import ask
from trainer_core.backend import Backend
from trainer_core.plan.sections import TrainingPlan

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]
NAMES_AND_TYPES = {"unknown", "type", "choice", "dataset", "data"}
"""What a parser says of names and values. What it refuses of whole configurations is for the tests of rules."""


def plans(backend: Backend, module: Any) -> Iterator[tuple[str, TrainingPlan]]:
    """Plans by title: each cell in each variant, and one family in everything it can choose."""
    for family, method in module.CELLS:
        for variant, values in module.VARIANTS.items():
            plain = {**values, "native": {}} if "native" in values else values
            yield f"{family} {method} {variant}", module.full_plan(family, method, **plain)
    for algorithm in backend.manifest.families["sdxl"].algorithms:
        yield algorithm, module.full_plan("sdxl", "lora", network__algorithm=algorithm)
    for optimizer in backend.manifest.optimizers:
        yield optimizer, module.full_plan("sdxl", "lora", optimizer__name=optimizer)
    for scheduler in backend.manifest.schedulers:
        yield scheduler, module.full_plan("sdxl", "lora", schedule__scheduler=scheduler)


def wrong(answers: list[list[dict[str, str]]], titles: list[str]) -> dict[str, list[dict[str, str]]]:
    """What the parsers said against names and values, by the title of the plan."""
    said = {
        title: [each for each in found if each["kind"] in NAMES_AND_TYPES]
        for title, found in zip(titles, answers, strict=True)
    }
    return {title: found for title, found in said.items() if found}


def test_sd_scripts_knows_everything_it_is_given(tmp_path: Path):
    jobs, titles = [], []
    for number, (title, plan) in enumerate(plans(kohya, test_kohya)):
        files = kohya.render(plan, test_kohya.place()).files
        script = kohya.manifest.families[plan.model.family].cell(plan.model.method)["script"]
        (config := tmp_path / f"{number}.toml").write_text(files[kohya_render.CONFIG])
        (dataset := tmp_path / f"{number}_dataset.toml").write_text(files[kohya_render.DATASET])
        jobs.append({"script": script, "config": str(config), "dataset": str(dataset)})
        titles.append(title)
    assert wrong(ask("kohya", jobs, tmp_path), titles) == {}


def test_simpletuner_knows_everything_it_is_given(tmp_path: Path):
    jobs, titles = [], []
    for number, (title, plan) in enumerate(plans(simpletuner, test_simpletuner)):
        files = simpletuner.render(plan, test_simpletuner.place()).files
        folder = tmp_path / str(number)
        folder.mkdir()
        for path, text in files.items():
            (folder / path.name).write_text(text)
        config = json.loads(files[simpletuner_render.CONFIG])
        config = {key: _moved(value, folder) for key, value in config.items()}
        (folder / "config.json").write_text(json.dumps(config))
        jobs.append({"config": str(folder / "config.json"), "data": str(folder / simpletuner_render.DATA.name)})
        titles.append(title)
    assert wrong(ask("simpletuner", jobs, tmp_path), titles) == {}


def _moved(value: Any, folder: Path) -> Any:
    """A path of a rendered file, where the file lies here; anything else as it is."""
    if isinstance(value, str) and (folder / Path(value).name).is_file():
        return str(folder / Path(value).name)
    return value
