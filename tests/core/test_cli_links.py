"""A link in place of the base model's path: the command line says how to download it, and takes it for no path."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("stabilityai/stable-diffusion-xl-base-1.0", "easel models download stabilityai/stable-diffusion-xl-base-1.0"),
        ("https://example.org/m.safetensors", "easel models download https://example.org/m.safetensors"),
        ("https://mika:secret@example.org/m.safetensors", "contains a user name or a password"),
    ],
)
def test_a_link_as_base_model_is_named_as_one(tmp_path, link, told):
    command = [sys.executable, "-m", "trainer_core.cli", "plan", "--model", link]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    said = " ".join((done.stdout + done.stderr).split())
    assert told in said
    assert f"{tmp_path}/" not in said, "not a path in the current folder"
