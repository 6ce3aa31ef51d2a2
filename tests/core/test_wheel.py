"""Easel as a package: the wheel is built and installed into a fresh environment, and used with an empty home folder, outside of the checkout.

Its dependencies are those of the environment that runs the tests, by a .pth file: installing them again would take a minute.
"""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support import tiny_engine
from trainer_core.install import uv

REPOSITORY = Path(__file__).parents[2]
BUILD = "import sys; from hatchling.builders.wheel import WheelBuilder; print(*WheelBuilder('.').build(directory=sys.argv[1]))"


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory):
    """The programs of an environment with the wheel, and no other Easel."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-c", BUILD, folder], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    program, python = str(uv.ensure_uv()), folder / "venv/bin/python"
    put = [program, "pip", "install", "--quiet", "--no-deps", "--offline", "--python", str(python)]
    for command in (
        [program, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
        [*put, built.stdout.strip()],
    ):
        subprocess.run(command, check=True, env=uv.uv_environment())
    site = next((folder / "venv/lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python.parent


class User:
    """A user with an empty home folder, who runs the programs of the environment."""

    def __init__(self, programs: Path, home: Path) -> None:
        self.programs, self.home = programs, home
        home.mkdir()

    def __call__(self, program, *words, check=0, **variables):
        base = {"HOME": str(self.home), "PATH": f"{uv.ensure_uv().parent}:/usr/bin:/bin", "COLUMNS": "200"}
        command = [self.programs / program, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.home, env=base | variables, check=False, timeout=300
        )
        assert done.returncode == check, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def run(bin_folder, tmp_path):
    return User(bin_folder, tmp_path / "user")


def test_a_user_of_the_package_gets_kernel_notebooks_and_the_offer_of_engines(run, bin_folder):
    said = json.loads(run("easel", "setup", "--json"))
    home, seen = run.home / ".local/share/easel", run.home / "Easel"
    assert (said["home"], said["notebooks"]) == (str(home), str(seen))
    shipped = sorted(file.name for file in (REPOSITORY / "notebooks").glob("*.ipynb"))
    assert said["copied"] == shipped
    assert sorted(file.name for file in seen.glob("*.ipynb")) == shipped
    assert (seen / "workspace").resolve() == home
    kernel = json.loads((run.home / ".local/share/jupyter/kernels/easel/kernel.json").read_text())
    assert kernel["argv"][0] == str(bin_folder / "python")
    assert [engine["command"] for engine in said["engines"]] == [
        "easel backends install kohya",
        "easel backends install musubi",
        "easel backends install simpletuner",
    ]
    # What the first cell of each notebook imports, by the kernel's Python: from the package, with its themes and guides.
    apps = "import trainer_ui.apps, trainer_ui.theme, trainer_ui.guides, trainer_core as core; from trainer_core import places; "
    apps += (
        "print(core.__file__, [places.resource(n).is_dir() for n in ('themes', 'profiles', 'docs', 'requirements')])"
    )
    where = run("python", "-c", apps)
    assert str(bin_folder.parent) in where
    assert "False" not in where


def test_a_notebook_that_the_user_has_changed_stays(run):
    run("easel", "setup", "--notebooks", "~/my notebooks")
    folder = run.home / "my notebooks"
    shown, changed, old = (
        folder / "LoRA_Trainer.ipynb",
        folder / "Model_Converter.ipynb",
        folder / "File_Uploader.ipynb",
    )
    shown.write_text(shown.read_text().replace('"outputs": []', '"outputs": ["an app"]'))
    changed.write_text(changed.read_text().replace("Run this cell", "My cell"))
    old.unlink()
    said = run("easel", "setup")
    assert f"Notebooks: {folder} (1 copied)" in said, "the chosen folder is known"
    assert "You have changed Model_Converter.ipynb" in said
    assert "an app" in shown.read_text()
    assert "My cell" in changed.read_text()
    assert old.exists()


def test_an_engine_is_installed_by_the_package_and_the_advice_is_that_of_a_package(run, tmp_path):
    engine = tiny_engine.Engine(tmp_path)
    variables = {"PYTHONPATH": str(engine.folder)}
    missing = run("easel", "backends", "verify", "tiny", check=1, **variables)
    assert missing == ""
    found = json.loads(run("easel", "backends", "install", "tiny", "--accelerator", "cpu", "--json", **variables))
    assert found["version"] == "1.0"
    assert Path(found["folder"]) == run.home / ".local/share/easel/engines/tiny"
    assert "easel backends install kohya" in run("easel", "doctor", check=1)


def test_jupyterlab_and_the_demo_are_started_by_the_package(run):
    assert run("easel", "lab", "--version").strip()[0].isdigit()
    assert (run.home / "Easel/LoRA_Trainer.ipynb").exists(), "it was set up first"
    done = run("easel", "demo", "--backend", "nothing", check=1)
    assert "1. Engine: nothing" in done
