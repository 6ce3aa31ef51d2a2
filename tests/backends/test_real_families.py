"""SimpleTuner really trains the families of 2026, on tiny models of the real classes, and asks the network for nothing.

The tiny models are made in the engine's environment by `tests/support/tiny_pipelines.py`. Each run goes through `easel train`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends.conftest import SMALL
from tests.support import engine_plans
from trainer_core.child import child_environment
from trainer_core.draft.checks import loading
from trainer_core.engines import registry
from trainer_core.install import environments
from trainer_core.models import detection, header, loaders
from trainer_core.models.loaders import foreseen

pytestmark = [pytest.mark.backend, pytest.mark.timeout(900)]
SCRIPT = Path(__file__).parents[1] / "support" / "tiny_pipelines.py"
SAMPLED = {
    "sampling.every_steps": 4,
    "sampling.width": 64,
    "sampling.height": 64,
    "sampling.inference_steps": 2,
}
EIGHT_BITS = {"native.simpletuner.text_encoder_1_precision": "fp8-sdnq", "native.simpletuner.quantize_via": "cpu"}
"""The text encoder in 8 bits while captions are encoded, as Easel proposes for a GPU on which it does not fit otherwise."""
FAMILIES = {
    "sd3": {"network.alpha": 4.0},
    "lumina2": {},
    "flux2": {"network.alpha": 4.0},
    "z_image": {"model.variant": "base"},
    "qwen_image": {},
    "qwen_image21": EIGHT_BITS,
    "krea2": {"network.alpha": 4.0},
    "pixart": {"optimizer.max_grad_norm": 0.01, **EIGHT_BITS},
    "kandinsky5_image": {"network.alpha": 4.0},
    "ernie_image": {"model.variant": "base", "network.alpha": 4.0},
    "auraflow": {"model.variant": "pony-v7", "network.alpha": 4.0},
    "longcat_image": EIGHT_BITS,
}
"""What a plan of the family says more. Where alpha is the rank, it is because diffusers loads the file only so."""
NOT_IN_DIFFUSERS = ("pixart", "longcat_image")
"""Families of which diffusers loads no LoRA."""
STATED = "lumina2"
"""Its alpha stays in the metadata, where diffusers reads it: ComfyUI has no layers with these names."""
USUAL = "flux2"
"""A minute and a half each, which every run of the tests would cost: the others are trained where that is asked for."""


@pytest.fixture
def python():
    found = environments.installed("simpletuner")
    if found is None:
        pytest.skip("simpletuner is not installed here (python installer.py backend install simpletuner)")
    if found.version.startswith("3."):
        pytest.skip("SimpleTuner 3 does not have these families")
    return found.python


@pytest.fixture
def tiny(python, tmp_path):
    """Makes the tiny model of a family."""

    def made(family):
        folder = tmp_path / f"tiny-{family}"
        _ask(python, family, folder)
        return folder

    return made


def _ask(python, *words):
    done = subprocess.run(
        [python, SCRIPT, *words],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment({"HF_HUB_OFFLINE": "1"}),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_it_trains_without_a_request(family, train, tiny, python, requests):
    if family != USUAL and not os.environ.get("EASEL_LONG"):
        pytest.skip("set EASEL_LONG=1 to train this too")
    model = tiny(family)
    found = detection.detect(header.read(model))
    assert found.family == family
    results = train("simpletuner", family, {**SAMPLED, **FAMILIES[family]}, model)
    assert not requests, requests
    assert found.apart == ""
    result = results / "blob.safetensors"
    written = header.read(result)
    assert any("attn" in name or "attention" in name for name in written.tensors)
    has_alpha = any(name.endswith(".alpha") for name in written.tensors)
    assert has_alpha == ("network.alpha" not in FAMILIES[family] and family != STATED)
    foretold(family, written)
    if os.environ.get("EASEL_LONG") and family not in NOT_IN_DIFFUSERS:
        loaded = _ask(python, "load", model, result)
        print(f"\n{family}: {loaded}", file=sys.stderr)
        assert loaded["changed"] > 0
        assert family != STATED or loaded["scales"] == [0.5]


def foretold(family, written):
    """The file has the layers that the claim declares, and programs load it as the plan said before the start."""
    claim = registry.get("simpletuner").manifest.families[family]
    declared = foreseen.trained(family, claim.cell("lora").written, "lora")
    found = loaders.modules(written, family)
    assert found
    assert all(module.place for module in found), [module.name for module in found if not module.place]
    assert {_kind(module.place.layer) for module in found} <= {_kind(layer) for layer in declared}
    alpha = FAMILIES[family].get("network.alpha", SMALL["network.alpha"])
    plan = engine_plans.plan(family, network__rank=SMALL["network.rank"], network__alpha=alpha)
    said = {answer.program: answer.loads for answer in loading.answers(claim, plan.network)}
    assert said == {answer.program: answer.loads for answer in loaders.judge(written, family)}


def _kind(layer):
    return re.sub(r"\d+", "#", layer)
