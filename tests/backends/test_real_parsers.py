"""The engines' own parsers are asked: they find a name nobody knows and a value of the wrong type, and take what is right."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from trainer_core import environments
from trainer_core.child import child_environment

HERE = Path(__file__).parent
SECONDS = 600


def ask(engine: str, jobs: list[dict[str, str]], folder: Path) -> list[list[dict[str, str]]]:
    """What the installed engine says of each job; skips, with the reason, where it is not installed.

    `jobs` are those of `real_parser_<engine>.py`; `folder` is for the question, and where the engine runs.
    """
    installed = environments.installed(engine)
    if installed is None:
        pytest.skip(f"{engine} is not installed, so its own parser cannot be asked")
    question = folder / "question.json"
    sources = {"sources": str(installed.source)} if installed.source else {}
    question.write_text(json.dumps({**sources, "jobs": jobs}))
    done = subprocess.run(
        [str(installed.python), str(HERE / f"real_parser_{engine}.py"), str(question)],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=SECONDS,
        env=child_environment({"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def kinds(found: list[dict[str, str]]) -> set[tuple[str, str]]:
    return {(problem["kind"], problem["name"]) for problem in found}


CONFIG = {
    "model": {"pretrained_model_name_or_path": "/m.safetensors"},
    "training": {"max_train_steps": 10, "sdpa": True},
}
DATASET = {"datasets": [{"resolution": 512, "subsets": [{"image_dir": "/pictures", "num_repeats": 1}]}]}


def kohya_job(
    folder: Path, name: str, config: dict[str, Any], dataset: dict[str, Any], script: str = "train_network.py"
):
    (folder / f"{name}.toml").write_text(tomli_w.dumps(config))
    (folder / f"{name}_data.toml").write_text(tomli_w.dumps(dataset))
    return {"script": script, "config": str(folder / f"{name}.toml"), "dataset": str(folder / f"{name}_data.toml")}


def test_kohya_is_asked(tmp_path):
    wrong = {"training": {"lerning_rate": 1e-4, "max_train_steps": "10", "seed": True, "loss_type": "l3"}}
    wrong["training"] |= {"optimizer_args": "a=1", "sdpa": 1}
    strange = {"datasets": [{"resolution": 512, "nonsense": 1, "subsets": [{"image_dir": "/pictures"}]}]}
    metadata = {"datasets": [{"resolution": 512, "subsets": [{"metadata_file": "/meta.json", "image_dir": "/p"}]}]}
    contradiction = {"training": {"adaptive_noise_scale": 0.1}}
    jobs = [
        kohya_job(tmp_path, "right", CONFIG, DATASET),
        kohya_job(tmp_path, "derived", CONFIG, DATASET, "sdxl_train_network.py"),
        kohya_job(tmp_path, "wrong", wrong, strange),
        # This one takes no captions from a file.
        kohya_job(tmp_path, "captions", CONFIG, metadata, "train_db.py"),
        kohya_job(tmp_path, "captioned", CONFIG, metadata, "fine_tune.py"),
        kohya_job(tmp_path, "contradiction", contradiction, DATASET),
    ]
    right, derived, bad, captions, captioned, refused = ask("kohya", jobs, tmp_path)
    assert right == derived == captioned == []
    assert kinds(bad) >= {
        ("unknown", "lerning_rate"),
        ("type", "max_train_steps"),
        ("type", "seed"),
        ("type", "optimizer_args"),
        ("type", "sdpa"),
        ("choice", "loss_type"),
        ("dataset", ""),
    }
    assert kinds(captions) == {("dataset", "")}
    assert kinds(refused) == {("refused", "")}
    assert "adaptive_noise_scale" in refused[0]["message"]


ENTRIES = [
    {"id": "pictures", "type": "local", "dataset_type": "image", "instance_data_dir": "/pictures", "crop": False},
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


def test_simpletuner_is_asked(tmp_path):
    strange = [{**ENTRIES[0], "crop_style": "sideways"}, ENTRIES[1]]
    jobs = [
        simpletuner_job(tmp_path, "right"),
        simpletuner_job(tmp_path, "wrong", nonsense=1, lora_rank="four", loss_type="l3", learning_rat=0.1, seed=4.5),
        simpletuner_job(tmp_path, "data", strange),
        simpletuner_job(tmp_path, "contradiction", num_train_epochs=3),
    ]
    right, wrong, data, refused = ask("simpletuner", jobs, tmp_path)
    assert right == []
    assert kinds(wrong) == {
        ("unknown", "nonsense"),
        # The parser by itself would take it for learning_rate.
        ("unknown", "learning_rat"),
        ("type", "lora_rank"),
        ("type", "loss_type"),
        ("type", "seed"),
    }
    assert kinds(data) == {("data", "pictures")}
    assert kinds(refused) == {("refused", "")}
    assert "max_train_steps" in refused[0]["message"]
