"""Plans put to the real training scripts of sd-scripts: what each says to the configuration that a plan becomes.

Models are recorded headers, written as files whose weights are a hole: their layout is real, and 34 GB take no room.
`refusals_kohya.py` runs the scripts, all of them in one process of the engine's own Python.
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
from tests.backends import engine_plans
from tests.core import recorded_headers
from trainer_core import detection, environments, header, places
from trainer_core.backend import JobSpec, Place
from trainer_core.datasets.scan import scan
from trainer_core.plan import rules
from trainer_core.plan.facts import Facts
from trainer_core.plan.sections import TrainingPlan
from trainer_core.problems import Problem
from trainer_core.runs.place import TOKENIZERS, place_for

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
"""For each family the recorded headers of its model and of the files beside it."""
CLIP = places.models() / TOKENIZERS / "openai_clip-vit-large-patch14"
SAME_WORDS = (
    "openai/clip-vit-large-patch14",
    "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    "stabilityai/stable-diffusion-2",
)
"""Tokenizers of one vocabulary, by the names the engine looks for."""
GLYPHS = (1510, 1472)
"""HunyuanImage's ByT5 is the recorded one with words for fonts and colours added. Source: add_special_token in
library/hunyuan_image_text_encoder.py."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a script did: "passed" its checks, "refused" with `error`, or "ended" without either; `log` is all it said."""

    outcome: str
    error: str
    trace: str
    log: str


class Trials:
    """Configurations to put to the engine, and its answers; equal ones are put once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures = folder / "pictures"
        self.pictures.mkdir()
        self.captions = {}
        for number in range(2):
            Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(self.pictures / f"{number}.png")
            self.captions[f"{number}.png"] = f"blobbert, a girl, {number}"
            (self.pictures / f"{number}.txt").write_text(self.captions[f"{number}.png"])
        self.tokenizers = folder / "tokenizers"
        self.tokenizers.mkdir()
        if CLIP.is_dir():
            for name in SAME_WORDS:
                (self.tokenizers / name.replace("/", "_")).symlink_to(CLIP)
        self._jobs: dict[str, tuple[str, ...]] = {}
        self._facts: dict[Path, Facts] = {}

    def plan(self, family: str, method: str, **values: Any) -> TrainingPlan:
        """A small plan of a cell that nothing speaks against, with these values changed; "__" stands for the dot."""
        files = {f"model__{part}": str(self._file(name)) for part, name in MODELS[family].items()}
        small = {"network__rank": 4, "network__alpha": 4.0, "embedding__init_word": "cat", "dataset__resolution": 128}
        if method != "textual_inversion":
            del small["embedding__init_word"]
        return engine_plans.plan(
            family, model__method=method, dataset__path=str(self.pictures), **{**files, **small, **values}
        )

    def problems(self, plan: TrainingPlan) -> list[Problem]:
        """All Problems of a plan on a machine with a GPU."""
        machine = engine_plans.machine(engine_plans.CARD)
        path = Path(plan.model.path)
        if path not in self._facts:
            seen = scan(self.pictures, backend.manifest.dataset, trigger=plan.dataset.trigger)
            self._facts[path] = Facts(machine, detection.detect(header.read(path)), seen)
        facts = self._facts[path]
        return [*rules.check(rules.Case(plan, facts, backend)), *backend.problems(plan, machine)]

    def put(self, plan: TrainingPlan, forced: Mapping[str, Any] | None = None) -> str:
        """Notes a plan for the engine and returns the name of its answer. `forced` are options given behind Easel's back."""
        extra = tomli_w.dumps({"forced": forced}) if forced else ""
        name = hashlib.sha256(f"{self._job(plan, self.folder)}{extra}".encode()).hexdigest()[:16]
        if name not in self._jobs:
            job = self._job(plan, self.folder / name)
            for path, text in job.files.items():
                target = self.folder / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text + (extra if path == render.CONFIG else ""), "utf-8")
            self._jobs[name] = job.command[1:]
        return name

    @cached_property
    def answers(self) -> Mapping[str, Answer]:
        """What the engine says to everything that was put. Runs it."""
        return self.run(self._jobs)

    def run(self, names: Iterable[str]) -> Mapping[str, Answer]:
        """What the engine says to these."""
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
        place = dataclasses.replace(place, dataset=self.pictures, options={"tokenizers": str(self.tokenizers)})
        return backend.render(plan, place)
