"""What sd-scripts cannot train in 8 bits, in fp16, or with several learning rates: the rules, and the first step of the modules."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backends.kohya import backend
from backends.kohya.translation import TRANSLATION
from tests.support import engine_plans
from trainer_core import catalog
from trainer_core.engines.status import NOT_KNOWN
from trainer_core.estimate.fit_advice import changed
from trainer_core.hardware import Accelerator
from trainer_core.install import environments
from trainer_core.plan import fields
from trainer_core.problems import Problem

OLD = Accelerator("cuda", "an old GPU", 16 * engine_plans.GIB, 15 * engine_plans.GIB, "7.5")
EIGHT = {"memory__fp8_base": True}
FP16 = {"memory__mixed_precision": "fp16"}
FUSED = {"model__method": "full", "memory__fused_backward": True, "optimizer__name": "Adafactor"}
TRAINED = {"network__train_text_encoder": True}
PRODIGY = {"optimizer__name": "Prodigy", "optimizer__learning_rate": 1.0}
PLUS = {**PRODIGY, "optimizer__name": "ProdigyPlusScheduleFree", "schedule__scheduler": "constant"}


def network(name: str, **values: Any) -> dict[str, Any]:
    return {"network__algorithm": name, **values}


def native(**options: Any) -> dict[str, Any]:
    return {"native": {"kohya": options}}


def arguments(*entries: str) -> dict[str, Any]:
    return native(network_args=list(entries))


def said(family: str, values: dict[str, Any], card: Accelerator = engine_plans.CARD) -> list[Problem]:
    plan = engine_plans.plan(family, **values)
    return [each for each in backend.problems(plan, engine_plans.machine(card), NOT_KNOWN) if each.severity == "error"]


REFUSED = {
    **{
        f"{name} on {family} in 8 bits": (family, {**EIGHT, **network(name)}, "memory.fp8_base")
        for family, names in {
            "sdxl": ("locon", "dora", "loha", "lokr", "ia3", "oft", "boft"),
            "flux": ("dora", "loha", "lokr", "oft", "boft", "full"),
            "hunyuan_image": ("lokr", "glora", "full"),
        }.items()
        for name in names
    },
    "DoRA with bypass_mode": ("flux", {**EIGHT, **network("dora"), **arguments("bypass_mode=true")}, "memory.fp8_base"),
    "LoKr on fp8_base_unet": ("flux", {**network("lokr"), **native(fp8_base_unet=True)}, "native.kohya.fp8_base_unet"),
    "FLUX in fp16": ("flux", {"model__method": "full", **FP16}, "memory.mixed_precision"),
    "Lumina 2 in fp16": ("lumina2", {"model__method": "full", **FP16}, "memory.mixed_precision"),
    "the algorithm full in fp16": ("sdxl", {**network("full"), **FP16}, "memory.mixed_precision"),
    "AdamW with weights in fp16": ("sdxl", {**FP16, "memory__half_weights": True}, "memory.half_weights"),
    "a fused backward pass in fp16": ("sdxl", {**FUSED, **FP16}, "memory.fused_backward"),
    "fused groups in fp16": (
        "sdxl",
        {"model__method": "full", **FP16, **native(fused_optimizer_groups=4)},
        "native.kohya.fused_optimizer_groups",
    ),
    "Prodigy with another rate for the text encoder": (
        "sd15",
        {**PRODIGY, **TRAINED},
        "optimizer.text_encoder_learning_rate",
    ),
    "schedule-free Prodigy with a tiny rate for the text encoder": (
        "sd15",
        {**PLUS, **TRAINED},
        "optimizer.text_encoder_learning_rate",
    ),
    "Prodigy with LoRA+": ("sd15", {**PRODIGY, **arguments("loraplus_lr_ratio=4")}, "native.kohya.network_args"),
    "Prodigy with weights of blocks": (
        "sdxl",
        {**PRODIGY, **arguments("up_lr_weight=cosine")},
        "native.kohya.network_args",
    ),
    "Prodigy with rates of layers": (
        "flux",
        {**PRODIGY, **arguments("network_reg_lrs=single_blocks=0.5")},
        "native.kohya.network_args",
    ),
    "Prodigy with rates of blocks": (
        "sdxl",
        {**PRODIGY, "model__method": "full", **native(block_lr=",".join(["1", "0.5"] + ["1"] * 21))},
        "native.kohya.block_lr",
    ),
    "Prodigy with a rate for the MLPs": (
        "anima",
        {**PRODIGY, "model__method": "full", **native(mlp_lr=0.5)},
        "native.kohya.mlp_lr",
    ),
}
"""Family, values and the setting with the error."""

ACCEPTED = {
    **{
        f"{name} on {family} in 8 bits": (family, {**EIGHT, **network(name)})
        for family, names in {"sdxl": ("lora", "lora_fa", "dylora", "glora", "full"), "flux": ("lora", "glora")}.items()
        for name in names
    },
    "LoKr with bypass_mode": ("flux", {**EIGHT, **network("lokr"), **arguments("bypass_mode=true")}),
    "FLUX in fp16, with its weights": (
        "flux",
        {"model__method": "full", **FP16, "memory__half_weights": True, "optimizer__name": "Adafactor"},
    ),
    "SDXL in fp16": ("sdxl", {"model__method": "full", **FP16}),
    "a fused backward pass": ("sdxl", FUSED),
    "Prodigy with one rate": ("sd15", {**PRODIGY, **TRAINED, "optimizer__text_encoder_learning_rate": 1.0}),
    "schedule-free Prodigy with two rates": (
        "sd15",
        {**PLUS, **TRAINED, "optimizer__text_encoder_learning_rate": 0.5},
    ),
    "schedule-free Prodigy with LoRA+": ("sd15", {**PLUS, **arguments("loraplus_lr_ratio=4")}),
    "Prodigy with some blocks left out": (
        "sdxl",
        {**PRODIGY, **arguments("down_lr_weight=0,0,0,0,1,1,1,1,1")},
    ),
    "Prodigy with frozen MLPs": ("anima", {**PRODIGY, "model__method": "full", **native(mlp_lr=0.0)}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_and_the_fix_brings_no_error(name):
    family, values, path = REFUSED[name]
    for card in (engine_plans.CARD, OLD):
        found = [each for each in said(family, values, card) if each.path == path]
        assert len(found) == 1, said(family, values, card)
        if found[0].fix is not None and found[0].fix.changes:
            fixed = changed(engine_plans.plan(family, **values), found[0].fix.changes)
            left = backend.problems(fixed, engine_plans.machine(card), NOT_KNOWN)
            before = {each.message for each in said(family, values, card)} - {found[0].message}
            assert {each.message for each in left if each.severity == "error"} <= before


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_can_be_trained_is_accepted(name):
    assert said(*ACCEPTED[name]) == []


@pytest.mark.backend
@pytest.mark.timeout(600)
def test_the_tables_are_what_the_modules_do_in_their_first_steps(tmp_path):
    """Each network on a base model in 8 bits, and each optimizer with weights in fp16 and with two learning rates."""
    installed = environments.installed("kohya")
    if installed is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")
    names = backend.manifest.optimizers
    asked = {name: (spelled, backend.manifest.optimizer_arguments.get(name, ())) for name, spelled in names.items()}
    cases, answers = tmp_path / "cases.json", tmp_path / "answers.json"
    cases.write_text(json.dumps(asked), "utf-8")
    script = Path(__file__).parents[1] / "support" / "first_steps_kohya.py"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(installed.source)}
    done = subprocess.run(
        [installed.python, script, cases, answers],
        cwd=installed.source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(answers.read_text("utf-8"))
    for name, row in TRANSLATION.algorithms.items():
        if row.module == "lycoris.kohya":
            trains = {case: found[f"{name}, {case}"] == "trains" for case in ("later", "first", "bypass")}
            assert trains["first"] == (row.eight_bits in ("yes", "unscaled")), (name, found)
            assert trains["later"] == (row.eight_bits in ("yes", "unscaled", "later")), (name, found)
            # DoRA trains, too, but as a plain LoRA.
            assert trains["bypass"] == (name != "full"), (name, found)
    assert {name for name in names if found[f"{name}, fp16"] == "NaN"} == {*TRANSLATION.not_in_fp16}
    alone = {name for name in names if "different lr values" in found[f"{name}, two rates"]}
    assert alone == {name for name in names if catalog.optimizers()[name].one_rate}
    assert "unscale FP16 gradients" in found["float16, plain"]
    assert found["float16, patched"] == found["float32, plain"] == "steps"
    for how in ("fused", "groups"):
        assert "unscale_() has already been called" in found[f"float32, {how}"]


def test_the_tables_name_what_exists():
    assert {*TRANSLATION.not_in_fp16} <= {*backend.manifest.optimizers}
    assert fields.all_fields()["memory.half_weights"]
