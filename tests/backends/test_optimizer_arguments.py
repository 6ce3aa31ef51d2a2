"""Arguments of optimizers that a user adds: only what the constructor of the engine's optimizer takes reaches it."""

from __future__ import annotations

import json
import tomllib

import pytest

from backends.kohya import render as kohya_render
from backends.simpletuner import render as simpletuner_render
from tests.support import engine_plans
from trainer_core.engines import docstrings, optimizer_arguments, registry
from trainer_core.engines.status import NOT_KNOWN, EngineStatus, Trial, Trials
from trainer_core.plan import fields

ENGINES = ("kohya", "simpletuner")
OPTIONS = {"kohya": "optimizer_args", "simpletuner": "optimizer_config"}


def said(engine: str, given, status=NOT_KNOWN, family="sdxl", **values) -> list[str]:
    backend, option = registry.get(engine), OPTIONS[engine]
    plan = engine_plans.plan(family, native={engine: {option: given}}, **values)
    problems = backend.problems(plan, engine_plans.machine(engine_plans.CARD), status)
    return [one.message for one in problems if one.path == f"native.{engine}.{option}"]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_optimizer_of_an_engine_is_recorded_with_the_pinned_version(engine):
    manifest = registry.get(engine).manifest
    assert optimizer_arguments.recorded(manifest).keys() == manifest.optimizers.keys()
    data = json.loads((manifest.folder / optimizer_arguments.FILE).read_text("utf-8"))
    assert data["version"] == manifest.environment[0].version


def test_own_arguments_reach_the_configuration_after_those_of_the_plan():
    plan = engine_plans.plan("sdxl", optimizer__name="Prodigy", native={"kohya": {"optimizer_args": ["slice_p=11"]}})
    job = registry.get("kohya").render(plan, engine_plans.place())
    tables = tomllib.loads(job.files[kohya_render.CONFIG])
    assert tables["optimizer"]["optimizer_args"] == ["weight_decay=0.01", "slice_p=11"]
    assert "native" not in tables
    plan = engine_plans.plan(
        "sdxl", optimizer__name="AdamW", native={"simpletuner": {"optimizer_config": "kahan_sum=true"}}
    )
    job = registry.get("simpletuner").render(plan, engine_plans.place())
    given = json.loads(job.files[simpletuner_render.CONFIG])["optimizer_config"].split(",")
    assert given[-1] == "kahan_sum=true"
    assert given[0] == "weight_decay=0.01"


@pytest.mark.parametrize(
    ("engine", "given", "values", "words"),
    [
        ("kohya", ["slice_p=11"], {"optimizer__name": "Prodigy"}, ""),
        ("kohya", ["slice_q=11"], {"optimizer__name": "Prodigy"}, "Did you mean slice_p?"),
        ("kohya", ["d_coef=2"], {"optimizer__name": "Prodigy"}, "change optimizer.d_coef"),
        ("kohya", ["relative_step=True"], {"optimizer__name": "Adafactor"}, "Easel determines it"),
        ("kohya", ["eps=(1e-30, 1e-3)"], {"optimizer__name": "Adafactor"}, ""),
        ("kohya", ["eps=(1e-30, 1e-3, 1)"], {"optimizer__name": "Adafactor"}, "2 numbers in brackets"),
        ("kohya", ["warmup_steps=3"], {"optimizer__name": "AdamWScheduleFree"}, "change schedule.warmup_steps"),
        (
            "kohya",
            ["use_cautious=__import__('os')"],
            {"optimizer__name": "ProdigyPlusScheduleFree"},
            "Python's notation",
        ),
        ("kohya", ["use_cautious"], {"optimizer__name": "ProdigyPlusScheduleFree"}, "form key=value"),
        ("simpletuner", "kahan_sum=true", {}, ""),
        ("simpletuner", "kahan_sums=true", {}, "Did you mean kahan_sum?"),
        ("simpletuner", "decouple_lr=1", {}, "must be true or false"),
        ("simpletuner", "precondition_frequency=5", {"optimizer__name": "SOAP"}, ""),
        ("simpletuner", "precondition_frequency=-5", {"optimizer__name": "SOAP"}, "such as 10, 0.5"),
        ("simpletuner", "betas=0.9", {}, "change optimizer.beta1 and optimizer.beta2"),
        ("simpletuner", "use_schedulefree=true", {"optimizer__name": "Prodigy"}, "Easel determines it"),
        ("simpletuner", "gradient_release=true", {}, "memory.fused_backward"),
        ("simpletuner", "anything=1", {"optimizer__name": "Lion8bit"}, "does not take"),
    ],
)
def test_an_argument_is_refused_unless_the_constructor_takes_it(engine, given, values, words):
    found = said(engine, given, **values)
    if words:
        assert len(found) == 1
        assert words in found[0]
    else:
        assert found == []


def test_what_a_trial_read_in_the_engine_counts_more_than_the_record():
    tried = Trials(
        optimizers={"Prodigy": Trial(works=True, takes={"params": {}, "lr": {}, "newest": {"default": False}})}
    )
    status = EngineStatus(True, "48d368f", tried)
    assert said("kohya", ["newest=True"], status, optimizer__name="Prodigy") == []
    assert "does not take" in said("kohya", ["slice_p=11"], status, optimizer__name="Prodigy")[0]
    assert "does not take" in said("kohya", ["newest=True"], optimizer__name="Prodigy")[0]


def test_the_descriptions_of_arguments_are_read_in_three_notations(tmp_path):
    folder = tmp_path / docstrings.PACKAGES.replace("python3*", "python3.11") / "one"
    folder.mkdir(parents=True)
    (folder / "two.py").write_text(
        'raise SystemExit\nclass First:\n    """Text.\n\n    Args:\n        alpha (float, optional): How much\n            of it (default: 1).\n        beta (bool):\n            Whether.\n\n    Returns:\n        nothing: at all\n    """\n'
        'class Second:\n    """:param gamma: float. The third one.\n    :param bool delta: the fourth.\n    """\n'
        'class Third:\n    def __init__(self):\n        """Args:\n            epsilon (`float`, defaults to 1e-8):\n                The last.\n        """\n'
    )
    read = docstrings.arguments_of
    assert read(tmp_path, "one/two.py", "First") == {
        "alpha": "How much of it (default: 1).",
        "beta": "Whether.",
        "nothing": "at all",
    }
    assert read(tmp_path, "one/two.py", "Second") == {"gamma": "The third one.", "delta": "the fourth."}
    assert read(tmp_path, "one/two.py", "Third") == {"epsilon": "The last."}
    assert read(tmp_path, "one/none.py", "First") == {}
    (folder / "two.py").write_text("class (")
    assert read(tmp_path, "one/two.py", "First") == {}


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
@pytest.mark.parametrize("algorithm", ["lora", "lora_fa"])
def test_a_lora_with_a_rank_for_convolutions_stays_in_the_engines_own_module(family, algorithm):
    if algorithm not in registry.get("kohya").manifest.families[family].algorithms:
        pytest.skip("not claimed")
    plan = engine_plans.plan(family, network__algorithm=algorithm, network__conv_rank=8, network__alpha=4.0)
    job = registry.get("kohya").render(plan, engine_plans.place())
    trained = tomllib.loads(job.files[kohya_render.CONFIG])["trained"]
    assert trained["network_module"] == f"networks.{algorithm}"
    # The module's own default would be 1, not the alpha of the plan.
    assert trained["network_args"] == ["conv_dim=8", "conv_alpha=4.0"]


def test_where_a_rank_for_convolutions_has_no_effect_a_problem_says_so():
    card = engine_plans.machine(engine_plans.CARD)
    plan = engine_plans.plan("sdxl", network__conv_rank=8)
    told = [
        one.message
        for one in registry.get("simpletuner").problems(plan, card, NOT_KNOWN)
        if one.path == "network.conv_rank"
    ]
    assert len(told) == 1
    assert "choose LoCon" in told[0]
    # sd-scripts' own modules for transformers read conv_dim and use it for nothing: these families claim no convolutions.
    assert (
        registry.get("kohya")
        .manifest.families["flux"]
        .ignores(fields.all_fields()["network.conv_rank"].about, "lora", "")
    )
    plan = engine_plans.plan("sdxl", network__conv_alpha=8.0)
    assert "network.conv_alpha" in [one.path for one in registry.get("kohya").problems(plan, card, NOT_KNOWN)]


@pytest.mark.parametrize(
    ("engine", "option", "given", "left"),
    [
        ("kohya", "optimizer_args", ["weight_decay=0.1", "amsgrad=True"], ["amsgrad=True"]),
        ("kohya", "network_args", ["conv_dim=8", "loraplus_lr_ratio=4"], ["loraplus_lr_ratio=4"]),
        ("kohya", "lr_scheduler_args", ["T_max=8"], None),
        ("simpletuner", "optimizer_config", "weight_decay=0.1", None),
        ("simpletuner", "optimizer_config", "weight_decay", None),
    ],
)
def test_an_argument_that_cannot_stay_is_removed_by_one_click(engine, option, given, left):
    plan = engine_plans.plan("sdxl", native={engine: {option: given}}, optimizer__name="AdamW")
    path = f"native.{engine}.{option}"
    (fix,) = {
        one.fix.label: one.fix for one in engine_plans.problems(registry.get(engine), plan) if one.path == path
    }.values()
    assert fix.label.startswith("Remove ")
    assert fix.changes["native"].get(engine, {}).get(option) == left
