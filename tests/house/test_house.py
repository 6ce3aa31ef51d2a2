"""The repository follows its own rules: import contracts, content of the wheel, links and lists in the docs."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, tracked
from trainer_core.engines import registry


def test_import_contracts_hold():
    program = Path(sys.executable).parent / "lint-imports"
    checked = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("package", ["trainer_core.prepare.workbench", "trainer_core.cli", "trainer_ui.apps"])
def test_the_kernel_imports_no_heavy_library(package):
    heavy = "torch diffusers transformers tensorboard accelerate"
    code = f"import {package}, sys; print([m for m in '{heavy}'.split() if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_starting_a_notebook_does_not_import_what_only_a_model_needs():
    late = "PIL trainer_core.models.detection trainer_core.models.library trainer_core.models.downloads trainer_core.profiles trainer_core.estimate"
    code = f"import trainer_ui.apps, sys; print([m for m in '{late}'.split() if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_test_files_that_begin_first_exist(pytestconfig):
    (ours,) = [each for each in pytestconfig.pluginmanager.get_plugins() if hasattr(each, "MEANWHILE")]
    assert ours.LONG
    assert [file for file in ours.LONG if not (ROOT / file).is_file()] == []
    assert (ROOT / ours.MEANWHILE).is_dir()


def test_what_is_called_after_every_job_loads_nothing_that_few_jobs_need(tmp_path):
    (tmp_path / "result.json").write_text('{"state": "COMPLETED"}')
    late = "pydantic psutil httpx2 trainer_core.engines trainer_core.plan trainer_core.jobs.hosts.ssh"
    code = (
        "import sys, pathlib; from importlib.metadata import entry_points\n"
        "called = [point.load() for point in entry_points(group='trainer_core.job_ended')]\n"
        "assert len(called) >= 5\n"
        "for function in called: function(pathlib.Path(sys.argv[1]))\n"
        f"print([m for m in '{late}'.split() if m in sys.modules])"
    )
    environment = {**os.environ, "EASEL_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code, str(tmp_path)]
    loaded = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_installer_runs_with_the_standard_library_only(tmp_path):
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


def test_the_wheel_contains_only_the_packages_and_their_data(tmp_path):
    build = "import sys; from hatchling.builders.wheel import WheelBuilder; [print(p) for p in WheelBuilder('.').build(directory=sys.argv[1])]"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "No module named 'hatchling'" in made.stderr:
        pytest.fail("hatchling must be in the development requirements")
    assert made.returncode == 0, made.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"trainer_core", "trainer_ui", "backends"}
    assert "trainer_core/_resources/profiles/sd15/character.toml" in names
    assert any(name.startswith("trainer_core/_resources/themes/") for name in names)
    assert "backends/kohya/backend.toml" in names
    assert not any("__pycache__" in name or "workspace" in name for name in names)


def test_no_requirement_file_contains_an_address():
    files = sorted((ROOT / "requirements").glob("*.txt"))
    assert files
    for file in files:
        text = file.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index|--find-links|--extra-index", text), file.name


def test_notebooks_have_one_text_and_one_code_cell_without_outputs():
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    for file in notebooks:
        cells = json.loads(file.read_text())["cells"]
        assert [cell["cell_type"] for cell in cells] == ["markdown", "code"], file.name
        assert cells[1]["outputs"] == []
        assert cells[1]["execution_count"] is None


def test_links_in_the_docs_have_existing_targets():
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


def test_decisions_are_numbered_without_gaps_and_titled_with_their_number():
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
    names = {re.split(r"[\[<>=~! ]", requirement)[0].casefold() for requirement in wanted}
    words = set(re.findall(r"[\w.-]+", said))
    assert not {name for name in names if not {name, name.replace("_", "-"), name.replace("-", "_")} & words}


def test_modules_have_at_most_400_lines():
    long = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in tracked("*.py")}
    assert not {name: lines for name, lines in long.items() if lines > 400}


def test_no_test_supervises_in_its_own_process():
    """A supervisor kills all that its own process has started: here these would be the servers of other tests."""
    for file in tracked("tests/**.py"):
        names = {node.id for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Name)}
        assert "Supervision" not in names, f"{file.relative_to(ROOT)}: supervise in a process of its own"


def test_broad_excepts_are_in_two_places_only():
    places = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in tracked("trainer_core/**.py", "trainer_ui/**.py", "backends/**.py", "installer.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"except( BaseException| Exception)?( as \w+)?:", line)
    ]
    # Run by an engine's own Python: any exception there is the result of the check.
    places = [place for place in places if "inside/check.py" not in place]
    assert {place.partition(":")[0] for place in places} == {
        "trainer_core/jobs/supervisor.py",
        "trainer_ui/boundary.py",
    }
    assert len(places) == 2


def engine_words(file: Path, ids: list[str]) -> list[str]:
    """The places where an engine's id is a word of an identifier, or of a text that is not a docstring."""
    tree = ast.parse(file.read_text("utf-8"))
    # A text on its own is a docstring, or describes the name above it.
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for node in ast.walk(tree):
        names = [getattr(node, name, None) for name in ("id", "attr", "name", "arg", "asname", "module")]
        words = {word for name in names if isinstance(name, str) for word in re.split(r"[_.]", name)}
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            words |= set(re.findall(r"\w+", node.value))
        found += [f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}: {word}" for word in words & set(ids)]
    return found


def test_no_code_outside_its_folder_names_an_engine():
    """What the installer, the demo and the core need of an engine is in its manifest."""
    ids = [backend.manifest.id for backend in registry.available(include_hidden=True)]
    files = [file for file in tracked("trainer_core", "trainer_ui", "installer.py") if file.suffix == ".py"]
    assert [found for file in files for found in engine_words(file, ids)] == []
