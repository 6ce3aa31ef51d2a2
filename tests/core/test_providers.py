"""Platforms are recognised from planted variables and files. Simulated: none of them was run live."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from trainer_core import child, places
from trainer_core.errors import DownloadError, InstallError
from trainer_core.install import uv
from trainer_core.models import tokens
from trainer_core.providers import detection, surviving
from trainer_core.providers.table import LOCAL, PROVIDERS, Provider

ROOT = Path(__file__).parents[2]
KAGGLE_ON_COLABS_IMAGE = {"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "COLAB_RELEASE_TAG": "release-colab"}
CASES = [
    ({"EASEL_PROVIDER": "vast", "RUNPOD_POD_ID": "p"}, (), (), "vast"),
    (KAGGLE_ON_COLABS_IMAGE, (), (), "kaggle"),
    ({"KAGGLE_URL_BASE": "https://www.kaggle.com"}, (), (), "kaggle"),
    ({"COLAB_RELEASE_TAG": "release-colab"}, (), (), "colab"),
    ({"COLAB_BACKEND_VERSION": "next"}, (), (), "colab"),
    ({}, ("google.colab",), ("content/",), "colab"),
    ({}, ("google.colab",), (), "local"),
    ({}, (), ("content/",), "local"),
    ({"RUNPOD_ENDPOINT_ID": "e", "RUNPOD_POD_ID": "p"}, (), (), "runpod-serverless"),
    ({"RUNPOD_POD_ID": "p", "RUNPOD_API_KEY": "k"}, (), (".dockerenv",), "runpod"),
    ({"VAST_CONTAINERLABEL": "C.123"}, (), (".dockerenv",), "vast"),
    ({"CONTAINER_ID": "123", "CONTAINER_API_KEY": "k"}, (), (), "vast"),
    ({"CONTAINER_ID": "123"}, (), (), "local"),
    ({"RUNPOD_API_KEY": "k", "VAST_API_KEY": "k"}, (), (), "local"),
    ({"RUNPOD_POD_ID": ""}, (), (), "local"),
    ({}, (), (".dockerenv",), "container"),
    ({}, (), ("run/.containerenv",), "container"),
    ({}, (), (), "local"),
]


@pytest.mark.parametrize(("variables", "modules", "there", "wanted"), CASES)
def test_a_platform_is_recognised_by_the_truth_table(tmp_path, variables, modules, there, wanted):
    for name in there:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    assert detection.current(variables, modules, str(tmp_path)).id == wanted


def test_every_row_is_recognised_by_one_case():
    assert {wanted for *_, wanted in CASES} == {each.id for each in (*PROVIDERS, LOCAL)}


def test_an_unknown_name_is_refused_with_the_names_that_are_known():
    with pytest.raises(InstallError, match="names no platform") as refused:
        detection.current({"EASEL_PROVIDER": "colabb"})
    assert "colab, " in refused.value.hint


def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: str, workspace: bool = False) -> Provider:
    """A platform whose disk is a folder of this test, with Easel's checkout in another folder of it."""
    monkeypatch.delenv("EASEL_HOME", raising=False)
    disk = tmp_path / "workspace"
    disk.mkdir()
    code = tmp_path / checkout
    code.mkdir(parents=True, exist_ok=True)
    for name in ("installer.py", "pyproject.toml"):
        (code / name).touch()
    if workspace:
        (code / "workspace").mkdir()
    monkeypatch.setattr(places, "CHECKOUT", code)
    row = Provider(
        "planted",
        "Planted",
        "a test",
        variables=(("PLANTED_ID",),),
        home=f"{disk}/easel",
        scratch=f"{tmp_path}/scratch",
    )
    monkeypatch.setattr(detection, "PROVIDERS", (row,))
    monkeypatch.setenv("PLANTED_ID", "1")
    monkeypatch.delenv("EASEL_PROVIDER", raising=False)
    return row


def test_the_home_is_on_the_disk_that_survives(tmp_path, monkeypatch):
    planted(tmp_path, monkeypatch, "root/easel-code")
    assert places.home() == tmp_path / "workspace/easel"
    assert places.runs() == tmp_path / "workspace/easel/runs"
    assert places.engines() == tmp_path / "scratch/engines"
    monkeypatch.setenv("EASEL_HOME", str(places.home()))
    assert places.engines() == tmp_path / "scratch/engines"
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "mine"))
    assert places.home() == tmp_path / "mine"
    assert places.engines() == tmp_path / "mine/engines"
    monkeypatch.delenv("EASEL_HOME")
    monkeypatch.delenv("PLANTED_ID")
    assert places.home() == tmp_path / "root/easel-code/workspace"


def test_a_workspace_that_is_there_is_not_left(tmp_path, monkeypatch):
    planted(tmp_path, monkeypatch, "root/easel-code", workspace=True)
    assert places.home() == tmp_path / "root/easel-code/workspace"


def test_a_shell_that_does_not_know_the_platform_moves_no_home(tmp_path, monkeypatch):
    planted(tmp_path, monkeypatch, "root/easel-code")
    places.runs().mkdir(parents=True)
    (tmp_path / "root/easel-code/workspace").mkdir()
    assert places.home() == tmp_path / "workspace/easel"


def test_a_checkout_on_that_disk_keeps_its_workspace(tmp_path, monkeypatch):
    planted(tmp_path, monkeypatch, "workspace/easel-code")
    assert places.home() == tmp_path / "workspace/easel-code/workspace"


def test_without_its_disk_a_platform_has_no_home_of_its_own(tmp_path, monkeypatch):
    planted(tmp_path, monkeypatch, "root/easel-code")
    (tmp_path / "workspace").rmdir()
    assert places.home() == tmp_path / "root/easel-code/workspace"


def test_a_sentence_says_whether_a_folder_survives():
    colab, pod = detection.named("colab"), detection.named("runpod")
    lost = surviving.sentence(Path("/content/easel/outputs"), colab)
    assert "does not survive" in lost
    assert "/content/drive/MyDrive survives if Google Drive is mounted" in lost
    assert "/content too" in lost
    kept = surviving.sentence(Path("/content/drive/MyDrive/loras"), colab)
    assert kept == "Colab: this folder survives the end of a session, if Google Drive is mounted."
    assert "does not survive" in surviving.sentence(Path("/workspace/../root/out"), pod)
    assert surviving.sentence(Path("/workspace/out"), pod).startswith("RunPod: this folder survives")
    assert surviving.sentence(Path("/workspace/out"), LOCAL) == ""


def test_the_traps_of_colab_reach_no_other_interpreter():
    colabs = {
        "UV_SYSTEM_PYTHON": "true",
        "UV_CONSTRAINT": "/missing",
        "UV_BUILD_CONSTRAINT": "/missing",
        "UV_PRERELEASE": "if-necessary-or-explicit",
        "PYTHONPATH": "/env/python",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPYCACHEPREFIX": "/elsewhere",
        "PYTHONNOUSERSITE": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MPLCONFIGDIR": "/root/.config",
        "LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/libtcmalloc.so.4",
        "LD_LIBRARY_PATH": "/usr/lib64-nvidia",
        "PATH": "/usr/bin",
    }
    left = child.child_environment(base=colabs)
    assert set(left) == {
        "PYTHONUNBUFFERED", "PYTHONPYCACHEPREFIX", "PYTHONNOUSERSITE", "MPLCONFIGDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", "PATH",
        "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY",
    }  # fmt: skip


def test_uv_gets_no_trap_either(monkeypatch):
    monkeypatch.setenv("UV_SYSTEM_PYTHON", "true")
    monkeypatch.setenv("UV_CONSTRAINT", "/missing")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror.example/simple")
    found = uv.uv_environment()
    assert not {"UV_SYSTEM_PYTHON", "UV_CONSTRAINT"} & set(found)
    assert found["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    from huggingface_hub import constants

    for site in tokens.SITES.values():
        for name in site.names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "login"))
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path


def own_file(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "home" / tokens.OWN_FILE
    path.write_text("# mine\nHF_TOKEN = hf_own\nCIVITAI_API_TOKEN=own\n")
    path.chmod(mode)
    return path


def test_the_users_own_file_is_the_last_place(no_token, monkeypatch):
    path = own_file(no_token)
    assert tokens.find("civitai").header() == {"Authorization": "Bearer own"}
    assert tokens.find("huggingface").source == f"HF_TOKEN in {path}"
    (no_token / "login").write_text("hf_login")
    assert tokens.find("huggingface").source == tokens.LOGIN
    monkeypatch.setenv("HF_TOKEN", "hf_env")
    assert tokens.find("huggingface").header() == {"Authorization": "Bearer hf_env"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused_without_its_content(no_token, mode):
    own_file(no_token, mode)
    with pytest.raises(DownloadError, match="other users") as refused:
        tokens.find("huggingface")
    assert "chmod 600" in refused.value.hint
    assert "hf_own" not in str(refused.value)


def test_a_program_inherits_what_only_the_kernel_finds(no_token, monkeypatch):
    ask = [sys.executable, "-I", "-S", "-c", "import os; print(os.environ.get('HF_TOKEN', ''))"]

    def inherited() -> str:
        with tokens.lent("huggingface"):
            return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()

    assert inherited() == ""
    own_file(no_token)
    assert inherited() == "hf_own"
    assert "HF_TOKEN" not in tokens.os.environ
    monkeypatch.setenv("HF_TOKEN", "two words")
    assert inherited() == "two words"


SECRETS = {
    "google/__init__.py": "",
    "google/colab/__init__.py": "",
    "google/colab/errors.py": "class Error(Exception): pass",
    "google/colab/userdata.py": """
        from google.colab import errors
        class NotebookAccessError(errors.Error): pass
        def get(name):
            if name != "HF_TOKEN": raise NotebookAccessError(name)
            return "hf_secret"
    """,
}


def test_a_secret_of_the_platform_comes_after_the_environment_and_before_the_login(no_token):
    for name, text in SECRETS.items():
        path = no_token / "modules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    (no_token / "login").write_text("hf_login")
    code = """
        import os, subprocess, sys
        import google.colab
        from trainer_core.models import tokens
        assert tokens.find("huggingface").source == "the Colab secret HF_TOKEN"
        assert tokens.find("civitai") is None
        ask = [sys.executable, "-I", "-S", "-c", "import os; print(os.environ['HF_TOKEN'])"]
        with tokens.lent("huggingface"):
            assert subprocess.check_output(ask, text=True).strip() == "hf_secret"
        assert "HF_TOKEN" not in os.environ
        os.environ["HF_TOKEN"] = "hf_env"
        assert tokens.find("huggingface").source == "the environment variable HF_TOKEN"
    """
    environment = {"PYTHONPATH": f"{no_token / 'modules'}:{ROOT}", "HF_TOKEN_PATH": str(no_token / "login"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
