"""The engines' own parsers are asked: they know everything that Easel renders, in the type they read, and find what is wrong.

Every cell, in plans that between them set most of what there is; every kind of network, optimizer and schedule. An engine
takes long to load, so all is put to it at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from backends.kohya import backend as kohya
from backends.kohya import render as kohya_render
from backends.simpletuner import backend as simpletuner
from backends.simpletuner import render as simpletuner_render
from tests.support import kohya_plans, simpletuner_plans
from tests.support.engine_parsers import ask, kinds
from trainer_core.engines.seam import Backend
from trainer_core.plan.sections import TrainingPlan

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]
NAMES_AND_TYPES = {"unknown", "type", "choice", "dataset", "data"}
"""What a parser says of names and values. What it refuses of whole configurations is for the tests of rules."""
QUESTIONS = {"right", "derived", "wrong", "captions", "captioned", "data", "contradiction"}
"""The titles of configurations that are no plan's."""


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


def wrong(answers: dict[str, list[dict[str, str]]]) -> dict[str, list[dict[str, str]]]:
    """What the parsers said against names and values, by the title of the plan."""
    said = {
        title: [each for each in found if each["kind"] in NAMES_AND_TYPES]
        for title, found in answers.items()
        if title not in QUESTIONS
    }
    return {title: found for title, found in said.items() if found}


CONFIG = {
    "model": {"pretrained_model_name_or_path": "/m.safetensors"},
    "training": {"max_train_steps": 10, "sdpa": True},
}
DATASET = {"datasets": [{"resolution": 512, "subsets": [{"image_dir": "/images", "num_repeats": 1}]}]}


def kohya_job(
    folder: Path, name: str, config: dict[str, Any], dataset: dict[str, Any], script: str = "train_network.py"
):
    (folder / f"{name}.toml").write_text(tomli_w.dumps(config))
    (folder / f"{name}_data.toml").write_text(tomli_w.dumps(dataset))
    return {"script": script, "config": str(folder / f"{name}.toml"), "dataset": str(folder / f"{name}_data.toml")}


def kohya_questions(folder: Path) -> dict[str, dict[str, str]]:
    """Configurations by what is right or wrong with them."""
    bad = {"training": {"lerning_rate": 1e-4, "max_train_steps": "10", "seed": True, "loss_type": "l3"}}
    bad["training"] |= {"optimizer_args": "a=1", "sdpa": 1}
    strange = {"datasets": [{"resolution": 512, "nonsense": 1, "subsets": [{"image_dir": "/images"}]}]}
    metadata = {"datasets": [{"resolution": 512, "subsets": [{"metadata_file": "/meta.json", "image_dir": "/p"}]}]}
    contradiction = {"training": {"adaptive_noise_scale": 0.1}}
    return {
        "right": kohya_job(folder, "right", CONFIG, DATASET),
        "derived": kohya_job(folder, "derived", CONFIG, DATASET, "sdxl_train_network.py"),
        "wrong": kohya_job(folder, "wrong", bad, strange),
        # This one takes no captions from a file.
        "captions": kohya_job(folder, "captions", CONFIG, metadata, "train_db.py"),
        "captioned": kohya_job(folder, "captioned", CONFIG, metadata, "fine_tune.py"),
        "contradiction": kohya_job(folder, "contradiction", contradiction, DATASET),
    }


def kohya_rendered(folder: Path) -> dict[str, dict[str, str]]:
    """What is rendered of each plan."""
    jobs = {}
    for number, (title, plan) in enumerate(plans(kohya, kohya_plans)):
        assert title not in {*jobs, *QUESTIONS}
        files = kohya.render(plan, kohya_plans.place()).files
        script = kohya.manifest.families[plan.model.family].cell(plan.model.method).program
        (config := folder / f"{number}.toml").write_text(files[kohya_render.CONFIG])
        (dataset := folder / f"{number}_dataset.toml").write_text(files[kohya_render.DATASET])
        jobs[title] = {"script": script, "config": str(config), "dataset": str(dataset)}
    return jobs


@pytest.fixture(scope="module")
def kohya_answers(tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("kohya")
    return ask("kohya", kohya_questions(folder) | kohya_rendered(folder), folder)


def test_sd_scripts_knows_everything_it_is_given(kohya_answers):
    assert len(kohya_answers) > 50
    assert wrong(kohya_answers) == {}


def test_kohya_is_asked(kohya_answers):
    said = kohya_answers
    assert said["right"] == said["derived"] == said["captioned"] == []
    assert kinds(said["wrong"]) >= {
        ("unknown", "lerning_rate"),
        ("type", "max_train_steps"),
        ("type", "seed"),
        ("type", "optimizer_args"),
        ("type", "sdpa"),
        ("choice", "loss_type"),
        ("dataset", ""),
    }
    assert kinds(said["captions"]) == {("dataset", "")}
    assert kinds(said["contradiction"]) == {("refused", "")}
    assert "adaptive_noise_scale" in said["contradiction"][0]["message"]


ENTRIES = [
    {"id": "images", "type": "local", "dataset_type": "image", "instance_data_dir": "/images", "crop": False},
    {"id": "captions", "type": "local", "dataset_type": "text_embeds", "default": True, "cache_dir": "/cache"},
]


def simpletuner_job(folder: Path, name: str, entries: Any = ENTRIES, **changed: Any):
    config = {
        "model_family": "sdxl",
        "model_type": "lora",
        "lora_type": "standard",
        "pretrained_model_name_or_path": str(folder),
        "data_backend_config": str(folder / f"{name}_data.json"),
        "output_dir": str(folder / "output"),
        "optimizer": "optimi-adamw",
        "mixed_precision": "bf16",
        "max_train_steps": 10,
        "num_train_epochs": 0,
        "report_to": "none",
    }
    (folder / f"{name}.json").write_text(json.dumps({**config, **changed}))
    (folder / f"{name}_data.json").write_text(json.dumps(entries))
    return {"config": str(folder / f"{name}.json"), "data": str(folder / f"{name}_data.json")}


def simpletuner_questions(folder: Path) -> dict[str, dict[str, str]]:
    """Configurations by what is right or wrong with them."""
    strange = [{**ENTRIES[0], "crop_style": "sideways"}, ENTRIES[1]]
    bad = {"nonsense": 1, "lora_rank": "four", "loss_type": "l3", "learning_rat": 0.1, "seed": 4.5}
    return {
        "right": simpletuner_job(folder, "right"),
        "wrong": simpletuner_job(folder, "wrong", **bad),
        "data": simpletuner_job(folder, "data", strange),
        "contradiction": simpletuner_job(folder, "contradiction", num_train_epochs=3),
    }


def simpletuner_rendered(folder: Path) -> dict[str, dict[str, str]]:
    """What is rendered of each plan."""
    jobs = {}
    for number, (title, plan) in enumerate(plans(simpletuner, simpletuner_plans)):
        assert title not in {*jobs, *QUESTIONS}
        files = simpletuner.render(plan, simpletuner_plans.place()).files
        (own := folder / str(number)).mkdir()
        for path, text in files.items():
            (own / path.name).write_text(text)
        config = json.loads(files[simpletuner_render.CONFIG])
        (own / "config.json").write_text(json.dumps({key: _moved(value, own) for key, value in config.items()}))
        jobs[title] = {"config": str(own / "config.json"), "data": str(own / simpletuner_render.DATA.name)}
    return jobs


def _moved(value: Any, folder: Path) -> Any:
    """A path of a rendered file, where the file lies here; anything else as it is."""
    if isinstance(value, str) and (folder / Path(value).name).is_file():
        return str(folder / Path(value).name)
    return value


@pytest.fixture(scope="module")
def simpletuner_answers(tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    folder = tmp_path_factory.mktemp("simpletuner")
    return ask("simpletuner", simpletuner_questions(folder) | simpletuner_rendered(folder), folder)


def test_simpletuner_knows_everything_it_is_given(simpletuner_answers):
    assert len(simpletuner_answers) > 50
    assert wrong(simpletuner_answers) == {}


def test_simpletuner_is_asked(simpletuner_answers):
    said = simpletuner_answers
    assert said["right"] == []
    assert kinds(said["wrong"]) == {
        ("unknown", "nonsense"),
        # The parser by itself would take it for learning_rate.
        ("unknown", "learning_rat"),
        ("type", "lora_rank"),
        ("type", "loss_type"),
        ("type", "seed"),
    }
    assert kinds(said["data"]) == {("data", "images")}
    assert kinds(said["contradiction"]) == {("refused", "")}
    assert "max_train_steps" in said["contradiction"][0]["message"]
