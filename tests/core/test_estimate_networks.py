"""Sizes of networks, compared with networks that the real classes wrote and with files of real runs."""

from __future__ import annotations

import math

import pytest

from tests.support import recorded_headers, recorded_networks
from trainer_core.estimate import models
from trainer_core.estimate.networks import factorization, network
from trainer_core.plan.sections import NetworkSettings

TOY = {"32x64": 1, "32x32x1x1": 1, "64x32x3x3": 1}
"""The layers of the toy model in scripts/record_networks.py."""
FLAT = {"32x64": 1, "32x32x1x1": 1}
CONVOLUTIONS = {"conv_rank": 3}
RECORDED = {
    "kohya-lora_sd3": ("lora", FLAT, {}),
    "kohya-dylora": ("dylora", FLAT, {}),
    "kohya-lora_fa": ("lora_fa", FLAT, {}),
    "simpletuner-lora-diffusers": ("lora", FLAT, {}),
    "simpletuner-dora-diffusers": ("dora", FLAT, {}),
    "lycoris-locon": ("locon", TOY, CONVOLUTIONS),
    "lycoris-locon-tucker": ("locon", TOY, {**CONVOLUTIONS, "tucker": True}),
    "lycoris-dora": ("dora", TOY, CONVOLUTIONS),
    "lycoris-loha": ("loha", TOY, CONVOLUTIONS),
    "lycoris-loha-tucker": ("loha", TOY, {**CONVOLUTIONS, "tucker": True}),
    "lycoris-lokr": ("lokr", TOY, {**CONVOLUTIONS, "factor": 4}),
    "lycoris-lokr-both": ("lokr", TOY, {"decompose_both": True}),
    "lycoris-lokr-tucker": ("lokr", TOY, {**CONVOLUTIONS, "factor": 2, "tucker": True}),
    "lycoris-lokr-full": ("lokr", TOY, {**CONVOLUTIONS, "factor": 4, "full_matrix": True}),
    "lycoris-lokr-large": ("lokr", TOY, {"rank": 1000, "factor": 4}),
    "lycoris-dylora": ("dylora", TOY, {}),
    "lycoris-glora": ("glora", TOY, {}),
    "lycoris-ia3": ("ia3", TOY, {}),
    "lycoris-oft": ("oft", TOY, {"rescaled": True}),
    "lycoris-boft": ("boft", TOY, {}),
    "lycoris-full": ("full", TOY, {}),
    "simpletuner-lokr": ("lokr", TOY, {"factor": 4}),
}
NOT_COUNTED = ("alpha", "on_input")
"""Endings of tensors that the estimate does not count as parameters."""


@pytest.mark.parametrize("name", RECORDED)
def test_parameters_match_the_recorded_network(name):
    algorithm, layers, settings = RECORDED[name]
    found = network(NetworkSettings.model_validate({"algorithm": algorithm, "rank": 4, **settings}), layers)
    tensors = recorded_networks.load(name)
    numbers = sum(tensor.size for key, tensor in tensors.items() if not key.endswith(NOT_COUNTED))
    assert found.parameters == numbers
    assert abs(found.tensors - len(tensors)) <= len(layers)


def test_every_recorded_algorithm_of_lycoris_is_compared_with_its_file():
    missing = {name for name in recorded_networks.NAMES if name.startswith("lycoris-")} - set(RECORDED)
    assert missing == {
        "lycoris-locon-norms",
        "lycoris-locon-scalar",
        "lycoris-locon-stabilized",
        "lycoris-loha-scalar",
        "lycoris-tlora",
    }


FILES = {
    "SD1.5 LoRA of rank 4": ("sd15", "lora", (), {"rank": 4}, 3.32),
    "SDXL LoRA of rank 4": ("sdxl", "lora", (), {"rank": 4}, 21.6e6 / 2**20),
    "SD1.5 LoCon": ("sd15", "full", (), {"algorithm": "locon", "rank": 4, "conv_rank": 2}, 6.10),
    "SD1.5 LoHa": ("sd15", "full", (), {"algorithm": "loha", "rank": 4}, 16.33),
    "SD1.5 LoKr": ("sd15", "attention_mlp", (), {"algorithm": "lokr", "rank": 4, "factor": 8}, 0.54),
    "SD1.5 LoRA of rank 32 with text encoder": ("sd15", "lora", ("clip_l",), {"rank": 32}, 38e6 / 2**20),
}
"""Sizes in MiB of files that real runs wrote: docs/records/2026-11-21-every-setting.md and 2026-11-20-sd-scripts-cpu.md. The last
is the known size of a LoRA with 264 modules of rank 32."""


@pytest.mark.parametrize("name", FILES)
def test_file_sizes_match_those_of_real_runs(name):
    model, target, encoders, settings, size_mib = FILES[name]
    found = models.models()[model].layers_of("original", target)
    tables = [found, *(models.parts()[encoder].layers for encoder in encoders)]
    own = network(NetworkSettings.model_validate(settings), models.added(tables))
    assert own.file_bytes(2) / 2**20 == pytest.approx(size_mib, rel=0.02)


def test_parameters_match_the_recorded_lora_of_sd15():
    header = recorded_headers.load("lora-kohya-sd15")["tensors"]
    numbers = sum(math.prod(shape) for key, (_, shape) in header.items() if not key.endswith("alpha"))
    own = network(NetworkSettings(rank=4), models.models()["sd15"].layers_of("original", "lora"))
    assert own.parameters == numbers
    assert own.tensors == len(header)


@pytest.mark.parametrize(
    ("size", "factor", "both"),
    [
        (127, 4, (1, 127)),
        (128, -1, (8, 16)),
        (250, 8, (5, 50)),
        (360, 16, (15, 24)),
        (512, 16, (16, 32)),
        (1024, -1, (32, 32)),
    ],
)
def test_factorization_matches_that_of_lycoris(size, factor, both):
    """Results of lycoris functional/general.py, factorization; the table in its docstring has 12 and 30 for 360 and 16."""
    assert factorization(size, factor) == both


@pytest.mark.parametrize(("family", "without", "with_"), [("sd15", 192, 278), ("sdxl", 722, 788)])
def test_a_lora_with_convolutions_has_the_layers_of_sd_scripts_own_network(family, without, with_):
    """Source: networks/lora.py, create_network on the U-Net of each family, with and without conv_dim: "create LoRA for U-Net"."""
    from trainer_core.estimate import models as sizes

    found = next(one for one in sizes.models().values() if one.family == family)
    own = sum(found.layers_of("original", "lora").values())
    assert (own, own + sum(found.convolutions("original").values())) == (without, with_)
