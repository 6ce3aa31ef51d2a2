"""What `easel doctor` tries with an engine's own Python, on this machine, where the engine is installed."""

import json
import os
import subprocess

import pytest

from trainer_core.engines import registry
from trainer_core.install.inside import proof
from trainer_core.install.installed import InstalledEngine, installed

ENGINES = [backend.manifest for backend in registry.available() if backend.manifest.needs_installation]


def proved(engine: InstalledEngine, what: str) -> dict:
    command = [str(engine.python), proof.__file__, what, str(os.getpid()), "480"]
    # It ends with its input.
    reading, writing = os.pipe()
    try:
        done = subprocess.run(command, stdin=reading, capture_output=True, text=True, timeout=500, check=False)
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.backend
@pytest.mark.parametrize("manifest", ENGINES, ids=lambda manifest: manifest.id)
def test_an_engine_computes_and_saves_memory(manifest):
    engine = installed(manifest.id)
    if engine is None:
        pytest.skip(f"{manifest.title} is not installed")
    kernel = proved(engine, "kernel")
    assert kernel["ok"], kernel
    assert kernel["torch"] == engine.details["torch"]
    attention = proved(engine, "attention")
    assert attention["ok"], attention
    assert attention["kinds"]["sdpa math"]["ok"], attention
    small = proved(engine, "bitsandbytes")
    if small["absent"]:
        assert "bitsandbytes==" not in manifest.environment[0].lock.read_text()
        return
    assert small["ok"], small
    assert small["native"].startswith("libbitsandbytes_")
    # Two numbers of 8 bits, and a scale in 32 bits for each block of 256.
    assert small["bytes"] / small["full_bytes"] == pytest.approx((2 + 2 * 4 / 256) / 8, rel=0.01)
