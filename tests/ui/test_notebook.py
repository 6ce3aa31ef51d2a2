"""The shipped notebooks, without Jupyter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_wrong_kernel_is_reported_in_one_sentence(file, tmp_path):
    source = "".join(json.loads(file.read_text())["cells"][1]["source"])
    bare = [sys.executable, "-I", "-S", "-c", source]
    answer = subprocess.run(bare, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stderr == ""
    assert "Easel" in answer.stdout
    assert "python installer.py" in answer.stdout
    assert len(answer.stdout.splitlines()) == 1


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_the_code_is_hidden_and_the_kernel_is_easel(file):
    notebook = json.loads(file.read_text())
    metadata = notebook["cells"][1]["metadata"]
    assert metadata == {"cellView": "form", "jupyter": {"source_hidden": True}}
    assert notebook["metadata"]["kernelspec"]["name"] == "easel"
