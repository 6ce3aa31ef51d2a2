"""sd-scripts really trains what Easel offers with it: kinds of network, optimizers, the model itself, a new word.

Each run goes through `easel train` on a model of random weights, at a size a CPU can do, and ends with an accepted file.
"""

import pytest

from trainer_core import hardware, places
from trainer_core.install import environments

pytestmark = [pytest.mark.backend, pytest.mark.timeout(1200)]
GIB = 1024**3

RUNS = {
    "AdamW8bit": ({"optimizer.name": "AdamW8bit"}, 9),
    "Prodigy": ({"optimizer.name": "Prodigy", "optimizer.learning_rate": 1.0, "optimizer.d0": 1e-4}, 9),
    "Lion": ({"optimizer.name": "Lion", "optimizer.beta2": 0.95}, 9),
    "LoCon": ({"network.algorithm": "locon", "network.conv_rank": 2, "network.conv_alpha": 1.0}, 13),
    "LoHa": ({"network.algorithm": "loha"}, 13),
    "LoKr": ({"network.algorithm": "lokr", "network.factor": 8, "network.targets": "attention_mlp"}, 11),
    "full": (
        {
            "model.method": "full",
            "optimizer.name": "Adafactor",
            "optimizer.learning_rate": 1e-4,
            "output.save_every_steps": 0,
        },
        16,
    ),
    "textual inversion": (
        {
            "model.method": "textual_inversion",
            "embedding.init_word": "cat",
            "embedding.vectors": 2,
            "optimizer.learning_rate": 5e-3,
        },
        9,
    ),
}
"""What differs from a plain LoRA with AdamW, and the memory it takes on a CPU, in GiB."""


@pytest.fixture
def installed():
    if environments.installed("kohya") is None:
        pytest.skip("kohya is not installed here (python installer.py backend install kohya)")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("installed")
def test_it_trains_without_a_request_to_the_network(name, train, requests):
    values, needed_gib = RUNS[name]
    machine = hardware.machine(places.home())
    if machine.accelerator.kind == "cpu" and machine.free_ram_bytes < needed_gib * GIB:
        pytest.skip(f"{name} needs {needed_gib} GiB of free memory on a CPU")
    results = train("kohya", name, values)
    assert (results / "blob.safetensors").is_file()
    assert not requests, requests
