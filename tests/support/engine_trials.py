"""Runs the checks of the real training scripts of sd-scripts on the rendered configurations of plans.

Models are sparse files with recorded headers: their layout is real, and 34 GB of weights take no disk space.
`refusals_kohya.py` runs all scripts in one process of the engine's Python.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import tomli_w
from PIL import Image

from backends.kohya import backend, render
from tests.support import engine_plans, recorded_headers
from trainer_core import places
from trainer_core.datasets.scan import scan
from trainer_core.draft import checks
from trainer_core.draft.facts import Facts
from trainer_core.engines.seam import JobSpec, Place
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.install import environments
from trainer_core.install.place import TOKENIZERS, place_for
from trainer_core.models import detection, header
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem

HARNESS = Path(__file__).with_name("refusals_kohya.py")
TIMEOUT_S = 1500
MODELS = {
    "sd15": {"path": "sd15"},
    "sd2": {"path": "sd2"},
    "sdxl": {"path": "sdxl"},
    "sd3": {"path": "sd3-medium", "clip_l": "clip-l", "clip_g": "clip-g", "t5xxl": "t5xxl", "vae": "vae-flux"},
    "flux": {"path": "flux-dev", "clip_l": "clip-l", "t5xxl": "t5xxl", "vae": "vae-flux"},
    "chroma": {"path": "chroma", "t5xxl": "t5xxl", "vae": "vae-flux"},
    "lumina2": {"path": "lumina2", "gemma2": "gemma2-2b", "vae": "vae-flux"},
    "hunyuan_image": {
        "path": "hunyuan-image",
        "qwen": "qwen25-vl-7b",
        "byt5": "byt5-small",
        "vae": "vae-hunyuan-image",
    },
    "anima": {"path": "anima", "qwen": "qwen3-06b", "vae": "vae-qwen-image"},
}
"""For each family the recorded headers of its model and of its companion files."""
CLIP = places.models() / TOKENIZERS / "openai_clip-vit-large-patch14"
SAME_VOCABULARY = (
    "openai/clip-vit-large-patch14",
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    "stabilityai/stable-diffusion-2",
)
"""Tokenizers with the same vocabulary, by the names that the engine uses."""
GLYPHS = (1510, 1472)
"""The shape of the embedding of HunyuanImage's ByT5: the recorded one with tokens for fonts and colours added.

Source: add_special_token in library/hunyuan_image_text_encoder.py."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of a script: "passed" its checks, "refused" with `error`, or "ended" otherwise; `log` is its output."""

    outcome: str
    error: str
    trace: str
    log: str


class Trials:
    """Configurations for the engine, and its answers; equal configurations run only once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir()
        self.captions = {}
        for number in range(2):
            Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(self.images / f"{number}.png")
            self.captions[f"{number}.png"] = f"blobbert, a girl, {number}"
            (self.images / f"{number}.txt").write_text(self.captions[f"{number}.png"])
        self.tokenizers = folder / "tokenizers"
        self.tokenizers.mkdir()
        if CLIP.is_dir():
            for name in SAME_VOCABULARY:
                (self.tokenizers / name.replace("/", "_")).symlink_to(CLIP)
        self._jobs: dict[str, tuple[str, ...]] = {}
        self._facts: dict[Path, Facts] = {}

    def plan(self, family: str, method: str, **values: Any) -> TrainingPlan:
        """A small plan of a cell without Problems, with these values changed; "__" stands for the dot."""
        files = {f"model__{part}": str(self._file(name)) for part, name in MODELS[family].items()}
        small = {"network__rank": 4, "network__alpha": 4.0, "embedding__init_word": "cat", "dataset__resolution": 128}
        if method != "textual_inversion":
            del small["embedding__init_word"]
        if (family, method) == ("sd3", "full"):
            small["memory__half_weights"] = True  # its recorded file is in fp16, and would be trained in that format
        return engine_plans.plan(
            family, model__method=method, dataset__path=str(self.images), **{**files, **small, **values}
        )

    def problems(self, plan: TrainingPlan) -> list[Problem]:
        """All Problems of a plan on a machine with a GPU."""
        machine = engine_plans.machine(engine_plans.CARD)
        path = Path(plan.model.path)
        if path not in self._facts:
            dataset = scan(self.images, backend.manifest.dataset, trigger=plan.dataset.trigger)
            self._facts[path] = Facts(machine, detection.detect(header.read(path)), dataset)
        facts = self._facts[path]
        return [*checks.check(checks.Case(plan, facts, backend)), *backend.problems(plan, machine, NOT_KNOWN)]

    def add(self, plan: TrainingPlan, forced: Mapping[str, Any] | None = None) -> str:
        """Adds a plan and returns the name of its answer. `forced` are options that are added to the rendered file."""
        extra = tomli_w.dumps({"forced": forced}) if forced else ""
        name = hashlib.sha256(f"{self._job(plan, self.folder)}{extra}".encode()).hexdigest()[:16]
        if name not in self._jobs:
            job = self._job(plan, self.folder / name)
            for path, text in job.files.items():
                target = self.folder / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text + (extra if path == render.CONFIG else ""), "utf-8")
            self._jobs[name] = job.steps[0].argv[1:]
        return name

    @cached_property
    def answers(self) -> Mapping[str, Answer]:
        """The answers of the engine to all added plans. Runs the engine."""
        return self.run(self._jobs)

    def run(self, names: Iterable[str]) -> Mapping[str, Answer]:
        """The answers of the engine to the plans with these names."""
        installed = environments.installed("kohya")
        assert installed is not None
        cases, answers = self.folder / "cases.json", self.folder / "answers.json"
        cases.write_text(json.dumps([self._case(name) for name in names]))
        variables = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "COLUMNS": "300", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            [installed.python, HARNESS, cases, answers],
            cwd=installed.source,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        lines = [json.loads(line) for line in answers.read_text("utf-8").splitlines()]
        return {line.pop("id"): Answer(**line) for line in lines}

    def _case(self, name: str) -> dict[str, Any]:
        return {"id": name, "folder": str(self.folder / name), "arguments": self._jobs[name]}

    def _file(self, name: str) -> Path:
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            recorded = recorded_headers.load(name)
            if name == "byt5-small":
                kind, _ = recorded["tensors"]["shared.weight"]
                recorded["tensors"]["shared.weight"] = (kind, GLYPHS)
            recorded_headers.write(name, self.folder, recorded)
        return path

    def _job(self, plan: TrainingPlan, folder: Path) -> JobSpec:
        place: Place = place_for(backend, folder, self.captions)
        place = dataclasses.replace(place, dataset=self.images, options={"tokenizers": str(self.tokenizers)})
        return backend.render(plan, place)
