"""The house keeps its own rules: import contracts, what the wheel holds, what the docs say, what no file may name."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIT = shutil.which("git")


def tracked(*patterns: str) -> list[Path]:
    """The files git tracks; every file outside a checkout."""
    if GIT and (ROOT / ".git").exists():
        listed = subprocess.run([GIT, "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
        return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    pytest.skip("not a git checkout: the list of our own files is not known")


def test_import_contracts_hold():
    program = Path(sys.executable).parent / "lint-imports"
    checked = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("package", ["trainer_core.workbench", "trainer_core.cli", "trainer_ui.apps"])
def test_the_kernel_stays_light(package):
    heavy = "torch diffusers transformers tensorboard accelerate"
    code = f"import {package}, sys; print([m for m in '{heavy}'.split() if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_a_notebook_does_not_wait_for_what_only_a_model_needs():
    late = "PIL trainer_core.detection trainer_core.library trainer_core.downloads trainer_core.profiles trainer_core.estimate"
    code = f"import trainer_ui.apps, sys; print([m for m in '{late}'.split() if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_installer_runs_on_the_standard_library_alone(tmp_path):
    """As on a fresh machine: no site-packages at all."""
    answer = subprocess.run(
        [sys.executable, "-S", "-I", str(ROOT / "installer.py"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "demo" in answer.stdout


def test_the_wheel_holds_the_packages_and_the_data_and_nothing_else(tmp_path):
    build = "import sys; from hatchling.builders.wheel import WheelBuilder; [print(p) for p in WheelBuilder('.').build(directory=sys.argv[1])]"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "No module named 'hatchling'" in made.stderr:
        pytest.fail("hatchling belongs to the development requirements")
    assert made.returncode == 0, made.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"trainer_core", "trainer_ui", "backends"}
    assert "trainer_core/_resources/profiles/sd15/character.toml" in names
    assert any(name.startswith("trainer_core/_resources/themes/") for name in names)
    assert "backends/kohya/backend.toml" in names
    assert not any("__pycache__" in name or "workspace" in name for name in names)


def test_no_requirement_file_names_an_address():
    files = sorted((ROOT / "requirements").glob("*.txt"))
    assert files
    for file in files:
        text = file.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index|--find-links|--extra-index", text), file.name


def test_notebooks_are_one_text_and_one_code_cell_without_outputs():
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    for file in notebooks:
        cells = json.loads(file.read_text())["cells"]
        assert [cell["cell_type"] for cell in cells] == ["markdown", "code"], file.name
        assert cells[1]["outputs"] == []
        assert cells[1]["execution_count"] is None


def test_links_in_the_docs_lead_somewhere():
    for file in tracked("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", file.read_text()):
            if not re.match(r"[a-z]+:", target):
                assert (file.parent / target).exists(), f"{file.relative_to(ROOT)} links to {target}"


def test_the_architecture_says_where_each_room_of_the_core_is():
    said = re.sub(r"```.*?```", "", (ROOT / "docs" / "architecture.md").read_text(), flags=re.DOTALL)
    rooms = {path.relative_to(ROOT / "trainer_core").parts[0] for path in tracked("trainer_core/**.py")} - {
        "__init__.py"
    }
    words = {word for quoted in re.findall(r"`([^`]+)`", said) for word in re.split(r"[/\s]", quoted)}
    assert not rooms - words


def test_decisions_are_numbered_one_after_the_other_and_titled_by_their_number():
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [file.name[:5] for file in files] == [f"{number:04}-" for number in range(1, len(files) + 1)]
    assert all(file.read_text().startswith(f"# {file.name[:4]} ") for file in files)


def test_third_party_names_every_library_and_engine():
    said = (ROOT / "THIRD_PARTY.md").read_text().casefold()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[<>=~! ]", requirement)[0].casefold() for requirement in wanted}
    words = set(re.findall(r"[\w.-]+", said))
    assert not {name for name in names if not {name, name.replace("_", "-"), name.replace("-", "_")} & words}


def test_modules_are_short_enough_to_read():
    long = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in tracked("*.py")}
    assert not {name: lines for name, lines in long.items() if lines > 400}


def test_broad_excepts_stand_in_two_places_only():
    places = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in tracked("trainer_core/**.py", "trainer_ui/**.py", "backends/**.py", "installer.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"except( BaseException| Exception)?( as \w+)?:", line)
    ]
    # Run by an engine's own Python: whatever stops an import there is the answer.
    places = [place for place in places if "engine_check.py" not in place]
    assert {place.partition(":")[0] for place in places} == {"trainer_core/runs/runner.py", "trainer_ui/boundary.py"}
    assert len(places) == 2
