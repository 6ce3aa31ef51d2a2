"""SimpleTuner really trains what Easel offers with it: optimizers, kinds of network, the model itself.

Each run goes through `easel train` on a model of random weights, at a size a CPU can do, and ends with an accepted result.
The pairs of a network and an optimizer are arbitrary: neither knows the other, and a run spends most of its time on imports.
"""

import os

import pytest

from trainer_core.install import environments

pytestmark = [pytest.mark.backend, pytest.mark.timeout(900)]

RUNS = {
    "LoCon with Adan": {
        "network.algorithm": "locon",
        "network.conv_rank": 2,
        "network.conv_alpha": 1.0,
        "optimizer.name": "Adan",
        "optimizer.epsilon": 1e-7,
    },
    "LoHa with Lion": {
        "network.algorithm": "loha",
        "optimizer.name": "Lion",
        "dataset.shuffle_captions": True,
        "memory.cache_latents": False,
    },
    "the model itself with StableAdamW": {
        "model.method": "full",
        "memory.fused_backward": True,
        "optimizer.name": "StableAdamW",
        "optimizer.max_grad_norm": 0,
        "optimizer.learning_rate": 1e-4,
    },
}
"""What differs from a plain LoRA with AdamW, which `test_real_training.py` trains; `test_real_keep_last.py` trains a LoKr."""
LONG = ("LoCon with Adan", "LoHa with Lion")
"""A minute each, which every run of the tests would cost: trained where that is asked for."""


@pytest.fixture
def installed():
    found = environments.installed("simpletuner")
    if found is None:
        pytest.skip("simpletuner is not installed here (python installer.py backend install simpletuner)")
    if found.version.startswith("3."):
        pytest.skip("SimpleTuner 3 is used for plain LoRA only")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("installed")
def test_it_trains_without_a_request_to_the_network(name, train, requests):
    if name in LONG and not os.environ.get("EASEL_LONG"):
        pytest.skip("set EASEL_LONG=1 to train this too")
    results = train("simpletuner", name, RUNS[name])
    assert not requests, requests
    if RUNS[name].get("model.method") == "full":
        assert (results / "blob" / "model_index.json").is_file()
        assert (results / "blob" / "text_encoder").is_dir()
        assert (results / "blob-step00000002").is_dir()
    else:
        assert (results / "blob.safetensors").is_file()
