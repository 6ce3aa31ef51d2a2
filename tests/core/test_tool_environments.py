"""The environments of tools: which build a device gets, and what an installed one can do. One is made from the package registry if asked."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support import taggers as tiny
from trainer_core import places
from trainer_core.errors import InstallError
from trainer_core.hardware import Accelerator
from trainer_core.install import tool_environments


def lock_for(name, device):
    return [each.lock for each in tool_environments.get(name).variants if each.suits(device)]


@pytest.mark.parametrize(
    ("device", "locks"),
    [
        (Accelerator("cpu", "CPU"), ["onnx"]),
        (Accelerator("cuda", "a GPU", driver="580.65.06"), ["onnx-gpu", "onnx"]),
        (Accelerator("cuda", "a GPU", driver="535.104"), ["onnx"]),
        (Accelerator("cuda", "a GPU"), ["onnx-gpu", "onnx"]),
        (Accelerator("mps", "Apple"), ["onnx"]),
    ],
)
def test_a_gpu_gets_its_build_of_onnx_runtime_only_with_a_driver_for_it(device, locks):
    assert lock_for("onnx", device) == locks


def test_no_environment_has_both_builds_of_onnx_runtime():
    for row in tool_environments.environments().values():
        for variant in row.variants:
            names = {line.partition("==")[0] for file in variant.files for line in file.read_text().splitlines()}
            assert len(names & {"onnxruntime", "onnxruntime-gpu"}) <= 1
            assert all("--hash=sha256:" in file.read_text() for file in variant.files)


def test_an_environment_that_is_not_known_or_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    with pytest.raises(InstallError, match="onnx"):
        tool_environments.get("typo")
    with pytest.raises(InstallError, match="not installed"):
        tool_environments.interpreter("onnx")
    folder = tool_environments.get("onnx").folder
    folder.mkdir(parents=True)
    (folder / "installed.json").write_text("{}")
    assert tool_environments.installed("onnx") is None


def test_the_check_of_onnx_runtime_computes_and_refuses_a_device_that_is_not_there():
    tiny.environment()
    program = places.CHECKOUT / "trainer_core/install/inside/onnx_check.py"

    def answer(device):
        task = json.dumps({"imports": ["onnxruntime"], "device": device})
        command = [tool_environments.interpreter("onnx"), "-P", program, task]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return json.loads(done.stdout.splitlines()[-1])

    assert answer("")["used"] == "CPUExecutionProvider"
    refused = answer("cuda")
    assert refused["ok"] is False
    assert "CUDAExecutionProvider" in refused["failure"]


@pytest.mark.network
@pytest.mark.skipif(
    not os.environ.get("EASEL_INSTALL_TOOLS"), reason="EASEL_INSTALL_TOOLS is not set: it downloads 40 MB"
)
def test_the_environment_is_made_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path))
    lines: list[str] = []
    first = tool_environments.install("onnx", report=lines.append)
    assert lines
    lines.clear()
    assert tool_environments.install("onnx", report=lines.append) == first
    assert lines == []
    assert tool_environments.is_current("onnx")
    assert tool_environments.remove("onnx")
    assert tool_environments.installed("onnx") is None
