"""SimpleTuner: every setting is rendered or said, every rendered key is one its parser knows, and its lines are understood."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from backends.simpletuner import backend, problems, render
from tests.backends import engine_plans
from trainer_core import diagnosis
from trainer_core.events import Event, Notice, Phase, Progress, Step
from trainer_core.runs.steps import StepLedger

DATA = Path(__file__).parent.parent / "data"
LOGS, GOLDEN = DATA / "logs", DATA / "golden"
ELSEWHERE = engine_plans.STAGED | engine_plans.DELIVERED | engine_plans.NAMED_BY_CORE


def place(version: str = "4.10.1", accelerator: str = "cuda"):
    return engine_plans.place(version=version, options={"accelerator": accelerator})


def lines(name: str) -> list[str]:
    return re.split(r"[\r\n]+", (LOGS / name).read_text("utf-8"))


def options(plan, where=None) -> dict:
    return json.loads(backend.render(plan, where or place()).files[render.CONFIG])


def said(plan, accelerator=engine_plans.CARD) -> dict[str, str]:
    return {problem.path: problem.severity for problem in backend.problems(plan, engine_plans.machine(accelerator))}


VARIANTS = {
    "plain": {},
    "sampled": {
        "sampling__every_steps": 50,
        "sampling__negative_prompt": "text",
        "output__save_every_steps": 100,
        "dataset__bucketing": False,
        "dataset__repeats": 4,
    },
    "v": {
        "model__prediction": "v_prediction",
        "model__vae": "/models/vae",
        "schedule__min_snr_gamma": 5.0,
        "schedule__noise_offset": 0.05,
        "schedule__scheduler": "polynomial",
        "optimizer__name": "Adafactor",
        "native": {"simpletuner": {"use_dora": True, "lora_init_type": "gaussian"}},
    },
}


@pytest.mark.parametrize("version", problems.VERSIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_rendered_key_is_known_and_well_typed(variant, version):
    files = backend.render(engine_plans.plan("sdxl", **VARIANTS[variant]), place(version)).files
    assert problems.unknown_keys(files, problems.recorded(version)) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_rendered_files_are_as_recorded(variant):
    files = backend.render(engine_plans.plan("sdxl", **VARIANTS[variant]), place()).files
    for path, text in files.items():
        golden = GOLDEN / f"simpletuner_sdxl_{variant}_{path.name}"
        assert text == golden.read_text("utf-8"), f"{golden} is another: look whether the change is meant"


@pytest.mark.parametrize(("family", "method"), engine_plans.cells(backend))
def test_no_setting_is_dropped_without_a_word(family, method):
    assert list(engine_plans.dropped_settings(backend, family, method, place(), ELSEWHERE)) == []


def test_all_rendered_keys_belong_to_the_plan_alone():
    rendered = set(options(engine_plans.plan("sdxl", **VARIANTS["sampled"])))
    assert rendered <= set(backend.manifest.tables["native"]["owned"])


def test_sd15_is_refused_with_its_reason():
    assert "sd15" not in backend.manifest.families
    assert "SD1.x" in backend.manifest.refused["sd15"]


def test_the_trainer_is_run_directly_by_its_configuration():
    job = backend.render(engine_plans.plan("sdxl"), place())
    assert job.command[1:] == ("-m", "simpletuner.train")
    assert job.environment["CONFIG_PATH"] == str(place().run / render.CONFIG)


def test_the_configuration_of_the_run_outranks_one_in_the_environment():
    variables = backend.render(engine_plans.plan("sdxl"), place()).environment
    assert variables["SIMPLETUNER_CONFIG_BACKEND"] == variables["CONFIG_BACKEND"] == "json"


def test_the_shim_is_used_without_a_gpu_only():
    with_gpu = backend.render(engine_plans.plan("sdxl"), place()).environment
    without = backend.render(engine_plans.plan("sdxl"), place(accelerator="cpu")).environment
    assert "PYTHONPATH" not in with_gpu
    assert (Path(without["PYTHONPATH"]) / "sitecustomize.py").is_file()


def test_a_cosine_lasts_as_long_as_the_run():
    assert options(engine_plans.plan("sdxl", schedule__steps=700))["lr_warmup_steps"] == 700


def test_no_vae_is_downloaded_for_a_folder():
    rendered = options(engine_plans.plan("sdxl"))
    assert rendered["pretrained_vae_model_name_or_path"] == rendered["pretrained_model_name_or_path"]


@pytest.mark.parametrize(
    ("steps", "every", "file"), [(100, 0, "checkpoint-100/"), (100, 50, "checkpoint-100/"), (100, 30, "")]
)
def test_the_finished_lora_is_the_checkpoint_of_the_last_step_which_alone_has_the_right_alpha(steps, every, file):
    plan = engine_plans.plan("sdxl", schedule__steps=steps, output__save_every_steps=every, network__alpha=16.0)
    final = backend.render(plan, place()).artefacts.final
    assert re.search(final.pattern, f"{file}pytorch_lora_weights.safetensors")
    assert "output.save_every_steps" not in said(plan)


def test_a_last_step_that_is_not_saved_is_an_error_when_alpha_is_not_the_rank():
    plan = engine_plans.plan("sdxl", schedule__steps=1520, output__save_every_steps=500)
    found = [problem for problem in backend.problems(plan, engine_plans.machine(engine_plans.CARD)) if problem.fix]
    (problem,) = [problem for problem in found if problem.path == "output.save_every_steps"]
    assert problem.severity == "error"
    assert problem.fix.changes == {"output.save_every_steps": 380}


@pytest.mark.parametrize(
    ("values", "path", "severity"),
    [
        ({"network__train_text_encoder": True}, "network.train_text_encoder", "error"),
        ({"memory__mixed_precision": "fp16"}, "memory.mixed_precision", "error"),
        ({"schedule__scheduler": "cosine_with_restarts"}, "schedule.scheduler", "error"),
        ({"schedule__min_snr_gamma": 4.5}, "schedule.min_snr_gamma", "error"),
        ({"optimizer__name": "Prodigy", "schedule__scheduler": "cosine"}, "schedule.scheduler", "error"),
        ({"dataset__resolution": 1000}, "dataset.resolution", "error"),
        ({"model__vae": "/models/vae.safetensors"}, "model.vae", "error"),
        ({"dataset__shuffle_captions": True}, "dataset.shuffle_captions", "warning"),
        ({"dataset__flip": True}, "dataset.flip", "warning"),
        ({"model__clip_skip": 2}, "model.clip_skip", "warning"),
        ({"dataset__bucket_step": 32}, "dataset.bucket_step", "warning"),
        ({"schedule__scheduler": "cosine", "schedule__warmup_steps": 5}, "schedule.warmup_steps", "warning"),
        ({"output__save_precision": "fp16"}, "output.save_precision", "info"),
        (
            {"native": {"simpletuner": {"resume_from_checkpoint": "latest"}}},
            "native.simpletuner.resume_from_checkpoint",
            "error",
        ),
        ({"native": {"simpletuner": {"use_ema": "yes"}}}, "native.simpletuner.use_ema", "error"),
        ({"native": {"simpletuner": {"nonsense": 1}}}, "native.simpletuner.nonsense", "error"),
    ],
)
def test_what_it_cannot_do_is_said(values, path, severity):
    assert said(engine_plans.plan("sdxl", **values)).get(path) == severity


def test_an_8_bit_optimizer_needs_a_gpu():
    assert said(engine_plans.plan("sdxl", optimizer__name="AdamW8bit"), engine_plans.CPU)["optimizer.name"] == "error"


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("Epoch 1/2, Steps:  10%|█         | 1/10 [00:19<02:58, 19.87s/it]", Progress(1, 10, 19.87)),
        (
            "Epoch 1/2, Steps:  40%|████      | 4/10 [00:21<00:19,  3.17s/it, lr=0.001, step_loss=0.849]",
            Step(4, 0.849, 0.001),
        ),
        (
            "\x1b[0mEpoch 2/2, Steps:  90%|███| 9/10 [00:25<00:00,  1.04it/s, lr=1e-5, step_loss=1] \x1b[0m",
            Step(9, 1.0, 1e-5),
        ),
        (
            "Epoch 1/1, Steps:  10%|█ | 1/10 [00:00<00:06,  1.36it/s, grad_norm=0.02, lr=0.001, step_loss=0.982]",
            Step(1, 0.982, 0.001),
        ),
        (
            "\x1b[0m[RANK 0] \x1b[32m2026-11-20 12:18:00,150 [INFO] Loading diffusion model from /m\x1b[0m",
            Phase("loading model"),
        ),
        ("[RANK 0] 2026-11-20 12:17:59,137 [INFO] (id=pictures) Loading bucket manager.", Phase("reading dataset")),
        ("[RANK 0] 2026-11-20 12:17:59,137 [INFO] [RANK 0] Saving current state to /o", Phase("saving")),
        ("[RANK 0] 2026-11-20 12:17:59,137 [ERROR] Something broke", Notice("error", "Something broke")),
        ("W1120 12:17:16.118000 22739 torch/utils/_pytree.py:630] text", None),
        ("", None),
    ],
)
def test_lines_are_understood(line, event):
    assert backend.parse(line) == event


@pytest.mark.parametrize("name", ["simpletuner_4_ok.log", "simpletuner_3_ok.log"])
def test_a_real_success_gives_every_step_once_with_its_own_loss(name):
    ledger, events = StepLedger(), []
    for line in lines(name):
        event: Event | None = backend.parse(line)
        if isinstance(event, Step):
            ledger.note(event.step, event.loss, event.learning_rate)
        events.append(event)
    steps = list(ledger.finish())
    assert [step.step for step in steps] == list(range(1, 11))
    assert [step.loss for step in steps] == LOSSES[name]
    assert {"reading dataset", "caching latents", "loading model", "saving"} <= {
        e.name for e in events if isinstance(e, Phase)
    }


LOSSES = {
    "simpletuner_4_ok.log": [0.93, 1.27, 0.997, 1.06, 1.14, 0.972, 1.03, 1.19, 1.19, 0.925],
    "simpletuner_3_ok.log": [0.982, 1.21, 1.05, 1.07, 1.17, 1.07, 0.991, 1.21, 1.11, 0.98],
}

EXPLAINED = {
    "simpletuner_dataset_missing.log": "dataset-missing",
    "simpletuner_option_refused.log": "option-refused",
    "simpletuner_model_missing.log": "model-missing",
    "simpletuner_caption_missing.log": "caption-missing",
    "simpletuner_no_batches.log": "no-batches",
    "simpletuner_no_gpu.log": "no-gpu-pinning",
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_each_recorded_failure_is_explained_by_its_own_signature(name):
    found = diagnosis.explain(lines(name), backend.manifest.diagnosis, 1)
    assert found is not None
    assert found.id == EXPLAINED[name]


@pytest.mark.parametrize("name", sorted(path.name for path in LOGS.glob("simpletuner_*_ok.log")))
def test_successes_are_explained_by_none(name):
    assert diagnosis.explain(lines(name), backend.manifest.diagnosis, 0) is None


def test_signatures_are_whole_and_named_once():
    rows = backend.manifest.diagnosis
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert set(row) == {"id", "severity", "pattern", "cause", "advice"}
        re.compile(row["pattern"])


def test_version_3_wants_alpha_equal_to_the_rank_since_its_file_keeps_alpha_where_nobody_looks():
    machine = engine_plans.machine()
    old = dataclasses.replace(machine, probes={"engines": {"simpletuner": "3.1.6"}})
    plan = engine_plans.plan("sdxl", network__rank=8, network__alpha=4.0)
    problem = next(found for found in backend.problems(plan, old) if found.path == "network.alpha")
    assert problem.severity == "error"
    assert problem.fix.changes == {"network.alpha": 8.0}
    assert not [found for found in backend.problems(plan, machine) if found.path == "network.alpha"]
