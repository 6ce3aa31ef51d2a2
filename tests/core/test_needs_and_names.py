"""Messages about native settings: what they follow from, what they need, and names that are near."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.support import engine_plans, random_plans
from trainer_core.engines import audit, registry
from trainer_core.engines.option_rules import OptionRules
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.plan import fields
from trainer_core.text import nearest

ENGINES = ["kohya", "simpletuner"]
CONSTANT = ("validation_disable_unconditional", "minimum_image_size", "resolution_type")
"""Always the same value: on with samples, and for each folder 0 and the area in pixels."""
CELLS = {"kohya": ("sdxl", "lora"), "simpletuner": ("flux", "lora")}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_owned_option_names_a_setting_that_determines_it(engine):
    """As the audit found by changing every setting; options that no program renders are named by their meaning."""
    backend = registry.get(engine)
    family, method = CELLS[engine]
    rules: OptionRules = backend.manifest.options
    named = {**rules.settings, **rules.dataset.settings, **rules.launch.settings}
    assert set(named.values()) <= set(fields.all_fields())
    assert set(named) <= {*rules.owned, *rules.dataset.owned, *rules.launch.owned}
    (found,) = audit.audit(backend, audit.program_of(backend.manifest, family, method))
    for option in found.options:
        if option.status == "mapped" and option.name in named:
            assert named[option.name] in option.settings or option.name == "sample_prompts", option
        elif option.status == "mapped" and option.name not in CONSTANT:
            assert len(option.settings) > 1, (
                f"{option.name} follows from {option.settings}, but options.toml names none"
            )


@pytest.mark.parametrize(
    ("engine", "native", "said"),
    [
        ("kohya", {"learning_rate": 1.0}, "learning_rate follows from optimizer.learning_rate: change that one."),
        ("kohya", {"output_dir": "/x"}, "output_dir cannot be set: Easel determines it, and no setting changes it."),
        ("kohya", {"launch": {"mixed_precision": "fp16"}}, "mixed_precision follows from memory.mixed_precision"),
        ("simpletuner", {"lora_rank": 4}, "lora_rank follows from network.rank: change that one."),
        ("simpletuner", {"report_to": "wandb"}, "report_to cannot be set: Easel determines it"),
    ],
)
def test_a_message_names_the_setting_or_says_that_there_is_none(engine, native, said):
    family, method = CELLS[engine]
    plan = engine_plans.plan(family, model__method=method, native={engine: native})
    found = registry.get(engine).problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert said in " ".join(each.message for each in found if each.path.startswith("native"))


@pytest.mark.parametrize(
    ("engine", "native", "values", "said"),
    [
        *(
            (
                "kohya",
                {"scale_weight_norms": 1.0},
                {"network__algorithm": name},
                f"no effect with network.algorithm {name}",
            )
            for name in ("glora", "full", "ia3", "dylora")
        ),
        ("kohya", {"network_args": ["loraplus_lr_ratio=4"]}, {"network__algorithm": "lokr"}, "no effect with lokr"),
        (
            "kohya",
            {"network_args": ["wd_on_output=true"]},
            {"network__algorithm": "lokr"},
            "without network.weight_dec",
        ),
        ("kohya", {"network_args": ["bypass_mode=true"]}, {"network__algorithm": "dora"}, "would not be a DoRA"),
        ("kohya", {"network_args": ["bypass_mode=true"]}, {"network__algorithm": "full"}, "the engine stops"),
        ("kohya", {"bucket_no_upscale": True}, {"dataset__bucketing": False}, "without aspect buckets"),
        ("kohya", {"max_bucket_reso": 2048, "bucket_no_upscale": True}, {}, "the sizes of the images determine"),
        ("kohya", {"min_bucket_reso": 96}, {"dataset__bucket_step": 128}, "must not be less than the bucket step"),
        ("simpletuner", {"prodigy_steps": 5}, {}, "no effect with optimizer.name AdamW8bit"),
        ("simpletuner", {"ema_decay": 0.9}, {}, "without use_ema"),
        ("simpletuner", {"lora_init_type": "default"}, {"network__algorithm": "lokr"}, "LyCORIS creates this network"),
        ("simpletuner", {"validation_lycoris_strength": 0.5}, {}, "only LyCORIS networks"),
        ("simpletuner", {"init_lokr_norm": 0.1}, {"network__algorithm": "lokr"}, "network.full_matrix on"),
        ("simpletuner", {"init_lokr_norm": 0.1}, {}, "works only with LoKr"),
        ("simpletuner", {"base_model_precision": "int8-sdnq"}, {"model__method": "full"}, "not quantized"),
    ],
)
def test_a_native_option_that_the_choice_does_not_read_has_no_effect(engine, native, values, said):
    values = {"optimizer__name": "AdamW8bit", **values}
    plan = engine_plans.plan("sdxl", native={engine: native}, **values)
    found = registry.get(engine).problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert said in " ".join(each.message for each in found if each.path.startswith("native"))


@pytest.mark.parametrize(
    ("engine", "native", "values"),
    [
        ("kohya", {"scale_weight_norms": 1.0}, {"network__algorithm": "lokr"}),
        ("kohya", {"network_args": ["loraplus_lr_ratio=4"]}, {"network__algorithm": "locon"}),
        ("kohya", {"network_args": ["bypass_mode=true"]}, {"network__algorithm": "lokr"}),
        ("simpletuner", {"lora_init_type": "default"}, {}),
        ("simpletuner", {"init_lokr_norm": 0.1}, {"network__algorithm": "lokr", "network__full_matrix": True}),
        ("simpletuner", {"ema_decay": 0.9, "use_ema": True}, {}),
    ],
)
def test_a_native_option_that_is_read_is_accepted(engine, native, values):
    plan = engine_plans.plan("sdxl", native={engine: native}, **values)
    found = registry.get(engine).problems(plan, engine_plans.machine(engine_plans.CARD), NOT_KNOWN)
    assert not [each for each in found if each.path.startswith("native")]


@pytest.mark.parametrize("engine", ENGINES)
def test_no_value_of_a_native_setting_stops_a_rule(engine):
    backend = registry.get(engine)
    rules: OptionRules = backend.manifest.options
    names = [*itertools.chain(*rules.native.values()), *rules.owned, "launch", "network_args"]
    values = [None, -1, 0, 3.5, "x", "1,2", True, [], ["bypass_mode"], ["network_reg_lrs=x"], {"num_processes": "x"}]
    draw = random.Random(0)
    for case in itertools.islice(random_plans.cases(backend, seed=4), 200):
        native = {draw.choice(names): draw.choice(values) for _ in range(3)}
        assert case.problems(case.plan.model_copy(update={"native": {engine: native}}))


def test_only_near_names_are_suggested():
    known = ["scale_weight_norms", "loraplus_lr_ratio", "max_timestep"]
    assert nearest("scale_weight_norm", known) == "scale_weight_norms"
    assert nearest("loraplus_lr", known) == "loraplus_lr_ratio"
    assert nearest("max_steps", known) == ""
    assert nearest("weight_decay", known) == ""
