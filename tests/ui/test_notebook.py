"""The shipped notebooks, without Jupyter."""

import json
import subprocess
import sys
import zipfile
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
    """On a platform where nobody can choose a kernel, it is the platform's own."""
    notebook = json.loads(file.read_text())
    metadata = notebook["cells"][1]["metadata"]
    assert metadata == {"cellView": "form", "jupyter": {"source_hidden": True}}
    assert notebook["metadata"]["kernelspec"]["name"] == ("python3" if "_on_" in file.stem else "easel")


@pytest.fixture
def hosted(tmp_path):
    """The functions of the cell for Colab, with the folder of a test in place of /content. Simulated: not run on Colab."""
    source = "".join(json.loads((NOTEBOOKS[0].parent / "Easel_on_Colab.ipynb").read_text())["cells"][1]["source"])
    functions = source.partition("\nif not any(")[0].replace('"/content', f'"{tmp_path}')
    names = {}
    exec(functions, names)
    return names


def archived(path, top, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"{top}{name}", "")


def test_easel_is_brought_from_an_archive_with_a_folder_around_it(hosted, tmp_path):
    archived(tmp_path / "easel-0.1.zip", "Easel-main/", "docs/installer.py", "installer.py", "pyproject.toml")
    assert hosted["is_there"]()
    assert (tmp_path / "easel-code/pyproject.toml").is_file()
    (tmp_path / "easel-0.1.zip").unlink()
    assert hosted["is_there"]()


def test_easel_is_brought_from_a_folder_without_its_workspace(hosted, tmp_path):
    for name in ("shown/installer.py", "shown/workspace/models/big.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    hosted["easel_from"] = str(tmp_path / "shown")
    assert hosted["is_there"]()
    assert sorted(path.name for path in (tmp_path / "easel-code").iterdir()) == ["installer.py"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "Where is Easel?"),
        ("{}/other.zip", "it has no installer.py"),
        ("{}/broken.zip", "could not be brought"),
        ("{}/missing", "could not be brought"),
        ("https://user:hidden@127.0.0.1:9/easel.zip", "could not be brought"),
        ("https://user:hidden@127.0.0.1:9/easel", "could not clone"),
    ],
)
def test_what_is_not_easel_is_refused_in_one_sentence(hosted, tmp_path, capsys, given, said):
    archived(tmp_path / "other.zip", "", "readme.txt")
    (tmp_path / "broken.zip").write_text("not a zip")
    hosted["easel_from"] = given.format(tmp_path)
    assert not hosted["is_there"]()
    told = capsys.readouterr().out
    assert said in told
    assert len(told.splitlines()) == 1
    assert "hidden" not in told
    assert not (tmp_path / "easel-code").exists()
