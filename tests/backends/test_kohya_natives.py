"""Native settings of kohya are held against what its programs make of them: their form, their bounds, what they need."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from backends.kohya import backend, network_arguments, render
from backends.kohya.translation import TRANSLATION
from tests.support import engine_plans
from trainer_core import catalog
from trainer_core.engines.status import NOT_KNOWN

ROWS = TRANSLATION.network_arguments


@pytest.mark.parametrize(
    ("module", "key", "value", "family"),
    [
        ("networks.lora_flux", "train_double_block_indices", "0-18", "flux"),
        ("networks.lora_flux", "train_single_block_indices", "1, 3-5,37", "chroma"),
        ("networks.lora_flux", "split_qkv", "True", "flux"),
        ("networks.lora_flux", "network_reg_lrs", "single_blocks=1e-4, double_blocks=5e-5", "flux"),
        ("networks.lora", "down_lr_weight", "0,0,0,0,0,0,0.5,1,1,1,1,", "sd15"),
        ("networks.lora", "up_lr_weight", "cosine+0.25", "sdxl"),
        ("networks.lora", "mid_lr_weight", "1,0.5,1", "sdxl"),
        ("networks.lora_anima", "include_patterns", r"['.*attn.*', 'mlp\\d']", "anima"),
        ("lycoris.kohya", "bypass_mode", "true", "sd15"),
    ],
)
def test_what_a_module_reads_is_taken(module: str, key: str, value: str, family: str):
    assert network_arguments.complaint(key, value, ROWS[module][key], family, "lokr") is None


@pytest.mark.parametrize(
    ("module", "key", "value", "family"),
    [
        ("networks.lora_flux", "train_double_block_indices", "19", "flux"),
        ("networks.lora_flux", "train_double_block_indices", "5-3", "flux"),
        ("networks.lora_flux", "train_double_block_indices", "first", "flux"),
        ("networks.lora_flux", "split_qkv", "true", "flux"),
        ("networks.lora_flux", "train_t5xxl", "True", "chroma"),
        ("networks.lora_flux", "network_reg_lrs", "single_blocks:1e-4", "flux"),
        ("networks.lora_flux", "network_reg_lrs", "*=1e-4", "flux"),
        ("networks.lora_flux", "ggpo_beta", "nan", "flux"),
        ("networks.lora", "down_lr_weight", "0.5", "sd15"),
        ("networks.lora", "down_lr_weight", "1,1,1", "sdxl"),
        ("networks.lora", "up_lr_weight", "cosine+much", "sdxl"),
        ("networks.lora", "mid_lr_weight", "cosine", "sdxl"),
        ("networks.lora_fa", "down_lr_weight", "cosine", "sdxl"),
        ("networks.lora_anima", "exclude_patterns", ".*attn.*", "anima"),
        ("networks.lora_anima", "exclude_patterns", "['(']", "anima"),
        ("lycoris.kohya", "use_scalar", "yes", "sd15"),
        ("lycoris.kohya", "train_t5xxl", "True", "sd15"),
        ("lycoris.kohya", "unbalanced_factorization", "True", "sd15"),
    ],
)
def test_what_a_module_stops_at_or_takes_for_something_else_is_said(module: str, key: str, value: str, family: str):
    said = network_arguments.complaint(key, value, ROWS[module][key], family, "loha")
    assert said is not None
    assert key in said


@pytest.mark.parametrize(
    ("native", "values", "said"),
    [
        ({"max_data_loader_n_workers": -3}, {}, "from 0 to 256"),
        ({"ip_noise_gamma": -1.0}, {}, "from 0 to 1"),
        ({"loss_type": "huber", "huber_c": 0.0}, {}, "from 0.000001"),
        ({"min_timestep": 900, "max_timestep": 100}, {}, "not be more than"),
        ({"dynamo_backend": "inductor"}, {}, "without torch_compile"),
        ({"huber_scale": 2.0}, {}, "without loss_type as huber or smooth_l1"),
        ({"noise_offset_random_strength": True}, {}, "without schedule.noise_offset"),
        ({"zero_stage": 3}, {}, "without deepspeed"),
        ({"ddp_static_graph": True}, {}, "without launch"),
        ({"prior_loss_weight": 0.5}, {}, "follows from dataset.class_weight"),
        ({"lr_scheduler_args": ["lr_end=1e-8"]}, {}, "it takes only num_cycles here"),
        (
            {"lr_scheduler_args": ["decay_type=linear"]},
            {"schedule__scheduler": "warmup_stable_decay"},
            "text in quotes",
        ),
    ],
)
def test_native_settings_that_make_no_sense_are_said(native: dict[str, Any], values: dict[str, Any], said: str):
    plan = engine_plans.plan("sd15", native={"kohya": native}, **{"schedule__decay_steps": 100, **values})
    found = backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert said in " ".join(problem.message for problem in found if problem.path.startswith("native.kohya"))


@pytest.mark.parametrize(
    ("native", "values"),
    [
        ({"torch_compile": True, "dynamo_backend": "inductor"}, {}),
        ({"loss_type": "smooth_l1", "huber_c": 0.2}, {}),
        ({"noise_offset_random_strength": True}, {"schedule__noise_offset": 0.05}),
        ({"lr_scheduler_args": ["decay_type='linear'"]}, {"schedule__scheduler": "warmup_stable_decay"}),
        ({"min_timestep": 200}, {}),
    ],
)
def test_native_settings_that_belong_together_are_taken(native: dict[str, Any], values: dict[str, Any]):
    plan = engine_plans.plan("sd15", native={"kohya": native}, **{"schedule__decay_steps": 100, **values})
    found = backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert not [problem for problem in found if problem.path.startswith("native.kohya")]


def test_what_is_bounded_or_needs_another_may_be_set_natively():
    table = backend.manifest.options
    native = {name for names in table.native.values() for name in names}
    assert set(table.bounds) | set(table.needs) <= native


def test_every_form_is_known():
    for module, rows in ROWS.items():
        for key, row in rows.items():
            assert not isinstance(row.form, str) or row.form in network_arguments.FORMS, f"{module}: {key}"
            assert set(row.families or ()) <= set(backend.manifest.families)
            assert set(row.algorithms or ()) <= set(catalog.algorithms())


def test_native_bounds_of_buckets_are_not_covered_by_those_of_easel():
    plan = engine_plans.plan("sd15", native={"kohya": {"min_bucket_reso": 192, "max_bucket_reso": 2048}})
    assert not backend.problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    place = engine_plans.place(checkout=Path("/source"), options={"tokenizers": "/tokenizers"})
    entry = tomllib.loads(backend.render(plan, place).files[render.DATASET])["datasets"][0]
    assert (entry["min_bucket_reso"], entry["max_bucket_reso"]) == (192, 2048)
