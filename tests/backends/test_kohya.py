"""sd-scripts: every setting is rendered or refused, every rendered key is one its parsers know, and its lines are understood."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from backends.kohya import backend, problems, render
from tests.backends import engine_plans
from trainer_core import diagnosis
from trainer_core.events import Epoch, Event, Notice, Phase, Progress

DATA = Path(__file__).parent.parent / "data"
LOGS, GOLDEN = DATA / "logs", DATA / "golden"
FAMILIES = sorted(backend.manifest.families)
ELSEWHERE = engine_plans.STAGED | engine_plans.DELIVERED


def place():
    return engine_plans.place(
        checkout=Path("/home/user/easel/engines/kohya/source"),
        options={"tokenizers": "/home/user/easel/models/tokenizers"},
    )


def lines(name: str) -> list[str]:
    return re.split(r"[\r\n]+", (LOGS / name).read_text("utf-8"))


def configuration(plan) -> dict:
    tables = tomllib.loads(backend.render(plan, place()).files[render.CONFIG])
    return {name: value for table in tables.values() for name, value in table.items()}


VARIANTS = {
    "plain": {},
    "sampled": {
        "sampling__every_steps": 50,
        "sampling__prompt": "{trigger} --w 9999, smiling",
        "sampling__negative_prompt": "text",
        "output__save_every_steps": 100,
        "output__prefix": "cg_",
        "model__vae": "/models/vae.safetensors",
    },
    "v": {
        "model__prediction": "v_prediction",
        "schedule__min_snr_gamma": 5.0,
        "schedule__noise_offset": 0.05,
        "optimizer__name": "Adafactor",
        "network__train_text_encoder": True,
        "native": {"kohya": {"network_dropout": 0.1, "persistent_data_loader_workers": True}},
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_rendered_key_is_known_and_well_typed(family, variant):
    plan = engine_plans.plan(family, **VARIANTS[variant])
    files = backend.render(plan, place()).files
    assert problems.unknown_keys(files, problems.script_options(plan, backend.manifest)) == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_rendered_files_are_as_recorded(family, variant):
    files = backend.render(engine_plans.plan(family, **VARIANTS[variant]), place()).files
    for path, text in files.items():
        golden = GOLDEN / f"kohya_{family}_{variant}_{path.name}"
        assert text == golden.read_text("utf-8"), f"{golden} is another: look whether the change is meant"


@pytest.mark.parametrize(("family", "method"), engine_plans.cells(backend))
def test_no_setting_is_dropped_without_a_word(family, method):
    assert list(engine_plans.dropped_settings(backend, family, method, place(), ELSEWHERE)) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_all_rendered_keys_belong_to_the_plan_alone(family):
    """A native setting can never meet a rendered one, except those that Easel fixes for the user to change."""
    free = {"max_data_loader_n_workers", "persistent_data_loader_workers", "no_half_vae", "sdpa", "sample_sampler"}
    rendered = set(configuration(engine_plans.plan(family, **VARIANTS["sampled"])))
    assert rendered - free <= set(backend.manifest.tables["native"]["owned"])


def test_the_script_is_run_directly_and_the_files_are_named_absolutely():
    job = backend.render(engine_plans.plan("sdxl"), place())
    assert job.command[1].endswith("/sdxl_train_network.py")
    assert "accelerate" not in " ".join(job.command)
    assert job.command[-1] == str(place().run / render.CONFIG)


def test_a_relative_model_path_is_made_absolute():
    assert configuration(engine_plans.plan("sd15", model__path="base.safetensors"))[
        "pretrained_model_name_or_path"
    ] == str(Path.cwd() / "base.safetensors")


def test_prompts_cannot_become_options():
    plan = engine_plans.plan("sd15", **VARIANTS["sampled"])
    prompt = json.loads(backend.render(plan, place()).files[render.PROMPTS])[0]
    assert prompt["prompt"] == "blobbert --w 9999, smiling"
    assert prompt["width"] == 512


def test_small_resolutions_get_buckets_the_engine_accepts():
    table = render.dataset(engine_plans.plan("sd15", dataset__resolution=64), place())["datasets"][0]
    assert table["min_bucket_reso"] <= 64 <= table["max_bucket_reso"]
    assert table["min_bucket_reso"] % 64 == table["max_bucket_reso"] % 64 == 0


@pytest.mark.parametrize(
    ("family", "values", "path"),
    [
        ("sd15", {"memory__cache_text_encoder": True}, "memory.cache_text_encoder"),
        ("sdxl", {"memory__cache_text_encoder": True, "dataset__shuffle_captions": True}, "memory.cache_text_encoder"),
        ("sdxl", {"memory__cache_text_encoder": True, "dataset__caption_dropout": 0.1}, "memory.cache_text_encoder"),
        (
            "sdxl",
            {"memory__cache_text_encoder": True, "network__train_text_encoder": True},
            "memory.cache_text_encoder",
        ),
        ("sd15", {"dataset__bucket_step": 32}, "dataset.bucket_step"),
        ("sdxl", {"dataset__bucket_step": 48}, "dataset.bucket_step"),
        ("sd15", {"dataset__bucketing": False, "dataset__resolution": 500}, "dataset.resolution"),
        ("sd15", {"schedule__scheduler": "constant", "schedule__warmup_steps": 10}, "schedule.warmup_steps"),
        ("sd15", {"memory__mixed_precision": "fp16"}, "memory.mixed_precision"),
        ("sd15", {"model__clip_skip": 2}, "model.clip_skip"),
        ("sd15", {"optimizer__name": "AdamW8bit"}, "optimizer.name"),
        (
            "sd15",
            {"optimizer__name": "Prodigy", "optimizer__learning_rate": 1.0, "network__train_text_encoder": True},
            "optimizer.text_encoder_learning_rate",
        ),
    ],
)
def test_what_would_stop_the_engine_is_an_error_with_a_fix_that_mends_it(family, values, path):
    def found(changed):
        said = backend.problems(engine_plans.plan(family, **changed), engine_plans.machine(engine_plans.CPU))
        return [problem for problem in said if problem.path == path and problem.severity == "error"]

    (problem,) = found(values)[:1]
    assert problem.fix is not None
    changes = {key.replace(".", "__"): value for key, value in problem.fix.changes.items()}
    assert found({**values, **changes}) == []


@pytest.mark.parametrize(
    ("values", "path"),
    [({"schedule__restarts": 3}, "schedule.restarts"), ({"dataset__keep_tokens": 2}, "dataset.keep_tokens")],
)
def test_what_has_no_effect_is_said(values, path):
    said = backend.problems(engine_plans.plan("sd15", **values), engine_plans.machine(engine_plans.CARD))
    assert [(problem.path, problem.severity) for problem in said] == [(path, "info")]


def test_a_step_of_32_is_fine_for_sdxl():
    assert not backend.problems(
        engine_plans.plan("sdxl", dataset__bucket_step=32), engine_plans.machine(engine_plans.CARD)
    )


def test_the_default_plan_has_no_problems_on_a_gpu():
    for family in FAMILIES:
        assert not backend.problems(engine_plans.plan(family), engine_plans.machine(engine_plans.CARD))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lerning_rate", 1e-4, "no option"),
        ("network_dropout", "0.1", "must be a number"),
        ("loss_type", "l3", "must be one of"),
        ("network_args", "conv_dim=4", "must be a list"),
        ("network_args", ["rank_dropout=0.1", "conv_dim=4"], "more than one rank"),
        ("dim_from_weights", True, "cannot be set"),
        ("network_train_text_encoder_only", True, "cannot be set"),
        ("learning_rate", 1.0, "follows from a setting"),
        ("max_train_epochs", 3, "cannot be set"),
        ("wandb_api_key", "secret", "cannot be set"),
    ],
)
def test_native_settings_are_checked_against_the_recorded_schema(name, value, said):
    plan = engine_plans.plan("sd15", native={"kohya": {name: value}})
    (problem,) = backend.problems(plan, engine_plans.machine(engine_plans.CARD))
    assert problem.path == f"native.kohya.{name}"
    assert said in problem.message


def test_native_settings_that_are_known_reach_the_configuration():
    plan = engine_plans.plan("sd15", native={"kohya": {"network_args": ["rank_dropout=0.1"], "ip_noise_gamma": 0.1}})
    assert not backend.problems(plan, engine_plans.machine(engine_plans.CARD))
    assert configuration(plan)["network_args"] == ["rank_dropout=0.1"]


def test_native_bounds_of_buckets_are_not_covered_by_those_of_easel():
    plan = engine_plans.plan("sd15", native={"kohya": {"min_bucket_reso": 192, "max_bucket_reso": 2048}})
    assert not backend.problems(plan, engine_plans.machine(engine_plans.CARD))
    (entry,) = render.dataset(plan, place())["datasets"]
    assert (entry["min_bucket_reso"], entry["max_bucket_reso"]) == (192, 2048)


def test_every_optimizer_of_the_catalogue_is_spelled():
    from trainer_core.plan import fields

    assert set(backend.manifest.optimizers) == set(fields.all_fields()["optimizer.name"].choices)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("epoch 1/2", Epoch(1, 2)),
        ("epoch is incremented. current_epoch: 0, epoch: 1", None),
        ("steps:  40%|████      | 4/10 [00:52<01:18, 13.10s/it, avr_loss=1.14]", Progress(4, 10, 13.10, 1.14)),
        ("steps:   0%|          | 0/8 [00:00<?, ?it/s]", Progress(0, 8)),
        ("steps: 100%|██████████| 8/8 [00:04<00:00,  2.00it/s, avr_loss=0.5]", Progress(8, 8, 0.5, 0.5)),
        ("\x1b[Asteps:  12%|█         | 1/8 [00:01<00:07,  1.0s/it]2026-11-20 12:08:05 INFO", Progress(1, 8, 1.0)),
        ("100%|██████████| 8/8 [01:01<00:00,  7.66s/it]", None),
        ("2026-11-20 12:06:46 INFO     caching latents...            train_util.py:1170", Phase("caching latents")),
        ("                    INFO     model saved.                 train_network.py:1729", Phase("saved")),
        ("                    WARNING  no regularization images / 正則化画像  train_util.py:2167", None),
        (
            "                    ERROR    No data found. Please verify  train_network.py:576",
            Notice("error", "No data found. Please verify"),
        ),
        ("", None),
    ],
)
def test_lines_are_understood(line, event):
    assert backend.parse(line) == event


def test_nan_in_the_bar_stays_nan():
    event = backend.parse("steps:  50%|█████     | 1/2 [00:01<00:01,  1.0s/it, avr_loss=nan]")
    assert isinstance(event, Progress)
    assert event.average_loss != event.average_loss


def test_a_real_success_shows_its_phases_epochs_and_every_step():
    events: list[Event] = [event for line in lines("kohya_sd15_ok.log") if (event := backend.parse(line))]
    names = [event.name for event in events if isinstance(event, Phase)]
    for name in ("starting", "reading dataset", "loading model", "caching latents", "training", "saving", "saved"):
        assert name in names
    assert Epoch(1, 1) in events
    assert sorted({event.step for event in events if isinstance(event, Progress)}) == list(range(9))
    assert not [event for event in events if isinstance(event, Notice)]


EXPLAINED = {
    "kohya_no_data.log": "no-data",
    "kohya_model_missing.log": "model-missing",
    "kohya_model_of_another_kind.log": "model-of-another-kind",
    "kohya_optimizer_unknown.log": "optimizer-unknown",
    "kohya_loss_nan.log": "loss-nan",
    "kohya_caption_empty.log": "caption-empty",
    "kohya_caption_encoding.log": "caption-encoding",
    "kohya_picture_broken.log": "picture-broken",
    "kohya_tokenizer_missing.log": "tokenizer-missing",
    "kohya_bucket_step.log": "bucket-step",
    "kohya_precision.log": "precision-mixed-up",
    "kohya_warmup.log": "scheduler-warmup",
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_each_recorded_failure_is_explained_by_its_own_signature(name):
    found = diagnosis.explain(lines(name), backend.manifest.diagnosis, 1)
    assert found is not None
    assert found.id == EXPLAINED[name]


@pytest.mark.parametrize("name", sorted(path.name for path in LOGS.glob("kohya_*_ok.log")))
def test_successes_are_explained_by_none(name):
    assert diagnosis.explain(lines(name), backend.manifest.diagnosis, 0) is None


def test_signatures_are_whole_and_named_once():
    rows = backend.manifest.diagnosis
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert set(row) == {"id", "severity", "pattern", "cause", "advice"}
        assert row["severity"] in ("fatal", "error", "warning")
        re.compile(row["pattern"])
